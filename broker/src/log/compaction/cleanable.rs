//! How much of a log could be compacted, and whether it should be (Kafka's `LogCleanerManager`).

use std::ops::Range;

use client::ids::Offset;

use crate::log::checkpoint::CLEANER_OFFSETS;
use crate::log::error::LogError;
use crate::log::log::Log;

/// What compaction would find in a log now.
#[derive(Clone, Debug, PartialEq)]
pub struct Cleanable {
    /// Offsets never compacted so far that can be now; the end is where a segment begins.
    pub dirty: Range<Offset>,
    /// Bytes of the segments below the dirty offsets.
    pub clean_bytes: u64,
    /// Bytes of the segments with dirty offsets.
    pub dirty_bytes: u64,
    /// Its oldest dirty record is older than `max.compaction.lag.ms`.
    pub is_overdue: bool,
    /// `min.cleanable.dirty.ratio`
    pub min_dirty_ratio: f64,
}

impl Cleanable {
    /// Which part of the log is dirty, from 0 to 1; 0 for an empty log.
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes.saturating_add(self.dirty_bytes);
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }

    /// Whether compaction is worth while, or promised.
    pub fn is_due(&self) -> bool {
        (self.is_overdue && self.dirty_bytes > 0) || self.dirty_ratio() > self.min_dirty_ratio
    }
}

impl Log {
    /// What compaction would find; `None` if the log is not to be compacted.
    ///
    /// It never touches the last segment, nor a segment in which a transaction is still undecided or that is not
    /// replicated whole.
    pub fn cleanable(&self, now_ms: i64) -> Result<Option<Cleanable>, LogError> {
        if !self.config.cleanup_policy_compact {
            return Ok(None);
        }
        self.home.check_online()?;
        self.home.note(self.find_cleanable(now_ms)).map(Some)
    }

    fn find_cleanable(&self, now_ms: i64) -> Result<Cleanable, LogError> {
        let first_dirty = self.first_dirty();
        let active = self.active().base();
        let mut uncleanable = self.last_stable_offset().min(active);
        if let Some(young) = self.first_too_young(first_dirty, now_ms)? {
            uncleanable = uncleanable.min(young);
        }
        let uncleanable = uncleanable.max(first_dirty);
        let end = if uncleanable >= active { active } else { self.floor_base(uncleanable) };
        let start = first_dirty.min(end);
        let bytes = |bases: Range<Offset>| -> u64 {
            let segments = if bases.is_empty() { None } else { Some(self.segments.range(bases)) };
            segments.into_iter().flatten().map(|(_, segment)| segment.size()).sum()
        };
        Ok(Cleanable {
            clean_bytes: bytes(self.first_base()..first_dirty),
            dirty_bytes: if start < end { bytes(self.floor_base(start)..end) } else { 0 },
            is_overdue: self.is_overdue(first_dirty, now_ms)?,
            min_dirty_ratio: self.config.min_cleanable_dirty_ratio,
            dirty: start..end,
        })
    }

    /// Where the last compaction ended, if that can be believed: everything is dirty otherwise.
    pub(super) fn first_dirty(&self) -> Offset {
        match self.home.checkpoints().get(CLEANER_OFFSETS, &self.partition) {
            Some(cleaned) if cleaned > self.end => {
                tracing::warn!(
                    partition = %self.partition,
                    %cleaned,
                    end = %self.end,
                    start = %self.start,
                    "the log ends before the offset up to which it is said to be compacted: compacting it from its start"
                );
                self.home.checkpoints().note(CLEANER_OFFSETS, &self.partition, self.start);
                self.start
            }
            Some(cleaned) => cleaned.max(self.start),
            None => self.start,
        }
    }

    /// The first dirty segment with a record younger than `min.compaction.lag.ms`.
    fn first_too_young(&self, first_dirty: Offset, now_ms: i64) -> Result<Option<Offset>, LogError> {
        if self.config.min_compaction_lag_ms <= 0 {
            return Ok(None);
        }
        let youngest_ms = now_ms.saturating_sub(self.config.min_compaction_lag_ms);
        for (base, segment) in self.rolled_from(first_dirty) {
            if segment.largest_timestamp()? > youngest_ms {
                return Ok(Some(*base));
            }
        }
        Ok(None)
    }

    fn is_overdue(&self, first_dirty: Offset, now_ms: i64) -> Result<bool, LogError> {
        let oldest_ms = now_ms.saturating_sub(self.config.max_compaction_lag_ms.max(0));
        // Times before 1970 do not count, and looking for the first batches is not free.
        if oldest_ms <= 0 {
            return Ok(false);
        }
        for (_, segment) in self.rolled_from(first_dirty) {
            let first = segment.first_timestamp()?;
            if first > 0 && first < oldest_ms {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The segments from the one with an offset on, but for the last.
    fn rolled_from(
        &self,
        offset: Offset,
    ) -> impl Iterator<Item = (&Offset, &crate::log::segment::Segment)> + '_ {
        let active = self.active().base();
        let from = if offset > active { active } else { self.floor_base(offset) };
        self.segments.range(from.min(active)..active)
    }
}
