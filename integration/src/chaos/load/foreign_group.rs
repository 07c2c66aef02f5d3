//! A member of a group, by librdkafka. It does not tell generations.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{COMMIT_EVERY, CONSUMER_SESSION, GROUPS, Part, Stay, TOPIC};

const GROUP: &str = GROUPS[0];

struct Context {
    part: Part,
    consumer: u32,
    /// The next offset of each partition it reads.
    positions: Arc<Mutex<BTreeMap<i32, i64>>>,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, _: &str) {
        self.part.counts.complain("rdkafka consumer", &error);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(_) = rebalance {
            if !consumer.assignment_lost() {
                self.commit(consumer);
            }
            self.positions.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.part.assigned(GROUP, self.consumer, -1, Vec::new());
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let partitions = list.elements().iter().map(|element| element.partition()).collect();
            self.part.assigned(GROUP, self.consumer, -1, partitions);
        }
    }
}

impl Context {
    fn commit(&self, consumer: &BaseConsumer<Self>) {
        let positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if positions.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, next) in &positions {
            list.add_partition_offset(TOPIC, *partition, Offset::Offset(*next))
                .expect("an offset is not negative");
        }
        match consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => {
                for (partition, next) in positions {
                    self.part.committed(GROUP, self.consumer, partition, next);
                }
            }
            Err(error) => self.part.counts.complain("rdkafka commit", &error),
        }
    }
}

/// Joins, reads, commits and leaves when its time is up; if all are to stay, when all is over.
pub(super) fn live(part: &Part, staying: &AtomicBool, number: u32, stay: &Stay) {
    let positions = Arc::new(Mutex::new(BTreeMap::new()));
    let context = Context { part: part.clone(), consumer: number, positions: Arc::clone(&positions) };
    let consumer: BaseConsumer<Context> = ClientConfig::new()
        .set("bootstrap.servers", &part.bootstrap)
        .set("group.id", GROUP)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", CONSUMER_SESSION.as_millis().to_string())
        .set("heartbeat.interval.ms", "500")
        .set("socket.timeout.ms", "10000")
        .set("reconnect.backoff.max.ms", "500")
        .set("topic.metadata.refresh.interval.ms", "5000")
        .create_with_context(context)
        .expect("the settings are right");
    consumer.subscribe(&[TOPIC]).expect("a name is a subscription");
    let (began, mut committed) = (Instant::now(), Instant::now());
    while !part.is_over() && (began.elapsed() < stay.lasts || staying.load(Ordering::Relaxed)) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                part.polled(GROUP, number, partition, offset, message.payload().unwrap_or_default());
                positions.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, offset + 1);
            }
            Some(Err(error)) => part.counts.complain("rdkafka poll", &error),
            None => {}
        }
        if committed.elapsed() > COMMIT_EVERY {
            consumer.context().commit(&consumer);
            committed = Instant::now();
        }
    }
    // Dropping it revokes and says goodbye; librdkafka has no other way to go.
    drop(consumer);
    part.left(GROUP, number);
}
