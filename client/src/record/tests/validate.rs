//! Produced records against the rules of their topic. Outcomes are those of Apache Kafka 3.9.1 for
//! the same bytes, unless a test says why not.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::record::compression::compress;
use crate::record::validate::look_message;
use crate::record::{
    AnyBatch, Attributes, BatchBuilder, BatchHeader, BatchOptions, Codec, Compression, EntryError, FirstLook,
    MessageFormat, MessageSetBuilder, NO_TIMESTAMP, NewRecord, Origin, ProduceRules, ProducedBy, Producer,
    Refusal, TimestampType, Validated, batch, check_format, look, payload, records, validate,
};
use crate::wire::ErrorCode;

const NOW: i64 = 1_800_000_000_000;
const LIMIT: usize = 1 << 20;

/// Rules of a plain topic, changed by `change`.
fn check(bytes: &[u8], change: impl FnOnce(&mut ProduceRules<'_>)) -> Result<Validated, Refusal> {
    let partition = TopicPartition::new("t", 0);
    let mut rules = ProduceRules {
        partition: &partition,
        origin: Origin::Client,
        max_message_bytes: 1_048_588,
        segment_bytes: 1 << 30,
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
        compression: None,
        decompressed_max_bytes: LIMIT,
    };
    change(&mut rules);
    validate(bytes, &rules, NOW)
}

fn accept(bytes: &[u8], change: impl FnOnce(&mut ProduceRules<'_>)) -> Validated {
    let accepted = check(bytes, change).unwrap();
    let batch = AnyBatch::parse(&accepted.batch).unwrap();
    batch.check_crc().unwrap();
    assert_eq!(batch.size(), accepted.batch.len());
    assert_eq!(batch.base_offset(), Some(Offset(0)));
    accepted
}

fn code(bytes: &[u8], change: impl FnOnce(&mut ProduceRules<'_>)) -> ErrorCode {
    check(bytes, change).unwrap_err().error_code()
}

fn plain(_: &mut ProduceRules<'_>) {}

fn append_time(rules: &mut ProduceRules<'_>) {
    rules.timestamp_type = TimestampType::LogAppendTime;
}

fn compacted(rules: &mut ProduceRules<'_>) {
    rules.compacted = true;
}

fn header_of(validated: &Validated) -> BatchHeader {
    BatchHeader::parse(&validated.batch).unwrap()
}

type Content = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// (timestamp, key, value) of each record.
fn contents(validated: &Validated) -> Vec<Content> {
    let batch = AnyBatch::parse(&validated.batch).unwrap();
    let payload = payload(&batch, LIMIT).unwrap();
    records(batch.header().unwrap(), &payload)
        .map(|record| {
            let record = record.unwrap();
            (record.timestamp, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec))
        })
        .collect()
}

fn record(timestamp: i64) -> NewRecord<'static> {
    NewRecord { timestamp, key: Some(b"k"), value: Some(b"v"), headers: &[] }
}

fn build(options: BatchOptions, written: &[NewRecord<'_>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options).unwrap();
    for record in written {
        builder.push(record).unwrap();
    }
    builder.finish().unwrap()
}

fn two(codec: Codec) -> Vec<u8> {
    build(
        BatchOptions { compression: codec.into(), ..BatchOptions::default() },
        &[record(NOW), record(NOW + 5)],
    )
}

/// A batch with a payload and header written by hand.
fn handmade(payload: &[u8], count: i32, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader {
        base_offset: Offset(0),
        batch_length: 49 + payload.len() as i32,
        leader_epoch: LeaderEpoch::NONE,
        magic: 2,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp: NOW,
        max_timestamp: NOW,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: count,
    };
    change(&mut header);
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(payload);
    batch::reset_crc(&mut bytes);
    bytes
}

/// Two records without timestamps' distance: `10 00 00 00 02 6b 02 76 00`, then deltas 5 and `second`.
fn two_raw(second: u8) -> Vec<u8> {
    vec![0x10, 0, 0, 0, 2, b'k', 2, b'v', 0, 0x10, 0, 0x0a, second * 2, 2, b'k', 2, b'v', 0]
}

fn gz(payload: &[u8]) -> Vec<u8> {
    compress(Codec::Gzip.into(), payload, 2).unwrap()
}

fn gzip_bit(header: &mut BatchHeader) {
    header.attributes = Attributes(1);
}

#[test]
fn an_honest_batch_stays_byte_for_byte() {
    for codec in Codec::ALL {
        let sent = two(codec);
        let accepted = accept(&sent, plain);
        assert_eq!(accepted.batch, sent, "{codec}");
        assert_eq!(
            Validated { batch: vec![], ..accepted },
            Validated {
                batch: vec![],
                record_count: 2,
                max_timestamp: NOW + 5,
                max_timestamp_index: 1,
                log_append_time: -1,
                re_encoded: false,
                producer: None,
                transactional: false,
            },
            "{codec}"
        );
    }
}

#[test]
fn the_producer_is_passed_on() {
    let producer = Producer { id: 7, epoch: 3, base_sequence: i32::MAX };
    let sent = build(
        BatchOptions { producer, transactional: true, ..BatchOptions::default() },
        &[record(1), record(2)],
    );
    let accepted = accept(&sent, plain);
    let expected = ProducedBy { id: 7, epoch: 3, first_sequence: i32::MAX, last_sequence: 0 };
    assert_eq!((accepted.producer, accepted.transactional), (Some(expected), true));
    let accepted = accept(&sent, |rules| rules.compression = Some(Codec::Lz4.into()));
    assert_eq!((accepted.producer, accepted.re_encoded), (Some(expected), true));
    let header = header_of(&accepted);
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 3, i32::MAX));
    assert!(header.attributes.is_transactional());
}

#[test]
fn the_greatest_timestamp_is_the_records_word() {
    let sent = handmade(&two_raw(1), 2, |header| {
        header.attributes = Attributes(0x7f40);
        header.max_timestamp = NOW + 5;
    });
    assert_eq!(accept(&sent, plain).batch, sent, "unknown bits stay where nothing is patched");

    let sent = handmade(&two_raw(1), 2, |header| {
        header.attributes = Attributes(0x7f40);
        header.max_timestamp = NOW + 7;
    });
    let header = header_of(&accept(&sent, plain));
    assert_eq!((header.max_timestamp, header.attributes), (NOW + 5, Attributes(0x40)));
    let header = header_of(&accept(&sent, append_time));
    assert_eq!((header.max_timestamp, header.attributes), (NOW, Attributes(0x48)));
    assert_eq!(header.base_timestamp, NOW);
}

#[test]
fn append_time_is_set_by_the_leader_only() {
    for codec in [Codec::None, Codec::Gzip] {
        let accepted = accept(&two(codec), append_time);
        assert_eq!((accepted.log_append_time, accepted.max_timestamp), (NOW, NOW));
        assert!(!accepted.re_encoded);
        assert!(contents(&accepted).iter().all(|(timestamp, _, _)| *timestamp == NOW));
    }

    let claims = |codec: Codec| {
        let options =
            BatchOptions { compression: codec.into(), append_time: Some(NOW + 9), ..BatchOptions::default() };
        build(options, &[NewRecord { key: None, ..record(NOW) }])
    };
    let text = |bytes: &[u8], change: fn(&mut ProduceRules<'_>)| {
        let refusal = check(bytes, change).unwrap_err();
        assert_eq!(refusal.error_code(), ErrorCode::InvalidTimestamp);
        refusal.record_errors()[0].message.clone()
    };
    assert_eq!(
        text(&claims(Codec::None), append_time),
        "Invalid timestamp type in message DefaultRecord(offset=0, timestamp=1800000000009, key=0 bytes, \
         value=1 bytes). Producer should not set timestamp type to LogAppendTime."
    );
    assert_eq!(
        text(&claims(Codec::Gzip), append_time),
        "Invalid timestamp type in message PartialDefaultRecord(offset=0, timestamp=1800000000009, key=-1 bytes, \
         value=1 bytes). Producer should not set timestamp type to LogAppendTime."
    );
    let accepted = accept(&claims(Codec::None), plain);
    let header = header_of(&accepted);
    assert_eq!((header.attributes, header.max_timestamp), (Attributes(0), NOW + 9), "cleared in silence");
    assert_eq!(contents(&accepted)[0].0, NOW, "the record's own time counts again");
}

#[test]
fn timestamps_must_be_in_range() {
    let sent = build(
        BatchOptions::default(),
        &[record(NOW), record(NOW - 1_001), record(NO_TIMESTAMP), record(NOW + 501)],
    );
    let narrow = |rules: &mut ProduceRules<'_>| {
        rules.before_max_ms = 1_000;
        rules.after_max_ms = 500;
    };
    let refusal = check(&sent, narrow).unwrap_err();
    assert_eq!(refusal.error_code(), ErrorCode::InvalidTimestamp);
    assert_eq!(
        refusal.error_message().unwrap(),
        "One or more records have been rejected due to invalid timestamp"
    );
    let errors: Vec<_> =
        refusal.record_errors().iter().map(|error| (error.batch_index, error.message.as_str())).collect();
    assert_eq!(
        errors,
        [
            (
                1,
                "Timestamp 1799999998999 of message with offset 1 is out of range. The timestamp should be \
                 within [1799999999000, 1800000000500]"
            ),
            (
                3,
                "Timestamp 1800000000501 of message with offset 3 is out of range. The timestamp should be \
                 within [1799999999000, 1800000000500]"
            )
        ]
    );
    let edges = build(BatchOptions::default(), &[record(NOW - 1_000), record(NOW + 500)]);
    accept(&edges, narrow);
    accept(&sent, |rules| {
        narrow(rules);
        append_time(rules);
    });
}

