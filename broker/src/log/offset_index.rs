//! `.index`: from an offset to the place of its batch in the segment's `.log`.
//!
//! Entries of 8 bytes: offset relative to the segment's base (i32), position (i32). An entry names the last
//! offset of the batch at its position (Kafka's `OffsetIndex.java`).

use std::path::PathBuf;

use client::ids::Offset;

use super::disk::{Disk, DiskError, DiskFile};
use super::index_file::IndexFile;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    pub(super) offset: Offset,
    pub(super) position: u64,
}

#[derive(Debug)]
pub(super) struct OffsetIndex {
    base: Offset,
    file: IndexFile<8>,
}

impl OffsetIndex {
    pub(super) fn new(disk: Disk, path: PathBuf, base: Offset, max_bytes: usize) -> OffsetIndex {
        OffsetIndex { base, file: IndexFile::new(disk, path, max_bytes) }
    }

    /// Adds the batch that ends with `offset`. One that does not rise is left out: the index stays sorted.
    pub(super) fn push(&mut self, offset: Offset, position: u64) -> Result<(), DiskError> {
        let (Ok(relative), Ok(position)) = (u32::try_from(offset - self.base), u32::try_from(position))
        else {
            return Ok(());
        };
        if self.last()?.is_some_and(|last| last.offset >= offset) {
            return Ok(());
        }
        let mut entry = [0; 8];
        let (first, second) = entry.split_at_mut(4);
        first.copy_from_slice(&relative.to_be_bytes());
        second.copy_from_slice(&position.to_be_bytes());
        self.file.push(entry)
    }

    /// The greatest entry not after `offset`.
    pub(super) fn floor(&self, offset: Offset) -> Result<Option<OffsetEntry>, DiskError> {
        let base = self.base;
        let found = self.file.last_where(|entry| parse(base, entry).offset <= offset)?;
        Ok(found.map(|(_, entry)| parse(base, &entry)))
    }

    /// The first entry at or after a position: the offset that bounds what a read up to there can hold.
    pub(super) fn ceiling_of_position(&self, position: u64) -> Result<Option<OffsetEntry>, DiskError> {
        let base = self.base;
        let before = self.file.last_where(|entry| parse(base, entry).position < position)?;
        let next = before.map_or(0, |(at, _)| at + 1);
        Ok(self.file.get(next)?.map(|entry| parse(base, &entry)))
    }

    pub(super) fn last(&self) -> Result<Option<OffsetEntry>, DiskError> {
        Ok(self.file.last()?.map(|entry| parse(self.base, &entry)))
    }

    pub(super) fn is_full(&self) -> Result<bool, DiskError> {
        Ok(self.file.len()? >= self.file.capacity())
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

fn parse(base: Offset, entry: &[u8; 8]) -> OffsetEntry {
    let both = u64::from_be_bytes(*entry);
    OffsetEntry { offset: base + (both >> 32).cast_signed(), position: both & 0xffff_ffff }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_floors_and_ceilings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let mut index = OffsetIndex::new(Disk::Real, path.clone(), Offset(100), 80);
        for (offset, position) in [(109, 4_200), (120, 8_500), (120, 9_000), (131, 12_900)] {
            index.push(Offset(offset), position).unwrap();
        }
        let entry = |offset, position| Some(OffsetEntry { offset: Offset(offset), position });
        assert_eq!(index.floor(Offset(108)).unwrap(), None);
        assert_eq!(index.floor(Offset(109)).unwrap(), entry(109, 4_200));
        assert_eq!(index.floor(Offset(130)).unwrap(), entry(120, 8_500));
        assert_eq!(index.ceiling_of_position(4_201).unwrap(), entry(120, 8_500));
        assert_eq!(index.ceiling_of_position(12_901).unwrap(), None);
        index.truncate_to(Offset(131)).unwrap();
        assert_eq!(index.last().unwrap(), entry(120, 8_500));
        index.trim().unwrap();
        assert_eq!(
            std::fs::read(path).unwrap(),
            [0, 0, 0, 9, 0, 0, 0x10, 0x68, 0, 0, 0, 20, 0, 0, 0x21, 0x34]
        );
    }

    #[test]
    fn is_full_at_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = OffsetIndex::new(Disk::Real, dir.path().join("i"), Offset(0), 23);
        index.push(Offset(1), 10).unwrap();
        assert!(!index.is_full().unwrap());
        index.push(Offset(2), 20).unwrap();
        assert!(index.is_full().unwrap());
    }
}
