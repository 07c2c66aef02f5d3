use proptest::prelude::*;

use super::*;
use crate::record::{
    BatchBuilder, BatchOptions, Codec, Compression, Header, MessageFormat, MessageSetBuilder, NewRecord,
    Producer, TimestampType,
};

const READ: Reading = Reading { isolation: Isolation::ReadUncommitted, check_crcs: true };
const COMMITTED: Reading = Reading { isolation: Isolation::ReadCommitted, check_crcs: true };

fn t() -> TopicPartition {
    TopicPartition::new("t", 3)
}

/// A batch of `count` records with values that are their offsets.
fn batch(base: i64, count: i64, options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(base),
        leader_epoch: LeaderEpoch(5),
        ..options
    })
    .unwrap();
    for offset in base..base + count {
        let value = offset.to_string();
        let headers = [Header { key: b"h", value: Some(b"x") }, Header { key: b"\xff", value: None }];
        builder
            .push(&NewRecord {
                timestamp: 100 + offset,
                value: Some(value.as_bytes()),
                headers: &headers,
                ..Default::default()
            })
            .unwrap();
    }
    builder.finish().unwrap()
}

fn plain(base: i64, count: i64) -> Vec<u8> {
    batch(base, count, BatchOptions::default())
}

fn transactional(base: i64, count: i64, id: i64) -> Vec<u8> {
    let producer = Producer { id, epoch: 0, base_sequence: 0 };
    batch(base, count, BatchOptions { producer, transactional: true, ..Default::default() })
}

fn marker(offset: i64, id: i64, kind: u8) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(offset),
        producer: Producer { id, epoch: 0, base_sequence: -1 },
        transactional: true,
        control: true,
        ..Default::default()
    })
    .unwrap();
    builder.push(&NewRecord { key: Some(&[0, 0, 0, kind]), ..Default::default() }).unwrap();
    builder.finish().unwrap()
}

fn chunk(bytes: Vec<u8>, from: i64) -> Chunk {
    Chunk::new(bytes.into(), Offset(from).into(), Vec::new(), 1000).unwrap()
}

fn all(chunk: &mut Chunk, reading: Reading) -> Vec<i64> {
    let mut out = Vec::new();
    chunk.take(&t(), reading, usize::MAX, &mut out).unwrap();
    out.iter().map(|record| record.offset.0).collect()
}

#[test]
fn every_format_and_codec_is_read() {
    for codec in Codec::ALL {
        let options = BatchOptions { compression: Compression::from(codec), ..Default::default() };
        let mut of = chunk(batch(10, 4, options), 12);
        assert_eq!(of.end(), Position::new(Offset(14), LeaderEpoch(5)));
        let mut out = Vec::new();
        of.take(&t(), READ, usize::MAX, &mut out).unwrap();
        assert_eq!(out.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [12, 13], "{codec}");
        assert_eq!(of.position(), of.end());
        let first = &out[0];
        assert_eq!((&*first.topic, first.partition, first.leader_epoch), ("t", 3, LeaderEpoch(5)));
        assert_eq!((first.timestamp_type, first.timestamp_ms), (TimestampType::CreateTime, 112));
        assert_eq!((first.key.as_deref(), first.value.as_deref()), (None, Some(b"12".as_slice())));
        let headers: Vec<_> = first.headers.iter().map(|h| (&*h.key, h.value.as_deref())).collect();
        assert_eq!(headers, [("h", Some(b"x".as_slice())), ("\u{fffd}", None)]);
        for format in [MessageFormat::V0, MessageFormat::V1] {
            if codec == Codec::Zstd {
                continue;
            }
            let mut set = MessageSetBuilder::new(format, codec.into(), None).unwrap();
            for offset in 10..14 {
                set.push(Offset(offset), offset, Some(b"k"), None).unwrap();
            }
            let mut of = chunk(set.finish().unwrap(), 12);
            let mut out = Vec::new();
            of.take(&t(), READ, usize::MAX, &mut out).unwrap();
            let timestamp = if format == MessageFormat::V0 { -1 } else { 12 };
            assert_eq!(out.len(), 2, "{codec} {format:?}");
            assert_eq!((out[0].offset, out[0].timestamp_ms, &out[0].value), (Offset(12), timestamp, &None));
            assert_eq!(out[1].key.as_deref(), Some(b"k".as_slice()));
            assert_eq!(of.position(), Offset(14).into());
        }
    }
}

