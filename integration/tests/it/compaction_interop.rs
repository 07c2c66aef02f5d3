//! The same log compacted by Apache Kafka 3.9.1 and by this broker's cleaner, compared file by file; and each going on
//! where the other was interrupted.

#![allow(clippy::unwrap_used, reason = "helpers of a test end it, as the test itself may")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use broker::log::compaction::{CleaningLimits, Locked, clean};
use broker::log::{Disk, Log, LogConfig, LogDirs, LogDirsOptions, LogError};
use client::ids::{LeaderEpoch, Offset, TopicPartition};
use client::record::compression::DEFAULT_DECOMPRESSED_MAX_BYTES;
use client::record::legacy::{LegacyError, for_each_message};
use client::record::{
    AnyBatch, BatchBuilder, BatchHeader, BatchOptions, Codec, Compression, MessageFormat, MessageSetBuilder,
    NewRecord, Producer, batches, payload, records,
};
use integration::apache::dump_sound_logs;
use integration::apache_cluster::ApacheBroker;
use integration::foreign::kcat;
use integration::ports::free_port;
use integration::process::succeed;
use integration::wait;
use integration::zookeeper::ZooKeeper;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(120);
const RETENTION_MS: i64 = 3_600_000;
const CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// Of both brokers, so that both roll, index and merge at the same places.
const SETTINGS: &[(&str, &str)] = &[
    ("log.segment.bytes", "3000"),
    ("log.index.size.max.bytes", "1200"),
    ("log.index.interval.bytes", "300"),
    ("log.cleanup.policy", "compact"),
    ("log.cleaner.delete.retention.ms", "3600000"),
    ("log.cleaner.min.cleanable.ratio", "0"),
    ("log.cleaner.backoff.ms", "100"),
    ("num.partitions", "1"),
    ("zookeeper.connection.timeout.ms", "60000"),
    // There is no other broker to hand anything over to.
    ("controlled.shutdown.enable", "false"),
];

fn config() -> LogConfig {
    LogConfig {
        cleanup_policy_delete: false,
        cleanup_policy_compact: true,
        segment_bytes: 3000,
        segment_index_bytes: 1200,
        index_interval_bytes: 300,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: RETENTION_MS,
        ..LogConfig::default()
    }
}

/// Without compression, so that all bytes of a compacted log are determined.
const PLAIN: &str = "plain";
/// With every codec, whose libraries differ.
const PACKED: &str = "packed";

/// One broker of Apache's with a ZooKeeper.
struct Apache {
    zookeeper: ZooKeeper,
    folder: TempDir,
    port: u16,
}

impl Apache {
    fn start(&self, data: &Path, cleaner: &str) -> ApacheBroker {
        let mut settings = SETTINGS.to_vec();
        settings.push(("log.cleaner.enable", cleaner));
        let home = self.folder.path();
        ApacheBroker::start(7, self.port, &self.zookeeper.connect_string(), data, home, &settings)
    }

