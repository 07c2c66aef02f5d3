//! What of a batch outlives compaction (Kafka's `Cleaner.cleanInto` and `MemoryRecords.filterTo`).
//!
//! A batch all of whose records stay is copied byte for byte; otherwise it is built anew around those that stay, with
//! its offsets, its producer and its codec.

use std::collections::BTreeMap;

use client::ids::Offset;
use client::record::compression::DEFAULT_DECOMPRESSED_MAX_BYTES;
use client::record::legacy::{LegacyError, for_each_message};
use client::record::{
    AnyBatch, BatchBuilder, BatchHeader, BatchOptions, BuildError, Compression, MessageFormat,
    MessageSetBuilder, Producer, Record, TimestampType, payload, records,
};

use super::offset_map::OffsetMap;
use super::transactions::{Marker, Transactions};
use crate::log::error::UnreadableRecords;
use crate::log::producer_state::ProducerStates;
use crate::log::txn_index::AbortedTxn;

/// Of a producer that may still write: the batch by which its next one is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastBatch {
    /// The batch of data that ends at this offset.
    Data(Offset),
    /// Markers only: those of this epoch, which fences older ones.
    Markers { epoch: i16 },
}

/// The last batch of each producer, by its id.
pub(super) fn last_batches(producers: &ProducerStates) -> BTreeMap<i64, LastBatch> {
    let last = producers.iter().map(|(id, state)| {
        let data = state.batches.back().map(|batch| LastBatch::Data(batch.last_offset));
        (id, data.unwrap_or(LastBatch::Markers { epoch: state.epoch }))
    });
    last.collect()
}

/// By what the batches of one segment are judged.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    /// The newest offset of each key in the part that is compacted for the first time, and where that part ends.
    pub(super) newest: &'a OffsetMap,
    pub(super) end: Offset,
    pub(super) last_batches: &'a BTreeMap<i64, LastBatch>,
    /// When the compaction began.
    pub(super) now_ms: i64,
    /// `delete.retention.ms`
    pub(super) delete_retention_ms: i64,
    /// Formats 0 and 1 have no horizon of their own: their tombstones stay or go by the age of the segment.
    pub(super) keep_legacy_tombstones: bool,
}

/// What is left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// The batch as it is.
    Whole,
    Rebuilt(Vec<u8>),
    Nothing,
}

/// How many records were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) read: u64,
    pub(super) kept: u64,
    /// Without a key, which no compacted topic accepts; they come from before it was one.
    pub(super) keyless: u64,
}

