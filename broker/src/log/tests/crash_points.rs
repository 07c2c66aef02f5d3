//! Power cuts at every change a log makes to its disk, with what was not synced lost, torn or out of
//! order; and damage to every kind of file.
//!
//! Whatever happens, a broker starts again (or says why a directory cannot be used), what was synced
//! is there, and nobody is ever given other bytes than were appended. One thing is not promised: of two
//! segments that were never synced the disk may keep the later and lose the end of the earlier, and
//! nothing tells the gap from one that compaction left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::ids::{LeaderEpoch, Offset, TopicPartition, Uuid};
use client::record::{BatchOptions, Producer, batches};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::support::*;
use crate::log::disk::SimulatedDisk;
use crate::log::{Disk, Log, LogConfig, LogDirs, LogDirsError, LogDirsOptions, LogError};

const DIR: &str = "/logs";
const BOOT: &str = "3e7b2f2c-0d4e-4a55-9c52-5f1f0d9f9a11";
/// Lives whose every change is cut.
const SEEDS: u64 = 3;
/// At each cut: nothing that was not synced is kept, everything, and then some of it by chance.
const VARIANTS: u64 = 5;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 700,
        segment_index_bytes: 48,
        index_interval_bytes: 150,
        ..LogConfig::default()
    }
}

fn open(disk: &SimulatedDisk) -> Result<LogDirs, LogDirsError> {
    let options = LogDirsOptions {
        disk: Disk::Simulated(disk.clone()),
        paths: vec![PathBuf::from(DIR)],
        recovery_threads: 1,
        delete_delay_ms: 0,
    };
    let dirs = LogDirs::open(options, Arc::new(|_, _| {}))?;
    dirs.verify_identity("cluster", Some(1))?;
    dirs.last_stop(BOOT);
    dirs.load(&|_| config(), 0, NOW)?;
    Ok(dirs)
}

/// What was done to the log, and what was promised about it.
#[derive(Default)]
struct Ledger {
    /// Everything that ever lay at an offset.
    ever: BTreeMap<i64, BTreeSet<Vec<u8>>>,
    /// What lies there now.
    now: BTreeMap<i64, Vec<u8>>,
    end: i64,
    start: i64,
    /// Everything below was synced.
    synced: i64,
    synced_start: i64,
    /// What lies below was deleted once; it may be back after a power cut, as in Kafka, but not its epochs.
    deleted_to: i64,
    epoch: i32,
    sequence: i32,
}

impl Ledger {
    fn append(&mut self, log: &mut Log, records: i32) -> Result<(), LogError> {
        // Each epoch has a producer of its own, since what was cut off may be known to the one before.
        let producer = Producer { id: 100 + i64::from(self.epoch), epoch: 0, base_sequence: self.sequence };
        let options = BatchOptions { producer, ..BatchOptions::default() };
        let mut bytes = batch_of(records, options, NOW + self.end);
        // It may be on disk even if the append fails.
        let mut placed = bytes.clone();
        client::record::batch::assign(&mut placed, Offset(self.end), LeaderEpoch(self.epoch)).unwrap();
        self.ever.entry(self.end).or_default().insert(placed.clone());
        log.append_as_leader(&mut bytes, LeaderEpoch(self.epoch), NOW)?;
        assert_eq!(bytes, placed);
        self.now.insert(self.end, bytes);
        self.end += i64::from(records);
        self.sequence += records;
        log.set_high_watermark(Offset(self.end));
        Ok(())
    }

    fn flush(&mut self, log: &mut Log) -> Result<(), LogError> {
        log.flush(NOW)?;
        self.synced = self.end;
        Ok(())
    }

    fn truncate(&mut self, log: &mut Log, batches_back: usize) -> Result<(), LogError> {
        let Some(to) = self.now.keys().rev().nth(batches_back).copied().filter(|to| *to >= self.start) else {
            return Ok(());
        };
        // From here on nothing is promised of what is cut, whether or not the cut succeeds.
        self.synced = self.synced.min(to);
        log.truncate_to(Offset(to), NOW)?;
        self.now.split_off(&to);
        self.end = to;
        self.epoch += 1;
        self.sequence = 0;
        Ok(())
    }

    fn raise_start(&mut self, log: &mut Log, to: i64) -> Result<(), LogError> {
        let to = to.min(self.end).max(self.start);
        self.start = to;
        self.deleted_to = self.deleted_to.max(to);
        log.advance_start_offset(Offset(to))?;
        log.delete_expired(NOW)?;
        Ok(())
    }

