//! Groups on three brokers of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use client::consumer::group::{AutoOffsetReset, GroupConsumer};
use client::ids::TopicPartition;
use client::java_string::hash_code;
use integration::cluster::{Cluster, PATIENCE};
use integration::load::Load;
use integration::observer::Observer;
use integration::runtime::run;
use integration::wait;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::reader::Reader;
use super::{create, member, set};

pub(super) const PARTITIONS: i32 = 6;
const COORDINATORS: i32 = 5;

pub(super) fn cluster() -> Cluster {
    Cluster::start(
        3,
        &[
            ("group.initial.rebalance.delay.ms", "0"),
            ("offsets.topic.num.partitions", "5"),
            ("offsets.topic.replication.factor", "3"),
            ("min.insync.replicas", "2"),
        ],
    )
}

/// The coordinator dies, and then a leader: no rebalance, nothing lost, and no committed offset goes back.
#[test]
fn a_group_outlives_its_coordinator_and_leaders() {
    let mut cluster = cluster();
    let bootstrap = cluster.bootstrap();
    create(&bootstrap, "t", PARTITIONS, 3);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let load = Load::start(&bootstrap, "t", 200);
    let watching = member(&bootstrap, "g")
        .zookeeper(cluster.zookeeper.connect_string())
        .with(|options| options.session_timeout = Duration::from_secs(30));
    let asking = member(&bootstrap, "g").with(|options| options.session_timeout = Duration::from_secs(30));
    let readers = [Reader::start(watching, "t"), Reader::start(asking, "t")];
    for reader in &readers {
        reader.wait_for("half of the partitions", |saw| saw.assigned.len() == 3 && saw.records.len() > 50);
    }
    let group = || readers.each_ref().map(|reader| reader.saw(|saw| (saw.generation, saw.heard.clone())));
    let before = group();

    let mut killed = BTreeSet::new();
    let mut committed = committed_offsets(&bootstrap);
    for turn in ["coordinator", "leader"] {
        let id = match turn {
            "coordinator" => coordinator(&observer, "g"),
            _ => observer.states("t", 1).expect("the topic is there")[0].leader,
        };
        println!("kill {id}, the {turn}");
        cluster.kill(id);
        killed.insert(id);
        load.wait_for_more(300, PATIENCE);
        let now = wait::until("commits go on", PATIENCE, || {
            let now = committed_offsets(&cluster.address(other_than(&cluster, id)));
            (now.len() == PARTITIONS as usize
                && now.values().sum::<i64>() > committed.values().sum::<i64>() + 200)
                .then_some(now)
        });
        for (partition, offset) in &committed {
            assert!(
                now[partition] >= *offset,
                "partition {partition} went back from {offset} to {}",
                now[partition]
            );
        }
        committed = now;
        assert_eq!(group(), before, "no rebalance");
        cluster.start_broker(id);
        cluster.wait_until_serving();
        wait::until("all replicas are in sync", PATIENCE, || {
            let topics = [("t", PARTITIONS), ("__consumer_offsets", COORDINATORS)];
            let whole = |(topic, count): &(&str, i32)| {
                let states = observer.states(topic, *count as usize);
                states.is_some_and(|states| states.iter().all(|state| state.isr.len() == 3))
            };
            topics.iter().all(whole).then_some(())
        });
    }
    let sent = load.finish();
    wait::until("everything is read", PATIENCE, || {
        let read: BTreeSet<String> =
            readers.iter().flat_map(|reader| reader.saw(|saw| saw.values())).collect();
        sent.acknowledged.is_subset(&read).then_some(())
    });
    assert_eq!(group(), before, "no rebalance to the end");
    for reader in readers {
        let saw = reader.finish();
        for (partition, offsets) in saw.by_partition() {
            assert!(offsets.is_sorted_by(|a, b| a < b), "{partition}: each record once, in order");
        }
    }
}

