//! Offsets by time, as ListOffsets asks for them.

use client::ids::{LeaderEpoch, Offset};
use client::record::compression::DEFAULT_DECOMPRESSED_MAX_BYTES;
use client::record::legacy::{LegacyError, Message, for_each_message};
use client::record::{AnyBatch, BatchHeader, Record, payload, records};

use super::error::{LogError, UnreadableRecords};
use super::log::Log;
use super::segment::Segment;

/// A record's time and place. The epoch is that of the batch, if it carries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    pub timestamp: i64,
    pub offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
}

/// ListOffsets' "latest".
const LATEST: i64 = -1;
/// ListOffsets' "earliest".
const EARLIEST: i64 = -2;

impl Log {
    /// The first record, in offset order, with this timestamp or a later one.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampedOffset>, LogError> {
        self.home.check_online()?;
        self.home.note(self.find_timestamp(timestamp))
    }

    /// The first record that has the greatest timestamp in the log (KIP-734); `None` for an empty log.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>, LogError> {
        self.home.check_online()?;
        self.home.note(self.find_max_timestamp())
    }

    /// What ListOffsets version 0 answers: up to `max` bases of segments that were last written at or before
    /// `timestamp`, and the end of the log, the newest first, none above `bound`.
    pub fn legacy_offsets_before(
        &self,
        timestamp: i64,
        max: usize,
        bound: Offset,
        now_ms: i64,
    ) -> Result<Vec<Offset>, LogError> {
        self.home.check_online()?;
        self.home.note(self.find_legacy_offsets(timestamp, max, bound, now_ms))
    }

    fn find_timestamp(&self, timestamp: i64) -> Result<Option<TimestampedOffset>, LogError> {
        for segment in self.segments.values() {
            if segment.largest_timestamp()? >= timestamp {
                return self.find_timestamp_in(segment, timestamp);
            }
        }
        Ok(None)
    }

    fn find_timestamp_in(
        &self,
        segment: &Segment,
        timestamp: i64,
    ) -> Result<Option<TimestampedOffset>, LogError> {
        // No record up to this entry has a greater timestamp than the entry's, which is at most the wanted one.
        let from = segment.times.floor(timestamp)?.map_or(segment.base(), |entry| entry.offset);
        let from = segment.offsets.floor(from.max(self.start))?.map_or(0, |entry| entry.position);
        let mut batches = segment.batches_from(from)?;
        while let Some((position, header)) = batches.next_summary()? {
            if header.max_timestamp() < timestamp {
                continue;
            }
            let mut whole = segment.batches_from(position)?;
            let Some((_, batch)) = whole.next_checked()? else { break };
            let found = first_record(segment, position, &batch, |record_timestamp, offset| {
                record_timestamp >= timestamp && offset >= self.start
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn find_max_timestamp(&self) -> Result<Option<TimestampedOffset>, LogError> {
        let mut best: Option<(&Segment, i64, Offset)> = None;
        for segment in self.segments.values() {
            let max = segment.max_timestamp()?;
            if best.is_none_or(|(_, timestamp, _)| max.timestamp > timestamp) {
                best = Some((segment, max.timestamp, max.offset));
            }
        }
        let Some((segment, timestamp, offset)) = best else { return Ok(None) };
        let from = segment.offsets.floor(offset)?.map_or(0, |entry| entry.position);
        let mut batches = segment.batches_from(from)?;
        while let Some((position, header)) = batches.next_summary()? {
            if header.max_timestamp() == timestamp {
                let mut whole = segment.batches_from(position)?;
                let Some((_, batch)) = whole.next_checked()? else { break };
                return first_record(segment, position, &batch, |found, _| found == timestamp);
            }
        }
        Ok(None)
    }

    fn find_legacy_offsets(
        &self,
        timestamp: i64,
        max: usize,
        bound: Offset,
        now_ms: i64,
    ) -> Result<Vec<Offset>, LogError> {
        let mut points = Vec::with_capacity(self.segments.len() + 1);
        for segment in self.segments.values() {
            points.push((segment.base().max(self.start), segment.modified_ms()?));
        }
        if self.active().size() > 0 {
            points.push((self.end, now_ms));
        }
        let counted = match timestamp {
            LATEST => points.len(),
            EARLIEST => 1,
            _ => {
                points.iter().rposition(|(_, written_ms)| *written_ms <= timestamp).map_or(0, |last| last + 1)
            }
        };
        let mut offsets: Vec<Offset> =
            points.iter().take(counted).rev().take(max).map(|(offset, _)| *offset).collect();
        offsets.sort_by(|a, b| b.cmp(a));
        if offsets.first().is_some_and(|newest| *newest > bound) {
            offsets.retain(|offset| *offset <= bound);
            offsets.insert(0, bound);
        }
        Ok(offsets)
    }
}

/// The first record of a batch, in order, that `wanted` accepts.
fn first_record(
    segment: &Segment,
    position: u64,
    batch: &AnyBatch<'_>,
    wanted: impl Fn(i64, Offset) -> bool,
) -> Result<Option<TimestampedOffset>, LogError> {
    let found = match batch.header() {
        Some(header) => first_of_batch(header, batch, wanted),
        None => first_of_message(batch, wanted),
    };
    found.map_err(|problem| LogError::Unreadable { file: segment.log_path(), position, problem })
}

fn first_of_batch(
    header: &BatchHeader,
    batch: &AnyBatch<'_>,
    wanted: impl Fn(i64, Offset) -> bool,
) -> Result<Option<TimestampedOffset>, UnreadableRecords> {
    let leader_epoch = (header.leader_epoch > LeaderEpoch::NONE).then_some(header.leader_epoch);
    let bytes = payload(batch, DEFAULT_DECOMPRESSED_MAX_BYTES)?;
    for record in records(header, &bytes) {
        let Record { timestamp, offset, .. } = record?;
        if wanted(timestamp, offset) {
            return Ok(Some(TimestampedOffset { timestamp, offset, leader_epoch }));
        }
    }
    Ok(None)
}

fn first_of_message(
    message: &AnyBatch<'_>,
    wanted: impl Fn(i64, Offset) -> bool,
) -> Result<Option<TimestampedOffset>, UnreadableRecords> {
    let mut first = None;
    for_each_message::<LegacyError>(message, DEFAULT_DECOMPRESSED_MAX_BYTES, |inner| {
        let Message { timestamp, offset, .. } = inner;
        if first.is_none() && wanted(timestamp, offset) {
            first = Some(TimestampedOffset { timestamp, offset, leader_epoch: None });
        }
        Ok(())
    })?;
    Ok(first)
}
