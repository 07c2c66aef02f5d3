//! A log directory goes back and forth between Apache Kafka 3.9.1 and this broker's log, stopped cleanly and killed.

#![allow(clippy::unwrap_used, reason = "helpers of a test end it, as the test itself may")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use broker::log::{Disk, Log, LogConfig, LogDirs, LogDirsOptions};
use client::ids::{LeaderEpoch, Offset, TopicPartition};
use client::record::{
    BatchBuilder, BatchOptions, Codec, Compression, NewRecord, Producer, batches, payload, records,
};
use client::wire::Records;
use integration::apache::{Release, dump_sound_logs};
use integration::foreign::consume_with_java;
use integration::ports::free_port;
use integration::process::{Process, succeed};
use integration::wait;
use integration::zookeeper::ZooKeeper;
use tempfile::TempDir;

const TOPIC: &str = "swap";
const LIMIT: Duration = Duration::from_secs(120);
const NOW_MS: i64 = 1_700_000_000_000;
/// Of Apache's broker and of ours, so that both roll and index at the same places.
const SETTINGS: &str = "log.segment.bytes=4000\nlog.index.size.max.bytes=1200\nlog.index.interval.bytes=500\n\
                        log.retention.ms=-1\noffsets.topic.replication.factor=1\nnum.partitions=1\n";

/// One broker of Apache's with a ZooKeeper.
struct Apache {
    zookeeper: ZooKeeper,
    folder: TempDir,
    port: u16,
}

impl Apache {
    fn new() -> Apache {
        let apache =
            Apache { zookeeper: ZooKeeper::start(), folder: TempDir::new().unwrap(), port: free_port() };
        let properties = format!(
            "broker.id=7\nlisteners=PLAINTEXT://127.0.0.1:{}\nlog.dirs={}\nzookeeper.connect={}\n\
             zookeeper.session.timeout.ms=4000\n{SETTINGS}",
            apache.port,
            apache.data().display(),
            apache.zookeeper.connect_string()
        );
        std::fs::write(apache.folder.path().join("server.properties"), properties).unwrap();
        apache
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the broker; returns once it leads the topic, which is made if it is not there.
    fn start(&self) -> Process {
        // Apache's broker does not start beside the registration that a killed one leaves for a while.
        wait::until("the former registration is gone", LIMIT, || {
            self.zookeeper.four_letters("dump").filter(|dump| !dump.contains("/brokers/ids/7"))
        });
        let mut command = Release::V3_9.java("kafka.Kafka");
        command.arg(self.folder.path().join("server.properties"));
        let mut process = Process::start(&mut command, &self.folder.path().join("log"));
        wait::until("Apache's broker listens", LIMIT, || {
            assert_eq!(process.exited(), None, "Apache's broker ended: {}", process.output());
            std::net::TcpStream::connect(self.bootstrap()).ok()
        });
        let mut create = Release::V3_9.java("org.apache.kafka.tools.TopicCommand");
        create.args([
            "--bootstrap-server",
            &self.bootstrap(),
            "--create",
            "--if-not-exists",
            "--topic",
            TOPIC,
        ]);
        succeed(&mut create, &[], LIMIT);
        process
    }

    fn produce(&self, values: &[String], codec: &str) {
        let mut command = Release::V3_9.java("kafka.tools.ConsoleProducer");
        command.args([
            "--bootstrap-server",
            &self.bootstrap(),
            "--topic",
            TOPIC,
            "--compression-codec",
            codec,
        ]);
        command.args([
            "--producer-property",
            "enable.idempotence=true",
            "--producer-property",
            "batch.size=300",
        ]);
        succeed(&mut command, (values.join("\n") + "\n").as_bytes(), LIMIT);
    }

    fn consume(&self) -> Vec<String> {
        consume_with_java(&self.bootstrap(), TOPIC)
    }

    /// Apache's judgement of every segment and index file.
    fn check_files(&self) {
        let dir = self.data().join(format!("{TOPIC}-0"));
        let mut files: Vec<String> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path().display().to_string())
            .filter(|path| {
                let kinds = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"];
                kinds.iter().any(|kind| path.ends_with(kind))
            })
            .collect();
        files.sort();
        assert!(files.len() > 8, "several segments: {files:?}");
        let verdict = dump_sound_logs(&files, LIMIT);
        // Only compaction may leave some out.
        assert!(!verdict.contains("Non-consecutive offsets in"), "{verdict}");
        assert!(verdict.matches("isvalid: true").count() > 10, "{verdict}");
    }
}

