//! Bytes that Apache Kafka 3.9.1 wrote and sent, in `kafka/`: `X.magic2` are log segments of topics
//! with one codec or timestamp type each, `X.magic0` and `X.magic1` the records fields that Fetch
//! versions 1 and 2 brought from offset 0. `mix.txt` has such answers from a log of three plain
//! batches, by line: fetch offset, partition limit, format, bytes in hex.

use crate::ids::Offset;
use crate::record::compression::decompress;
use crate::record::legacy::first_offset;
use crate::record::{
    AnyBatch, BatchBuilder, BatchOptions, Codec, DownConvertError, LegacyError, MessageFormat, Tail,
    TimestampType, batches, down_convert, for_each_message, payload, records,
};

const LIMIT: usize = 1 << 20;

macro_rules! kafka {
    ($name:literal) => {
        include_bytes!(concat!("kafka/", $name)).as_slice()
    };
}

#[derive(Debug, PartialEq)]
struct Content {
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What was produced to every topic: six records, 10 ms apart.
fn produced(base_timestamp: i64, append_time: Option<i64>) -> Vec<Content> {
    (0..6)
        .map(|n| Content {
            offset: n,
            timestamp: append_time.unwrap_or(base_timestamp + 10 * n),
            key: (n % 3 != 0).then(|| format!("key-{n}")),
            value: (n % 4 != 3).then(|| format!("the value number {n}, the value")),
            headers: match n % 2 {
                0 => vec![],
                _ => vec![(format!("h{n}"), Some("x".to_owned())), ("n".to_owned(), None)],
            },
        })
        .collect()
}

/// As [`produced`], but what message formats without timestamps or headers keep of it.
fn kept(contents: Vec<Content>, format: MessageFormat) -> Vec<Content> {
    contents
        .into_iter()
        .map(|content| Content {
            timestamp: if format == MessageFormat::V0 { -1 } else { content.timestamp },
            headers: vec![],
            ..content
        })
        .collect()
}

fn contents(batch: &AnyBatch<'_>) -> Vec<Content> {
    let payload = payload(batch, LIMIT).unwrap();
    records(batch.header().unwrap(), &payload)
        .map(|record| {
            let record = record.unwrap();
            Content {
                offset: record.offset.0,
                timestamp: record.timestamp,
                key: record.key.map(text),
                value: record.value.map(text),
                headers: record.headers.map(|header| (text(header.key), header.value.map(text))).collect(),
            }
        })
        .collect()
}

fn message_contents(entry: &AnyBatch<'_>) -> Vec<Content> {
    let mut contents = Vec::new();
    for_each_message(entry, LIMIT, |message| {
        contents.push(Content {
            offset: message.offset.0,
            timestamp: message.timestamp,
            key: message.key.map(text),
            value: message.value.map(text),
            headers: vec![],
        });
        Ok::<(), LegacyError>(())
    })
    .unwrap();
    contents
}

const SEGMENTS: [(&[u8], Codec, TimestampType); 7] = [
    (kafka!("none.magic2"), Codec::None, TimestampType::CreateTime),
    (kafka!("gzip.magic2"), Codec::Gzip, TimestampType::CreateTime),
    (kafka!("snappy.magic2"), Codec::Snappy, TimestampType::CreateTime),
    (kafka!("lz4.magic2"), Codec::Lz4, TimestampType::CreateTime),
    (kafka!("zstd.magic2"), Codec::Zstd, TimestampType::CreateTime),
    (kafka!("lat.magic2"), Codec::None, TimestampType::LogAppendTime),
    (kafka!("latgz.magic2"), Codec::Gzip, TimestampType::LogAppendTime),
];

fn only_batch(segment: &[u8]) -> AnyBatch<'_> {
    let mut walk = batches(segment);
    let batch = walk.next().unwrap();
    assert_eq!((walk.next(), walk.tail()), (None, Tail::Clean));
    batch.check_crc().unwrap();
    batch
}

