//! Kafka's own `kafka-topics` on our brokers: that of 2.8.2 over `--zookeeper`, that of 3.9.1 over
//! `--bootstrap-server`. Every step says on our brokers what it says on Apache's. And a topic's id outlives a
//! tool that knows of no ids.

use std::process::Command;

use client::znode::topic::{self, TopicAssignment};
use integration::apache::Release;
use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE, ottla};
use integration::observer::Observer;
use integration::process::{run, succeed};
use integration::wait;
use regex::Regex;
use serde_json::Value;

const TOOL_OF_3_9: &str = "org.apache.kafka.tools.TopicCommand";
/// Of 2.8 and of 0.8.
const OLD_TOOL: &str = "kafka.admin.TopicCommand";

/// Six brokers and the tools share the machine; one that loses its session to that leaves the ISR, and comes back at
/// its end.
const PATIENT: [(&str, &str); 1] = [("zookeeper.session.timeout.ms", "10000")];

/// One run of a tool.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    command: String,
    exit: Option<i32>,
    stdout: String,
}

#[test]
fn kafkas_tools_say_the_same_of_our_topics_as_of_apaches() {
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| {
            let cluster = ApacheCluster::start(3, &PATIENT);
            let addresses = (1..=3).map(|id| cluster.address(id)).collect();
            after_the_steps(addresses, cluster.zookeeper.connect_string())
        });
        let cluster = Cluster::start(3, &PATIENT);
        let addresses = cluster.ids().into_iter().map(|id| cluster.address(id)).collect();
        let ours = after_the_steps(addresses, cluster.zookeeper.connect_string());
        (ours, theirs.join().expect("the steps go well on Apache's brokers"))
    });

    let differences: Vec<String> = ours
        .iter()
        .zip(&theirs)
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(ours, theirs)| {
            let (command, our_exit, their_exit) = (&ours.command, ours.exit, theirs.exit);
            format!("{command}\nours: {our_exit:?}\n{}theirs: {their_exit:?}\n{}", ours.stdout, theirs.stdout)
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(ours.len(), theirs.len());
    println!("{} steps, all alike", ours.len());
}

/// Topics made, changed and deleted by both tools, each described by both.
fn after_the_steps(addresses: Vec<String>, zookeeper: String) -> Vec<Said> {
    let mut steps = Steps { bootstrap: addresses.join(","), addresses, zookeeper, said: Vec::new() };

    steps.by_2_8("--create --topic old --replica-assignment 1:2:3,2:3:1 --config retention.ms=86400000");
    steps.by_3_9("--create --topic new --replica-assignment 3:1:2,1:2:3 --config cleanup.policy=compact");
    steps.until("old", "two partitions", |topic| is_whole(topic, 2));
    steps.until("new", "two partitions", |topic| is_whole(topic, 2));
    steps.describe_by_both();

    steps.by_2_8("--alter --topic old --partitions 3 --replica-assignment 1:2:3,2:3:1,3:1:2");
    steps.until("old", "three partitions", |topic| is_whole(topic, 3));
    steps.by_3_9("--alter --topic old --partitions 4 --replica-assignment 1:2:3,2:3:1,3:1:2,1:3:2");
    steps.by_3_9("--alter --topic new --partitions 3 --replica-assignment 3:1:2,1:2:3,2:1:3");
    steps.by_2_8("--alter --topic new --config flush.ms=5000");
    steps.by_2_8("--alter --topic old --delete-config retention.ms");
    steps.until("old", "four partitions, and no configuration", |topic| {
        is_whole(topic, 4) && topic["configs"].as_object().is_some_and(|configs| configs.is_empty())
    });
    steps.until("new", "three partitions, and a configuration", |topic| {
        is_whole(topic, 3) && topic["configs"]["flush.ms"] == "5000"
    });
    steps.describe_by_both();
    steps.by_3_9("--describe --topics-with-overrides");
    steps.by_2_8("--describe --topics-with-overrides");

    steps.by_3_9("--create --topic old --partitions 1 --replication-factor 1");
    steps.by_2_8("--create --topic new --partitions 1 --replication-factor 1");
    steps.by_3_9("--create --topic wide --partitions 1 --replication-factor 4");
    steps.by_2_8("--create --topic wide --partitions 1 --replication-factor 4");
    steps.by_3_9("--create --topic wide --replica-assignment 1 --config retention.ms=-2");
    steps.by_3_9("--alter --topic old --partitions 2");
    steps.by_2_8("--alter --topic old --partitions 2");
    steps.by_3_9("--alter --topic old --partitions 6 --replica-assignment 1,1,1,1,1:9:2,2:3:1");
    steps.by_2_8(
        "--alter --topic old --partitions 6 --replica-assignment 1:2:9,1:2:9,1:2:9,1:2:9,1:2:9,2:3:1",
    );
    steps.by_3_9("--describe --topic nope");

    steps.by_2_8("--delete --topic new");
    steps.until_gone("new");
    steps.by_3_9("--delete --topic old");
    steps.until_gone("old");
    steps.by_3_9("--list");
    steps.by_2_8("--list");
    steps.said
}

