//! One partition's log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use client::ids::{LeaderEpoch, Offset, TopicPartition, Uuid};

use super::config::LogConfig;
use super::dir::LogDir;
use super::disk::{Disk, DiskError};
use super::epoch_cache::EpochCache;
use super::error::LogError;
use super::partition_metadata;
use super::producer_state::ProducerStates;
use super::producers::Producers;
use super::segment::Segment;
use super::synced::Synced;

/// The log of a partition: its segments, the epochs they were written in and the producers that wrote them.
///
/// Invariants: `start <= high watermark <= end`, `recovery point <= end`, and there is a segment at all times.
#[derive(Debug)]
pub struct Log {
    pub(super) partition: TopicPartition,
    pub(super) topic_id: Option<Uuid>,
    pub(super) home: Arc<LogDir>,
    /// The partition's directory.
    pub(super) path: PathBuf,
    pub(super) config: LogConfig,
    /// By base offset; the last one is written.
    pub(super) segments: BTreeMap<Offset, Segment>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) high_watermark: Offset,
    /// What lies below is on disk for good.
    pub(super) recovery_point: Offset,
    /// What lies beyond may be on disk, too.
    pub(super) synced: Synced,
    /// Base of the first segment whose files may have changed since they were last synced; [`NOTHING_DIRTY`] if none.
    pub(super) dirty_from: Offset,
    /// Cuts so far: what was begun before a cut proves nothing after it. Changed under the partition's lock.
    pub(super) cuts: Arc<AtomicU64>,
    pub(super) last_flush_ms: i64,
    pub(super) epochs: EpochCache,
    pub(super) producers: Producers,
    pub(super) jitter_seed: u64,
    /// Set when the log is deleted: marks that were taken before are of the past then.
    pub(super) deleted: Arc<AtomicBool>,
}

/// No offset comes after it.
pub(super) const NOTHING_DIRTY: Offset = Offset(i64::MAX);

/// The numbers of a log that its directory's checkpoints keep.
#[derive(Clone, Debug)]
pub struct LogMarks {
    pub partition: TopicPartition,
    pub dir: Arc<LogDir>,
    pub start: Offset,
    /// Base of the first segment; a log start above it has to be kept.
    pub first_segment: Offset,
    pub high_watermark: Offset,
    pub recovery_point: Offset,
    /// Cuts when the marks were taken, and now.
    pub(super) cuts: u64,
    pub(super) cuts_now: Arc<AtomicU64>,
    /// Whether the log was deleted since. Another of the same name has marks of its own.
    pub(super) deleted: Arc<AtomicBool>,
}

impl LogMarks {
    /// Whether the log was cut since they were taken: then the files say how far, and the marks know no better.
    pub(super) fn was_cut_since(&self) -> bool {
        self.cuts_now.load(Ordering::Acquire) != self.cuts
    }
}

impl Log {
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The log directory it lives in.
    pub fn dir(&self) -> &Arc<LogDir> {
        &self.home
    }

    /// The partition's own directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Takes effect with the next append or housekeeping; index sizes with the next segment.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// As stored beside the log.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// Stores the topic id of a log that has none.
    pub fn set_topic_id(&mut self, topic_id: Uuid) -> Result<(), LogError> {
        self.home.check_online()?;
        let written = partition_metadata::write(self.disk(), &self.path, topic_id);
        self.home.note(written.map_err(LogError::from))?;
        self.topic_id = Some(topic_id);
        Ok(())
    }

    /// The first offset that can be read.
    pub fn start_offset(&self) -> Offset {
        self.start
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Moves the high watermark, within the log. It may go back: a follower's does after truncation.
    pub fn set_high_watermark(&mut self, high_watermark: Offset) {
        self.high_watermark = high_watermark.clamp(self.start, self.end);
        self.producers.states.replicated_to(self.high_watermark);
    }

    /// What a reader of committed data may see: the start of the first undecided transaction, or the high watermark.
    pub fn last_stable_offset(&self) -> Offset {
        let unstable = self.producers.states.first_unstable_offset();
        unstable.map_or(self.high_watermark, |first| first.max(self.start).min(self.high_watermark))
    }

    /// What lies below is on disk for good.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// Bytes of all segments' batches.
    pub fn size(&self) -> u64 {
        self.segments.values().map(Segment::size).sum()
    }

    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Idempotent and transactional producers that wrote here lately.
    pub fn producers(&self) -> &ProducerStates {
        &self.producers.states
    }

    /// The newest epoch that the log knows of.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest().map(|(epoch, _)| epoch)
    }

    /// Where the newest epoch starts.
    pub fn latest_epoch_start(&self) -> Option<Offset> {
        self.epochs.latest().map(|(_, start)| start)
    }

