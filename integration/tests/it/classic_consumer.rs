//! The consumers that live without a group coordinator: the simple one, and the classic high-level one that
//! shares groups with Kafka 0.8.2.2's own.

mod assignment;
mod group;
mod interop;
mod offsets_with_brokers;
mod simple;
mod znodes;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::admin::{Admin, AdminOptions, Bootstrap, NewTopic, Placement};
use client::consumer::{
    AutoOffsetReset, ClassicConfig, ClassicConsumer, ClassicStream, ClassicStreamError, Subscription,
};
use client::ids::TopicPartition;
use futures::StreamExt;
use integration::apache::Release;
use integration::cluster::{Cluster, PATIENCE};
use integration::observer::Observer;
use integration::process::Process;
use integration::wait;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SESSION: Duration = Duration::from_millis(4_000);

/// Three brokers, one topic, and a runtime for what is async.
struct Bench {
    cluster: Cluster,
    runtime: Runtime,
    topic: &'static str,
}

impl Bench {
    fn start(brokers: i32, topic: &'static str, partitions: i32) -> Bench {
        let cluster = Cluster::start(brokers, &[]);
        let runtime = Runtime::new().expect("a runtime can be made");
        let bench = Bench { cluster, runtime, topic };
        bench.create(topic, partitions, brokers);
        bench
    }

    fn create(&self, topic: &str, partitions: i32, replicas: i32) {
        let replication_factor = i16::try_from(replicas).ok();
        let new = NewTopic {
            name: topic.to_owned(),
            placement: Placement::Counts { partitions: Some(partitions), replication_factor },
            configs: BTreeMap::default(),
        };
        let servers = self.cluster.bootstrap();
        self.wait(async {
            let bootstrap = Bootstrap::resolve(&servers).await.expect("an address is an address");
            Admin::new(bootstrap, AdminOptions::default()).create_topic(&new).await
        })
        .expect("the topic can be created");
    }

    fn zookeeper(&self) -> String {
        self.cluster.zookeeper.connect_string()
    }

    fn observer(&self) -> Observer {
        Observer::connect(&self.zookeeper())
    }

    #[track_caller]
    fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(PATIENCE, what).await }).expect("it happens in time")
    }

    fn config(&self, zookeeper: &str, group: &str) -> ClassicConfig {
        ClassicConfig {
            session_timeout: SESSION,
            auto_commit_interval: Duration::from_millis(300),
            rebalance_backoff: Duration::from_millis(1_000),
            auto_offset_reset: AutoOffsetReset::Smallest,
            ..ClassicConfig::new(zookeeper, group)
        }
    }

    /// A member of ours in this process, with one stream of the topic.
    fn join(&self, config: ClassicConfig) -> Ours {
        let (consumer, mut streams) = self
            .wait(ClassicConsumer::start(config, Subscription::topics([(self.topic, 1)])))
            .expect("the group can be joined");
        let seen = Arc::new(Seen::default());
        let reading = self.runtime.spawn(read(streams.remove(0), Arc::clone(&seen)));
        Ours { consumer, seen, reading }
    }

    /// A member by Kafka 0.8.2.2.
    fn join_kafkas(&self, name: &str, group: &str, topic_flags: &[&str]) -> Kafkas {
        Kafkas::start(self.cluster.folder(), name, &self.zookeeper(), group, topic_flags)
    }

    /// The owner of each partition, as far as they have one.
    fn owners(&self, observer: &Observer, group: &str, topic: &str) -> BTreeMap<i32, String> {
        let directory = format!("/consumers/{group}/owners/{topic}");
        let partitions = observer.children(&directory);
        let owner = |partition: &String| {
            let node = observer.get(&format!("{directory}/{partition}"))?;
            let consumer = String::from_utf8_lossy(&node.data).rsplit_once('-')?.0.to_owned();
            Some((partition.parse().ok()?, consumer))
        };
        partitions.iter().filter_map(owner).collect()
    }

    /// Waits until so many members share all partitions.
    #[track_caller]
    fn wait_for_owners(&self, observer: &Observer, group: &str, partitions: usize, members: usize) {
        wait::until(&format!("{members} members own {partitions} partitions"), PATIENCE, || {
            let owners = self.owners(observer, group, self.topic);
            let consumers: BTreeSet<&String> = owners.values().collect();
            (owners.len() == partitions && consumers.len() == members).then_some(())
        });
    }
}

