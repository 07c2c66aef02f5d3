use client::ids::Offset;

use super::support::*;
use crate::log::{Log, LogConfig};

fn aborted(log: &Log, from: i64) -> Vec<(i64, i64, i64)> {
    let slice = log.read(Offset(from), usize::MAX, log.end_offset(), true).unwrap();
    let aborted = log.aborted_transactions(Offset(from), &slice).unwrap();
    aborted.iter().map(|txn| (txn.producer_id, txn.first_offset.0, txn.last_offset.0)).collect()
}

#[test]
fn the_stable_offset_waits_for_markers_and_their_replication() {
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    lead(&mut log, batch(2)).unwrap();
    lead(&mut log, transactional(1, 0, 0, 3)).unwrap();
    lead(&mut log, transactional(2, 0, 0, 3)).unwrap();
    log.set_high_watermark(log.end_offset());
    assert_eq!(log.last_stable_offset(), Offset(2));
    lead(&mut log, marker(1, 0, 0)).unwrap();
    assert_eq!(log.last_stable_offset(), Offset(2), "its marker is not replicated");
    log.set_high_watermark(log.end_offset());
    assert_eq!(log.last_stable_offset(), Offset(5));
    lead(&mut log, marker(2, 0, 1)).unwrap();
    log.set_high_watermark(log.end_offset());
    assert_eq!(log.last_stable_offset(), Offset(10));
    assert_eq!(aborted(&log, 0), [(1, 2, 8)]);
    assert_eq!(aborted(&log, 9), []);

    let state = |log: &Log| {
        let states = log.producers().iter();
        states.map(|(id, s)| (id, s.last_sequence(), s.coordinator_epoch, s.open_txn)).collect::<Vec<_>>()
    };
    let expected = [(1, 2, 3, None), (2, 2, 3, None)];
    assert_eq!(state(&log), expected);
    drop(log);
    for log in [bench.open_unclean(), bench.open()] {
        assert_eq!(state(&log), expected);
        assert_eq!(aborted(&log, 0), [(1, 2, 8)]);
    }
}

#[test]
fn open_transactions_survive_a_restart() {
    let size = batch(1).len() as i32;
    let bench = Bench::real(LogConfig { segment_bytes: 2 * size, ..LogConfig::default() });
    let mut log = bench.open();
    lead(&mut log, transactional(1, 0, 0, 1)).unwrap();
    fill(&mut log, 5);
    log.close().unwrap();
    let mut log = bench.open();
    log.set_high_watermark(log.end_offset());
    assert_eq!(log.last_stable_offset(), Offset(0));
    lead(&mut log, marker(1, 0, 0)).unwrap();
    log.set_high_watermark(log.end_offset());
    assert_eq!(log.last_stable_offset(), Offset(7));
    assert_eq!(aborted(&log, 0), [(1, 0, 6)], "the abort lies in a later segment than the slice");
    assert_eq!(log.expire_producers(NOW + 86_399_999), 0);
    assert_eq!(log.expire_producers(NOW + 86_400_000), 1);
}

#[test]
fn truncation_reopens_a_transaction() {
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    lead(&mut log, transactional(1, 0, 0, 2)).unwrap();
    lead(&mut log, marker(1, 0, 0)).unwrap();
    log.truncate_to(Offset(2), NOW).unwrap();
    log.set_high_watermark(Offset(2));
    assert_eq!(log.last_stable_offset(), Offset(0));
    assert_eq!(aborted(&log, 0), []);
    lead(&mut log, marker(1, 0, 1)).unwrap();
    log.set_high_watermark(Offset(3));
    assert_eq!((log.last_stable_offset(), aborted(&log, 0)), (Offset(3), vec![]));
}