    /// The epoch in which an offset was written.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_of(offset)
    }

    /// The greatest epoch below `epoch` that the log knows of.
    pub fn epoch_before(&self, epoch: LeaderEpoch) -> Option<LeaderEpoch> {
        self.epochs.before(epoch)
    }

    /// Where each epoch starts, in order.
    pub fn epochs(&self) -> impl Iterator<Item = (LeaderEpoch, Offset)> + '_ {
        self.epochs.entries()
    }

    /// The largest epoch not above `epoch` and where it ends; `None` if `epoch` is newer than the log, or the log
    /// knows no epochs (KIP-101, KIP-279).
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(epoch, self.end)
    }

    /// Notes that `epoch` starts at `start`: a leader says so when it is elected.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), LogError> {
        self.home.check_online()?;
        self.epochs.assign(epoch, start);
        Ok(())
    }

    /// Forgets producers that were silent for longer than `producer.id.expiration.ms`; returns how many.
    pub fn expire_producers(&mut self, now_ms: i64) -> usize {
        self.producers.states.expire(now_ms, self.config.producer_id_expiration_ms)
    }

    pub fn marks(&self) -> LogMarks {
        LogMarks {
            partition: self.partition.clone(),
            dir: Arc::clone(&self.home),
            start: self.start,
            first_segment: self.first_base(),
            high_watermark: self.high_watermark,
            recovery_point: self.recovery_point,
            cuts: self.cuts(),
            cuts_now: Arc::clone(&self.cuts),
            deleted: Arc::clone(&self.deleted),
        }
    }

    pub(super) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }

    /// Ends writing: all is synced, and the files are left as a cleanly stopped broker leaves them.
    pub fn close(mut self) -> Result<LogMarks, LogError> {
        self.home.check_online()?;
        let closed = self.try_close();
        Arc::clone(&self.home).note(closed)?;
        Ok(self.marks())
    }

    fn try_close(&mut self) -> Result<(), LogError> {
        let snapshot = self.producers.take_snapshot()?;
        if self.active_mut().seal()? {
            self.active_is_dirty();
        }
        self.sync_for_good(snapshot)?;
        Ok(())
    }

    pub(super) fn disk(&self) -> &Disk {
        self.home.disk()
    }

    pub(super) fn active(&self) -> &Segment {
        self.segments.last_key_value().map(|(_, segment)| segment).expect("a log has a segment at all times")
    }

    pub(super) fn active_mut(&mut self) -> &mut Segment {
        let last = self.segments.last_entry().expect("a log has a segment at all times");
        last.into_mut()
    }

    /// To be called for every change to the active segment's files.
    pub(super) fn active_is_dirty(&mut self) {
        self.dirty_from = self.dirty_from.min(self.active().base());
    }

    pub(super) fn first_base(&self) -> Offset {
        self.segments.first_key_value().map_or(self.start, |(base, _)| *base)
    }

    /// The segment that holds an offset, if any does, is this one or a later one.
    pub(super) fn floor_base(&self, offset: Offset) -> Offset {
        self.segments.range(..=offset).next_back().map_or_else(|| self.first_base(), |(base, _)| *base)
    }

    /// Starts a new segment at `base` or at the end of the log, whichever is later.
    pub(super) fn roll(&mut self, base: Option<Offset>, now_ms: i64) -> Result<(), DiskError> {
        let base = base.map_or(self.end, |base| base.max(self.end));
        self.active_is_dirty();
        let replaces_empty = self.active().base() == base && self.active().size() == 0;
        if replaces_empty {
            self.segments.remove(&base);
        } else if let Some(mut last) = self.segments.last_entry() {
            last.get_mut().seal()?;
        }
        self.producers.advance_to(base);
        self.producers.take_snapshot()?;
        let jitter_ms = jitter_ms(&self.config, self.jitter_seed, base);
        let segment = Segment::create(self.home.disk(), &self.path, base, &self.config, jitter_ms, now_ms)?;
        self.segments.insert(base, segment);
        self.active_is_dirty();
        self.end = base;
        tracing::debug!(partition = %self.partition, base = %base, "rolled to a new segment");
        Ok(())
    }
}

/// A segment's own share of `segment.jitter.ms`: spread by the seed, the same for the same base offset.
pub(super) fn jitter_ms(config: &LogConfig, seed: u64, base: Offset) -> i64 {
    let Ok(range @ 1..) = u64::try_from(config.segment_jitter_ms) else { return 0 };
    // One step of SplitMix64, whose output is evenly spread whatever its input.
    let mut x = seed.wrapping_add(base.0.cast_unsigned()).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    i64::try_from((x ^ (x >> 31)) % range).unwrap_or(0)
}
