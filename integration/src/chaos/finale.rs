//! What is looked at when all was healed and the load has stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::connection::{Connection, ConnectionError, ConnectionOptions};
use client::wire::messages::MetadataRequest;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::arena::{Arena, ArenaError};
use super::load::{GROUPS, PARTITIONS, TOPIC};
use super::view::{Seen, Topics};
use crate::checker::{Event, Recorder};
use crate::runtime::own_thread;

/// As [`super::settings`] sets `offsets.topic.num.partitions`.
pub(super) const OFFSETS_PARTITIONS: usize = 4;

/// What is said that is of no partition.
const CLUSTER: &str = "cluster";
/// How long brokers may take to agree once everything is whole.
const AGREEMENT: Duration = Duration::from_secs(20);
/// How long their logs may take until nobody writes to them any more.
const REST: Duration = Duration::from_secs(120);
const ANSWER: Duration = Duration::from_secs(10);

pub(super) fn topics() -> Topics {
    let count = usize::try_from(PARTITIONS).unwrap_or_default();
    vec![(String::from(TOPIC), count), (String::from("__consumer_offsets"), OFFSETS_PARTITIONS)]
}

/// Whose leader coordinates the first group: Java's hash of its name, as in Kafka.
pub(super) fn coordinating_partition() -> usize {
    let hash = GROUPS[0].bytes().fold(0i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    (hash & i32::MAX) as usize % OFFSETS_PARTITIONS
}

/// Reads the whole topic by a foreign client, writes down what is stored, and gives the partitions' ends. What
/// cannot be read within `limit` is written down as such.
pub(super) fn read_all(
    bootstrap: &str,
    recorder: &Recorder,
    limit: Duration,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "nobody")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .create()?;
    let until = Instant::now() + limit;
    let mut list = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in 0..PARTITIONS {
        match end(&consumer, partition, until) {
            Ok(end) => {
                recorder.record(&Event::Ends { partition, end });
                ends.insert(partition, end);
                list.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
            }
            Err(error) => recorder.record(&Event::Unread { partition, why: error.to_string() }),
        }
    }
    consumer.assign(&list)?;
    let mut open: BTreeSet<i32> =
        ends.iter().filter(|(_, end)| **end > 0).map(|(partition, _)| *partition).collect();
    let mut complaint = String::from("nothing more came");
    let mut last = Instant::now();
    while !open.is_empty() && last.elapsed() < limit {
        let message = match consumer.poll(ANSWER) {
            None => continue,
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                complaint = error.to_string();
                continue;
            }
        };
        last = Instant::now();
        let (partition, offset) = (message.partition(), message.offset());
        let text = message.payload().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let record = text.and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
        recorder.record(&Event::Stored { partition, offset, record });
        if ends.get(&partition).is_some_and(|end| offset + 1 >= *end) {
            open.remove(&partition);
        }
    }
    for partition in open {
        recorder.record(&Event::Unread { partition, why: complaint.clone() });
    }
    Ok(ends)
}

