//! Foreign members of consumer groups, as processes that say what happens to them: one JSON object a
//! line, `{"name": "partitions_assigned" | "partitions_revoked" | "value", "timestamp": ms, ...}`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::Value;

use crate::apache::Release;
use crate::ownership::{Change, Told};
use crate::process::Process;
use crate::python::python;

/// A client library, with its default settings but for `auto.offset.reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// Apache's `VerifiableConsumer` of 3.9.
    Java,
    /// Apache's console consumer of 3.9, which tells of values alone: they have to be digits.
    Console,
    /// librdkafka, by confluent-kafka.
    Confluent,
    KafkaPython,
}

/// Where members meet.
#[derive(Clone, Copy, Debug)]
pub struct Meeting<'a> {
    pub bootstrap: &'a str,
    pub group: &'a str,
    pub topic: &'a str,
    /// For their output.
    pub folder: &'a Path,
}

/// A running member.
#[derive(Debug)]
pub struct Member {
    library: Library,
    name: String,
    process: Process,
}

/// What a member has said by its end.
#[derive(Debug)]
pub struct Said {
    pub values: Vec<String>,
    pub told: Vec<Told>,
}

impl Member {
    /// Joins and reads from the topic's beginning; `options` are further arguments of Apache's tools, or further
    /// settings (`key=text`) of the others. `name` tells it from others of the group.
    pub fn start(library: Library, meeting: Meeting<'_>, name: &str, options: &[&str]) -> Member {
        let Meeting { bootstrap, group, topic, folder } = meeting;
        let mut command = match library {
            Library::Java => {
                let mut command = Release::V3_9.java("org.apache.kafka.tools.VerifiableConsumer");
                command.args(["--bootstrap-server", bootstrap, "--topic", topic, "--group-id", group]);
                command.args(["--reset-policy", "earliest", "--verbose"]);
                command
            }
            Library::Console => {
                let mut command = Release::V3_9.java("org.apache.kafka.tools.consumer.ConsoleConsumer");
                command.args(["--bootstrap-server", bootstrap, "--topic", topic, "--group", group]);
                command.arg("--from-beginning");
                command
            }
            Library::Confluent => script(CONFLUENT, bootstrap, group, topic),
            Library::KafkaPython => script(KAFKA_PYTHON, bootstrap, group, topic),
        };
        let log = folder.join(format!("{group}-{name}.log"));
        Member { library, name: name.to_owned(), process: Process::start(command.args(options), &log) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The values read so far.
    pub fn values(&self) -> Vec<String> {
        let text = |field: &str| {
            let read = self.events(field).into_iter();
            read.filter_map(|event| Some(event["value"].as_str()?.to_owned())).collect()
        };
        match self.library {
            Library::Java => text("record_data"),
            Library::Confluent | Library::KafkaPython => text("value"),
            Library::Console => {
                let said = self.process.output();
                let is_value =
                    |line: &&str| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
                // The last line may not be whole yet.
                let whole = said.rfind('\n').map_or("", |end| &said[..end]);
                whole.lines().filter(is_value).map(str::to_owned).collect()
            }
        }
    }

    /// Whether it says which partitions it has.
    pub fn tells_partitions(&self) -> bool {
        self.library != Library::Console
    }

    /// What its library called back about rebalances.
    pub fn told(&self) -> Vec<Told> {
        let one = |event: Value| {
            let listed = event["partitions"].as_array()?;
            let numbers = listed.iter().filter_map(|one| i32::try_from(one["partition"].as_i64()?).ok());
            let partitions = numbers.collect();
            let change = match event["name"].as_str()? {
                "partitions_assigned" => Change::Assigned(partitions),
                "partitions_revoked" => Change::Revoked(partitions),
                _ => return None,
            };
            Some(Told { at_ms: event["timestamp"].as_i64()?, member: self.name.clone(), change })
        };
        self.events("partitions_").into_iter().filter_map(one).collect()
    }

    /// The partitions it has, by its callbacks.
    pub fn partitions(&self) -> BTreeSet<i32> {
        let mut owned = BTreeSet::new();
        for told in self.told() {
            match told.change {
                Change::Assigned(partitions) => owned.extend(partitions),
                Change::Revoked(partitions) => owned = &owned - &partitions,
                Change::Gone => owned.clear(),
            }
        }
        owned
    }

    /// What it said beside values, for a failing test.
    pub fn remarks(&self) -> String {
        let said = self.process.output();
        let is_value = |line: &str| line.contains("value") || line.contains("records_consumed");
        let lines: Vec<&str> = said.lines().filter(|line| !is_value(line)).collect();
        lines.join("\n")
    }

    /// SIGTERM, on which all of them leave their group. The end is not waited for.
    pub fn ask_to_leave(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Whether it has ended after it was asked to.
    pub fn has_left(&mut self) -> bool {
        self.process.exited().is_some()
    }

    /// SIGKILL: its group hears nothing.
    pub fn kill(self) -> Said {
        // Nothing is read from here on.
        self.process.signal(Signal::STOP);
        let (values, mut told) = (self.values(), self.told());
        told.push(Told { at_ms: now_ms(), member: self.name.clone(), change: Change::Gone });
        self.process.kill();
        Said { values, told }
    }

    /// The events whose name begins so.
    fn events(&self, name: &str) -> Vec<Value> {
        let said = self.process.output();
        let named = |event: &Value| event["name"].as_str().is_some_and(|own| own.starts_with(name));
        let lines = said.lines().filter(|line| line.contains(name));
        lines.filter_map(|line| serde_json::from_str(line).ok()).filter(named).collect()
    }
}

/// By the clock that members tell times by.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_millis()).expect("it is not so late")
}

fn script(text: &str, bootstrap: &str, group: &str, topic: &str) -> Command {
    let mut command = python();
    command.args(["-u", "-c", text, bootstrap, group, topic]);
    command
}

const CONFLUENT: &str = "\
import json, signal, sys, time
from confluent_kafka import Consumer
def say(name, **more):
    print(json.dumps({'name': name, 'timestamp': int(time.time() * 1000), **more}))
def told(name):
    def tell(_, partitions):
        say(name, partitions=[{'partition': p.partition} for p in partitions])
    return tell
more = dict(option.split('=', 1) for option in sys.argv[4:])
consumer = Consumer({'bootstrap.servers': sys.argv[1], 'group.id': sys.argv[2], 'auto.offset.reset': 'earliest', **more})
consumer.subscribe([sys.argv[3]], on_assign=told('partitions_assigned'), on_revoke=told('partitions_revoked'),
                   on_lost=told('partitions_revoked'))
leaving = []
signal.signal(signal.SIGTERM, lambda *_: leaving.append(True))
while not leaving:
    message = consumer.poll(0.5)
    if message is not None and message.error() is None:
        say('value', value=message.value().decode())
consumer.close()
";

const KAFKA_PYTHON: &str = "\
import json, signal, sys, time
from kafka import ConsumerRebalanceListener, KafkaConsumer
def say(name, **more):
    print(json.dumps({'name': name, 'timestamp': int(time.time() * 1000), **more}))
def tell(name, partitions):
    say(name, partitions=[{'partition': p.partition} for p in partitions])
class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        tell('partitions_revoked', revoked)
    def on_partitions_assigned(self, assigned):
        tell('partitions_assigned', assigned)
more = dict(option.split('=', 1) for option in sys.argv[4:])
consumer = KafkaConsumer(bootstrap_servers=sys.argv[1].split(','), group_id=sys.argv[2], auto_offset_reset='earliest',
                         **more)
consumer.subscribe([sys.argv[3]], listener=Listener())
leaving = []
signal.signal(signal.SIGTERM, lambda *_: leaving.append(True))
while not leaving:
    for records in consumer.poll(timeout_ms=500).values():
        for record in records:
            say('value', value=record.value.decode())
tell('partitions_revoked', consumer.assignment())
consumer.close()
";