    /// Has the logs compacted that a directory holds.
    fn compact(&self, data: &Path) {
        let broker = self.start(data, "true");
        wait::until("Apache compacts the logs", LIMIT, || {
            let text = checkpoint(data);
            let cleaned = |topic| {
                text.lines().any(|line| line.starts_with(&format!("{topic} 0 ")) && !line.ends_with(" 0"))
            };
            (cleaned(PLAIN) && cleaned(PACKED)).then_some(())
        });
        broker.terminate();
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn checkpoint(data: &Path) -> String {
    std::fs::read_to_string(data.join(CHECKPOINT)).unwrap_or_default()
}

struct Taken(Mutex<Log>);

impl Locked for Taken {
    fn with<T>(&self, work: impl FnOnce(&mut Log) -> Result<T, LogError>) -> Option<Result<T, LogError>> {
        Some(work(&mut self.0.lock().unwrap()))
    }
}

fn open(data: &Path, now_ms: i64) -> LogDirs {
    let options = LogDirsOptions {
        disk: Disk::Real,
        paths: vec![data.to_path_buf()],
        recovery_threads: 1,
        delete_delay_ms: 60_000,
    };
    let dirs = LogDirs::open(options, Arc::new(|_, why| panic!("{why}"))).unwrap();
    dirs.load(&|_| config(), 0, now_ms).unwrap();
    dirs
}

fn take(dirs: &LogDirs, topic: &str) -> Log {
    let mut log = dirs.take(&TopicPartition::new(topic, 0)).unwrap();
    log.set_high_watermark(log.end_offset());
    log
}

/// Compacts the logs in a stopped broker's directory, as a broker of ours would.
fn compact(data: &Path, now_ms: i64) {
    let dirs = open(data, now_ms);
    let mut logs = Vec::new();
    for topic in [PLAIN, PACKED] {
        let log = Taken(Mutex::new(take(&dirs, topic)));
        let limits =
            CleaningLimits { dedupe_bytes: 1 << 20, load_factor: 0.9, io_bytes: 1 << 16, secret: (5, 6) };
        let cleaned = clean(&log, limits, now_ms, &mut |_| ControlFlow::Continue(())).unwrap().unwrap();
        dirs.checkpoint_cleaned(&cleaned.dir);
        logs.push(log.0.into_inner().unwrap());
    }
    dirs.close(logs);
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Writes what compaction has to deal with.
struct Writer {
    log: Log,
    now_ms: i64,
    random: u64,
    codecs: &'static [Codec],
}

impl Writer {
    fn number(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn key_and_value(&mut self) -> (String, Option<String>) {
        let key = format!("key {}", self.number(250));
        let length = self.number(60) as usize;
        let value = format!("{} {}", self.number(1_000_000), "v".repeat(length));
        (key, (self.number(8) > 0).then_some(value))
    }

    fn batch(&mut self, options: BatchOptions) -> i32 {
        let mut builder = BatchBuilder::new(options).unwrap();
        let count = 1 + self.number(6);
        for _ in 0..count {
            let (key, value) = self.key_and_value();
            let timestamp = self.now_ms - self.number(5_000) as i64;
            let value = value.as_ref().map(String::as_bytes);
            builder.push(&NewRecord { timestamp, key: Some(key.as_bytes()), value, headers: &[] }).unwrap();
        }
        self.append(builder.finish().unwrap());
        count as i32
    }

    fn marker(&mut self, id: i64, kind: u8) {
        let producer = Producer { id, epoch: 0, base_sequence: -1 };
        let options =
            BatchOptions { producer, transactional: true, control: true, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options).unwrap();
        let (key, value) = ([0, 0, 0, kind], [0, 0, 0, 0, 0, 3]);
        let record = NewRecord { timestamp: self.now_ms, key: Some(&key), value: Some(&value), headers: &[] };
        builder.push(&record).unwrap();
        self.append(builder.finish().unwrap());
    }

    fn append(&mut self, mut bytes: Vec<u8>) {
        self.log.append_as_leader(&mut bytes, LeaderEpoch(0), self.now_ms).unwrap();
        self.log.set_high_watermark(self.log.end_offset());
    }

    fn legacy(&mut self, format: MessageFormat, codec: Codec) {
        let mut builder = MessageSetBuilder::new(format, Compression::from(codec), None).unwrap();
        let first = self.log.end_offset();
        for n in 0..4 {
            let (key, value) = self.key_and_value();
            let value = value.as_ref().map(String::as_bytes);
            builder.push(first + n, self.now_ms + n, Some(key.as_bytes()), value).unwrap();
        }
        self.log.append_as_follower(&builder.finish().unwrap(), self.now_ms).unwrap();
        self.log.set_high_watermark(self.log.end_offset());
    }

    fn everything(&mut self) {
        for format in [MessageFormat::V0, MessageFormat::V1] {
            for codec in self.codecs.iter().filter(|codec| **codec <= Codec::Snappy) {
                (0..12).for_each(|_| self.legacy(format, *codec));
            }
        }
        let mut sequences = BTreeMap::from([(100, 0), (101, 0), (102, 0)]);
        for n in 0..300 {
            let compression = Compression::from(self.codecs[n % self.codecs.len()]);
            let plain = BatchOptions { compression, ..BatchOptions::default() };
            let id = [100, 101, 102][n % 3];
            let producer = Producer { id, epoch: 0, base_sequence: sequences[&id] };
            let options = match (n % 7, id) {
                (0..3, _) => plain,
                (3..6, 100) => BatchOptions { producer, ..plain },
                (3..6, _) => BatchOptions { producer, transactional: true, ..plain },
                _ => {
                    self.marker(101 + (n as i64 / 7) % 2, (n as u8 / 14) % 2);
                    continue;
                }
            };
            let count = self.batch(options);
            if options.producer.id == id {
                sequences.insert(id, producer.base_sequence + count);
            }
        }
        self.marker(101, 1);
        self.marker(102, 0);
        // The open segment keeps this from the cleaner.
        for _ in 0..12 {
            self.batch(BatchOptions::default());
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => {
                std::fs::copy(entry.path(), &target).unwrap();
                let modified = entry.metadata().unwrap().modified().unwrap();
                std::fs::File::options().write(true).open(&target).unwrap().set_modified(modified).unwrap();
            }
        }
    }
}

fn log_dir(data: &Path, topic: &str) -> PathBuf {
    data.join(format!("{topic}-0"))
}

/// Names and contents of a log's files, without those that are to be removed.
fn files(data: &Path, topic: &str) -> BTreeMap<String, Vec<u8>> {
    let dir = std::fs::read_dir(log_dir(data, topic)).unwrap();
    let files = dir.map(|entry| entry.unwrap().path()).filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        let is_log = name.starts_with("0000") && !name.ends_with(".deleted");
        is_log.then(|| (name, std::fs::read(&path).unwrap()))
    });
    files.collect()
}

/// All that the batches of a log file say, apart from how they are compressed.
fn described(bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches(bytes) {
        batch.check_crc().unwrap();
        match batch.header() {
            Some(header) => lines.push(format!("{:?}", BatchHeader { batch_length: 0, crc: 0, ..*header })),
            None => lines.push(format!("{:?} {:?}", batch.last_offset(), batch.attributes())),
        }
        lines.extend(records_of(&batch));
    }
    lines
}

fn records_of(batch: &AnyBatch<'_>) -> Vec<String> {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let mut lines = Vec::new();
    let mut line = |offset: Offset, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>| {
        lines.push(format!("{offset} {timestamp} {:?} {:?}", text(key), text(value)));
    };
    match batch.header() {
        Some(header) => {
            for record in records(header, &payload(batch, DEFAULT_DECOMPRESSED_MAX_BYTES).unwrap()) {
                let record = record.unwrap();
                line(record.offset, record.timestamp, record.key, record.value);
            }
        }
        None => for_each_message::<LegacyError>(batch, DEFAULT_DECOMPRESSED_MAX_BYTES, |message| {
            line(message.offset, message.timestamp, message.key, message.value);
            Ok(())
        })
        .unwrap(),
    }
    lines
}

/// Every record of a log, whatever batch it is in.
fn survivors(data: &Path, topic: &str) -> Vec<String> {
    let files = files(data, topic);
    let logs = files.iter().filter(|(name, _)| name.ends_with(".log"));
    logs.flat_map(|(_, bytes)| batches(bytes).flat_map(|batch| records_of(&batch)).collect::<Vec<_>>())
        .collect()
}

/// When Apache compacted a log: its first delete horizon less the retention.
fn compacted_at_ms(data: &Path, topic: &str) -> i64 {
    let files = files(data, topic);
    let logs = files.iter().filter(|(name, _)| name.ends_with(".log"));
    let horizon = |bytes: &Vec<u8>| batches(bytes).find_map(|batch| batch.header()?.delete_horizon_ms());
    logs.map(|(_, bytes)| bytes).find_map(horizon).expect("there are tombstones") - RETENTION_MS
}

/// Apache's judgement of every file of a log.
fn check_files(data: &Path, topic: &str) {
    let dir = log_dir(data, topic);
    let paths = files(data, topic).into_iter().filter(|(_, bytes)| !bytes.is_empty());
    let paths: Vec<String> = paths.map(|(name, _)| dir.join(name).display().to_string()).collect();
    let verdict = dump_sound_logs(&paths, LIMIT);
    assert!(verdict.matches("isvalid: true").count() > 50, "{verdict}");
}

/// A directory as a broker leaves it that was killed while it put the second copy of segments in place: `before` it
/// compacted, with what was in place already and the copy from `after`.
fn interrupted(before: &Path, after: &Path, to: &Path) {
    copy_dir(before, to);
    let base_of = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let done = files(after, PLAIN);
    let bases: Vec<String> =
        done.keys().filter(|name| name.ends_with(".log")).map(|name| base_of(name)).collect();
    let [_, second, third, ..] = &bases[..] else { panic!("several segments are left: {bases:?}") };
    let dir = log_dir(to, PLAIN);
    for name in
        files(before, PLAIN).keys().filter(|name| base_of(name) < *second && !name.ends_with("snapshot"))
    {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    for name in done.keys().filter(|name| base_of(name) < *third && !name.ends_with("snapshot")) {
        let suffix = if base_of(name) == *second { ".swap" } else { "" };
        std::fs::copy(log_dir(after, PLAIN).join(name), dir.join(format!("{name}{suffix}"))).unwrap();
    }
    assert!(files(to, PLAIN).len() > done.len());
}

#[test]
fn apache_and_we_compact_a_log_alike_and_go_on_for_each_other() {
    let apache = Apache { zookeeper: ZooKeeper::start(), folder: TempDir::new().unwrap(), port: free_port() };
    let before = apache.folder("before");
    let broker = apache.start(&before, "false");
    for topic in [PLAIN, PACKED] {
        let broker = broker.address();
        succeed(
            kcat().args(["-L", "-b", &broker, "-t", topic, "-X", "allow.auto.create.topics=true"]),
            &[],
            LIMIT,
        );
        wait::until("the log is made", LIMIT, || log_dir(&before, topic).exists().then_some(()));
    }
    broker.terminate();
    let dirs = open(&before, now_ms());
    let write = |topic, codecs| {
        let mut writer = Writer { log: take(&dirs, topic), now_ms: now_ms(), random: 7, codecs };
        writer.everything();
        writer.log
    };
    dirs.close(vec![write(PLAIN, &[Codec::None]), write(PACKED, &Codec::ALL)]);
    drop(dirs);

    let (theirs, ours) = (apache.folder("theirs"), apache.folder("ours"));
    copy_dir(&before, &theirs);
    copy_dir(&before, &ours);
    apache.compact(&theirs);
    let at_ms = compacted_at_ms(&theirs, PLAIN);
    compact(&ours, at_ms);
    let sorted = |text: String| text.lines().map(String::from).collect::<BTreeSet<_>>();
    assert_eq!(sorted(checkpoint(&ours)), sorted(checkpoint(&theirs)));
    let (mine, yours) = (files(&ours, PLAIN), files(&theirs, PLAIN));
    let different = mine.iter().filter(|(name, bytes)| yours.get(*name) != Some(bytes));
    assert_eq!(different.map(|(name, _)| name).collect::<Vec<_>>(), [""; 0], "indexes and all");
    assert_eq!(mine.len(), yours.len());
    let at_ms_packed = compacted_at_ms(&theirs, PACKED);
    let (mine, yours) = (files(&ours, PACKED), files(&theirs, PACKED));
    assert_eq!(mine.keys().collect::<Vec<_>>(), yours.keys().collect::<Vec<_>>());
    for (name, bytes) in yours.iter().filter(|(name, _)| name.ends_with(".log")) {
        // The two logs were not compacted in the same millisecond.
        let moved = |line: String| {
            line.replace(&(at_ms_packed + RETENTION_MS).to_string(), &(at_ms + RETENTION_MS).to_string())
        };
        let yours: Vec<String> = described(bytes).into_iter().map(moved).collect();
        assert_eq!(described(&mine[name]), yours, "{name}");
    }
    assert!(survivors(&ours, PACKED).len() < survivors(&before, PACKED).len() / 2);
    check_files(&ours, PLAIN);
    check_files(&ours, PACKED);

    let (for_us, for_them) = (apache.folder("for-us"), apache.folder("for-them"));
    interrupted(&before, &theirs, &for_us);
    compact(&for_us, at_ms);
    assert_eq!(survivors(&for_us, PLAIN), survivors(&theirs, PLAIN), "we go on where Apache was killed");
    interrupted(&before, &ours, &for_them);
    apache.compact(&for_them);
    assert_eq!(survivors(&for_them, PLAIN), survivors(&ours, PLAIN), "Apache goes on where we were killed");
}
