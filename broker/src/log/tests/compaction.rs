//! What compaction leaves of a log, byte for byte, and what becomes of its files.

use std::ops::ControlFlow;
use std::slice::from_ref;

use client::ids::{LeaderEpoch, Offset};
use client::record::{AnyBatch, BatchOptions, Codec, Compression, Producer};

use super::compacting::*;
use super::support::*;
use crate::log::compaction::{CleaningLimits, clean};
use crate::log::{Log, LogConfig};

fn by(producer_id: i64, base_sequence: i32) -> BatchOptions {
    BatchOptions {
        producer: Producer { id: producer_id, epoch: 0, base_sequence },
        ..BatchOptions::default()
    }
}

#[test]
fn of_each_key_the_last_value_stays() {
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    let untouched = plain(&[("d", Some("1")), ("e", Some("1"))]);
    log.look(|log| {
        let first = plain(&[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]);
        let second = plain(&[("b", Some("2")), ("c", Some("1"))]);
        fill_segments(log, &[&[first, untouched.clone()], &[second, plain(&[("c", Some("2"))])]]);
    });
    let cleaned = log.clean(NOW).unwrap().unwrap();
    assert_eq!((cleaned.offsets, cleaned.keys), (Offset(0)..Offset(8), 5));
    assert_eq!((cleaned.records_read, cleaned.records_kept), (8, 5));
    assert_eq!((cleaned.segments_before, cleaned.segments_after), (2, 1));
    log.look(|log| {
        assert_eq!(brief(log), ["2 a=2", "3 d=1", "4 e=1", "5 b=2", "7 c=2"]);
        let stored = stored(log);
        assert_eq!(spans(log), [(0, 2), (3, 4), (5, 6), (7, 7), (8, 8)], "batches keep their offsets");
        assert_eq!(stored[1][21..], untouched[21..], "a batch of which nothing went is the same to the byte");
        assert_eq!(log.segment_count(), 2);
    });
    assert_eq!(checkpoint(&bench), "0 1 t 0 8 ");
    let names: Vec<String> = bench.names().into_iter().filter(|name| name.starts_with("0000")).collect();
    let old = ["0.log", "0.index", "0.timeindex", "5.log", "5.index", "5.timeindex", "5.snapshot"];
    let new = ["0.log", "0.index", "0.timeindex", "8.log", "8.index", "8.timeindex", "8.snapshot"];
    let mut expected: Vec<String> =
        old.iter().map(|name| format!("0000000000000000000{name}.deleted")).collect();
    expected.extend(new.iter().map(|name| format!("0000000000000000000{name}")));
    expected.sort();
    assert_eq!(names, expected);
    assert!(log.clean(NOW).unwrap().is_none(), "nothing is dirty any more");
}

#[test]
fn what_replaces_an_older_value_in_the_clean_part_does_so() {
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    log.look(|log| fill_segments(log, &[&[plain(&[("a", Some("1")), ("b", Some("1"))])]]));
    log.clean(NOW).unwrap().unwrap();
    log.look(|log| {
        log.roll(None, NOW).unwrap();
        fill_segments(log, &[&[plain(&[("a", Some("2"))])]]);
    });
    let cleaned = log.clean(NOW).unwrap().unwrap();
    assert_eq!(cleaned.offsets, Offset(2)..Offset(4));
    log.look(|log| assert_eq!(brief(log), ["1 b=1", "3 a=2"]));
}

#[test]
fn tombstones_go_when_their_time_has_come() {
    let bench = Bench::real(LogConfig { delete_retention_ms: 1000, ..compacted() });
    let log = Unlocked::new(bench.open());
    log.look(|log| {
        let batch = plain(&[("a", Some("1")), ("b", Some("1"))]);
        fill_segments(log, &[&[batch], &[plain(&[("a", None), ("c", Some("1"))]), plain(&[("b", None)])]]);
    });
    let again = |now_ms| {
        log.look(|log| {
            log.roll(None, NOW).unwrap();
            lead(log, plain(&[("active", Some("x"))])).unwrap();
            log.set_high_watermark(log.end_offset());
        });
        log.clean(now_ms).unwrap().unwrap();
        log.look(|log| brief(log))
    };
    log.clean(NOW).unwrap().unwrap();
    log.look(|log| {
        assert_eq!(brief(log), ["2 a=-", "3 c=1", "4 b=-"], "the values they delete are gone");
        let stored = stored(log);
        let horizon = |at: usize| AnyBatch::parse(&stored[at]).unwrap().header().unwrap().delete_horizon_ms();
        assert_eq!((horizon(0), horizon(1)), (Some(NOW + 1000), Some(NOW + 1000)));
        let times: Vec<i64> = found(log).iter().map(|(.., time)| *time - NOW).collect();
        assert_eq!(times, [0, 1, 0, 0], "timestamps are as they were");
    });
    assert_eq!(again(NOW + 999), ["2 a=-", "3 c=1", "4 b=-"]);
    assert_eq!(again(NOW + 1000), ["3 c=1"]);
    log.look(|log| {
        let first = &stored(log)[0];
        let header = *AnyBatch::parse(first).unwrap().header().unwrap();
        assert_eq!(header.delete_horizon_ms(), Some(NOW + 1000), "the horizon stays with the batch");
        assert_eq!((header.base_offset.0, header.last_offset().0, header.record_count), (2, 3, 1));
    });
}

