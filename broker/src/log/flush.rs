//! Making what was appended survive a power failure.

use std::path::PathBuf;

use client::ids::Offset;

use super::disk::{Disk, DiskError, DiskFile};
use super::error::LogError;
use super::log::Log;
use super::names;

/// Files to be synced without the partition's lock; the outcome goes back by [`Log::flushed`].
#[derive(Debug)]
pub struct FlushJob {
    disk: Disk,
    dir: PathBuf,
    files: Vec<DiskFile>,
    sync_names: bool,
    outcome: Flushed,
}

/// Everything below an offset was synced.
#[derive(Clone, Copy, Debug)]
pub struct Flushed {
    up_to: Offset,
    truncations: u64,
    epoch_changes: u64,
    at_ms: i64,
}

impl FlushJob {
    /// Blocks until the disk has everything.
    pub fn run(&self) -> Result<Flushed, DiskError> {
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
        let outcome = self.home.note(flushed.map_err(LogError::from))?;
        self.advance_recovery_point(&outcome);
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
        if up_to <= self.recovery_point {
            return Ok(None);
        }
        self.home.note(self.flush_job(up_to, now_ms).map_err(LogError::from)).map(Some)
    }

    /// Takes the outcome of a job that [`Log::flush_due`] gave.
    pub fn flushed(&mut self, outcome: Result<Flushed, DiskError>) -> Result<(), LogError> {
        let outcome = self.home.note(outcome.map_err(LogError::from))?;
        if outcome.truncations == self.truncations {
            self.advance_recovery_point(&outcome);
        }
        Ok(())
    }

    pub(super) fn sync_from_recovery_point(&mut self, snapshot: Option<PathBuf>) -> Result<(), DiskError> {
        if self.recovery_point < self.end {
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
        self.last_flush_ms = outcome.at_ms;
    }

    /// The files of the segments from the recovery point up to an offset, with the snapshots beside them.
    fn flush_job(&self, up_to: Offset, now_ms: i64) -> Result<FlushJob, DiskError> {
        let mut files = Vec::new();
        let mut sync_names = self.epochs.is_unsynced();
        for (base, segment) in self.segments.range(self.floor_base(self.recovery_point)..) {
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
        let outcome = Flushed { up_to, truncations: self.truncations, epoch_changes, at_ms: now_ms };
        Ok(FlushJob { disk: self.disk().clone(), dir: self.path.clone(), files, sync_names, outcome })
    }
}
