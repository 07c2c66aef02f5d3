//! The offsets of the groups of one partition of `__consumer_offsets`, while this broker leads it at
//! one epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::ids::{LeaderEpoch, TopicPartition};
use client::zk::ZkError;
use client::znode::commit::stamp_path;
use client::znode::commit::{self, LogEnd};
use client::znode::partition::state_path;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::drive::drive;
use super::fence::{Deposed, Fence};
use super::link::Link;
use super::pending::{Owed, Pending};
use super::reads::Reads;
use super::store::{Coordinated, Shared};
use super::stored::{self, Stored};
use super::writes::Known;
use super::{NewCommit, OffsetError, OffsetKey};
use crate::group::CommittedOffset;
use crate::group::replay::LoggedOffset;

/// Commits of one partition that wait for ZooKeeper; a broker that cannot reach it must not fill its
/// memory with them.
const QUEUED_MAX: usize = 100_000;

/// Offsets that are read at a time for one request: their paths take far more memory than the request.
const READ_AT_A_TIME: usize = 2_000;

pub(super) type Waiter = oneshot::Sender<Result<(), OffsetError>>;

/// The offsets of a coordinating partition. Everything asked of it fails once it is closed, or once
/// ZooKeeper says that this broker does not lead at this epoch.
#[derive(Debug)]
pub struct PartitionOffsets {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Arc<Shared>,
    pub(super) reads: Arc<Reads>,
    pub(super) coordinated: Coordinated,
    state_path: String,
    pub(super) stamp_path: String,
    pending: Mutex<Pending<NewCommit, Waiter>>,
    pub(super) known: Known,
    /// Groups that have commits of a coordinator, complete once loaded.
    groups: Mutex<BTreeSet<Arc<str>>>,
    pub(super) has_found_groups: AtomicBool,
    pub(super) records: Mutex<BTreeMap<OffsetKey, LoggedOffset>>,
    closed: AtomicBool,
    /// There may be something to do.
    pub(super) wake: Notify,
    /// Counts what was done.
    pub(super) progress: watch::Sender<u64>,
}

impl PartitionOffsets {
    pub(super) fn open(
        store: Arc<Shared>,
        reads: Arc<Reads>,
        coordinated: Coordinated,
    ) -> Arc<PartitionOffsets> {
        let fence = Fence::new(store.parts.me, coordinated.epoch);
        let pending = Pending::new(fence, coordinated.late);
        let inner = Arc::new(Inner {
            state_path: state_path(&coordinated.partition.topic, coordinated.partition.partition),
            stamp_path: stamp_path(coordinated.partition.partition),
            store,
            reads,
            coordinated,
            pending: Mutex::new(pending),
            known: Known::default(),
            groups: Mutex::default(),
            has_found_groups: AtomicBool::new(false),
            records: Mutex::default(),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
            progress: watch::Sender::new(0),
        });
        tokio::spawn(drive(Arc::clone(&inner)));
        Arc::new(PartitionOffsets { inner })
    }

    /// The leader epoch it was opened at.
    pub fn epoch(&self) -> LeaderEpoch {
        self.inner.epoch()
    }

    /// Commits, and answers for each when ZooKeeper has it. The commits take their place in the order
    /// when this is called; what is returned only waits.
    pub fn commit(
        &self,
        group: &Arc<str>,
        offsets: Vec<(TopicPartition, NewCommit)>,
    ) -> impl Future<Output = Vec<Result<(), OffsetError>>> + Send + use<> {
        let inner = Arc::clone(&self.inner);
        let deadline = inner.deadline();
        let waiting: Vec<_> =
            offsets.into_iter().map(|(partition, new)| inner.push(group, partition, new)).collect();
        inner.wake.notify_one();
        async move {
            let mut results = Vec::with_capacity(waiting.len());
            for (key, answered) in waiting {
                results.push(match answered {
                    Ok(answered) => inner.wait_for(&key, answered, deadline).await,
                    Err(error) => Err(error),
                });
            }
            results
        }
    }

