//! What a fetcher gives.

use std::time::Duration;

use super::super::chunk::CorruptRecords;
use super::super::record::{ConsumerRecord, Position};
use crate::ids::{Offset, TopicPartition};
use crate::wire::ErrorCode;

/// What came of a partition.
///
/// After anything but records the partition rests until it is told where to go on:
/// [`assign`](super::Fetcher::assign), [`seek`](super::Fetcher::seek) or [`retry`](super::Fetcher::retry).
#[derive(Debug)]
pub enum Fetched {
    Records(Records),
    /// The log does not reach to the position (any more): it begins later, or ends before it.
    OutOfRange {
        partition: TopicPartition,
        position: Position,
    },
    /// After a change of the leader the log is not the one that was read up to the position (KIP-320):
    /// records that were read may be gone.
    Truncated {
        partition: TopicPartition,
        position: Position,
        /// Where the two logs part, if the leader can tell.
        diverged: Option<Position>,
    },
    /// The record at the position, or a later one in its batch, cannot be read.
    Corrupt {
        partition: TopicPartition,
        position: Position,
        cause: CorruptRecords,
    },
    /// A broker's final word, such as TOPIC_AUTHORIZATION_FAILED.
    Refused {
        partition: TopicPartition,
        error: ErrorCode,
    },
}

/// Records of one partition, in order.
#[derive(Debug)]
pub struct Records {
    pub partition: TopicPartition,
    /// None, if there was nothing but records of aborted transactions, markers, or what compaction left.
    pub records: Vec<ConsumerRecord>,
    /// Where the next records begin: behind the last of these, or further.
    pub next: Position,
    /// The partition's end for this consumer when they were fetched: the high watermark, or, reading
    /// committed, the first offset of an open transaction.
    pub end: Offset,
}

/// Why a partition cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("offset {} is not in the log of {partition}: it begins later, or ends before it", position.offset)]
    OutOfRange { partition: TopicPartition, position: Position },
    #[error(
        "the log of {partition} is not the one that was read up to offset {}{}",
        position.offset, parting(diverged)
    )]
    Truncated { partition: TopicPartition, position: Position, diverged: Option<Position> },
    #[error("{partition} cannot be read on from offset {}: {cause}", position.offset)]
    Corrupt { partition: TopicPartition, position: Position, cause: CorruptRecords },
    #[error("the broker does not let {partition} be read: {error}: {}", error.message())]
    Refused { partition: TopicPartition, error: ErrorCode },
    #[error("{partition} was not answered for by a leader within {within:?}")]
    TimedOut { partition: TopicPartition, within: Duration },
}

fn parting(diverged: &Option<Position>) -> String {
    diverged.map(|at| format!("; they part at offset {}", at.offset)).unwrap_or_default()
}

impl Fetched {
    /// The records, or why there are none.
    pub fn into_records(self) -> Result<Records, ReadError> {
        match self {
            Fetched::Records(records) => Ok(records),
            Fetched::OutOfRange { partition, position } => Err(ReadError::OutOfRange { partition, position }),
            Fetched::Truncated { partition, position, diverged } => {
                Err(ReadError::Truncated { partition, position, diverged })
            }
            Fetched::Corrupt { partition, position, cause } => {
                Err(ReadError::Corrupt { partition, position, cause })
            }
            Fetched::Refused { partition, error } => Err(ReadError::Refused { partition, error }),
        }
    }

    pub fn partition(&self) -> &TopicPartition {
        match self {
            Fetched::Records(records) => &records.partition,
            Fetched::OutOfRange { partition, .. }
            | Fetched::Truncated { partition, .. }
            | Fetched::Corrupt { partition, .. }
            | Fetched::Refused { partition, .. } => partition,
        }
    }
}
