//! The offsets of a coordinated partition's groups: in ZooKeeper, in its log, or in both
//! (`offsets.storage`). Whoever calls has asked the group whether it may be.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::ids::{Offset, TopicPartition};
use client::wire::{ErrorCode, Str};
use futures::FutureExt;

use super::Led;
use super::append::{Appending, told_to_committers};
use crate::clock::Now;
use crate::config::OffsetsStorage;
use crate::group::CommittedOffset;
use crate::group::record::{self, Content, Encoded};
use crate::group::replay::{LoggedOffset, OffsetOf};
use crate::offsets::{
    Coordinated, Late, NewCommit, OffsetError, OffsetKey, OffsetStore, PartitionOffsets, Retention,
    is_expired,
};

/// The offsets that one term of leadership keeps.
#[derive(Debug)]
pub(super) struct Offsets {
    store: Arc<OffsetStore>,
    /// `None` before it is loaded.
    zookeeper: Mutex<Option<Arc<PartitionOffsets>>>,
    /// With [`OffsetsStorage::Kafka`], what the log says. An offset that was deleted stays here as such,
    /// so that an older one in ZooKeeper does not show.
    logged: Mutex<BTreeMap<OffsetKey, Logged>>,
    /// Held while a commit takes its place in the log and in ZooKeeper's queue, which is the same in both.
    /// Of each key, how many commits are in the log and not yet in `logged`.
    in_order: Mutex<BTreeMap<OffsetKey, usize>>,
}

#[derive(Debug)]
struct Logged {
    /// The log's end with this in it.
    end: Offset,
    value: Option<CommittedOffset>,
}

/// The outcome for each partition that was asked for or found.
pub type Fetched = Vec<(TopicPartition, Result<Option<CommittedOffset>, ErrorCode>)>;

impl Offsets {
    pub(super) fn new(store: &Arc<OffsetStore>) -> Offsets {
        Offsets {
            store: Arc::clone(store),
            zookeeper: Mutex::new(None),
            logged: Mutex::default(),
            in_order: Mutex::default(),
        }
    }

    fn opened(&self) -> MutexGuard<'_, Option<Arc<PartitionOffsets>>> {
        self.zookeeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_logged(&self) -> MutexGuard<'_, BTreeMap<OffsetKey, Logged>> {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_order(&self) -> MutexGuard<'_, BTreeMap<OffsetKey, usize>> {
        self.in_order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_group(&self, group: &str) -> BTreeMap<TopicPartition, Option<CommittedOffset>> {
        let logged = self.lock_logged();
        let first = OffsetKey::new(group, "", i32::MIN);
        let all = logged.range(first..).take_while(|(key, _)| &*key.group == group);
        all.map(|(key, logged)| (key.partition.clone(), logged.value.clone())).collect()
    }
}

impl Led {
    fn storage(&self) -> OffsetsStorage {
        self.config().offsets_storage
    }

    /// The offsets at the present epoch. One that was opened at an older one is replaced.
    fn zookeeper(self: &Arc<Self>) -> Result<Arc<PartitionOffsets>, OffsetError> {
        let mut opened = self.offsets.opened();
        if self.is_closed() {
            return Err(OffsetError::NotCoordinator);
        }
        let epoch = self.epoch();
        if let Some(offsets) = &*opened
            && offsets.epoch() == epoch
        {
            return Ok(Arc::clone(offsets));
        }
        let (log, led, count) = (Arc::clone(self.partition()), Arc::downgrade(self), self.partition_count());
        let number = self.number();
        let offsets = self.offsets.store.open(Coordinated {
            partition: self.partition().id().clone(),
            epoch,
            // What the log has, too, whoever loads it brings into ZooKeeper.
            late: match self.storage() {
                OffsetsStorage::Both => Late::Done,
                OffsetsStorage::ZooKeeper | OffsetsStorage::Kafka => Late::Withdrawn,
            },
            log_end: Arc::new(move || log.status().end),
            tombstones: Arc::new(move |keys| {
                let led = led.upgrade();
                async move { led.ok_or(OffsetError::NotCoordinator)?.append_tombstones(&keys).await }.boxed()
            }),
            has_group: Arc::new(move |group| crate::group::partition_of(group, count) == number),
        });
        if let Some(older) = opened.replace(Arc::clone(&offsets)) {
            older.supersede();
        }
        Ok(offsets)
    }

    /// The term goes on in a newer epoch, and so do its offsets.
    pub(super) fn offsets_go_on(self: &Arc<Self>) {
        if !self.is_loaded() || self.storage() == OffsetsStorage::Kafka {
            return;
        }
        if let Ok(offsets) = self.zookeeper() {
            // Finds the groups; nothing waits for it.
            tokio::spawn(async move {
                if let Err(error) = offsets.loaded().await {
                    tracing::debug!(%error, "offsets at a newer epoch are given up");
                }
            });
        }
    }