/// Why a batch cannot be judged or built anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    #[error(transparent)]
    Unreadable(#[from] UnreadableRecords),
    #[error("it cannot be written anew: {0}")]
    Build(#[from] BuildError),
}

impl From<LegacyError> for FilterError {
    fn from(error: LegacyError) -> FilterError {
        FilterError::Unreadable(error.into())
    }
}

impl Filter<'_> {
    /// Judges the next batch of the log; `aborted` gets the transaction whose abort has to stay known.
    pub(super) fn apply(
        &self,
        batch: &AnyBatch<'_>,
        transactions: &mut Transactions,
        counts: &mut Counts,
        mut aborted: impl FnMut(AbortedTxn),
    ) -> Result<Rest, FilterError> {
        let Some(header) = batch.header() else {
            transactions.data(batch);
            return self.legacy(batch, counts);
        };
        let fate = if header.attributes.is_control() {
            let Marker { is_needless, aborted: txn } = transactions.control(batch);
            txn.into_iter().for_each(&mut aborted);
            let horizon_passed = header.delete_horizon_ms().is_some_and(|horizon| horizon <= self.now_ms);
            if is_needless && horizon_passed { Fate::Dropped } else { Fate::Marker { is_needless } }
        } else if transactions.data(batch) {
            Fate::Dropped
        } else {
            Fate::ByKey
        };
        match self.survivors(header, batch, fate, counts)? {
            Rest::Nothing if self.is_last_of_producer(header) => Ok(Rest::Rebuilt(header.emptied().to_vec())),
            rest => Ok(rest),
        }
    }

    fn survivors(
        &self,
        header: &BatchHeader,
        batch: &AnyBatch<'_>,
        fate: Fate,
        counts: &mut Counts,
    ) -> Result<Rest, FilterError> {
        if fate == Fate::Dropped {
            counts.read += u64::try_from(header.record_count).unwrap_or(0);
            return Ok(Rest::Nothing);
        }
        let bytes = payload(batch, DEFAULT_DECOMPRESSED_MAX_BYTES).map_err(UnreadableRecords::from)?;
        let mut kept = Vec::new();
        let mut has_tombstones = false;
        for record in records(header, &bytes) {
            let record = record.map_err(UnreadableRecords::from)?;
            counts.read += 1;
            let stays = matches!(fate, Fate::Marker { .. })
                || self.keeps(record.offset, record.key, counts, || {
                    record.value.is_some()
                        || header.delete_horizon_ms().is_none_or(|horizon| self.now_ms < horizon)
                });
            if stays {
                has_tombstones |= record.value.is_none();
                kept.push(record);
            }
        }
        counts.kept += kept.len() as u64;
        if kept.is_empty() {
            return Ok(Rest::Nothing);
        }
        let needs_horizon = has_tombstones || fate == Fate::Marker { is_needless: true };
        let horizon = match header.delete_horizon_ms() {
            None if needs_horizon => self.new_horizon_ms(),
            known => known,
        };
        let is_whole = kept.len() == usize::try_from(header.record_count).unwrap_or(0);
        if is_whole && horizon == header.delete_horizon_ms() {
            return Ok(Rest::Whole);
        }
        Ok(Rest::Rebuilt(rebuilt(header, &kept, horizon)?))
    }

    /// As in Kafka, a retention so long that the sum cannot be written is for ever.
    fn new_horizon_ms(&self) -> Option<i64> {
        self.now_ms.checked_add(self.delete_retention_ms).filter(|horizon| *horizon >= 0)
    }

    fn legacy(&self, batch: &AnyBatch<'_>, counts: &mut Counts) -> Result<Rest, FilterError> {
        let (mut read, mut kept) = (0_u64, Vec::new());
        for_each_message::<FilterError>(batch, DEFAULT_DECOMPRESSED_MAX_BYTES, |message| {
            read += 1;
            let stays = self.keeps(message.offset, message.key, counts, || {
                message.value.is_some() || self.keep_legacy_tombstones
            });
            if stays {
                kept.push(message.offset);
            }
            Ok(())
        })?;
        counts.read += read;
        counts.kept += kept.len() as u64;
        if kept.is_empty() {
            return Ok(Rest::Nothing);
        }
        if kept.len() as u64 == read {
            return Ok(Rest::Whole);
        }
        let format = if batch.magic() == 0 { MessageFormat::V0 } else { MessageFormat::V1 };
        let codec = batch.attributes().codec().map_err(LegacyError::from)?;
        let append_time = match batch.timestamp_type() {
            TimestampType::LogAppendTime => Some(batch.max_timestamp()),
            TimestampType::CreateTime => None,
        };
        let mut builder = MessageSetBuilder::new(format, Compression::from(codec), append_time)?;
        for_each_message::<FilterError>(batch, DEFAULT_DECOMPRESSED_MAX_BYTES, |message| {
            if kept.binary_search(&message.offset).is_ok() {
                builder.push(message.offset, message.timestamp, message.key, message.value)?;
            }
            Ok(())
        })?;
        Ok(Rest::Rebuilt(builder.finish()?))
    }

    /// Whether a record stays; `is_alive` tells of a tombstone whether its time has not come yet.
    fn keeps(
        &self,
        offset: Offset,
        key: Option<&[u8]>,
        counts: &mut Counts,
        is_alive: impl FnOnce() -> bool,
    ) -> bool {
        if offset >= self.end {
            return true;
        }
        let Some(key) = key else {
            counts.keyless += 1;
            return false;
        };
        self.newest.get(key).is_none_or(|newest| offset >= newest) && is_alive()
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        match self.last_batches.get(&header.producer_id) {
            Some(LastBatch::Data(last)) => header.last_offset() == *last,
            Some(LastBatch::Markers { epoch }) => {
                header.attributes.is_control() && header.producer_epoch == *epoch
            }
            None => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// No record of it stays.
    Dropped,
    Marker {
        is_needless: bool,
    },
    /// Each record is judged by its key.
    ByKey,
}

fn rebuilt(header: &BatchHeader, kept: &[Record<'_>], horizon: Option<i64>) -> Result<Vec<u8>, FilterError> {
    let codec = header.attributes.codec().map_err(|error| UnreadableRecords::Payload(error.into()))?;
    let options = BatchOptions {
        base_offset: header.base_offset,
        leader_epoch: header.leader_epoch,
        compression: Compression::from(codec),
        append_time: match header.attributes.timestamp_type() {
            TimestampType::LogAppendTime => Some(header.max_timestamp),
            TimestampType::CreateTime => None,
        },
        producer: Producer {
            id: header.producer_id,
            epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        },
        transactional: header.attributes.is_transactional(),
        control: header.attributes.is_control(),
        delete_horizon_ms: horizon,
    };
    let mut builder = BatchBuilder::new(options)?;
    for record in kept {
        builder.copy_at(record.offset, record)?;
    }
    builder.cover_through(header.last_offset());
    Ok(builder.finish()?)
}
