//! What the log of a coordinating partition comes to: the last word on each group and offset.

use std::collections::BTreeMap;

use bytes::Bytes;
use client::ids::{LeaderEpoch, Offset};
use client::record::{AnyBatch, PayloadError, RecordError, Tail, batches, payload, records};
use client::wire::Str;

use super::CommittedOffset;
use super::record::{self, GroupMetadataValue, Key};
use crate::log::producer_state::{TxnMarker, marker_of};

/// A batch may not decompress to more than this, as a produced one may not.
const DECOMPRESSED_MAX: usize = 100 << 20;

/// Whose offset of which partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetOf {
    pub group: Str,
    pub topic: Str,
    pub partition: i32,
}

/// The log's last word on an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedOffset {
    /// Of the leader that appended the record.
    pub log_epoch: LeaderEpoch,
    pub log_offset: Offset,
    /// Of the record, in milliseconds since 1970.
    pub time_ms: i64,
    /// `None`: a tombstone.
    pub value: Option<CommittedOffset>,
}

/// Why a batch cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the batch at {at}: {source}")]
    Payload { at: Offset, source: PayloadError },
    #[error("the batch at {at}: {source}")]
    Records { at: Offset, source: RecordError },
    #[error("no batch begins {position} bytes into what was read: {tail:?}")]
    NoBatch { position: usize, tail: Tail },
}

/// The state that records lead to, in the order of the log. Records that mean nothing to us are
/// passed over.
#[derive(Debug, Default)]
pub struct Replay {
    pub groups: BTreeMap<Str, GroupMetadataValue>,
    pub offsets: BTreeMap<OffsetOf, LoggedOffset>,
    /// What transactions without a marker have written, by producer id.
    open: BTreeMap<i64, Vec<(OffsetOf, LoggedOffset)>>,
    /// Records passed over, and why the last of them.
    pub passed_over: usize,
    pub last_passed_over: Option<record::RecordError>,
}

