//! A compacted topic on three brokers, under a keyed load, with brokers killed while they compact: every replica ends
//! with the last value of each key, and without the keys that were deleted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use client::record::compression::DEFAULT_DECOMPRESSED_MAX_BYTES;
use client::record::{batches, payload, records};
use integration::cluster::{Cluster, PATIENCE, ottla};
use integration::observer::Observer;
use integration::process::succeed;
use integration::wait;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

const TOPIC: &str = "keyed";
const PARTITIONS: usize = 3;
const KEYS: usize = 60;
/// Keys that are deleted in the end.
const DELETED: usize = 20;
/// Small segments, compacted at once and slowly, so that a kill finds a compaction under way.
const SETTINGS: &[(&str, &str)] = &[
    ("min.insync.replicas", "2"),
    ("log.cleanup.policy", "compact"),
    ("log.segment.bytes", "16384"),
    ("log.cleaner.min.cleanable.ratio", "0.01"),
    ("log.cleaner.delete.retention.ms", "500"),
    ("log.cleaner.backoff.ms", "100"),
    ("log.cleaner.io.max.bytes.per.second", "150000"),
];

/// A value's end, of the length of a small event.
const PADDING: &str = "................................................................";

struct Failures(Arc<AtomicUsize>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result
            && self.0.fetch_add(1, Ordering::Relaxed) == 0
        {
            eprintln!("the first record given up: {error}");
        }
    }
}

/// Writes values to keys with acks=all, and knows the last of each.
struct Writer {
    producer: ThreadedProducer<Failures>,
    failures: Arc<AtomicUsize>,
    last: BTreeMap<String, String>,
    written_bytes: usize,
    round: usize,
}

impl Writer {
    fn new(bootstrap: &str) -> Writer {
        let failures = Arc::default();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            // No batch may be larger than a segment.
            .set("batch.size", "8000")
            .set("message.timeout.ms", "120000")
            .set("reconnect.backoff.max.ms", "200")
            .set("topic.metadata.refresh.interval.ms", "5000")
            .create_with_context(Failures(Arc::clone(&failures)))
            .expect("the settings are right");
        Writer { producer, failures, last: BTreeMap::new(), written_bytes: 0, round: 0 }
    }

    /// One value for each of these keys.
    fn write(&mut self, keys: std::ops::Range<usize>) {
        self.round += 1;
        for key in keys {
            let (key, value) = (format!("key {key}"), format!("{} {PADDING}", self.round));
            self.send(&key, Some(&value));
            self.last.insert(key, value);
        }
    }

    fn delete(&mut self, keys: std::ops::Range<usize>) {
        for key in keys {
            let key = format!("key {key}");
            self.send(&key, None);
            self.last.remove(&key);
        }
    }

    fn send(&mut self, key: &str, value: Option<&str>) {
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to(TOPIC).key(key);
        record.payload = value;
        assert!(self.producer.send(record).is_ok(), "the producer's queue is large enough");
        self.written_bytes += key.len() + value.map_or(0, str::len);
    }

    /// All that was written is acknowledged.
    fn settle(&self) {
        self.producer.flush(PATIENCE).expect("every record meets its fate");
        assert_eq!(self.failures.load(Ordering::Relaxed), 0, "no record was given up");
    }
}

fn files(data: &Path, suffix: &str) -> Vec<PathBuf> {
    let dirs = (0..PARTITIONS).map(|partition| data.join(format!("{TOPIC}-{partition}")));
    let entries = dirs.filter_map(|dir| std::fs::read_dir(dir).ok()).flatten();
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    files.sort();
    files
}

/// The last value of each key in a broker's logs, as far as they can be read while it runs, and their bytes.
fn contents(data: &Path) -> (BTreeMap<String, Option<String>>, usize) {
    let (mut last, mut bytes_of_all) = (BTreeMap::new(), 0);
    for file in files(data, ".log") {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        bytes_of_all += bytes.len();
        for batch in batches(&bytes) {
            let (Some(header), Ok(payload)) =
                (batch.header(), payload(&batch, DEFAULT_DECOMPRESSED_MAX_BYTES))
            else {
                continue;
            };
            for record in records(header, &payload).map_while(Result::ok) {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                last.insert(record.key.map(text).unwrap_or_default(), record.value.map(text));
            }
        }
    }
    (last, bytes_of_all)
}

fn wait_until_whole(observer: &Observer) {
    wait::until("the ISR is whole", PATIENCE, || {
        let states = observer.states(TOPIC, PARTITIONS)?;
        states.iter().all(|state| state.leader != -1 && state.isr.len() == 3).then_some(())
    });
}

#[test]
fn replicas_killed_while_they_compact_keep_the_last_value_of_each_key() {
    let mut cluster = Cluster::start(3, SETTINGS);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let partitions = PARTITIONS.to_string();
    let mut create = Command::new(ottla());
    create.args(["topics", "--bootstrap-server", &cluster.bootstrap(), "--create", "--topic", TOPIC]);
    create.args(["--partitions", &partitions, "--replication-factor", "3"]);
    succeed(&mut create, &[], PATIENCE);
    wait_until_whole(&observer);

    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (mut writer, stop) = (Writer::new(&cluster.bootstrap()), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                writer.write(0..KEYS);
                std::thread::sleep(Duration::from_millis(50));
            }
            writer.settle();
            writer
        })
    };
    for victim in cluster.ids().into_iter().take(2) {
        let data = cluster.data(victim);
        wait::until("the victim compacts", PATIENCE, || (!files(&data, ".cleaned").is_empty()).then_some(()));
        cluster.kill(victim);
        cluster.start_broker(victim);
        cluster.wait_until_serving();
        wait_until_whole(&observer);
    }
    stop.store(true, Ordering::Relaxed);
    let mut writer = load.join().expect("the load goes on");

    writer.delete(0..DELETED);
    let ids = cluster.ids();
    let is_deleted = |key: &str| (0..DELETED).any(|n| key == format!("key {n}"));
    wait::until("the tombstones are gone from every replica", PATIENCE, || {
        // Tombstones are compacted once their segment is rolled, and again when their time has come.
        writer.write(DELETED..KEYS);
        writer.settle();
        ids.iter().all(|id| !contents(&cluster.data(*id)).0.keys().any(|key| is_deleted(key))).then_some(())
    });
    wait_until_whole(&observer);
    for id in &ids {
        cluster.terminate(*id);
    }

    let expected: BTreeMap<String, Option<String>> =
        writer.last.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    for id in ids {
        let (last, bytes) = contents(&cluster.data(id));
        assert_eq!(last, expected, "broker {id}");
        assert!(
            bytes < writer.written_bytes / 2,
            "broker {id} holds {bytes} bytes of {}",
            writer.written_bytes
        );
        let checkpoint = std::fs::read_to_string(cluster.data(id).join("cleaner-offset-checkpoint"));
        let checkpoint = checkpoint.expect("the cleaner's checkpoint");
        assert_eq!(checkpoint.lines().count(), 2 + PARTITIONS, "broker {id}: {checkpoint}");
        assert!(!cluster.log(id).contains("cannot be compacted"), "broker {id}");
    }
}