struct Steps {
    bootstrap: String,
    addresses: Vec<String>,
    zookeeper: String,
    said: Vec<Said>,
}

impl Steps {
    /// The tool of Kafka 3.9.
    fn by_3_9(&mut self, arguments: &str) {
        let mut command = Release::V3_9.java(TOOL_OF_3_9);
        command.args(["--bootstrap-server", &self.bootstrap]);
        self.run(&format!("3.9.1: {arguments}"), command, arguments);
    }

    /// The tool of Kafka 2.8.
    fn by_2_8(&mut self, arguments: &str) {
        let mut command = Release::V2_8.java(OLD_TOOL);
        command.args(["--zookeeper", &self.zookeeper]);
        self.run(&format!("2.8.2: {arguments}"), command, arguments);
    }

    fn describe_by_both(&mut self) {
        for topic in ["old", "new"] {
            self.by_3_9(&format!("--describe --topic {topic}"));
            self.by_2_8(&format!("--describe --topic {topic}"));
        }
        self.by_3_9("--list");
        self.by_2_8("--list");
    }

    fn run(&mut self, title: &str, mut command: Command, arguments: &str) {
        let output = run(command.args(arguments.split(' ')), &[], PATIENCE * 2);
        let id = Regex::new("TopicId: [A-Za-z0-9_-]{22}").expect("the pattern is right");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        self.said.push(Said {
            command: title.to_owned(),
            exit: output.status.code(),
            stdout: id.replace_all(&stdout, "TopicId: #").into_owned(),
        });
    }

    /// Waits until every broker describes the topic so.
    fn until(&self, topic: &str, what: &str, is_so: impl Fn(&Value) -> bool) {
        for address in &self.addresses {
            wait::until(&format!("{topic} has {what} on {address}"), PATIENCE, || {
                described(address, topic).filter(|topic| is_so(topic))
            });
        }
    }

    fn until_gone(&self, topic: &str) {
        for address in &self.addresses {
            wait::until(&format!("{topic} is gone on {address}"), PATIENCE, || {
                described(address, topic).is_none().then_some(())
            });
        }
        let observer = Observer::connect(&self.zookeeper);
        wait::until(&format!("{topic} is gone in ZooKeeper"), PATIENCE, || {
            observer.get(&topic::path(topic)).is_none().then_some(())
        });
    }
}

/// What one broker says of a topic; `None` if it knows none of that name.
fn described(address: &str, topic: &str) -> Option<Value> {
    let mut command = Command::new(ottla());
    command.args(["topics", "--bootstrap-server", address, "--describe", "--if-exists"]);
    let json = succeed(command.args(["--topic", topic, "--output", "json"]), &[], PATIENCE);
    let document: Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{json}: {e}"));
    document["topics"].as_array().and_then(|topics| topics.first().cloned())
}