/// A leader that has just been elected may not know it for a moment.
fn end(consumer: &BaseConsumer, partition: i32, until: Instant) -> Result<i64, KafkaError> {
    loop {
        match consumer.fetch_watermarks(TOPIC, partition, ANSWER) {
            Ok((_, end)) => return Ok(end),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// Waits a little until all replicas are the same, and writes down what they are.
pub(super) fn compare_replicas(arena: &dyn Arena, recorder: &Recorder) -> Result<(), ArenaError> {
    let started = Instant::now();
    let mut before = None;
    let replicas = loop {
        let replicas = replicas(arena)?;
        let of = |topic: &str, partition: usize| {
            let here = replicas.iter().filter(move |(key, _)| key.0 == topic && key.1 == partition);
            here.map(|(_, found)| *found).collect::<BTreeSet<_>>().len()
        };
        let same = topics().iter().all(|(topic, count)| (0..*count).all(|p| of(topic, p) == 1));
        // The replicas are read one after another: a group that ends meanwhile writes to some after they were read.
        let at_rest = before.as_ref() == Some(&replicas);
        let limit = if at_rest { AGREEMENT } else { REST };
        if same || started.elapsed() > limit {
            break replicas;
        }
        before = Some(replicas);
        std::thread::sleep(Duration::from_millis(200));
    };
    for ((topic, partition, broker), (bytes, digest)) in replicas {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        recorder.record(&Event::Replica { topic, partition, broker, bytes, digest });
    }
    Ok(())
}

type Replicas = BTreeMap<(String, usize, i32), (u64, u64)>;

/// Length and digest of each replica's batches, segment boundaries aside.
fn replicas(arena: &dyn Arena) -> Result<Replicas, ArenaError> {
    let mut found = BTreeMap::new();
    for broker in arena.brokers() {
        let data = arena.log_dir(broker)?;
        for (topic, count) in topics() {
            for partition in 0..count {
                let folder = data.join(format!("{topic}-{partition}"));
                found.insert((topic.clone(), partition, broker), digest(&folder));
            }
        }
    }
    Ok(found)
}

fn digest(folder: &Path) -> (u64, u64) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut segments: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    segments.sort();
    let bytes: Vec<u8> = segments.iter().flat_map(|path| fs::read(path).unwrap_or_default()).collect();
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    (bytes.len() as u64, hasher.finish())
}

/// Waits a little until every broker says what ZooKeeper says, and writes down what they say.
pub(super) fn compare_words(arena: &dyn Arena, seen: impl Fn() -> Option<Seen>, recorder: &Recorder) {
    let started = Instant::now();
    let (truth, words) = loop {
        let truth = seen().map(|seen| truth(&seen)).unwrap_or_default();
        let mut words = BTreeMap::new();
        for broker in arena.brokers() {
            let said = said(&arena.address(broker));
            let said = said.unwrap_or_else(|error| [(String::from(CLUSTER), error.to_string())].into());
            words.insert(broker, said);
        }
        if words.values().all(|said| *said == truth) || started.elapsed() > AGREEMENT {
            break (truth, words);
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let told = |by: String, said: BTreeMap<String, String>| {
        for (about, what) in said {
            recorder.record(&Event::Told { by: by.clone(), about, what });
        }
    };
    told(String::from("zookeeper"), truth);
    for (broker, said) in words {
        told(format!("broker-{broker}"), said);
    }
}

fn truth(seen: &Seen) -> BTreeMap<String, String> {
    let mut truth: BTreeMap<String, String> = seen
        .states
        .iter()
        .map(|((topic, partition), state)| {
            let words = words(state.leader, state.leader_epoch, &state.isr);
            (format!("{topic}/{partition}"), words)
        })
        .collect();
    let brokers: Vec<i32> = seen.registered.keys().copied().collect();
    truth.insert(String::from(CLUSTER), cluster(seen.controller.unwrap_or(-1), &brokers));
    truth
}

/// Whether each broker names the controller and the brokers that ZooKeeper names. Before it does, it answers for a
/// smaller cluster.
pub(super) fn all_know_all(arena: &dyn Arena, seen: &Seen) -> bool {
    let truth = truth(seen);
    let is_so = |said: BTreeMap<String, String>| said.get(CLUSTER) == truth.get(CLUSTER);
    arena.brokers().into_iter().all(|broker| said(&arena.address(broker)).is_ok_and(is_so))
}

fn said(address: &str) -> Result<BTreeMap<String, String>, ConnectionError> {
    own_thread().block_on(ask(address))
}

async fn ask(address: &str) -> Result<BTreeMap<String, String>, ConnectionError> {
    let options =
        ConnectionOptions { connect_timeout: ANSWER, request_timeout: ANSWER, ..Default::default() };
    let connection = Connection::connect(address, "chaos", options).await?;
    let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
    let answer = connection.send_negotiated(&request).await?;
    let mut said = BTreeMap::new();
    for topic in &answer.topics {
        let name = topic.name.as_deref().unwrap_or_default();
        for partition in &topic.partitions {
            let words = words(partition.leader_id, partition.leader_epoch, &partition.isr_nodes);
            said.insert(format!("{name}/{}", partition.partition_index), words);
        }
    }
    let mut brokers: Vec<i32> = answer.brokers.iter().map(|broker| broker.node_id).collect();
    brokers.sort_unstable();
    said.insert(String::from(CLUSTER), cluster(answer.controller_id, &brokers));
    Ok(said)
}

fn words(leader: i32, epoch: i32, isr: &[i32]) -> String {
    let mut isr = isr.to_vec();
    isr.sort_unstable();
    format!("leader {leader} epoch {epoch} isr {isr:?}")
}

fn cluster(controller: i32, brokers: &[i32]) -> String {
    format!("controller {controller} brokers {brokers:?}")
}
