//! Opening a log as a stopped or killed broker left it (Kafka's `LogLoader.scala`).
//!
//! After a clean stop, files are believed. After a kill, every batch above the recovery point is checked, the
//! indexes are built anew, and the log is cut before the first bad batch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use client::ids::{LeaderEpoch, Offset, TopicPartition};
use thiserror::Error;

use super::checkpoint::{self, CheckpointError};
use super::config::LogConfig;
use super::dir::LogDir;
use super::disk::{Disk, DiskError};
use super::epoch_cache::EpochCache;
use super::error::LogError;
use super::log::{Log, NOTHING_DIRTY, jitter_ms};
use super::names;
use super::partition_metadata::{self, PartitionMetadataError};
use super::producer_state::marker_of;
use super::producers::Producers;
use super::segment::{Recovered, Segment};
use super::synced::Synced;

/// Why a log cannot be opened. Its directory is then offline, as in Kafka: what a damaged file says about the
/// log's ends must not be guessed.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    PartitionMetadata(#[from] PartitionMetadataError),
}

impl From<DiskError> for LoadError {
    fn from(error: DiskError) -> LoadError {
        LoadError::Log(error.into())
    }
}

/// What the directory's checkpoints say about a log, and how the last run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadFrom {
    pub log_start: Offset,
    pub recovery_point: Offset,
    pub high_watermark: Offset,
    /// The last run closed all logs of the directory.
    pub clean: bool,
}

impl LoadFrom {
    /// A log that is made anew.
    pub const NOTHING: LoadFrom =
        LoadFrom { log_start: Offset(0), recovery_point: Offset(0), high_watermark: Offset(0), clean: true };
}

impl Log {
    /// Opens the log in `<home>/<partition>`, which exists, recovering it if need be. `jitter_seed` spreads the
    /// `segment.jitter.ms` of logs opened at the same time.
    pub fn load(
        home: &Arc<LogDir>,
        partition: TopicPartition,
        config: LogConfig,
        from: LoadFrom,
        jitter_seed: u64,
        now_ms: i64,
    ) -> Result<Log, LoadError> {
        let path = home.path().join(partition.to_string());
        let disk = home.disk();
        let names = settle_interrupted_work(disk, &path, &partition)?;
        let mut segments = BTreeMap::new();
        for base in names.iter().filter_map(|name| names::offset_of(name, names::LOG)) {
            let size = disk.stat(&path.join(names::of_offset(base, names::LOG)))?.map_or(0, |stat| stat.len);
            let jitter = jitter_ms(&config, jitter_seed, base);
            segments.insert(base, Segment::existing(disk, &path, base, size, &config, jitter, now_ms));
        }
        let mut log = Log {
            topic_id: partition_metadata::read(disk, &path)?,
            epochs: EpochCache::load(disk.clone(), path.join(checkpoint::LEADER_EPOCHS))?,
            producers: Producers::new(disk, path.clone(), names.iter().map(String::as_str)),
            partition,
            home: Arc::clone(home),
            path,
            config,
            segments,
            start: from.log_start,
            end: Offset(0),
            high_watermark: Offset(0),
            recovery_point: from.recovery_point,
            synced: Synced::up_to(Offset(0)),
            dirty_from: NOTHING_DIRTY,
            cuts: Arc::default(),
            last_flush_ms: now_ms,
            jitter_seed,
            deleted: Arc::default(),
        };
        log.recover(from, &names, now_ms)?;
        Ok(log)
    }

    fn recover(&mut self, from: LoadFrom, names: &BTreeSet<String>, now_ms: i64) -> Result<(), LoadError> {
        let epochs = self.epochs.known();
        self.rebuild_damaged_indexes(names, from.clean, now_ms)?;
        if !from.clean {
            self.recover_unflushed(now_ms)?;
        }
        self.find_end(now_ms)?;
        self.epochs.write_unless(&epochs)?;
        if self.end < from.log_start {
            tracing::warn!(
                partition = %self.partition,
                end = %self.end,
                log_start = %from.log_start,
                "the log ends before its checkpointed start: dropping all of it, to start there"
            );
            let all: Vec<Offset> = self.segments.keys().copied().collect();
            self.remove_segments_for_good(&all, now_ms)?;
            self.epochs.clear()?;
            self.producers.start_anew_at(from.log_start)?;
        }
        if self.segments.is_empty() {
            let jitter = jitter_ms(&self.config, self.jitter_seed, from.log_start);
            let base = from.log_start;
            let segment = Segment::create(self.home.disk(), &self.path, base, &self.config, jitter, now_ms)?;
            self.segments.insert(base, segment);
            self.end = base;
        }
        self.start = from.log_start.max(self.first_base());
        self.epochs.truncate_from_end(self.end)?;
        self.epochs.truncate_from_start(from.log_start)?;
        self.producers.remove_stray(&self.segments.keys().copied().collect())?;
        self.load_producers(from.clean, now_ms)?;
        self.synced = Synced::up_to(self.end);
        self.recovery_point = if from.clean { self.end } else { from.recovery_point.min(self.end) };
        if !from.clean {
            self.dirty_from = self.dirty_from.min(self.floor_base(self.recovery_point));
        }
        self.set_high_watermark(from.high_watermark);
        Ok(())
    }