    /// What a restarted broker has to have.
    #[track_caller]
    fn check(&self, log: &Log, what: &str) {
        let found = contents(log).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut last_epoch = -1;
        for (offset, bytes) in &found {
            let known = self.ever.get(offset).is_some_and(|ever| ever.contains(bytes));
            assert!(known, "{what}: other bytes at {offset} than were ever appended there");
            let epoch = batches(bytes).next().unwrap().summary().leader_epoch().0;
            assert!(epoch >= last_epoch, "{what}: epoch {epoch} after {last_epoch}");
            if *offset >= self.deleted_to {
                assert_eq!(
                    log.epoch_of(Offset(*offset)),
                    Some(LeaderEpoch(epoch)),
                    "{what}: epoch of {offset}"
                );
            }
            last_epoch = epoch;
        }
        let start = log.start_offset().0;
        assert!(self.synced_start <= start && start <= self.start.max(0), "{what}: starts at {start}");
        let promised = self.now.range(self.start..).filter(|(offset, _)| **offset < self.synced);
        for (offset, bytes) in promised {
            assert_eq!(found.get(offset), Some(bytes), "{what}: what was synced at {offset} is gone");
        }
        assert!(log.high_watermark() <= log.end_offset(), "{what}");
    }
}

/// The batches by offset, read as a follower does.
fn contents(log: &Log) -> Result<BTreeMap<i64, Vec<u8>>, LogError> {
    let mut found = BTreeMap::new();
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let slice = log.read(from, 1, log.end_offset(), true)?;
        let bytes = bytes_of(&slice.records);
        let Some(batch) = batches(&bytes).next() else { break };
        from = batch.last_offset() + 1;
        found.insert(batch.base_offset().unwrap_or_default().0, bytes[..batch.size()].to_vec());
    }
    Ok(found)
}

/// A broker's life with one partition, until the disk fails.
fn live(disk: &SimulatedDisk, seed: u64, ledger: &mut Ledger) -> Result<(), Box<dyn std::error::Error>> {
    let mut random = StdRng::seed_from_u64(seed);
    let dirs = open(disk)?;
    dirs.write_identity("cluster", 1, NOW)?;
    let topic_id = Some(Uuid([3; 16]));
    let partition = TopicPartition::new("t", 0);
    let mut log = match dirs.take(&partition) {
        Some(log) => log,
        None => dirs.create(&partition, config(), topic_id, true, 0, NOW)?,
    };
    for _ in 0..45 {
        match random.random_range(0..100) {
            0..60 => ledger.append(&mut log, random.random_range(1..5))?,
            60..68 => ledger.flush(&mut log)?,
            68..76 => {
                if let Some(job) = log.flush_due(NOW)? {
                    log.flushed(job.run())?;
                }
                ledger.synced = ledger.synced.max(log.recovery_point().0);
            }
            76..82 => ledger.truncate(&mut log, random.random_range(0..4))?,
            82..86 => ledger.raise_start(&mut log, ledger.start + 3)?,
            86..90 => {
                dirs.checkpoint_log_starts(&[log.marks()]);
                if dirs.any_online() && log.start_offset().0 == ledger.start {
                    ledger.synced_start = ledger.start;
                }
            }
            90..94 => dirs.checkpoint_recovery_points(&[log.marks()]),
            94..98 => dirs.checkpoint_high_watermarks(&[log.marks()]),
            _ => drop(dirs.tick(NOW)),
        }
        if !dirs.any_online() {
            return Err("the directory failed".into());
        }
    }
    dirs.close(vec![log]);
    if dirs.any_online() {
        ledger.synced = ledger.end;
    }
    Ok(())
}

fn restarted(disk: &SimulatedDisk, what: &str) -> (LogDirs, Option<Log>) {
    let dirs = open(disk).unwrap_or_else(|error| panic!("{what}: the broker does not start: {error}"));
    assert!(
        dirs.any_online(),
        "{what}: {:?}",
        dirs.dirs().next().and_then(|dir| dir.failure().map(str::to_owned))
    );
    let log = dirs.take(&TopicPartition::new("t", 0));
    (dirs, log)
}

