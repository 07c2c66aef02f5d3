//! One segment of a log: a `.log` of batches with its indexes. Only the last segment of a log is written.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use client::ids::Offset;
use client::record::{AnyBatch, BatchSummary, NO_TIMESTAMP, batches};

use super::batch_file::{BatchFile, Batches};
use super::config::LogConfig;
use super::disk::{Disk, DiskError, DiskFile};
use super::error::LogError;
use super::names;
use super::offset_index::OffsetIndex;
use super::retention::with_suffix;
use super::time_index::{TimeEntry, TimeIndex};
use super::txn_index::TxnIndex;

/// Newest batches whose places are kept in memory: nearly all reads are near the end.
const RECENT_BATCHES: usize = 32;

#[derive(Debug)]
pub(super) struct Segment {
    disk: Disk,
    dir: PathBuf,
    base: Offset,
    /// Of the files' names: none, or that of a segment that is not in the log yet.
    suffix: &'static str,
    log: OnceLock<DiskFile>,
    /// Bytes of batches; a preallocated file is longer.
    size: u64,
    preallocated: bool,
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
    pub(super) aborted: TxnIndex,
    since_index_entry: u64,
    /// Greatest timestamp and the last offset of the batch that has it; filled from the time index.
    max_timestamp: OnceLock<TimeEntry>,
    /// Of the first batch, from which the age of the segment is counted.
    first_timestamp: OnceLock<i64>,
    created_ms: i64,
    roll_jitter_ms: i64,
    recent: VecDeque<RecentBatch>,
}

#[derive(Clone, Copy, Debug)]
struct RecentBatch {
    base: Offset,
    last: Offset,
    place: BatchPlace,
}

/// Where a batch lies in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchPlace {
    pub(super) position: u64,
    pub(super) size: usize,
}

/// What is about to be appended, for the decision to roll.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) bytes: u64,
    pub(super) max_timestamp: i64,
    pub(super) last_offset: Offset,
}

/// Outcome of a recovery.
#[derive(Debug)]
pub(super) struct Recovered {
    /// Bytes cut off, and why.
    pub(super) cut: Option<(u64, String)>,
    pub(super) next_offset: Offset,
}

