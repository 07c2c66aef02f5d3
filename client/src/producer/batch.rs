//! Records of one partition that travel together.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::error::AttemptError;
use super::record::ProducerRecord;
use crate::ids::{Offset, TopicPartition};
use crate::record::{
    BatchBuilder, BatchOptions, BuildError, Compression, HEADER_LEN, Header, NO_TIMESTAMP, NewRecord,
    Producer,
};

/// Records of one partition that are sent, acknowledged and refused together. `T` tells a record's sender
/// what became of it.
#[derive(Debug)]
pub(super) struct Batch<T> {
    pub(super) at: TopicPartition,
    /// Rises with each batch of the producer. The pieces of a batch that was split have the same.
    pub(super) id: u64,
    pub(super) records: Vec<(ProducerRecord, T)>,
    /// The most that the batch can take uncompressed.
    pub(super) bytes: usize,
    pub(super) created: Instant,
    /// How often it was sent, or would have been had there been a connection.
    pub(super) attempts: u32,
    /// Not to be sent before.
    pub(super) not_before: Option<Instant>,
    /// [`Producer::NONE`] until it is sent for the first time by an idempotent producer.
    pub(super) producer: Producer,
    pub(super) last_error: Option<Arc<AttemptError>>,
}

impl<T> Batch<T> {
    pub(super) fn new(at: TopicPartition, id: u64, created: Instant) -> Batch<T> {
        Batch {
            at,
            id,
            records: Vec::new(),
            bytes: HEADER_LEN,
            created,
            attempts: 0,
            not_before: None,
            producer: Producer::NONE,
            last_error: None,
        }
    }

    pub(super) fn push(&mut self, record: ProducerRecord, ticket: T) {
        self.bytes += record.size_max();
        self.records.push((record, ticket));
    }

    /// Bytes that count against `buffer.memory`.
    pub(super) fn memory(&self) -> usize {
        self.bytes.saturating_sub(HEADER_LEN)
    }

    pub(super) fn has_sequence(&self) -> bool {
        self.producer != Producer::NONE
    }

    /// The bytes that go to the broker.
    pub(super) fn build(&self, compression: Compression) -> Result<Bytes, BuildError> {
        let options = BatchOptions {
            base_offset: Offset(0),
            compression,
            producer: self.producer,
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options)?;
        let mut headers = Vec::new();
        for (record, _) in &self.records {
            headers.clear();
            headers.extend(
                record
                    .headers
                    .iter()
                    .map(|header| Header { key: header.key.as_bytes(), value: header.value.as_deref() }),
            );
            builder.push(&NewRecord {
                timestamp: record.timestamp.unwrap_or(NO_TIMESTAMP),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            })?;
        }
        Ok(builder.finish()?.into())
    }

    /// Cuts it into pieces of at most `limit` bytes, and of half its size, in order; each has at least one
    /// record. A batch with a sequence number gives its pieces theirs.
    pub(super) fn split(self, limit: usize) -> Vec<Batch<T>> {
        let limit = limit.min(self.bytes / 2);
        let piece = |sequence: i32| Batch {
            producer: Producer { base_sequence: sequence, ..self.producer },
            attempts: self.attempts,
            last_error: self.last_error.clone(),
            ..Batch::new(self.at.clone(), self.id, self.created)
        };
        let mut pieces: Vec<Batch<T>> = Vec::new();
        let mut sequence = self.producer.base_sequence;
        for (record, ticket) in self.records {
            match pieces.last_mut() {
                Some(last) if last.bytes + record.size_max() <= limit => last.push(record, ticket),
                _ => {
                    let mut next = piece(sequence);
                    next.push(record, ticket);
                    pieces.push(next);
                }
            }
            if self.producer != Producer::NONE {
                sequence = next_sequence(sequence, 1);
            }
        }
        pieces
    }
}

/// The sequence number so many records on; they wrap from 2³¹−1 to 0.
pub(super) fn next_sequence(sequence: i32, records: usize) -> i32 {
    // The modulus is a power of two, so wrapping around 2⁶⁴ first changes nothing.
    let next = (records as u64).wrapping_add(u64::from(sequence.cast_unsigned()));
    i32::try_from(next & u64::from(i32::MAX.cast_unsigned())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Codec;

    fn batch(count: usize) -> Batch<usize> {
        let mut batch = Batch::new(TopicPartition::new("t", 0), 7, Instant::now());
        for number in 0..count {
            batch.push(ProducerRecord::to("t").value(vec![b'x'; 100]).timestamp(5), number);
        }
        batch
    }

    #[test]
    fn what_is_built_is_no_larger_than_reckoned_and_reads_back() {
        for codec in Codec::ALL {
            let batch = batch(20);
            let built = batch.build(codec.into()).unwrap();
            assert!(built.len() <= batch.bytes, "{codec}: {} of {}", built.len(), batch.bytes);
            let parsed = crate::record::AnyBatch::parse(&built).unwrap();
            parsed.check_crc().unwrap();
        }
    }

    #[test]
    fn sequences_wrap() {
        assert_eq!(next_sequence(i32::MAX, 1), 0);
        assert_eq!(next_sequence(i32::MAX - 1, 5), 3);
        assert_eq!(next_sequence(7, 0), 7);
    }

    #[test]
    fn pieces_are_smaller_and_keep_order_and_sequences() {
        let mut whole = batch(10);
        whole.producer = Producer { id: 1, epoch: 0, base_sequence: i32::MAX - 1 };
        let bytes = whole.bytes;
        let pieces = whole.split(16_384);
        assert!(pieces.iter().all(|piece| piece.bytes <= bytes / 2 && !piece.records.is_empty()));
        let tickets: Vec<usize> =
            pieces.iter().flat_map(|piece| piece.records.iter().map(|(_, ticket)| *ticket)).collect();
        assert_eq!(tickets, (0..10).collect::<Vec<_>>());
        let mut expected = i32::MAX - 1;
        for piece in &pieces {
            assert_eq!(piece.producer.base_sequence, expected);
            expected = next_sequence(expected, piece.records.len());
        }
        assert_eq!(batch(1).split(10).len(), 1);
    }
}
