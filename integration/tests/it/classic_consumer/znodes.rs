//! What a classic group leaves in ZooKeeper, step by step, by Kafka 0.8.2.2's consumer and by ours.

use std::collections::BTreeMap;
use std::time::Duration;

use client::consumer::{ClassicConfig, ClassicConsumer, Subscription};
use client::topic_filter::TopicFilter;
use futures::StreamExt;
use integration::cluster::PATIENCE;
use integration::foreign::produce_with_kcat;
use integration::observer::Observer;
use integration::wait;
use regex::Regex;

use super::Bench;

const TOPIC: &str = "logged";
const PARTITIONS: i32 = 2;
/// What both members are told to read: a list, as the console consumer always reads by one.
const PATTERN: &str = "logged,zz.*";

/// Each node below the group's: its data, its data version, whether it is ephemeral.
type Tree = BTreeMap<String, (String, i32, bool)>;

#[test]
fn a_group_is_written_as_kafka_writes_it() {
    let bench = Bench::start(1, TOPIC, PARTITIONS);
    let send = |count: usize| {
        for partition in ["0", "1"] {
            let values = vec![String::from("value"); count];
            produce_with_kcat(&bench.cluster.bootstrap(), TOPIC, &values, &["-p", partition]);
        }
    };
    let observer = bench.observer();
    send(3);

    let kafkas = bench.join_kafkas("theirs", "theirs", &["--whitelist", PATTERN]);
    let their_first = committed(&observer, "theirs", "3");
    let config = ClassicConfig { consumer_id: None, ..bench.config(&bench.zookeeper(), "ours") };
    let filter = TopicFilter::new(PATTERN).expect("it is a pattern");
    let (consumer, mut streams) = bench
        .wait(ClassicConsumer::start(config, Subscription::WhiteList(filter, 1)))
        .expect("the group can be joined");
    let mut stream = streams.remove(0);
    bench.runtime.spawn(async move { while stream.next().await.is_some() {} });
    let our_first = committed(&observer, "ours", "3");
    compare("after the first commit", &our_first, &their_first);
    assert_eq!(their_first.len(), 11, "{their_first:#?}");

    send(2);
    let their_second = committed(&observer, "theirs", "5");
    let our_second = committed(&observer, "ours", "5");
    compare("after the second commit", &our_second, &their_second);

    kafkas.process.terminate(Duration::from_secs(30));
    bench.wait(consumer.close()).expect("the consumer leaves its group");
    let [ours, theirs] = ["ours", "theirs"].map(|group| {
        wait::until("the member is gone", PATIENCE, || {
            let tree = tree(&observer, group);
            tree.values().all(|(_, _, is_ephemeral)| !is_ephemeral).then_some(tree)
        })
    });
    compare("after the end", &ours, &theirs);
}

/// The tree as soon as all partitions have this offset.
fn committed(observer: &Observer, group: &str, offset: &str) -> Tree {
    wait::until(&format!("{group} has committed {offset}"), PATIENCE, || {
        let tree = tree(observer, group);
        let is_there = |partition: i32| {
            tree.get(&format!("/offsets/{TOPIC}/{partition}")).is_some_and(|(data, ..)| data == offset)
        };
        (0..PARTITIONS).all(is_there).then_some(tree)
    })
}

/// The group's nodes, with what differs from run to run made alike.
fn tree(observer: &Observer, group: &str) -> Tree {
    let root = format!("/consumers/{group}");
    let member = Regex::new(&format!("{group}_[^/\"]+-[0-9]{{13}}-[0-9a-f]{{8}}")).expect("it is a pattern");
    let time = Regex::new("\"[0-9]{13}\"").expect("it is a pattern");
    let mut tree = Tree::new();
    let mut open = vec![root.clone()];
    while let Some(path) = open.pop() {
        let Some(node) = observer.get(&path) else { continue };
        open.extend(observer.children(&path).into_iter().map(|child| format!("{path}/{child}")));
        let alike = |text: &str| {
            let text = member.replace_all(text, "MEMBER").into_owned();
            time.replace_all(&text, "\"TIME\"").into_owned()
        };
        let name = alike(path.strip_prefix(&root).unwrap_or(&path));
        let data = alike(&String::from_utf8_lossy(&node.data));
        tree.insert(name, (data, node.stat.version.0, node.stat.ephemeral_owner.is_some()));
    }
    tree
}

#[track_caller]
fn compare(when: &str, ours: &Tree, theirs: &Tree) {
    assert_eq!(ours, theirs, "{when}");
    println!("{when}: {} nodes, alike in path, data, version and lifetime", theirs.len());
}
