//! A commit log between the nodes of a store: each node applies what the log says, in the log's order, so that
//! all come to the same state; a node that was away reads what it missed.
//!
//! ```text
//! commit_log BROKERS TOPIC FILE < changes
//! ```
//!
//! FILE is the node's own copy: its entries, and up to where it has read the log. Changes are lines of
//! `KEY VALUE`, or `KEY` alone to remove it. They go to the log, not to the copy; then the node catches up with
//! the log, keeps its copy and prints it. The topic may be compacted: a key's last change is enough.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::BufRead;
use std::path::Path;

use client::cluster::{Bootstrap, Cluster, ClusterOptions, Discovery};
use client::consumer::{FetchOptions, OffsetSpec, SimpleConsumer};
use client::ids::{Offset, TopicPartition};
use client::producer::{Producer, ProducerOptions, ProducerRecord};
use futures::TryStreamExt;

/// A node's copy.
#[derive(Default)]
struct Copy {
    entries: BTreeMap<String, String>,
    /// Up to where each partition was applied.
    applied: BTreeMap<i32, i64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().ok_or("which brokers?")?;
    let topic = arguments.next().ok_or("which topic?")?;
    let file = arguments.next().ok_or("which file?")?;

    let discovery = Discovery::Bootstrap(Bootstrap::resolve(&brokers).await?);
    let cluster = Cluster::connect(discovery, ClusterOptions::default()).await?;
    write(cluster.clone(), &topic).await?;

    let mut copy = Copy::read(Path::new(&file))?;
    let changes = copy.catch_up(cluster, &topic).await?;
    copy.save(Path::new(&file))?;
    println!("applied {changes} changes");
    for (key, value) in &copy.entries {
        println!("{key} {value}");
    }
    Ok(())
}

/// Appends the changes of the standard input to the log.
async fn write(cluster: Cluster, topic: &str) -> Result<(), Box<dyn Error>> {
    let producer = Producer::on(cluster, ProducerOptions::default())?;
    let mut deliveries = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let change = match line.split_once(' ') {
            Some((key, value)) => ProducerRecord::to(topic).key(key.to_owned()).value(value.to_owned()),
            None => ProducerRecord::to(topic).key(line),
        };
        deliveries.push(producer.send(change).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    producer.close().await;
    Ok(())
}

impl Copy {
    /// Applies what the log has beyond what was applied. Tells how many changes that was.
    async fn catch_up(&mut self, cluster: Cluster, topic: &str) -> Result<usize, Box<dyn Error>> {
        let consumer = SimpleConsumer::new(cluster, FetchOptions::default());
        let mut ranges: Vec<(TopicPartition, std::ops::Range<Offset>)> = Vec::new();
        for partition in consumer.partitions(topic).await? {
            let start = match self.applied.get(&partition.partition) {
                Some(applied) => Offset(*applied),
                None => {
                    let first = consumer.offset(&partition, OffsetSpec::Earliest).await?;
                    first.ok_or("no first offset")?.offset
                }
            };
            let end = consumer.offset(&partition, OffsetSpec::Latest).await?.ok_or("no last offset")?.offset;
            self.applied.insert(partition.partition, end.0);
            ranges.push((partition, start..end));
        }
        let mut changes = 0;
        let mut log = consumer.read_ranges(ranges);
        while let Some(change) = log.try_next().await? {
            let key = String::from_utf8_lossy(change.key.as_deref().unwrap_or_default()).into_owned();
            match &change.value {
                Some(value) => self.entries.insert(key, String::from_utf8_lossy(value).into_owned()),
                None => self.entries.remove(&key),
            };
            changes += 1;
        }
        Ok(changes)
    }

    fn read(file: &Path) -> Result<Copy, Box<dyn Error>> {
        let mut copy = Copy::default();
        if !file.exists() {
            return Ok(copy);
        }
        for line in std::fs::read_to_string(file)?.lines() {
            match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
                ["applied", partition, offset] => {
                    copy.applied.insert(partition.parse()?, offset.parse()?);
                }
                ["entry", key, value] => {
                    copy.entries.insert(key.to_owned(), value.to_owned());
                }
                _ => return Err(format!("{} holds {line:?}", file.display()).into()),
            }
        }
        Ok(copy)
    }

    /// Entries and position together, or neither: the file is replaced as a whole.
    fn save(&self, file: &Path) -> std::io::Result<()> {
        let applied =
            self.applied.iter().map(|(partition, offset)| format!("applied {partition} {offset}\n"));
        let entries = self.entries.iter().map(|(key, value)| format!("entry {key} {value}\n"));
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, applied.chain(entries).collect::<String>())?;
        std::fs::rename(fresh, file)
    }
}
