//! What a coordinator did, as its promises are judged by it.

use std::collections::BTreeMap;

use client::ids::{LeaderEpoch, Offset, TopicPartition};
use client::wire::Str;

use super::coordinator::Numbers;
use crate::sim::message::Stored;
use crate::sim::promises::Batch;

/// Whose commit it is, and of what.
#[derive(Clone, Debug)]
pub(in crate::sim) struct CommitOf {
    pub group: Str,
    pub generation: i32,
    pub number: u64,
    pub partitions: Vec<i32>,
}

#[derive(Debug)]
pub(in crate::sim) enum Note {
    /// What was read is told from now on, since it is replicated.
    Loaded { partition: TopicPartition, epoch: LeaderEpoch, batches: BTreeMap<Offset, Batch> },
    /// Records are replicated, and whoever waits for it is told.
    Acknowledged { partition: TopicPartition, stored: Stored, batch: Batch, commit: Option<CommitOf> },
    /// A fetch of committed offsets was answered.
    Fetched { partition: TopicPartition, epoch: LeaderEpoch, group: Str, found: Numbers },
}
