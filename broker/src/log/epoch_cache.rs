//! Where each leader epoch starts in a log (KIP-101), kept in memory and in `leader-epoch-checkpoint`.
//!
//! Followers find with it where their log parts from the leader's. Epochs and offsets both rise strictly.
//!
//! The file follows within a second or so when an epoch begins, so that no election and no first record of an epoch
//! waits for the disk, and at once when the log is cut. After an unclean stop an older content, or after a power
//! failure until the directory is synced, is made good: recovery takes the epochs above the recovery point from the
//! batches, and cuts off those that start behind the log's end; and [`Log`](super::Log) writes and syncs both before
//! its recovery point moves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::ids::{LeaderEpoch, Offset};

use super::checkpoint::{self, CheckpointError};
use super::disk::{Disk, DiskError};

#[derive(Debug)]
pub(super) struct EpochCache {
    disk: Disk,
    path: PathBuf,
    starts: BTreeMap<LeaderEpoch, Offset>,
    /// How often something changed, and how often it had when the directory was last synced.
    changes: u64,
    synced_changes: u64,
    written: Written,
}

/// As of how many changes the file is. Held while it is written.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<u64>>);

impl Written {
    /// More changes than there can be: the file is not ours to write any more.
    const NEVER_AGAIN: u64 = u64::MAX;

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file as it was to be at some moment, to be written without the partition's lock.
#[derive(Debug)]
pub struct EpochWrite {
    disk: Disk,
    path: PathBuf,
    text: String,
    changes: u64,
    written: Written,
}

impl EpochWrite {
    /// Replaces the file, unless it says something newer already.
    pub fn run(&self) -> Result<(), DiskError> {
        let mut written = self.written.lock();
        if *written < self.changes {
            self.disk.replace_or_keep(&self.path, self.text.as_bytes())?;
            *written = self.changes;
        }
        Ok(())
    }
}

impl EpochCache {
    /// Reads the file; makes an empty one if there is none, as Kafka does.
    pub(super) fn load(disk: Disk, path: PathBuf) -> Result<EpochCache, CheckpointError> {
        let entries = checkpoint::read_epochs(&disk, &path)?;
        if !disk.exists(&path)? {
            disk.write(&path, b"")?;
        }
        let (starts, written) = (BTreeMap::new(), Written::default());
        let mut cache = EpochCache { disk, path, starts, changes: 0, synced_changes: 0, written };
        for (epoch, start) in entries {
            cache.insert(epoch, start);
        }
        Ok(cache)
    }

    pub(super) fn latest(&self) -> Option<(LeaderEpoch, Offset)> {
        self.starts.last_key_value().map(|(epoch, start)| (*epoch, *start))
    }

    /// Notes that `epoch` starts at `start`. Entries that contradict it are older truths and go. The file has yet to
    /// [follow](EpochCache::to_write).
    pub(super) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.insert(epoch, start) {
            self.changes += 1;
        }
    }

    fn insert(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.latest().is_some_and(|(latest, its_start)| latest == epoch && start >= its_start) {
            return false;
        }
        self.starts.retain(|older, its_start| *older < epoch && *its_start < start);
        self.starts.insert(epoch, start);
        true
    }

    /// Forgets, in memory, what starts at `from` or later: the batches there will tell it anew.
    pub(super) fn forget_from(&mut self, from: Offset) {
        self.starts.retain(|_, start| *start < from);
    }

    /// Notes, in memory, that a batch of `epoch` lies at `start`.
    pub(super) fn note(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.latest().is_none_or(|(latest, _)| epoch > latest) {
            self.insert(epoch, start);
        }
    }

    /// What is known, to be compared with what the batches tell.
    pub(super) fn known(&self) -> BTreeMap<LeaderEpoch, Offset> {
        self.starts.clone()
    }

    /// Writes the file if it says something else.
    pub(super) fn write_unless(&mut self, known: &BTreeMap<LeaderEpoch, Offset>) -> Result<(), DiskError> {
        if self.starts == *known { Ok(()) } else { self.write() }
    }

    /// Forgets what starts at `end` or later, after the log was cut there.
    pub(super) fn truncate_from_end(&mut self, end: Offset) -> Result<(), DiskError> {
        let before = self.starts.len();
        self.starts.retain(|_, start| *start < end);
        if self.starts.len() == before {
            return Ok(());
        }
        self.write()?;
        // Batches could not contradict a stale entry that comes back below the recovery point.
        self.path.parent().map_or(Ok(()), |parent| self.disk.sync_dir(parent))?;
        self.synced(self.changes);
        Ok(())
    }