#[test]
fn a_power_cut_at_any_change_loses_only_what_was_not_synced() {
    for seed in 0..SEEDS {
        let whole = SimulatedDisk::new();
        live(&whole, seed, &mut Ledger::default()).unwrap();
        let changes = whole.changes();
        assert!(changes > 150, "{changes} changes are too few to mean much");
        for crash_at in 0..=changes {
            for variant in 0..VARIANTS {
                let what = format!("seed {seed}, cut at change {crash_at} of {changes}, variant {variant}");
                let disk = SimulatedDisk::new();
                disk.set_changes_left(Some(crash_at));
                let mut ledger = Ledger::default();
                // It fails where the power does.
                let _ = live(&disk, seed, &mut ledger);
                let mut random = StdRng::seed_from_u64(variant);
                disk.power_cut(|| match variant {
                    0 => false,
                    1 => true,
                    _ => random.random(),
                });
                let (_dirs, log) = restarted(&disk, &what);
                let Some(mut log) = log else {
                    assert_eq!(ledger.synced, 0, "{what}: the log is gone");
                    continue;
                };
                ledger.check(&log, &what);
                // It goes on from there.
                let mut next = batch(2);
                log.append_as_leader(&mut next, LeaderEpoch(99), NOW).unwrap();
                log.flush(NOW).unwrap();
            }
        }
    }
}

#[test]
fn power_cuts_in_a_row_lose_nothing_that_was_synced_between_them() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let disk = SimulatedDisk::new();
        let mut ledger = Ledger::default();
        for life in 0..6 {
            let what = format!("seed {seed}, life {life}");
            disk.set_changes_left(Some(random.random_range(20..300)));
            let _ = live(&disk, seed * 31 + life, &mut ledger);
            disk.power_cut(|| random.random());
            let (dirs, log) = restarted(&disk, &what);
            let Some(mut log) = log else {
                assert_eq!(ledger.synced, 0, "{what}: the log is gone");
                ledger = Ledger::default();
                continue;
            };
            ledger.check(&log, &what);
            // What a leader of the next epoch does: from here on this is the log.
            ledger.now = contents(&log).unwrap();
            (ledger.start, ledger.end) = (log.start_offset().0, log.end_offset().0);
            ledger.epoch += 1;
            ledger.sequence = 0;
            ledger.flush(&mut log).unwrap();
            dirs.close(vec![log]);
            ledger.synced_start = ledger.start;
        }
    }
}

/// A stopped broker's directory with every kind of file in it.
fn furnished(is_clean: bool) -> (SimulatedDisk, Ledger) {
    let disk = SimulatedDisk::new();
    let mut ledger = Ledger::default();
    live(&disk, 3, &mut ledger).unwrap();
    let dirs = open(&disk).unwrap();
    let mut log = dirs.take(&TopicPartition::new("t", 0)).unwrap();
    for transaction in 0..3 {
        let mut bytes = transactional(9, 0, transaction, 1);
        log.append_as_leader(&mut bytes, LeaderEpoch(ledger.epoch), NOW).unwrap();
        log.append_as_leader(&mut marker(9, 0, 0), LeaderEpoch(ledger.epoch), NOW).unwrap();
    }
    log.set_high_watermark(log.end_offset());
    log.flush(NOW).unwrap();
    dirs.checkpoint_log_starts(&[log.marks()]);
    dirs.checkpoint_recovery_points(&[log.marks()]);
    dirs.checkpoint_high_watermarks(&[log.marks()]);
    dirs.checkpoint_cleaned(log.dir());
    dirs.note_boot(BOOT).unwrap();
    ledger.now = contents(&log).unwrap();
    (ledger.start, ledger.end) = (log.start_offset().0, log.end_offset().0);
    for (offset, bytes) in &ledger.now {
        ledger.ever.entry(*offset).or_default().insert(bytes.clone());
    }
    if is_clean {
        dirs.close(vec![log]);
    }
    (disk.copy(), ledger)
}

/// What became of a damaged directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Nothing is missing.
    Whole,
    /// The log reaches as far as before, but a read passes over a batch, or fails.
    Passed,
    /// The log ends earlier or starts later.
    Less,
    /// The directory is offline, or the broker does not start.
    Refused,
    /// A batch has another place or epoch than it was given; its checksum covers neither.
    Misplaced,
}