    /// A segment whose index is gone, or cannot be its own, is gone through whole.
    fn rebuild_damaged_indexes(
        &mut self,
        names: &BTreeSet<String>,
        clean: bool,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let active = self.segments.keys().next_back().copied();
        let bases: Vec<Offset> = self.segments.keys().copied().collect();
        for base in bases {
            let Some(segment) = self.segments.get(&base) else { continue };
            let has_index = names.contains(&names::of_offset(base, names::INDEX));
            let why = if !has_index && segment.size() > 0 {
                "its .index is missing"
            } else if names.contains(&names::of_offset(base, names::TXN_INDEX))
                && !segment.aborted.is_sane(base)?
            {
                "its .txnindex names transactions of before the segment"
            } else if clean && active == Some(base) && !segment.index_fits()? {
                "its .index does not fit its .log"
            } else {
                continue;
            };
            tracing::warn!(partition = %self.partition, segment = %base, why, "rebuilding the segment's indexes");
            self.recover_segment(base, now_ms)?;
        }
        Ok(())
    }

    /// Checks what may not have reached the disk. The first damage ends the log: what follows it was written later.
    fn recover_unflushed(&mut self, now_ms: i64) -> Result<(), LogError> {
        let mut unflushed: Vec<Offset> = Vec::new();
        if !self.segments.is_empty() {
            let first = self.floor_base(self.recovery_point);
            unflushed.extend(self.segments.range(first..).map(|(base, _)| *base));
            // The file may know epochs of batches that a power failure took, where batches that had been
            // cut off came back. Were those taken for the newer epoch's, no leader would find them out.
            self.epochs.forget_from(first);
        }
        let mut ends: Vec<(Offset, Offset)> = Vec::new();
        for base in unflushed {
            tracing::debug!(
                partition = %self.partition,
                segment = %base,
                recovery_point = %self.recovery_point,
                "recovering an unflushed segment"
            );
            let recovered = self.recover_segment(base, now_ms)?;
            ends.push((base, recovered.next_offset));
            if recovered.cut.is_some() {
                let later: Vec<Offset> = self.segments.range(base + 1..).map(|(base, _)| *base).collect();
                if !later.is_empty() {
                    tracing::warn!(partition = %self.partition, segments = ?later, "deleting what follows the cut");
                }
                self.remove_segments_for_good(&later, now_ms)?;
                break;
            }
        }
        if self.config.cleanup_policy_compact {
            return Ok(());
        }
        let kept = self.drop_empty_end(&ends, now_ms)?;
        for pair in kept.windows(2) {
            if let [(_, end), (base, _)] = pair
                && end < base
            {
                tracing::warn!(
                    partition = %self.partition,
                    from = %end,
                    to = %base,
                    "no batches between two segments: either they were compacted once, or a power failure took them"
                );
            }
        }
        Ok(())
    }