#[test]
fn compressed_batches_are_built_anew_with_their_codec() {
    for codec in Codec::ALL {
        let bench = Bench::real(compacted());
        let log = Unlocked::new(bench.open());
        let options = BatchOptions { compression: Compression::from(codec), ..BatchOptions::default() };
        let whole = keyed(&[("c", Some("1")), ("d", Some("1"))], options);
        log.look(|log| {
            let first = keyed(&[("a", Some("1")), ("b", Some("1")), ("e", Some("1"))], options);
            fill_segments(log, &[&[first, whole.clone(), plain(&[("a", Some("2")), ("e", Some("2"))])]]);
        });
        log.clean(NOW).unwrap().unwrap();
        log.look(|log| {
            assert_eq!(brief(log), ["1 b=1", "3 c=1", "4 d=1", "5 a=2", "6 e=2"], "{codec}");
            let stored = stored(log);
            let rebuilt = AnyBatch::parse(&stored[0]).unwrap();
            assert_eq!(rebuilt.attributes().codec(), Ok(codec));
            assert_eq!((rebuilt.base_offset(), rebuilt.last_offset()), (Some(Offset(0)), Offset(2)));
            assert_eq!(rebuilt.max_timestamp(), NOW + 1, "of what is left");
            assert_eq!(stored[1][21..], whole[21..], "{codec}");
        });
    }
}

#[test]
fn the_last_batch_of_a_producer_outlives_its_records() {
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    log.look(|log| {
        let first = keyed(&[("a", Some("1"))], by(7, 0));
        let last = keyed(&[("a", Some("2")), ("b", Some("2"))], by(7, 1));
        let others = keyed(&[("a", Some("3")), ("b", Some("3"))], by(8, 0));
        fill_segments(log, &[&[first, last, others]]);
    });
    log.clean(NOW).unwrap().unwrap();
    log.look(|log| {
        assert_eq!(brief(log), ["3 a=3", "4 b=3"]);
        let stored = stored(log);
        let emptied = AnyBatch::parse(&stored[0]).unwrap();
        let header = emptied.header().unwrap();
        assert_eq!((header.size(), header.record_count, header.base_timestamp), (61, 0, -1));
        assert_eq!((header.base_offset, header.last_offset()), (Offset(1), Offset(2)));
        assert_eq!((header.producer_id, header.last_sequence(), header.max_timestamp), (7, 2, NOW + 1));
        assert!(lead(log, keyed(&[("z", Some("1"))], by(7, 3))).is_ok(), "the sequence goes on");
    });
    drop(log);
    let mut log = bench.open_unclean();
    assert_eq!(
        log.producers().iter().map(|(id, state)| (id, state.last_sequence())).collect::<Vec<_>>(),
        [(7, 3), (8, 1)]
    );
    assert!(lead(&mut log, keyed(&[("z", Some("1"))], by(7, 4))).is_ok());
}