    /// The committed offsets of these partitions, in their order; `Ok(None)`: there is none. Commits that came
    /// before are in them, or will never be done.
    pub async fn fetch(
        &self,
        group: &Arc<str>,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<Option<CommittedOffset>, OffsetError>>, OffsetError> {
        let keys: Vec<OffsetKey> = partitions
            .iter()
            .map(|partition| OffsetKey { group: Arc::clone(group), partition: partition.clone() })
            .collect();
        self.inner.wait_for_commits(|pending| pending.owed(&keys)).await?;
        let stored = self.inner.stored(&keys).await?;
        Ok(stored.into_iter().map(|one| one.map(|found| found.as_ref().map(Stored::committed))).collect())
    }

    /// All offsets of a group, a classic consumer's among them.
    pub async fn fetch_all(
        &self,
        group: &Arc<str>,
    ) -> Result<Vec<(TopicPartition, Result<CommittedOffset, OffsetError>)>, OffsetError> {
        self.inner.wait_for_commits(|pending| pending.owed_of_group(group)).await?;
        let keys = self.inner.keys(group).await?;
        let stored = self.inner.stored(&keys).await?;
        let found = keys.into_iter().zip(stored).filter_map(|(key, one)| match one {
            Ok(None) => None,
            Ok(Some(stored)) => Some((key.partition, Ok(stored.committed()))),
            Err(error) => Some((key.partition, Err(error))),
        });
        Ok(found.collect())
    }

    /// The groups that have commits of a coordinator, in order; complete once [loaded](Self::loaded).
    pub fn groups(&self) -> Vec<Arc<str>> {
        self.inner.lock_groups().iter().cloned().collect()
    }

    /// Whether the group is known to have no commit of a coordinator. Not before it was looked for.
    pub fn lacks_group(&self, group: &str) -> bool {
        self.inner.has_found_groups.load(Ordering::Acquire) && !self.inner.lock_groups().contains(group)
    }

    /// Another broker coordinates from now on: everybody who waits is sent there, nothing is written any
    /// more.
    pub fn close(&self) {
        self.end(Deposed::ByAnother);
    }

    /// This broker goes on to coordinate at a newer epoch, by another one of these: those who wait are
    /// told to try again here.
    pub fn supersede(&self) {
        self.end(Deposed::ByNewerEpoch);
    }

    fn end(&self, why: Deposed) {
        if self.inner.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let in_vain = self.inner.lock().close(why);
        self.inner.answer(in_vain, &Err(OffsetError::from(why)));
        self.inner.wake.notify_one();
        self.inner.progress.send_modify(|done| *done += 1);
    }
}

impl Drop for PartitionOffsets {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, Pending<NewCommit, Waiter>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_groups(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn partition(&self) -> &TopicPartition {
        &self.coordinated.partition
    }

    pub(super) fn epoch(&self) -> LeaderEpoch {
        self.coordinated.epoch
    }

    pub(super) fn state_path(&self) -> &str {
        &self.state_path
    }

    pub(super) fn log_end(&self) -> LogEnd {
        LogEnd { epoch: self.epoch(), offset: (self.coordinated.log_end)() }
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.store.parts.patience
    }

    pub(super) fn answer(&self, waiters: Vec<Waiter>, outcome: &Result<(), OffsetError>) {
        for waiter in waiters {
            // Whoever gave up needs no answer.
            let _ = waiter.send(outcome.clone());
        }
    }

    /// Groups that have commits from now on.
    pub(super) fn add_groups<'a>(&self, keys: impl Iterator<Item = &'a OffsetKey>) {
        let mut groups = self.lock_groups();
        for key in keys {
            if !groups.contains(&key.group) {
                groups.insert(Arc::clone(&key.group));
            }
        }
    }

    pub(super) fn remove_group(&self, group: &Arc<str>) {
        self.lock_groups().remove(group);
    }

    pub(super) fn push(
        &self,
        group: &Arc<str>,
        partition: TopicPartition,
        new: NewCommit,
    ) -> (OffsetKey, Result<oneshot::Receiver<Result<(), OffsetError>>, OffsetError>) {
        let key = OffsetKey { group: Arc::clone(group), partition };
        if !stored::has_place(&key) {
            return (key.clone(), Err(OffsetError::NoPlace { key }));
        }
        let bytes = stored::size(&key, &new);
        if bytes > client::zk::LARGEST_REQUEST / 2 {
            return (key.clone(), Err(OffsetError::TooLarge { key }));
        }
        let mut pending = self.lock();
        if pending.queued() >= QUEUED_MAX && !pending.is_queued(&key) {
            return (key, Err(OffsetError::Loading));
        }
        let (waiter, answered) = oneshot::channel();
        if pending.push(key.clone(), new, bytes, waiter).is_err() {
            let why = pending.fence().deposed().unwrap_or(Deposed::ByAnother);
            return (key, Err(OffsetError::from(why)));
        }
        (key, Ok(answered))
    }

    pub(super) async fn wait_for(
        &self,
        key: &OffsetKey,
        mut answered: oneshot::Receiver<Result<(), OffsetError>>,
        deadline: Instant,
    ) -> Result<(), OffsetError> {
        match timeout_at(deadline, &mut answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(OffsetError::NotCoordinator),
            Err(_) => {
                answered.close();
                self.lock().forget_waiters(key, |waiter| waiter.is_closed());
                // It may have been withdrawn.
                self.progress.send_modify(|done| *done += 1);
                // It may have been answered at the last moment.
                answered.try_recv().unwrap_or(Err(OffsetError::Loading))
            }
        }
    }

