//! Random compacted logs next to a model that only knows what was written; and crashes of compactions at every change
//! that they make to the disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use client::ids::Offset;
use client::record::{BatchOptions, Codec, Compression, Producer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::compacting::*;
use super::support::*;
use crate::log::compaction::{CleaningError, CleaningLimits, clean};
use crate::log::disk::SimulatedDisk;
use crate::log::{LoadFrom, LogConfig, LogError};

/// Everything that was ever written and not cut off.
#[derive(Clone, Default)]
struct Written {
    records: BTreeMap<i64, (String, Option<String>)>,
}

impl Written {
    fn newest(&self) -> BTreeMap<&str, (i64, Option<&str>)> {
        let records = self.records.iter();
        records.map(|(offset, (key, value))| (key.as_str(), (*offset, value.as_deref()))).collect()
    }

    /// What must hold of a log however far it was compacted. `horizon_passed`: tombstones may have gone.
    #[track_caller]
    fn check(&self, found: &[Found], horizon_passed: bool, what: &str) {
        let mut last = -1;
        let mut present = BTreeMap::new();
        for (offset, key, value, _) in found {
            assert!(*offset > last, "{what}: {offset} after {last}");
            last = *offset;
            let key = key.as_deref().unwrap_or_default();
            let expected = self.records.get(offset).map(|(key, value)| (key.as_str(), value.as_deref()));
            assert_eq!(Some((key, value.as_deref())), expected, "{what}: at {offset}");
            present.insert(key, (*offset, value.as_deref()));
        }
        for (key, newest) in self.newest() {
            match present.get(key) {
                Some(there) => assert_eq!(*there, newest, "{what}: the newest of {key}"),
                None => assert!(newest.1.is_none() && horizon_passed, "{what}: {key} lost {newest:?}"),
            }
        }
    }

    /// After a whole compaction, below `end` only the newest of each key is left.
    #[track_caller]
    fn check_compacted(&self, found: &[Found], end: i64, what: &str) {
        let below = Written { records: self.records.range(..end).map(|(o, r)| (*o, r.clone())).collect() };
        let newest = below.newest();
        for (offset, key, ..) in found.iter().filter(|(offset, ..)| *offset < end) {
            let (expected, _) = newest[key.as_deref().unwrap()];
            assert_eq!(*offset, expected, "{what}: {key:?} is compacted");
        }
    }
}

struct Run {
    random: StdRng,
    simulated: SimulatedDisk,
    bench: Bench,
    log: Unlocked,
    written: Written,
    now_ms: i64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = StdRng::seed_from_u64(seed);
        let config = LogConfig {
            segment_bytes: random.random_range(200..900),
            segment_index_bytes: 240,
            index_interval_bytes: random.random_range(0..300),
            delete_retention_ms: 1000,
            ..compacted()
        };
        let (simulated, bench) = Bench::simulated(config);
        bench.disk.sync_dir(bench.dir.path()).unwrap();
        bench.disk.sync_dir(&bench.path()).unwrap();
        let log = Unlocked::new(bench.open());
        Run { random, simulated, bench, log, written: Written::default(), now_ms: NOW }
    }

    fn append(&mut self) {
        let last_sequence =
            self.log.look(|log| log.producers().iter().next().map(|(_, state)| state.last_sequence()));
        let random = &mut self.random;
        let mut options = BatchOptions {
            compression: Compression::from(Codec::ALL[random.random_range(0..5)]),
            ..BatchOptions::default()
        };
        let count = random.random_range(1..4);
        if random.random_bool(0.3) {
            options.producer = Producer { id: 5, epoch: 0, base_sequence: last_sequence.unwrap_or(-1) + 1 };
        }
        let records: Vec<(String, Option<String>)> = (0..count)
            .map(|_| {
                let key = format!("k{}", random.random_range(0..12));
                let value = random.random_bool(0.8).then(|| format!("v{}", random.random_range(0..1000)));
                (key, value)
            })
            .collect();
        let pairs: Vec<(&str, Option<&str>)> =
            records.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let appended = self.log.look(|log| {
            let appended = lead(log, keyed(&pairs, options)).unwrap();
            log.set_high_watermark(log.end_offset());
            appended
        });
        self.written.records.extend((appended.first_offset.0..).zip(records));
    }

    fn found(&self) -> Vec<Found> {
        self.log.look(|log| found(log))
    }

    /// Kills the broker, or the machine, and starts again.
    fn restart(&mut self, power_failure: bool) {
        let marks = self.log.look(|log| log.marks());
        self.simulated.set_changes_left(None);
        if power_failure {
            self.simulated.crash(|_, appended| self.random.random_range(0..=appended));
        }
        self.bench.restart();
        let from = LoadFrom {
            log_start: marks.start,
            recovery_point: marks.recovery_point,
            high_watermark: marks.high_watermark,
            clean: false,
        };
        self.log = Unlocked::new(self.bench.open_from(from));
        self.log.look(|log| log.set_high_watermark(log.end_offset()));
    }
}

