use client::ids::{LeaderEpoch, Offset};
use client::record::{BatchBuilder, BatchOptions, Producer};

use super::support::*;
use crate::log::{LoadFrom, LogConfig};

const LOG: &str = "00000000000000000000.log";
const INDEX: &str = "00000000000000000000.index";
const TIME_INDEX: &str = "00000000000000000000.timeindex";

fn small_indexes() -> LogConfig {
    LogConfig { index_interval_bytes: 150, segment_index_bytes: 600, ..LogConfig::default() }
}

/// A log of six batches, closed; returns where each of them ends.
fn six_batches(bench: &Bench) -> Vec<usize> {
    let mut log = bench.open();
    let mut ends = vec![0];
    for n in 0..6 {
        let producer = Producer { id: 9, epoch: 0, base_sequence: n * 2 };
        let options = BatchOptions { producer, ..BatchOptions::default() };
        let appended = lead(&mut log, batch_of(2, options, NOW + i64::from(n))).unwrap();
        ends.push(ends.last().unwrap() + appended.bytes);
    }
    log.close().unwrap();
    ends
}

#[test]
fn a_cut_at_every_byte_keeps_the_whole_batches() {
    let (simulated, bench) = Bench::simulated(small_indexes());
    let ends = six_batches(&bench);
    let whole = bench.read_file(LOG);
    for len in 0..=whole.len() {
        simulated.tamper(&bench.file(LOG), |bytes| *bytes = whole[..len].to_vec());
        let kept = ends.iter().filter(|end| **end <= len).count() - 1;
        let mut log = bench.open_unclean();
        assert_eq!(log.end_offset(), Offset(2 * kept as i64), "{len} bytes");
        assert_eq!(spans(&log).len(), kept, "{len} bytes");
        assert_eq!(log.size(), ends[kept] as u64, "{len} bytes");
        assert_eq!(bench.read_file(LOG), whole[..ends[kept]], "{len} bytes");
        // Producers are where the log is: the next batch is taken, the last one known.
        let next = lead(&mut log, batch_by(9, 0, 2 * kept as i32, 2)).unwrap();
        assert_eq!(next.first_offset, Offset(2 * kept as i64));
        assert!(lead(&mut log, batch_by(9, 0, 2 * kept as i32, 2)).unwrap().duplicate);
        log.close().unwrap();
    }
}

#[test]
fn producers_outlive_the_loss_of_every_snapshot_after_a_clean_stop() {
    let bench = Bench::real(small_indexes());
    six_batches(&bench);
    let snapshots =
        || bench.names().into_iter().filter(|name| name.ends_with(".snapshot")).collect::<Vec<_>>();
    assert_eq!(snapshots(), ["00000000000000000012.snapshot"]);
    std::fs::remove_file(bench.file(&snapshots()[0])).unwrap();
    let mut log = bench.open();
    assert!(lead(&mut log, batch_by(9, 0, 10, 2)).unwrap().duplicate);
    assert_eq!(log.end_offset(), Offset(12));
}

#[test]
fn a_tail_cut_after_a_clean_stop_is_noticed_all_the_same() {
    let (simulated, bench) = Bench::simulated(small_indexes());
    let ends = six_batches(&bench);
    let whole = bench.read_file(LOG);
    let index = bench.read_file(INDEX);
    for len in 0..whole.len() {
        simulated.tamper(&bench.file(LOG), |bytes| *bytes = whole[..len].to_vec());
        simulated.tamper(&bench.file(INDEX), |bytes| bytes.clone_from(&index));
        let kept = ends.iter().filter(|end| **end <= len).count() - 1;
        let log = bench.open();
        assert_eq!(log.end_offset(), Offset(2 * kept as i64), "{len} bytes");
        assert_eq!(bench.read_file(LOG), whole[..ends[kept]], "{len} bytes");
    }
}

#[test]
fn any_flipped_bit_cuts_before_its_batch() {
    let (simulated, bench) = Bench::simulated(small_indexes());
    let ends = six_batches(&bench);
    let whole = bench.read_file(LOG);
    let damaged_batch = ends[3]..ends[4];
    for byte in damaged_batch {
        for bit in [0, 7] {
            // The leader epoch is not under the checksum, nor is the offset, but that is noticed by its place:
            // behind the batch before, or in the way of the batch after.
            let in_batch = byte - ends[3];
            if (12..16).contains(&in_batch) {
                continue;
            }
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << bit;
            simulated.tamper(&bench.file(LOG), |file| *file = bytes);
            let log = bench.open_unclean();
            let in_reach = matches!((in_batch, bit), (4, 0) | (5..=7, _));
            let kept = if in_reach { 4 } else { 3 };
            assert_eq!(log.size(), ends[kept] as u64, "byte {in_batch} bit {bit}");
            assert_eq!(spans(&log)[..3], [(0, 1), (2, 3), (4, 5)]);
        }
    }
}

