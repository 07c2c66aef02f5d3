//! Batches written and read again, whole, torn and damaged.

use crate::ids::{LeaderEpoch, Offset};
use crate::record::compression::{compress, decompress};
use crate::record::{
    AnyBatch, BatchBuilder, BatchError, BatchHeader, BatchOptions, Codec, Compression, CompressionError,
    Header, NewRecord, Producer, RecordError, Tail, TimestampType, batches, payload, records,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn any_record() -> impl Strategy<Value = Owned> {
    let bytes = || option::of(vec(any::<u8>(), 0..200));
    let header = (vec(any::<u8>(), 0..10), option::of(vec(any::<u8>(), 0..10)));
    (0..i64::MAX / 2, bytes(), bytes(), vec(header, 0..4))
        .prop_map(|(timestamp, key, value, headers)| Owned { timestamp, key, value, headers })
}

fn any_codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(Codec::ALL.to_vec())
}

fn build(options: BatchOptions, written: &[Owned]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options).unwrap();
    for record in written {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        builder
            .push(&NewRecord {
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            })
            .unwrap();
    }
    builder.finish().unwrap()
}

fn read(batch: &AnyBatch<'_>) -> Vec<Owned> {
    let payload = payload(batch, LIMIT).unwrap();
    records(batch.header().unwrap(), &payload)
        .map(|record| {
            let record = record.unwrap();
            Owned {
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record
                    .headers
                    .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                    .collect(),
            }
        })
        .collect()
}

/// Reads all that bytes pretend to hold, and must not panic or run away.
fn read_whatever(bytes: &[u8]) {
    for batch in batches(bytes) {
        let Some(header) = batch.header() else { continue };
        if let Ok(payload) = payload(&batch, LIMIT) {
            for record in records(header, &payload).flatten() {
                let _ = record.headers.count();
            }
        }
    }
}

fn sample(codec: Codec) -> Vec<u8> {
    let written: Vec<_> = (0..20)
        .map(|n| Owned {
            timestamp: 1_000 + n,
            key: (n % 3 > 0).then(|| format!("key-{n}").into_bytes()),
            value: Some(format!("value value value {n}").into_bytes()),
            headers: vec![(b"h".to_vec(), None)],
        })
        .collect();
    build(BatchOptions { compression: codec.into(), ..BatchOptions::default() }, &written)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_round_trip(
        written in vec(any_record(), 1..30),
        codec in any_codec(),
        base in 0..1_i64 << 40,
        transactional: bool,
    ) {
        let producer = Producer { id: 4, epoch: 2, base_sequence: 11 };
        let bytes = build(
            BatchOptions {
                base_offset: Offset(base),
                leader_epoch: LeaderEpoch(5),
                compression: codec.into(),
                producer,
                transactional,
                ..BatchOptions::default()
            },
            &written,
        );
        let batch = AnyBatch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        let header = batch.header().unwrap();
        let count = written.len() as i32;
        prop_assert_eq!(batch.size(), bytes.len());
        prop_assert_eq!((header.record_count, header.last_offset_delta), (count, count - 1));
        prop_assert_eq!(header.last_offset(), Offset(base + i64::from(count) - 1));
        prop_assert_eq!(header.last_sequence(), 10 + count);
        prop_assert_eq!((header.producer_id, header.producer_epoch), (4, 2));
        prop_assert_eq!(header.leader_epoch, LeaderEpoch(5));
        prop_assert_eq!(header.attributes.codec(), Ok(codec));
        prop_assert_eq!(header.attributes.is_transactional(), transactional);
        prop_assert_eq!(header.base_timestamp, written[0].timestamp);
        prop_assert_eq!(Some(header.max_timestamp), written.iter().map(|record| record.timestamp).max());
        prop_assert_eq!(read(&batch), written);
    }

    #[test]
    fn payloads_round_trip(parts in vec(vec(any::<u8>(), 0..5_000), 0..40), codec in any_codec(), magic in 0_i8..3) {
        let payload = parts.concat();
        let packed = compress(codec.into(), &payload, magic).unwrap();
        prop_assert_eq!(decompress(codec, &packed, magic, payload.len()).unwrap(), payload);
    }

    #[test]
    fn flipped_bits_never_panic(codec in any_codec(), flips in vec(any::<prop::sample::Index>(), 1..4)) {
        let mut bytes = sample(codec);
        for flip in flips {
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        read_whatever(&bytes);
    }

    #[test]
    fn noise_never_panics(bytes in vec(any::<u8>(), 0..300), codec in any_codec(), magic in 0_i8..3) {
        read_whatever(&bytes);
        let _ = decompress(codec, &bytes, magic, LIMIT);
    }
}

#[test]
fn every_single_flip_under_the_checksum_is_noticed() {
    let good = sample(Codec::Lz4);
    for bit in 17 * 8..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let noticed = AnyBatch::parse(&bad).and_then(|batch| batch.check_crc());
        assert!(matches!(noticed, Err(BatchError::Crc { .. })), "bit {bit}");
    }
}

