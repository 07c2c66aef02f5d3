//! A file of entries of one fixed size, appended at the end and searched by bisection; what the offset and
//! time indexes of a segment have in common.
//!
//! Entries are written by `pwrite` and read through a read-only map: a store into a map on a full disk
//! would kill the process. Maps are made on the first search and limited in number, because the system
//! limits them per process (`vm.max_map_count`, 65,530); without a map, entries are read one by one.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::Mmap;

use super::disk::{Disk, DiskError, DiskFile};

/// Leaves most of the system's 65,530 maps to the rest of the process.
const MAX_MAPS: usize = 24_576;
/// Below this many entries bisecting by reads is as cheap as a map.
const MAP_FROM_ENTRIES: usize = 512;
/// Newest entries kept in memory: nearly all searches are near the end.
const TAIL_ENTRIES: usize = 64;

static MAPS: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
pub(super) struct IndexFile<const N: usize> {
    disk: Disk,
    path: PathBuf,
    /// Most entries the file may hold; this much is reserved, sparse, while the segment is active.
    capacity: usize,
    opened: OnceLock<Opened<N>>,
}

#[derive(Debug)]
struct Opened<const N: usize> {
    file: DiskFile,
    entries: usize,
    reserved: bool,
    /// The entries from `entries - tail.len()` on.
    tail: VecDeque<[u8; N]>,
    map: OnceLock<Option<CountedMap>>,
}

impl<const N: usize> IndexFile<N> {
    /// Touches nothing yet.
    pub(super) fn new(disk: Disk, path: PathBuf, max_bytes: usize) -> IndexFile<N> {
        IndexFile { disk, path, capacity: max_bytes / N, opened: OnceLock::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn len(&self) -> Result<usize, DiskError> {
        Ok(self.opened()?.entries)
    }

    pub(super) fn last(&self) -> Result<Option<[u8; N]>, DiskError> {
        match self.len()? {
            0 => Ok(None),
            entries => self.get(entries - 1),
        }
    }

    pub(super) fn get(&self, at: usize) -> Result<Option<[u8; N]>, DiskError> {
        self.opened()?.get(at)
    }

    /// The last entry for which `holds` is true, with its place. `holds` is true of a front part of the
    /// entries and false of the rest.
    pub(super) fn last_where(
        &self,
        holds: impl Fn(&[u8; N]) -> bool,
    ) -> Result<Option<(usize, [u8; N])>, DiskError> {
        let opened = self.opened()?;
        let in_memory = opened.entries - opened.tail.len();
        let (mut low, mut high) = match opened.tail.front() {
            Some(front) if holds(front) => (in_memory, opened.entries),
            _ => (0, in_memory),
        };
        // Invariant: true of all below `low`, false of all from `high` on.
        while low < high {
            let middle = low + (high - low) / 2;
            match opened.get(middle)? {
                Some(entry) if holds(&entry) => low = middle + 1,
                _ => high = middle,
            }
        }
        match low {
            0 => Ok(None),
            found => Ok(opened.get(found - 1)?.map(|entry| (found - 1, entry))),
        }
    }

    pub(super) fn push(&mut self, entry: [u8; N]) -> Result<(), DiskError> {
        self.reserve()?;
        let opened = self.opened_mut()?;
        opened.file.write_at((opened.entries * N) as u64, &entry)?;
        opened.entries += 1;
        opened.tail.push_back(entry);
        if opened.tail.len() > TAIL_ENTRIES {
            opened.tail.pop_front();
        }
        Ok(())
    }

    /// Grows the file to its full size; the room is not taken until entries are written.
    pub(super) fn reserve(&mut self) -> Result<(), DiskError> {
        let full_size = (self.capacity * N) as u64;
        let opened = self.opened_mut()?;
        if !opened.reserved {
            opened.file.set_len(full_size.max((opened.entries * N) as u64))?;
            opened.reserved = true;
        }
        Ok(())
    }

    /// Keeps the first `entries` entries.
    pub(super) fn truncate(&mut self, entries: usize) -> Result<(), DiskError> {
        let opened = self.opened_mut()?;
        if entries >= opened.entries {
            return Ok(());
        }
        // The tail is cut off and zeroed: a reader of the untrimmed file must not take it for entries.
        opened.file.set_len((entries * N) as u64)?;
        opened.entries = entries;
        opened.tail.clear();
        // A map must not outlive the pages it shows.
        opened.map = OnceLock::new();
        let was_reserved = std::mem::take(&mut opened.reserved);
        if was_reserved { self.reserve() } else { Ok(()) }
    }

    /// Empties the file, whatever it held.
    pub(super) fn reset(&mut self) -> Result<(), DiskError> {
        let opened = self.opened_mut()?;
        opened.file.set_len(0)?;
        opened.entries = 0;
        opened.reserved = false;
        opened.tail.clear();
        opened.map = OnceLock::new();
        Ok(())
    }

    /// Gives back the room that was reserved; says whether there was any. A file never opened since it was trimmed
    /// is left alone.
    pub(super) fn trim(&mut self) -> Result<bool, DiskError> {
        let Some(opened) = self.opened.get_mut() else { return Ok(false) };
        let used = (opened.entries * N) as u64;
        let reserved = opened.file.len()? != used;
        if reserved {
            opened.map = OnceLock::new();
            opened.file.set_len(used)?;
        }
        opened.reserved = false;
        Ok(reserved)
    }

    /// The open file, to be synced later from elsewhere.
    pub(super) fn file(&self) -> Option<DiskFile> {
        self.opened.get().map(|opened| opened.file.clone())
    }

    fn opened(&self) -> Result<&Opened<N>, DiskError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = Opened::open(self.disk.open_or_create(&self.path)?)?;
        Ok(self.opened.get_or_init(|| opened))
    }

    fn opened_mut(&mut self) -> Result<&mut Opened<N>, DiskError> {
        if self.opened.get().is_none() {
            let opened = Opened::open(self.disk.open_or_create(&self.path)?)?;
            self.opened = OnceLock::from(opened);
        }
        Ok(self.opened.get_mut().expect("it was filled just now"))
    }
}

impl<const N: usize> Opened<N> {
    fn open(file: DiskFile) -> Result<Opened<N>, DiskError> {
        let slots = usize::try_from(file.len()?).unwrap_or(usize::MAX) / N;
        let mut opened =
            Opened { file, entries: slots, reserved: false, tail: VecDeque::new(), map: OnceLock::new() };
        opened.entries = opened.used(slots)?;
        Ok(opened)
    }

