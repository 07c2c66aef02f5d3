//! The checkpoint files of one log directory, and what they hold: Kafka's four files of offsets by partition.
//!
//! What is known here is what the next start will find, but for offsets that were [noted](DirCheckpoints::note) and
//! not yet [written](DirCheckpoints::write_noted).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::ids::{Offset, TopicPartition};

use super::checkpoint::{self, CheckpointError};
use super::disk::{Disk, DiskError};

#[derive(Debug)]
pub(super) struct DirCheckpoints {
    disk: Disk,
    dir: PathBuf,
    files: Mutex<BTreeMap<&'static str, File>>,
}

#[derive(Debug, Default)]
struct File {
    offsets: BTreeMap<TopicPartition, Offset>,
    /// The file says the same. A file of 0 bytes, as it is made, does not.
    is_written: bool,
}

impl DirCheckpoints {
    pub(super) fn new(disk: Disk, dir: PathBuf) -> DirCheckpoints {
        DirCheckpoints { disk, dir, files: Mutex::default() }
    }

    /// Reads a file, made empty if there is none.
    pub(super) fn read(
        &self,
        name: &'static str,
    ) -> Result<BTreeMap<TopicPartition, Offset>, CheckpointError> {
        let path = self.dir.join(name);
        if !self.disk.exists(&path)? {
            self.disk.write(&path, b"")?;
        }
        let offsets = checkpoint::read_offsets(&self.disk, &path)?;
        let file = File { is_written: !offsets.is_empty(), offsets: offsets.clone() };
        self.files().insert(name, file);
        Ok(offsets)
    }

    pub(super) fn get(&self, name: &'static str, partition: &TopicPartition) -> Option<Offset> {
        self.files().get(name)?.offsets.get(partition).copied()
    }

    /// Makes a file hold just the offsets that `update` gives, which is told what it held.
    pub(super) fn update(
        &self,
        name: &'static str,
        update: impl FnOnce(&BTreeMap<TopicPartition, Offset>) -> BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), DiskError> {
        self.change(name, |known| *known = update(known))
    }

    /// Changes one offset, without writing it: that is slow, and is done outside the partition's lock.
    pub(super) fn note(&self, name: &'static str, partition: &TopicPartition, offset: Offset) {
        let mut files = self.files();
        let file = files.entry(name).or_default();
        file.is_written &= file.offsets.insert(partition.clone(), offset) == Some(offset);
    }

    /// Writes what was noted; partitions for which `is_here` is false are left out from now on.
    pub(super) fn write_noted(
        &self,
        name: &'static str,
        is_here: impl Fn(&TopicPartition) -> bool,
    ) -> Result<(), DiskError> {
        self.change(name, |known| known.retain(|partition, _| is_here(partition)))
    }

    /// Takes an offset back to `to`, if it is higher, and writes that at once.
    pub(super) fn lower(
        &self,
        name: &'static str,
        partition: &TopicPartition,
        to: Offset,
    ) -> Result<(), DiskError> {
        if self.get(name, partition).is_none_or(|known| known <= to) {
            return Ok(());
        }
        self.change(name, |known| {
            known.insert(partition.clone(), to);
        })
    }

    /// Forgets a partition: what was said of it must not be taken for a successor of its name.
    pub(super) fn scrub(&self, partition: &TopicPartition) -> Result<(), DiskError> {
        let names: Vec<&'static str> = self.files().keys().copied().collect();
        names.into_iter().filter(|name| self.get(name, partition).is_some()).try_for_each(|name| {
            self.change(name, |known| {
                known.remove(partition);
            })
        })
    }

    fn change(
        &self,
        name: &'static str,
        change: impl FnOnce(&mut BTreeMap<TopicPartition, Offset>),
    ) -> Result<(), DiskError> {
        let mut files = self.files();
        let file = files.entry(name).or_default();
        let mut offsets = file.offsets.clone();
        change(&mut offsets);
        if file.is_written && file.offsets == offsets {
            return Ok(());
        }
        checkpoint::write_offsets(&self.disk, &self.dir.join(name), &offsets)?;
        *file = File { offsets, is_written: true };
        Ok(())
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<&'static str, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::checkpoint::CLEANER_OFFSETS as NAME;

    #[test]
    fn the_file_follows_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = DirCheckpoints::new(Disk::Real, dir.path().to_path_buf());
        let text = || std::fs::read_to_string(dir.path().join(NAME)).unwrap();
        assert_eq!(checkpoints.read(NAME).unwrap(), BTreeMap::new());
        assert_eq!(text(), "", "as made");
        let [a, b] = ["a", "b"].map(|topic| TopicPartition::new(topic, 0));
        checkpoints.note(NAME, &a, Offset(7));
        checkpoints.note(NAME, &b, Offset(5));
        assert_eq!(text(), "", "noted is not written");
        checkpoints.write_noted(NAME, |_| true).unwrap();
        assert_eq!(text(), "0\n2\na 0 7\nb 0 5\n");
        checkpoints.lower(NAME, &a, Offset(8)).unwrap();
        checkpoints.lower(NAME, &b, Offset(3)).unwrap();
        assert_eq!(text(), "0\n2\na 0 7\nb 0 3\n", "at once, and only downwards");
        checkpoints.write_noted(NAME, |partition| *partition != a).unwrap();
        assert_eq!(text(), "0\n1\nb 0 3\n");
        checkpoints.scrub(&b).unwrap();
        assert_eq!(text(), "0\n0\n");
        assert_eq!(checkpoints.get(NAME, &b), None);
    }
}
