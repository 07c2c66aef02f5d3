//! A group consumer of ours at work in a thread of its own, and what it saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use client::consumer::ConsumerRecord;
use client::consumer::group::{GroupConsumer, GroupConsumerBuilder, Rebalance, RebalanceListener};
use client::ids::TopicPartition;
use futures::future::{BoxFuture, FutureExt};
use integration::cluster::PATIENCE;
use integration::member::now_ms;
use integration::ownership::{Change, Told};
use integration::runtime::run;
use integration::wait;

/// What a listener heard, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Assigned(BTreeSet<i32>),
    Revoked(BTreeSet<i32>),
    Lost(BTreeSet<i32>),
}

#[derive(Debug, Default)]
pub(crate) struct Saw {
    pub(crate) records: Vec<ConsumerRecord>,
    pub(crate) heard: Vec<Heard>,
    /// When it heard each of it.
    heard_at_ms: Vec<i64>,
    pub(crate) assigned: BTreeSet<i32>,
    pub(crate) generation: Option<i32>,
    errors: Vec<String>,
}

pub(crate) struct Reader {
    saw: Arc<Mutex<Saw>>,
    stop: Arc<AtomicBool>,
    /// Whether to leave without a word when stopped.
    die: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

struct Ears(Arc<Mutex<Saw>>);

impl Ears {
    fn hear(&self, rebalance: &Rebalance, heard: impl FnOnce(BTreeSet<i32>) -> Heard) -> BoxFuture<'_, ()> {
        let partitions = rebalance.partitions().iter().map(|p| p.partition).collect();
        let mut saw = self.0.lock().expect("nobody panics under it");
        saw.heard.push(heard(partitions));
        saw.heard_at_ms.push(now_ms());
        drop(saw);
        async {}.boxed()
    }
}

impl RebalanceListener for Ears {
    fn assigned<'a>(&'a mut self, rebalance: &'a Rebalance) -> BoxFuture<'a, ()> {
        self.hear(rebalance, Heard::Assigned)
    }

    fn revoked<'a>(&'a mut self, rebalance: &'a Rebalance) -> BoxFuture<'a, ()> {
        self.hear(rebalance, Heard::Revoked)
    }

    fn lost<'a>(&'a mut self, rebalance: &'a Rebalance) -> BoxFuture<'a, ()> {
        self.hear(rebalance, Heard::Lost)
    }
}

impl Reader {
    /// Subscribes to a topic and polls until it is stopped.
    pub(crate) fn start(builder: GroupConsumerBuilder, topic: &str) -> Reader {
        let saw = Arc::new(Mutex::new(Saw::default()));
        let (stop, die) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (told, topic) = ((saw.clone(), stop.clone(), die.clone()), topic.to_owned());
        let builder = builder.listener(Ears(saw.clone()));
        let thread = std::thread::spawn(move || {
            let (saw, stop, die) = told;
            run(async {
                let mut consumer = builder.connect().await.expect("the cluster is there");
                consumer.subscribe([topic.as_str()]).expect("there is a group");
                while !stop.load(Ordering::Relaxed) {
                    let polled = consumer.poll(Duration::from_millis(100)).await;
                    note(&mut saw.lock().expect("nobody panics under it"), &consumer, polled);
                }
                if !die.load(Ordering::Relaxed) {
                    consumer.close().await.expect("the last commit is made");
                }
            });
        });
        Reader { saw, stop, die, thread }
    }

    pub(crate) fn saw<T>(&self, look: impl FnOnce(&Saw) -> T) -> T {
        look(&self.saw.lock().expect("nobody panics under it"))
    }

    pub(crate) fn assigned(&self) -> BTreeSet<i32> {
        self.saw(|saw| saw.assigned.clone())
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn(&Saw) -> bool) {
        wait::until(what, PATIENCE, || {
            assert!(
                !self.thread.is_finished(),
                "{what}: the consumer ended: {:?}",
                self.saw(|s| s.errors.clone())
            );
            self.saw(&condition).then_some(())
        });
    }

    /// Closes, and gives what it saw.
    pub(crate) fn finish(self) -> Saw {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the consumer does not panic");
        std::mem::take(&mut self.saw.lock().expect("nobody panics under it"))
    }

    /// Ends without commit or goodbye.
    pub(crate) fn die(self) -> Saw {
        self.die.store(true, Ordering::Relaxed);
        self.finish()
    }
}

fn note(
    saw: &mut Saw,
    consumer: &GroupConsumer,
    polled: Result<Vec<ConsumerRecord>, client::consumer::group::ConsumerError>,
) {
    match polled {
        Ok(records) => saw.records.extend(records),
        Err(error) => saw.errors.push(error.to_string()),
    }
    saw.assigned = consumer.assignment().iter().map(|p| p.partition).collect();
    saw.generation = consumer.membership().map(|(_, generation)| generation);
}

impl Saw {
    pub(crate) fn values(&self) -> Vec<String> {
        let value = |r: &ConsumerRecord| r.value.as_ref().map(|v| String::from_utf8_lossy(v).into_owned());
        self.records.iter().filter_map(value).collect()
    }

    /// What it heard, for comparison with other members.
    pub(crate) fn told(&self, member: &str) -> Vec<Told> {
        let one = |(heard, at_ms): (&Heard, &i64)| Told {
            at_ms: *at_ms,
            member: member.to_owned(),
            change: match heard {
                Heard::Assigned(partitions) => Change::Assigned(partitions.clone()),
                Heard::Revoked(partitions) | Heard::Lost(partitions) => Change::Revoked(partitions.clone()),
            },
        };
        self.heard.iter().zip(&self.heard_at_ms).map(one).collect()
    }

    /// In each partition offsets rise, but for what was read again after a rebalance.
    pub(crate) fn by_partition(&self) -> BTreeMap<TopicPartition, Vec<i64>> {
        let mut by_partition: BTreeMap<TopicPartition, Vec<i64>> = BTreeMap::new();
        for record in &self.records {
            by_partition.entry(record.topic_partition()).or_default().push(record.offset.0);
        }
        by_partition
    }
}