#[test]
fn a_batch_torn_anywhere_is_left_out_of_a_walk() {
    let one = sample(Codec::None);
    for len in 0..one.len() {
        let log = [&one[..], &one[..len]].concat();
        let mut walk = batches(&log);
        assert_eq!(walk.by_ref().count(), 1, "{len} bytes");
        let needed = if len < 17 { 17 } else { one.len() };
        let tail = if len == 0 { Tail::Clean } else { Tail::Torn { position: one.len(), needed } };
        assert_eq!(walk.tail(), tail, "{len} bytes");
    }
}

#[test]
fn a_payload_torn_anywhere_never_passes_for_whole() {
    for codec in Codec::ALL {
        let bytes = sample(codec);
        let batch = AnyBatch::parse(&bytes).unwrap();
        let stored = batch.payload().unwrap();
        let header = batch.header().unwrap();
        for len in 0..stored.len() {
            let Ok(payload) = decompress(codec, &stored[..len], 2, LIMIT) else { continue };
            let whole = records(header, &payload).all(|record| record.is_ok());
            assert!(!whole, "{codec}, {len} bytes");
        }
    }
}

#[test]
fn records_must_fill_their_batch_exactly() {
    let bytes = sample(Codec::None);
    let batch = AnyBatch::parse(&bytes).unwrap();
    let (header, payload) = (*batch.header().unwrap(), batch.payload().unwrap());
    let last_error = |count, payload: &[u8]| {
        let header = BatchHeader { record_count: count, ..header };
        records(&header, payload).last().unwrap().err()
    };
    assert_eq!(last_error(20, payload), None);
    assert_eq!(last_error(21, payload), Some(RecordError::Truncated));
    assert!(matches!(last_error(19, payload), Some(RecordError::TrailingBytes { .. })));
    assert_eq!(last_error(-1, payload), Some(RecordError::NegativeCount { count: -1 }));
    let longer = [payload, &[0]].concat();
    assert_eq!(last_error(20, &longer), Some(RecordError::TrailingBytes { left: 1 }));
}

#[test]
fn append_time_replaces_the_timestamps() {
    let written = Owned { timestamp: 5, key: None, value: None, headers: vec![] };
    let bytes = build(BatchOptions { append_time: Some(99), ..BatchOptions::default() }, &[written]);
    let batch = AnyBatch::parse(&bytes).unwrap();
    assert_eq!(batch.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!((batch.max_timestamp(), batch.header().unwrap().base_timestamp), (99, 5));
    assert_eq!(read(&batch)[0].timestamp, 99);
}

#[test]
fn bombs_end_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = compress(codec.into(), &zeros, 2).unwrap();
        let error = decompress(codec, &bomb, 2, LIMIT).unwrap_err();
        assert!(matches!(error, CompressionError::LimitExceeded { limit: LIMIT, .. }), "{codec}: {error}");
    }
}

#[test]
fn a_snappy_block_cannot_claim_what_it_does_not_hold() {
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let error = decompress(Codec::Snappy, &claim, 2, usize::MAX).unwrap_err();
    assert!(matches!(error, CompressionError::Corrupt { .. }), "{error}");
}

#[test]
fn snappy_is_read_bare_too() {
    let bare = snap::raw::Encoder::new().compress_vec(b"plain plain plain").unwrap();
    assert_eq!(decompress(Codec::Snappy, &bare, 2, LIMIT).unwrap(), b"plain plain plain");
}

#[test]
fn framings_are_those_of_kafka() {
    let start = |codec, magic, len: usize| {
        let packed = compress(Compression::from(codec), b"some some some some some", magic).unwrap();
        packed[..len].to_vec()
    };
    assert_eq!(start(Codec::Snappy, 2, 16), *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    assert_eq!(start(Codec::Lz4, 2, 7), [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    assert_eq!(start(Codec::Lz4, 1, 7), [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    let old = start(Codec::Lz4, 0, 7);
    assert_eq!(old[..6], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40]);
    assert_ne!(old[6], 0x82, "format 0 has the historic wrong checksum");
    assert_eq!(start(Codec::Zstd, 2, 6), [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58]);
    assert_eq!(start(Codec::Gzip, 2, 4), [0x1f, 0x8b, 0x08, 0x00]);
}
