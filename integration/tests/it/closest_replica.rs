//! Consumers read from a replica in their own rack (KIP-392): how brokers answer, ours as Apache's, and what
//! stock clients make of it.

use std::collections::BTreeMap;
use std::time::Duration;

use client::connection::{Connection, ConnectionOptions};
use client::consumer::ConsumerRecord;
use client::consumer::group::{AutoOffsetReset, GroupConsumer};
use client::ids::TopicPartition;
use client::wire::messages::FetchRequest;
use client::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use client::wire::messages::fetch_response::PartitionData;
use client::wire::{ErrorCode, Str};
use integration::apache::{Release, java_folder};
use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE};
use integration::foreign::produce_with_rdkafka;
use integration::process::{run as run_process, succeed};
use integration::runtime::run;
use integration::wait;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rustix::process::Signal;

const TOPIC: &str = "near";
const RACKS: &[(&str, &str)] = &[
    ("broker.rack", "rack-{id}"),
    ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector"),
    ("auto.leader.rebalance.enable", "false"),
];

/// One partition, led by broker 1.
fn create_topic(bootstrap: &str) {
    let mut command = Release::V3_9.java("org.apache.kafka.tools.TopicCommand");
    command.args(["--bootstrap-server", bootstrap, "--create", "--topic", TOPIC]);
    succeed(command.args(["--replica-assignment", "1:2:3"]), &[], PATIENCE);
}

fn values(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n:08} {}", "x".repeat(90))).collect()
}

/// What a consumer asks for.
#[derive(Debug, Clone, Copy)]
struct Ask {
    version: i16,
    rack: &'static str,
    offset: i64,
    epoch: i32,
    read_committed: bool,
}

async fn fetch(broker: &Connection, ask: Ask) -> PartitionData {
    let partition = FetchPartition {
        fetch_offset: ask.offset,
        current_leader_epoch: ask.epoch,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic: Str::from(TOPIC), partitions: vec![partition], ..FetchTopic::default() };
    let body = FetchRequest {
        replica_id: -1,
        max_bytes: 1 << 20,
        isolation_level: i8::from(ask.read_committed),
        topics: vec![topic],
        rack_id: Str::from(ask.rack),
        ..FetchRequest::default()
    };
    let mut answer = broker.send(&body, ask.version).await.expect("the broker answers");
    answer.responses.remove(0).partitions.remove(0)
}

async fn connect(address: &str) -> Connection {
    Connection::connect(address, "tests", ConnectionOptions::default()).await.expect("the broker listens")
}

/// Once broker 2 and 3 know all 100 records to be committed.
async fn conversation(addresses: &[String]) -> Vec<String> {
    let mut brokers = Vec::new();
    for address in addresses {
        brokers.push(connect(address).await);
    }
    let plain = Ask { version: 12, rack: "", offset: 0, epoch: -1, read_committed: false };
    for broker in &brokers {
        let started = std::time::Instant::now();
        while fetch(broker, plain).await.high_watermark != 100 {
            assert!(started.elapsed() < PATIENCE, "the watermark does not reach every replica");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let mut lines = Vec::new();
    for (id, broker) in (1..).zip(&brokers) {
        for ask in [
            plain,
            Ask { rack: "rack-1", ..plain },
            Ask { rack: "rack-2", ..plain },
            Ask { rack: "rack-3", ..plain },
            Ask { rack: "rack-4", ..plain },
            Ask { rack: "rack-2", version: 10, ..plain },
            Ask { rack: "rack-2", version: 11, ..plain },
            Ask { rack: "rack-2", read_committed: true, ..plain },
            Ask { rack: "rack-1", read_committed: true, ..plain },
            Ask { rack: "rack-2", offset: 99, ..plain },
            Ask { rack: "rack-2", offset: 100, ..plain },
            Ask { rack: "rack-2", offset: 101, ..plain },
            Ask { rack: "rack-2", offset: -1, ..plain },
            Ask { rack: "rack-2", epoch: 0, ..plain },
            Ask { rack: "rack-2", epoch: 1, ..plain },
        ] {
            let answer = fetch(broker, ask).await;
            lines.push(format!(
                "broker {id} {ask:?}: {:?} hw {} lso {} start {} from {} aborted {:?} bytes {:?}",
                ErrorCode::from_code(answer.error_code),
                answer.high_watermark,
                answer.last_stable_offset,
                answer.log_start_offset,
                answer.preferred_read_replica,
                answer.aborted_transactions.map(|aborted| aborted.len()),
                answer.records.map(|records| records.len() > 100),
            ));
        }
    }
    lines
}

#[test]
fn every_answer_is_apaches() {
    let values = values(100);
    let ours = Cluster::start(3, RACKS);
    let apache = ApacheCluster::start(3, RACKS);
    let addresses = |address: &dyn Fn(i32) -> String| (1..=3).map(address).collect::<Vec<_>>();
    let [found, expected] = [
        (ours.bootstrap(), addresses(&|id| ours.address(id))),
        (apache.bootstrap(), addresses(&|id| apache.address(id))),
    ]
    .map(|(bootstrap, addresses)| {
        create_topic(&bootstrap);
        produce_with_rdkafka(&bootstrap, TOPIC, &values);
        run(conversation(&addresses))
    });
    let different: Vec<_> =
        found.iter().zip(&expected).filter(|(found, expected)| found != expected).collect();
    assert!(different.is_empty(), "ours, and Apache's: {different:#?}");
    assert!(found.iter().any(|line| line.contains("from 2")), "{found:#?}");
}

/// Reads until `count` values came. Fetches are small, so that there are many.
struct NearConsumer(BaseConsumer);

impl NearConsumer {
    fn start(bootstrap: &str, rack: &str) -> NearConsumer {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "by-assignment")
            .set("enable.auto.commit", "false")
            .set("client.rack", rack)
            .set("fetch.message.max.bytes", "4000")
            .set("queued.min.messages", "1")
            .set("fetch.wait.max.ms", "100")
            .create()
            .expect("the settings are right");
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(TOPIC, 0, Offset::Beginning).expect("the offset is legal");
        consumer.assign(&assignment).expect("the assignment is legal");
        NearConsumer(consumer)
    }

    fn read(&self, count: usize, limit: Duration) -> Vec<String> {
        let mut values = Vec::new();
        let started = std::time::Instant::now();
        while values.len() < count {
            assert!(started.elapsed() < limit, "{} of {count} records came", values.len());
            if let Some(Ok(message)) = self.0.poll(Duration::from_millis(100)) {
                values.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
            }
        }
        values
    }
}

#[test]
fn consumers_read_from_their_rack_and_from_the_leader_when_it_is_gone() {
    let mut cluster = Cluster::start(3, RACKS);
    let bootstrap = cluster.bootstrap();
    create_topic(&bootstrap);
    let sent = values(2_000);
    produce_with_rdkafka(&bootstrap, TOPIC, &sent);

    // Java counts the bytes from each broker.
    let mut java = Release::V3_9.java_source(&java_folder().join("Consume.java"));
    let output = run_process(java.args([&bootstrap, TOPIC, "rack-3"]), &[], PATIENCE);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(), sent);
    let counts = String::from_utf8_lossy(&output.stderr);
    let bytes = bytes_by_node(&counts);
    let all: usize = sent.iter().map(String::len).sum();
    assert!(bytes["node-3"] > all && bytes["node-1"] < all / 10, "{all} bytes of values: {bytes:?}");

    // librdkafka goes on while the leader is held.
    let consumer = NearConsumer::start(&bootstrap, "rack-2");
    let mut received = consumer.read(100, PATIENCE);
    wait_for_watermark(&cluster.address(2), 2_000);
    cluster.signal(1, Signal::STOP);
    received.extend(consumer.read(1_500, Duration::from_secs(3)));
    cluster.signal(1, Signal::CONT);

    // The replica dies, and the leader serves.
    cluster.kill(2);
    received.extend(consumer.read(400, PATIENCE));
    assert_eq!(received, sent);
    produce_with_rdkafka(&bootstrap, TOPIC, &sent[..50]);
    assert_eq!(consumer.read(50, PATIENCE), sent[..50]);
}