#[test]
fn compacted_topics_need_keys() {
    let keyless = NewRecord { key: None, ..record(NOW) };
    for codec in [Codec::None, Codec::Zstd] {
        let sent = build(
            BatchOptions { compression: codec.into(), ..BatchOptions::default() },
            &[keyless, record(NOW), keyless, keyless, keyless],
        );
        accept(&sent, plain);
        let refusal = check(&sent, compacted).unwrap_err();
        assert_eq!(refusal.error_code(), ErrorCode::InvalidRecord);
        let indexes: Vec<_> = refusal.record_errors().iter().map(|error| error.batch_index).collect();
        assert_eq!(indexes, [0, 2, 3, 4]);
        assert_eq!(
            refusal.error_message().unwrap(),
            "One or more records have been rejected due to 4 record errors in total, and only showing the \
             first three errors at most: [RecordError(batchIndex=0, message='Compacted topic cannot accept \
             message without key in topic partition t-0'), RecordError(batchIndex=2, message='Compacted topic \
             cannot accept message without key in topic partition t-0'), RecordError(batchIndex=3, \
             message='Compacted topic cannot accept message without key in topic partition t-0')]"
        );
    }
}

#[test]
fn headers_that_contradict_themselves_are_invalid() {
    type Case = (&'static str, fn(&mut BatchHeader));
    let cases: [Case; 8] = [
        ("base offset", |header| header.base_offset = Offset(5)),
        ("last offset delta", |header| header.last_offset_delta = 3),
        ("no records", |header| (header.record_count, header.last_offset_delta) = (0, 0)),
        ("no records, no offsets", |header| (header.record_count, header.last_offset_delta) = (0, -1)),
        ("negative count", |header| (header.record_count, header.last_offset_delta) = (-2, -3)),
        ("more records", |header| (header.record_count, header.last_offset_delta) = (3, 2)),
        ("control", |header| header.attributes = Attributes(0x20)),
        ("no sequence", |header| header.producer_id = 5),
    ];
    for (name, change) in cases {
        let refusal = check(&handmade(&two_raw(1), 2, change), plain).unwrap_err();
        assert_eq!(refusal.error_code(), ErrorCode::InvalidRecord, "{name}: {refusal}");
        assert_eq!((refusal.error_message(), refusal.record_errors()), (None, &[][..]), "{name}");
    }
}

#[test]
fn coordinators_may_write_control_records() {
    let options = BatchOptions { control: true, ..BatchOptions::default() };
    let sent = build(options, &[record(NOW)]);
    assert_eq!(code(&sent, plain), ErrorCode::InvalidRecord);
    let accepted = accept(&sent, |rules| {
        rules.origin = Origin::Coordinator;
        rules.compression = Some(Codec::Gzip.into());
    });
    assert_eq!(accepted.batch, sent, "markers are never compressed");
}

#[test]
fn records_must_fill_their_batch() {
    let good = two_raw(1);
    let longer = [&good[..], &[0]].concat();
    let shorter = &good[..good.len() - 3];
    let lying = [&[0x0a], &good[1..]].concat();
    let null_header_key = [0x14, 0, 0, 0, 2, b'k', 2, b'v', 2, 1, 1];
    for payload in [&longer[..], shorter, &lying] {
        assert_eq!(code(&handmade(payload, 2, |_| ()), plain), ErrorCode::InvalidRecord);
        // Kafka stores a compressed record whose size lies; no consumer can read past it.
        assert_eq!(code(&handmade(&gz(payload), 2, gzip_bit), plain), ErrorCode::InvalidRecord);
    }
    assert_eq!(code(&handmade(&null_header_key, 1, |_| ()), plain), ErrorCode::InvalidRecord);
    assert_eq!(code(&handmade(&gz(&null_header_key), 1, gzip_bit), plain), ErrorCode::InvalidRecord);
}

#[test]
fn undecodable_payloads_are_the_servers_error() {
    let unexpected = ErrorCode::UnknownServerError;
    let packed = gz(&two_raw(1));
    let cut = &packed[..packed.len() - 4];
    assert_eq!(
        code(&handmade(&two_raw(1), 2, |header| header.attributes = Attributes(5)), plain),
        unexpected
    );
    assert_eq!(code(&handmade(&two_raw(1), 2, gzip_bit), plain), unexpected);
    assert_eq!(code(&handmade(cut, 2, gzip_bit), plain), unexpected);
    let followed = [&packed[..], b"garbage"].concat();
    assert_eq!(accept(&handmade(&followed, 2, gzip_bit), plain).record_count, 2);
    let members = [gz(&two_raw(1)[..9]), gz(&two_raw(1)[9..])].concat();
    assert_eq!(accept(&handmade(&members, 2, gzip_bit), plain).record_count, 2);
}

#[test]
fn offset_deltas_matter_only_where_records_are_compressed() {
    let sent = handmade(&two_raw(5), 2, |header| header.max_timestamp = NOW + 5);
    assert_eq!(accept(&sent, plain).batch, sent);
    assert_eq!(code(&handmade(&gz(&two_raw(5)), 2, gzip_bit), plain), ErrorCode::UnknownServerError);
    let accepted = accept(&handmade(&gz(&two_raw(5)), 2, gzip_bit), |rules| {
        rules.compression = Some(Compression::NONE);
    });
    assert_eq!(accepted.batch[61..], two_raw(1), "written anew, offsets are in order");
}

#[test]
fn sizes_are_limited() {
    let sent = two(Codec::None);
    let size = sent.len();
    accept(&sent, |rules| (rules.max_message_bytes, rules.segment_bytes) = (size, size));
    let too_large = |rules: &mut ProduceRules<'_>| rules.max_message_bytes = size - 1;
    assert_eq!(code(&sent, too_large), ErrorCode::MessageTooLarge);
    assert_eq!(code(&sent, |rules| rules.segment_bytes = size - 1), ErrorCode::RecordListTooLarge);

    let zeros = vec![0; 100_000];
    let options = BatchOptions { compression: Codec::Lz4.into(), ..BatchOptions::default() };
    let dense = build(options, &[NewRecord { value: Some(&zeros), ..record(NOW) }]);
    let inflated = |rules: &mut ProduceRules<'_>| {
        (rules.max_message_bytes, rules.compression) = (50_000, Some(Compression::NONE));
    };
    assert_eq!(code(&dense, inflated), ErrorCode::MessageTooLarge);
    assert_eq!(code(&dense, |rules| rules.decompressed_max_bytes = 50_000), ErrorCode::MessageTooLarge);
}