    /// Forgets what lies before `start`; the epoch that covers it now starts there.
    pub(super) fn truncate_from_start(&mut self, start: Offset) -> Result<(), DiskError> {
        let covering = self.starts.iter().rev().find(|(_, its_start)| **its_start <= start);
        let Some((&epoch, &its_start)) = covering else { return Ok(()) };
        let older = self.starts.range(..epoch).next().is_some();
        if !older && its_start == start {
            return Ok(());
        }
        self.starts.retain(|other, _| *other > epoch);
        self.starts.insert(epoch, start);
        self.write()
    }

    /// Forgets everything: the log has records that carry no epoch, or none at all.
    pub(super) fn clear(&mut self) -> Result<(), DiskError> {
        if self.starts.is_empty() {
            return Ok(());
        }
        self.starts.clear();
        self.write()
    }

    /// The largest epoch not above `epoch` and where it ends, in a log that ends at `log_end`.
    pub(super) fn end_offset_for(
        &self,
        epoch: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let (latest, _) = self.latest()?;
        if epoch == LeaderEpoch::NONE || epoch > latest {
            return None;
        }
        if epoch == latest {
            return Some((epoch, log_end));
        }
        let next_start = self.starts.range(next(epoch)..).next().map(|(_, start)| *start)?;
        let floor = self.starts.range(..=epoch).next_back().map_or(epoch, |(floor, _)| *floor);
        Some((floor, next_start))
    }

    /// The epoch in which an offset was written.
    pub(super) fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.starts.iter().rev().find(|(_, start)| **start <= offset).map(|(epoch, _)| *epoch)
    }

    /// The greatest epoch below `epoch`.
    pub(super) fn before(&self, epoch: LeaderEpoch) -> Option<LeaderEpoch> {
        self.starts.range(..epoch).next_back().map(|(epoch, _)| *epoch)
    }

    /// All epochs with their starts, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (LeaderEpoch, Offset)> + '_ {
        self.starts.iter().map(|(epoch, start)| (*epoch, *start))
    }

    fn write(&mut self) -> Result<(), DiskError> {
        self.changes += 1;
        self.to_write().map_or(Ok(()), |write| write.run())
    }

    /// Whether the file lacks something.
    pub(super) fn is_unwritten(&self) -> bool {
        *self.written.lock() < self.changes
    }

    /// What the file lacks.
    pub(super) fn to_write(&self) -> Option<EpochWrite> {
        if !self.is_unwritten() {
            return None;
        }
        let text = checkpoint::text_of_epochs(&self.starts);
        let (disk, path, written) = (self.disk.clone(), self.path.clone(), self.written.clone());
        Some(EpochWrite { disk, path, text, changes: self.changes, written })
    }

    /// The log is given up: whatever is to be written yet must not be taken for its successor's.
    pub(super) fn end(&self) {
        *self.written.lock() = Written::NEVER_AGAIN;
    }

    /// How often something changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether the directory has to be synced for the file to be sure to survive.
    pub(super) fn is_unsynced(&self) -> bool {
        self.synced_changes < self.changes
    }

    /// The directory was synced when the file was as of this many changes.
    pub(super) fn synced(&mut self, changes: u64) {
        self.synced_changes = self.synced_changes.max(changes);
    }
}

