//! Activity tracking: what the visitors of a site do goes to a topic for each kind of activity, for
//! recommendations, reports and alarms to read.
//!
//! ```text
//! activity_tracking ZOOKEEPER < activities
//! ```
//!
//! Activities are lines of `VISITOR KIND DETAIL`. The site must not wait for its statistics: an activity is
//! handed over and the next one served, and one that finds no room in time is left out and counted.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::BufRead;
use std::time::Duration;

use client::producer::{Acks, Delivery, ProduceError, Producer, ProducerRecord};

/// What became of the activities of one kind.
#[derive(Default)]
struct Tracked {
    deliveries: Vec<Delivery>,
    left_out: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let zookeeper = std::env::args().nth(1).ok_or("which ZooKeeper?")?;
    let producer = Producer::builder()
        .zookeeper(zookeeper)
        .client_id("activity-tracking")
        .acks(Acks::Leader)
        .linger(Duration::from_millis(20))
        .with(|options| options.max_block = Duration::from_secs(10))
        .connect()
        .await?;

    let mut kinds: BTreeMap<String, Tracked> = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.splitn(3, ' ');
        let (Some(visitor), Some(kind)) = (words.next(), words.next()) else { continue };
        // What one visitor does stays in order: the key decides the partition.
        let record = ProducerRecord::to(kind).key(visitor.to_owned());
        let record = record.value(words.next().unwrap_or_default().to_owned());
        let tracked = kinds.entry(kind.to_owned()).or_default();
        match producer.send(record).await {
            Ok(delivery) => tracked.deliveries.push(delivery),
            Err(ProduceError::BufferFull { .. }) => tracked.left_out += 1,
            Err(error) => return Err(error.into()),
        }
    }
    producer.flush().await;
    for (kind, Tracked { deliveries, left_out }) in kinds {
        let (mut delivered, mut lost) = (0, left_out);
        for delivery in deliveries {
            match delivery.await {
                Ok(_) => delivered += 1,
                Err(_) => lost += 1,
            }
        }
        println!("{kind}: {delivered} delivered, {lost} lost");
    }
    producer.close().await;
    Ok(())
}
