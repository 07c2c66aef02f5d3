//! What a consumer's user is told of rebalances.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;

use super::commits::Commits;
use super::committed::{OffsetAndMetadata, OffsetsError};
use crate::consumer::Position;
use crate::ids::TopicPartition;

/// Hears which partitions come and go. All calls are made within [`poll`](super::GroupConsumer::poll) or
/// [`close`](super::GroupConsumer::close), so no record is being worked on meanwhile; the group waits for
/// them. A call that is cut off because the future of `poll` was dropped is made again.
///
/// ```
/// use client::consumer::group::{Rebalance, RebalanceListener};
/// use futures::future::{BoxFuture, FutureExt};
///
/// struct Flushing;
///
/// impl RebalanceListener for Flushing {
///     fn revoked<'a>(&'a mut self, rebalance: &'a Rebalance) -> BoxFuture<'a, ()> {
///         async move {
///             // … write what was computed from these partitions, then:
///             if let Err(error) = rebalance.commit_positions().await {
///                 eprintln!("{error}; the next owner reads some records again");
///             }
///         }
///         .boxed()
///     }
/// }
/// ```
pub trait RebalanceListener: Send + Sync {
    /// A generation began, and these partitions are read in addition. There may be none.
    fn assigned<'a>(&'a mut self, _rebalance: &'a Rebalance) -> BoxFuture<'a, ()> {
        Box::pin(ready(()))
    }

    /// These partitions are about to be given up; their offsets can still be committed.
    fn revoked<'a>(&'a mut self, _rebalance: &'a Rebalance) -> BoxFuture<'a, ()> {
        Box::pin(ready(()))
    }

    /// The group went on without this consumer, and others may read these partitions already. What was not
    /// committed will be read again.
    fn lost<'a>(&'a mut self, rebalance: &'a Rebalance) -> BoxFuture<'a, ()> {
        self.revoked(rebalance)
    }
}

/// The partitions of a call of a [`RebalanceListener`], and what can be done with them.
#[derive(Debug)]
pub struct Rebalance {
    pub(super) partitions: BTreeSet<TopicPartition>,
    pub(super) positions: BTreeMap<TopicPartition, Position>,
    pub(super) commits: Commits,
    pub(super) sought: Mutex<BTreeMap<TopicPartition, Position>>,
}

impl Rebalance {
    pub fn partitions(&self) -> &BTreeSet<TopicPartition> {
        &self.partitions
    }

    /// Of the next record that the consumer would have got. `None`: the partition is not read, or its
    /// place has not been looked up yet.
    pub fn position(&self, partition: &TopicPartition) -> Option<Position> {
        self.positions.get(partition).copied()
    }

    /// Commits these offsets, and waits until it is done.
    pub async fn commit(
        &self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<(), OffsetsError> {
        self.commits.begin(offsets).await
    }

    /// Commits the positions of these partitions: everything that `poll` returned counts as done.
    pub async fn commit_positions(&self) -> Result<(), OffsetsError> {
        let known = self.partitions.iter().filter_map(|p| Some((p.clone(), self.position(p)?.into())));
        self.commits.begin(known.collect()).await
    }

    /// In [`assigned`](RebalanceListener::assigned): begins there instead of where the group left off, for
    /// users that keep positions elsewhere.
    pub fn seek(&self, partition: &TopicPartition, position: impl Into<Position>) {
        // Nothing panics while it holds the lock; were it so, the map is still whole.
        let mut sought = self.sought.lock().unwrap_or_else(PoisonError::into_inner);
        sought.insert(partition.clone(), position.into());
    }
}
