//! Fetches the records of some partitions from whoever leads them.

mod answer;
mod fetched;
mod options;
mod partitions;
mod request;
mod task;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::chunk::Reading;
use super::record::Position;
use crate::cluster::Cluster;
use crate::ids::{BrokerId, Offset, TopicPartition};
pub use fetched::{Fetched, ReadError, Records};
pub use options::FetchOptions;
use partitions::{Fresh, Partitions, Plan, Taken, Trouble};
use task::Task;

/// Reads partitions and keeps a bounded amount of records at hand.
///
/// It follows the leaders by [`Cluster::leader`], has one request in flight with each broker, and compares
/// epochs with a new leader before it reads on (KIP-320). A connection that breaks, a broker that does not
/// lead, a leader that is not there: all that is waited out. What cannot be waited out is given as a value.
///
/// Its methods are to be called within a runtime of tokio. It ends when it is dropped.
#[derive(Debug)]
pub struct Fetcher {
    shared: Arc<Shared>,
    /// Tell the leaders of the partitions.
    followers: Mutex<HashMap<TopicPartition, AbortHandle>>,
}

#[derive(Debug)]
struct Shared {
    cluster: Cluster,
    options: FetchOptions,
    partitions: Mutex<Partitions>,
    /// One a broker that is read from; `None` once the fetcher was dropped.
    tasks: Mutex<Option<BTreeMap<BrokerId, AbortHandle>>>,
    /// There is something else to fetch.
    changed: watch::Sender<()>,
    /// There is something to take.
    ready: watch::Sender<()>,
}

impl Fetcher {
    /// Reads nothing yet.
    pub fn new(cluster: Cluster, options: FetchOptions) -> Fetcher {
        let shared = Shared {
            cluster,
            options,
            partitions: Mutex::default(),
            tasks: Mutex::new(Some(BTreeMap::new())),
            changed: watch::Sender::new(()),
            ready: watch::Sender::new(()),
        };
        Fetcher { shared: Arc::new(shared), followers: Mutex::default() }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }

    /// Begins to read a partition, or goes on at another place; what was fetched before is forgotten.
    pub fn assign(&self, partition: &TopicPartition, position: impl Into<Position>) {
        let is_new = self.shared.partitions().assign(partition, position.into());
        if is_new {
            let following = follow(Arc::clone(&self.shared), partition.clone());
            let follower = tokio::spawn(following).abort_handle();
            if let Some(before) = lock(&self.followers).insert(partition.clone(), follower) {
                before.abort();
            }
        }
        self.shared.rearrange();
    }

    /// Reads a partition no more. After this nothing of it is given.
    pub fn remove(&self, partition: &TopicPartition) {
        self.shared.partitions().remove(partition);
        if let Some(follower) = lock(&self.followers).remove(partition) {
            follower.abort();
        }
        self.shared.changed();
    }

    /// Goes on at another place. False: the partition is not assigned.
    pub fn seek(&self, partition: &TopicPartition, position: impl Into<Position>) -> bool {
        let known = self.shared.partitions().seek(partition, position.into());
        self.shared.rearrange();
        known
    }

    /// Tries again, at the same place, a partition that rests because of what was given of it.
    pub fn retry(&self, partition: &TopicPartition) {
        self.shared.partitions().retry(partition);
        self.shared.changed();
    }

    /// Neither fetches nor gives anything of a partition; what is at hand is kept.
    pub fn pause(&self, partition: &TopicPartition) {
        self.shared.partitions().pause(partition, true);
    }

    pub fn resume(&self, partition: &TopicPartition) {
        self.shared.partitions().pause(partition, false);
        self.shared.became_ready();
        self.shared.changed();
    }

    pub fn is_paused(&self, partition: &TopicPartition) -> bool {
        self.shared.partitions().is_paused(partition)
    }

    /// The partitions that are read.
    pub fn assigned(&self) -> Vec<TopicPartition> {
        self.shared.partitions().slots.keys().cloned().collect()
    }

    /// Where the next records of a partition begin that will be given.
    pub fn position(&self, partition: &TopicPartition) -> Option<Position> {
        self.shared.partitions().slots.get(partition).map(|slot| slot.position)
    }

    /// The end of a partition for this consumer, as a broker last told: the high watermark, or, reading
    /// committed, the first offset of an open transaction.
    pub fn end(&self, partition: &TopicPartition) -> Option<Offset> {
        self.shared.partitions().slots.get(partition).and_then(|slot| slot.end)
    }

    /// Waits for what comes next, of any partition; those with something at hand take turns. Nothing is lost
    /// if the future is dropped.
    pub async fn next(&self) -> Fetched {
        let mut ready = self.shared.ready.subscribe();
        loop {
            ready.mark_unchanged();
            if let Some(fetched) = self.try_next() {
                return fetched;
            }
            // An error would mean that the sender is gone, which `self` holds.
            let _ = ready.changed().await;
        }
    }