#[test]
fn batches_of_every_codec_are_read() {
    for (segment, codec, timestamp_type) in SEGMENTS {
        let batch = only_batch(segment);
        assert_eq!((batch.attributes().codec(), batch.timestamp_type()), (Ok(codec), timestamp_type));
        let base = batch.header().unwrap().base_timestamp;
        let append_time = (timestamp_type == TimestampType::LogAppendTime).then(|| batch.max_timestamp());
        assert_eq!(contents(&batch), produced(base, append_time), "{codec}");
    }
}

#[test]
fn a_batch_is_written_as_kafka_writes_it() {
    for (segment, codec, timestamp_type) in SEGMENTS {
        let batch = only_batch(segment);
        let header = batch.header().unwrap();
        let append_time = (timestamp_type == TimestampType::LogAppendTime).then(|| batch.max_timestamp());
        let options = BatchOptions {
            leader_epoch: header.leader_epoch,
            compression: codec.into(),
            append_time,
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options).unwrap();
        let plain = payload(&batch, LIMIT).unwrap();
        let created = crate::record::BatchHeader { attributes: Default::default(), ..*header };
        for record in records(&created, &plain) {
            builder.copy(&record.unwrap()).unwrap();
        }
        let written = builder.finish().unwrap();
        let ours = only_batch(&written);
        assert_eq!(payload(&ours, LIMIT).unwrap(), plain, "{codec}");
        let same = |header: &crate::record::BatchHeader| crate::record::BatchHeader {
            batch_length: 0,
            crc: 0,
            ..*header
        };
        assert_eq!(same(ours.header().unwrap()), same(header), "{codec}");
        if codec == Codec::None {
            assert_eq!(written, segment);
        }
    }
}

#[test]
fn message_sets_of_every_codec_are_read() {
    let sets = [
        (kafka!("none.magic0"), MessageFormat::V0, kafka!("none.magic2")),
        (kafka!("none.magic1"), MessageFormat::V1, kafka!("none.magic2")),
        (kafka!("gzip.magic0"), MessageFormat::V0, kafka!("gzip.magic2")),
        (kafka!("gzip.magic1"), MessageFormat::V1, kafka!("gzip.magic2")),
        (kafka!("snappy.magic0"), MessageFormat::V0, kafka!("snappy.magic2")),
        (kafka!("snappy.magic1"), MessageFormat::V1, kafka!("snappy.magic2")),
        (kafka!("lz4.magic0"), MessageFormat::V0, kafka!("lz4.magic2")),
        (kafka!("lz4.magic1"), MessageFormat::V1, kafka!("lz4.magic2")),
        (kafka!("lat.magic0"), MessageFormat::V0, kafka!("lat.magic2")),
        (kafka!("lat.magic1"), MessageFormat::V1, kafka!("lat.magic2")),
        (kafka!("latgz.magic0"), MessageFormat::V0, kafka!("latgz.magic2")),
        (kafka!("latgz.magic1"), MessageFormat::V1, kafka!("latgz.magic2")),
    ];
    for (theirs, format, stored) in sets {
        let expected = kept(contents(&only_batch(stored)), format);
        let read: Vec<_> = batches(theirs)
            .flat_map(|entry| {
                entry.check_crc().unwrap();
                message_contents(&entry)
            })
            .collect();
        assert_eq!(read, expected);
        let first = batches(theirs).next().unwrap();
        assert_eq!(first_offset(&first, LIMIT).unwrap(), Offset(0));

        let ours = down_convert(stored, format, Offset(0), LIMIT).unwrap();
        if !first.attributes().is_compressed() {
            assert_eq!(ours, theirs);
            continue;
        }
        // Compressors differ, but for that the wrapper is the same.
        let ours = batches(&ours).next().unwrap();
        ours.check_crc().unwrap();
        assert_eq!(
            (ours.entry_offset(), ours.attributes(), ours.max_timestamp()),
            (first.entry_offset(), first.attributes(), first.max_timestamp())
        );
        let codec = first.attributes().codec().unwrap();
        assert_eq!(inner_bytes(&ours, codec), inner_bytes(&first, codec));
    }
}

