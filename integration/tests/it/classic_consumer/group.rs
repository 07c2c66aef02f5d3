//! Members of ours among themselves: a leader is killed, a session is lost, partitions are added.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::admin::{Admin, AdminOptions, Bootstrap, NewPartitions};
use client::consumer::{ClassicConfig, ClassicConsumer, ClassicStreamError, Subscription};
use client::topic_filter::TopicFilter;
use futures::StreamExt;
use integration::cluster::PATIENCE;
use integration::foreign::produce_with_kcat;
use integration::load::Load;
use integration::proxy::{Proxy, Weather};
use integration::wait;

use super::{Bench, Offsets, Ours, Seen, read};

const GROUP: &str = "group";
const TOPIC: &str = "events";
const PARTITIONS: i32 = 4;

#[test]
fn nothing_is_lost_when_a_leader_is_killed() {
    let mut bench = Bench::start(3, TOPIC, PARTITIONS);
    let observer = bench.observer();
    let load = Load::start(&bench.cluster.bootstrap(), TOPIC, 500);
    load.wait_for_more(100, PATIENCE);
    let offsets = Offsets::watch(&bench.zookeeper(), GROUP, TOPIC, PARTITIONS);
    let members = [0, 1].map(|_| bench.join(bench.config(&bench.zookeeper(), GROUP)));
    bench.wait_for_owners(&observer, GROUP, PARTITIONS as usize, 2);
    load.wait_for_more(500, PATIENCE);

    let leader = observer.states(TOPIC, 1).expect("the topic is there")[0].leader;
    bench.cluster.kill(leader);
    load.wait_for_more(500, PATIENCE);
    bench.cluster.start_broker(leader);
    load.wait_for_more(500, PATIENCE);
    let sent = load.finish();
    wait::until("every acknowledged record is consumed", PATIENCE, || {
        let all = &members[0].values() | &members[1].values();
        sent.acknowledged.is_subset(&all).then_some(())
    });
    // No member came or went since, so that none was given a record of the other's.
    let both = &members[0].values() & &members[1].values();
    let given = sent.acknowledged.len();
    assert!(both.len() < given / 2, "{} of {given} records were given to both", both.len());

    let ends: BTreeMap<i32, i64> = {
        let last = members.iter().flat_map(|member| member.seen.last.lock().expect("no panic").clone());
        let mut ends = BTreeMap::new();
        for (partition, offset) in last {
            let end: &mut i64 = ends.entry(partition.partition).or_default();
            *end = (*end).max(offset + 1);
        }
        ends
    };
    for Ours { consumer, reading, .. } in members {
        bench.wait(consumer.close()).expect("the consumer leaves its group");
        bench.wait(reading).expect("the stream ends with its consumer");
    }
    assert_eq!(offsets.finish(), ends, "what was given is committed");
    assert_eq!(observer.children(&format!("/consumers/{GROUP}/ids")), Vec::<String>::new());
    assert_eq!(bench.owners(&observer, GROUP, TOPIC), BTreeMap::new());
}

#[test]
fn a_member_that_loses_its_session_stops_before_another_begins_and_comes_back() {
    let bench = Bench::start(1, TOPIC, PARTITIONS);
    let observer = bench.observer();
    let load = Load::start(&bench.cluster.bootstrap(), TOPIC, 500);
    load.wait_for_more(100, PATIENCE);
    let offsets = Offsets::watch(&bench.zookeeper(), GROUP, TOPIC, PARTITIONS);
    let proxy = bench.wait(Proxy::start(&bench.zookeeper()));
    let cut_off = bench.join(bench.config(&proxy.connect_string(), GROUP));
    let other = bench.join(bench.config(&bench.zookeeper(), GROUP));
    let partitions = PARTITIONS as usize;
    bench.wait_for_owners(&observer, GROUP, partitions, 2);
    load.wait_for_more(300, PATIENCE);

    proxy.set(Weather::Refusing);
    proxy.cut();
    wait::until("the other owns everything", PATIENCE, || {
        let owners = bench.owners(&observer, GROUP, TOPIC);
        (owners.len() == partitions && owners.values().all(|owner| owner == other.consumer.name()))
            .then_some(())
    });
    // What it is given from here on would be given twice.
    let given = cut_off.values();
    load.wait_for_more(500, PATIENCE);
    assert_eq!(cut_off.values(), given, "the member that was cut off gives what is no longer its own");

    proxy.set(Weather::Fair);
    bench.wait_for_owners(&observer, GROUP, partitions, 2);
    wait::until("it is given records again", PATIENCE, || {
        (cut_off.values().len() > given.len()).then_some(())
    });
    let sent = load.finish();
    wait::until("every acknowledged record is consumed", PATIENCE, || {
        sent.acknowledged.is_subset(&(&cut_off.values() | &other.values())).then_some(())
    });
    offsets.finish();
}

