//! One compaction of one log, from its list of segments to the checkpoint.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;

use client::ids::{Offset, TopicPartition};
use client::record::BuildError;
use thiserror::Error;

use super::filter::{Counts, Filter, FilterError, LastBatch, Rest, last_batches};
use super::groups::{self, Source, grouped};
use super::keys::{NewestOffsets, Put, put_keys};
use super::swap::{Seen, Swapped};
use super::transactions::Transactions;
use crate::log::batch_file::{BatchFile, Batches};
use crate::log::checkpoint::CLEANER_OFFSETS;
use crate::log::config::LogConfig;
use crate::log::dir::LogDir;
use crate::log::disk::{Disk, DiskError};
use crate::log::error::LogError;
use crate::log::log::Log;
use crate::log::names;
use crate::log::segment::Segment;
use crate::log::txn_index::{AbortedTxn, TxnIndex};

/// A log behind its lock.
pub trait Locked {
    /// Runs `work` on the log; `None` if there is none any more.
    fn with<T>(&self, work: impl FnOnce(&mut Log) -> Result<T, LogError>) -> Option<Result<T, LogError>>;
}

/// Told of bytes that were read or written; it takes its time, and may end the compaction.
pub type Paced<'a> = &'a mut dyn FnMut(usize) -> ControlFlow<()>;

/// What a compaction may take.
#[derive(Clone, Copy, Debug)]
pub struct CleaningLimits {
    /// Memory for the offsets of keys: the dirty part is compacted as far as it lasts.
    pub dedupe_bytes: usize,
    /// How full that memory may become, from 0 to 1.
    pub load_factor: f64,
    /// Bytes read at once, and written at once.
    pub io_bytes: usize,
    /// Random: keys the hashes of this compaction.
    pub secret: (u64, u64),
}

/// What a compaction did.
#[derive(Clone, Debug)]
pub struct Cleaned {
    pub partition: TopicPartition,
    pub dir: Arc<LogDir>,
    /// What was dirty and is clean now.
    pub offsets: Range<Offset>,
    /// Of the segments that were copied, and of their copies.
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub records_read: u64,
    pub records_kept: u64,
    /// Records dropped because they had no key: they are from before the topic was compacted.
    pub keyless: u64,
    /// Different keys in the dirty part, and the memory that took.
    pub keys: usize,
    pub dedupe_bytes: usize,
    pub segments_before: usize,
    pub segments_after: usize,
}

/// Why a log was not compacted. What was put in place so far stays; nothing is lost.
#[derive(Debug, Error)]
pub enum CleaningError {
    /// The log was deleted, cut or is no longer to be compacted.
    #[error("the log changed meanwhile")]
    Superseded,
    #[error("the broker stops")]
    Stopped,
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the batch at {position} of {} cannot be written anew: {problem}", file.display())]
    Rebuild { file: PathBuf, position: u64, problem: BuildError },
}

impl From<DiskError> for CleaningError {
    fn from(error: DiskError) -> CleaningError {
        CleaningError::Log(error.into())
    }
}

/// Compacts a log once. `None`: there is nothing to compact. The caller has the checkpoint written
/// ([`LogDirs::checkpoint_cleaned`](crate::log::LogDirs::checkpoint_cleaned)).
pub fn clean(
    log: &impl Locked,
    limits: CleaningLimits,
    now_ms: i64,
    pace: Paced<'_>,
) -> Result<Option<Cleaned>, CleaningError> {
    let begun = log.with(|log| log.begin_cleaning(limits, now_ms)).ok_or(CleaningError::Superseded)??;
    let Some(mut cleaning) = begun else { return Ok(None) };
    match cleaning.run(log, pace) {
        // Files that were taken away while they were read, or others in their place, are no damage.
        Err(CleaningError::Log(_) | CleaningError::Rebuild { .. })
            if !cleaning.home.is_offline() && !cleaning.is_current(log) =>
        {
            Err(CleaningError::Superseded)
        }
        Err(CleaningError::Log(error)) => Ok(cleaning.home.note(Err(error))?),
        outcome => outcome.map(Some),
    }
}