/// What a wrapper without a key compresses.
fn inner_bytes(wrapper: &AnyBatch<'_>, codec: Codec) -> Vec<u8> {
    let value_at = if wrapper.magic() == 0 { 26 } else { 34 };
    decompress(codec, &wrapper.bytes()[value_at..], wrapper.magic(), LIMIT).unwrap()
}

#[test]
fn the_frame_header_of_lz4_is_as_wrong_as_kafkas() {
    for (theirs, format) in
        [(kafka!("lz4.magic0"), MessageFormat::V0), (kafka!("lz4.magic1"), MessageFormat::V1)]
    {
        let ours = down_convert(kafka!("lz4.magic2"), format, Offset(0), LIMIT).unwrap();
        let frame_at = if format == MessageFormat::V0 { 26 } else { 34 };
        assert_eq!(ours[frame_at..frame_at + 7], theirs[frame_at..frame_at + 7]);
    }
}

#[test]
fn zstd_cannot_be_given_to_old_consumers() {
    let error = down_convert(kafka!("zstd.magic2"), MessageFormat::V1, Offset(0), LIMIT).unwrap_err();
    assert!(matches!(error, DownConvertError::Zstd { magic: 1 }), "{error}");
    let behind = [kafka!("none.magic2"), kafka!("zstd.magic2")].concat();
    let converted = down_convert(&behind, MessageFormat::V1, Offset(0), LIMIT).unwrap();
    assert_eq!(batches(&converted).count(), 6);
    assert_eq!(converted.len(), behind.len());
}

#[test]
fn down_converted_answers_are_those_of_kafka() {
    let segment = kafka!("mix.magic2");
    for line in include_str!("kafka/mix.txt").lines() {
        let mut fields = line.split(' ');
        let mut number = || fields.next().unwrap().parse::<i64>().unwrap();
        let (offset, limit, magic) = (number(), number(), number());
        let expected = hex(fields.next().unwrap());
        let format = if magic == 0 { MessageFormat::V0 } else { MessageFormat::V1 };
        let mut walk = batches(segment);
        let before: usize =
            walk.by_ref().take_while(|batch| batch.last_offset().0 < offset).map(|batch| batch.size()).sum();
        let end = segment.len().min(before + limit as usize);
        let converted = down_convert(&segment[before..end], format, Offset(offset), LIMIT).unwrap();
        assert_eq!(converted, expected, "offset {offset}, limit {limit}, format {magic}");
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn stored_messages_are_passed_through_or_converted_once_more() {
    let plain = kafka!("none.magic1");
    assert_eq!(down_convert(plain, MessageFormat::V1, Offset(3), LIMIT).unwrap(), plain);
    let older = down_convert(plain, MessageFormat::V0, Offset(0), LIMIT).unwrap();
    assert_eq!(older[..kafka!("none.magic0").len()], *kafka!("none.magic0"));
    let later = down_convert(plain, MessageFormat::V0, Offset(3), LIMIT).unwrap();
    assert_eq!(batches(&later).next().unwrap().entry_offset(), Offset(3));

    let wrapped = kafka!("snappy.magic1");
    let older = down_convert(wrapped, MessageFormat::V0, Offset(3), LIMIT).unwrap();
    let entry = batches(&older).next().unwrap();
    let expected = contents(&only_batch(kafka!("snappy.magic2")));
    assert_eq!(message_contents(&entry), kept(expected, MessageFormat::V0));
}

#[test]
fn damaged_messages_never_panic() {
    for original in
        [kafka!("gzip.magic0"), kafka!("lz4.magic1"), kafka!("snappy.magic1"), kafka!("none.magic2")]
    {
        for bit in 0..original.len() * 8 {
            let mut bytes = original.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            for entry in batches(&bytes).filter(|entry| entry.header().is_none()) {
                let _ = for_each_message(&entry, LIMIT, |_| Ok::<(), LegacyError>(()));
                let _ = first_offset(&entry, LIMIT);
            }
            let _ = down_convert(&bytes, MessageFormat::V0, Offset(2), LIMIT);
        }
    }
}
