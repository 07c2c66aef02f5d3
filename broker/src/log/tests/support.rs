//! A directory with a log in it, and batches to put there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::ids::{LeaderEpoch, Offset, TopicPartition};
use client::record::{BatchBuilder, BatchOptions, BatchSummary, NewRecord, Producer, batches};
use client::wire::Records;

use crate::log::checkpoint::CLEANER_OFFSETS;
use crate::log::disk::SimulatedDisk;
use crate::log::{Appended, Disk, LoadFrom, Log, LogConfig, LogDir, LogError};

pub(super) const NOW: i64 = 1_700_000_000_000;

/// A log directory with one partition, `t-0`.
pub(super) struct Bench {
    pub(super) disk: Disk,
    pub(super) dir: Arc<LogDir>,
    pub(super) config: LogConfig,
    _temporary: Option<tempfile::TempDir>,
}

impl Bench {
    pub(super) fn real(config: LogConfig) -> Bench {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().to_path_buf();
        Bench { _temporary: Some(temporary), ..Bench::on(Disk::Real, path, config) }
    }

    pub(super) fn simulated(config: LogConfig) -> (SimulatedDisk, Bench) {
        let simulated = SimulatedDisk::new();
        let bench = Bench::on(Disk::Simulated(simulated.clone()), PathBuf::from("/logs"), config);
        (simulated, bench)
    }

    fn on(disk: Disk, path: PathBuf, config: LogConfig) -> Bench {
        disk.create_dir_all(&path.join("t-0")).unwrap();
        let dir = LogDir::new(path, disk.clone(), Arc::new(|_, _| {}));
        Bench { disk, dir, config, _temporary: None }
    }

    /// The same directory after a restart: what was offline may work again.
    pub(super) fn restart(&mut self) {
        let path = self.dir.path().to_path_buf();
        self.dir = LogDir::new(path, self.disk.clone(), Arc::new(|_, _| {}));
        self.dir.checkpoints().read(CLEANER_OFFSETS).unwrap();
    }

    pub(super) fn partition() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("t-0")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(super) fn read_file(&self, name: &str) -> Vec<u8> {
        self.disk.read(&self.file(name)).unwrap()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.disk.list(&self.path()).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    pub(super) fn open(&self) -> Log {
        self.open_from(LoadFrom::NOTHING)
    }

    /// As after a kill, with nothing known to be on disk.
    pub(super) fn open_unclean(&self) -> Log {
        self.open_from(LoadFrom { clean: false, ..LoadFrom::NOTHING })
    }

    pub(super) fn open_from(&self, from: LoadFrom) -> Log {
        Log::load(&self.dir, Bench::partition(), self.config.clone(), from, 1, NOW).unwrap()
    }
}

/// A batch of `records` records of a few bytes.
pub(super) fn batch(records: i32) -> Vec<u8> {
    batch_of(records, BatchOptions::default(), NOW)
}

/// A batch of one record whose value has `bytes` bytes.
pub(super) fn large_batch(bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default()).unwrap();
    builder
        .push(&NewRecord { timestamp: NOW, value: Some(&vec![7; bytes]), ..NewRecord::default() })
        .unwrap();
    builder.finish().unwrap()
}

pub(super) fn batch_at(timestamp: i64) -> Vec<u8> {
    batch_of(1, BatchOptions::default(), timestamp)
}

pub(super) fn batch_by(id: i64, epoch: i16, base_sequence: i32, records: i32) -> Vec<u8> {
    let producer = Producer { id, epoch, base_sequence };
    batch_of(records, BatchOptions { producer, ..BatchOptions::default() }, NOW)
}

/// The timestamps of the records rise by one from `timestamp`.
pub(super) fn batch_of(records: i32, options: BatchOptions, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options).unwrap();
    for n in 0..records {
        let value = format!("value {n}");
        let record = NewRecord {
            timestamp: if timestamp < 0 { timestamp } else { timestamp + i64::from(n) },
            value: Some(value.as_bytes()),
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
    }
    builder.finish().unwrap()
}

/// A transaction's end: `kind` 0 aborts, 1 commits.
pub(super) fn marker(id: i64, epoch: i16, kind: u8) -> Vec<u8> {
    let producer = Producer { id, epoch, base_sequence: -1 };
    let options = BatchOptions { producer, transactional: true, control: true, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options).unwrap();
    let (key, value) = ([0, 0, 0, kind], [0, 0, 0, 0, 0, 3]);
    let record = NewRecord { timestamp: NOW, key: Some(&key), value: Some(&value), headers: &[] };
    builder.push(&record).unwrap();
    builder.finish().unwrap()
}

pub(super) fn transactional(id: i64, epoch: i16, base_sequence: i32, records: i32) -> Vec<u8> {
    let producer = Producer { id, epoch, base_sequence };
    batch_of(records, BatchOptions { producer, transactional: true, ..BatchOptions::default() }, NOW)
}

pub(super) fn lead(log: &mut Log, mut bytes: Vec<u8>) -> Result<Appended, LogError> {
    log.append_as_leader(&mut bytes, LeaderEpoch(0), NOW)
}

/// Appends `count` batches of one record.
pub(super) fn fill(log: &mut Log, count: usize) {
    for _ in 0..count {
        lead(log, batch(1)).unwrap();
    }
}

pub(super) fn bytes_of(records: &Records) -> Vec<u8> {
    match records {
        Records::Memory(bytes) => bytes.to_vec(),
        Records::File(slice) => {
            let mut bytes = vec![0; slice.len];
            std::os::unix::fs::FileExt::read_exact_at(&*slice.file, &mut bytes, slice.position).unwrap();
            bytes
        }
    }
}

/// All batches from an offset on, by reading as a follower does.
pub(super) fn read_all(log: &Log, from: Offset) -> Vec<BatchSummary> {
    let mut from = from;
    let mut all = Vec::new();
    loop {
        let slice = log.read(from, 1000, log.end_offset(), true).unwrap();
        if slice.is_empty() {
            return all;
        }
        let bytes = bytes_of(&slice.records);
        let before = all.len();
        all.extend(batches(&bytes).map(|batch| *batch.summary()));
        assert!(all.len() > before, "a slice holds at least one batch");
        from = all.last().unwrap().next_offset();
    }
}

/// First and last offsets of all batches.
pub(super) fn spans(log: &Log) -> Vec<(i64, i64)> {
    read_all(log, log.start_offset()).iter().map(|b| (b.entry_offset().0, b.last_offset().0)).collect()
}

pub(super) fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}
