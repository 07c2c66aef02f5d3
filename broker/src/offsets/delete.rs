//! Deleting offsets: by request, by age, with their topic, with their group.
//!
//! While a key is being deleted its commits are held back, so that everything written afterwards is
//! known to be newer than the deletion. A tombstone goes into the log first: where the log holds an
//! older record of the offset, the next coordinator would otherwise take it for one that ZooKeeper
//! lacks. The nodes are deleted in the versions that were read, so nobody's newer commit goes with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use client::ids::TopicPartition;
use client::zk::{MultiError, Op, ZkError};
use client::znode::commit;
use tokio::time::{Instant, timeout_at};

use super::drive::{LIMITS, fenced};
use super::expiry::{Retention, is_expired};
use super::fence::Rights;
use super::link::Link;
use super::partition::{Inner, PartitionOffsets};
use super::stored::{Stored, paths};
use super::{OffsetError, OffsetKey};

/// Whether the log gets tombstones too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tombstones {
    Append,
    /// The log has them already.
    AreThere,
}

impl PartitionOffsets {
    /// Deletes the offsets of these partitions; those that there are none of are deleted already.
    pub async fn delete(&self, group: &Arc<str>, partitions: &[TopicPartition]) -> Result<(), OffsetError> {
        let keys = partitions
            .iter()
            .map(|partition| OffsetKey { group: Arc::clone(group), partition: partition.clone() })
            .collect();
        self.inner.delete(keys, Tombstones::Append, |_, _| true).await.map(drop)
    }

    /// Deletes all offsets of a group.
    pub async fn delete_group(&self, group: &Arc<str>) -> Result<(), OffsetError> {
        let keys = self.inner.keys(group).await?;
        self.inner.delete(keys, Tombstones::Append, |_, _| true).await.map(drop)
    }

    /// Deletes what coordinators have committed of topics that are gone.
    pub async fn delete_topics(&self, topics: &BTreeSet<Arc<str>>) -> Result<(), OffsetError> {
        for group in self.groups() {
            let mut keys = self.inner.keys(&group).await?;
            keys.retain(|key| topics.contains(&key.partition.topic));
            self.inner.delete(keys, Tombstones::Append, |_, _| true).await?;
        }
        Ok(())
    }

    /// Deletes what has outlived its retention, and gives how many offsets that were.
    pub async fn expire(
        &self,
        now_ms: i64,
        retention_ms: i64,
        retention: impl Fn(&Arc<str>) -> Retention,
    ) -> Result<usize, OffsetError> {
        let mut expired = 0;
        for group in self.groups() {
            let retention = retention(&group);
            if retention == Retention::Keep {
                continue;
            }
            // Who writes the offset alone is a classic consumer, whose offsets last.
            let is_due = |key: &OffsetKey, stored: &Stored| {
                let topic = &key.partition.topic;
                stored.commit.is_some()
                    && is_expired(topic, &stored.committed(), &retention, now_ms, retention_ms)
            };
            let mut keys = self.inner.keys(&group).await?;
            let found = self.inner.stored(&keys).await?;
            let mut found = found.into_iter();
            keys.retain(|key| matches!(found.next(), Some(Ok(Some(stored))) if is_due(key, &stored)));
            let is_still_due =
                |key: &OffsetKey, stored: &Stored| is_due(key, stored) && !self.inner.lock().is_queued(key);
            expired += self.inner.delete(keys, Tombstones::Append, is_still_due).await?;
        }
        Ok(expired)
    }
}

/// Keys that nothing is sent for until this is dropped.
struct Held<'a> {
    inner: &'a Inner,
    keys: &'a [OffsetKey],
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.inner.lock().release(self.keys);
        self.inner.wake.notify_one();
    }
}

/// A deletion that may be carried out yet, for all that is known. It raises doubt, whereupon a barrier makes it
/// fail: what it names of nodes holds again once they were deleted and made anew.
struct Unsettled<'a> {
    inner: &'a Inner,
    rights: Rights,
    is_done: bool,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.inner.lock().doubt(self.rights);
        }
    }
}

