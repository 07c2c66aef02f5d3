//! Cutting a log: its end, when it parted from the leader's, and its start, when old records are given up.

use std::sync::atomic::Ordering;

use client::ids::Offset;

use super::checkpoint::{CLEANER_OFFSETS, HIGH_WATERMARKS, RECOVERY_POINTS};
use super::disk::DiskError;
use super::error::LogError;
use super::log::{Log, jitter_ms};
use super::segment::Segment;

impl Log {
    /// Drops everything from `offset` on. Batches go whole: one that holds `offset` goes too, and the log still ends
    /// at `offset`, exactly. Says whether anything was cut.
    pub fn truncate_to(&mut self, offset: Offset, now_ms: i64) -> Result<bool, LogError> {
        self.home.check_online()?;
        let truncated = self.try_truncate_to(offset, now_ms);
        self.home.note(truncated)
    }

    /// Drops everything; the log is empty and starts and ends at `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset, now_ms: i64) -> Result<(), LogError> {
        self.home.check_online()?;
        let truncated = self.try_truncate_fully(offset, now_ms);
        self.home.note(truncated)
    }

    /// Gives up records below `offset`, which is at most the high watermark. Segments that lie wholly below go with
    /// the next [`Log::delete_expired`]. Says whether the start moved.
    pub fn advance_start_offset(&mut self, offset: Offset) -> Result<bool, LogError> {
        self.home.check_online()?;
        if offset > self.high_watermark {
            return Err(self.out_of_range(offset));
        }
        let advanced = self.raise_start(offset);
        self.home.note(advanced)
    }

    fn try_truncate_to(&mut self, offset: Offset, now_ms: i64) -> Result<bool, LogError> {
        if offset >= self.end {
            self.epochs.truncate_from_end(offset)?;
            return Ok(false);
        }
        tracing::info!(
            partition = %self.partition,
            from = %self.end,
            to = %offset,
            high_watermark = %self.high_watermark,
            "truncating the log: what lies behind parted from the leader's log"
        );
        if offset < self.first_base() {
            self.try_truncate_fully(offset, now_ms)?;
            return Ok(true);
        }
        let later: Vec<Offset> = self.segments.range(offset + 1..).map(|(base, _)| *base).collect();
        self.remove_segments_for_good(&later, now_ms)?;
        self.active_mut().truncate_to(offset, now_ms)?;
        if self.synced.may_hold(offset) {
            // A power failure would bring back a log that seems to know a later epoch than those who have more of it.
            self.active().sync_batches()?;
        }
        self.active_is_dirty();
        self.end = offset;
        self.was_cut_to(offset)?;
        self.epochs.truncate_from_end(offset)?;
        self.start = self.start.min(offset);
        self.high_watermark = self.high_watermark.min(offset);
        self.rebuild_producers(now_ms)?;
        Ok(true)
    }

    fn try_truncate_fully(&mut self, offset: Offset, now_ms: i64) -> Result<(), LogError> {
        tracing::info!(
            partition = %self.partition,
            start = %self.start,
            end = %self.end,
            to = %offset,
            "dropping the whole log, to start anew"
        );
        let all: Vec<Offset> = self.segments.keys().copied().collect();
        self.remove_segments_for_good(&all, now_ms)?;
        self.was_cut_to(offset)?;
        let jitter = jitter_ms(&self.config, self.jitter_seed, offset);
        let segment = Segment::create(self.home.disk(), &self.path, offset, &self.config, jitter, now_ms)?;
        self.segments.insert(offset, segment);
        self.epochs.clear()?;
        self.producers.start_anew_at(offset)?;
        (self.start, self.end, self.high_watermark) = (offset, offset, offset);
        self.dirty_from = offset;
        Ok(())
    }

    /// Takes back what was said of the log from `offset` on: other batches will lie there, neither flushed, nor
    /// compacted, nor on all replicas in sync. The files are written at once, or a power failure would have the new
    /// batches believed unseen.
    fn was_cut_to(&mut self, offset: Offset) -> Result<(), DiskError> {
        self.cuts.fetch_add(1, Ordering::AcqRel);
        self.recovery_point = self.recovery_point.min(offset);
        let checkpoints = self.home.checkpoints();
        checkpoints.lower(RECOVERY_POINTS, &self.partition, offset)?;
        checkpoints.lower(HIGH_WATERMARKS, &self.partition, offset)?;
        let segment = self.segments.range(..=offset).next_back().map_or(offset, |(base, _)| *base);
        checkpoints.lower(CLEANER_OFFSETS, &self.partition, segment)
    }

    pub(super) fn raise_start(&mut self, offset: Offset) -> Result<bool, LogError> {
        if offset <= self.start {
            return Ok(false);
        }
        self.start = offset;
        self.epochs.truncate_from_start(offset)?;
        self.producers.log_starts_at(offset);
        Ok(true)
    }
}