/// A compaction under way.
#[derive(Debug)]
struct Cleaning {
    partition: TopicPartition,
    home: Arc<LogDir>,
    path: PathBuf,
    config: LogConfig,
    limits: CleaningLimits,
    now_ms: i64,
    seen: Seen,
    dirty: Range<Offset>,
    /// Segments still to be compacted, all below the end of the dirty part; sizes of indexes are not known yet.
    sources: Vec<Source>,
    /// Bases of all segments.
    bases: Vec<Offset>,
    last_batches: BTreeMap<i64, LastBatch>,
    counts: Counts,
    bytes_read: u64,
    bytes_written: u64,
}

impl Log {
    fn begin_cleaning(&self, limits: CleaningLimits, now_ms: i64) -> Result<Option<Cleaning>, LogError> {
        let Some(cleanable) = self.cleanable(now_ms)?.filter(|cleanable| !cleanable.dirty.is_empty()) else {
            return Ok(None);
        };
        let dirty = cleanable.dirty;
        let bases: Vec<Offset> = self.segments.keys().copied().collect();
        let ends = bases.iter().skip(1);
        let sources = self.segments.values().zip(ends).filter(|(segment, _)| segment.base() < dirty.end);
        let sources = sources.map(|(segment, end)| Source {
            base: segment.base(),
            end: *end,
            size: segment.size(),
            index_size: 0,
            time_index_size: 0,
        });
        Ok(Some(Cleaning {
            sources: sources.collect(),
            bases,
            partition: self.partition.clone(),
            home: Arc::clone(&self.home),
            path: self.path.clone(),
            config: self.config.clone(),
            limits,
            now_ms,
            seen: self.seen(),
            dirty,
            last_batches: last_batches(&self.producers.states),
            counts: Counts::default(),
            bytes_read: 0,
            bytes_written: 0,
        }))
    }

    fn end_cleaning(&self, seen: Seen, end: Offset) -> bool {
        let current = self.is_as_seen(seen);
        if current {
            self.home.checkpoints().note(CLEANER_OFFSETS, &self.partition, end);
        }
        current
    }
}

impl Cleaning {
    fn run(&mut self, log: &impl Locked, pace: Paced<'_>) -> Result<Cleaned, CleaningError> {
        let newest = self.read_keys(pace)?;
        let mut sources = Vec::with_capacity(self.sources.len());
        for source in self.sources.iter().filter(|source| source.base < newest.end) {
            sources.push(self.with_index_sizes(*source)?);
        }
        let segments_before = sources.len();
        let limits = groups::Limits {
            size: self.config.max_segment_bytes(),
            index_size: self.config.max_index_bytes() as u64,
        };
        let legacy_horizon_ms = self.legacy_horizon_ms()?;
        let mut transactions = Transactions::new(self.aborted_from(self.first_base())?);
        let mut segments_after = 0;
        let mut groups = VecDeque::from(grouped(&sources, limits));
        while let Some(group) = groups.pop_front() {
            let mut after = transactions.clone();
            let Some(first) = group.first() else { continue };
            let mut copy = Segment::create_cleaned(self.disk(), &self.path, first.base, &self.config)?;
            let swapped = self
                .fill(&mut copy, &group, &newest, legacy_horizon_ms, &mut after, pace)
                .and_then(|()| self.swap(log, &group));
            if !matches!(swapped, Ok(Swapped::Done)) {
                // What cannot be removed now, the next start removes.
                let _ = copy.remove_files();
            }
            match swapped? {
                Swapped::Done => {
                    let next = group.last().map_or(newest.end, |last| last.end);
                    self.sources.retain(|source| source.base >= next);
                    self.disk().sync_dir(&self.path)?;
                    transactions = after;
                    segments_after += 1;
                }
                // What is left is copied by itself: skipping it would leave old values behind newer tombstones.
                Swapped::Gone { left } => {
                    grouped(&left, limits).into_iter().rev().for_each(|group| groups.push_front(group));
                }
                Swapped::Superseded => return Err(CleaningError::Superseded),
            }
        }
        let ended = log.with(|log| Ok(log.end_cleaning(self.seen, newest.end)));
        if !ended.ok_or(CleaningError::Superseded)?? {
            return Err(CleaningError::Superseded);
        }
        Ok(Cleaned {
            partition: self.partition.clone(),
            dir: Arc::clone(&self.home),
            offsets: self.dirty.start..newest.end,
            bytes_read: self.bytes_read,
            bytes_written: self.bytes_written,
            records_read: self.counts.read,
            records_kept: self.counts.kept,
            keyless: self.counts.keyless,
            keys: newest.map.len(),
            dedupe_bytes: newest.map.bytes(),
            segments_before,
            segments_after,
        })
    }