#[test]
fn index_files_cut_or_gone_are_built_anew() {
    let (simulated, bench) = Bench::simulated(small_indexes());
    six_batches(&bench);
    let (index, time_index) = (bench.read_file(INDEX), bench.read_file(TIME_INDEX));
    assert_eq!((index.len(), time_index.len()), (16, 36));
    for len in 0..index.len() {
        simulated.tamper(&bench.file(INDEX), |bytes| bytes.truncate(len));
        simulated.tamper(&bench.file(TIME_INDEX), |bytes| bytes.truncate(len));
        let log = bench.open_unclean();
        assert_eq!(log.end_offset(), Offset(12));
        log.close().unwrap();
        assert_eq!(bench.read_file(INDEX), index, "cut to {len}");
        assert_eq!(bench.read_file(TIME_INDEX), time_index, "cut to {len}");
    }
    // Even after a clean stop: the index is gone, or names what is not there.
    for damage in 0..index.len() {
        simulated.tamper(&bench.file(INDEX), |bytes| bytes[damage] ^= 0x10);
        let last_entry_hit = damage >= 8;
        let log = bench.open();
        assert_eq!(log.end_offset(), Offset(12));
        log.close().unwrap();
        if last_entry_hit {
            assert_eq!(bench.read_file(INDEX), index, "damaged at {damage}");
        }
        simulated.tamper(&bench.file(INDEX), |bytes| bytes.clone_from(&index));
    }
    bench.disk.remove_file(&bench.file(INDEX)).unwrap();
    bench.open().close().unwrap();
    assert_eq!(bench.read_file(INDEX), index);
}

#[test]
fn what_follows_a_cut_segment_goes() {
    let size = batch(1).len() as i32;
    let (simulated, bench) = Bench::simulated(LogConfig { segment_bytes: 2 * size, ..LogConfig::default() });
    let mut log = bench.open();
    fill(&mut log, 7);
    drop(log);
    simulated.tamper(&bench.file("00000000000000000002.log"), |bytes| bytes[80 + size as usize - 20] ^= 1);
    let recovery_point = Offset(2);
    let from = LoadFrom { clean: false, recovery_point, ..LoadFrom::NOTHING };
    let log = bench.open_from(from);
    assert_eq!(spans(&log), [(0, 0), (1, 1), (2, 2)]);
    assert_eq!(log.recovery_point(), Offset(2));
    let names = bench.names();
    assert!(names.contains(&"00000000000000000004.log.deleted".to_owned()), "{names:?}");
    // Segments below the recovery point are believed.
    drop(log);
    simulated.tamper(&bench.file(LOG), |bytes| bytes[70] ^= 1);
    assert_eq!(bench.open_from(from).end_offset(), Offset(3));
    assert_eq!(bench.open_unclean().end_offset(), Offset(0));
}

#[test]
fn a_log_that_ends_before_its_start_starts_anew() {
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    fill(&mut log, 3);
    log.close().unwrap();
    let log = bench.open_from(LoadFrom { log_start: Offset(10), ..LoadFrom::NOTHING });
    assert_eq!((log.start_offset(), log.end_offset(), log.latest_epoch()), (Offset(10), Offset(10), None));
    assert!(bench.names().contains(&"00000000000000000010.log".to_owned()));
}

#[test]
fn a_power_failure_loses_only_what_was_not_flushed() {
    for kept in 0..200 {
        let config = LogConfig { segment_bytes: 200, ..small_indexes() };
        let (simulated, mut bench) = Bench::simulated(config);
        bench.disk.sync_dir(bench.dir.path()).unwrap();
        let mut log = bench.open();
        fill(&mut log, 5);
        log.flush(NOW).unwrap();
        assert_eq!(log.recovery_point(), Offset(5));
        for _ in 0..5 {
            fill(&mut log, 1);
            if let Some(job) = log.flush_due(NOW).unwrap() {
                log.flushed(job.run()).unwrap();
            }
        }
        let recovery_point = log.recovery_point();
        assert_eq!(recovery_point, Offset(8), "rolled segments are flushed");
        drop(log);
        simulated.crash(|_, appended| kept.min(appended));
        bench.restart();
        let from = LoadFrom { clean: false, recovery_point, ..LoadFrom::NOTHING };
        let mut log = bench.open_from(from);
        let end = log.end_offset().0;
        assert!((8..=10).contains(&end), "{kept} bytes kept: log ends at {end}");
        assert_eq!(spans(&log), (0..end).map(|n| (n, n)).collect::<Vec<_>>());
        fill(&mut log, 1);
        assert_eq!(log.end_offset(), Offset(end + 1));
    }
}

#[test]
fn preallocated_zeros_are_cut_off() {
    let config = LogConfig { preallocate: true, segment_bytes: 4096, ..LogConfig::default() };
    let bench = Bench::real(config);
    let mut log = bench.open();
    fill(&mut log, 2);
    assert_eq!(size_of(&bench.file(LOG)), 4096);
    drop(log);
    let mut log = bench.open_unclean();
    assert_eq!(size_of(&bench.file(LOG)), log.size());
    fill(&mut log, 1);
    assert_eq!(spans(&log).len(), 3);
    log.close().unwrap();
    assert_eq!(bench.open().end_offset(), Offset(3));
}

