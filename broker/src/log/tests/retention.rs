use client::ids::Offset;

use super::support::*;
use crate::log::{Log, LogConfig};

/// One batch of one record a segment, ten of them, a second apart.
fn ten_segments(config: LogConfig) -> (Bench, Log, u64) {
    let size = batch(1).len();
    let bench = Bench::real(LogConfig { segment_bytes: size as i32, ..config });
    let mut log = bench.open();
    for n in 0..10 {
        lead(&mut log, batch_at(NOW + 1000 * n)).unwrap();
    }
    log.set_high_watermark(Offset(10));
    (bench, log, size as u64)
}

fn bases(log: &Log) -> (i64, usize) {
    (log.start_offset().0, log.segment_count())
}

#[test]
fn by_size_oldest_first() {
    let size = batch(1).len() as i64;
    let (_bench, mut log, _) =
        ten_segments(LogConfig { retention_bytes: 3 * size + 1, retention_ms: -1, ..LogConfig::default() });
    assert_eq!(log.delete_expired(NOW).unwrap(), 6, "what remains is at least retention.bytes");
    assert_eq!(bases(&log), (6, 4));
    assert_eq!(log.delete_expired(NOW).unwrap(), 0);
}

#[test]
fn by_age_until_the_first_that_is_young() {
    let (_bench, mut log, _) = ten_segments(LogConfig { retention_ms: 5_000, ..LogConfig::default() });
    assert_eq!(log.delete_expired(NOW + 5_000).unwrap(), 0);
    assert_eq!(log.delete_expired(NOW + 8_001).unwrap(), 4);
    assert_eq!(bases(&log), (4, 6));
    assert_eq!(log.delete_expired(NOW + 1_000_000).unwrap(), 6, "all of it, the active one too");
    assert_eq!(bases(&log), (10, 1));
    assert_eq!(log.size(), 0);
    assert_eq!(log.delete_expired(NOW + 1_000_000).unwrap(), 0, "an empty active segment stays");
    lead(&mut log, batch(1)).unwrap();
    assert_eq!(spans(&log), [(10, 10)]);
}

#[test]
fn never_beyond_the_high_watermark() {
    let (_bench, mut log, _) = ten_segments(LogConfig { retention_ms: 1, ..LogConfig::default() });
    log.set_high_watermark(Offset(3));
    assert_eq!(log.delete_expired(NOW + 1_000_000).unwrap(), 3);
    assert_eq!(bases(&log), (3, 7));
}

#[test]
fn compacted_logs_keep_what_is_not_below_their_start() {
    let config = LogConfig {
        cleanup_policy_delete: false,
        cleanup_policy_compact: true,
        retention_ms: 1,
        retention_bytes: 1,
        ..LogConfig::default()
    };
    let (_bench, mut log, _) = ten_segments(config);
    assert_eq!(log.delete_expired(NOW + 1_000_000).unwrap(), 0);
    log.advance_start_offset(Offset(4)).unwrap();
    assert_eq!(log.delete_expired(NOW).unwrap(), 4);
    assert_eq!(bases(&log), (4, 6));
}

#[test]
fn files_are_renamed_first_and_removed_after_the_delay() {
    let (bench, mut log, _) = ten_segments(LogConfig { retention_ms: 5_000, ..LogConfig::default() });
    let reader = log.read(Offset(0), 1, Offset(10), true).unwrap();
    assert_eq!(log.delete_expired(NOW + 7_001).unwrap(), 3);
    let going: Vec<String> = bench.names().into_iter().filter(|name| name.ends_with(".deleted")).collect();
    let expected: Vec<String> = (0..3)
        .flat_map(|base| {
            let suffixes: &[&str] = match base {
                0 => &["index", "log", "timeindex"],
                _ => &["index", "log", "snapshot", "timeindex"],
            };
            suffixes.iter().map(move |suffix| format!("{base:020}.{suffix}.deleted"))
        })
        .collect();
    assert_eq!(going, expected);
    assert_eq!(bench.dir.remove_due(NOW + 7_001 + 59_999), 0);
    assert_eq!(bench.dir.remove_due(NOW + 7_001 + 60_000), 11);
    assert!(bench.names().iter().all(|name| !name.ends_with(".deleted")));
    assert!(!bytes_of(&reader.records).is_empty(), "a reader that was there before still reads");
}

#[test]
fn timeless_segments_age_by_their_files() {
    let bench = Bench::real(LogConfig { retention_ms: 1_000, ..LogConfig::default() });
    let mut log = bench.open();
    lead(&mut log, batch_at(-1)).unwrap();
    log.set_high_watermark(Offset(1));
    let written_ms = bench.disk.stat(&bench.file("00000000000000000000.log")).unwrap().unwrap().modified_ms;
    assert_eq!(log.delete_expired(written_ms + 1_000).unwrap(), 0);
    assert_eq!(log.delete_expired(written_ms + 1_001).unwrap(), 1);
}
