//! The producers of a log together with their snapshot files: what is in memory, up to where, and what is on disk.

use std::collections::BTreeSet;
use std::path::PathBuf;

use client::ids::Offset;

use super::disk::{Disk, DiskError};
use super::names;
use super::producer_snapshot;
use super::producer_state::ProducerStates;

#[derive(Debug)]
pub(super) struct Producers {
    disk: Disk,
    dir: PathBuf,
    pub(super) states: ProducerStates,
    /// The states hold every batch below this offset.
    end: Offset,
    /// Offsets of the snapshot files.
    snapshots: BTreeSet<Offset>,
    /// Nothing new came since the snapshot of this offset.
    snapshot_end: Offset,
}

impl Producers {
    /// `names` are those of the files in `dir`.
    pub(super) fn new<'a>(disk: &Disk, dir: PathBuf, names: impl Iterator<Item = &'a str>) -> Producers {
        Producers {
            disk: disk.clone(),
            dir,
            states: ProducerStates::default(),
            end: Offset(0),
            snapshots: names.filter_map(|name| names::offset_of(name, names::SNAPSHOT)).collect(),
            snapshot_end: Offset(0),
        }
    }

    pub(super) fn end(&self) -> Offset {
        self.end
    }

    pub(super) fn has_snapshots(&self) -> bool {
        !self.snapshots.is_empty()
    }

    /// Says that there is nothing to know below `end` that the states do not hold.
    pub(super) fn advance_to(&mut self, end: Offset) {
        self.end = end;
    }

    /// Removes snapshots that belong to no segment, but for the newest: it may be that of the log's end.
    pub(super) fn remove_stray(&mut self, bases: &BTreeSet<Offset>) -> Result<(), DiskError> {
        let newest = self.snapshots.last().copied();
        let stray: Vec<Offset> =
            self.snapshots.iter().copied().filter(|at| !bases.contains(at) && Some(*at) != newest).collect();
        stray.into_iter().try_for_each(|at| self.remove_snapshot(at))
    }

    /// Goes back or forward to a state of before `log_end`: that of the newest usable snapshot. What lies between it
    /// and `log_end` has to be replayed from the log. States that end at `log_end` already are kept.
    pub(super) fn reload(
        &mut self,
        log_start: Offset,
        log_end: Offset,
        now_ms: i64,
        expiration_ms: i64,
    ) -> Result<(), DiskError> {
        let out_of_range: Vec<Offset> =
            self.snapshots.iter().copied().filter(|at| *at > log_end || *at <= log_start).collect();
        out_of_range.into_iter().try_for_each(|at| self.remove_snapshot(at))?;
        if self.end == log_end {
            self.states.starts_at(log_start);
            return Ok(());
        }
        self.states.clear();
        while let Some(newest) = self.snapshots.last().copied() {
            let path = self.path(newest);
            match producer_snapshot::decode(&self.disk.read(&path)?) {
                Ok(producers) => {
                    producers.into_iter().for_each(|(id, state)| self.states.restore(id, state));
                    self.states.expire(now_ms, expiration_ms);
                    (self.end, self.snapshot_end) = (newest, newest);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(
                        path = %path.display(),
                        %error,
                        "producer snapshot is unusable and removed; producers are rebuilt from an older one or the log"
                    );
                    self.remove_snapshot(newest)?;
                }
            }
        }
        (self.end, self.snapshot_end) = (log_start, log_start);
        Ok(())
    }

    /// Forgets all producers: the log starts anew at `start`.
    pub(super) fn start_anew_at(&mut self, start: Offset) -> Result<(), DiskError> {
        self.states.clear();
        std::mem::take(&mut self.snapshots).into_iter().try_for_each(|at| self.remove_snapshot(at))?;
        (self.end, self.snapshot_end) = (start, start);
        Ok(())
    }

    /// The log now starts later.
    pub(super) fn log_starts_at(&mut self, start: Offset) {
        self.states.starts_at(start);
        if self.end < start {
            (self.end, self.snapshot_end) = (start, start);
        }
    }

    /// Writes a snapshot of the present state, if anything came since the last one.
    pub(super) fn take_snapshot(&mut self) -> Result<Option<PathBuf>, DiskError> {
        if self.end <= self.snapshot_end {
            return Ok(None);
        }
        let path = self.path(self.end);
        self.disk.write(&path, &producer_snapshot::encode(&self.states))?;
        self.snapshots.insert(self.end);
        self.snapshot_end = self.end;
        Ok(Some(path))
    }

    /// Writes an empty snapshot, for a log that is known to have no producers before `at`.
    pub(super) fn take_empty_snapshot(&mut self, at: Offset) -> Result<(), DiskError> {
        self.end = at;
        self.take_snapshot().map(drop)
    }

    /// The snapshot at a segment's base goes with the segment: the caller removes the file.
    pub(super) fn give_up_snapshot(&mut self, at: Offset) -> Option<PathBuf> {
        self.snapshots.remove(&at).then(|| self.path(at))
    }

    fn remove_snapshot(&mut self, at: Offset) -> Result<(), DiskError> {
        self.snapshots.remove(&at);
        self.disk.remove_file(&self.path(at))
    }

    fn path(&self, at: Offset) -> PathBuf {
        self.dir.join(names::of_offset(at, names::SNAPSHOT))
    }
}
