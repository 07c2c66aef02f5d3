use client::ids::{LeaderEpoch, Offset};

use super::support::*;
use crate::log::disk::Fault;
use crate::log::{LoadFrom, LogConfig, LogError};

#[test]
fn cuts_whole_batches_and_ends_exactly() {
    let size = batch(2).len() as i32;
    let bench =
        Bench::real(LogConfig { segment_bytes: 2 * size, index_interval_bytes: 0, ..LogConfig::default() });
    let mut log = bench.open();
    for epoch in 0..6 {
        log.append_as_leader(&mut batch_by(4, 0, 2 * epoch, 2), LeaderEpoch(epoch), NOW).unwrap();
    }
    log.set_high_watermark(Offset(12));
    log.flush(NOW).unwrap();

    assert!(!log.truncate_to(Offset(12), NOW).unwrap());
    assert!(log.truncate_to(Offset(7), NOW).unwrap());
    assert_eq!(spans(&log), [(0, 1), (2, 3), (4, 5)]);
    assert_eq!(
        log.end_offset(),
        Offset(7),
        "the batch of 6 and 7 is gone, but the log ends where it was told to"
    );
    assert_eq!((log.high_watermark(), log.recovery_point()), (Offset(7), Offset(7)));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(3)), "epoch 3 starts at 6");
    let known = log.producers().iter().next().unwrap().1.clone();
    assert_eq!(known.last_sequence(), 5);

    let next = log.append_as_leader(&mut batch_by(4, 0, 6, 2), LeaderEpoch(9), NOW).unwrap();
    assert_eq!(next.first_offset, Offset(7));
    assert_eq!(spans(&log), [(0, 1), (2, 3), (4, 5), (7, 8)]);
    log.close().unwrap();
    let log = bench.open();
    assert_eq!(spans(&log), [(0, 1), (2, 3), (4, 5), (7, 8)]);
    let epochs: Vec<_> = log.epochs().map(|(epoch, start)| (epoch.0, start.0)).collect();
    assert_eq!(epochs, [(0, 0), (1, 2), (2, 4), (3, 6), (9, 7)]);
}

#[test]
fn every_offset_can_be_truncated_to() {
    let size = batch(2).len() as i32;
    let config = LogConfig { segment_bytes: 3 * size, index_interval_bytes: 0, ..LogConfig::default() };
    for offset in 0..20 {
        let bench = Bench::real(config.clone());
        let mut log = bench.open();
        for n in 0..10 {
            lead(&mut log, batch_of(2, Default::default(), NOW + 10 * n)).unwrap();
        }
        log.truncate_to(Offset(offset), NOW).unwrap();
        let whole = offset / 2;
        assert_eq!(spans(&log), (0..whole).map(|n| (2 * n, 2 * n + 1)).collect::<Vec<_>>(), "to {offset}");
        assert_eq!(log.end_offset(), Offset(offset));
        let newest = log.offset_of_max_timestamp().unwrap().map(|found| (found.timestamp, found.offset));
        let expected =
            whole.checked_sub(1).filter(|n| *n >= 0).map(|n| (NOW + 10 * n + 1, Offset(2 * n + 1)));
        assert_eq!(newest, expected, "to {offset}");
        lead(&mut log, batch(1)).unwrap();
        log.close().unwrap();
        assert_eq!(bench.open_unclean().end_offset(), Offset(offset + 1), "to {offset}");
    }
}

#[test]
fn starts_anew_anywhere() {
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    fill(&mut log, 3);
    log.truncate_fully_and_start_at(Offset(50), NOW).unwrap();
    let marks = (log.start_offset(), log.end_offset(), log.high_watermark(), log.latest_epoch());
    assert_eq!(marks, (Offset(50), Offset(50), Offset(50), None));
    let bytes =
        batch_of(1, client::record::BatchOptions { base_offset: Offset(50), ..Default::default() }, NOW);
    log.append_as_follower(&bytes, NOW).unwrap();
    assert_eq!(spans(&log), [(50, 50)]);
    assert!(log.truncate_to(Offset(20), NOW).unwrap());
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(20), Offset(20)));
}

#[test]
fn the_start_moves_up_to_the_high_watermark() {
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    for epoch in [0, 0, 1] {
        log.append_as_leader(&mut batch(4), LeaderEpoch(epoch), NOW).unwrap();
    }
    log.set_high_watermark(Offset(8));
    let error = log.advance_start_offset(Offset(9)).unwrap_err();
    assert!(matches!(error, LogError::OffsetOutOfRange { offset: Offset(9), .. }));
    assert!(log.advance_start_offset(Offset(6)).unwrap());
    assert!(!log.advance_start_offset(Offset(5)).unwrap());
    assert_eq!(bench.read_file("leader-epoch-checkpoint"), b"0\n2\n0 6\n1 8\n");
    let below = log.read(Offset(5), 1, Offset(12), true).unwrap_err();
    assert!(matches!(below, LogError::OffsetOutOfRange { start: Offset(6), .. }));
    let slice = log.read(Offset(6), usize::MAX, Offset(12), true).unwrap();
    assert_eq!(bytes_of(&slice.records)[..8], 4_i64.to_be_bytes(), "the batch is served whole");
    assert!(log.advance_start_offset(Offset(8)).unwrap());
    assert_eq!(log.segment_count(), 1);
}

/// Another leader wrote less in a later epoch: who had that and cut it off must not come back with it, as if it knew more.
#[test]
fn a_power_failure_does_not_bring_back_what_was_cut_off() {
    let (simulated, mut bench) = Bench::simulated(LogConfig::default());
    bench.disk.sync_dir(bench.dir.path()).unwrap();
    let mut log = bench.open();
    log.append_as_leader(&mut batch(2), LeaderEpoch(0), NOW).unwrap();
    log.append_as_leader(&mut batch(2), LeaderEpoch(1), NOW).unwrap();
    log.flush(NOW).unwrap();
    let recovery_point = log.recovery_point();
    log.truncate_to(Offset(2), NOW).unwrap();
    log.append_as_leader(&mut batch(6), LeaderEpoch(0), NOW).unwrap();
    drop(log);
    simulated.crash(|_, _| 0);
    bench.restart();
    for recovery_point in [Offset(2), recovery_point] {
        let log = bench.open_from(LoadFrom { clean: false, recovery_point, ..LoadFrom::NOTHING });
        assert_eq!((log.end_offset(), log.latest_epoch()), (Offset(2), Some(LeaderEpoch(0))));
    }
}

/// A failover cuts the newest records of many partitions: they were hardly ever synced, and need not be.
#[test]
fn a_cut_of_what_was_never_synced_waits_for_no_disk() {
    let (simulated, bench) = Bench::simulated(LogConfig::default());
    let mut log = bench.open();
    fill(&mut log, 4);
    log.flush(NOW).unwrap();
    fill(&mut log, 4);
    simulated.inject(Fault::Sync(String::new()));
    log.truncate_to(Offset(6), NOW).unwrap();
    assert!(log.truncate_to(Offset(3), NOW).is_err());
}
