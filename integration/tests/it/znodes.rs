//! The same steps on our brokers and on Apache's leave the same znodes: the same paths, and in each the
//! same JSON keys with the same types.

use std::collections::{BTreeMap, BTreeSet};

use integration::apache::Release;
use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE};
use integration::observer::Observer;
use integration::process::succeed;
use integration::wait;
use serde_json::Value;

#[test]
fn the_znode_tree_is_that_of_apache() {
    let apache = ApacheCluster::start(3, &[]);
    let theirs = after_the_steps(&apache.bootstrap(), &apache.zookeeper.connect_string());
    drop(apache);
    let ours = {
        let cluster = Cluster::start(3, &[]);
        after_the_steps(&cluster.bootstrap(), &cluster.zookeeper.connect_string())
    };

    let paths = |tree: &BTreeMap<String, String>| tree.keys().cloned().collect::<BTreeSet<_>>();
    let (our_paths, their_paths) = (paths(&ours), paths(&theirs));
    assert_eq!(
        our_paths.difference(&their_paths).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "only ours has these"
    );
    assert_eq!(
        their_paths.difference(&our_paths).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "ours lacks these"
    );
    for (path, shape) in &theirs {
        assert_eq!(&ours[path], shape, "the shape of {path}");
    }
    println!("{} znodes, all of the same shape", theirs.len());
}

/// Topics made, grown, configured and deleted; then the tree.
fn after_the_steps(bootstrap: &str, zookeeper: &str) -> BTreeMap<String, String> {
    let observer = Observer::connect(zookeeper);
    let topics = |arguments: &[&str]| {
        let mut command = Release::V3_9.java("org.apache.kafka.tools.TopicCommand");
        succeed(command.args(["--bootstrap-server", bootstrap]).args(arguments), &[], PATIENCE);
    };
    topics(&["--create", "--topic", "plain", "--partitions", "2", "--replication-factor", "3"]);
    topics(&[
        "--create",
        "--topic",
        "placed",
        "--replica-assignment",
        "1:2,2:3",
        "--config",
        "retention.ms=86400000",
    ]);
    topics(&["--alter", "--topic", "plain", "--partitions", "4"]);
    topics(&["--create", "--topic", "gone", "--partitions", "1", "--replication-factor", "2"]);
    topics(&["--delete", "--topic", "gone"]);
    let mut old_tool = Release::V2_8.java("kafka.admin.TopicCommand");
    old_tool.args(["--zookeeper", zookeeper, "--create", "--topic", "old", "--partitions", "1"]);
    succeed(old_tool.args(["--replication-factor", "2"]), &[], PATIENCE);
    let mut old_config = Release::V2_8.java("kafka.admin.ConfigCommand");
    old_config.args([
        "--zookeeper",
        zookeeper,
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        "plain",
    ]);
    succeed(old_config.args(["--add-config", "max.message.bytes=2000000"]), &[], PATIENCE);

    wait::until("the topics are as asked", PATIENCE, || {
        let ready = |topic: &str, count: usize| {
            observer.states(topic, count).is_some_and(|states| states.iter().all(|s| s.leader != -1))
        };
        let deleted = observer.children("/brokers/topics").iter().all(|t| t != "gone")
            && observer.children("/admin/delete_topics").is_empty();
        (ready("plain", 4) && ready("placed", 2) && ready("old", 1) && deleted).then_some(())
    });
    tree(&observer)
}

/// Every path but ZooKeeper's own and `/ottla`, sequence numbers masked, with the shape of its data.
fn tree(observer: &Observer) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![String::from("/")];
    while let Some(path) = open.pop() {
        for name in observer.children(&path) {
            let child = format!("{}/{name}", path.trim_end_matches('/'));
            if child == "/zookeeper" || child == "/ottla" {
                continue;
            }
            let data = observer.get(&child).map(|node| node.data).unwrap_or_default();
            found.insert(masked(&child), shape(&data));
            open.push(child);
        }
    }
    found
}

/// `config_change_0000000042` → `config_change_#`.
fn masked(path: &str) -> String {
    let digits = path.len() - path.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    match digits {
        10 => format!("{}#", &path[..path.len() - 10]),
        _ => path.to_string(),
    }
}

fn shape(data: &[u8]) -> String {
    if data.is_empty() {
        return "nothing".into();
    }
    serde_json::from_slice(data).map_or_else(|_| "text".into(), |value| shape_of(&value))
}

fn shape_of(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => {
            let kinds: BTreeSet<String> = items.iter().map(shape_of).collect();
            format!("[{}]", kinds.into_iter().collect::<Vec<_>>().join("|"))
        }
        Value::Object(fields) => {
            let mut keys: Vec<String> = fields.iter().map(|(k, v)| format!("{k}:{}", shape_of(v))).collect();
            keys.sort();
            format!("{{{}}}", keys.join(","))
        }
    }
}