#[test]
fn aborted_data_goes_and_markers_go_after_their_data() {
    let bench = Bench::real(LogConfig { delete_retention_ms: 1000, ..compacted() });
    let log = Unlocked::new(bench.open());
    let txn = |id, sequence| BatchOptions { transactional: true, ..by(id, sequence) };
    log.look(|log| {
        lead(log, keyed(&[("a", Some("1"))], txn(7, 0))).unwrap();
        lead(log, keyed(&[("a", Some("aborted")), ("b", Some("aborted"))], txn(8, 0))).unwrap();
        log.roll(None, NOW).unwrap();
        lead(log, keyed(&[("c", Some("aborted"))], txn(8, 2))).unwrap();
        lead(log, marker(7, 0, 1)).unwrap();
        lead(log, marker(8, 0, 0)).unwrap();
        // The producers go on, so that none of these batches is their last.
        lead(log, keyed(&[("d", Some("1"))], by(7, 1))).unwrap();
        fill_segments(log, &[&[keyed(&[("e", Some("1"))], by(8, 3))]]);
    });
    log.clean(NOW).unwrap().unwrap();
    let shape = |log: &mut Log| -> Vec<(i64, bool, Option<i64>)> {
        let batches = stored(log);
        let one = |bytes: &Vec<u8>| {
            let header = *AnyBatch::parse(bytes).unwrap().header().unwrap();
            (header.base_offset.0, header.attributes.is_control(), header.delete_horizon_ms())
        };
        batches.iter().map(one).collect()
    };
    log.look(|log| {
        assert_eq!(brief(log), ["0 a=1", "6 d=1", "7 e=1"]);
        let markers = [
            (0, false, None),
            (4, true, None),
            (5, true, None),
            (6, false, None),
            (7, false, None),
            (8, false, None),
        ];
        assert_eq!(shape(log), markers);
        let slice = log.read(Offset(0), 1000, Offset(8), true).unwrap();
        let aborted = log.aborted_transactions(Offset(0), &slice).unwrap();
        let aborted: Vec<_> =
            aborted.iter().map(|t| (t.producer_id, t.first_offset.0, t.last_offset.0)).collect();
        assert_eq!(aborted, [(8, 1, 5)], "whoever read part of it still has to know");
    });
    let more = |value| {
        log.look(|log| {
            log.roll(None, NOW).unwrap();
            fill_segments(log, &[&[plain(&[("a", Some(value))])]]);
        });
    };
    more("2");
    log.clean(NOW + 10).unwrap().unwrap();
    log.look(|log| {
        assert_eq!(brief(log), ["6 d=1", "7 e=1", "9 a=2"]);
        assert_eq!(
            shape(log)[..2],
            [(4, true, None), (5, true, Some(NOW + 1010))],
            "the commit saw its data go just now"
        );
    });
    more("3");
    log.clean(NOW + 20).unwrap().unwrap();
    log.look(|log| assert_eq!(shape(log)[0], (4, true, Some(NOW + 1020))));
    more("4");
    log.clean(NOW + 1010).unwrap().unwrap();
    log.look(|log| {
        assert_eq!(shape(log)[0], (4, true, Some(NOW + 1020)), "the abort is gone, the commit is not")
    });
    more("5");
    log.clean(NOW + 1020).unwrap().unwrap();
    log.look(|log| assert_eq!(shape(log)[0].0, 6));
}

#[test]
fn never_beyond_what_is_decided_nor_into_what_is_young() {
    let bench = Bench::real(LogConfig { min_compaction_lag_ms: 1000, ..compacted() });
    let log = Unlocked::new(bench.open());
    log.look(|log| {
        let segment = || [plain(&[("a", Some("1")), ("a", Some("2"))])];
        fill_segments(log, &[&segment(), &segment(), &segment()]);
    });
    let dirty = |now_ms| log.look(|log| log.cleanable(now_ms).unwrap().unwrap().dirty);
    assert_eq!(dirty(NOW + 1000), Offset(0)..Offset(0), "the youngest record is of NOW + 1");
    assert_eq!(dirty(NOW + 1001), Offset(0)..Offset(6));
    log.look(|log| log.set_high_watermark(Offset(5)));
    assert_eq!(dirty(NOW + 1001), Offset(0)..Offset(4), "whole segments only");
    log.look(|log| log.set_high_watermark(Offset(1)));
    assert_eq!(dirty(NOW + 1001), Offset(0)..Offset(0));
    assert!(log.clean(NOW + 1001).unwrap().is_none());
    log.look(|log| {
        log.set_high_watermark(log.end_offset());
        log.advance_start_offset(Offset(3)).unwrap();
    });
    assert_eq!(dirty(NOW + 1001), Offset(3)..Offset(6), "from where the log starts");
}

#[test]
fn is_due_by_its_dirt_or_by_its_age() {
    let bench = Bench::real(LogConfig { min_cleanable_dirty_ratio: 0.5, ..compacted() });
    let log = Unlocked::new(bench.open());
    let one = plain(&[("a", Some("1"))]);
    log.look(|log| fill_segments(log, &[from_ref(&one), from_ref(&one)]));
    let cleanable = |now_ms| log.look(|log| log.cleanable(now_ms).unwrap().unwrap());
    let first = cleanable(NOW);
    assert_eq!((first.clean_bytes, first.dirty_bytes, first.is_due()), (0, 2 * one.len() as u64, true));
    log.clean(NOW).unwrap().unwrap();
    log.look(|log| {
        log.roll(None, NOW).unwrap();
        log.set_high_watermark(log.end_offset());
    });
    let second = cleanable(NOW);
    assert_eq!(second.dirty, Offset(2)..Offset(3));
    assert!((second.dirty_ratio() - 0.51).abs() < 0.02, "{second:?}");
    assert!(second.is_due());
    log.look(|log| {
        log.set_config(LogConfig { min_cleanable_dirty_ratio: 0.6, max_compaction_lag_ms: 50, ..compacted() })
    });
    assert!(!cleanable(NOW + 50).is_due());
    assert!(cleanable(NOW + 51).is_due());
}