    fn is_current(&self, log: &impl Locked) -> bool {
        let sources = || self.sources.iter().map(|source| source.base);
        let current = log.with(|log| {
            Ok(log.is_as_seen(self.seen) && sources().all(|base| log.segments.contains_key(&base)))
        });
        matches!(current, Some(Ok(true)))
    }

    /// Reads the dirty part up to where the memory for its keys ends.
    fn read_keys(&self, pace: Paced<'_>) -> Result<NewestOffsets, CleaningError> {
        let start = self.dirty.start;
        let mut newest = NewestOffsets::new(&self.limits, start);
        let mut transactions = Transactions::new(self.aborted_from(start)?);
        for source in self.sources.iter().filter(|source| source.end > start) {
            let mut batches = self.walk(source)?;
            while let Some((position, batch)) = batches.next_checked()? {
                paced(pace(batch.size()))?;
                if batch.last_offset() < start {
                    continue;
                }
                if batch.is_control() {
                    transactions.control(&batch);
                } else if !transactions.data(&batch) {
                    let unreadable =
                        |problem| LogError::Unreadable { file: self.log_path(source), position, problem };
                    if put_keys(&mut newest.map, &batch, start).map_err(unreadable)? == Put::NoRoom {
                        return Ok(newest);
                    }
                }
                newest.end = batch.next_offset();
            }
            batches.check_complete()?;
            newest.end = source.end;
        }
        Ok(newest)
    }

    fn swap(&self, log: &impl Locked, group: &[Source]) -> Result<Swapped, CleaningError> {
        let swapped = log.with(|log| log.swap(group, self.seen, self.now_ms));
        Ok(swapped.ok_or(CleaningError::Superseded)??)
    }

    /// Writes what stays of a group's segments into a segment of its own, and on the disk for good.
    fn fill(
        &mut self,
        copy: &mut Segment,
        group: &[Source],
        newest: &NewestOffsets,
        legacy_horizon_ms: i64,
        transactions: &mut Transactions,
        pace: Paced<'_>,
    ) -> Result<(), CleaningError> {
        let mut pending = Vec::new();
        let mut modified_ms = 0;
        for source in group {
            modified_ms = self.modified_ms(source.base)?;
            let filter = Filter {
                newest: &newest.map,
                end: newest.end,
                last_batches: &self.last_batches,
                now_ms: self.now_ms,
                delete_retention_ms: self.config.delete_retention_ms,
                keep_legacy_tombstones: modified_ms > legacy_horizon_ms,
            };
            let mut aborted = Vec::new();
            let mut batches = self.walk(source)?;
            while let Some((position, batch)) = batches.next_checked()? {
                paced(pace(batch.size()))?;
                self.bytes_read += batch.size() as u64;
                let rest = filter.apply(&batch, transactions, &mut self.counts, |txn| aborted.push(txn));
                match rest.map_err(|problem| self.unfiltered(source, position, problem))? {
                    Rest::Whole => pending.extend_from_slice(batch.bytes()),
                    Rest::Rebuilt(bytes) => pending.extend_from_slice(&bytes),
                    Rest::Nothing => {}
                }
                if pending.len() >= self.limits.io_bytes {
                    self.bytes_written += pending.len() as u64;
                    copy.append(&pending, &self.config)?;
                    paced(pace(pending.len()))?;
                    pending.clear();
                }
            }
            batches.check_complete()?;
            aborted.into_iter().try_for_each(|txn| copy.aborted.push(txn))?;
        }
        if !pending.is_empty() {
            self.bytes_written += pending.len() as u64;
            copy.append(&pending, &self.config)?;
            paced(pace(pending.len()))?;
        }
        copy.seal()?;
        for file in copy.files_to_sync()? {
            file.sync()?;
        }
        Ok(copy.log_file()?.set_modified(modified_ms)?)
    }

