//! Foreign members of consumer groups, as processes that say what happens to them: one JSON object a
//! line, `{"name": "partitions_assigned" | "partitions_revoked" | "value", ...}`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::apache::Release;
use crate::process::Process;
use crate::python::python;

/// A client library, with its default settings but for `auto.offset.reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// Apache's `VerifiableConsumer` of 3.9.
    Java,
    /// librdkafka, by confluent-kafka.
    Confluent,
    KafkaPython,
}

/// A running member.
#[derive(Debug)]
pub struct Member {
    library: Library,
    process: Process,
}

impl Member {
    /// Joins `group` and reads `topic` from its beginning. `name` tells its log from others.
    pub fn start(
        library: Library,
        bootstrap: &str,
        group: &str,
        topic: &str,
        folder: &Path,
        name: &str,
    ) -> Member {
        let mut command = match library {
            Library::Java => {
                let mut command = Release::V3_9.java("org.apache.kafka.tools.VerifiableConsumer");
                command.args(["--bootstrap-server", bootstrap, "--topic", topic, "--group-id", group]);
                command.args(["--reset-policy", "earliest", "--verbose"]);
                command
            }
            Library::Confluent => script(CONFLUENT, bootstrap, group, topic),
            Library::KafkaPython => script(KAFKA_PYTHON, bootstrap, group, topic),
        };
        Member { library, process: Process::start(&mut command, &folder.join(format!("{name}.log"))) }
    }

    /// The values read so far.
    pub fn values(&self) -> Vec<String> {
        let field = if self.library == Library::Java { "record_data" } else { "value" };
        let read =
            self.events(field).into_iter().filter_map(|event| Some(event["value"].as_str()?.to_owned()));
        read.collect()
    }

    /// How often the library called back about a rebalance.
    pub fn rebalances(&self) -> usize {
        self.events("partitions_assigned").len() + self.events("partitions_revoked").len()
    }

    /// The partitions it has, by its callbacks.
    pub fn partitions(&self) -> BTreeSet<i64> {
        let mut owned = BTreeSet::new();
        for event in self.all_events() {
            let listed = event["partitions"].as_array().into_iter().flatten();
            let partitions = listed.filter_map(|one| one["partition"].as_i64());
            match event["name"].as_str() {
                Some("partitions_assigned") => owned.extend(partitions),
                Some("partitions_revoked") => owned = &owned - &partitions.collect(),
                _ => {}
            }
        }
        owned
    }

    /// What it said, for a failing test.
    pub fn output(&self) -> String {
        self.process.output()
    }

    fn events(&self, name: &str) -> Vec<Value> {
        self.all_events().into_iter().filter(|event| event["name"] == name).collect()
    }

    fn all_events(&self) -> Vec<Value> {
        self.process.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

fn script(text: &str, bootstrap: &str, group: &str, topic: &str) -> Command {
    let mut command = python();
    command.args(["-u", "-c", text, bootstrap, group, topic]);
    command
}

const CONFLUENT: &str = "\
import json, sys
from confluent_kafka import Consumer
def told(name):
    def tell(_, partitions):
        print(json.dumps({'name': name, 'partitions': [{'partition': p.partition} for p in partitions]}))
    return tell
consumer = Consumer({'bootstrap.servers': sys.argv[1], 'group.id': sys.argv[2], 'auto.offset.reset': 'earliest'})
consumer.subscribe([sys.argv[3]], on_assign=told('partitions_assigned'), on_revoke=told('partitions_revoked'),
                   on_lost=told('partitions_revoked'))
while True:
    message = consumer.poll(1.0)
    if message is not None and message.error() is None:
        print(json.dumps({'name': 'value', 'value': message.value().decode()}))
";

const KAFKA_PYTHON: &str = "\
import json, sys
from kafka import ConsumerRebalanceListener, KafkaConsumer
def tell(name, partitions):
    print(json.dumps({'name': name, 'partitions': [{'partition': p.partition} for p in partitions]}))
class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        tell('partitions_revoked', revoked)
    def on_partitions_assigned(self, assigned):
        tell('partitions_assigned', assigned)
consumer = KafkaConsumer(bootstrap_servers=sys.argv[1].split(','), group_id=sys.argv[2], auto_offset_reset='earliest')
consumer.subscribe([sys.argv[3]], listener=Listener())
while True:
    for records in consumer.poll(timeout_ms=500).values():
        for record in records:
            print(json.dumps({'name': 'value', 'value': record.value.decode()}))
";
