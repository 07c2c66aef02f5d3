//! The partitions that one task fetches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::ids::{LeaderEpoch, TopicPartition, Uuid};
use tokio::sync::Notify;

use super::Outcome;
use super::backoff::backoff;
use crate::partition::Partition;
use crate::replicas::Naming;
use client::fetch_session::Ask;

/// Changed by the controller's requests, read by the task.
#[derive(Debug, Default)]
pub struct Following {
    partitions: Mutex<BTreeMap<TopicPartition, Followed>>,
    changed: Notify,
    additions: AtomicU64,
}

#[derive(Debug, Clone)]
struct Followed {
    partition: Arc<Partition>,
    epoch: LeaderEpoch,
    naming: Naming,
    state: State,
    /// Attempts that failed since the last that did not.
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Delayed(Instant),
    /// Nothing but a new word of the controller can help.
    Failed,
}

/// What to fetch now, and when there will be more.
#[derive(Debug)]
pub struct Wanted {
    pub asks: BTreeMap<TopicPartition, Ask>,
    pub next_at: Option<Instant>,
}

impl Following {
    /// Follows a partition from now on.
    pub fn add(&self, partition: Arc<Partition>, epoch: LeaderEpoch, naming: Naming) {
        let id = partition.id().clone();
        let followed = Followed { partition, epoch, naming, state: State::Ready, failures: 0 };
        self.lock().insert(id, followed);
        self.additions.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// True if it was there.
    pub fn remove(&self, id: &TopicPartition) -> bool {
        self.lock().remove(id).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub fn name(&self, id: &TopicPartition, naming: Naming) {
        if let Some(followed) = self.lock().get_mut(id) {
            followed.naming = naming;
        }
    }

    /// Waits until a partition is added.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How many partitions were added so far.
    pub fn additions(&self) -> u64 {
        self.additions.load(Ordering::Acquire)
    }

    /// Waits until more than so many partitions have been added.
    pub async fn added_since(&self, additions: u64) {
        while self.additions() <= additions {
            self.changed().await;
        }
    }

    /// Which partitions to ask for at `now`, and where.
    pub fn wanted(&self, max_bytes: i32, now: Instant) -> Wanted {
        let mut wanted = Wanted { asks: BTreeMap::new(), next_at: None };
        for (id, followed) in self.lock().iter_mut() {
            match followed.state {
                State::Failed => continue,
                State::Delayed(until) if until > now => {
                    wanted.next_at = Some(wanted.next_at.map_or(until, |at| at.min(until)));
                    continue;
                }
                State::Delayed(_) | State::Ready => followed.state = State::Ready,
            }
            // A partition that changed its role is about to be taken from here.
            if let Some(position) = followed.partition.follow_position(followed.epoch) {
                let ask = Ask {
                    topic_id: match followed.naming {
                        Naming::ById => position.topic_id,
                        Naming::ByName => Uuid::ZERO,
                    },
                    leader_epoch: followed.epoch,
                    offset: position.offset,
                    last_fetched_epoch: position.last_fetched_epoch,
                    log_start: position.log_start,
                    max_bytes,
                };
                wanted.asks.insert(id.clone(), ask);
            }
        }
        wanted
    }

    /// The partition, if it is still followed in the epoch that was asked for.
    pub fn get(&self, id: &TopicPartition, epoch: LeaderEpoch) -> Option<Arc<Partition>> {
        let partitions = self.lock();
        let followed = partitions.get(id).filter(|followed| followed.epoch == epoch)?;
        Some(Arc::clone(&followed.partition))
    }

    /// Takes note of what became of the partition's part of an answer. `most` is the longest wait
    /// before the next attempt.
    pub fn settle(
        &self,
        id: &TopicPartition,
        epoch: LeaderEpoch,
        outcome: Outcome,
        most: Duration,
        now: Instant,
    ) {
        self.with(id, epoch, |followed| match outcome {
            Outcome::Continue => followed.failures = 0,
            Outcome::Delay => {
                followed.failures = followed.failures.saturating_add(1);
                followed.state = State::Delayed(now + backoff(followed.failures, most));
            }
            Outcome::Fail => followed.state = State::Failed,
        });
    }

    fn with(&self, id: &TopicPartition, epoch: LeaderEpoch, change: impl FnOnce(&mut Followed)) {
        if let Some(followed) = self.lock().get_mut(id).filter(|followed| followed.epoch == epoch) {
            change(followed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Followed>> {
        // Each change under the lock is whole by itself.
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