/// A member of ours, and what it was given.
struct Ours {
    consumer: ClassicConsumer,
    seen: Arc<Seen>,
    reading: JoinHandle<()>,
}

impl Ours {
    fn values(&self) -> BTreeSet<String> {
        self.seen.values.lock().expect("no panic under this lock").clone()
    }
}

#[derive(Default)]
struct Seen {
    values: Mutex<BTreeSet<String>>,
    /// Positions already given that were given again, without the stream having lost the partition.
    last: Mutex<BTreeMap<TopicPartition, i64>>,
}

async fn read(mut stream: ClassicStream, seen: Arc<Seen>) {
    while let Some(record) = stream.next().await {
        match record {
            Ok(record) => {
                let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
                seen.last
                    .lock()
                    .expect("no panic under this lock")
                    .insert(record.topic_partition(), record.offset.0);
                seen.values.lock().expect("no panic under this lock").insert(value);
            }
            Err(ClassicStreamError::Read(error)) => panic!("the stream cannot go on: {error}"),
            Err(ClassicStreamError::Timeout { .. }) => panic!("no timeout was asked for"),
        }
    }
}

/// Kafka 0.8.2.2's console consumer as a member.
struct Kafkas {
    process: Process,
}

impl Kafkas {
    fn start(folder: &Path, name: &str, zookeeper: &str, group: &str, topic_flags: &[&str]) -> Kafkas {
        let settings = settings(folder, name, group);
        let mut command = Release::V0_8.java("kafka.tools.ConsoleConsumer");
        command.args(["--zookeeper", zookeeper, "--consumer.config"]).arg(settings).args(topic_flags);
        Kafkas { process: Process::start(&mut command, &folder.join(format!("{name}.out"))) }
    }

    /// The numbered values it has printed.
    fn values(&self) -> BTreeSet<String> {
        let output = self.process.output();
        let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .filter(|line| line.bytes().all(|byte| byte.is_ascii_digit()))
            .map(str::to_owned)
            .collect()
    }
}

fn settings(folder: &Path, name: &str, group: &str) -> PathBuf {
    let path = folder.join(format!("{name}.properties"));
    let text = format!(
        "group.id={group}\nauto.offset.reset=smallest\nauto.commit.interval.ms=300\n\
         zookeeper.session.timeout.ms={}\nzookeeper.connection.timeout.ms=20000\n",
        SESSION.as_millis()
    );
    std::fs::write(&path, text).expect("a file can be written");
    path
}

/// Looks at a group's committed offsets all the time, and finds those that go back.
struct Offsets {
    stop: Arc<AtomicBool>,
    watching: std::thread::JoinHandle<BTreeMap<i32, i64>>,
}

impl Offsets {
    fn watch(zookeeper: &str, group: &str, topic: &str, partitions: i32) -> Offsets {
        let stop = Arc::new(AtomicBool::new(false));
        let observer = Observer::connect(zookeeper);
        let (until, directory) = (Arc::clone(&stop), format!("/consumers/{group}/offsets/{topic}"));
        let watching = std::thread::spawn(move || {
            let mut greatest: BTreeMap<i32, i64> = BTreeMap::new();
            while !until.load(Ordering::Relaxed) {
                for partition in 0..partitions {
                    let Some(node) = observer.get(&format!("{directory}/{partition}")) else { continue };
                    let text = String::from_utf8_lossy(&node.data);
                    let offset: i64 = text.parse().unwrap_or_else(|_| panic!("{text} is no offset"));
                    let before = greatest.insert(partition, offset).unwrap_or(i64::MIN);
                    assert!(before <= offset, "partition {partition} went back from {before} to {offset}");
                }
            }
            greatest
        });
        Offsets { stop, watching }
    }

    /// What was committed last.
    fn finish(self) -> BTreeMap<i32, i64> {
        self.stop.store(true, Ordering::Relaxed);
        self.watching.join().expect("no offset went back")
    }
}