    /// The name of a segment may reach the disk before what lies below it. Without a batch of its own, the log would
    /// seem to reach where it has nothing. `ends`: base and next offset of each, in order; those of what stays are
    /// given back.
    fn drop_empty_end<'a>(
        &mut self,
        ends: &'a [(Offset, Offset)],
        now_ms: i64,
    ) -> Result<&'a [(Offset, Offset)], LogError> {
        let mut rest = ends;
        while let [before @ .., (base, next)] = rest
            && let Some((_, end)) = before.last()
        {
            if base != next || end >= base {
                break;
            }
            tracing::warn!(
                partition = %self.partition,
                segment = %base,
                %end,
                "the last segment is empty and begins beyond the end of the one before it: dropping it, since a power \
                 failure took what lay between"
            );
            self.remove_segments_for_good(&[*base], now_ms)?;
            rest = before;
        }
        Ok(rest)
    }

    /// Goes through a segment and cuts off what is no good.
    fn recover_segment(&mut self, base: Offset, now_ms: i64) -> Result<Recovered, LogError> {
        self.replay_producers(base, now_ms)?;
        let Log { segments, producers, epochs, config, partition, dirty_from, .. } = self;
        let Some(segment) = segments.get_mut(&base) else {
            return Ok(Recovered { cut: None, next_offset: base });
        };
        *dirty_from = base.min(*dirty_from);
        let mut aborted = Vec::new();
        let recovered = segment.recover(config, |batch| {
            if let Some(header) = batch.header().filter(|header| header.leader_epoch > LeaderEpoch::NONE) {
                epochs.note(header.leader_epoch, header.base_offset);
            }
            if let Some(header) = batch.header() {
                let marker = header.attributes.is_control().then(|| marker_of(batch)).flatten();
                if let Some(txn) = producers.states.update(header, marker) {
                    aborted.extend(producers.states.aborted(&txn));
                    producers.states.complete(&txn);
                }
            }
            Ok(())
        })?;
        for txn in aborted {
            segment.aborted.push(txn)?;
        }
        producers.advance_to(recovered.next_offset);
        producers.take_snapshot()?;
        if let Some((bytes, why)) = &recovered.cut {
            tracing::warn!(
                partition = %partition,
                "Corruption found in segment {base}, truncating to offset {}: {bytes} bytes cut because {why}",
                recovered.next_offset
            );
        }
        Ok(recovered)
    }

    fn find_end(&mut self, now_ms: i64) -> Result<(), LogError> {
        let Some(base) = self.segments.keys().next_back().copied() else { return Ok(()) };
        let found = match self.active().next_offset() {
            Err(LogError::Damaged { .. }) => None,
            other => other?,
        };
        self.end = match found {
            Some(end) => end,
            // After a clean stop nothing was checked so far; what cannot even be walked is recovered.
            None => {
                tracing::warn!(
                    partition = %self.partition,
                    segment = %base,
                    "the last segment is damaged although the broker was stopped cleanly: recovering it"
                );
                self.recover_segment(base, now_ms)?;
                self.active().next_offset()?.unwrap_or(base)
            }
        };
        Ok(())
    }

    fn load_producers(&mut self, clean: bool, now_ms: i64) -> Result<(), LogError> {
        if clean && !self.producers.has_snapshots() && self.end > self.start && !self.may_have_producers()? {
            // Written before there were snapshots: the log has no producers, and this says so from now on.
            let end = self.end;
            return Ok(self.producers.take_empty_snapshot(end)?);
        }
        self.rebuild_producers(now_ms)
    }

    /// Whether the newest batches have the format that came with snapshots. Without one the machine lost power after
    /// the clean stop, and the snapshot, not the log, was not on disk. Kafka's goes by the lack of snapshots alone
    /// (`UnifiedLog.rebuildProducerState`), and takes again what a producer repeats then.
    fn may_have_producers(&self) -> Result<bool, LogError> {
        for segment in self.segments.values().rev() {
            if let Some((_, newest)) = segment.batches_from(0)?.next_summary()? {
                return Ok(newest.header().is_some());
            }
        }
        Ok(false)
    }

    /// Brings the producers to the end of the log, from a snapshot and the batches after it, and leaves snapshots where
    /// the next load will look for them.
    pub(super) fn rebuild_producers(&mut self, now_ms: i64) -> Result<(), LogError> {
        self.replay_producers(self.end, now_ms)?;
        self.producers.take_snapshot()?;
        Ok(())
    }

    /// Makes the producers those of the log below `end`.
    fn replay_producers(&mut self, end: Offset, now_ms: i64) -> Result<(), LogError> {
        self.producers.reload(self.start, end, now_ms, self.config.producer_id_expiration_ms)?;
        let from = self.producers.end();
        if from >= end || self.segments.is_empty() {
            self.producers.advance_to(end);
            return Ok(());
        }
        let Log { segments, producers, .. } = self;
        let floor = segments.range(..=from).next_back().map_or(from, |(base, _)| *base);
        for (base, segment) in segments.range(floor..end) {
            if *base > from {
                producers.advance_to(*base);
                producers.take_snapshot()?;
            }
            let Some(place) = segment.locate(from.max(*base))? else { continue };
            let mut batches = segment.batches_from(place.position)?;
            while let Some((_, batch)) = batches.next_checked()? {
                if batch.last_offset() >= end {
                    break;
                }
                let Some(header) = batch.header() else { continue };
                let marker = header.attributes.is_control().then(|| marker_of(&batch)).flatten();
                if let Some(txn) = producers.states.update(header, marker) {
                    producers.states.complete(&txn);
                }
            }
        }
        producers.advance_to(end);
        Ok(())
    }
}