/// Opens the directory as this broker does.
fn open(data: &Path) -> (LogDirs, Log) {
    let options = LogDirsOptions {
        disk: Disk::Real,
        paths: vec![data.to_path_buf()],
        recovery_threads: 1,
        delete_delay_ms: 60_000,
    };
    let dirs = LogDirs::open(options, Arc::new(|_, why| panic!("{why}"))).unwrap();
    let cluster_id = cluster_id(data);
    assert_eq!(dirs.verify_identity(&cluster_id, None).unwrap(), Some(7));
    dirs.write_identity(&cluster_id, 7, NOW_MS).unwrap();
    let config = LogConfig {
        segment_bytes: 4000,
        segment_index_bytes: 1200,
        index_interval_bytes: 500,
        retention_ms: -1,
        ..LogConfig::default()
    };
    dirs.load(&|_| config.clone(), 0, NOW_MS).unwrap();
    let log = dirs.take(&TopicPartition::new(TOPIC, 0)).unwrap();
    (dirs, log)
}

fn cluster_id(data: &Path) -> String {
    let text = std::fs::read_to_string(data.join("meta.properties")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap().to_owned()
}

/// Values of all records, as a follower would get them.
fn values_in(log: &Log) -> Vec<String> {
    let mut values = Vec::new();
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let slice = log.read(from, 1 << 20, log.end_offset(), true).unwrap();
        let Records::File(file) = &slice.records else { panic!("a real disk gives ranges of files") };
        let mut bytes = vec![0; file.len];
        std::os::unix::fs::FileExt::read_exact_at(&*file.file, &mut bytes, file.position).unwrap();
        for batch in batches(&bytes) {
            batch.check_crc().unwrap();
            let decoded = payload(&batch, 1 << 20).unwrap();
            for record in records(batch.header().unwrap(), &decoded) {
                values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
            }
            from = batch.next_offset();
        }
    }
    values
}

/// Appends the values in batches of five, with every codec in turn, by an idempotent producer.
fn append(log: &mut Log, values: &[String], producer_id: i64) {
    let epoch = log.latest_epoch().unwrap_or(LeaderEpoch(0));
    for (n, chunk) in values.chunks(5).enumerate() {
        let compression = Compression::from(Codec::ALL[n % Codec::ALL.len()]);
        let producer = Producer { id: producer_id, epoch: 0, base_sequence: 5 * n as i32 };
        let options = BatchOptions { compression, producer, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options).unwrap();
        for value in chunk {
            let record = NewRecord {
                timestamp: NOW_MS + n as i64,
                key: Some(b"k"),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            builder.push(&record).unwrap();
        }
        log.append_as_leader(&mut builder.finish().unwrap(), epoch, NOW_MS).unwrap();
    }
    log.set_high_watermark(log.end_offset());
}

fn values(by: &str) -> Vec<String> {
    (0..150).map(|n| format!("{by} {n} {}", "x".repeat(n % 40))).collect()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("-version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_log_directory_changes_hands_without_loss() {
    if !is_there("java") || !is_there("mvn") {
        eprintln!("SKIPPED: Apache's broker takes a JRE and Maven (packages default-jre-headless and maven)");
        return;
    }
    let apache = Apache::new();
    let mut expected = Vec::new();

    let broker = apache.start();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let sent = values(&format!("apache {codec}"));
        apache.produce(&sent, codec);
        expected.extend(sent);
    }
    assert!(broker.terminate(LIMIT).code().is_some());

    // Stopped cleanly, it is ours; and stopped cleanly by us, it is Apache's again.
    let (dirs, mut log) = open(&apache.data());
    assert_eq!(log.recovery_point(), log.end_offset(), "a clean stop was recognised");
    assert_eq!(values_in(&log), expected);
    let sent = values("ours, closed");
    append(&mut log, &sent, 900);
    expected.extend(sent);
    dirs.close(vec![log]);
    drop(dirs);
    apache.check_files();

    let broker = apache.start();
    assert_eq!(apache.consume(), expected);
    let sent = values("apache, to be killed");
    apache.produce(&sent, "lz4");
    expected.extend(sent);
    broker.kill();

    // Killed, it is recovered by us; and left by us as a kill leaves it, by Apache.
    let (dirs, mut log) = open(&apache.data());
    assert!(log.recovery_point() < log.end_offset(), "a kill was recognised");
    assert_eq!(values_in(&log), expected);
    let sent = values("ours, killed");
    append(&mut log, &sent, 901);
    expected.extend(sent);
    assert_eq!(log.end_offset(), Offset(expected.len() as i64));
    drop((log, dirs));

    let broker = apache.start();
    assert_eq!(apache.consume(), expected);
    assert!(broker.terminate(LIMIT).code().is_some());
    apache.check_files();
}
