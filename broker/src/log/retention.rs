//! Giving up old segments: by the log's start, by size, by age. Files are renamed at once and removed later.

use std::path::{Path, PathBuf};

use client::ids::Offset;

use super::disk::DiskError;
use super::error::LogError;
use super::log::Log;
use super::names;
use super::segment::Segment;

/// Why a segment went.
#[derive(Clone, Copy, Debug)]
enum Rule {
    LogStart,
    Size,
    Age,
}

impl Log {
    /// Removes the segments that retention no longer keeps, oldest first, never beyond the high watermark.
    /// Returns how many.
    pub fn delete_expired(&mut self, now_ms: i64) -> Result<usize, LogError> {
        self.home.check_online()?;
        let deleted = self.try_delete_expired(now_ms);
        self.home.note(deleted)
    }

    fn try_delete_expired(&mut self, now_ms: i64) -> Result<usize, LogError> {
        let mut deleted = self.delete(Rule::LogStart, now_ms)?;
        if self.config.cleanup_policy_delete {
            deleted += self.delete(Rule::Size, now_ms)?;
            deleted += self.delete(Rule::Age, now_ms)?;
        }
        Ok(deleted)
    }

    fn delete(&mut self, rule: Rule, now_ms: i64) -> Result<usize, LogError> {
        let doomed = self.candidates(rule, now_ms)?;
        let Some(newest) = doomed.last() else { return Ok(0) };
        if *newest == self.active().base() {
            self.roll(None, now_ms)?;
        }
        let first_kept = self.segments.range(*newest + 1..).next().map_or(self.end, |(base, _)| *base);
        // First of all the start: what is about to vanish must not be promised to readers.
        self.raise_start(first_kept)?;
        tracing::info!(
            partition = %self.partition,
            ?rule,
            segments = doomed.len(),
            log_start = %self.start,
            "deleting segments that retention does not keep"
        );
        for base in &doomed {
            self.remove_segment(*base, now_ms)?;
        }
        Ok(doomed.len())
    }

    /// The oldest segments as far as the rule holds without a break.
    fn candidates(&self, rule: Rule, now_ms: i64) -> Result<Vec<Offset>, DiskError> {
        let limit = u64::try_from(self.config.retention_bytes).ok();
        let mut excess = limit.and_then(|limit| self.size().checked_sub(limit));
        let mut candidates = Vec::new();
        let mut segments = self.segments.values().peekable();
        while let Some(segment) = segments.next() {
            let next_base = segments.peek().map(|next| next.base());
            let empty_active = next_base.is_none() && segment.size() == 0;
            let replicated = next_base.unwrap_or(self.end) <= self.high_watermark;
            let applies = !empty_active
                && replicated
                && match rule {
                    Rule::LogStart => next_base.is_some_and(|next| next <= self.start),
                    Rule::Size => take(&mut excess, segment.size()),
                    Rule::Age => self.is_too_old(segment, now_ms)?,
                };
            if !applies {
                break;
            }
            candidates.push(segment.base());
        }
        Ok(candidates)
    }

    fn is_too_old(&self, segment: &Segment, now_ms: i64) -> Result<bool, DiskError> {
        if self.config.retention_ms < 0 {
            return Ok(false);
        }
        Ok(now_ms.saturating_sub(segment.largest_timestamp()?) > self.config.retention_ms)
    }

    /// Takes segments out of the log so that no power failure brings them back: what will be written in their place
    /// would be followed by them.
    pub(super) fn remove_segments_for_good(
        &mut self,
        bases: &[Offset],
        now_ms: i64,
    ) -> Result<(), DiskError> {
        if bases.is_empty() {
            return Ok(());
        }
        bases.iter().try_for_each(|base| self.remove_segment(*base, now_ms))?;
        self.disk().sync_dir(&self.path)
    }

    /// Takes a segment out of the log; its files get the suffix `.deleted` and go after `file.delete.delay.ms`.
    pub(super) fn remove_segment(&mut self, base: Offset, now_ms: i64) -> Result<(), DiskError> {
        let snapshot = self.producers.give_up_snapshot(base);
        self.remove_segment_with(base, snapshot, now_ms)
    }

    /// As [`Log::remove_segment`], but the snapshot of producers at its base stays: another segment begins there.
    pub(super) fn remove_segment_but_snapshot(&mut self, base: Offset, now_ms: i64) -> Result<(), DiskError> {
        self.remove_segment_with(base, None, now_ms)
    }

    fn remove_segment_with(
        &mut self,
        base: Offset,
        snapshot: Option<PathBuf>,
        now_ms: i64,
    ) -> Result<(), DiskError> {
        let Some(segment) = self.segments.remove(&base) else { return Ok(()) };
        for path in segment.paths().into_iter().chain(snapshot) {
            let doomed = with_suffix(&path, names::DELETED);
            match self.disk().rename(&path, &doomed) {
                Ok(()) => {}
                Err(e) if e.is_not_found() => continue,
                Err(e) => return Err(e),
            }
            self.home.doom(doomed, false, now_ms.saturating_add(self.config.file_delete_delay_ms));
        }
        Ok(())
    }
}

/// Takes a segment's size off what is too much, if it does not take more.
fn take(excess: &mut Option<u64>, size: u64) -> bool {
    let rest = excess.and_then(|excess| excess.checked_sub(size));
    if rest.is_some() {
        *excess = rest;
    }
    rest.is_some()
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
