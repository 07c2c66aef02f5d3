//! Putting compacted segments in the place of those they were made of.
//!
//! `.cleaned` is what is being written; renamed to `.swap`, it is complete and will take the place even after a crash;
//! then the old files become `.deleted`, and the new ones lose their suffix (Kafka's `LocalLog.replaceSegments`). The
//! `.log` is renamed first of a segment's files: one whose indexes are missing has them built anew.

use std::path::Path;

use client::ids::Offset;

use super::groups::Source;
use crate::log::disk::DiskError;
use crate::log::error::LogError;
use crate::log::log::{Log, jitter_ms};
use crate::log::names;
use crate::log::retention::with_suffix;
use crate::log::segment::Segment;

/// A log as it was when a compaction began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) cuts: u64,
}

/// What became of a group of compacted segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Swapped {
    /// It is in its place.
    Done,
    /// Some of the segments are gone: retention was quicker. These are left.
    Gone { left: Vec<Source> },
    /// The log was cut or is not to be compacted any more: nothing of the compaction holds.
    Superseded,
}

impl Log {
    pub(super) fn seen(&self) -> Seen {
        Seen { cuts: self.cuts() }
    }

    /// Whether a compaction that began at `seen` still compacts this log.
    pub(super) fn is_as_seen(&self, seen: Seen) -> bool {
        self.config.cleanup_policy_compact && self.seen() == seen
    }

    /// Replaces the segments of a group by the `.cleaned` files at the group's first base.
    pub(super) fn swap(&mut self, group: &[Source], seen: Seen, now_ms: i64) -> Result<Swapped, LogError> {
        self.home.check_online()?;
        if !self.is_as_seen(seen) {
            return Ok(Swapped::Superseded);
        }
        let is_there = |source: &&Source| {
            self.segments.get(&source.base).is_some_and(|segment| segment.size() == source.size)
        };
        let left: Vec<Source> = group.iter().filter(is_there).copied().collect();
        let (Some(first), true) = (group.first(), left.len() == group.len()) else {
            return Ok(Swapped::Gone { left });
        };
        let swapped = self.try_swap(first.base, group, now_ms);
        self.home.note(swapped.map_err(LogError::from))?;
        Ok(Swapped::Done)
    }

    fn try_swap(&mut self, base: Offset, group: &[Source], now_ms: i64) -> Result<(), DiskError> {
        let files = files_of(base).map(|name| self.path.join(name));
        for file in &files {
            self.rename_if_there(&with_suffix(file, names::CLEANED), &with_suffix(file, names::SWAP))?;
        }
        // From here on a crash ends with the new segments.
        self.disk().sync_dir(&self.path)?;
        for source in group {
            match source.base == base {
                true => self.remove_segment_but_snapshot(base, now_ms)?,
                false => self.remove_segment(source.base, now_ms)?,
            }
        }
        for file in &files {
            self.rename_if_there(&with_suffix(file, names::SWAP), file)?;
        }
        let size = self.disk().stat(&self.path.join(names::of_offset(base, names::LOG)))?;
        let jitter = jitter_ms(&self.config, self.jitter_seed, base);
        let size = size.map_or(0, |stat| stat.len);
        let segment =
            Segment::existing(self.home.disk(), &self.path, base, size, &self.config, jitter, now_ms);
        self.segments.insert(base, segment);
        Ok(())
    }

    fn rename_if_there(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        match self.disk().rename(from, to) {
            Err(error) if error.is_not_found() => Ok(()),
            renamed => renamed,
        }
    }
}

/// The names of a segment's files, in the order in which they are renamed.
pub(super) fn files_of(base: Offset) -> [String; 4] {
    [names::LOG, names::TXN_INDEX, names::TIME_INDEX, names::INDEX].map(|kind| names::of_offset(base, kind))
}