fn next(epoch: LeaderEpoch) -> LeaderEpoch {
    LeaderEpoch(epoch.0.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        cache: EpochCache,
    }

    impl Fixture {
        fn new() -> Fixture {
            let dir = tempfile::tempdir().unwrap();
            let cache = EpochCache::load(Disk::Real, dir.path().join("e")).unwrap();
            Fixture { dir, cache }
        }

        fn with(entries: &[(i32, i64)]) -> Fixture {
            let mut fixture = Fixture::new();
            for (epoch, start) in entries {
                fixture.cache.assign(LeaderEpoch(*epoch), Offset(*start));
            }
            fixture
        }

        fn file(&self) -> String {
            std::fs::read_to_string(self.dir.path().join("e")).unwrap()
        }

        /// The file, once it has followed, and the memory say the same.
        #[track_caller]
        fn check(&self, expected: &str) {
            self.cache.to_write().map_or(Ok(()), |write| write.run()).unwrap();
            assert!(self.cache.to_write().is_none());
            assert_eq!(self.file(), expected);
            let reread = EpochCache::load(Disk::Real, self.dir.path().join("e")).unwrap();
            assert_eq!(reread.starts, self.cache.starts);
        }
    }

    #[test]
    fn assigns_and_overrules() {
        Fixture::new().check("");
        Fixture::with(&[(0, 0), (1, 3), (2, 5)]).check("0\n3\n0 0\n1 3\n2 5\n");
        Fixture::with(&[(0, 0), (0, 4)]).check("0\n1\n0 0\n");
        // An epoch without records gives way to the next one at the same offset.
        Fixture::with(&[(0, 0), (1, 3), (2, 3)]).check("0\n2\n0 0\n2 3\n");
        // A lower epoch removes those above it, an earlier start those behind it.
        Fixture::with(&[(0, 0), (2, 3), (4, 9), (1, 10)]).check("0\n2\n0 0\n1 10\n");
        Fixture::with(&[(0, 0), (2, 3), (4, 9), (5, 2)]).check("0\n2\n0 0\n5 2\n");
    }

    #[test]
    fn truncates_at_both_ends() {
        let mut fixture = Fixture::with(&[(0, 0), (1, 3), (2, 5)]);
        fixture.cache.truncate_from_end(Offset(5)).unwrap();
        fixture.check("0\n2\n0 0\n1 3\n");
        fixture.cache.truncate_from_start(Offset(4)).unwrap();
        fixture.check("0\n1\n1 4\n");
        let mut fixture = Fixture::with(&[(0, 0)]);
        fixture.cache.truncate_from_start(Offset(50)).unwrap();
        fixture.check("0\n1\n0 50\n");
        fixture.cache.truncate_from_end(Offset(0)).unwrap();
        fixture.check("0\n0\n");
    }

    #[test]
    fn the_file_follows_and_never_goes_back() {
        let mut fixture = Fixture::with(&[(0, 0), (1, 3)]);
        assert_eq!(fixture.file(), "", "an election waits for no disk");
        let early = fixture.cache.to_write().unwrap();
        fixture.cache.assign(LeaderEpoch(2), Offset(5));
        let late = fixture.cache.to_write().unwrap();
        late.run().unwrap();
        early.run().unwrap();
        fixture.check("0\n3\n0 0\n1 3\n2 5\n");
        // A cut is written at once, and what was to be written before is of the past.
        fixture.cache.assign(LeaderEpoch(3), Offset(7));
        let early = fixture.cache.to_write().unwrap();
        fixture.cache.truncate_from_end(Offset(5)).unwrap();
        assert_eq!(fixture.file(), "0\n2\n0 0\n1 3\n");
        early.run().unwrap();
        fixture.check("0\n2\n0 0\n1 3\n");
    }

    #[test]
    fn a_log_that_is_given_up_writes_nothing_more() {
        let fixture = Fixture::with(&[(0, 0)]);
        let late = fixture.cache.to_write().unwrap();
        fixture.cache.end();
        late.run().unwrap();
        assert_eq!(fixture.file(), "");
        assert!(fixture.cache.to_write().is_none());
    }

    #[test]
    fn answers_where_an_epoch_ends() {
        let cache = Fixture::with(&[(2, 10), (4, 20), (7, 30)]).cache;
        let end_of = |epoch| cache.end_offset_for(LeaderEpoch(epoch), Offset(45)).map(|(e, o)| (e.0, o.0));
        let answers: Vec<_> = (-1..=8).map(end_of).collect();
        let expected = [
            None,
            Some((0, 10)),
            Some((1, 10)),
            Some((2, 20)),
            Some((2, 20)),
            Some((4, 30)),
            Some((4, 30)),
            Some((4, 30)),
            Some((7, 45)),
            None,
        ];
        assert_eq!(answers, expected);
        assert_eq!(Fixture::new().cache.end_offset_for(LeaderEpoch(0), Offset(0)), None);
        assert_eq!(cache.epoch_of(Offset(9)), None);
        assert_eq!(cache.epoch_of(Offset(29)), Some(LeaderEpoch(4)));
        assert_eq!(cache.before(LeaderEpoch(7)), Some(LeaderEpoch(4)));
    }
}
