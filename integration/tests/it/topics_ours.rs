//! What `ottla topics` does beyond Kafka's `kafka-topics`.

use std::process::{Command, Output};

use integration::cluster::{Cluster, PATIENCE, ottla};
use integration::observer::Observer;
use integration::process::{run, succeed};
use integration::wait;
use integration::zookeeper::ZooKeeper;
use serde_json::{Value, json};

fn topics(arguments: &[&str]) -> Command {
    let mut command = Command::new(ottla());
    command.arg("topics").args(arguments);
    command
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// JSON on stdout.
fn document(arguments: &[&str]) -> Value {
    let text = succeed(topics(arguments).args(["--output", "json"]), &[], PATIENCE);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Takes the ids out, each of which has to be one.
fn take_ids(document: &mut Value) -> Vec<Value> {
    let topics = document["topics"].as_array_mut().expect("there is a list of topics");
    let ids: Vec<Value> = topics.iter_mut().map(|topic| topic["topicId"].take()).collect();
    assert!(ids.iter().all(|id| id.as_str().is_some_and(|id| id.len() == 22)), "{ids:?}");
    ids
}

#[test]
fn json_is_the_same_over_brokers_and_over_zookeeper() {
    let cluster = Cluster::start(3, &[]);
    let over_brokers = ["--bootstrap-server", &cluster.bootstrap()];
    let over_zookeeper = ["--zookeeper", &cluster.zookeeper.connect_string()];
    let with = |over: [&str; 2], more: &[&'static str]| document(&[&over[..], more].concat());
    for arguments in [
        ["--topic", "b", "--replica-assignment", "1:2,2:9", "--config", "retention.ms=1000"],
        ["--topic", "a", "--replica-assignment", "3:1:2", "--config", "cleanup.policy=compact,delete"],
    ] {
        succeed(topics(&over_brokers).arg("--create").args(arguments), &[], PATIENCE);
    }

    let mut listed = with(over_brokers, &["--list"]);
    assert_eq!(listed, with(over_zookeeper, &["--list"]));
    let ids = take_ids(&mut listed);
    let entry =
        |name: &str| json!({"name": name, "topicId": null, "internal": false, "markedForDeletion": false});
    assert_eq!(listed, json!({"version": 1, "topics": [entry("a"), entry("b")]}));

    let partition = |number: i32, leader: i32, replicas: &[i32], isr: &[i32]| {
        json!({"partition": number, "leader": leader, "replicas": replicas, "isr": isr,
               "addingReplicas": [], "removingReplicas": []})
    };
    let topic = |name: &str, factor: i32, configs: Value, partitions: &[Value]| {
        json!({"name": name, "topicId": null, "partitionCount": partitions.len(),
               "replicationFactor": factor, "configs": configs, "markedForDeletion": false,
               "partitions": partitions})
    };
    let a = topic(
        "a",
        3,
        json!({"cleanup.policy": "compact,delete"}),
        &[partition(0, 3, &[3, 1, 2], &[3, 1, 2])],
    );
    let (b0, b1) = (partition(0, 1, &[1, 2], &[1, 2]), partition(1, 2, &[2, 9], &[2]));
    let b = topic("b", 2, json!({"retention.ms": "1000"}), &[b0, b1.clone()]);
    for over in [over_brokers, over_zookeeper] {
        let mut described = with(over, &["--describe"]);
        assert_eq!(take_ids(&mut described), ids);
        assert_eq!(described, json!({"version": 1, "topics": [a, b]}));

        let mut lacking = with(over, &["--describe", "--under-replicated-partitions"]);
        take_ids(&mut lacking);
        let mut only_b = b.clone();
        only_b["partitions"] = json!([b1]);
        assert_eq!(lacking, json!({"version": 1, "topics": [only_b]}));

        let overrides = with(over, &["--describe", "--topic", "a", "--topics-with-overrides"]);
        assert_eq!(overrides["topics"][0].get("partitions"), None);
        assert_eq!(
            with(over, &["--describe", "--topic", "c", "--if-exists"]),
            json!({"version": 1, "topics": []})
        );
    }

    // As a reassignment leaves the node while it is under way.
    let moving = br#"{"partitions":{"0":[3,1,2]},"adding_replicas":{"0":[3]},"removing_replicas":{"0":[2]},"version":3}"#;
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    observer
        .with(async |session| session.create_recursive("/elsewhere/brokers/topics/m", moving).await)
        .expect("the node can be written");
    let elsewhere = format!("{}/elsewhere", cluster.zookeeper.connect_string());
    let described = with(["--zookeeper", &elsewhere], &["--describe"]);
    let (topic, partition) = (&described["topics"][0], &described["topics"][0]["partitions"][0]);
    assert_eq!((&topic["topicId"], &topic["replicationFactor"]), (&Value::Null, &json!(2)));
    assert_eq!((&partition["addingReplicas"], &partition["removingReplicas"]), (&json!([3]), &json!([2])));

    let nothing = ["--describe", "--topic", "c", "--output", "json"];
    let failed = run(topics(&over_brokers).args(nothing), &[], PATIENCE);
    let text = "Error while executing topic command : Topic 'Optional[c]' does not exist as expected\n";
    assert_eq!(said(&failed), (Some(1), String::new(), text.to_owned()));
}

/// Kafka's brokers and its tools take such a topic, and its controller cannot go on then.
#[test]
fn a_partition_without_replicas_is_refused() {
    let cluster = Cluster::start(1, &[]);
    let create = ["--create", "--topic", "t", "--replica-assignment", ":"];
    for over in
        [["--bootstrap-server", &cluster.bootstrap()], ["--zookeeper", &cluster.zookeeper.connect_string()]]
    {
        let refused = said(&run(topics(&over).args(create), &[], PATIENCE));
        let text =
            "Error while executing topic command : Cannot have replication factor of 0 for partition id 0.\n";
        assert_eq!(refused, (Some(1), text.to_owned(), String::new()), "{over:?}");
        assert_eq!(document(&[&over[..], &["--list"]].concat())["topics"], json!([]));
    }
}

#[test]
fn one_living_bootstrap_server_is_enough() {
    let mut cluster = Cluster::start(3, &[]);
    let bootstrap = cluster.bootstrap();
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let controller = wait::until("there is a controller", PATIENCE, || observer.controller());
    cluster.terminate(controller);
    let create = ["--bootstrap-server", &bootstrap, "--create", "--topic", "t", "--partitions", "1"];
    assert_eq!(succeed(&mut topics(&create), &[], PATIENCE), "Created topic t.\n");
    assert_eq!(succeed(&mut topics(&["--bootstrap-server", &bootstrap, "--list"]), &[], PATIENCE), "t\n");
}

#[test]
fn a_chroot_that_is_missing_stays_missing() {
    let zookeeper = ZooKeeper::start();
    let connect = format!("{}/nobody/here", zookeeper.connect_string());
    let at = ["--zookeeper", connect.as_str()];
    assert_eq!(succeed(topics(&at).arg("--list"), &[], PATIENCE), "");
    let create = ["--create", "--topic", "t", "--replica-assignment", "1"];
    let refused = run(topics(&at).args(create), &[], PATIENCE);
    let text = "Error while executing topic command : ZooKeeper has no node /nobody/here, which --zookeeper \
                names as the chroot\n";
    assert_eq!(said(&refused), (Some(1), text.to_owned(), String::new()));
    assert_eq!(Observer::connect(&zookeeper.connect_string()).children("/"), ["zookeeper"]);
}