    pub(super) fn close_offsets(&self) {
        if let Some(offsets) = self.offsets.opened().take() {
            offsets.close();
        }
    }

    /// Takes over what the log says, and gives the groups that have offsets.
    pub(super) async fn load_offsets(
        self: &Arc<Self>,
        records: BTreeMap<OffsetOf, LoggedOffset>,
    ) -> Result<BTreeSet<Arc<str>>, OffsetError> {
        let key = |of: OffsetOf| OffsetKey::new(&*of.group, &*of.topic, of.partition);
        if self.storage() == OffsetsStorage::Kafka {
            let mut logged = self.offsets.lock_logged();
            logged.extend(
                records.into_iter().map(|(of, record)| {
                    (key(of), Logged { end: record.log_offset + 1, value: record.value })
                }),
            );
            let kept = logged.iter().filter(|(_, logged)| logged.value.is_some());
            return Ok(kept.map(|(key, _)| Arc::clone(&key.group)).collect());
        }
        loop {
            let offsets = self.zookeeper()?;
            for (of, record) in &records {
                offsets.import(key(of.clone()), record.clone());
            }
            match offsets.loaded().await {
                Ok(()) => return Ok(offsets.groups().into_iter().collect()),
                Err(error) => {
                    tracing::warn!(partition = self.number(), epoch = %offsets.epoch(), %error, "offsets are not loaded; waiting for the controller");
                    self.newer_epoch(offsets.epoch()).await;
                }
            }
        }
    }

    /// Commits, and answers when all that `offsets.storage` asks for is done. The commits take their
    /// place in the order when this is called.
    pub fn commit_offsets(
        self: &Arc<Self>,
        group: &Str,
        commits: Vec<(TopicPartition, NewCommit)>,
    ) -> impl Future<Output = Vec<Result<(), ErrorCode>>> + Send + use<> {
        let count = commits.len();
        let group: Arc<str> = Arc::from(&**group);
        let began = self.begin_commit(&group, commits);
        async move {
            let Began { logging, landing } = match began {
                Ok(began) => began,
                Err(code) => return vec![Err(code); count],
            };
            if let Some(logging) = logging
                && let Err(code) = logging.done().await
            {
                return vec![Err(told_to_committers(code)); count];
            }
            match landing {
                Some(landing) => {
                    landing.await.iter().map(|one| one.as_ref().map_err(ErrorCode::from).copied()).collect()
                }
                None => vec![Ok(()); count],
            }
        }
    }

    fn begin_commit(
        self: &Arc<Self>,
        group: &Arc<str>,
        commits: Vec<(TopicPartition, NewCommit)>,
    ) -> Result<Began<impl Future<Output = Vec<Result<(), OffsetError>>> + Send + use<>>, ErrorCode> {
        let storage = self.storage();
        let mut in_order = self.offsets.lock_order();
        let mut logging = None;
        if storage != OffsetsStorage::ZooKeeper {
            let written = stamped(group, &commits, Now::read().unix_ms);
            let appending = self.append_offsets(&written).map_err(told_to_committers)?;
            for (key, _) in &written {
                *in_order.entry(key.clone()).or_default() += 1;
            }
            logging = Some(Logging { led: Arc::clone(self), appending: Some(appending), written });
        }
        let landing = match storage {
            OffsetsStorage::Kafka => None,
            OffsetsStorage::ZooKeeper | OffsetsStorage::Both => {
                Some(self.zookeeper().map(|offsets| offsets.commit(group, commits)))
            }
        };
        // What is given up below wants the lock.
        drop(in_order);
        let landing = landing.transpose().map_err(|error| ErrorCode::from(&error))?;
        Ok(Began { logging, landing })
    }

    fn append_offsets(
        &self,
        written: &[(OffsetKey, Option<CommittedOffset>)],
    ) -> Result<Appending, ErrorCode> {
        let records: Result<Vec<Encoded>, _> = written
            .iter()
            .map(|(key, value)| {
                let (group, topic) = (Str::from(&*key.group), Str::from(&*key.partition.topic));
                record::offset_record(&group, &topic, key.partition.partition, value.as_ref())
            })
            .collect();
        let records = records.map_err(|error| {
            tracing::error!(partition = self.number(), %error, "an offset's record cannot be written");
            ErrorCode::UnknownServerError
        })?;
        let is_commit = written.iter().all(|(_, value)| value.is_some());
        self.append(&records, if is_commit { Content::Commits } else { Content::Groups })
    }

