//! What a fetch brought of one partition, opened batch by batch. Pure.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::record::{ConsumerRecord, Isolation, Position};
use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::record::compression::DEFAULT_DECOMPRESSED_MAX_BYTES;
use crate::record::{
    AnyBatch, BatchError, BatchHeader, EntryError, LegacyError, PayloadError, Record, RecordError,
    RecordHeader, Tail, batches, for_each_message, payload, records,
};
use crate::wire::Str;

/// The type of the marker that ends an aborted transaction (KIP-98).
const ABORT: i16 = 0;

/// Why records cannot be read. Fetching again brings the same bytes, unless a broker's disk is at fault and
/// another one leads.
#[derive(Debug, Error)]
pub enum CorruptRecords {
    #[error("the batch at offset {offset} cannot be used: {cause}")]
    Batch { offset: Offset, cause: BatchError },
    #[error("at offset {offset} there is no batch: {cause}")]
    Entry { offset: Offset, cause: EntryError },
    #[error("the batch at offset {offset} cannot be opened: {cause}")]
    Payload { offset: Offset, cause: PayloadError },
    #[error("the batch at offset {offset} does not hold records: {cause}")]
    Record { offset: Offset, cause: RecordError },
    #[error("the messages at offset {offset} cannot be read: {cause}")]
    Legacy { offset: Offset, cause: LegacyError },
    /// Only brokers before 0.10.1 cut a batch that is larger than what was asked for.
    #[error(
        "the batch at offset {offset} takes {needed} bytes, more than the {limit} that were asked for; \
         raise max.partition.fetch.bytes (fetch.message.max.bytes)"
    )]
    TooLarge { offset: Offset, needed: usize, limit: usize },
    #[error("asked for records from offset {offset} on, the broker sent only records before it")]
    Behind { offset: Offset },
}

/// How a chunk is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) isolation: Isolation,
    pub(super) check_crcs: bool,
}

/// Batches of one partition, from the one that holds the position on.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Bytes,
    at: usize,
    /// Of the next record to hand out.
    position: Position,
    /// Behind the last whole batch.
    end: Position,
    /// Transactions that end in an abort, by rising first offset.
    aborted: VecDeque<Aborted>,
    /// Producers whose records are passed over, up to their marker.
    aborting: HashSet<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) first_offset: Offset,
    pub(super) producer_id: i64,
}

impl Chunk {
    /// Records from `position` on. `asked`: how many bytes were asked for.
    pub(super) fn new(
        bytes: Bytes,
        position: Position,
        mut aborted: Vec<Aborted>,
        asked: usize,
    ) -> Result<Chunk, CorruptRecords> {
        let offset = position.offset;
        let mut walk = batches(&bytes);
        let mut end = None;
        for batch in walk.by_ref() {
            let next = batch.next_offset();
            if end.is_none_or(|end: Position| end.offset < next) {
                end = Some(Position { offset: next, epoch: batch.leader_epoch() });
            }
        }
        let end = match (end, walk.tail()) {
            (Some(end), _) if end.offset > offset => end,
            // What is behind the whole batches is met when it is its turn.
            (None, Tail::Clean) => position,
            (None, Tail::Torn { needed, .. }) => {
                return Err(CorruptRecords::TooLarge { offset, needed, limit: asked });
            }
            (None, Tail::Corrupt { error, .. }) => {
                return Err(CorruptRecords::Entry { offset, cause: error });
            }
            (Some(_), _) => return Err(CorruptRecords::Behind { offset }),
        };
        aborted.sort_by_key(|transaction| transaction.first_offset);
        Ok(Chunk { bytes, at: 0, position, end, aborted: aborted.into(), aborting: HashSet::new() })
    }