#[test]
fn damage_is_noticed_before_anything_is_believed() {
    let good = two(Codec::Gzip);
    for bit in 17 * 8..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(code(&bad, plain), ErrorCode::CorruptMessage, "bit {bit}");
    }
}

#[test]
fn every_codec_is_written_as_every_other() {
    for from in Codec::ALL {
        for to in Codec::ALL {
            let accepted = accept(&two(from), |rules| rules.compression = Some(to.into()));
            assert_eq!(accepted.re_encoded, from != to);
            assert_eq!(header_of(&accepted).attributes.codec(), Ok(to));
            let kv = || (Some(b"k".to_vec()), Some(b"v".to_vec()));
            let expected: Vec<_> = [NOW, NOW + 5].map(|at| (at, kv().0, kv().1)).into();
            assert_eq!(contents(&accepted), expected, "{from} to {to}");
            assert_eq!((accepted.max_timestamp, accepted.record_count), (NOW + 5, 2));
        }
    }
}

#[test]
fn negative_timestamps_cannot_be_written_anew() {
    let sent = build(BatchOptions::default(), &[record(-5), record(0)]);
    assert_eq!(accept(&sent, plain).max_timestamp, 0);
    let recompress = |rules: &mut ProduceRules<'_>| rules.compression = Some(Codec::Gzip.into());
    assert_eq!(code(&sent, recompress), ErrorCode::UnknownServerError);
    let without = build(BatchOptions::default(), &[record(NO_TIMESTAMP)]);
    let header = header_of(&accept(&without, recompress));
    assert_eq!((header.base_timestamp, header.max_timestamp), (-1, -1));
}