#[test]
fn compacted_logs_are_read_and_recovered() {
    let bench = Bench::real(LogConfig { segment_bytes: 150, ..LogConfig::default() });
    let mut log = bench.open();
    let with_base = |base: i64| BatchOptions { base_offset: Offset(base), ..BatchOptions::default() };
    // Offsets 0 to 9 are compacted to nothing, 12 to 14 are a hole.
    let mut emptied = BatchBuilder::new(with_base(0)).unwrap().finish().unwrap();
    emptied[23..27].copy_from_slice(&9_i32.to_be_bytes());
    let crc = crc32c::crc32c(&emptied[21..]);
    emptied[17..21].copy_from_slice(&crc.to_be_bytes());
    for bytes in [emptied, batch_of(2, with_base(10), NOW), batch_of(1, with_base(15), NOW)] {
        log.append_as_follower(&bytes, NOW).unwrap();
    }
    let check = |log: &crate::log::Log| {
        assert_eq!(spans(log), [(0, 9), (10, 11), (15, 15)]);
        let next = log.read(Offset(13), 1, Offset(16), true).unwrap();
        assert_eq!(bytes_of(&next.records)[..8], 15_i64.to_be_bytes());
        assert!(log.read(Offset(13), 1, Offset(15), true).unwrap().is_empty());
    };
    check(&log);
    drop(log);
    check(&bench.open_unclean());
}

#[test]
fn epochs_are_rebuilt_and_cut_with_the_log() {
    let bench = Bench::real(LogConfig::default());
    let mut log = bench.open();
    for epoch in [0, 0, 3, 5] {
        log.append_as_leader(&mut batch(1), LeaderEpoch(epoch), NOW).unwrap();
    }
    drop(log);
    std::fs::remove_file(bench.file("leader-epoch-checkpoint")).unwrap();
    let epochs = |log: &crate::log::Log| log.epochs().map(|(e, o)| (e.0, o.0)).collect::<Vec<_>>();
    let log = bench.open_unclean();
    assert_eq!(epochs(&log), [(0, 0), (3, 2), (5, 3)]);
    let cut = log.size() - 10;
    drop(log);
    std::fs::OpenOptions::new().write(true).open(bench.file(LOG)).unwrap().set_len(cut).unwrap();
    assert_eq!(epochs(&bench.open_unclean()), [(0, 0), (3, 2)]);
}

#[test]
fn interrupted_compactions_are_settled() {
    let size = batch(1).len() as i32;
    let bench = Bench::real(LogConfig { segment_bytes: size, ..LogConfig::default() });
    let mut log = bench.open();
    fill(&mut log, 5);
    log.close().unwrap();
    let name = |base: i64, suffix: &str| bench.file(&format!("{base:020}{suffix}"));
    // Segments 1 and 2 were compacted into one: its output waits under the first one's name.
    let both = [std::fs::read(name(1, ".log")).unwrap(), std::fs::read(name(2, ".log")).unwrap()].concat();
    std::fs::write(name(1, ".log.swap"), &both).unwrap();
    std::fs::write(name(1, ".index.swap"), b"").unwrap();
    std::fs::write(name(1, ".timeindex.swap"), b"").unwrap();
    std::fs::write(name(3, ".log.cleaned"), b"unfinished").unwrap();
    std::fs::write(name(0, ".log.deleted"), b"going").unwrap();
    std::fs::write(name(9, ".index"), b"no log").unwrap();
    let log = bench.open();
    assert_eq!(spans(&log).len(), 5);
    let logs: Vec<String> = bench.names().into_iter().filter(|name| name.contains(".log")).collect();
    let expected = [0, 1, 3, 4].map(|base: i64| format!("{base:020}.log"));
    assert_eq!(logs, expected);
    assert_eq!(std::fs::read(name(1, ".log")).unwrap(), both);
    assert!(!name(9, ".index").exists());
}

/// The names of both segments reached the disk, and nothing of what is in them.
#[test]
fn an_empty_segment_does_not_stand_for_what_a_power_failure_took() {
    let config = LogConfig { segment_bytes: 200, ..small_indexes() };
    let (simulated, mut bench) = Bench::simulated(config);
    let mut log = bench.open();
    fill(&mut log, 3);
    assert!(log.segment_count() > 1);
    bench.disk.sync_dir(bench.dir.path()).unwrap();
    bench.disk.sync_dir(&bench.path()).unwrap();
    drop(log);
    simulated.crash(|_, _| 0);
    bench.restart();
    let mut log = bench.open_from(LoadFrom { clean: false, ..LoadFrom::NOTHING });
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), Offset(0)));
    fill(&mut log, 1);
    assert_eq!(spans(&log), [(0, 0)]);
}