#[test]
fn a_full_map_ends_the_dirty_part_early_but_never_before_its_first_batch() {
    let bench = Bench::real(LogConfig { segment_bytes: 100_000, ..compacted() });
    let log = Unlocked::new(bench.open());
    let keys: Vec<String> = (0..100).map(|n| format!("key {n}")).collect();
    let pairs: Vec<(&str, Option<&str>)> = keys.iter().map(|key| (key.as_str(), Some("1"))).collect();
    log.look(|log| fill_segments(log, &[&[plain(&pairs), plain(&pairs), plain(&[("late", Some("1"))])]]));
    let limits = CleaningLimits { dedupe_bytes: 24 * 60, ..LIMITS };
    let clean = || {
        clean(&log, limits, NOW, &mut |_| ControlFlow::Continue(())).unwrap().map(|cleaned| cleaned.offsets)
    };
    assert_eq!(
        clean(),
        Some(Offset(0)..Offset(100)),
        "the first batch has no room, and is taken all the same"
    );
    assert_eq!(clean(), Some(Offset(100)..Offset(200)));
    log.look(|log| assert_eq!(brief(log).len(), 101));
    assert_eq!(clean(), Some(Offset(200)..Offset(201)));
    assert_eq!(clean(), None);
    log.look(|log| assert_eq!(brief(log)[0], "100 key 0=1"));
}

#[test]
fn records_without_a_key_go() {
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    log.look(|log| fill_segments(log, &[&[batch(3), plain(&[("a", Some("1"))])], &[batch(2)]]));
    let cleaned = log.clean(NOW).unwrap().unwrap();
    assert_eq!(cleaned.keyless, 5);
    log.look(|log| assert_eq!(brief(log), ["3 a=1"]));
}

#[test]
fn a_segment_of_which_nothing_stays_stays_empty() {
    let bench = Bench::real(LogConfig { segment_bytes: 80, ..compacted() });
    let log = Unlocked::new(bench.open());
    log.look(|log| fill_segments(log, &[&[plain(&[("a", Some("1"))])], &[plain(&[("a", Some("2"))])]]));
    log.clean(NOW).unwrap().unwrap();
    assert_eq!(bench.read_file("00000000000000000000.log"), b"");
    log.look(|log| {
        assert_eq!((brief(log), log.segment_count()), (vec!["1 a=2".into()], 3));
        assert_eq!(log.read(Offset(0), 1000, Offset(3), true).unwrap().len(), 70, "the next segment answers");
        log.roll(None, NOW).unwrap();
        log.set_high_watermark(log.end_offset());
    });
    log.clean(NOW).unwrap().unwrap();
    log.look(|log| assert_eq!((log.start_offset(), log.segment_count()), (Offset(0), 3), "merged"));
    drop(log);
    assert_eq!(spans(&bench.open_unclean()), [(1, 1), (2, 2)]);
}

#[test]
fn a_compacted_log_is_followed_over_its_gaps() {
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    log.look(|log| {
        let batch = |value: &str| plain(&[("a", Some(value)), ("b", Some(value))]);
        fill_segments(log, &[&[batch("1")], &[batch("2")], &[batch("3")]]);
    });
    log.clean(NOW).unwrap().unwrap();
    let follower_bench = Bench::real(compacted());
    let mut follower = follower_bench.open();
    log.look(|leader| {
        while follower.end_offset() < leader.end_offset() {
            let slice = leader.read(follower.end_offset(), 100, leader.end_offset(), true).unwrap();
            follower.append_as_follower(&bytes_of(&slice.records), NOW).unwrap();
        }
        assert_eq!(stored(&follower), stored(leader));
        assert_eq!(follower.end_offset(), leader.end_offset());
        let by_time = |log: &Log| log.offset_for_timestamp(NOW + 1).unwrap().map(|found| found.offset);
        assert_eq!((by_time(leader), by_time(&follower)), (Some(Offset(5)), Some(Offset(5))));
        assert_eq!(leader.epoch_of(Offset(0)), Some(LeaderEpoch(0)));
    });
}