fn messages(format: MessageFormat, codec: Codec, base: i64, timestamps: &[i64]) -> Vec<u8> {
    let mut builder = MessageSetBuilder::new(format, codec.into(), None).unwrap();
    for (index, timestamp) in timestamps.iter().enumerate() {
        builder.push(Offset(base + index as i64), *timestamp, Some(b"k"), None).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn old_messages_become_one_batch() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        for base in [0, 40] {
            let sent = messages(MessageFormat::V1, codec, base, &[NOW + 9, NOW, NOW + 3]);
            let accepted = accept(&sent, plain);
            let header = header_of(&accepted);
            assert_eq!((header.base_timestamp, header.max_timestamp), (NOW + 9, NOW + 9));
            assert_eq!((header.record_count, header.last_offset_delta), (3, 2));
            assert_eq!(header.attributes, Attributes::new(codec, TimestampType::CreateTime));
            let expected: Vec<_> = [NOW + 9, NOW, NOW + 3].map(|at| (at, Some(b"k".to_vec()), None)).into();
            assert_eq!(contents(&accepted), expected, "{codec}");
            assert!(accepted.re_encoded);
            assert_eq!((accepted.max_timestamp, accepted.max_timestamp_index), (NOW + 9, 0));
        }
        let sent = messages(MessageFormat::V0, codec, 40, &[0, 0]);
        let header = header_of(&accept(&sent, plain));
        assert_eq!((header.base_timestamp, header.max_timestamp, header.record_count), (-1, -1, 2));
        let header = header_of(&accept(&sent, append_time));
        assert_eq!((header.base_timestamp, header.max_timestamp), (-1, NOW));
        assert_eq!(header.attributes, Attributes::new(codec, TimestampType::LogAppendTime));
    }
}