    /// How many of the slots hold entries: a file that was not trimmed ends in zeros.
    fn used(&self, slots: usize) -> Result<usize, DiskError> {
        let unused = |at: usize| Ok::<bool, DiskError>(self.read(at)?.iter().all(|byte| *byte == 0));
        // A single entry of zeros may be a real one (a time index of one record of the year 1970).
        if slots <= 1 || !unused(slots - 1)? {
            return Ok(slots);
        }
        let (mut low, mut high) = (0, slots);
        while low < high {
            let middle = low + (high - low) / 2;
            if unused(middle)? { high = middle } else { low = middle + 1 }
        }
        Ok(low)
    }

    fn get(&self, at: usize) -> Result<Option<[u8; N]>, DiskError> {
        if at >= self.entries {
            return Ok(None);
        }
        let in_memory = self.entries - self.tail.len();
        if let Some(entry) = at.checked_sub(in_memory).and_then(|i| self.tail.get(i)) {
            return Ok(Some(*entry));
        }
        if self.entries >= MAP_FROM_ENTRIES
            && let Some(map) = self.map.get_or_init(|| CountedMap::of(&self.file))
            && let Some(entry) = map.0.get(at * N..).and_then(|rest| rest.first_chunk::<N>())
        {
            return Ok(Some(*entry));
        }
        self.read(at).map(Some)
    }

    fn read(&self, at: usize) -> Result<[u8; N], DiskError> {
        let mut entry = [0; N];
        self.file.read_exact_at((at * N) as u64, &mut entry)?;
        Ok(entry)
    }
}

/// A map that counts towards [`MAX_MAPS`].
#[derive(Debug)]
struct CountedMap(Mmap);

impl CountedMap {
    /// `None` if there are too many already, or the system refuses: a map only makes searches faster.
    fn of(file: &DiskFile) -> Option<CountedMap> {
        let file = file.real()?;
        if MAPS.fetch_add(1, Ordering::Relaxed) >= MAX_MAPS {
            MAPS.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        #[allow(
            unsafe_code,
            reason = "read-only map of a file that only this process writes, under the partition's lock; entries \
                      are read only below the count of written ones, and the map is dropped before the file is cut"
        )]
        // SAFETY: see the reason above; the bytes are plain data, so that even a foreign write could
        // only yield wrong entries, which the batch scan after every search would correct or refuse.
        let map = unsafe { Mmap::map(file) };
        match map {
            Ok(map) => Some(CountedMap(map)),
            Err(_) => {
                MAPS.fetch_sub(1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl Drop for CountedMap {
    fn drop(&mut self) {
        MAPS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_searches(index: &IndexFile<8>, entries: u64) {
        assert_eq!(index.len().unwrap() as u64, entries);
        for target in [0, 1, entries / 2, entries.saturating_sub(2), entries, entries + 9] {
            let found = index.last_where(|entry| u64::from_be_bytes(*entry) <= target).unwrap();
            let expected = target.min(entries);
            let place = expected.checked_sub(1).map(|at| (at as usize, expected.to_be_bytes()));
            assert_eq!(found, place, "target {target} among 1..={entries}");
        }
    }

    fn filled(disk: Disk, path: &Path, entries: u64) -> IndexFile<8> {
        let mut index = IndexFile::new(disk, path.to_path_buf(), 64 * 1024);
        for value in 1..=entries {
            index.push(value.to_be_bytes()).unwrap();
        }
        index
    }

    #[test]
    fn searches_by_map_memory_and_reads_agree() {
        let dir = tempfile::tempdir().unwrap();
        for entries in [0, 1, 40, 511, 512, 5_000] {
            let path = dir.path().join(format!("{entries}.index"));
            let mut index = filled(Disk::Real, &path, entries);
            check_searches(&index, entries);
            // Untrimmed, as after a kill: the zeros are not taken for entries.
            check_searches(&IndexFile::new(Disk::Real, path.clone(), 64 * 1024), entries);
            index.trim().unwrap();
            assert_eq!(std::fs::metadata(&path).map(|m| m.len()).unwrap_or(0), entries * 8);
            check_searches(&IndexFile::new(Disk::Real, path, 64 * 1024), entries);
        }
    }

    #[test]
    fn truncating_zeroes_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.index");
        let mut index = filled(Disk::Real, &path, 2_000);
        check_searches(&index, 2_000);
        index.truncate(700).unwrap();
        check_searches(&index, 700);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 64 * 1024);
        check_searches(&IndexFile::new(Disk::Real, path, 64 * 1024), 700);
        index.reset().unwrap();
        check_searches(&index, 0);
    }
}
