//! Our own producer, with acks=all and idempotence.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use client::producer::{Delivery, Idempotence, ProduceError, Producer, ProducerRecord};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{Fates, Numbers, Pace, Part, TOPIC};
use crate::runtime::own_thread;

/// As that of librdkafka does.
pub(super) fn run(part: &Part, producer: u32, per_second: u32) {
    own_thread().block_on(produce(part, producer, per_second));
}

async fn produce(part: &Part, number: u32, per_second: u32) {
    let fates = Arc::new(Fates { part: part.clone(), settled: AtomicU64::new(0) });
    let mut numbers = Numbers::of(number);
    let mut pace = Pace::of(per_second);
    let mut under_way = FuturesUnordered::new();
    let producer = connect(part).await;
    while !part.is_over() {
        let (wait, burst) = pace.next();
        let due = tokio::time::sleep(wait);
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = &mut due => break,
                Some((record, settled)) = under_way.next() => note(&fates, record, settled),
            }
        }
        for _ in 0..burst {
            if fates.is_full(numbers.sent) {
                break;
            }
            let (record, partition) = numbers.next(part);
            let taken =
                producer.send(ProducerRecord::to(TOPIC).value(record.to_string()).partition(partition));
            match taken.await {
                Ok(delivery) => under_way.push(async move { (record, delivery.await) }),
                Err(error) => fates.given_up(record, &error),
            }
        }
    }
    while let Some((record, settled)) = under_way.next().await {
        note(&fates, record, settled);
    }
    producer.close().await;
}

type Settled = <Delivery as Future>::Output;

fn note(fates: &Fates, record: u64, settled: Settled) {
    match settled {
        Ok(stored) => {
            let offset = stored.offset.map_or(-1, |offset| offset.0);
            fates.acknowledged(record, stored.partition, offset);
        }
        Err(error) => {
            let error: ProduceError = error;
            fates.given_up(record, &error);
        }
    }
}

/// The brokers may not be reachable at first.
async fn connect(part: &Part) -> Producer {
    loop {
        let builder = Producer::builder()
            .bootstrap_servers(part.bootstrap.as_str())
            .idempotence(Idempotence::Required)
            .linger(Duration::from_millis(5))
            .with(|options| {
                options.delivery_timeout = part.delivery;
                options.request_timeout = Duration::from_secs(5);
                options.metadata_max_age = Duration::from_secs(5);
            });
        match builder.connect().await {
            Ok(producer) => return producer,
            Err(error) => part.counts.complain("own producer", &error),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