/// Members of ours and of librdkafka in one group: each partition has one owner, whoever leads.
#[test]
fn our_members_share_a_group_with_librdkafkas() {
    let cluster = cluster();
    let bootstrap = cluster.bootstrap();
    create(&bootstrap, "t", PARTITIONS, 3);
    for foreign_first in [false, true] {
        let group = if foreign_first { "theirs" } else { "ours" };
        let foreign = |settle: &dyn Fn() -> bool| {
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &bootstrap)
                .set("group.id", group)
                .set("auto.offset.reset", "earliest")
                .set("session.timeout.ms", "6000")
                .set("heartbeat.interval.ms", "300")
                .create()
                .expect("the settings are right");
            consumer.subscribe(&["t"]).expect("a legal topic");
            wait::until("the foreign member settles", PATIENCE, || {
                let _ = consumer.poll(Duration::from_millis(50));
                (!owned(&consumer).is_empty() && settle()).then_some(())
            });
            consumer
        };
        if foreign_first {
            let consumer = foreign(&|| true);
            let reader = Reader::start(member(&bootstrap, group), "t");
            both_settle(&consumer, &reader);
            reader.finish();
        } else {
            let reader = Reader::start(member(&bootstrap, group), "t");
            reader.wait_for("all partitions", |saw| saw.assigned.len() == PARTITIONS as usize);
            let consumer = foreign(&|| true);
            both_settle(&consumer, &reader);
            drop(consumer);
            reader.wait_for("all partitions again", |saw| saw.assigned.len() == PARTITIONS as usize);
            reader.finish();
        }
    }
}

fn both_settle(consumer: &BaseConsumer, reader: &Reader) {
    wait::until("three partitions each, none twice", PATIENCE, || {
        let _ = consumer.poll(Duration::from_millis(50));
        let (theirs, ours) = (owned(consumer), reader.assigned());
        (theirs.len() == 3 && ours.len() == 3 && &theirs | &ours == set(0..PARTITIONS)).then_some(())
    });
}

fn owned(consumer: &BaseConsumer) -> BTreeSet<i32> {
    let assignment = consumer.assignment().expect("it is known");
    assignment.elements().iter().map(|element| element.partition()).collect()
}

pub(super) fn coordinator(observer: &Observer, group: &str) -> i32 {
    let partition = hash_code(group).checked_abs().unwrap_or(0) % COORDINATORS;
    let states = observer.states("__consumer_offsets", COORDINATORS as usize).expect("it was made");
    states[partition as usize].leader
}

fn other_than(cluster: &Cluster, id: i32) -> i32 {
    cluster.ids().into_iter().find(|other| *other != id).expect("there are three")
}

fn committed_offsets(bootstrap: &str) -> BTreeMap<i32, i64> {
    run(async {
        let consumer = member(bootstrap, "g").connect().await.expect("the cluster is there");
        let all = (0..PARTITIONS).map(|partition| TopicPartition::new("t", partition));
        let committed = consumer.committed(all).await.expect("an answer");
        committed.iter().map(|(partition, at)| (partition.partition, at.offset.0)).collect()
    })
}

/// A consumer without a group reads partitions that it was given; what it does is nobody else's concern.
#[test]
fn partitions_can_be_assigned_without_a_group() {
    let cluster = cluster();
    let bootstrap = cluster.bootstrap();
    create(&bootstrap, "t", 1, 3);
    let load = Load::start(&bootstrap, "t", 200);
    run(async {
        let builder = GroupConsumer::builder().zookeeper(cluster.zookeeper.connect_string());
        let mut consumer =
            builder.auto_offset_reset(AutoOffsetReset::Earliest).connect().await.expect("it is there");
        assert!(consumer.subscribe(["t"]).is_err(), "there is no group to subscribe with");
        consumer.assign([TopicPartition::new("t", 0)]).expect("nothing is subscribed to");
        let mut next = 0;
        while next < 300 {
            for record in consumer.poll(Duration::from_secs(30)).await.expect("records") {
                assert_eq!(record.offset.0, next);
                next += 1;
            }
        }
        assert!(consumer.commit().await.is_err(), "there is no group to commit for");
    });
    load.finish();
}