#[test]
fn of_old_messages_the_whole_ones_count() {
    let sent = messages(MessageFormat::V1, Codec::None, 0, &[NOW, NOW]);
    let one = sent.len() / 2;
    for len in 0..=sent.len() {
        let validated = check(&sent[..len], plain).unwrap();
        assert_eq!(validated.record_count as usize, len / one, "{len} bytes");
        assert_eq!(validated.batch.is_empty(), len < one);
    }
}

#[test]
fn old_messages_must_fit_together() {
    let v0 = messages(MessageFormat::V0, Codec::None, 0, &[0]);
    let v1 = messages(MessageFormat::V1, Codec::None, 0, &[NOW]);
    let wrapped = messages(MessageFormat::V1, Codec::Gzip, 0, &[NOW]);
    let v2 = two(Codec::None);
    let pairs = [[&v0, &v1], [&wrapped, &v1], [&v1, &wrapped], [&v2, &v1], [&v1, &v2], [&v2, &v2]];
    for (index, pair) in pairs.iter().enumerate() {
        assert_eq!(code(&pair.map(|set| &set[..]).concat(), plain), ErrorCode::InvalidRecord, "pair {index}");
    }
    assert_eq!(accept(&[&v1[..], &v1].concat(), plain).record_count, 2);
}

