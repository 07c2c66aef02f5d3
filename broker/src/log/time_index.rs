//! `.timeindex`: how far timestamps had come by which offset.
//!
//! Entries of 12 bytes: timestamp (i64), offset relative to the segment's base (i32). Both rise: an entry
//! says that no record up to its offset has a greater timestamp (Kafka's `TimeIndex.java`).

use std::path::PathBuf;

use client::ids::Offset;

use super::disk::{Disk, DiskError, DiskFile};
use super::index_file::IndexFile;

/// A timestamp and the offset of the batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub(super) timestamp: i64,
    pub(super) offset: Offset,
}

#[derive(Debug)]
pub(super) struct TimeIndex {
    base: Offset,
    file: IndexFile<12>,
}

impl TimeIndex {
    pub(super) fn new(disk: Disk, path: PathBuf, base: Offset, max_bytes: usize) -> TimeIndex {
        TimeIndex { base, file: IndexFile::new(disk, path, max_bytes) }
    }

    /// Adds an entry if its timestamp is greater than the last one. A full index takes none, except the
    /// `last_one` of a segment, for which a place is kept.
    pub(super) fn push(&mut self, entry: TimeEntry, last_one: bool) -> Result<(), DiskError> {
        let Ok(relative) = u32::try_from(entry.offset - self.base) else { return Ok(()) };
        let (timestamp, offset) = self.last()?.map_or((-1, self.base), |last| (last.timestamp, last.offset));
        if entry.timestamp <= timestamp || entry.offset < offset || (!last_one && self.is_full()?) {
            return Ok(());
        }
        let mut bytes = [0; 12];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&entry.timestamp.to_be_bytes());
        second.copy_from_slice(&relative.to_be_bytes());
        self.file.push(bytes)
    }

    /// The greatest entry whose timestamp is not after `timestamp`.
    pub(super) fn floor(&self, timestamp: i64) -> Result<Option<TimeEntry>, DiskError> {
        let base = self.base;
        let found = self.file.last_where(|entry| parse(base, entry).timestamp <= timestamp)?;
        Ok(found.map(|(_, entry)| parse(base, &entry)))
    }

    pub(super) fn last(&self) -> Result<Option<TimeEntry>, DiskError> {
        Ok(self.file.last()?.map(|entry| parse(self.base, &entry)))
    }

    /// One place is kept for the entry written when the segment is rolled.
    pub(super) fn is_full(&self) -> Result<bool, DiskError> {
        Ok(self.file.len()? + 1 >= self.file.capacity())
    }

    /// Drops the entries at or after `offset`.
    pub(super) fn truncate_to(&mut self, offset: Offset) -> Result<(), DiskError> {
        let base = self.base;
        let kept = self.file.last_where(|entry| parse(base, entry).offset < offset)?;
        self.file.truncate(kept.map_or(0, |(at, _)| at + 1))
    }

    pub(super) fn reserve(&mut self) -> Result<(), DiskError> {
        self.file.reserve()
    }

    pub(super) fn reset(&mut self) -> Result<(), DiskError> {
        self.file.reset()
    }

    pub(super) fn trim(&mut self) -> Result<bool, DiskError> {
        self.file.trim()
    }

    pub(super) fn opened_file(&self) -> Option<DiskFile> {
        self.file.file()
    }

    pub(super) fn path(&self) -> &std::path::Path {
        self.file.path()
    }
}

fn parse(base: Offset, entry: &[u8; 12]) -> TimeEntry {
    let (timestamp, relative) = entry.split_at(8);
    let timestamp = timestamp.first_chunk().map_or(-1, |bytes| i64::from_be_bytes(*bytes));
    let relative = relative.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    TimeEntry { timestamp, offset: base + i64::from(relative) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_rising_timestamps_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut index = TimeIndex::new(Disk::Real, path.clone(), Offset(7), 48);
        let entry = |timestamp, offset| TimeEntry { timestamp, offset: Offset(offset) };
        for (timestamp, offset) in [(-1, 8), (50, 9), (50, 12), (40, 13), (60, 15), (70, 16)] {
            index.push(entry(timestamp, offset), false).unwrap();
        }
        assert_eq!(index.floor(49).unwrap(), None);
        assert_eq!(index.floor(59).unwrap(), Some(entry(50, 9)));
        assert_eq!(index.last().unwrap(), Some(entry(70, 16)));
        index.push(entry(80, 17), false).unwrap();
        assert_eq!(index.last().unwrap(), Some(entry(70, 16)), "full but for the place of the last one");
        index.push(entry(80, 17), true).unwrap();
        assert_eq!(index.last().unwrap(), Some(entry(80, 17)));
        index.truncate_to(Offset(15)).unwrap();
        index.trim().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), [0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 2]);
    }
}