    async fn append_tombstones(&self, keys: &[OffsetKey]) -> Result<(), OffsetError> {
        let tombstones: Vec<_> = keys.iter().map(|key| (key.clone(), None)).collect();
        let told = |code| OffsetError::Log(told_to_committers(code));
        let appending = self.append_offsets(&tombstones).map_err(told)?;
        let end = appending.end();
        appending.done().await.map_err(told)?;
        self.remember(end, &tombstones);
        Ok(())
    }

    /// What the log now says, if that is where offsets are read.
    fn remember(&self, end: Offset, written: &[(OffsetKey, Option<CommittedOffset>)]) {
        if self.storage() != OffsetsStorage::Kafka {
            return;
        }
        let mut logged = self.offsets.lock_logged();
        for (key, value) in written {
            if logged.get(key).is_none_or(|known| known.end < end) {
                logged.insert(key.clone(), Logged { end, value: value.clone() });
            }
        }
    }

    /// The committed offsets of these partitions, in their order, or all that the group has.
    pub async fn fetch_offsets(
        self: &Arc<Self>,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Fetched, ErrorCode> {
        self.try_fetch(&Arc::from(group), partitions).await.map_err(|error| ErrorCode::from(&error))
    }

    async fn try_fetch(
        self: &Arc<Self>,
        group: &Arc<str>,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Fetched, OffsetError> {
        let mut logged = self.offsets.of_group(group);
        let zookeeper = self.zookeeper()?;
        let told = |error: OffsetError| {
            tracing::error!(%error, "a committed offset cannot be given");
            ErrorCode::from(&error)
        };
        let Some(partitions) = partitions else {
            let mut found: BTreeMap<TopicPartition, Result<Option<CommittedOffset>, ErrorCode>> =
                BTreeMap::new();
            for (partition, offset) in zookeeper.fetch_all(group).await? {
                found.insert(partition, offset.map(Some).map_err(told));
            }
            found.extend(logged.into_iter().map(|(partition, offset)| (partition, Ok(offset))));
            return Ok(found.into_iter().filter(|(_, offset)| *offset != Ok(None)).collect());
        };
        let missing: Vec<TopicPartition> =
            partitions.iter().filter(|partition| !logged.contains_key(partition)).cloned().collect();
        let mut found =
            if missing.is_empty() { Vec::new() } else { zookeeper.fetch(group, &missing).await? }.into_iter();
        Ok(partitions
            .iter()
            .map(|partition| {
                let offset = match logged.remove(partition) {
                    Some(offset) => Ok(offset),
                    None => found.next().unwrap_or(Ok(None)).map_err(told),
                };
                (partition.clone(), offset)
            })
            .collect())
    }

    /// Deletes the offsets of these partitions.
    pub async fn delete_offsets(
        self: &Arc<Self>,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<(), ErrorCode> {
        let group: Arc<str> = Arc::from(group);
        let deleted = if self.storage() == OffsetsStorage::Kafka {
            self.delete_logged(|key, _| key.group == group && partitions.contains(&key.partition))
                .await
                .map(drop)
        } else {
            match self.zookeeper() {
                Ok(offsets) => offsets.delete(&group, partitions).await,
                Err(error) => Err(error),
            }
        };
        deleted.map_err(|error| ErrorCode::from(&error))
    }

    /// Deletes all offsets of a group.
    pub async fn delete_group_offsets(self: &Arc<Self>, group: &str) -> Result<(), ErrorCode> {
        let group: Arc<str> = Arc::from(group);
        let deleted = if self.storage() == OffsetsStorage::Kafka {
            self.delete_logged(|key, _| key.group == group).await.map(drop)
        } else {
            match self.zookeeper() {
                Ok(offsets) => offsets.delete_group(&group).await,
                Err(error) => Err(error),
            }
        };
        deleted.map_err(|error| ErrorCode::from(&error))
    }

    /// Deletes the offsets of topics that are gone.
    pub async fn delete_topic_offsets(
        self: &Arc<Self>,
        topics: &BTreeSet<Arc<str>>,
    ) -> Result<(), OffsetError> {
        if self.storage() == OffsetsStorage::Kafka {
            return self.delete_logged(|key, _| topics.contains(&key.partition.topic)).await.map(drop);
        }
        self.zookeeper()?.delete_topics(topics).await
    }

    /// Deletes what has outlived its retention, and gives how many offsets that were.
    pub(super) async fn expire_offsets(self: &Arc<Self>, now_ms: i64) -> Result<usize, OffsetError> {
        let retention_ms = i64::try_from(self.config().offsets_retention.as_millis()).unwrap_or(i64::MAX);
        // A group that only ZooKeeper knows has no members.
        let of = |group: &Arc<str>| match self.find(group) {
            Some(cell) => cell.look(|group| group.retention()),
            None => Retention::SinceCommit { subscribed: BTreeSet::new() },
        };
        if self.storage() == OffsetsStorage::Kafka {
            let is_due = |key: &OffsetKey, value: &CommittedOffset| {
                is_expired(&key.partition.topic, value, &of(&key.group), now_ms, retention_ms)
            };
            return self.delete_logged(is_due).await;
        }
        self.zookeeper()?.expire(now_ms, retention_ms, of).await
    }

    /// Whether a group is known to have no offset that a coordinator committed.
    pub(super) fn has_no_offsets(self: &Arc<Self>, group: &str) -> bool {
        match self.storage() {
            OffsetsStorage::Kafka => self.offsets.of_group(group).values().all(Option::is_none),
            OffsetsStorage::ZooKeeper | OffsetsStorage::Both => {
                self.zookeeper().is_ok_and(|offsets| offsets.lacks_group(group))
            }
        }
    }

    async fn delete_logged(
        &self,
        is_to_go: impl Fn(&OffsetKey, &CommittedOffset) -> bool,
    ) -> Result<usize, OffsetError> {
        let doomed: Vec<OffsetKey> = {
            let logged = self.offsets.lock_logged();
            let kept = logged.iter().filter_map(|(key, logged)| Some((key, logged.value.as_ref()?)));
            kept.filter(|(key, value)| is_to_go(key, value)).map(|(key, _)| key.clone()).collect()
        };
        let mut deleted = 0;
        for some in doomed.chunks(TOMBSTONES) {
            deleted += self.bury_logged(some, &is_to_go).await?;
        }
        Ok(deleted)
    }

    /// Appends tombstones for those that are still to go, and of which nothing newer is in the log.
    async fn bury_logged(
        &self,
        doomed: &[OffsetKey],
        is_to_go: impl Fn(&OffsetKey, &CommittedOffset) -> bool,
    ) -> Result<usize, OffsetError> {
        let told = |code| OffsetError::Log(told_to_committers(code));
        let (appending, tombstones) = {
            let in_order = self.offsets.lock_order();
            let logged = self.offsets.lock_logged();
            let is_due = |key: &&OffsetKey| {
                let value = logged.get(*key).and_then(|logged| logged.value.as_ref());
                !in_order.contains_key(*key) && value.is_some_and(|value| is_to_go(key, value))
            };
            let due = doomed.iter().filter(is_due);
            let tombstones: Vec<_> = due.map(|key| (key.clone(), None)).collect();
            drop(logged);
            if tombstones.is_empty() {
                return Ok(0);
            }
            (self.append_offsets(&tombstones).map_err(told)?, tombstones)
        };
        let (end, count) = (appending.end(), tombstones.len());
        appending.done().await.map_err(told)?;
        self.remember(end, &tombstones);
        Ok(count)
    }
}

/// Tombstones in one batch.
const TOMBSTONES: usize = 250;

/// A commit that has its place in the order.
struct Began<F> {
    logging: Option<Logging>,
    landing: Option<F>,
}

/// Commits that are in the log. Once this is dropped `logged` has them, or never will by them.
struct Logging {
    led: Arc<Led>,
    /// `None` once it is waited for.
    appending: Option<Appending>,
    written: Vec<(OffsetKey, Option<CommittedOffset>)>,
}

impl Logging {
    async fn done(mut self) -> Result<(), ErrorCode> {
        if let Some(appending) = self.appending.take() {
            let end = appending.end();
            appending.done().await?;
            self.led.remember(end, &self.written);
        }
        Ok(())
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let mut in_order = self.led.offsets.lock_order();
        for (key, _) in &self.written {
            if let Some(count) = in_order.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    in_order.remove(key);
                }
            }
        }
    }
}

/// Commits as the log has them: always with a time.
fn stamped(
    group: &Arc<str>,
    commits: &[(TopicPartition, NewCommit)],
    now_ms: i64,
) -> Vec<(OffsetKey, Option<CommittedOffset>)> {
    let one = |(partition, new): &(TopicPartition, NewCommit)| {
        let key = OffsetKey { group: Arc::clone(group), partition: partition.clone() };
        let committed = CommittedOffset {
            offset: new.offset,
            leader_epoch: new.leader_epoch,
            metadata: new.metadata.clone(),
            commit_time_ms: new.commit_time_ms.unwrap_or(now_ms),
            expire_time_ms: new.expire_time_ms,
        };
        (key, Some(committed))
    };
    commits.iter().map(one).collect()
}
