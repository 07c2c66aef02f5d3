//! Followers fetch from their leaders: one task for each leader broker (and each of
//! `num.replica.fetchers`), one request at a time, in an incremental session (KIP-227).
//!
//! Divergence is found by the fetch itself (KIP-595): each partition says the epoch of its last
//! record, and the leader answers where its own history parts from that. What the leader sends is
//! appended as it is. A task never decides whom to follow; the controller's word comes through
//! [`Fetchers`].

mod answer;
mod backoff;
mod following;
mod request;
mod step;
mod task;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::ids::{BrokerId, LeaderEpoch, TopicPartition};
use controller::vital;
use tokio::task::AbortHandle;

pub use self::following::{Following, Wanted};
pub use self::step::{Outcome, Step};
use self::task::Task;
use crate::cluster_view::ClusterView;
use crate::config::ReplicationConfig;
use crate::control_fence::ControlFence;
use crate::partition::Partition;
use crate::replicas::Naming;

/// What all tasks share.
#[derive(Debug)]
struct Common {
    me: BrokerId,
    fence: Arc<ControlFence>,
    view: ClusterView,
    config: ReplicationConfig,
}

/// A leader, and which of the tasks that fetch from it.
type Source = (BrokerId, usize);

/// All fetchers of this broker.
#[derive(Debug)]
pub(crate) struct Fetchers {
    common: Arc<Common>,
    retired: AtomicBool,
    running: Mutex<BTreeMap<Source, Running>>,
}

#[derive(Debug)]
struct Running {
    following: Arc<Following>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fetchers {
    pub(crate) fn new(
        me: BrokerId,
        fence: Arc<ControlFence>,
        view: ClusterView,
        config: ReplicationConfig,
    ) -> Fetchers {
        let common = Arc::new(Common { me, fence, view, config });
        Fetchers { common, retired: AtomicBool::new(false), running: Mutex::new(BTreeMap::new()) }
    }

    /// Takes nothing up any more; what is fetched already goes on until it is stopped.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Fetches `partition` from `leader` from now on, and from no other. `naming` says whether the
    /// controller knows the topic by an id.
    pub(crate) fn follow(
        &self,
        partition: Arc<Partition>,
        leader: BrokerId,
        epoch: LeaderEpoch,
        naming: Naming,
    ) {
        let source = (leader, index(partition.id(), self.common.config.fetchers_per_leader));
        let mut running = self.running();
        if self.retired.load(Ordering::Acquire) {
            return remove(&mut running, partition.id(), None);
        }
        remove(&mut running, partition.id(), Some(source));
        let fetcher = running.entry(source).or_insert_with(|| self.start(source));
        fetcher.following.add(partition, epoch, naming);
    }

    /// Fetches by topic name again: the controller dropped the topic's id.
    pub(crate) fn by_name(&self, partition: &TopicPartition) {
        for fetcher in self.running().values() {
            fetcher.following.name(partition, Naming::ByName);
        }
    }

    /// When this returns, no task will append to the partition any more in the epoch it had:
    /// what is still on its way finds the partition's role changed.
    pub(crate) fn stop(&self, partition: &TopicPartition) {
        remove(&mut self.running(), partition, None);
    }

    pub(crate) fn stop_all(&self) {
        self.running().clear();
    }

    fn start(&self, (leader, index): Source) -> Running {
        let following = Arc::new(Following::default());
        let task = Task::new(Arc::clone(&self.common), leader, index, Arc::clone(&following));
        Running { following, task: vital::spawn("fetcher", task.run()).abort_handle() }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Source, Running>> {
        // Each change under the lock is whole by itself.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the partition from every source but `kept`, and ends the tasks that have none left.
fn remove(running: &mut BTreeMap<Source, Running>, partition: &TopicPartition, kept: Option<Source>) {
    running.retain(|source, fetcher| {
        Some(*source) == kept || !(fetcher.following.remove(partition) && fetcher.following.is_empty())
    });
}

/// Kafka's choice among the fetchers of one leader (`AbstractFetcherManager.getFetcherId`).
fn index(id: &TopicPartition, count: usize) -> usize {
    let topic =
        id.topic.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let hash = topic.wrapping_mul(31).wrapping_add(id.partition);
    // Java's Utils.abs: the one number without a positive counterpart counts as 0.
    let hash = hash.checked_abs().unwrap_or(0).unsigned_abs();
    hash as usize % count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_partitions_as_kafka_does() {
        // "test".hashCode() is 3556498.
        let base = 3_556_498_i32.wrapping_mul(31);
        for partition in 0..8 {
            let expected = (base + partition).unsigned_abs() as usize % 4;
            assert_eq!(index(&TopicPartition::new("test", partition), 4), expected);
        }
        assert_eq!(index(&TopicPartition::new("test", 5), 1), 0);
    }
}
