//! Foreign clients that send and receive lines: each produces the given values to a topic with acks=all,
//! or reads every value a topic holds.

use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::apache::{Release, java_folder};
use crate::process::succeed;
use crate::python::python;
use crate::verifiable::verifiable_producer;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(120);

/// librdkafka's command line client, as the system has it: cargo tells tests to look for libraries in its build
/// folders first, where one of the `rdkafka` crate lies that does not know zstd.
pub fn kcat() -> Command {
    let mut command = Command::new("kcat");
    command.env_remove("LD_LIBRARY_PATH");
    command
}

pub fn produce_with_kcat(bootstrap: &str, topic: &str, values: &[String], options: &[&str]) {
    let mut command = kcat();
    command.args(["-P", "-b", bootstrap, "-t", topic, "-X", "acks=all"]).args(options);
    succeed(&mut command, (values.join("\n") + "\n").as_bytes(), LIMIT);
}

pub fn consume_with_kcat(bootstrap: &str, topic: &str) -> Vec<String> {
    let mut command = kcat();
    command.args(["-C", "-b", bootstrap, "-t", topic, "-o", "beginning", "-e", "-q"]);
    lines(&succeed(&mut command, &[], LIMIT))
}

/// Apache's consumer of 3.9, by manual assignment.
pub fn consume_with_java(bootstrap: &str, topic: &str) -> Vec<String> {
    let mut command = Release::V3_9.java_source(&java_folder().join("Consume.java"));
    lines(&succeed(command.args([bootstrap, topic]), &[], LIMIT))
}

/// Apache's tool `VerifiableProducer`, which numbers its values from 0; `settings` are lines of a
/// properties file.
pub fn produce_with_verifiable_producer(bootstrap: &str, topic: &str, count: usize, settings: &str) {
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    let mut command = verifiable_producer(bootstrap, topic, settings, folder.path());
    command.args(["--throughput", "-1", "--max-messages", &count.to_string()]);
    let said = succeed(&mut command, &[], LIMIT);
    let acknowledged = said.matches("producer_send_success").count();
    assert_eq!(acknowledged, count, "VerifiableProducer had failures:\n{said}");
}

/// The high-level consumer of Kafka 0.8.2.2, which knows only ZooKeeper.
pub fn consume_with_classic_console(zookeeper: &str, topic: &str, count: usize) -> Vec<String> {
    let mut command = Release::V0_8.java("kafka.tools.ConsoleConsumer");
    command.args(["--zookeeper", zookeeper, "--topic", topic, "--from-beginning"]);
    command.arg("--max-messages").arg(count.to_string());
    lines(&succeed(&mut command, &[], LIMIT))
}

pub fn produce_with_python(bootstrap: &str, topic: &str, values: &[String]) {
    let script = "\
import sys
from kafka import KafkaProducer
producer = KafkaProducer(bootstrap_servers=sys.argv[1].split(','), acks='all', linger_ms=5)
sent = [producer.send(sys.argv[2], line.rstrip('\\n').encode()) for line in sys.stdin]
for s in sent:
    s.get(timeout=60)
producer.close()
";
    succeed(python().args(["-c", script, bootstrap, topic]), (values.join("\n") + "\n").as_bytes(), LIMIT);
}

pub fn consume_with_python(bootstrap: &str, topic: &str) -> Vec<String> {
    let script = "\
import sys
from kafka import KafkaConsumer, TopicPartition
consumer = KafkaConsumer(bootstrap_servers=sys.argv[1].split(','), group_id=None, enable_auto_commit=False)
partitions = [TopicPartition(sys.argv[2], p) for p in consumer.partitions_for_topic(sys.argv[2])]
consumer.assign(partitions)
consumer.seek_to_beginning()
ends = consumer.end_offsets(partitions)
while any(consumer.position(p) < ends[p] for p in partitions):
    for records in consumer.poll(timeout_ms=500).values():
        for record in records:
            print(record.value.decode())
";
    lines(&succeed(python().args(["-c", script, bootstrap, topic]), &[], LIMIT))
}

/// librdkafka by the crate `rdkafka`.
pub fn produce_with_rdkafka(bootstrap: &str, topic: &str, values: &[String]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("linger.ms", "5")
        // Otherwise all that is sent within 10 ms goes to one partition, on a fast machine everything.
        .set("sticky.partitioning.linger.ms", "0")
        .create()
        .expect("the settings are right");
    for value in values {
        let mut record: BaseRecord<'_, (), str> = BaseRecord::to(topic).payload(value.as_str());
        while let Err((error, returned)) = producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(rdkafka::error::RDKafkaErrorCode::QueueFull));
            producer.poll(Duration::from_millis(50));
            record = returned;
        }
    }
    producer.flush(LIMIT).expect("everything is delivered");
    assert_eq!(producer.in_flight_count(), 0);
}

pub fn consume_with_rdkafka(bootstrap: &str, topic: &str) -> Vec<String> {
    read_topic(bootstrap, topic).into_iter().map(|record| record.value).collect()
}

/// Where a record was found, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub partition: i32,
    pub offset: i64,
    pub value: String,
}

/// Every record of a topic from its beginning to the ends found at the start, in order within a partition.
pub fn read_topic(bootstrap: &str, topic: &str) -> Vec<Found> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "by-assignment")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "false")
        .set("fetch.wait.max.ms", "100")
        .create()
        .expect("the settings are right");
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).expect("the cluster answers");
    let count = metadata.topics().first().map_or(0, |t| t.partitions().len()) as i32;
    assert!(count > 0, "{topic} has no partitions");
    let mut remaining = 0;
    let mut ends = vec![0; count as usize];
    let mut assignment = TopicPartitionList::new();
    for (partition, end) in (0..count).zip(&mut ends) {
        let (low, high) = wait::until("the leader answers", LIMIT, || {
            let found = consumer.fetch_watermarks(topic, partition, LIMIT).ok();
            if found.is_none() {
                // librdkafka does not look again for a leader that it was told is missing.
                consumer.fetch_metadata(Some(topic), LIMIT).ok();
            }
            found
        });
        *end = high;
        remaining += high - low;
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("the offset is legal");
    }
    consumer.assign(&assignment).expect("the assignment is legal");
    let mut found = Vec::new();
    let started = Instant::now();
    while remaining > 0 {
        assert!(started.elapsed() < LIMIT, "{remaining} records of {topic} did not arrive");
        match consumer.poll(Duration::from_millis(500)) {
            None => {}
            Some(Err(error)) => eprintln!("reading {topic}: {error}"),
            Some(Ok(message)) => {
                if message.offset() >= ends[message.partition() as usize] {
                    continue;
                }
                remaining -= 1;
                let value = message.payload().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                found.push(Found { partition: message.partition(), offset: message.offset(), value });
            }
        }
    }
    found
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_string).collect()
}
