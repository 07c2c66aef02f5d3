//! Compaction of segments from before format 2, as an upgraded broker has them.

use client::ids::{LeaderEpoch, Offset};
use client::record::{AnyBatch, Codec, Compression, MessageFormat, MessageSetBuilder};

use super::compacting::*;
use super::support::*;
use crate::log::{Log, LogConfig};

fn messages(format: MessageFormat, codec: Codec, base: i64, pairs: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut builder = MessageSetBuilder::new(format, Compression::from(codec), None).unwrap();
    for (n, (key, value)) in (0..).zip(pairs) {
        let value = value.map(str::as_bytes);
        builder.push(Offset(base + n), NOW + n, Some(key.as_bytes()), value).unwrap();
    }
    builder.finish().unwrap()
}

fn roll_and_commit(log: &mut Log) {
    log.roll(None, NOW).unwrap();
    lead(log, plain(&[("active", Some("x"))])).unwrap();
    log.set_high_watermark(log.end_offset());
}

fn check(format: MessageFormat, codec: Codec) {
    let what = format!("{format:?} {codec}");
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    let first = messages(format, codec, 0, &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
    let whole = messages(format, codec, 3, &[("d", Some("1")), ("e", Some("1"))]);
    let last = messages(format, codec, 5, &[("a", Some("2")), ("c", Some("2"))]);
    log.look(|log| {
        for bytes in [&first, &whole, &last] {
            log.append_as_follower(bytes, NOW).unwrap();
        }
        roll_and_commit(log);
    });
    log.clean(NOW).unwrap().unwrap();
    log.look(|log| {
        let time = |n: i64| if format == MessageFormat::V0 { -1 } else { NOW + n };
        let expect =
            |offset, key: &str, value: &str, n| (offset, Some(key.into()), Some(value.into()), time(n));
        let expected: [Found; 5] = [
            expect(1, "b", "1", 1),
            expect(3, "d", "1", 0),
            expect(4, "e", "1", 1),
            expect(5, "a", "2", 0),
            expect(6, "c", "2", 1),
        ];
        assert_eq!(found(log)[..5], expected, "{what}");
        let kept: Vec<u8> = stored(log)
            .into_iter()
            .filter(|bytes| {
                let batch = AnyBatch::parse(bytes).unwrap();
                batch.magic() < 2 && (3..=4).contains(&batch.last_offset().0)
            })
            .flatten()
            .collect();
        assert_eq!(kept, whole, "{what}: untouched");
    });
}

#[test]
fn messages_go_one_by_one_and_out_of_their_wrappers() {
    for format in [MessageFormat::V0, MessageFormat::V1] {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            check(format, codec);
        }
    }
}

#[test]
fn tombstones_go_by_the_age_of_the_segment() {
    let bench = Bench::real(LogConfig { delete_retention_ms: 1000, ..compacted() });
    let log = Unlocked::new(bench.open());
    log.look(|log| {
        let bytes =
            messages(MessageFormat::V1, Codec::None, 0, &[("a", Some("1")), ("a", None), ("b", Some("1"))]);
        log.append_as_follower(&bytes, NOW).unwrap();
        roll_and_commit(log);
    });
    let first = bench.file("00000000000000000000.log");
    let set_age = |path, age_ms: i64| bench.disk.open(path).unwrap().set_modified(NOW - age_ms).unwrap();
    set_age(&first, 9000);
    log.clean(NOW).unwrap().unwrap();
    let keys = |log: &mut Log| -> Vec<i64> { found(log).iter().map(|(offset, ..)| *offset).collect() };
    log.look(|log| assert_eq!(keys(log), [1, 2, 3], "without a clean part every tombstone stays"));
    assert_eq!(
        bench.disk.stat(&first).unwrap().unwrap().modified_ms,
        NOW - 9000,
        "the copy is as old as its source"
    );
    let second = bench.file("00000000000000000003.log");
    log.look(|log| {
        log.append_as_follower(&messages(MessageFormat::V1, Codec::None, 4, &[("c", Some("1"))]), NOW)
            .unwrap();
        roll_and_commit(log);
    });
    // The clean part was last written 9 s ago: its tombstones are older than 10 s only in a copy of an older segment.
    set_age(&second, 0);
    log.clean(NOW).unwrap().unwrap();
    log.look(|log| assert_eq!(keys(log), [1, 2, 3, 4, 5]));
    log.look(|log| {
        log.append_as_follower(&messages(MessageFormat::V1, Codec::None, 6, &[("c", Some("2"))]), NOW)
            .unwrap();
        roll_and_commit(log);
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
    });
    log.clean(NOW).unwrap().unwrap();
    log.look(|log| {
        assert!(
            keys(log).contains(&1),
            "merged into one segment of age 0, it is young again: {:?}",
            keys(log)
        )
    });
}
