//! A member of a group, by our own group consumer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::consumer::assignor::Assignor;
use client::consumer::group::{
    AutoOffsetReset, GroupConsumer, OffsetAndMetadata, Rebalance, RebalanceListener,
};
use client::ids::{LeaderEpoch, Offset, TopicPartition};
use futures::future::{BoxFuture, FutureExt, ready};

use super::{COMMIT_EVERY, CONSUMER_SESSION, GROUPS, Part, Stay, TOPIC};
use crate::runtime::own_thread;

const GROUP: &str = GROUPS[1];

/// What it waits for at most, so that it polls in time.
const COMMIT_LIMIT: Duration = Duration::from_secs(8);

/// Notes that partitions are gone, as soon as they are.
struct Ears {
    part: Part,
    consumer: u32,
}

impl RebalanceListener for Ears {
    fn revoked<'a>(&'a mut self, _: &'a Rebalance) -> BoxFuture<'a, ()> {
        // Eager: all of them go.
        self.part.assigned(GROUP, self.consumer, -1, Vec::new());
        ready(()).boxed()
    }
}

/// Joins, reads, commits and leaves when its time is up; if all are to stay, when all is over.
pub(super) fn live(part: &Part, staying: &AtomicBool, number: u32, stay: &Stay) {
    own_thread().block_on(async {
        let builder = GroupConsumer::builder()
            .bootstrap_servers(part.bootstrap.as_str())
            .group_id(GROUP)
            .assignors([Assignor::Range])
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .commit_by_hand()
            .listener(Ears { part: part.clone(), consumer: number })
            .with(|options| {
                options.session_timeout = CONSUMER_SESSION;
                options.heartbeat_interval = Duration::from_millis(500);
                options.request_timeout = Duration::from_secs(10);
                options.metadata_max_age = Duration::from_secs(5);
            });
        match builder.connect().await {
            Ok(consumer) => Member::new(part, number).stay(consumer, staying, stay).await,
            Err(error) => part.counts.complain("own consumer", &error),
        }
    });
    part.left(GROUP, number);
}

struct Member<'a> {
    part: &'a Part,
    number: u32,
    /// The next offset of each partition it reads, with the epoch of the record before.
    positions: BTreeMap<i32, (Offset, LeaderEpoch)>,
    /// Generation and partitions, as last noted.
    noted: (i32, Vec<i32>),
}

impl Member<'_> {
    fn new(part: &Part, number: u32) -> Member<'_> {
        Member { part, number, positions: BTreeMap::new(), noted: (-1, Vec::new()) }
    }

    async fn stay(mut self, mut consumer: GroupConsumer, staying: &AtomicBool, stay: &Stay) {
        if let Err(error) = consumer.subscribe([TOPIC]) {
            return self.part.counts.complain("own consumer", &error);
        }
        let (began, mut committed) = (Instant::now(), Instant::now());
        while !self.part.is_over() && (began.elapsed() < stay.lasts || staying.load(Ordering::Relaxed)) {
            let polled = consumer.poll(Duration::from_millis(100)).await;
            self.note_assignment(&consumer);
            match polled {
                Ok(records) => {
                    for record in records {
                        let value = record.value.as_deref().unwrap_or_default();
                        self.part.polled(GROUP, self.number, record.partition, record.offset.0, value);
                        let next = (Offset(record.offset.0 + 1), record.leader_epoch);
                        self.positions.insert(record.partition, next);
                    }
                }
                Err(error) => {
                    self.part.counts.complain("own poll", &error);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            if committed.elapsed() > COMMIT_EVERY {
                self.commit(&consumer).await;
                committed = Instant::now();
            }
        }
        if stay.says_goodbye {
            self.commit(&consumer).await;
            if let Err(error) = consumer.close().await {
                self.part.counts.complain("own close", &error);
            }
        }
    }

    fn note_assignment(&mut self, consumer: &GroupConsumer) {
        let partitions: Vec<i32> =
            consumer.assignment().iter().map(|partition| partition.partition).collect();
        let generation = consumer.membership().map_or(-1, |(_, generation)| generation);
        if (generation, &partitions) != (self.noted.0, &self.noted.1) {
            self.positions.clear();
            self.part.assigned(GROUP, self.number, generation, partitions.clone());
            self.noted = (generation, partitions);
        }
    }

    async fn commit(&mut self, consumer: &GroupConsumer) {
        let positions = self.positions.clone();
        if positions.is_empty() {
            return;
        }
        let offset = |(partition, (offset, leader_epoch)): (&i32, &(Offset, LeaderEpoch))| {
            let kept =
                OffsetAndMetadata { offset: *offset, leader_epoch: *leader_epoch, metadata: String::new() };
            (TopicPartition::new(TOPIC, *partition), kept)
        };
        let asked = consumer.commit_offsets(positions.iter().map(offset).collect());
        match tokio::time::timeout(COMMIT_LIMIT, asked).await {
            Ok(Ok(())) => {
                for (partition, (offset, _)) in positions {
                    self.part.committed(GROUP, self.number, partition, offset.0);
                }
            }
            Ok(Err(error)) => self.part.counts.complain("own commit", &error),
            Err(_) => self.part.counts.complain("own commit", &"no answer in time"),
        }
    }
}