    /// Waits until it is known what became of commits that came before. Fails if that takes too long.
    async fn wait_for_commits(
        &self,
        owed: impl FnOnce(&Pending<NewCommit, Waiter>) -> Owed,
    ) -> Result<(), OffsetError> {
        let mut owed = owed(&self.lock());
        if owed.is_empty() {
            return Ok(());
        }
        let deadline = self.deadline();
        let mut progress = self.progress.subscribe();
        loop {
            progress.mark_unchanged();
            if !self.lock().still_owes(&mut owed) {
                return Ok(());
            }
            if timeout_at(deadline, progress.changed()).await.is_err() {
                return Err(OffsetError::Loading);
            }
        }
    }

    /// A connection on which reads show all that was ever acknowledged.
    pub(super) async fn fresh(&self, deadline: Instant) -> Result<Link, OffsetError> {
        let mut progress = self.progress.subscribe();
        let mut links = self.store.links.subscribe();
        loop {
            progress.mark_unchanged();
            let link = links.borrow_and_update().clone();
            {
                let pending = self.lock();
                if let Some(why) = pending.fence().deposed() {
                    return Err(OffsetError::from(why));
                }
                if let Some(link) = link
                    && pending.fence().is_fresh(link.on)
                {
                    return Ok(link);
                }
            }
            self.wake.notify_one();
            let changed = async {
                tokio::select! {
                    _ = progress.changed() => {}
                    _ = links.changed() => {}
                }
            };
            if timeout_at(deadline, changed).await.is_err() {
                return Err(OffsetError::Loading);
            }
        }
    }

    /// Reads on a connection after a barrier, and again if the connection was replaced meanwhile.
    async fn read<R, F>(&self, read: impl Fn() -> F) -> Result<R, OffsetError>
    where
        F: Future<Output = Option<Result<R, ZkError>>>,
    {
        let deadline = self.deadline();
        loop {
            let link = self.fresh(deadline).await?;
            let Ok(answer) = timeout_at(deadline, read()).await else { return Err(OffsetError::Loading) };
            match answer {
                Some(Ok(found)) if self.store.attached() == Some(link.on) => return Ok(found),
                Some(Ok(_)) => {}
                Some(Err(error)) if error.is_connection_trouble() || error.is_session_over() => {}
                Some(Err(error)) => return Err(OffsetError::Refused(error)),
                None => return Err(OffsetError::NotCoordinator),
            }
            if Instant::now() >= deadline {
                return Err(OffsetError::Loading);
            }
        }
    }

    /// What ZooKeeper has of these keys, in their order.
    pub(super) async fn stored(
        &self,
        keys: &[OffsetKey],
    ) -> Result<Vec<Result<Option<Stored>, OffsetError>>, OffsetError> {
        if keys.is_empty() {
            // Who is not the coordinator says so all the same.
            return self.fresh(self.deadline()).await.map(|_| Vec::new());
        }
        let mut found = Vec::with_capacity(keys.len());
        for some in keys.chunks(READ_AT_A_TIME) {
            let paths: Vec<String> =
                some.iter().filter(|key| stored::has_place(key)).flat_map(stored::paths).collect();
            let nodes = self.read(|| self.reads.nodes(paths.clone())).await?;
            let mut pairs = nodes.chunks_exact(2);
            found.extend(some.iter().map(
                |key| match stored::has_place(key).then(|| pairs.next()).flatten() {
                    Some([offset, beside]) => Stored::of(key, offset.as_ref(), beside.as_ref()),
                    _ => Ok(None),
                },
            ));
        }
        Ok(found)
    }

    pub(super) async fn children(&self, paths: Vec<String>) -> Result<Vec<Option<Vec<String>>>, OffsetError> {
        self.read(|| self.reads.children(paths.clone())).await
    }

    pub(super) async fn nodes_exist(&self, paths: Vec<String>) -> Result<Vec<bool>, OffsetError> {
        let nodes = self.read(|| self.reads.nodes(paths.clone())).await?;
        Ok(nodes.into_iter().map(|node| node.is_some()).collect())
    }

    /// All partitions that a group has offsets of. Names that are no partition are passed over.
    pub(super) async fn keys(&self, group: &Arc<str>) -> Result<Vec<OffsetKey>, OffsetError> {
        if !stored::group_has_place(group) {
            return Ok(Vec::new());
        }
        let root = commit::offsets_path(group);
        let topics = self.children(vec![root.clone()]).await?.pop().flatten().unwrap_or_default();
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let paths = topics.iter().map(|topic| format!("{root}/{topic}")).collect();
        let partitions = self.children(paths).await?;
        let mut keys = Vec::new();
        for (topic, names) in topics.iter().zip(partitions) {
            let topic: Arc<str> = Arc::from(&**topic);
            let numbers = names.into_iter().flatten().filter_map(|name| name.parse().ok());
            keys.extend(numbers.map(|number| OffsetKey {
                group: Arc::clone(group),
                partition: TopicPartition::new(Arc::clone(&topic), number),
            }));
        }
        keys.sort();
        Ok(keys)
    }
}