impl Replay {
    /// Takes the whole batches at the start of `bytes`. Where to read on; `None` if there is not one.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Offset>, ReplayError> {
        let mut walk = batches(bytes);
        let mut next = None;
        for batch in walk.by_ref() {
            self.take_batch(&batch)?;
            next = Some(batch.next_offset());
        }
        match walk.tail() {
            tail @ Tail::Corrupt { position, .. } if next.is_none() => {
                Err(ReplayError::NoBatch { position, tail })
            }
            _ => Ok(next),
        }
    }

    fn take_batch(&mut self, batch: &AnyBatch<'_>) -> Result<(), ReplayError> {
        // Older formats hold nothing here: no broker that wrote them still can.
        let Some(header) = batch.header() else { return Ok(()) };
        let at = header.base_offset;
        if header.attributes.is_control() {
            if let Some(end) = marker_of(batch) {
                self.end_transaction(header.producer_id, end.marker);
            }
            return Ok(());
        }
        let opened =
            payload(batch, DECOMPRESSED_MAX).map_err(|source| ReplayError::Payload { at, source })?;
        for record in records(header, &opened) {
            let record = record.map_err(|source| ReplayError::Records { at, source })?;
            // What is kept must not hold on to the whole batch.
            let own = Bytes::copy_from_slice;
            let (key, value) = (record.key.map(own).unwrap_or_default(), record.value.map(own));
            let logged = (header.leader_epoch, record.offset, record.timestamp);
            let producer = header.attributes.is_transactional().then_some(header.producer_id);
            if let Err(error) = self.take_record(key, value, logged, producer) {
                self.passed_over += 1;
                self.last_passed_over = Some(error);
            }
        }
        Ok(())
    }

    fn take_record(
        &mut self,
        key: Bytes,
        value: Option<Bytes>,
        (log_epoch, log_offset, time_ms): (LeaderEpoch, Offset, i64),
        producer: Option<i64>,
    ) -> Result<(), record::RecordError> {
        match Key::decode(key)? {
            Key::Group { group } => {
                match value.map(record::decode_group).transpose()? {
                    Some(value) => self.groups.insert(group, value),
                    None => self.groups.remove(&group),
                };
            }
            Key::Offset { group, topic, partition } => {
                let value = value.map(record::decode_offset).transpose()?;
                let of = OffsetOf { group, topic, partition };
                let logged = LoggedOffset { log_epoch, log_offset, time_ms, value };
                match producer {
                    Some(producer) => self.open.entry(producer).or_default().push((of, logged)),
                    None => drop(self.offsets.insert(of, logged)),
                }
            }
        }
        Ok(())
    }

    /// What a transaction wrote counts from its commit on, but in the order of its records.
    fn end_transaction(&mut self, producer: i64, marker: TxnMarker) {
        let written = self.open.remove(&producer).unwrap_or_default();
        if marker == TxnMarker::Abort {
            return;
        }
        for (of, logged) in written {
            let is_newer = |known: &LoggedOffset| known.log_offset < logged.log_offset;
            if self.offsets.get(&of).is_none_or(is_newer) {
                self.offsets.insert(of, logged);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use client::record::{BatchBuilder, BatchOptions, NewRecord, Producer};

    use super::*;
    use crate::group::record::{Content, batch, offset_record};

    /// Kafka's log of a group's whole life.
    const LOG: &[u8] = include_bytes!("../../tests/fixtures/apache-3.9.1/consumer_offsets.log");

    fn committed(offset: i64) -> CommittedOffset {
        let metadata = Str::new();
        CommittedOffset { offset, leader_epoch: -1, metadata, commit_time_ms: 1, expire_time_ms: None }
    }

    fn of(partition: i32) -> OffsetOf {
        OffsetOf { group: Str::from("g2"), topic: Str::from("t"), partition }
    }

    #[test]
    fn the_last_word_counts() {
        let mut ends: Vec<usize> = batches(LOG)
            .scan(0, |end, batch| {
                *end += batch.size();
                Some(*end)
            })
            .collect();
        ends.insert(0, 0);
        // (batches read, next offset, generation, offsets committed, tombstones)
        let expected = [
            (0, None, None, 0, 0),
            (1, Some(1), Some(1), 0, 0),
            (2, Some(4), Some(1), 3, 0),
            (3, Some(7), Some(1), 3, 0),
            (4, Some(8), Some(2), 3, 0),
            (5, Some(12), None, 0, 3),
        ];
        for (count, next, generation, offsets, tombstones) in expected {
            let mut replay = Replay::default();
            assert_eq!(replay.take(&LOG[..ends[count]]).unwrap(), next.map(Offset));
            assert_eq!(replay.groups.get("g2").map(|value| value.generation), generation, "{count}");
            let of_value =
                |has: bool| replay.offsets.values().filter(|one| one.value.is_some() == has).count();
            assert_eq!((of_value(true), of_value(false)), (offsets, tombstones), "{count}");
        }
        // A chunk that is cut within a batch.
        let mut replay = Replay::default();
        let next = replay.take(&LOG[..ends[3] - 1]).unwrap();
        assert_eq!((next, replay.passed_over), (Some(Offset(4)), 0));
        assert_eq!(replay.offsets[&of(0)].log_offset, Offset(3));
        assert_eq!(replay.take(&LOG[..10]).unwrap(), None);
        assert!(matches!(replay.take(&[0; 100]), Err(ReplayError::NoBatch { position: 0, .. })));
    }

    #[test]
    fn what_nobody_knows_is_passed_over() {
        let records = [
            (Bytes::from_static(b"\x00\x09what"), None),
            (Bytes::new(), Some(Bytes::from_static(b"no key"))),
            offset_record(&"g2".into(), &"t".into(), 0, Some(&committed(7))).unwrap(),
        ];
        let bytes = batch(&records, Content::Commits, client::record::Compression::NONE, 5).unwrap();
        let mut replay = Replay::default();
        assert_eq!(replay.take(&bytes).unwrap(), Some(Offset(3)));
        assert_eq!(replay.passed_over, 2);
        assert_eq!(replay.offsets[&of(0)].value, Some(committed(7)));
    }

    fn transactional(base_offset: i64, producer: i64, offset: i64) -> Vec<u8> {
        let mut batch = BatchBuilder::new(BatchOptions {
            base_offset: Offset(base_offset),
            producer: Producer { id: producer, epoch: 0, base_sequence: 0 },
            transactional: true,
            ..BatchOptions::default()
        })
        .unwrap();
        let (key, value) = offset_record(&"g2".into(), &"t".into(), 0, Some(&committed(offset))).unwrap();
        batch
            .push(&NewRecord { timestamp: 1, key: Some(&key), value: value.as_deref(), headers: &[] })
            .unwrap();
        batch.finish().unwrap()
    }

    fn marker(base_offset: i64, producer: i64, kind: u8) -> Vec<u8> {
        let mut batch = BatchBuilder::new(BatchOptions {
            base_offset: Offset(base_offset),
            producer: Producer { id: producer, epoch: 0, base_sequence: -1 },
            transactional: true,
            control: true,
            ..BatchOptions::default()
        })
        .unwrap();
        let key = [0, 0, 0, kind];
        batch.push(&NewRecord { timestamp: 1, key: Some(&key), value: Some(&[0; 6]), headers: &[] }).unwrap();
        batch.finish().unwrap()
    }

    #[test]
    fn a_transaction_counts_when_it_commits() {
        let plain = |base: i64, offset: i64| {
            let record = offset_record(&"g2".into(), &"t".into(), 0, Some(&committed(offset))).unwrap();
            let mut bytes = batch(&[record], Content::Commits, client::record::Compression::NONE, 1).unwrap();
            bytes[..8].copy_from_slice(&base.to_be_bytes());
            bytes
        };
        let (abort, commit) = (0, 1);
        let cases: [(&[Vec<u8>], Option<i64>); 5] = [
            (&[transactional(0, 9, 5)], None),
            (&[transactional(0, 9, 5), marker(1, 8, commit)], None),
            (&[transactional(0, 9, 5), marker(1, 9, abort), marker(2, 9, commit)], None),
            (&[plain(0, 3), transactional(1, 9, 5), marker(2, 9, commit)], Some(5)),
            // A commit between a transaction's record and its marker is the newer one.
            (&[transactional(0, 9, 5), plain(1, 3), marker(2, 9, commit)], Some(3)),
        ];
        for (number, (log, expected)) in cases.into_iter().enumerate() {
            let mut replay = Replay::default();
            replay.take(&log.concat()).unwrap();
            let found = replay.offsets.get(&of(0)).and_then(|one| one.value.as_ref()).map(|one| one.offset);
            assert_eq!(found, expected, "case {number}");
        }
    }
}
