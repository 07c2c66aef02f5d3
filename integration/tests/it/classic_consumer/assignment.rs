//! Who reads which partition, by Kafka 0.8.2.2's own assignors and by our members, for groups drawn by lot.

use std::collections::{BTreeMap, BTreeSet};

use client::consumer::{ClassicConfig, ClassicConsumer, Strategy, Subscription};
use client::zk::CreateMode;
use client::znode::consumer::{ConsumerRegistration, SubscriptionPattern, id_path};
use integration::apache::{Release, java_folder};
use integration::cluster::PATIENCE;
use integration::process::succeed;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Bench, SESSION};

/// Partition to thread, by topic.
type Assignment = BTreeMap<(String, i32), String>;

const ROUNDS: u64 = 4;

#[test]
fn partitions_fall_to_whom_kafka_gives_them() {
    let bench = Bench::start(1, "t0", 7);
    bench.create("t1", 3, 1);
    bench.create("t-2", 11, 1);
    for round in 0..ROUNDS {
        for strategy in [Strategy::Range, Strategy::RoundRobin] {
            let group = format!("g{round}-{strategy:?}");
            let mut rng = StdRng::seed_from_u64(round);
            let members = draw(&mut rng, strategy);
            register(&bench, &group, &members);
            let theirs = kafkas(&bench, &group, strategy);
            let ours = ours(&bench, &group, strategy, &members);
            assert_eq!(ours, theirs, "round {round}, {strategy:?}, {members:?}");
            let threads: BTreeSet<&String> = theirs.values().collect();
            println!("round {round}, {strategy:?}: {} partitions, {} threads", theirs.len(), threads.len());
        }
    }
}

/// Members by `consumer.id`, each with streams per topic.
type Subscribers = BTreeMap<String, BTreeMap<String, usize>>;

fn draw(rng: &mut StdRng, strategy: Strategy) -> Subscribers {
    let topics = ["t0", "t1", "t-2"];
    let subscription = |rng: &mut StdRng| -> BTreeMap<String, usize> {
        let streams = rng.random_range(1..13);
        topics.iter().filter(|_| rng.random_bool(0.8)).map(|topic| (topic.to_string(), streams)).collect()
    };
    let even = topics.iter().map(|topic| (topic.to_string(), 2)).collect::<BTreeMap<_, _>>();
    (0..rng.random_range(1..5))
        .map(|n| {
            let name = format!("{}{n}", ["a", "B", "c-1"][rng.random_range(0..3)]);
            let wanted = match strategy {
                Strategy::Range => subscription(rng),
                // All must want the same.
                Strategy::RoundRobin => even.clone(),
            };
            (name, wanted)
        })
        .filter(|(_, wanted)| !wanted.is_empty())
        .collect()
}

/// Registers the members, as if they were there.
fn register(bench: &Bench, group: &str, members: &Subscribers) {
    let observer = bench.observer();
    for (name, wanted) in members {
        let registration = ConsumerRegistration {
            pattern: SubscriptionPattern::Static,
            subscription: wanted.iter().map(|(topic, streams)| (topic.clone(), *streams as i32)).collect(),
            timestamp_ms: 0,
        };
        let path = id_path(group, &format!("{group}_{name}"));
        observer.with(async |session| {
            session.create_recursive(&path, registration.encode()).await.expect("ZooKeeper takes it");
        });
    }
}

/// What each member would take, by `kafka.consumer.PartitionAssignor`.
fn kafkas(bench: &Bench, group: &str, strategy: Strategy) -> Assignment {
    let name = match strategy {
        Strategy::Range => "range",
        Strategy::RoundRobin => "roundrobin",
    };
    let mut command = Release::V0_8.java_source(&java_folder().join("ClassicAssign.java"));
    let printed = succeed(command.args([&bench.zookeeper(), group, name]), &[], PATIENCE);
    printed
        .lines()
        .map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut word = || words.next().expect("topic, partition and thread");
            let (topic, partition) = (word(), word());
            ((topic, partition.parse().expect("a number")), word())
        })
        .collect()
}

/// What each of our members takes while the others are only registered: it claims its own partitions only.
fn ours(bench: &Bench, group: &str, strategy: Strategy, members: &Subscribers) -> Assignment {
    let observer = bench.observer();
    let mut assignment = Assignment::new();
    for (name, wanted) in members {
        let path = id_path(group, &format!("{group}_{name}"));
        // It registers itself, by the same name.
        observer.with(async |session| session.delete(&path, None).await.expect("ZooKeeper takes it"));
        let config = ClassicConfig {
            consumer_id: Some(name.clone()),
            strategy,
            session_timeout: SESSION,
            auto_commit: false,
            ..ClassicConfig::new(bench.zookeeper(), group)
        };
        let subscription = Subscription::topics(wanted.clone());
        let (consumer, _streams) =
            bench.wait(ClassicConsumer::start(config, subscription)).expect("the group can be joined");
        for topic in wanted.keys() {
            let directory = format!("/consumers/{group}/owners/{topic}");
            for partition in observer.children(&directory) {
                let node = observer.get(&format!("{directory}/{partition}")).expect("the owner stays");
                let thread = String::from_utf8_lossy(&node.data).into_owned();
                let before = assignment.insert((topic.clone(), partition.parse().expect("a number")), thread);
                assert_eq!(before, None, "two members take {topic}-{partition}");
            }
        }
        bench.wait(consumer.close()).expect("the consumer leaves its group");
        let registration = ConsumerRegistration {
            pattern: SubscriptionPattern::Static,
            subscription: wanted.iter().map(|(topic, streams)| (topic.clone(), *streams as i32)).collect(),
            timestamp_ms: 0,
        };
        observer.with(async |session| {
            session
                .create(&path, registration.encode(), CreateMode::Persistent)
                .await
                .expect("ZooKeeper takes it");
        });
    }
    assignment
}
