use client::ids::{LeaderEpoch, Offset};

use super::support::*;
use crate::log::{Appended, LogConfig, LogError};

#[test]
fn a_leader_gives_offsets_and_epochs() {
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    let mut first = batch(3);
    let appended = log.append_as_leader(&mut first, LeaderEpoch(4), NOW).unwrap();
    let expected = Appended {
        first_offset: Offset(0),
        last_offset: Offset(2),
        log_append_time_ms: -1,
        log_start_offset: Offset(0),
        bytes: first.len(),
        records: 3,
        duplicate: false,
    };
    assert_eq!(appended, expected);
    log.append_as_leader(&mut batch(2), LeaderEpoch(5), NOW).unwrap();
    assert_eq!(log.end_offset(), Offset(5));
    assert_eq!(spans(&log), [(0, 2), (3, 4)]);
    let epochs: Vec<_> = log.epochs().map(|(epoch, start)| (epoch.0, start.0)).collect();
    assert_eq!(epochs, [(4, 0), (5, 3)]);
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(4)), Some((LeaderEpoch(4), Offset(3))));
    log.flush(NOW).unwrap();
    assert_eq!(bench.read_file("leader-epoch-checkpoint"), b"0\n2\n4 0\n5 3\n");
}

#[test]
fn a_follower_takes_what_its_leader_has() {
    let leader = Bench::real(LogConfig::default());
    let mut log = leader.open();
    fill(&mut log, 5);
    let slice = log.read(Offset(0), usize::MAX, log.end_offset(), true).unwrap();
    let bytes = bytes_of(&slice.records);

    let follower = Bench::real(LogConfig::default());
    let mut copy = follower.open();
    let cut = bytes.len() - 1;
    let appended = copy.append_as_follower(&bytes[..cut], NOW).unwrap();
    assert_eq!((appended.first_offset, appended.last_offset), (Offset(0), Offset(3)));
    let again = copy.append_as_follower(&bytes, NOW).unwrap_err();
    assert!(matches!(again, LogError::NotContinuing { first: Offset(0), end: Offset(4) }), "{again}");
    copy.append_as_follower(&bytes[bytes.len() / 5 * 4..], NOW).unwrap();
    let name = "00000000000000000000.log";
    assert_eq!(follower.read_file(name), leader.read_file(name));

    let mut damaged = bytes.clone();
    damaged[cut] ^= 1;
    let mut other = Bench::real(LogConfig::default()).open();
    let error = other.append_as_follower(&damaged, NOW).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
    assert_eq!(other.end_offset(), Offset(0));
}

#[test]
fn reads_are_bounded_and_start_at_a_batch() {
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    for _ in 0..4 {
        lead(&mut log, batch(10)).unwrap();
    }
    let size = batch(10).len();
    let read = |from, max, bound, at_least_one| {
        let slice = log.read(Offset(from), max, Offset(bound), at_least_one).unwrap();
        (slice.len(), slice.first_batch_len)
    };
    assert_eq!(read(0, usize::MAX, 40, true), (4 * size, size));
    assert_eq!(read(15, usize::MAX, 40, true), (3 * size, size));
    assert_eq!(read(15, usize::MAX, 30, true), (2 * size, size));
    assert_eq!(read(15, size + 7, 40, false), (size + 7, size));
    assert_eq!(read(15, 7, 40, false), (7, size));
    assert_eq!(read(15, 0, 40, true), (size, size));
    assert_eq!(read(30, 100, 30, true), (0, 0));
    assert_eq!(read(35, 100, 30, true), (0, 0));
    assert_eq!(read(40, 100, 40, true), (0, 0));
    for outside in [-1, 41] {
        let error = log.read(Offset(outside), 1, Offset(40), true).unwrap_err();
        assert!(matches!(error, LogError::OffsetOutOfRange { start: Offset(0), end: Offset(40), .. }));
    }
}

#[test]
fn too_large_is_refused_whole() {
    let config = LogConfig { max_message_bytes: 200, segment_bytes: 300, ..LogConfig::default() };
    let bench = Bench::real(config);
    let mut log = bench.open();
    let error = lead(&mut log, large_batch(200)).unwrap_err();
    assert!(matches!(error, LogError::MessageTooLarge { max: 200, .. }));
    let two = [large_batch(100), large_batch(100)].concat();
    let error = lead(&mut log, two).unwrap_err();
    assert!(matches!(error, LogError::RecordListTooLarge { max: 300, .. }));
    assert_eq!(log.end_offset(), Offset(0));
}