    fn unfiltered(&self, source: &Source, position: u64, problem: FilterError) -> CleaningError {
        let file = self.log_path(source);
        match problem {
            FilterError::Unreadable(problem) => LogError::Unreadable { file, position, problem }.into(),
            FilterError::Build(problem) => CleaningError::Rebuild { file, position, problem },
        }
    }

    /// The aborted transactions whose markers lie at `from` or behind it, as far as they matter to the dirty part and
    /// what lies before it.
    fn aborted_from(&self, from: Offset) -> Result<Vec<AbortedTxn>, DiskError> {
        let floor = self.bases.iter().rev().find(|base| **base <= from).copied().unwrap_or(from);
        let mut aborted = Vec::new();
        for base in self.bases.iter().filter(|base| **base >= floor) {
            let index =
                TxnIndex::new(self.disk().clone(), self.path.join(names::of_offset(*base, names::TXN_INDEX)));
            for txn in index.entries()? {
                if txn.last_offset >= from && txn.first_offset < self.dirty.end {
                    aborted.push(txn);
                }
                if txn.last_stable_offset >= self.dirty.end {
                    return Ok(aborted);
                }
            }
        }
        Ok(aborted)
    }

    /// Tombstones of formats 0 and 1 go when the segments before the dirty part are this old.
    fn legacy_horizon_ms(&self) -> Result<i64, DiskError> {
        let Some(last_clean) = self.sources.iter().rfind(|source| source.base < self.dirty.start) else {
            return Ok(0);
        };
        Ok(self.modified_ms(last_clean.base)?.saturating_sub(self.config.delete_retention_ms))
    }

    fn with_index_sizes(&self, source: Source) -> Result<Source, DiskError> {
        let size = |kind| {
            let stat = self.disk().stat(&self.path.join(names::of_offset(source.base, kind)))?;
            Ok::<u64, DiskError>(stat.map_or(0, |stat| stat.len))
        };
        Ok(Source { index_size: size(names::INDEX)?, time_index_size: size(names::TIME_INDEX)?, ..source })
    }

    fn modified_ms(&self, base: Offset) -> Result<i64, DiskError> {
        let stat = self.disk().stat(&self.path.join(names::of_offset(base, names::LOG)))?;
        Ok(stat.map_or(0, |stat| stat.modified_ms))
    }

    fn walk(&self, source: &Source) -> Result<Batches, DiskError> {
        let file = self.disk().open(&self.log_path(source))?;
        Ok(BatchFile::new(file, source.size).walk_in_steps(0, self.limits.io_bytes))
    }

    fn log_path(&self, source: &Source) -> PathBuf {
        self.path.join(names::of_offset(source.base, names::LOG))
    }

    fn first_base(&self) -> Offset {
        self.bases.first().copied().unwrap_or(self.dirty.start)
    }

    fn disk(&self) -> &Disk {
        self.home.disk()
    }
}

fn paced(flow: ControlFlow<()>) -> Result<(), CleaningError> {
    if flow.is_break() { Err(CleaningError::Stopped) } else { Ok(()) }
}