#[test]
fn random_logs_keep_the_newest_of_each_key() {
    for seed in 0..60 {
        let mut run = Run::new(seed);
        let (mut horizon_passed, mut cleaned_to) = (false, 0);
        for step in 0..60 {
            let what = format!("seed {seed} step {step}");
            match run.random.random_range(0..100) {
                0..80 => run.append(),
                80..86 => {
                    let to = run.random.random_range(0..=run.log.look(|log| log.end_offset().0));
                    // Below what was compacted, older values would be missing: a leader never cuts there.
                    if to >= cleaned_to {
                        run.log.look(|log| log.truncate_to(Offset(to), NOW).unwrap());
                        let end = run.log.look(|log| spans(log).last().map_or(0, |(_, last)| last + 1));
                        run.written.records.retain(|offset, _| *offset < end.min(to));
                    }
                }
                86..90 => run.now_ms += 600,
                _ => {
                    let before = run.log.look(|log| stored(log));
                    let dedupe_bytes = if run.random.random_bool(0.3) { 24 * 8 } else { 1 << 20 };
                    let limits = CleaningLimits { dedupe_bytes, ..LIMITS };
                    let cleaned =
                        clean(&run.log, limits, run.now_ms, &mut |_| ControlFlow::Continue(())).unwrap();
                    if let Some(cleaned) = cleaned {
                        horizon_passed |= run.now_ms >= NOW + 1000;
                        cleaned_to = cleaned_to.max(cleaned.offsets.end.0);
                        run.written.check_compacted(&run.found(), cleaned.offsets.end.0, &what);
                    }
                    let after = run.log.look(|log| stored(log));
                    let same = after.iter().filter(|batch| before.contains(batch)).count();
                    let keyed_anew = after.iter().filter(|batch| !before.contains(batch)).count();
                    assert_eq!(same + keyed_anew, after.len());
                    assert!(after.concat().len() <= before.concat().len() + 16 * keyed_anew, "{what}");
                }
            }
            run.written.check(&run.found(), horizon_passed, &what);
        }
        // Compacting again changes nothing: there is nothing dirty.
        let cleaned = run.log.clean(run.now_ms).unwrap();
        let once = run.log.look(|log| stored(log));
        assert!(cleaned.is_none() || run.log.clean(run.now_ms).unwrap().is_none());
        assert_eq!(run.log.look(|log| stored(log)), once);
    }
}

/// Fails the compaction after every number of changes to the disk, ends the process or the machine there, and starts
/// again: no newest value is missing, and the next compaction comes to the same end as one that was never disturbed.
#[test]
fn a_crash_at_any_change_loses_nothing() {
    for seed in 0..2 {
        let prepare = || {
            let mut run = Run::new(seed);
            (0..15).for_each(|_| run.append());
            run.log.look(|log| log.flush(NOW).unwrap());
            run.log.clean(NOW).unwrap();
            (0..15).for_each(|_| run.append());
            run.log.look(|log| log.flush(NOW).unwrap());
            run
        };
        let undisturbed = prepare();
        undisturbed.log.clean(NOW).unwrap().unwrap();
        let expected = undisturbed.found();
        for changes in 0.. {
            let what = format!("seed {seed} after {changes} changes");
            let mut run = prepare();
            run.simulated.set_changes_left(Some(changes));
            let outcome = run.log.clean(NOW);
            let finished = match outcome {
                Ok(Some(_)) => true,
                Err(CleaningError::Log(LogError::Storage(_) | LogError::DirOffline { .. })) => false,
                other => panic!("{what}: {other:?}"),
            };
            assert_eq!(run.bench.dir.is_offline(), !finished, "{what}");
            run.restart(changes % 2 == 0);
            let leftovers: Vec<String> = run.bench.names();
            let is_leftover = |name: &&String| {
                [".cleaned", ".swap", ".deleted"].iter().any(|suffix| name.ends_with(suffix))
            };
            assert_eq!(leftovers.iter().find(is_leftover), None, "{what}");
            run.written.check(&run.found(), false, &what);
            run.log.clean(NOW).unwrap();
            assert_eq!(run.found(), expected, "{what}");
            run.restart(true);
            assert_eq!(run.found(), expected, "{what}, and again");
            if finished {
                break;
            }
        }
    }
}