#[test]
fn old_messages_obey_the_same_rules() {
    let sent = messages(MessageFormat::V1, Codec::Gzip, 0, &[NOW, NOW - 2_000]);
    let narrow = |rules: &mut ProduceRules<'_>| rules.before_max_ms = 1_000;
    assert_eq!(code(&sent, narrow), ErrorCode::InvalidTimestamp);
    let without = messages(MessageFormat::V0, Codec::Gzip, 0, &[0]);
    accept(&without, narrow);
    let mut keyless = MessageSetBuilder::new(MessageFormat::V0, Compression::NONE, None).unwrap();
    keyless.push(Offset(0), 0, None, Some(b"v")).unwrap();
    assert_eq!(code(&keyless.finish().unwrap(), compacted), ErrorCode::InvalidRecord);
    let mut claims = MessageSetBuilder::new(MessageFormat::V1, Compression::NONE, Some(NOW)).unwrap();
    claims.push(Offset(0), 0, None, None).unwrap();
    let claims = claims.finish().unwrap();
    assert_eq!(code(&claims, append_time), ErrorCode::InvalidTimestamp);
    assert_eq!(header_of(&accept(&claims, plain)).attributes, Attributes(0));
}

/// A gzip wrapper of format 1 around `inner`.
fn wrapper(inner: &[u8], offset: i64, attributes: u8) -> Vec<u8> {
    let value = gz(inner);
    let mut checked = vec![1, attributes];
    checked.extend_from_slice(&NOW.to_be_bytes());
    checked.extend_from_slice(&(-1_i32).to_be_bytes());
    checked.extend_from_slice(&(value.len() as i32).to_be_bytes());
    checked.extend_from_slice(&value);
    let mut entry = offset.to_be_bytes().to_vec();
    entry.extend_from_slice(&(checked.len() as i32 + 4).to_be_bytes());
    entry.extend_from_slice(&crc32fast::hash(&checked).to_be_bytes());
    entry.extend_from_slice(&checked);
    entry
}

#[test]
fn the_inside_of_a_wrapper_is_checked() {
    let one = messages(MessageFormat::V1, Codec::None, 0, &[NOW]);
    let five = messages(MessageFormat::V1, Codec::None, 5, &[NOW]);
    let old = messages(MessageFormat::V0, Codec::None, 0, &[NOW]);
    let mut damaged = one.clone();
    damaged[30] ^= 1;
    let mut small = one.clone();
    small[11] = 5;

    assert_eq!(accept(&wrapper(&one, 0, 1), plain).record_count, 1);
    assert_eq!(accept(&wrapper(&[&one[..], &five].concat(), 7, 1), plain).record_count, 2, "a gap");
    assert_eq!(accept(&wrapper(&[&one[..], &one[..20]].concat(), 0, 1), plain).record_count, 1, "cut off");
    assert_eq!(code(&wrapper(&damaged, 0, 1), plain), ErrorCode::CorruptMessage);
    assert_eq!(code(&wrapper(&small, 0, 1), plain), ErrorCode::CorruptMessage);
    assert_eq!(code(&wrapper(&old, 0, 1), plain), ErrorCode::InvalidRecord);
    assert_eq!(code(&wrapper(&[], 0, 1), plain), ErrorCode::InvalidRecord);
    assert_eq!(code(&wrapper(&wrapper(&one, 0, 1), 0, 1), plain), ErrorCode::InvalidRecord);
    assert_eq!(code(&wrapper(&five, 3, 1), plain), ErrorCode::InvalidRecord);
    assert_eq!(code(&wrapper(&one, 0, 4), plain), ErrorCode::InvalidRecord);
    assert_eq!(code(&wrapper(&one, 0, 3), plain), ErrorCode::UnknownServerError);
    let by_wrapper = accept(&wrapper(&messages(MessageFormat::V1, Codec::None, 0, &[3]), 0, 9), plain);
    assert_eq!(contents(&by_wrapper)[0].0, NOW, "the wrapper's append time counts");
}