fn fate(disk: &SimulatedDisk, ledger: &Ledger, what: &str) -> Fate {
    let Ok(dirs) = open(disk) else { return Fate::Refused };
    if !dirs.any_online() {
        return Fate::Refused;
    }
    let Some(log) = dirs.take(&TopicPartition::new("t", 0)) else { return Fate::Less };
    let reaches = (log.start_offset().0, log.end_offset().0) == (ledger.start, ledger.end);
    let lacking = if reaches { Fate::Passed } else { Fate::Less };
    let Ok(found) = contents(&log) else { return lacking };
    let content = |bytes: &[u8]| bytes[21..].to_vec();
    let appended: BTreeSet<Vec<u8>> = ledger.ever.values().flatten().map(|bytes| content(bytes)).collect();
    let mut fate = if reaches && found == ledger.now { Fate::Whole } else { lacking };
    for (offset, bytes) in &found {
        if ledger.ever.get(offset).is_some_and(|ever| ever.contains(bytes)) {
            continue;
        }
        // Whoever reads a batch checks its sum, so what does not fit is noticed.
        let is_sound = batches(bytes).next().is_some_and(|batch| batch.check_crc().is_ok());
        assert!(!is_sound || appended.contains(&content(bytes)), "{what}: invented bytes at {offset}");
        if is_sound {
            fate = Fate::Misplaced;
        }
    }
    fate
}

fn kind_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.rsplit_once('.')
        .filter(|(stem, _)| stem.starts_with('0'))
        .map_or(name.clone(), |(_, kind)| kind.to_owned())
}

/// What damage to a file of each kind may come to. Only the log itself has checksums; the files are Kafka's.
const ALLOWED: [(&str, &[Fate]); 14] = [
    (".kafka_cleanshutdown", &[Fate::Whole]),
    // Another boot's: the controller is told that the machine stopped.
    (".ottla_boot", &[Fate::Whole]),
    // What is no list of offsets puts the directory offline: guessed, it might cost records.
    ("cleaner-offset-checkpoint", &[Fate::Refused]),
    // An entry that names a later place than the batch's is believed in a segment that needs no recovery: reads from
    // there pass over batches. The log has them, and goes on where it should.
    ("index", &[Fate::Whole, Fate::Passed]),
    ("leader-epoch-checkpoint", &[Fate::Whole, Fate::Refused]),
    ("log", &[Fate::Whole, Fate::Passed, Fate::Less, Fate::Misplaced]),
    // Another number in it is another start.
    ("log-start-offset-checkpoint", &[Fate::Less, Fate::Refused]),
    ("meta.properties", &[Fate::Whole, Fate::Refused]),
    ("partition.metadata", &[Fate::Whole, Fate::Refused]),
    ("recovery-point-offset-checkpoint", &[Fate::Whole, Fate::Refused]),
    ("replication-offset-checkpoint", &[Fate::Whole, Fate::Refused]),
    // What these say stands in the log as well.
    ("snapshot", &[Fate::Whole]),
    ("timeindex", &[Fate::Whole]),
    ("txnindex", &[Fate::Whole]),
];

#[test]
fn no_damage_to_any_file_panics_or_invents_records() {
    let mut fates: BTreeMap<(bool, String), BTreeMap<Fate, usize>> = BTreeMap::new();
    for is_clean in [true, false] {
        let (whole, ledger) = furnished(is_clean);
        for path in whole.files() {
            let len = Disk::Simulated(whole.clone()).read(&path).unwrap().len();
            let flips = (0..len).step_by(1 + len / 150).map(|byte| (byte, byte + 1, true));
            let zeroed = (0..len).step_by(512).map(|start| (start, (start + 512).min(len), false));
            for (from, to, is_flip) in flips.chain(zeroed) {
                let what =
                    format!("{} from {from} to {to}, flipped: {is_flip}, clean: {is_clean}", path.display());
                let disk = whole.copy();
                disk.tamper(&path, |bytes| match is_flip {
                    true => bytes[from] ^= 1 << (from % 8),
                    false => bytes[from..to].fill(0),
                });
                let fate = fate(&disk, &ledger, &what);
                *fates.entry((is_clean, kind_of(&path))).or_default().entry(fate).or_default() += 1;
            }
        }
    }
    let kinds: BTreeSet<&str> = fates.keys().map(|(_, kind)| kind.as_str()).collect();
    for (kind, _) in ALLOWED {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
    for ((is_clean, kind), fates) in &fates {
        println!("{} {kind}: {fates:?}", if *is_clean { "clean " } else { "killed" });
        let allowed = ALLOWED.iter().find(|(of, _)| of == kind).map_or(&[][..], |(_, allowed)| allowed);
        let others: Vec<&Fate> = fates.keys().filter(|fate| !allowed.contains(fate)).collect();
        assert!(others.is_empty(), "{kind}, clean: {is_clean}: {others:?} in {fates:?}");
    }
}
