//! How long each partition went without an acknowledgement, as a producer saw it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use client::producer::{Idempotence, Producer as OurProducer, ProducerRecord};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

/// Between two records to the same partition: gaps are not told more exactly.
const PAUSE: Duration = Duration::from_millis(2);

/// Sends to each of a topic's partitions with acks=all, and measures, until it is dropped.
pub struct Gaps {
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    sender: Option<JoinHandle<()>>,
}

/// Whose producer it is, with its own settings but for acks=all and idempotence.
#[derive(Debug, Clone)]
pub enum Client {
    /// librdkafka, by `bootstrap.servers`.
    Librdkafka(String),
    /// Ours, which asks these brokers who leads.
    OverBrokers(String),
    /// Ours, which watches this ZooKeeper.
    OverZooKeeper(String),
}

impl Gaps {
    pub fn start(client: Client, topic: &str, partitions: usize) -> Gaps {
        let seen = Arc::new(Seen::of(partitions));
        let stop = Arc::new(AtomicBool::new(false));
        let (topic, until, told) = (topic.to_string(), stop.clone(), seen.clone());
        let sender = std::thread::spawn(move || match client {
            Client::Librdkafka(bootstrap) => librdkafka(&bootstrap, &topic, partitions, &until, told),
            ours => {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
                runtime.block_on(ottla(ours, &topic, partitions, &until, told));
            }
        });
        Gaps { stop, seen, sender: Some(sender) }
    }

    /// Waits until every partition has had an acknowledgement since now.
    #[track_caller]
    pub fn wait_for_all(&self, limit: Duration) {
        let since = Instant::now();
        crate::wait::until("every partition acknowledges", limit, || {
            let partitions = self.seen.partitions();
            partitions.iter().all(|one| one.last.is_some_and(|last| last > since)).then_some(())
        });
    }

    /// Forgets the gaps so far.
    pub fn reset(&self) {
        for one in self.seen.partitions().iter_mut() {
            (one.longest, one.ended) = (Duration::ZERO, None);
        }
    }

    /// When the longest gap of each partition ended, if it did.
    pub fn ended(&self) -> Vec<Option<SystemTime>> {
        self.seen.partitions().iter().map(|one| one.ended).collect()
    }

    /// The longest gap of each partition since the last reset, one that lasts included.
    pub fn longest(&self) -> Vec<Duration> {
        let now = Instant::now();
        let open = |one: &Partition| one.last.map_or(Duration::ZERO, |last| now.duration_since(last));
        self.seen.partitions().iter().map(|one| one.longest.max(open(one))).collect()
    }
}

impl Drop for Gaps {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
    }
}

impl std::fmt::Debug for Gaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gaps").field("longest", &self.longest()).finish_non_exhaustive()
    }
}

fn librdkafka(bootstrap: &str, topic: &str, partitions: usize, until: &AtomicBool, seen: Arc<Seen>) {
    let producer: ThreadedProducer<Acknowledgements> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .create_with_context(Acknowledgements(seen))
        .expect("the settings are right");
    while !until.load(Ordering::Relaxed) {
        for partition in 0..partitions {
            let record: BaseRecord<'_, str, str> =
                BaseRecord::to(topic).partition(partition as i32).payload("x");
            // A full queue empties; what is not sent is not measured.
            let _ = producer.send(record);
        }
        std::thread::sleep(PAUSE);
    }
    let _ = producer.flush(Duration::from_secs(60));
}

async fn ottla(client: Client, topic: &str, partitions: usize, until: &AtomicBool, seen: Arc<Seen>) {
    let builder = match client {
        Client::OverZooKeeper(connect) => OurProducer::builder().zookeeper(connect),
        Client::OverBrokers(bootstrap) | Client::Librdkafka(bootstrap) => {
            OurProducer::builder().bootstrap_servers(bootstrap)
        }
    };
    let producer = builder.idempotence(Idempotence::Required).connect().await.expect("the cluster answers");
    let mut due = tokio::time::interval(PAUSE);
    while !until.load(Ordering::Relaxed) {
        due.tick().await;
        for partition in 0..partitions {
            let record = ProducerRecord::to(topic).value("x").partition(partition as i32);
            let Ok(delivery) = producer.send(record).await else { continue };
            let seen = seen.clone();
            tokio::spawn(async move {
                if delivery.await.is_ok() {
                    seen.acknowledged(partition);
                }
            });
        }
    }
    producer.close().await;
}

#[derive(Clone, Default)]
struct Partition {
    last: Option<Instant>,
    longest: Duration,
    /// When the longest was over.
    ended: Option<SystemTime>,
}

struct Seen(Mutex<Vec<Partition>>);

impl Seen {
    fn of(partitions: usize) -> Seen {
        Seen(Mutex::new(vec![Partition::default(); partitions]))
    }

    fn acknowledged(&self, partition: usize) {
        let now = Instant::now();
        if let Some(one) = self.partitions().get_mut(partition) {
            let gap = one.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
            if gap > one.longest {
                (one.longest, one.ended) = (gap, Some(SystemTime::now()));
            }
            one.last = Some(now);
        }
    }

    fn partitions(&self) -> MutexGuard<'_, Vec<Partition>> {
        self.0.lock().expect("no panic under this lock")
    }
}

struct Acknowledgements(Arc<Seen>);

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(message) = result {
            self.0.acknowledged(usize::try_from(message.partition()).unwrap_or(usize::MAX));
        }
    }
}