    /// What is at hand.
    pub fn try_next(&self) -> Option<Fetched> {
        loop {
            let taken = self.shared.partitions().take()?;
            if let Some(fetched) = self.given(taken) {
                return Some(fetched);
            }
        }
    }

    /// Waits until there may be something at hand.
    pub(super) async fn ready(&self) {
        let mut ready = self.shared.ready.subscribe();
        while !self.shared.partitions().has_ready() {
            let _ = ready.changed().await;
        }
    }

    /// Waits for what comes next of one partition, which must be assigned: for records, or until a broker
    /// says that there are none now, which is `None`.
    pub(super) async fn next_of(&self, partition: &TopicPartition) -> Option<Fetched> {
        let mut ready = self.shared.ready.subscribe();
        let empty_answers = |partitions: &Partitions| {
            partitions.slots.get(partition).map_or(u64::MAX, |slot| slot.empty_answers)
        };
        let before = empty_answers(&self.shared.partitions());
        loop {
            ready.mark_unchanged();
            loop {
                let taken = self.shared.partitions().take_of(partition);
                let Some(taken) = taken else { break };
                if let Some(fetched) = self.given(taken) {
                    return Some(fetched);
                }
            }
            if empty_answers(&self.shared.partitions()) > before {
                return None;
            }
            let _ = ready.changed().await;
        }
    }

    fn given(&self, taken: Taken) -> Option<Fetched> {
        match taken {
            Taken::Chunk { id, generation, fresh } => self.open(id, generation, fresh).map(Fetched::Records),
            Taken::Trouble { id, position, trouble } => Some(tell(id, position, trouble)),
        }
    }

    /// Opens some batches of a chunk, with the partitions unlocked meanwhile.
    fn open(&self, partition: TopicPartition, generation: u64, mut fresh: Fresh) -> Option<Records> {
        let options = &self.shared.options;
        let reading = Reading { isolation: options.isolation, check_crcs: options.check_crcs };
        let mut records = Vec::new();
        let most = options.records_at_once.max(1);
        let error = fresh.chunk.take(&partition, reading, most, &mut records).err();
        let (next, end, failed) = (fresh.chunk.position(), fresh.end, error.is_some());
        let valid = self.shared.partitions().opened(&partition, generation, fresh, error);
        self.shared.changed();
        let nothing = failed && records.is_empty();
        (valid && !nothing).then_some(Records { partition, records, next, end })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        lock(&self.followers).values().for_each(AbortHandle::abort);
        let tasks = lock(&self.shared.tasks).take().unwrap_or_default();
        tasks.values().for_each(AbortHandle::abort);
    }
}

impl Shared {
    fn partitions(&self) -> MutexGuard<'_, Partitions> {
        lock(&self.partitions)
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn changed(&self) {
        self.changed.send_replace(());
    }

    fn became_ready(&self) {
        self.ready.send_replace(());
    }

    fn plan(&self, broker: BrokerId) -> Plan {
        let mut tasks = lock(&self.tasks);
        let plan = self.partitions().plan(broker, Instant::now(), &self.options);
        if matches!(plan, Plan::Leave) {
            // Under both locks: whoever adds a partition of this broker now starts another task.
            if let Some(tasks) = tasks.as_mut() {
                tasks.remove(&broker);
            }
        }
        plan
    }

    /// Sees to it that each broker that is read from has its task, and that all look again.
    fn rearrange(self: &Arc<Shared>) {
        let mut guard = lock(&self.tasks);
        let Some(tasks) = guard.as_mut() else { return };
        let brokers: BTreeSet<BrokerId> = self.partitions().brokers(Instant::now()).collect();
        for broker in brokers {
            tasks
                .entry(broker)
                .or_insert_with(|| tokio::spawn(Task::new(Arc::clone(self), broker).run()).abort_handle());
        }
        drop(guard);
        self.changed();
    }
}

/// Tells who leads a partition, for as long as it is read.
async fn follow(shared: Arc<Shared>, partition: TopicPartition) {
    let mut leader = shared.cluster.leader(&partition);
    loop {
        let now = *leader.borrow_and_update();
        shared.partitions().lead(&partition, now);
        shared.rearrange();
        if leader.changed().await.is_err() {
            return;
        }
    }
}

fn tell(partition: TopicPartition, position: Position, trouble: Trouble) -> Fetched {
    match trouble {
        Trouble::OutOfRange => Fetched::OutOfRange { partition, position },
        Trouble::Truncated(diverged) => Fetched::Truncated { partition, position, diverged },
        Trouble::Corrupt(cause) => Fetched::Corrupt { partition, position, cause },
        Trouble::Refused(error) => Fetched::Refused { partition, error },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these; were it so, what it holds is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
