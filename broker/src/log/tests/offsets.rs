use client::ids::{LeaderEpoch, Offset};
use client::record::{BatchOptions, Codec, Compression, MessageFormat, MessageSetBuilder};

use super::support::*;
use crate::log::{Log, LogConfig};

fn at(log: &Log, timestamp: i64) -> Option<(i64, i64)> {
    log.offset_for_timestamp(timestamp).unwrap().map(|found| (found.timestamp - NOW, found.offset.0))
}

#[test]
fn finds_the_first_record_at_or_after_a_time() {
    let size = batch(5).len() as i32;
    let bench =
        Bench::real(LogConfig { segment_bytes: 3 * size, index_interval_bytes: 0, ..LogConfig::default() });
    let mut log = bench.open();
    // Batches of five records a millisecond apart; every second one is late by 100.
    for n in 0..10_i64 {
        let compression = if n % 3 == 0 { Compression::from(Codec::Lz4) } else { Compression::NONE };
        let options = BatchOptions { compression, ..BatchOptions::default() };
        lead(&mut log, batch_of(5, options, NOW + 10 * n - 100 * (n % 2))).unwrap();
    }
    assert_eq!(at(&log, NOW - 1000), Some((0, 0)));
    assert_eq!(at(&log, NOW + 3), Some((3, 3)));
    assert_eq!(at(&log, NOW + 5), Some((20, 10)));
    assert_eq!(at(&log, NOW + 84), Some((84, 44)));
    assert_eq!(at(&log, NOW + 85), None);
    let max = log.offset_of_max_timestamp().unwrap().unwrap();
    assert_eq!((max.timestamp, max.offset, max.leader_epoch), (NOW + 84, Offset(44), Some(LeaderEpoch(0))));
    log.set_high_watermark(log.end_offset());
    log.advance_start_offset(Offset(2)).unwrap();
    assert_eq!(at(&log, NOW), Some((2, 2)));
}

#[test]
fn an_empty_log_and_one_without_times_have_answers() {
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    assert_eq!(log.offset_of_max_timestamp().unwrap(), None);
    assert_eq!(at(&log, 0), None);
    fill_timeless(&mut log);
    let max = log.offset_of_max_timestamp().unwrap().unwrap();
    assert_eq!((max.timestamp, max.offset), (-1, Offset(0)));
}

fn fill_timeless(log: &mut Log) {
    for _ in 0..3 {
        lead(log, batch_at(-1)).unwrap();
    }
}

#[test]
fn version_0_lists_segments() {
    let size = batch(1).len() as i32;
    let bench = Bench::real(LogConfig { segment_bytes: size, ..LogConfig::default() });
    let mut log = bench.open();
    fill(&mut log, 6);
    log.set_high_watermark(Offset(6));
    let offsets = |log: &Log, timestamp, max, bound| {
        let found = log.legacy_offsets_before(timestamp, max, Offset(bound), i64::MAX).unwrap();
        found.into_iter().map(|offset| offset.0).collect::<Vec<_>>()
    };
    assert_eq!(offsets(&log, -1, 100, 6), [6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(offsets(&log, -1, 2, 6), [6, 5]);
    assert_eq!(offsets(&log, -1, 100, 4), [4, 4, 3, 2, 1, 0]);
    assert_eq!(offsets(&log, -2, 100, 6), [0]);
    assert!(offsets(&log, 0, 100, 6).is_empty());
    log.advance_start_offset(Offset(3)).unwrap();
    assert_eq!(offsets(&log, -1, 100, 6), [6, 5, 4, 3, 3, 3, 3]);
    assert_eq!(offsets(&log, -2, 100, 6), [3]);
}

/// Segments written before 0.11 hold message sets; they are read, recovered and copied as they are.
#[test]
fn old_formats_are_kept() {
    let message_set = |format, compression, offsets: std::ops::Range<i64>| {
        let mut builder = MessageSetBuilder::new(format, compression, None).unwrap();
        for offset in offsets {
            builder.push(Offset(offset), NOW + offset, None, Some(b"old")).unwrap();
        }
        builder.finish().unwrap()
    };
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    log.append_as_follower(&message_set(MessageFormat::V0, Compression::NONE, 0..2), NOW).unwrap();
    log.append_as_follower(&message_set(MessageFormat::V1, Compression::from(Codec::Gzip), 2..6), NOW)
        .unwrap();
    log.append_as_follower(&message_set(MessageFormat::V1, Compression::NONE, 6..7), NOW).unwrap();
    assert_eq!(
        spans(&log),
        [(0, 0), (1, 1), (5, 5), (6, 6)],
        "of a compressed set only the last offset shows"
    );
    assert_eq!(log.latest_epoch(), None);
    let bytes = bench.read_file("00000000000000000000.log");
    drop(log);
    let mut log = bench.open_unclean();
    assert_eq!(log.end_offset(), Offset(7));
    assert_eq!(bench.read_file("00000000000000000000.log"), bytes);
    let slice = log.read(Offset(3), 1, Offset(7), true).unwrap();
    assert_eq!(bytes_of(&slice.records)[..8], 5_i64.to_be_bytes());
    assert_eq!(at(&log, NOW + 3), Some((3, 3)), "inside the compressed set");
    assert_eq!(at(&log, NOW + 6), Some((6, 6)));
    lead(&mut log, batch(1)).unwrap();
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
}