/// So many partitions, each led, and in sync on all its brokers.
fn is_whole(topic: &Value, count: usize) -> bool {
    let is_whole = |partition: &Value| {
        let length = |field: &str| partition[field].as_array().map(Vec::len);
        !partition["leader"].is_null() && length("isr") == length("replicas")
    };
    topic["partitions"].as_array().is_some_and(|list| list.len() == count && list.iter().all(is_whole))
}

#[test]
fn an_id_dropped_by_an_old_tool_is_put_back() {
    let cluster = Cluster::start(3, &[]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let id = create(&cluster, "t");

    let mut old_tool = Release::V0_8.java(OLD_TOOL);
    old_tool.args(["--zookeeper", &cluster.zookeeper.connect_string(), "--alter", "--topic", "t"]);
    let said = succeed(old_tool.args(["--partitions", "3"]), &[], PATIENCE);
    assert!(said.contains("Adding partitions succeeded!"), "{said}");

    assert_eq!(id_in_zookeeper(&observer, "t"), id);
    for broker in cluster.ids() {
        wait::until(&format!("broker {broker} has the partitions"), PATIENCE, || {
            described(&cluster.address(broker), "t")
                .filter(|topic| is_whole(topic, 3) && topic["topicId"] == id)
        });
    }
}

#[test]
fn an_id_dropped_while_all_brokers_were_away_is_put_back() {
    let mut cluster = Cluster::start(3, &[]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let id = create(&cluster, "t");

    for broker in cluster.ids() {
        cluster.kill(broker);
    }
    let old_form = r#"{"version":1,"partitions":{"0":[1,2,3],"1":[2,3,1]}}"#;
    observer
        .with(async |session| session.set(&topic::path("t"), old_form, None).await)
        .expect("the node can be written");
    for broker in cluster.ids() {
        cluster.start_broker(broker);
    }
    cluster.wait_until_serving();
    assert_eq!(id_in_zookeeper(&observer, "t"), id);
}

#[test]
fn an_id_dropped_between_two_controllers_is_put_back() {
    let mut cluster = Cluster::start(3, &[]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let id = create(&cluster, "t");

    let controller = wait::until("there is a controller", PATIENCE, || observer.controller());
    cluster.kill(controller);
    let old_form = r#"{"version":1,"partitions":{"0":[1,2,3],"1":[2,3,1]}}"#;
    observer
        .with(async |session| session.set(&topic::path("t"), old_form, None).await)
        .expect("the node can be written");

    assert_eq!(id_in_zookeeper(&observer, "t"), id);
    cluster.start_broker(controller);
    cluster.wait_until_serving();
    for broker in cluster.ids() {
        wait::until(&format!("broker {broker} knows the topic by its id"), PATIENCE, || {
            described(&cluster.address(broker), "t")
                .filter(|topic| is_whole(topic, 2) && topic["topicId"] == id)
        });
    }
}

/// A topic of two partitions on all brokers; its id.
fn create(cluster: &Cluster, topic: &str) -> String {
    let mut command = Command::new(ottla());
    command.args(["topics", "--bootstrap-server", &cluster.bootstrap(), "--create", "--topic", topic]);
    succeed(command.args(["--replica-assignment", "1:2:3,2:3:1"]), &[], PATIENCE);
    let found = wait::until("the topic is whole on every broker", PATIENCE, || {
        let on_each: Option<Vec<Value>> =
            cluster.ids().into_iter().map(|id| described(&cluster.address(id), topic)).collect();
        on_each.filter(|topics| topics.iter().all(|topic| is_whole(topic, 2)))
    });
    found[0]["topicId"].as_str().expect("a topic has an id").to_owned()
}

/// The id that the topic's node has, once it has one.
fn id_in_zookeeper(observer: &Observer, name: &str) -> String {
    wait::until("the topic's node has an id", PATIENCE, || {
        let node = observer.get(&topic::path(name)).expect("the topic exists");
        TopicAssignment::decode(&node.data).expect("the node can be read").topic_id
    })
    .to_string()
}