#[test]
fn requests_from_version_3_carry_one_batch() {
    let v2 = two(Codec::None);
    let ends = |tail: &[u8]| [&v2[..], tail].concat();
    let format = |bytes: &[u8], version| check_format(bytes, version).map_err(|error| error.error_code());
    assert_eq!(format(&v2, 3), Ok(()));
    assert_eq!(format(&ends(&[0; 11]), 3), Ok(()), "too short for a size");
    assert_eq!(format(&ends(&v2[..20]), 3), Ok(()), "an incomplete entry");
    assert_eq!(format(&ends(&[0; 12]), 3), Err(ErrorCode::CorruptMessage));
    for bytes in
        [&[][..], &v2[..v2.len() - 1], &ends(&v2), &messages(MessageFormat::V1, Codec::None, 0, &[0])]
    {
        assert_eq!(format(bytes, 3), Err(ErrorCode::InvalidRecord));
        assert_eq!(format(bytes, 2), Ok(()));
    }
    assert_eq!(format(&two(Codec::Zstd), 6), Err(ErrorCode::UnsupportedCompressionType));
    assert_eq!(format(&two(Codec::Zstd), 7), Ok(()));
    assert_eq!(accept(&ends(&[0; 11]), plain).batch, v2, "what follows is not stored");
}

#[test]
fn the_first_look_finds_what_concerns_the_whole_request() {
    let mut strange = two(Codec::None);
    strange[16] = 3;
    let error = look(&strange).unwrap_err();
    assert_eq!(look_message(&error), "Invalid magic found in record: 3");
    let mut small = two(Codec::None);
    small[8..12].copy_from_slice(&3_i32.to_be_bytes());
    let error = look(&small).unwrap_err();
    assert_eq!(error, EntryError::SizeTooSmall { size: 3, minimum: 14 });
    assert_eq!(look_message(&error), "Record size 3 is less than the minimum record overhead (14)");

    assert_eq!(look(&[]), Ok(FirstLook::default()));
    assert_eq!(look(&two(Codec::None)), Ok(FirstLook::default()));
    let producer = Producer { id: 1, epoch: 0, base_sequence: 0 };
    let options = BatchOptions { producer, transactional: true, ..BatchOptions::default() };
    let found = look(&build(options, &[record(NOW)]));
    assert_eq!(found, Ok(FirstLook { transactional: true, idempotent: true }));
}

#[test]
fn a_refusal_lists_a_bounded_number_of_records() {
    let keyless = NewRecord { key: None, ..record(NOW) };
    let options = BatchOptions { compression: Codec::Zstd.into(), ..BatchOptions::default() };
    let refusal = check(&build(options, &vec![keyless; 20_000]), compacted).unwrap_err();
    assert_eq!(refusal.record_errors().len(), 10_000);
    assert!(refusal.error_message().unwrap().contains("due to 20000 record errors in total"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The checksum is put right again, so that what lies behind it is read.
    #[test]
    fn damage_with_a_right_checksum_never_panics(
        codec in proptest::sample::select(Codec::ALL.to_vec()),
        target in proptest::option::of(proptest::sample::select(Codec::ALL.to_vec())),
        flips in vec(any::<prop::sample::Index>(), 1..5),
    ) {
        let mut bytes = two(codec);
        for flip in flips {
            let bit = 21 * 8 + flip.index((bytes.len() - 21) * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        batch::reset_crc(&mut bytes);
        let rules = |rules: &mut ProduceRules<'_>| rules.compression = target.map(Compression::from);
        if let Ok(accepted) = check(&bytes, rules) {
            let batch = AnyBatch::parse(&accepted.batch).unwrap();
            batch.check_crc().unwrap();
            prop_assert_eq!(contents(&accepted).len(), accepted.record_count as usize);
        }
    }

    #[test]
    fn noise_inside_a_wrapper_never_panics(inner in vec(any::<u8>(), 0..200), offset: i64) {
        let _ = check(&wrapper(&inner, offset, 1), plain);
    }
}
