//! What a consumer gives to its user.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::record::{RecordHeader, TimestampType};

/// A record as it was read from its partition.
///
/// Key, value and headers share the memory of the batch they came in (1 MiB at the most, by the default
/// limits of producers): copy what is kept for long out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: Offset,
    /// The epoch of the leader that appended it; [`LeaderEpoch::NONE`] before message format 2.
    pub leader_epoch: LeaderEpoch,
    /// Who set the timestamp: the producer or the leader.
    pub timestamp_type: TimestampType,
    /// Milliseconds since 1970; [`NO_TIMESTAMP`](crate::record::NO_TIMESTAMP) in message format 0.
    pub timestamp_ms: i64,
    pub key: Option<Bytes>,
    /// `None`: a tombstone, if the topic is compacted.
    pub value: Option<Bytes>,
    pub headers: Vec<RecordHeader>,
}

impl ConsumerRecord {
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.topic), self.partition)
    }
}

/// Where reading a partition goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Of the next record to read.
    pub offset: Offset,
    /// Of the record before it. With it a consumer notices after a change of the leader that the records
    /// it has read are not those of the log (KIP-320). [`LeaderEpoch::NONE`]: not known, not checked.
    pub epoch: LeaderEpoch,
}

impl Position {
    pub fn new(offset: Offset, epoch: LeaderEpoch) -> Position {
        Position { offset, epoch }
    }
}

/// Without an epoch.
impl From<Offset> for Position {
    fn from(offset: Offset) -> Position {
        Position { offset, epoch: LeaderEpoch::NONE }
    }
}

/// `isolation.level`: which records of transactions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All, those of transactions that are open or were aborted too.
    #[default]
    ReadUncommitted,
    /// Those of committed transactions, and up to the first that is open.
    ReadCommitted,
}

impl Isolation {
    /// The number on the wire.
    pub fn code(self) -> i8 {
        match self {
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        }
    }
}