#[test]
fn our_consumer_reads_from_its_rack_and_from_the_leader_when_it_is_gone() {
    let mut cluster = Cluster::start(3, RACKS);
    let bootstrap = cluster.bootstrap();
    create_topic(&bootstrap);
    let sent = values(2_000);
    produce_with_rdkafka(&bootstrap, TOPIC, &sent);
    wait_for_watermark(&cluster.address(2), 2_000);

    run(async {
        let builder = GroupConsumer::builder().zookeeper(cluster.zookeeper.connect_string());
        let builder = builder.auto_offset_reset(AutoOffsetReset::Earliest).with(|options| {
            options.client_rack = "rack-2".into();
            // Small fetches, so that there are many.
            options.max_partition_fetch_bytes = 4_000;
            options.max_poll_records = 20;
        });
        let mut consumer = builder.connect().await.expect("the cluster is found");
        consumer.assign([TopicPartition::new(TOPIC, 0)]).expect("nothing is subscribed to");
        let mut received = poll_for(&mut consumer, 100, PATIENCE).await;
        // It goes on while the leader is held.
        cluster.signal(1, Signal::STOP);
        received.extend(poll_for(&mut consumer, 1_500, Duration::from_secs(3)).await);
        cluster.signal(1, Signal::CONT);
        // The replica dies, and the leader serves.
        cluster.kill(2);
        received.extend(poll_for(&mut consumer, sent.len() - received.len(), PATIENCE).await);
        assert_eq!(received, sent);
        produce_with_rdkafka(&bootstrap, TOPIC, &sent[..50]);
        assert_eq!(poll_for(&mut consumer, 50, PATIENCE).await, sent[..50]);
    });
}

/// At least `count` values.
async fn poll_for(consumer: &mut GroupConsumer, count: usize, limit: Duration) -> Vec<String> {
    let mut values = Vec::new();
    let started = std::time::Instant::now();
    while values.len() < count {
        assert!(started.elapsed() < limit, "{} of {count} records came", values.len());
        let polled =
            consumer.poll(Duration::from_millis(100)).await.expect("nothing is wrong with the partition");
        let value =
            |record: &ConsumerRecord| record.value.as_ref().map(|v| String::from_utf8_lossy(v).into_owned());
        values.extend(polled.iter().filter_map(value));
    }
    values
}

fn wait_for_watermark(address: &str, offset: i64) {
    let ask = Ask { version: 12, rack: "", offset: 0, epoch: -1, read_committed: false };
    wait::until("the watermark reaches the replica", PATIENCE, || {
        let answer = run(async { fetch(&connect(address).await, ask).await });
        (answer.high_watermark == offset).then_some(())
    });
}

fn bytes_by_node(text: &str) -> BTreeMap<&str, usize> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(k, v)| Some((k, v.parse().ok()?)))
        .collect()
}
