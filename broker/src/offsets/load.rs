//! Taking a coordinating partition over: what its log says is brought into ZooKeeper, and which groups
//! it has is found out.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use client::znode::commit::{self, ESCAPED_GROUPS};
use client::znode::consumer::CONSUMERS;
use futures::future::join_all;

use super::delete::Tombstones;
use super::import::{Import, decide};
use super::partition::{Inner, PartitionOffsets};
use super::{NewCommit, OffsetError, OffsetKey};
use crate::group::replay::LoggedOffset;

/// Offsets that are compared at a time.
const AT_A_TIME: usize = 2_000;

impl PartitionOffsets {
    /// A record of the log, in the log's order. The last one of a key counts.
    pub fn import(&self, key: OffsetKey, record: LoggedOffset) {
        self.inner.records.lock().unwrap_or_else(PoisonError::into_inner).insert(key, record);
    }

    /// Settles what was imported, and finds the groups. Waits for ZooKeeper as long as it takes;
    /// fails once this broker does not coordinate any more, or if ZooKeeper refuses a write.
    pub async fn loaded(&self) -> Result<(), OffsetError> {
        let records = std::mem::take(&mut *self.inner.records.lock().unwrap_or_else(PoisonError::into_inner));
        self.inner.patiently(|| self.inner.find_groups()).await?;
        self.inner.has_found_groups.store(true, Ordering::Release);
        let records: Vec<(OffsetKey, LoggedOffset)> = records.into_iter().collect();
        for some in records.chunks(AT_A_TIME) {
            self.inner.patiently(|| self.inner.settle(some)).await?;
        }
        Ok(())
    }
}

impl Inner {
    /// Tries again while ZooKeeper is away; each try waits for it by itself.
    async fn patiently<F>(&self, work: impl Fn() -> F) -> Result<(), OffsetError>
    where
        F: Future<Output = Result<(), OffsetError>>,
    {
        loop {
            match work().await {
                Err(OffsetError::Loading) if self.lock().fence().deposed().is_some() => {
                    return Err(OffsetError::NotCoordinator);
                }
                Err(OffsetError::Loading) => {
                    tracing::info!(partition = %self.partition(), "loading offsets: waiting for ZooKeeper");
                }
                result => return result,
            }
        }
    }

    async fn find_groups(&self) -> Result<(), OffsetError> {
        let roots = vec![String::from(CONSUMERS), String::from(ESCAPED_GROUPS)];
        let mut names = self.children(roots).await?.into_iter().map(Option::unwrap_or_default);
        let plain = names.next().unwrap_or_default();
        let escaped = names.next().unwrap_or_default();
        let escaped = escaped.iter().filter_map(|name| commit::escaped_group(name));
        let groups: Vec<Arc<str>> = plain
            .into_iter()
            .chain(escaped)
            .filter(|group| (self.coordinated.has_group)(group))
            .map(Arc::from)
            .collect();
        let commits: Vec<String> = groups.iter().map(|group| commit::commits_path(group)).collect();
        if commits.is_empty() {
            return Ok(());
        }
        let exist = self.nodes_exist(commits).await?;
        let found = groups.into_iter().zip(exist).filter(|(_, exists)| *exists);
        let found: Vec<OffsetKey> = found.map(|(group, _)| OffsetKey::new(group, "", 0)).collect();
        self.add_groups(found.iter());
        Ok(())
    }

    /// Compares records with what ZooKeeper has, and writes or deletes what they know better.
    async fn settle(&self, records: &[(OffsetKey, LoggedOffset)]) -> Result<(), OffsetError> {
        let keys: Vec<OffsetKey> = records.iter().map(|(key, _)| key.clone()).collect();
        let stored = self.stored(&keys).await?;
        let mut writes: Vec<(OffsetKey, NewCommit)> = Vec::new();
        let mut gone: Vec<OffsetKey> = Vec::new();
        for ((key, record), stored) in records.iter().zip(stored) {
            // What cannot be read is no offset to keep.
            match decide(record, stored.ok().flatten().as_ref(), self.epoch()) {
                Import::Nothing => {}
                Import::Write(commit) => writes.push((key.clone(), commit)),
                Import::Delete => gone.push(key.clone()),
            }
        }
        if !writes.is_empty() || !gone.is_empty() {
            tracing::info!(
                partition = %self.partition(), imported = writes.len(), deleted = gone.len(),
                "offsets of the log that ZooKeeper did not have"
            );
        }
        let deadline = self.deadline();
        let pushed: Vec<_> = writes
            .into_iter()
            .map(|(OffsetKey { group, partition }, commit)| self.push(&group, partition, commit))
            .collect();
        self.wake.notify_one();
        let waiting = pushed.into_iter().map(|(key, answered)| async move {
            match answered {
                Ok(answered) => self.wait_for(&key, answered, deadline).await,
                Err(error) => Err(error),
            }
        });
        for landed in join_all(waiting).await {
            match landed {
                Ok(()) => {}
                Err(error @ (OffsetError::Loading | OffsetError::NotCoordinator)) => return Err(error),
                // The others of the partition must not wait for one that ZooKeeper will not have.
                Err(error) => {
                    tracing::error!(%error, "an offset of the log cannot be brought into ZooKeeper")
                }
            }
        }
        // A classic consumer may have written one of them meanwhile.
        self.delete(gone, Tombstones::AreThere, |_, stored| stored.commit.is_some()).await.map(drop)
    }
}
