//! Logs on disk, in Kafka's files (byte for byte: a stock 3.9 broker can take a directory over, and back).
//!
//! A [`Log`] holds the batches of one partition, as the bytes that producers sent and consumers fetch;
//! [`LogDirs`] are the directories the logs live in. Everything here is synchronous and belongs under the
//! partition's lock. Nothing here reads a clock or draws a random number, serves a socket, or decides about
//! replication: time and seeds are arguments, and the high watermark is told.

#![deny(clippy::indexing_slicing)]

mod append;
mod batch_file;
mod boot;
pub mod checkpoint;
mod clean_shutdown;
pub mod compaction;
pub mod config;
pub mod dir;
mod dir_checkpoints;
pub mod dirs;
pub mod disk;
mod epoch_cache;
pub mod error;
mod flush;
mod index_file;
#[allow(clippy::module_inception, reason = "the log among the files of logs")]
mod log;
mod meta_properties;
mod names;
mod offset_index;
mod partition_metadata;
mod producer_snapshot;
pub mod producer_state;
mod producers;
mod read;
pub mod recovery;
mod retention;
mod segment;
mod synced;
mod time_index;
mod timestamps;
mod truncation;
mod txn_index;

#[cfg(test)]
mod tests;

pub use append::Appended;
pub use boot::LastStop;
pub use config::{InvalidLogConfig, LogConfig};
pub use dir::{LogDir, OnDirFailure};
pub use dirs::{CreateLogError, LogDirs, LogDirsError, LogDirsOptions};
pub use disk::Disk;
pub use epoch_cache::EpochWrite;
pub use error::{LogError, UnreadableRecords};
pub use flush::{FlushJob, Flushed};
pub use log::{Log, LogMarks};
pub use read::LogSlice;
pub use recovery::{LoadError, LoadFrom};
pub use timestamps::TimestampedOffset;
pub use txn_index::AbortedTxn;
