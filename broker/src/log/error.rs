//! What can go wrong with one log.

use client::ids::{Offset, TopicPartition};
use client::record::legacy::LegacyError;
use client::record::{BatchError, PayloadError, RecordError};
use std::path::PathBuf;
use thiserror::Error;

use super::disk::DiskError;

/// Why a log refused, or failed to do, what it was asked for.
#[derive(Debug, Error)]
pub enum LogError {
    #[error("offset {offset} is not in the log, which starts at {start} and ends before {end}")]
    OffsetOutOfRange { offset: Offset, start: Offset, end: Offset },
    #[error("a batch of {size} bytes is larger than max.message.bytes ({max})")]
    MessageTooLarge { size: usize, max: usize },
    #[error("{size} bytes of records are more than segment.bytes ({max})")]
    RecordListTooLarge { size: usize, max: usize },
    #[error("the records are corrupt at byte {position}: {problem}")]
    Corrupt { position: usize, problem: BatchError },
    /// A follower got batches that do not continue its log.
    #[error("the records start at offset {first}, but the log ends at {end}: they do not continue it")]
    NotContinuing { first: Offset, end: Offset },
    #[error("offsets do not rise within the records: {offset} after {previous}")]
    OffsetsNotRising { previous: Offset, offset: Offset },
    #[error(
        "producer {producer_id} sent epoch {epoch} on {partition}, but its epoch there is {current} already: \
         it was fenced by a newer instance"
    )]
    StaleProducerEpoch { partition: TopicPartition, producer_id: i64, epoch: i16, current: i16 },
    #[error(
        "out of order sequence number for producer {producer_id} at offset {offset} of {partition}: \
         {found} (incoming), {expected} (expected)"
    )]
    OutOfOrderSequence {
        partition: TopicPartition,
        producer_id: i64,
        offset: Offset,
        found: i32,
        expected: i32,
        /// Where the producer's newest batch ends, if one is known.
        last_offset: Option<Offset>,
    },
    /// The directory failed just now; it is offline from here on.
    #[error("storage failed: {0}")]
    Storage(#[from] DiskError),
    /// The directory failed earlier.
    #[error("the log directory {} is offline since an earlier error", dir.display())]
    DirOffline { dir: PathBuf },
    /// A stored batch cannot be read though it should be intact.
    #[error("{} holds bytes that are no record batch at {position}: {problem}", file.display())]
    Damaged { file: PathBuf, position: u64, problem: BatchError },
    /// A stored batch is whole, but its records cannot be read.
    #[error("the records of the batch at {position} of {} cannot be read: {problem}", file.display())]
    Unreadable { file: PathBuf, position: u64, problem: UnreadableRecords },
}

/// What is wrong inside a batch.
#[derive(Debug, Error)]
pub enum UnreadableRecords {
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Message(#[from] LegacyError),
}
