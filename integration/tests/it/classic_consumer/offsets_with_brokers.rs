//! Offsets that a classic group keeps with the brokers (`offsets.storage=kafka`), ours and Kafka 0.8.2.2's consumer
//! in turn.

use std::path::Path;

use client::consumer::{ClassicConfig, ClassicConsumer, Subscription};
use client::zk::{Session, ZkConfig};
use client::znode::consumer::offset_path;
use futures::StreamExt;
use integration::apache::Release;
use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE};
use integration::foreign::produce_with_rdkafka;
use integration::observer::Observer;
use integration::process::succeed;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;

#[test]
fn apaches_brokers_keep_the_offsets_of_both() {
    let cluster = ApacheCluster::start(1, &[("offsets.topic.num.partitions", "5")]);
    for dual in [false, true] {
        let stage = Stage::set(cluster.bootstrap(), cluster.zookeeper.connect_string(), dual);
        stage.take_turns();
        let in_zookeeper = stage.in_zookeeper();
        assert_eq!(in_zookeeper.as_deref(), dual.then_some("30"), "dual.commit.enabled={dual}");
        if dual {
            stage.the_larger_counts();
        }
    }
}

#[test]
fn our_brokers_keep_the_offsets_of_both() {
    let cluster = Cluster::start(1, &[("offsets.topic.replication.factor", "1")]);
    for dual in [false, true] {
        let stage = Stage::set(cluster.bootstrap(), cluster.zookeeper.connect_string(), dual);
        stage.take_turns();
        // Whoever is asked to keep them, our brokers keep them there.
        assert_eq!(stage.in_zookeeper().as_deref(), Some("30"), "dual.commit.enabled={dual}");
    }
}

/// A group, and a topic that only it reads.
struct Stage {
    bootstrap: String,
    zookeeper: String,
    name: &'static str,
    dual: bool,
    folder: TempDir,
    runtime: Runtime,
}

impl Stage {
    fn set(bootstrap: String, zookeeper: String, dual: bool) -> Stage {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let runtime = Runtime::new().expect("a runtime can be made");
        let name = if dual { "twice" } else { "once" };
        Stage { bootstrap, zookeeper, name, dual, folder, runtime }
    }

    /// Each begins where the other has ended.
    fn take_turns(&self) {
        self.produce(0..10);
        assert_eq!(self.read_by_ours(10), values(0..10));
        self.produce(10..20);
        assert_eq!(self.read_by_theirs(10), values(10..20));
        self.produce(20..30);
        assert_eq!(self.read_by_ours(10), values(20..30));
    }

    fn the_larger_counts(&self) {
        self.set_in_zookeeper("7");
        self.produce(30..40);
        assert_eq!(self.read_by_ours(5), values(30..35), "the brokers have the larger one");
        self.set_in_zookeeper("38");
        assert_eq!(self.read_by_theirs(1), values(38..39), "ZooKeeper has the larger one");
        self.set_in_zookeeper("39");
        assert_eq!(self.read_by_ours(1), values(39..40), "ZooKeeper has the larger one, or as large a one");
    }

    fn produce(&self, range: std::ops::Range<i32>) {
        produce_with_rdkafka(&self.bootstrap, self.name, &values(range));
    }

    fn properties(&self) -> [(&'static str, String); 6] {
        [
            ("zookeeper.connect", self.zookeeper.clone()),
            ("group.id", self.name.to_owned()),
            ("auto.offset.reset", "smallest".to_owned()),
            ("offsets.storage", "kafka".to_owned()),
            ("dual.commit.enabled", self.dual.to_string()),
            ("zookeeper.connection.timeout.ms", "20000".to_owned()),
        ]
    }

    fn read_by_ours(&self, count: usize) -> Vec<String> {
        let config = ClassicConfig::from_properties(self.properties()).expect("the properties are right");
        let reading = async {
            let subscription = Subscription::topics([(self.name, 1)]);
            let (consumer, mut streams) =
                ClassicConsumer::start(config, subscription).await.expect("it joins");
            let mut values = Vec::new();
            while values.len() < count {
                let record = streams[0].next().await.expect("the stream goes on").expect("a record");
                values
                    .push(String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned());
            }
            consumer.close().await.expect("the offsets are committed");
            values
        };
        self.runtime.block_on(async { timeout(PATIENCE, reading).await }).expect("the records come")
    }

    fn read_by_theirs(&self, count: usize) -> Vec<String> {
        let settings = self.folder.path().join("settings.properties");
        write_properties(&settings, &self.properties());
        let mut command = Release::V0_8.java("kafka.tools.ConsoleConsumer");
        command
            .args(["--zookeeper", &self.zookeeper, "--topic", self.name, "--consumer.config"])
            .arg(settings);
        let said = succeed(command.args(["--max-messages", &count.to_string()]), &[], PATIENCE);
        said.lines().map(str::to_owned).collect()
    }

    fn path(&self) -> String {
        offset_path(self.name, self.name, 0)
    }

    fn in_zookeeper(&self) -> Option<String> {
        let node = Observer::connect(&self.zookeeper).get(&self.path())?;
        Some(String::from_utf8_lossy(&node.data).into_owned())
    }

    fn set_in_zookeeper(&self, offset: &str) {
        self.runtime.block_on(async {
            let session =
                Session::connect(ZkConfig::new(self.zookeeper.clone())).await.expect("ZooKeeper answers");
            session.set_or_create(&self.path(), offset).await.expect("it can be written");
            session.close().await;
        });
    }
}

fn write_properties(path: &Path, properties: &[(&str, String)]) {
    let text: String = properties.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    std::fs::write(path, text).expect("a file can be written");
}

fn values(range: std::ops::Range<i32>) -> Vec<String> {
    range.map(|number| format!("{number:04}")).collect()
}
