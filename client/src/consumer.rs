//! Reading records: whole partitions, and as a member of a group.
//!
//! Whatever reads is built on the [`Fetcher`], which follows the leaders of the partitions it is given and
//! keeps a bounded amount of records at hand.

#![deny(clippy::indexing_slicing)]

pub mod assignor;
mod chunk;
mod classic;
mod fetcher;
pub mod group;
mod offsets;
mod record;
mod simple;

pub use crate::record::RecordHeader;
pub use chunk::CorruptRecords;
pub use classic::{
    AutoOffsetReset, ClassicConfig, ClassicConfigError, ClassicConsumer, ClassicError, ClassicStream,
    ClassicStreamError, OffsetsStorage, RebalanceError, Strategy, Subscription, UnevenSubscriptions,
};
pub use fetcher::{FetchOptions, Fetched, Fetcher, ReadError, Records};
pub use offsets::{ListOffsetsError, ListedOffset, OffsetSpec, list_offsets};
pub use record::{ConsumerRecord, Isolation, Position};
pub use simple::{RecordStream, SimpleConsumer, SimpleOptions};
