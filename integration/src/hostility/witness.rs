//! Somebody who behaves: one record after the other, each acknowledged by all in-sync replicas before
//! the next, and in the end all of them read again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::cluster::{Bootstrap, Discovery};
use client::consumer::{OffsetSpec, SimpleConsumer, SimpleOptions};
use client::ids::{Offset, TopicPartition};
use client::producer::{Producer, ProducerRecord};
use futures::{FutureExt, TryStreamExt};
use tokio::task::JoinHandle;

use super::WITNESSED;
use super::answered::{Abandoned, answered};
use crate::load::Account;
use crate::percentile::percentile;

/// Between an acknowledgement and the next record.
const PAUSE: Duration = Duration::from_millis(10);

/// Records of [`fill`], together 48 MiB.
const FILLING: (usize, usize) = (96, 512 << 10);

#[derive(Debug)]
pub(super) struct Witness {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Testimony, Abandoned>>,
}

/// What a witness saw.
#[derive(Debug, Default)]
pub(super) struct Testimony {
    account: Account,
    /// From sending a record to its acknowledgement, rising.
    latencies: Vec<Duration>,
    /// Why records were given up.
    errors: Vec<String>,
}

impl Witness {
    /// Writes to a partition of the topic for witnesses, records of so many bytes.
    pub(super) async fn start(bootstrap: &str, partition: i32, bytes: usize) -> Result<Witness, Abandoned> {
        let producer = producer(bootstrap).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(witness(producer, bootstrap.to_owned(), partition, bytes, Arc::clone(&stop)));
        Ok(Witness { stop, task })
    }

    pub(super) async fn finish(self) -> Result<Testimony, Abandoned> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a witness does not panic")
    }
}

/// Data for others to read.
pub(super) async fn fill(bootstrap: &str, topic: &'static str) -> Result<(), Abandoned> {
    let producer = producer(bootstrap).await?;
    let (records, bytes) = FILLING;
    for _ in 0..records {
        let record = ProducerRecord::to(topic).partition(0).value(vec![b'd'; bytes]);
        answered("who stores data to read", producer.deliver(record)).await?;
    }
    close(producer).await
}

async fn producer(bootstrap: &str) -> Result<Producer, Abandoned> {
    let builder = Producer::builder().bootstrap_servers(bootstrap).linger(Duration::ZERO);
    answered("a producer that connects", builder.connect()).await
}

async fn close(producer: Producer) -> Result<(), Abandoned> {
    answered("a producer that closes", producer.close().map(Ok::<_, Infallible>)).await
}

async fn witness(
    producer: Producer,
    bootstrap: String,
    partition: i32,
    bytes: usize,
    stop: Arc<AtomicBool>,
) -> Result<Testimony, Abandoned> {
    let mut seen = Testimony::default();
    let mut acknowledged = BTreeSet::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let mut value = number.to_be_bytes().to_vec();
        value.resize(bytes, b'w');
        let asked = Instant::now();
        match producer.deliver(ProducerRecord::to(WITNESSED).partition(partition).value(value)).await {
            Ok(_) => drop(acknowledged.insert(number)),
            Err(error) => seen.errors.push(error.to_string()),
        }
        seen.latencies.push(asked.elapsed());
        number += 1;
        tokio::time::sleep(PAUSE).await;
    }
    close(producer).await?;
    let stored = stored(&bootstrap, partition).await?;
    seen.account = Account::of(&acknowledged, seen.errors.len(), stored);
    Ok(seen)
}

/// The numbers that stand in the partition.
async fn stored(bootstrap: &str, partition: i32) -> Result<Vec<u64>, Abandoned> {
    let servers = Bootstrap::resolve(bootstrap).await.expect("an address");
    let connecting = SimpleConsumer::connect(Discovery::Bootstrap(servers), SimpleOptions::default());
    let consumer = answered("a witness who comes to read", connecting).await?;
    let partition = TopicPartition::new(WITNESSED, partition);
    let end =
        answered("a witness who looks for the end", consumer.offset(&partition, OffsetSpec::Latest)).await?;
    let end = end.expect("a partition has an end").offset;
    let mut records = consumer.read_ranges([(partition, Offset(0)..end)]);
    let mut stored = Vec::new();
    while let Some(record) = answered("a witness who reads", records.try_next()).await? {
        let value = record.value.expect("a witness writes values");
        let number =
            value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)).expect("it begins with its number");
        stored.push(number);
    }
    Ok(stored)
}

impl Testimony {
    pub(super) fn complaints(&self, patience: Duration) -> impl Iterator<Item = String> {
        let worst = percentile(&self.latencies, 100);
        let wrong = [
            (self.account.acknowledged == 0, String::from("none was acknowledged")),
            (
                !self.errors.is_empty(),
                format!("{} given up, such as: {:?}", self.errors.len(), self.errors.first()),
            ),
            (self.account.lost > 0, format!("{} acknowledged and lost", self.account.lost)),
            (self.account.twice > 0, format!("{} stored twice", self.account.twice)),
            (worst > patience, format!("one took {worst:.1?}, more than {patience:.1?}")),
        ];
        wrong.into_iter().filter_map(|(is_wrong, text)| is_wrong.then_some(text))
    }
}

impl fmt::Display for Testimony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; p50 {:.1?}, p99 {:.1?}, worst {:.1?}",
            self.account,
            percentile(&self.latencies, 50),
            percentile(&self.latencies, 99),
            percentile(&self.latencies, 100)
        )
    }
}
