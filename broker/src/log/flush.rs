//! Making what was appended survive a power failure.

use std::path::PathBuf;

use client::ids::Offset;

use super::disk::{Disk, DiskError, DiskFile};
use super::epoch_cache::EpochWrite;
use super::error::LogError;
use super::log::{Log, NOTHING_DIRTY};
use super::names;

/// Files to be synced without the partition's lock; the outcome goes back by [`Log::flushed`].
#[derive(Debug)]
pub struct FlushJob {
    disk: Disk,
    dir: PathBuf,
    epochs: Option<EpochWrite>,
    files: Vec<DiskFile>,
    sync_names: bool,
    outcome: Flushed,
}

/// Everything below an offset was synced.
#[derive(Clone, Copy, Debug)]
pub struct Flushed {
    up_to: Offset,
    /// The active segment's base then: all files of the segments before it were synced.
    active: Offset,
    cuts: u64,
    epoch_changes: u64,
    at_ms: i64,
}

impl FlushJob {
    /// Blocks until the disk has everything.
    pub fn run(&self) -> Result<Flushed, DiskError> {
        if crate::mutants::lacks("fsync") {
            return Ok(self.outcome);
        }
        if let Some(epochs) = &self.epochs {
            epochs.run()?;
        }
        for file in &self.files {
            file.sync()?;
        }
        if self.sync_names {
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(self.outcome)
    }
}

impl Log {
    /// Syncs everything appended so far.
    pub fn flush(&mut self, now_ms: i64) -> Result<(), LogError> {
        self.home.check_online()?;
        let flushed = self.flush_job(self.end, now_ms).and_then(|job| job.run());
        self.synced.ended(self.end);
        let outcome = self.home.note(flushed.map_err(LogError::from))?;
        self.advance_recovery_point(&outcome);
        self.dirty_from = NOTHING_DIRTY;
        Ok(())
    }

    /// What should be synced soon: segments that were rolled, and everything once `flush.ms` has passed since the
    /// last time. To be run outside the partition's lock.
    pub fn flush_due(&self, now_ms: i64) -> Result<Option<FlushJob>, LogError> {
        if self.home.is_offline() {
            return Ok(None);
        }
        let all = now_ms.saturating_sub(self.last_flush_ms) >= self.config.flush_ms;
        let up_to = if all { self.end } else { self.active().base() };
        if up_to <= self.recovery_point && self.dirty_from >= self.active().base() {
            return Ok(None);
        }
        self.home.note(self.flush_job(up_to, now_ms).map_err(LogError::from)).map(Some)
    }

    /// The file of leader epochs, if it has to be written. To be run outside the partition's lock.
    pub fn epochs_due(&self) -> Option<EpochWrite> {
        if self.home.is_offline() { None } else { self.epochs.to_write() }
    }

    /// Takes the outcome of what [`Log::epochs_due`] gave.
    pub fn epochs_written(&mut self, outcome: Result<(), DiskError>) -> Result<(), LogError> {
        self.home.note(outcome.map_err(LogError::from))
    }

    /// Syncs everything appended so far, outside the partition's lock.
    pub fn flush_now(&self, now_ms: i64) -> Result<FlushJob, LogError> {
        self.home.check_online()?;
        self.home.note(self.flush_job(self.end, now_ms).map_err(LogError::from))
    }

    /// Takes the outcome of a job that [`Log::flush_due`] or [`Log::flush_now`] gave.
    pub fn flushed(&mut self, outcome: Result<Flushed, DiskError>) -> Result<(), LogError> {
        self.synced.ended(self.end);
        let outcome = self.home.note(outcome.map_err(LogError::from))?;
        if outcome.cuts == self.cuts() {
            self.advance_recovery_point(&outcome);
        }
        Ok(())
    }

    /// Syncs whatever is not on disk, once nothing is written any more.
    pub(super) fn sync_for_good(&mut self, snapshot: Option<PathBuf>) -> Result<(), DiskError> {
        if self.recovery_point < self.end || self.dirty_from < NOTHING_DIRTY || self.epochs.is_unwritten() {
            let outcome = self.flush_job(self.end, self.last_flush_ms)?.run()?;
            self.advance_recovery_point(&outcome);
        } else if let Some(path) = snapshot {
            self.disk().open(&path)?.sync()?;
        }
        Ok(())
    }

    fn advance_recovery_point(&mut self, outcome: &Flushed) {
        self.epochs.synced(outcome.epoch_changes);
        self.recovery_point = self.recovery_point.max(outcome.up_to).min(self.end);
        self.dirty_from = self.dirty_from.max(outcome.active);
        self.last_flush_ms = outcome.at_ms;
    }

    /// The files that changed up to an offset, with the snapshots beside them. Sealing changes the indexes of a
    /// segment whose batches may be on disk long since.
    fn flush_job(&self, up_to: Offset, now_ms: i64) -> Result<FlushJob, DiskError> {
        let mut files = Vec::new();
        let mut sync_names = self.epochs.is_unsynced();
        let from = self.floor_base(self.recovery_point).min(self.dirty_from);
        for (base, segment) in self.segments.range(from..) {
            if *base > self.recovery_point {
                let snapshot = self.path.join(names::of_offset(*base, names::SNAPSHOT));
                if self.disk().exists(&snapshot)? {
                    files.push(self.disk().open(&snapshot)?);
                }
            }
            if *base >= up_to && segment.size() > 0 {
                break;
            }
            sync_names |= *base >= self.recovery_point;
            files.extend(segment.files_to_sync()?);
        }
        let epoch_changes = self.epochs.changes();
        let (active, cuts) = (self.active().base(), self.cuts());
        let outcome = Flushed { up_to, active, cuts, epoch_changes, at_ms: now_ms };
        let (disk, dir, epochs) = (self.disk().clone(), self.path.clone(), self.epochs.to_write());
        self.synced.begins();
        Ok(FlushJob { disk, dir, epochs, files, sync_names, outcome })
    }
}