#[test]
fn batches_of_a_producer_come_once_and_in_order() {
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    lead(&mut log, batch(2)).unwrap();
    let mut sequence = 7;
    for _ in 0..6 {
        lead(&mut log, batch_by(1, 0, sequence, 2)).unwrap();
        sequence += 2;
    }
    // The last five are known, not the one before.
    let again = lead(&mut log, batch_by(1, 0, 9, 2)).unwrap();
    assert_eq!((again.first_offset, again.last_offset, again.duplicate), (Offset(4), Offset(5), true));
    for odd in [7, 10, 20] {
        let error = lead(&mut log, batch_by(1, 0, odd, 2)).unwrap_err();
        assert!(matches!(error, LogError::OutOfOrderSequence { expected: 19, found, .. } if found == odd));
    }
    let error = lead(&mut log, batch_by(1, 1, 19, 1)).unwrap_err();
    assert!(matches!(error, LogError::OutOfOrderSequence { expected: 0, .. }));
    lead(&mut log, batch_by(1, 1, 0, 1)).unwrap();
    let error = lead(&mut log, batch_by(1, 0, 17, 2)).unwrap_err();
    assert!(matches!(error, LogError::StaleProducerEpoch { epoch: 0, current: 1, .. }));
    assert_eq!(log.end_offset(), Offset(15));

    lead(&mut log, batch_by(2, 0, i32::MAX - 1, 4)).unwrap();
    lead(&mut log, batch_by(2, 0, 2, 1)).unwrap();
    assert_eq!(log.end_offset(), Offset(20), "sequences wrap inside a batch");
}

#[test]
fn rolls_by_size_time_and_index() {
    let bases = |config: LogConfig, batches: Vec<Vec<u8>>| {
        let bench = Bench::real(config);
        let mut log = bench.open();
        for batch in batches {
            lead(&mut log, batch).unwrap();
        }
        let names = bench.names().into_iter();
        names.filter_map(|name| name.strip_suffix(".log")?.parse::<i64>().ok()).collect::<Vec<_>>()
    };
    let size = batch(1).len() as i32;
    let by_size =
        |segment_bytes| bases(LogConfig { segment_bytes, ..LogConfig::default() }, vec![batch(1); 4]);
    assert_eq!(by_size(2 * size), [0, 2], "a batch that fills the segment exactly still fits");
    assert_eq!(by_size(2 * size - 1), [0, 1, 2, 3]);

    let timed = LogConfig { segment_ms: 100, ..LogConfig::default() };
    let times = [NOW, NOW + 100, NOW + 101, NOW + 50, NOW + 202];
    assert_eq!(bases(timed, times.map(batch_at).into()), [0, 2, 4]);

    // Two places for offsets; the first batch has no entry, and a full index is noticed with the next batch.
    let indexed = LogConfig { segment_index_bytes: 36, index_interval_bytes: 0, ..LogConfig::default() };
    let batches = (0..8).map(|n| batch_at(NOW + n)).collect();
    assert_eq!(bases(indexed, batches), [0, 3, 6]);
}

#[test]
fn index_entries_are_made_per_batch() {
    let config = LogConfig { index_interval_bytes: 200, ..LogConfig::default() };
    let bench = Bench::real(config);
    let mut log = bench.open();
    for n in 0..9 {
        lead(&mut log, batch_at(NOW + 10 - n % 4)).unwrap();
    }
    let size = batch(1).len() as u32;
    assert!((67..=100).contains(&size));
    log.close().unwrap();
    // Every third batch after the first starts more than 200 bytes after the last entry's.
    let index: Vec<u8> =
        [3_u32, 6].iter().flat_map(|n| [n.to_be_bytes(), (n * size).to_be_bytes()].concat()).collect();
    assert_eq!(bench.read_file("00000000000000000000.index"), index);
    let time = [NOW.wrapping_add(10).to_be_bytes().as_slice(), &0_u32.to_be_bytes()].concat();
    assert_eq!(bench.read_file("00000000000000000000.timeindex"), time);
}