#[test]
fn a_list_follows_topics_and_partitions_as_they_come() {
    let bench = Bench::start(1, "list-a", 1);
    let servers = bench.cluster.bootstrap();
    let send = |topic: &str, partition: &str, value: &str| {
        produce_with_kcat(&servers, topic, &[value.to_owned()], &["-p", partition]);
    };
    send("list-a", "0", "first");
    let filter = TopicFilter::new("list-.*").expect("it is a pattern");
    let (consumer, mut streams) = bench
        .wait(ClassicConsumer::start(
            bench.config(&bench.zookeeper(), GROUP),
            Subscription::WhiteList(filter, 1),
        ))
        .expect("the group can be joined");
    let seen = Arc::new(Seen::default());
    bench.runtime.spawn(read(streams.remove(0), Arc::clone(&seen)));
    let given = |value: &str| {
        wait::until(&format!("{value} is given"), PATIENCE, || {
            seen.values.lock().expect("no panic under this lock").contains(value).then_some(())
        });
    };
    given("first");

    bench.create("other", 1, 1);
    send("other", "0", "not meant");
    bench.create("list-b", 1, 1);
    send("list-b", "0", "of another topic");
    given("of another topic");
    bench
        .wait(async {
            let bootstrap = Bootstrap::resolve(&servers).await.expect("an address is an address");
            let admin = Admin::new(bootstrap, AdminOptions::default());
            admin
                .create_partitions(&[NewPartitions { topic: "list-a".into(), total: 2, replicas: None }])
                .await
        })
        .expect("a partition can be added");
    wait::until("the new partition is owned", PATIENCE, || {
        (bench.owners(&bench.observer(), GROUP, "list-a").len() == 2).then_some(())
    });
    send("list-a", "1", "of another partition");
    given("of another partition");
    assert!(!seen.values.lock().expect("no panic under this lock").contains("not meant"));
    bench.wait(consumer.close()).expect("the consumer leaves its group");
}

#[test]
fn offsets_are_committed_when_asked_and_a_stream_can_time_out() {
    let bench = Bench::start(1, TOPIC, 1);
    let values: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    produce_with_kcat(&bench.cluster.bootstrap(), TOPIC, &values, &[]);
    let config = || ClassicConfig {
        auto_commit: false,
        consumer_timeout: Some(Duration::from_millis(300)),
        ..bench.config(&bench.zookeeper(), GROUP)
    };
    let start = || {
        let subscription = Subscription::topics([(TOPIC, 1)]);
        let (consumer, mut streams) =
            bench.wait(ClassicConsumer::start(config(), subscription)).expect("the group can be joined");
        (consumer, streams.remove(0))
    };
    let (consumer, mut stream) = start();
    for n in 0..4 {
        let record = bench.wait(stream.next()).expect("the stream goes on").expect("there are records");
        assert_eq!(record.offset.0, n);
    }
    bench.wait(consumer.commit()).expect("ZooKeeper takes it");
    bench.wait(stream.next());
    bench.wait(consumer.close()).expect("the consumer leaves its group");
    assert!(bench.wait(stream.next()).is_none(), "a stream ends with its consumer");

    let (_consumer, mut stream) = start();
    for n in 4..10 {
        let record = bench.wait(stream.next()).expect("the stream goes on").expect("there are records");
        assert_eq!(record.offset.0, n);
    }
    let nothing = bench.wait(stream.next());
    assert!(matches!(nothing, Some(Err(ClassicStreamError::Timeout { .. }))), "{nothing:?}");
}
