//! The simple consumer: offsets, single fetches, and whole logs while their leader is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use client::cluster::{Bootstrap, ClusterOptions, Discovery};
use client::consumer::{FetchOptions, OffsetSpec, Position, ReadError, SimpleConsumer, SimpleOptions};
use client::ids::{Offset, TopicPartition};
use client::zk::ZkConfig;
use futures::StreamExt;
use integration::cluster::PATIENCE;
use integration::foreign::produce_with_kcat;
use integration::load::Load;
use integration::wait;

use super::Bench;

const PARTITIONS: i32 = 4;

#[test]
fn offsets_and_records_are_found() {
    let bench = Bench::start(1, "simple", 1);
    let values: Vec<String> = (0..100).map(|n| format!("value {n}")).collect();
    let options = ["-X", "batch.num.messages=10", "-z", "gzip", "-p", "0"];
    produce_with_kcat(&bench.cluster.bootstrap(), "simple", &values, &options);
    let consumer = connect(&bench, by_asking(&bench));
    let partition = TopicPartition::new("simple", 0);
    let partitions = bench.wait(consumer.partitions("simple")).expect("the topic is there");
    assert_eq!(partitions.first(), Some(&partition));

    let offset = |spec| bench.wait(consumer.offset(&partition, spec)).expect("the leader answers");
    let at = |spec| offset(spec).map(|listed| listed.offset);
    assert_eq!((at(OffsetSpec::Earliest), at(OffsetSpec::Latest)), (Some(Offset(0)), Some(Offset(100))));
    let first = bench.wait(consumer.fetch(&partition, Offset(0))).expect("there are records");
    let time = first.records[0].timestamp_ms;
    assert_eq!(at(OffsetSpec::Since(time)), Some(Offset(0)));
    assert_eq!(at(OffsetSpec::Since(time + 1_000_000)), None);

    let mut read = Vec::new();
    let mut next = Offset(7);
    while next < Offset(100) {
        let records = bench.wait(consumer.fetch(&partition, next)).expect("there are records");
        assert_eq!(records.end, Offset(100));
        read.extend(records.records.iter().map(|record| (record.offset.0, text(record))));
        next = records.next.offset;
    }
    let expected: Vec<(i64, String)> = (7..100).map(|n| (n, format!("value {n}"))).collect();
    assert_eq!(read, expected);

    let end = bench.wait(consumer.fetch(&partition, next)).expect("the end is no error");
    assert_eq!((end.records.len(), end.next.offset, end.end), (0, Offset(100), Offset(100)));
    let beyond = bench.wait(consumer.fetch(&partition, Offset(101)));
    assert!(matches!(
        beyond,
        Err(ReadError::OutOfRange { position: Position { offset: Offset(101), .. }, .. })
    ));
    let again = bench.wait(consumer.fetch(&partition, Offset(99))).expect("there is a record");
    assert_eq!((again.records.len(), again.next.offset), (1, Offset(100)));

    let ranged: Vec<i64> = bench.wait(async {
        let range = consumer.read_ranges([(partition, Offset(5)..Offset(55))]);
        range.map(|record| record.expect("it can be read").offset.0).collect().await
    });
    assert_eq!(ranged, (5..55).collect::<Vec<_>>());
}

#[test]
fn a_log_is_read_whole_while_its_leader_is_killed() {
    let mut bench = Bench::start(3, "simple", PARTITIONS);
    let load = Load::start(&bench.cluster.bootstrap(), "simple", 1_000);
    load.wait_for_more(200, PATIENCE);
    let zookeeper = Discovery::ZooKeeper(ZkConfig::new(bench.zookeeper()));
    let readers = [by_asking(&bench), zookeeper].map(|discovery| read_all(&bench, discovery));
    load.wait_for_more(1_000, PATIENCE);

    let observer = bench.observer();
    let leader = observer.states("simple", 1).expect("the topic is there")[0].leader;
    bench.cluster.kill(leader);
    wait::until("another broker leads", PATIENCE, || {
        let states = observer.states("simple", PARTITIONS as usize)?;
        states.iter().all(|state| state.leader != leader && state.leader != -1).then_some(())
    });
    load.wait_for_more(1_000, PATIENCE);
    let sent = load.finish();
    for read in readers {
        wait::until("every acknowledged record is read", PATIENCE, || {
            let read = read.lock().expect("no panic under this lock");
            sent.acknowledged.is_subset(&read.values).then_some(())
        });
    }
}

#[derive(Default)]
struct Read {
    values: BTreeSet<String>,
    last: BTreeMap<i32, i64>,
}

/// Reads all partitions from the beginning on, and sees to it that each is read in order.
fn read_all(bench: &Bench, discovery: Discovery) -> Arc<Mutex<Read>> {
    let read = Arc::new(Mutex::new(Read::default()));
    let consumer = connect(bench, discovery);
    let from: Vec<_> = (0..PARTITIONS).map(|p| (TopicPartition::new("simple", p), Offset(0))).collect();
    let shared = Arc::clone(&read);
    bench.runtime.spawn(async move {
        let mut records = consumer.read(from);
        while let Some(record) = records.next().await {
            let record = record.expect("the log can be read");
            let mut read = shared.lock().expect("no panic under this lock");
            let before = read.last.insert(record.partition, record.offset.0).unwrap_or(-1);
            assert_eq!(record.offset.0, before + 1, "partition {}", record.partition);
            read.values.insert(text(&record));
        }
    });
    read
}

fn connect(bench: &Bench, discovery: Discovery) -> SimpleConsumer {
    let options = SimpleOptions { cluster: ClusterOptions::default(), fetch: FetchOptions::default() };
    bench.wait(SimpleConsumer::connect(discovery, options)).expect("there are brokers")
}

fn by_asking(bench: &Bench) -> Discovery {
    let servers = bench.cluster.bootstrap();
    Discovery::Bootstrap(bench.wait(Bootstrap::resolve(&servers)).expect("an address is an address"))
}

fn text(record: &client::consumer::ConsumerRecord) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}