#[test]
fn batches_are_opened_as_they_are_wanted() {
    let mut of = chunk([plain(0, 3), plain(3, 3), plain(8, 1)].concat(), 1);
    let mut out = Vec::new();
    of.take(&t(), READ, 1, &mut out).unwrap();
    assert_eq!((out.len(), of.position().offset), (2, Offset(3)));
    out.clear();
    of.take(&t(), READ, 100, &mut out).unwrap();
    assert_eq!((out.len(), of.position()), (4, of.end()));
}

#[test]
fn aborted_transactions_and_markers_are_passed_over() {
    // Producer 7 aborts 0..2 and commits 6..8 later; producer 8, between, commits.
    let log = [
        transactional(0, 2, 7),
        transactional(2, 2, 8),
        marker(4, 7, 0),
        marker(5, 8, 1),
        transactional(6, 2, 7),
        plain(8, 1),
        marker(9, 7, 1),
    ]
    .concat();
    let aborted = vec![Aborted { first_offset: Offset(0), producer_id: 7 }];
    let mut of = Chunk::new(log.clone().into(), Offset(1).into(), aborted, 0).unwrap();
    assert_eq!(all(&mut of, COMMITTED), [2, 3, 6, 7, 8]);
    assert_eq!(of.position().offset, Offset(10));
    assert_eq!(all(&mut chunk(log, 1), READ), [1, 2, 3, 6, 7, 8]);
}

#[test]
fn a_cut_last_batch_is_left_for_the_next_fetch() {
    let mut bytes = [plain(0, 2), plain(2, 2)].concat();
    bytes.truncate(bytes.len() - 1);
    let mut of = chunk(bytes.clone(), 0);
    assert_eq!(of.end().offset, Offset(2));
    assert_eq!(all(&mut of, READ), [0, 1]);

    let cut = bytes[..20].to_vec();
    let error = Chunk::new(cut.into(), Offset(0).into(), Vec::new(), 20).unwrap_err();
    assert!(
        matches!(error, CorruptRecords::TooLarge { limit: 20, needed, .. } if needed == plain(0, 2).len())
    );
}

#[test]
fn damage_is_an_error_behind_what_is_whole() {
    let mut bytes = [plain(0, 2), plain(2, 2)].concat();
    *bytes.last_mut().unwrap() ^= 1;
    let mut of = chunk(bytes.clone(), 0);
    let mut out = Vec::new();
    let error = of.take(&t(), READ, usize::MAX, &mut out).unwrap_err();
    assert!(matches!(error, CorruptRecords::Batch { offset: Offset(2), .. }), "{error}");
    assert_eq!((out.len(), of.position().offset), (2, Offset(2)));
    out.clear();
    of.take(&t(), READ, usize::MAX, &mut out).unwrap_err();
    assert_eq!(out, []);
    // Not asked to check, the value is given as it is.
    assert_eq!(all(&mut chunk(bytes, 2), Reading { check_crcs: false, ..READ }), [2, 3]);

    let behind = Chunk::new(plain(0, 2).into(), Offset(2).into(), Vec::new(), 0).unwrap_err();
    assert_eq!(
        behind.to_string(),
        "asked for records from offset 2 on, the broker sent only records before it"
    );
    assert!(Chunk::new(Bytes::new(), Offset(2).into(), Vec::new(), 0).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), from in 0_i64..9, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), crafted: bool) {
        if crafted {
            bytes = [transactional(0, 2, 7), marker(2, 7, 0), batch(3, 2, BatchOptions { compression: Codec::Zstd.into(), ..Default::default() })].concat();
            for (at, bits) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
        }
        let aborted = vec![Aborted { first_offset: Offset(0), producer_id: 7 }];
        if let Ok(mut chunk) = Chunk::new(bytes.into(), Offset(from).into(), aborted, 0) {
            let mut out = Vec::new();
            let reading = Reading { isolation: Isolation::ReadCommitted, check_crcs: false };
            let _ = chunk.take(&t(), reading, usize::MAX, &mut out);
            prop_assert!(out.iter().all(|record| record.offset >= Offset(from)));
            prop_assert!(out.is_sorted_by(|a, b| a.offset < b.offset));
        }
    }
}
