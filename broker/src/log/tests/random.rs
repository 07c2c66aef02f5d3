//! Random work, kills and power failures on a simulated disk, next to a model that cannot fail.

use client::ids::{LeaderEpoch, Offset};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::support::*;
use crate::log::{LoadFrom, Log, LogConfig};

/// What the log should hold: first and last offset of each batch, and the epoch it was written in.
#[derive(Default)]
struct Model {
    batches: Vec<(i64, i64, i32)>,
    start: i64,
    end: i64,
    epoch: i32,
}

impl Model {
    fn truncate(&mut self, to: i64) {
        if to < self.end {
            self.batches.retain(|(_, last, _)| *last < to);
            self.end = to;
            self.start = self.start.min(to);
        }
    }

    #[track_caller]
    fn check(&self, log: &Log, what: &str) {
        let stored = read_all(log, log.start_offset());
        let stored: Vec<_> =
            stored.iter().map(|b| (b.entry_offset().0, b.last_offset().0, b.leader_epoch().0)).collect();
        let expected: Vec<_> =
            self.batches.iter().copied().filter(|(_, last, _)| *last >= self.start).collect();
        assert_eq!(stored, expected, "{what}");
        assert_eq!((log.start_offset().0, log.end_offset().0), (self.start, self.end), "{what}");
        for (first, last, epoch) in expected {
            for offset in [first.max(self.start), last] {
                assert_eq!(
                    log.epoch_of(Offset(offset)),
                    Some(LeaderEpoch(epoch)),
                    "{what}: epoch of {offset}"
                );
            }
        }
    }
}

fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let config = LogConfig {
        segment_bytes: random.random_range(150..1000),
        segment_index_bytes: 240,
        index_interval_bytes: random.random_range(0..400),
        ..LogConfig::default()
    };
    let (simulated, mut bench) = Bench::simulated(config);
    bench.disk.sync_dir(&bench.path()).unwrap();
    let mut log = bench.open();
    let mut model = Model::default();
    for step in 0..60 {
        let what = format!("seed {seed}, step {step}");
        match random.random_range(0..100) {
            0..60 => {
                let records = random.random_range(1..6);
                let appended =
                    log.append_as_leader(&mut batch(records), LeaderEpoch(model.epoch), NOW).unwrap();
                model.batches.push((appended.first_offset.0, appended.last_offset.0, model.epoch));
                model.end = appended.last_offset.0 + 1;
                log.set_high_watermark(log.end_offset());
                // The shell syncs rolled segments soon after.
                if let Some(job) = log.flush_due(NOW).unwrap() {
                    log.flushed(job.run()).unwrap();
                }
            }
            60..70 => {
                // Between batches: an end within a batch that was cut is forgotten by a restart.
                let ends = model.batches.iter().map(|(first, ..)| *first).chain([model.end, model.end + 2]);
                let ends: Vec<i64> = ends.filter(|end| *end >= model.start).collect();
                let to = ends[random.random_range(0..ends.len())];
                log.truncate_to(Offset(to), NOW).unwrap();
                model.truncate(to);
                model.epoch += 1;
                // Without this, a power failure may bring the end back that was cut off.
                log.flush(NOW).unwrap();
            }
            70..76 => {
                let to = random.random_range(model.start..=model.end);
                log.advance_start_offset(Offset(to)).unwrap();
                log.delete_expired(NOW).unwrap();
                model.start = model.start.max(to);
            }
            76..82 => log.flush(NOW).unwrap(),
            82..88 => {
                let marks = log.close().unwrap();
                let from = LoadFrom {
                    log_start: marks.start,
                    recovery_point: marks.recovery_point,
                    high_watermark: marks.high_watermark,
                    clean: true,
                };
                log = bench.open_from(from);
            }
            kind => {
                let marks = log.marks();
                drop(log);
                // A kill leaves what was written, a power failure only what was synced and a part of the rest.
                if kind >= 94 {
                    simulated.crash(|_, appended| random.random_range(0..=appended));
                }
                bench.restart();
                let from = LoadFrom {
                    log_start: marks.start,
                    recovery_point: marks.recovery_point,
                    high_watermark: marks.high_watermark,
                    clean: false,
                };
                log = bench.open_from(from);
                log.set_high_watermark(log.end_offset());
                if kind >= 94 {
                    assert!(log.end_offset() >= marks.recovery_point, "{what}: synced records are lost");
                    let end = log.end_offset().0;
                    model.batches.retain(|(_, last, _)| *last < end);
                    model.end = end;
                    // Without this, the next power failure may bring back what this one took.
                    log.flush(NOW).unwrap();
                }
                model.epoch += 1;
            }
        }
        model.check(&log, &what);
    }
}

#[test]
fn logs_keep_what_they_promise() {
    for seed in 0..300 {
        run(seed);
    }
}
