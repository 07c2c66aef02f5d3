//! Record batches: the bytes that producers send, logs store and consumers fetch.
//!
//! [`batch`] views and patches batches without touching their records, for every format a log may
//! hold (magic 0, 1 and 2). [`record`](mod@record) reads the records of a batch, [`builder`] writes
//! batches; [`legacy`] and [`message_set`] do so for older messages, and
//! [`down_convert`](mod@down_convert) makes those of batches. [`validate`](mod@validate) is what a
//! leader checks in produced records.
//!
//! Nothing here reads a clock, a file or a socket, and no input, however damaged, makes it panic or
//! allocate more than a stated limit.

#![deny(clippy::indexing_slicing)]

pub mod attributes;
pub mod batch;
pub mod builder;
pub mod compression;
pub mod down_convert;
mod endian;
pub mod entry;
mod gzip;
mod header;
pub mod legacy;
mod lz4;
pub mod message_set;
pub mod payload;
#[allow(clippy::module_inception, reason = "the folder is named for all of it, the file for one record")]
pub mod record;
pub mod refusal;
mod rules;
mod snappy;
mod stream;
#[cfg(test)]
mod tests;
pub mod validate;
mod varint;

pub use attributes::{Attributes, Codec, TimestampType, UnknownCodec};
pub use batch::{BatchError, BatchHeader, HEADER_LEN, LOG_OVERHEAD};
pub use builder::{BatchBuilder, BatchOptions, BuildError, NewRecord, Producer};
pub use compression::{Compression, CompressionError};
pub use down_convert::{DownConvertError, down_convert};
pub use entry::{AnyBatch, BatchSummary, Batches, EntryError, EntryHeader, Tail, batches};
pub use header::RecordHeader;

pub use legacy::{LegacyError, Message, for_each_message};
pub use message_set::{MessageFormat, MessageSetBuilder};
pub use payload::{PayloadError, payload};
pub use record::{Header, Headers, Record, RecordError, Records, records};
pub use refusal::{Refusal, RefusedRecord};

pub use stream::RecordStreamError;
pub use validate::{FirstLook, Origin, ProduceRules, ProducedBy, Validated, check_format, look, validate};

/// Timestamp of a record that has none, and of anything in message format 0.
pub const NO_TIMESTAMP: i64 = -1;
/// Producer id of a batch that is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// Producer epoch of a batch that is not idempotent.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// Base sequence of a batch that is not idempotent.
pub const NO_SEQUENCE: i32 = -1;