/// Undoes or finishes what was interrupted: removals, compactions. Returns the names that are left.
fn settle_interrupted_work(
    disk: &Disk,
    dir: &Path,
    partition: &TopicPartition,
) -> Result<BTreeSet<String>, DiskError> {
    let entries = disk.list(dir)?;
    let mut names: BTreeSet<String> =
        entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect();
    let with = |names: &BTreeSet<String>, suffix: &str| -> Vec<String> {
        names.iter().filter(|name| name.ends_with(suffix)).cloned().collect()
    };
    let remove = |names: &mut BTreeSet<String>, name: &str| {
        names.remove(name);
        disk.remove_file(&dir.join(name))
    };
    for name in with(&names, names::DELETED) {
        remove(&mut names, &name)?;
    }
    let cleaned = with(&names, names::CLEANED);
    let first_cleaned = cleaned.iter().filter_map(|name| leading_offset(name)).min();
    // A split of one segment into several was interrupted: its source is still there, and is kept.
    for name in with(&names, names::SWAP) {
        if first_cleaned.is_some_and(|first| leading_offset(&name).is_some_and(|base| base >= first)) {
            remove(&mut names, &name)?;
        }
    }
    for name in cleaned {
        remove(&mut names, &name)?;
    }
    finish_swaps(disk, dir, partition, &mut names)?;
    for suffix in [names::INDEX, names::TIME_INDEX, names::TXN_INDEX] {
        for name in with(&names, suffix) {
            let Some(base) = names::offset_of(&name, suffix) else { continue };
            if !names.contains(&names::of_offset(base, names::LOG)) {
                tracing::warn!(%partition, name, "removing an index without its log file");
                remove(&mut names, &name)?;
            }
        }
    }
    Ok(names)
}

/// A compaction's output was complete: it takes the place of the segments it was made of.
fn finish_swaps(
    disk: &Disk,
    dir: &Path,
    partition: &TopicPartition,
    names: &mut BTreeSet<String>,
) -> Result<(), DiskError> {
    let swaps: Vec<String> = names.iter().filter(|name| name.ends_with(names::SWAP)).cloned().collect();
    let mut replaced: Option<(Offset, Offset)> = None;
    for base in
        swaps.iter().filter_map(|name| names::offset_of(name, &format!("{}{}", names::LOG, names::SWAP)))
    {
        let file = disk.open(&dir.join(names::of_offset(base, &format!("{}{}", names::LOG, names::SWAP))))?;
        let size = file.len()?;
        let mut next = base;
        let mut batches = super::batch_file::BatchFile::new(file, size).walk(0);
        while let Ok(Some((_, batch))) = batches.next_summary() {
            next = batch.next_offset();
        }
        let (first, end) = replaced.unwrap_or((base, next));
        replaced = Some((first.min(base), end.max(next)));
    }
    if let Some((first, end)) = replaced {
        tracing::info!(%partition, %first, %end, "finishing a compaction that was interrupted");
        let suffixes = [names::LOG, names::INDEX, names::TIME_INDEX, names::TXN_INDEX];
        let inside = |name: &str| {
            let base = suffixes.iter().find_map(|suffix| names::offset_of(name, suffix));
            base.is_some_and(|base| base >= first && base < end)
        };
        let old: Vec<String> = names.iter().filter(|name| inside(name)).cloned().collect();
        for name in old {
            disk.remove_file(&dir.join(&name))?;
            names.remove(&name);
        }
    }
    for swap in swaps {
        let Some(name) = swap.strip_suffix(names::SWAP) else { continue };
        disk.rename(&dir.join(&swap), &dir.join(name))?;
        names.remove(&swap);
        names.insert(name.to_owned());
    }
    Ok(())
}

/// The offset that the name of a log's file starts with.
fn leading_offset(name: &str) -> Option<Offset> {
    let (digits, _) = name.split_once('.')?;
    names::offset_of(digits, "")
}
