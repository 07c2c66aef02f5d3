//! Directories written by Apache Kafka 3.9.1 (`tests/fixtures/apache-3.9.1`): several segments, every codec, plain,
//! idempotent and transactional producers; one stopped cleanly, one killed. Beside each lies what Apache's
//! `DumpLogSegments` says of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::ids::{Offset, TopicPartition};
use client::record::BatchHeader;

use super::support::*;
use crate::log::{Disk, Log, LogConfig, LogDirs, LogDirsOptions};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apache-3.9.1").join(name)
}

/// The topic configs that the fixtures were written with.
fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 3000,
        segment_index_bytes: 600,
        index_interval_bytes: 500,
        retention_ms: -1,
        ..LogConfig::default()
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Relative paths and contents of all files.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(root: &Path, dir: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, into);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                into.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    collect(root, root, &mut all);
    all
}

struct Copied {
    root: tempfile::TempDir,
}

impl Copied {
    fn of(name: &str) -> Copied {
        let root = tempfile::tempdir().unwrap();
        copy_dir(&fixture(name), root.path());
        Copied { root }
    }

    fn open(&self) -> LogDirs {
        let options = LogDirsOptions {
            disk: Disk::Real,
            paths: vec![self.root.path().to_path_buf()],
            recovery_threads: 2,
            delete_delay_ms: 60_000,
        };
        let dirs = LogDirs::open(options, Arc::new(|_, why| panic!("{why}"))).unwrap();
        let cluster_id = "RkX6VrWRQ6aRtMVkKA6MkQ";
        assert_eq!(dirs.verify_identity(cluster_id, None).unwrap(), Some(7));
        dirs.write_identity(cluster_id, 7, NOW).unwrap();
        let loaded = dirs.load(&|_| config(), 0, NOW).unwrap();
        assert_eq!(loaded, [TopicPartition::new("__transaction_state", 0), TopicPartition::new("fix", 0)]);
        dirs
    }
}

fn take(dirs: &LogDirs) -> Log {
    dirs.take(&TopicPartition::new("fix", 0)).unwrap()
}

/// One line as `DumpLogSegments` writes it, of the fields that a header has.
fn line_of(header: &BatchHeader, position: usize) -> String {
    let codec = header.attributes.codec().unwrap().name();
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: OptionalLong.empty position: \
         {position} CreateTime: {} size: {} magic: 2 compresscodec: {codec} crc: {} isvalid: true",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence,
        header.last_sequence(),
        header.producer_id,
        header.producer_epoch,
        header.leader_epoch,
        header.attributes.is_transactional(),
        header.attributes.is_control(),
        header.max_timestamp,
        header.size(),
        header.crc,
    )
}

fn check_batches(log: &Log, dump: &str) {
    let dump = std::fs::read_to_string(fixture(dump)).unwrap();
    let expected: Vec<&str> = dump.lines().filter(|line| line.starts_with("baseOffset")).collect();
    let starts: Vec<i64> = dump
        .lines()
        .filter_map(|line| line.strip_prefix("Log starting offset: "))
        .map(|base| base.parse().unwrap())
        .collect();
    let mut position = 0;
    let found: Vec<String> = read_all(log, Offset(0))
        .iter()
        .map(|batch| {
            let header = batch.header().unwrap();
            if starts.contains(&header.base_offset.0) {
                position = 0;
            }
            let line = line_of(header, position);
            position += header.size();
            line
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_clean_directory_is_taken_over_and_left_as_it_was() {
    let copied = Copied::of("clean");
    let before = contents(copied.root.path());
    let dirs = copied.open();
    let log = take(&dirs);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), Offset(312)));
    assert_eq!((log.high_watermark(), log.last_stable_offset()), (Offset(312), Offset(312)));
    assert_eq!(log.topic_id().unwrap().to_string().len(), 22);
    check_batches(&log, "clean.dump.txt");
    assert_eq!(log.producers().iter().len(), 12);
    let slice = log.read(Offset(200), usize::MAX, Offset(312), true).unwrap();
    let aborted = log.aborted_transactions(Offset(200), &slice).unwrap();
    let spans: Vec<_> = aborted.iter().map(|txn| (txn.first_offset.0, txn.last_offset.0)).collect();
    assert_eq!(spans, [(246, 251)]);
    dirs.close(vec![log]);
    assert_eq!(contents(copied.root.path()), before);
}

#[test]
fn a_killed_directory_is_recovered_without_loss() {
    let copied = Copied::of("killed");
    let dirs = copied.open();
    let log = take(&dirs);
    assert_eq!(log.high_watermark(), Offset(312), "the checkpoint is behind");
    assert_eq!(log.recovery_point(), Offset(312), "recovery proves nothing about the disk");
    check_batches(&log, "killed.dump.txt");
    dirs.close(vec![log]);
    let reopened = copied.open();
    check_batches(&take(&reopened), "killed.dump.txt");
}

#[test]
fn a_recovery_from_nothing_makes_the_same_indexes() {
    let copied = Copied::of("clean");
    let before = contents(copied.root.path());
    for name in before.keys().filter(|name| !name.ends_with(".log") && name.contains('/')) {
        std::fs::remove_file(copied.root.path().join(name)).unwrap();
    }
    std::fs::remove_file(copied.root.path().join(".kafka_cleanshutdown")).unwrap();
    let dirs = copied.open();
    dirs.close(vec![take(&dirs)]);
    let mut after = contents(copied.root.path());
    for (name, bytes) in before.iter().filter(|(name, _)| !name.ends_with("partition.metadata")) {
        assert_eq!(after.remove(name).as_ref(), Some(bytes), "{name}");
    }
}

/// A follower that appends batch by batch what Apache's leader appended has the same files.
#[test]
fn appending_makes_the_same_files() {
    let copied = Copied::of("clean");
    let dirs = copied.open();
    let source = take(&dirs);
    let bench = Bench::real(config());
    let mut log = bench.open();
    let mut from = Offset(0);
    while from < source.end_offset() {
        let slice = source.read(from, 0, source.end_offset(), true).unwrap();
        let appended = log.append_as_follower(&bytes_of(&slice.records), NOW).unwrap();
        log.set_high_watermark(appended.last_offset + 1);
        from = appended.last_offset + 1;
    }
    log.close().unwrap();
    let mut expected = contents(&fixture("clean/fix-0"));
    expected.remove("partition.metadata");
    let found = contents(&bench.path());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in expected {
        assert_eq!(found[&name], bytes, "{name}");
    }
}
