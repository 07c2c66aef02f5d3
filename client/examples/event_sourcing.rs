//! Event sourcing: the log of events is the truth, and the state is whatever the events add up to.
//!
//! ```text
//! event_sourcing ZOOKEEPER TOPIC [ACCOUNT AMOUNT]...
//! ```
//!
//! Rebuilds the balances of accounts from the topic's events, decides about each command by that state (no
//! account may be overdrawn), appends an event for each that is allowed, and prints the balances.

use std::collections::BTreeMap;
use std::error::Error;

use client::cluster::{Cluster, ClusterOptions, Discovery};
use client::consumer::{ConsumerRecord, FetchOptions, OffsetSpec, SimpleConsumer};
use client::producer::{Producer, ProducerOptions, ProducerRecord};
use client::zk::ZkConfig;
use futures::TryStreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let zookeeper = arguments.next().ok_or("which ZooKeeper?")?;
    let topic = arguments.next().ok_or("which topic?")?;
    let commands: Vec<String> = arguments.collect();

    let discovery = Discovery::ZooKeeper(ZkConfig::new(zookeeper));
    let cluster = Cluster::connect(discovery, ClusterOptions::default()).await?;
    let mut balances = rebuild(cluster.clone(), &topic).await?;

    let producer = Producer::on(cluster, ProducerOptions::default())?;
    for command in commands.chunks_exact(2) {
        let (account, amount) = (&command[0], command[1].parse::<i64>()?);
        if balance(&balances, account) + amount < 0 {
            println!("refused: {account} would be overdrawn");
            continue;
        }
        // Events of an account share a key, and so a partition: they stay in order.
        let event = ProducerRecord::to(topic.as_str()).key(account.clone()).value(amount.to_string());
        producer.deliver(event).await?;
        // Only what the log has taken has happened.
        *balances.entry(account.clone()).or_default() += amount;
    }
    producer.close().await;

    for (account, balance) in balances {
        println!("{account} {balance}");
    }
    Ok(())
}

/// Reads every event that there is now, from the beginning.
async fn rebuild(cluster: Cluster, topic: &str) -> Result<BTreeMap<String, i64>, Box<dyn Error>> {
    let consumer = SimpleConsumer::new(cluster, FetchOptions::default());
    let mut ranges = Vec::new();
    for partition in consumer.partitions(topic).await? {
        let start = consumer.offset(&partition, OffsetSpec::Earliest).await?.ok_or("no first offset")?.offset;
        let end = consumer.offset(&partition, OffsetSpec::Latest).await?.ok_or("no last offset")?.offset;
        ranges.push((partition, start..end));
    }
    let mut balances = BTreeMap::new();
    let mut events = consumer.read_ranges(ranges);
    while let Some(event) = events.try_next().await? {
        apply(&mut balances, &event)?;
    }
    Ok(balances)
}

fn apply(balances: &mut BTreeMap<String, i64>, event: &ConsumerRecord) -> Result<(), Box<dyn Error>> {
    let (Some(account), Some(amount)) = (&event.key, &event.value) else {
        return Err(format!("the event at offset {} lacks its account or its amount", event.offset).into());
    };
    let amount: i64 = std::str::from_utf8(amount)?.parse()?;
    *balances.entry(std::str::from_utf8(account)?.to_owned()).or_default() += amount;
    Ok(())
}

fn balance(balances: &BTreeMap<String, i64>, account: &str) -> i64 {
    balances.get(account).copied().unwrap_or_default()
}