impl Segment {
    /// A segment whose `.log` exists with `size` bytes. Nothing is opened yet.
    pub(super) fn existing(
        disk: &Disk,
        dir: &Path,
        base: Offset,
        size: u64,
        config: &LogConfig,
        roll_jitter_ms: i64,
        now_ms: i64,
    ) -> Segment {
        Segment::named(disk, dir, base, "", size, config, roll_jitter_ms, now_ms)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the one place where a segment is made, called by three that each know most of it"
    )]
    fn named(
        disk: &Disk,
        dir: &Path,
        base: Offset,
        suffix: &'static str,
        size: u64,
        config: &LogConfig,
        roll_jitter_ms: i64,
        now_ms: i64,
    ) -> Segment {
        let path = |kind| with_suffix(&dir.join(names::of_offset(base, kind)), suffix);
        let index_bytes = config.max_index_bytes();
        Segment {
            disk: disk.clone(),
            dir: dir.to_path_buf(),
            base,
            suffix,
            log: OnceLock::new(),
            size,
            preallocated: false,
            offsets: OffsetIndex::new(disk.clone(), path(names::INDEX), base, index_bytes),
            times: TimeIndex::new(disk.clone(), path(names::TIME_INDEX), base, index_bytes),
            aborted: TxnIndex::new(disk.clone(), path(names::TXN_INDEX)),
            since_index_entry: 0,
            max_timestamp: OnceLock::new(),
            first_timestamp: OnceLock::new(),
            created_ms: now_ms,
            roll_jitter_ms,
            recent: VecDeque::new(),
        }
    }

    /// Makes a new, empty segment, removing files of the same base that may be there.
    pub(super) fn create(
        disk: &Disk,
        dir: &Path,
        base: Offset,
        config: &LogConfig,
        roll_jitter_ms: i64,
        now_ms: i64,
    ) -> Result<Segment, DiskError> {
        let mut segment = Segment::existing(disk, dir, base, 0, config, roll_jitter_ms, now_ms);
        segment.create_files()?;
        if config.preallocate {
            segment.log_file()?.set_len(config.max_segment_bytes())?;
            segment.preallocated = true;
        }
        Ok(segment)
    }

    /// Makes an empty segment that is to take the place of others, removing what an earlier attempt left.
    pub(super) fn create_cleaned(
        disk: &Disk,
        dir: &Path,
        base: Offset,
        config: &LogConfig,
    ) -> Result<Segment, DiskError> {
        let mut segment = Segment::named(disk, dir, base, names::CLEANED, 0, config, 0, 0);
        segment.create_files()?;
        Ok(segment)
    }

    fn create_files(&mut self) -> Result<(), DiskError> {
        self.remove_files()?;
        self.log = OnceLock::from(self.disk.open_or_create(&self.log_path())?);
        self.offsets.reserve()?;
        self.times.reserve()
    }

    /// Removes what there is of its files.
    pub(super) fn remove_files(&self) -> Result<(), DiskError> {
        self.paths().iter().try_for_each(|path| self.disk.remove_file(path))
    }

    pub(super) fn base(&self) -> Offset {
        self.base
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn log_path(&self) -> PathBuf {
        with_suffix(&self.dir.join(names::of_offset(self.base, names::LOG)), self.suffix)
    }

    /// Its files, whether or not they exist.
    pub(super) fn paths(&self) -> [PathBuf; 4] {
        let index = [self.offsets.path(), self.times.path(), self.aborted.path()];
        let [offsets, times, aborted] = index.map(Path::to_path_buf);
        [self.log_path(), offsets, times, aborted]
    }

    pub(super) fn log_file(&self) -> Result<&DiskFile, DiskError> {
        if let Some(file) = self.log.get() {
            return Ok(file);
        }
        let file = self.disk.open(&self.log_path())?;
        Ok(self.log.get_or_init(|| file))
    }

    /// Whether a new segment has to be started before `incoming` is appended.
    pub(super) fn must_roll(
        &self,
        incoming: &Incoming,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        if self.size > config.max_segment_bytes().saturating_sub(incoming.bytes) && self.size > 0 {
            return Ok(true);
        }
        if incoming.last_offset - self.base > i64::from(i32::MAX) {
            return Ok(true);
        }
        let age_ms = self.age_ms(incoming.max_timestamp, now_ms)?;
        if self.size > 0 && age_ms > config.max_segment_ms().saturating_sub(self.roll_jitter_ms) {
            return Ok(true);
        }
        Ok(self.size > 0 && (self.offsets.is_full()? || self.times.is_full()?))
    }

    /// By the timestamps of the batches if they have any, else by the clock.
    fn age_ms(&self, incoming_timestamp: i64, now_ms: i64) -> Result<i64, LogError> {
        let first = self.first_timestamp()?;
        Ok(match first >= 0 {
            true => incoming_timestamp.saturating_sub(first),
            false => now_ms.saturating_sub(self.created_ms),
        })
    }

    /// Of the first batch; −1 without one.
    pub(super) fn first_timestamp(&self) -> Result<i64, LogError> {
        if let Some(timestamp) = self.first_timestamp.get() {
            return Ok(*timestamp);
        }
        match self.batches_from(0)?.next_summary()? {
            Some((_, first)) => Ok(*self.first_timestamp.get_or_init(|| first.max_timestamp())),
            None => Ok(NO_TIMESTAMP),
        }
    }

    /// Appends whole batches.
    pub(super) fn append(&mut self, bytes: &[u8], config: &LogConfig) -> Result<(), DiskError> {
        self.log_file()?.write_at(self.size, bytes)?;
        let mut position = self.size;
        for batch in batches(bytes) {
            self.index(&batch, position, config)?;
            position += batch.size() as u64;
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Notes a batch that lies at `position`: as Kafka 3.9 does it, per batch and after its bytes are written.
    fn index(&mut self, batch: &BatchSummary, position: u64, config: &LogConfig) -> Result<(), DiskError> {
        let mut max = self.max_timestamp()?;
        if batch.max_timestamp() > max.timestamp {
            max = TimeEntry { timestamp: batch.max_timestamp(), offset: batch.last_offset() };
            self.max_timestamp = OnceLock::from(max);
        }
        if self.since_index_entry > config.index_interval() {
            self.offsets.push(batch.last_offset(), position)?;
            self.times.push(max, false)?;
            self.since_index_entry = 0;
        }
        self.since_index_entry += batch.size() as u64;
        if position == 0 {
            self.first_timestamp = OnceLock::from(batch.max_timestamp());
        }
        let base = batch.base_offset().unwrap_or(batch.last_offset());
        let place = BatchPlace { position, size: batch.size() };
        self.recent.push_back(RecentBatch { base, last: batch.last_offset(), place });
        if self.recent.len() > RECENT_BATCHES {
            self.recent.pop_front();
        }
        Ok(())
    }

    /// Greatest timestamp so far; −1 at the base offset if no batch has any.
    pub(super) fn max_timestamp(&self) -> Result<TimeEntry, DiskError> {
        if let Some(max) = self.max_timestamp.get() {
            return Ok(*max);
        }
        let none = TimeEntry { timestamp: NO_TIMESTAMP, offset: self.base };
        let max = self.times.last()?.unwrap_or(none);
        Ok(*self.max_timestamp.get_or_init(|| max))
    }

    /// Greatest timestamp of the records, or when the file was last written if they have none.
    pub(super) fn largest_timestamp(&self) -> Result<i64, DiskError> {
        let max = self.max_timestamp()?;
        if max.timestamp >= 0 { Ok(max.timestamp) } else { self.modified_ms() }
    }

    pub(super) fn modified_ms(&self) -> Result<i64, DiskError> {
        Ok(self.disk.stat(&self.log_path())?.map_or(0, |stat| stat.modified_ms))
    }

    /// The first batch that ends at or after `offset`.
    pub(super) fn locate(&self, offset: Offset) -> Result<Option<BatchPlace>, LogError> {
        if self.recent.front().is_some_and(|front| front.base <= offset) {
            let found = self.recent.partition_point(|batch| batch.last < offset);
            return Ok(self.recent.get(found).map(|batch| batch.place));
        }
        let start = self.offsets.floor(offset)?.map_or(0, |entry| entry.position);
        let mut batches = self.batches_from(start)?;
        while let Some((position, batch)) = batches.next_summary()? {
            if batch.last_offset() >= offset {
                return Ok(Some(BatchPlace { position, size: batch.size() }));
            }
        }
        Ok(None)
    }

    /// Where what lies before `offset` ends: the place of the batch that holds it, or the end of the segment.
    pub(super) fn end_position_before(&self, offset: Offset) -> Result<u64, LogError> {
        Ok(self.locate(offset)?.map_or(self.size, |place| place.position))
    }

    /// An offset that nothing read up to `position` reaches, if the index knows one.
    pub(super) fn offset_bound_at(&self, position: u64) -> Result<Option<Offset>, DiskError> {
        Ok(self.offsets.ceiling_of_position(position)?.map(|entry| entry.offset))
    }

    /// Walks the batches from a position at which one starts.
    pub(super) fn batches_from(&self, position: u64) -> Result<Batches, DiskError> {
        Ok(BatchFile::new(self.log_file()?.clone(), self.size).walk(position))
    }

    /// The offset after the last batch, found from the end of the index. `None`: something that is no whole batch
    /// follows it.
    pub(super) fn next_offset(&self) -> Result<Option<Offset>, LogError> {
        let start = self.offsets.last()?.map_or(0, |entry| entry.position);
        let mut next = self.base;
        let mut batches = self.batches_from(start)?;
        while let Some((_, batch)) = batches.next_summary()? {
            next = batch.next_offset();
        }
        Ok((batches.position() == self.size).then_some(next))
    }

    /// Whether the last index entry names a batch of the file. A broker stopped cleanly leaves a right one;
    /// an index that something else damaged would hide the end of the log.
    pub(super) fn index_fits(&self) -> Result<bool, LogError> {
        let Some(last) = self.offsets.last()? else { return Ok(true) };
        if last.position >= self.size {
            return Ok(false);
        }
        match self.batches_from(last.position)?.next_summary() {
            Ok(first) => Ok(first.is_some_and(|(_, batch)| batch.last_offset() == last.offset)),
            Err(LogError::Damaged { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Checks every batch, builds the indexes anew and cuts the file before the first bad one.
    /// `visit` sees each good batch, in order; what it refuses is bad too.
    pub(super) fn recover(
        &mut self,
        config: &LogConfig,
        mut visit: impl FnMut(&AnyBatch<'_>) -> Result<(), DiskError>,
    ) -> Result<Recovered, LogError> {
        self.offsets.reset()?;
        self.times.reset()?;
        self.aborted.reset()?;
        self.since_index_entry = 0;
        self.recent.clear();
        self.first_timestamp = OnceLock::new();
        self.max_timestamp = OnceLock::from(TimeEntry { timestamp: NO_TIMESTAMP, offset: self.base });

        let mut batches = self.batches_from(0)?;
        let mut next_offset = self.base;
        let mut valid = 0;
        let mut why = None;
        loop {
            let (position, batch) = match batches.next_checked() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(LogError::Damaged { problem, .. }) => {
                    why = Some(problem.to_string());
                    break;
                }
                Err(e) => return Err(e),
            };
            if let Some(problem) = self.misplaced(&batch, next_offset) {
                why = Some(problem);
                break;
            }
            self.index(batch.summary(), position, config)?;
            visit(&batch)?;
            next_offset = batch.next_offset();
            valid = position + batch.size() as u64;
        }
        let cut = self.size.saturating_sub(valid);
        let cut = (cut > 0).then(|| {
            let torn = || "the last batch is incomplete".to_owned();
            (cut, why.unwrap_or_else(torn))
        });
        self.cut_file(valid)?;
        let max = self.max_timestamp()?;
        self.times.push(max, true)?;
        self.offsets.trim()?;
        self.times.trim()?;
        Ok(Recovered { cut, next_offset })
    }

    fn misplaced(&self, batch: &BatchSummary, next_offset: Offset) -> Option<String> {
        let (first, last) = (batch.base_offset().unwrap_or(batch.last_offset()), batch.last_offset());
        let reachable = last >= self.base && last - self.base <= i64::from(i32::MAX);
        (first < next_offset || last < first || !reachable).then(|| {
            format!(
                "a batch of offsets {first} to {last} cannot follow offset {next_offset} in the segment of base {}",
                self.base
            )
        })
    }

    /// Cuts off the batches from the first one that ends at or after `offset`. Returns the bytes cut.
    pub(super) fn truncate_to(&mut self, offset: Offset, now_ms: i64) -> Result<u64, LogError> {
        let valid = self.end_position_before(offset)?;
        self.offsets.truncate_to(offset)?;
        self.times.truncate_to(offset)?;
        self.aborted.truncate_to(offset)?;
        let cut = self.size.saturating_sub(valid);
        self.cut_file(valid)?;
        self.recent.retain(|batch| batch.place.position < valid);
        self.since_index_entry = 0;
        self.max_timestamp = OnceLock::new();
        if valid == 0 {
            self.first_timestamp = OnceLock::new();
            self.created_ms = now_ms;
        }
        self.restore_max_timestamp()?;
        Ok(cut)
    }

    /// The time index lags behind the batches; what came after its last entry is looked up in the file.
    fn restore_max_timestamp(&mut self) -> Result<(), LogError> {
        let mut max = self.max_timestamp()?;
        let from = match max.timestamp >= 0 {
            true => self.offsets.floor(max.offset)?.map_or(0, |entry| entry.position),
            false => 0,
        };
        let mut batches = self.batches_from(from)?;
        while let Some((_, batch)) = batches.next_summary()? {
            if batch.max_timestamp() > max.timestamp {
                max = TimeEntry { timestamp: batch.max_timestamp(), offset: batch.last_offset() };
            }
        }
        self.max_timestamp = OnceLock::from(max);
        Ok(())
    }

    fn cut_file(&mut self, size: u64) -> Result<(), DiskError> {
        let file = self.log_file()?;
        if file.len()? != size {
            file.set_len(size)?;
        }
        self.preallocated = false;
        self.size = size;
        Ok(())
    }

    /// Ends writing: the last time entry is made, reserved room is given back. Says whether files changed.
    pub(super) fn seal(&mut self) -> Result<bool, DiskError> {
        // Without a batch appended, nothing was opened and nothing is to be added.
        if let Some(max) = self.max_timestamp.get().copied() {
            self.times.push(max, true)?;
        }
        // An index that took entries had room reserved for them.
        let trimmed = [self.offsets.trim()?, self.times.trim()?].contains(&true);
        let preallocated = self.preallocated;
        if preallocated {
            let size = self.size;
            self.cut_file(size)?;
        }
        self.recent = VecDeque::new();
        Ok(trimmed || preallocated)
    }

    /// Makes its batches, and that there are no more of them, survive a power failure.
    pub(super) fn sync_batches(&self) -> Result<(), DiskError> {
        self.log_file()?.sync()
    }

    /// The files that hold the segment, to be synced now or from elsewhere.
    pub(super) fn files_to_sync(&self) -> Result<Vec<DiskFile>, DiskError> {
        let mut files = vec![self.log_file()?.clone()];
        files.extend(self.offsets.opened_file());
        files.extend(self.times.opened_file());
        files.extend(self.aborted.existing_file()?);
        Ok(files)
    }
}