impl Inner {
    /// Deletes the keys that are to go by what ZooKeeper has of them; gives their number.
    pub(super) async fn delete(
        &self,
        keys: Vec<OffsetKey>,
        tombstones: Tombstones,
        is_to_go: impl Fn(&OffsetKey, &Stored) -> bool,
    ) -> Result<usize, OffsetError> {
        let mut deleted = 0;
        let longest = keys.iter().map(|key| paths(key).iter().map(String::len).sum()).max().unwrap_or(0);
        let at_a_time = (LIMITS.bytes / longest.max(1)).clamp(1, LIMITS.keys);
        for some in keys.chunks(at_a_time) {
            deleted += self.delete_some(some, tombstones, &is_to_go).await?;
        }
        if deleted > 0 {
            let groups: BTreeSet<&Arc<str>> = keys.iter().map(|key| &key.group).collect();
            for group in groups {
                self.tidy(group, &keys).await;
            }
        }
        Ok(deleted)
    }

    async fn delete_some(
        &self,
        keys: &[OffsetKey],
        tombstones: Tombstones,
        is_to_go: impl Fn(&OffsetKey, &Stored) -> bool,
    ) -> Result<usize, OffsetError> {
        let deadline = self.deadline();
        self.lock().hold(keys);
        let _held = Held { inner: self, keys };
        self.wait_until_resolved(keys, deadline).await?;
        let mut deleted = 0;
        let mut are_written = tombstones == Tombstones::AreThere;
        loop {
            let link = self.fresh(deadline).await?;
            let stored = self.stored(keys).await?;
            let doomed: Vec<(&OffsetKey, Stored)> = keys
                .iter()
                .zip(stored)
                .filter_map(|(key, stored)| Some((key, stored.ok()??)))
                .filter(|(key, stored)| is_to_go(key, stored))
                .collect();
            if doomed.is_empty() {
                return Ok(deleted);
            }
            if !are_written {
                let doomed = doomed.iter().map(|(key, _)| (*key).clone()).collect();
                (self.coordinated.tombstones)(doomed).await?;
                are_written = true;
            }
            if self.delete_nodes(&link, &doomed).await? {
                deleted += doomed.len();
            }
            if Instant::now() >= deadline {
                return Err(OffsetError::Loading);
            }
        }
    }

    async fn wait_until_resolved(&self, keys: &[OffsetKey], deadline: Instant) -> Result<(), OffsetError> {
        let mut progress = self.progress.subscribe();
        loop {
            progress.mark_unchanged();
            if !keys.iter().any(|key| self.lock().is_unresolved(key)) {
                return Ok(());
            }
            if timeout_at(deadline, progress.changed()).await.is_err() {
                return Err(OffsetError::Loading);
            }
        }
    }

    /// `false`: it must be looked again what is there.
    async fn delete_nodes(&self, link: &Link, doomed: &[(&OffsetKey, Stored)]) -> Result<bool, OffsetError> {
        let Some(rights) = self.lock().fence().rights() else { return Ok(false) };
        self.known.forget(doomed.iter().map(|(key, _)| *key));
        let ops: Vec<Op> = doomed.iter().flat_map(|(key, stored)| stored.deletion(key)).collect();
        let mut unsettled = Unsettled { inner: self, rights, is_done: false };
        match link.session.multi(fenced(self, rights, ops)).await {
            Ok(_) => {
                unsettled.is_done = true;
                Ok(true)
            }
            // If it was not one of these that had changed, they are read again all the same.
            Err(MultiError { error: ZkError::BadVersion { .. } | ZkError::NoNode { .. }, .. }) => Ok(false),
            Err(MultiError { error, .. }) if error.is_connection_trouble() || error.is_session_over() => {
                Ok(false)
            }
            Err(MultiError { error, .. }) => Err(OffsetError::Refused(error)),
        }
    }

    /// Deletes what is empty now. A node that got a child meanwhile stays; nothing depends on success.
    async fn tidy(&self, group: &Arc<str>, keys: &[OffsetKey]) {
        let (Some(rights), Some(link)) = (self.lock().fence().rights(), self.store.link()) else { return };
        let (offsets, commits) = (commit::offsets_path(group), commit::commits_path(group));
        let own = keys.iter().filter(|key| key.group == *group);
        let topics: BTreeSet<&str> = own.map(|key| &*key.partition.topic).collect();
        let of_topics =
            topics.iter().flat_map(|topic| [format!("{offsets}/{topic}"), format!("{commits}/{topic}")]);
        let above = [offsets.clone(), commits.clone(), commit::group_path(group)];
        let deletions = of_topics.chain(above).map(|path| fenced(self, rights, vec![Op::delete(path, None)]));
        link.session.multi_many(deletions.collect()).await;
        // A commit that lands from here on adds the group again.
        self.remove_group(group);
        if self.nodes_exist(vec![commits]).await.is_ok_and(|exist| exist == [false]) {
            return;
        }
        self.add_groups(keys.iter().filter(|key| key.group == *group));
    }
}