    /// Where the next fetch begins.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Where the next [`take`](Chunk::take) begins.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Whether all was taken.
    pub(super) fn is_done(&self) -> bool {
        self.position.offset >= self.end.offset
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Opens batches until there are `most` records or more, or none is left. After an error the chunk stays where it is; what was read before it is in `out`.
    pub(super) fn take(
        &mut self,
        partition: &TopicPartition,
        reading: Reading,
        most: usize,
        out: &mut Vec<ConsumerRecord>,
    ) -> Result<(), CorruptRecords> {
        let bytes = self.bytes.clone();
        while out.len() < most && !self.is_done() {
            let Some(batch) = batches(bytes.get(self.at..).unwrap_or_default()).next() else {
                // Cannot be: the batch that ends where the chunk does was not opened.
                self.position = self.end;
                break;
            };
            self.open(partition, reading, &batch, out)?;
            self.at += batch.size();
            let next = batch.next_offset();
            if self.position.offset <= next {
                self.position = Position { offset: next, epoch: batch.leader_epoch() };
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        partition: &TopicPartition,
        reading: Reading,
        batch: &AnyBatch<'_>,
        out: &mut Vec<ConsumerRecord>,
    ) -> Result<(), CorruptRecords> {
        if batch.next_offset() <= self.position.offset {
            return Ok(());
        }
        let offset = batch.entry_offset();
        if reading.check_crcs {
            batch.check_crc().map_err(|cause| CorruptRecords::Batch { offset, cause })?;
        }
        match batch.header() {
            Some(header) => {
                if reading.isolation == Isolation::ReadCommitted && self.is_aborted(header, batch)? {
                    return Ok(());
                }
                // Markers of transactions are no records.
                if batch.is_control() { Ok(()) } else { self.open_v2(partition, header, batch, out) }
            }
            None => self.open_messages(partition, batch, out),
        }
    }

    /// Whether the batch is of an aborted transaction; keeps account of where they begin and end.
    fn is_aborted(&mut self, header: &BatchHeader, batch: &AnyBatch<'_>) -> Result<bool, CorruptRecords> {
        while let Some(begun) = self.aborted.pop_front_if(|next| next.first_offset <= header.last_offset()) {
            self.aborting.insert(begun.producer_id);
        }
        if batch.is_control() {
            if control_type(header, batch)? == Some(ABORT) {
                self.aborting.remove(&header.producer_id);
            }
            return Ok(true);
        }
        Ok(batch.is_transactional() && self.aborting.contains(&header.producer_id))
    }

    fn open_v2(
        &mut self,
        partition: &TopicPartition,
        header: &BatchHeader,
        batch: &AnyBatch<'_>,
        out: &mut Vec<ConsumerRecord>,
    ) -> Result<(), CorruptRecords> {
        let offset = header.base_offset;
        let payload = payload(batch, DEFAULT_DECOMPRESSED_MAX_BYTES)
            .map_err(|cause| CorruptRecords::Payload { offset, cause })?;
        let payload = Bytes::from(payload.into_owned());
        for record in records(header, &payload) {
            let record = record.map_err(|cause| CorruptRecords::Record { offset, cause })?;
            if record.offset < self.position.offset {
                continue;
            }
            self.position = Position { offset: record.offset + 1, epoch: header.leader_epoch };
            out.push(consumer_record(partition, header, &payload, record));
        }
        Ok(())
    }

    fn open_messages(
        &mut self,
        partition: &TopicPartition,
        batch: &AnyBatch<'_>,
        out: &mut Vec<ConsumerRecord>,
    ) -> Result<(), CorruptRecords> {
        let offset = batch.entry_offset();
        let timestamp_type = batch.timestamp_type();
        let position = &mut self.position;
        let read = for_each_message(batch, DEFAULT_DECOMPRESSED_MAX_BYTES, |message| {
            if message.offset >= position.offset {
                *position = Position::from(message.offset + 1);
                out.push(ConsumerRecord {
                    topic: Arc::clone(&partition.topic),
                    partition: partition.partition,
                    offset: message.offset,
                    leader_epoch: LeaderEpoch::NONE,
                    timestamp_type,
                    timestamp_ms: message.timestamp,
                    key: message.key.map(Bytes::copy_from_slice),
                    value: message.value.map(Bytes::copy_from_slice),
                    headers: Vec::new(),
                });
            }
            Ok::<(), LegacyError>(())
        });
        read.map_err(|cause| CorruptRecords::Legacy { offset, cause })
    }
}

/// The type in the key of a control batch's one record, after a version.
fn control_type(header: &BatchHeader, batch: &AnyBatch<'_>) -> Result<Option<i16>, CorruptRecords> {
    let offset = header.base_offset;
    let payload = payload(batch, DEFAULT_DECOMPRESSED_MAX_BYTES)
        .map_err(|cause| CorruptRecords::Payload { offset, cause })?;
    let Some(record) = records(header, &payload).next() else { return Ok(None) };
    let key = record.map_err(|cause| CorruptRecords::Record { offset, cause })?.key;
    let kind = key.and_then(|key| key.get(2..4)).and_then(|kind| kind.try_into().ok());
    Ok(kind.map(i16::from_be_bytes))
}

fn consumer_record(
    partition: &TopicPartition,
    header: &BatchHeader,
    payload: &Bytes,
    record: Record<'_>,
) -> ConsumerRecord {
    let share = |part: &[u8]| payload.slice_ref(part);
    ConsumerRecord {
        topic: Arc::clone(&partition.topic),
        partition: partition.partition,
        offset: record.offset,
        leader_epoch: header.leader_epoch,
        timestamp_type: header.attributes.timestamp_type(),
        timestamp_ms: record.timestamp,
        key: record.key.map(share),
        value: record.value.map(share),
        headers: record
            .headers
            .map(|header| RecordHeader { key: text(share(header.key)), value: header.value.map(share) })
            .collect(),
    }
}

fn text(key: Bytes) -> Str {
    match Str::try_from(key.clone()) {
        Ok(text) => text,
        Err(_) => Str::from(String::from_utf8_lossy(&key).into_owned()),
    }
}

#[cfg(test)]
mod tests;
