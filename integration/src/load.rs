//! A producer that keeps sending with acks=all and remembers exactly what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

/// Numbered values to one topic, spread over its partitions, until [`Load::finish`].
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    sender: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    acknowledged: Mutex<BTreeSet<String>>,
    count: AtomicUsize,
    failed: AtomicUsize,
}

/// What became of the values sent.
#[derive(Debug)]
pub struct Outcome {
    pub acknowledged: BTreeSet<String>,
    /// Given up by the producer: these may be in the topic or not.
    pub failed: usize,
}

/// What became of records, by what was acknowledged and what was found afterwards.
#[derive(Debug, Default)]
pub struct Account {
    pub acknowledged: usize,
    /// By the producer: these may be stored or not.
    pub given_up: usize,
    /// Of those acknowledged.
    pub lost: usize,
    /// How many are stored more than once.
    pub twice: usize,
}

impl Account {
    pub fn of<T: Ord>(
        acknowledged: &BTreeSet<T>,
        given_up: usize,
        stored: impl IntoIterator<Item = T>,
    ) -> Account {
        let mut times: BTreeMap<T, usize> = BTreeMap::new();
        for value in stored {
            *times.entry(value).or_default() += 1;
        }
        Account {
            acknowledged: acknowledged.len(),
            given_up,
            lost: acknowledged.iter().filter(|value| !times.contains_key(value)).count(),
            twice: times.values().filter(|times| **times > 1).count(),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { acknowledged, given_up, lost, twice } = self;
        write!(f, "{acknowledged} acknowledged, {given_up} given up, {lost} lost, {twice} twice")
    }
}

impl Load {
    /// Starts sending about `per_second` values a second.
    pub fn start(bootstrap: &str, topic: &str, per_second: u32) -> Load {
        let seen = Arc::new(Seen::default());
        let stop = Arc::new(AtomicBool::new(false));
        let producer: ThreadedProducer<Acknowledgements> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("message.timeout.ms", "120000")
            .set("request.timeout.ms", "10000")
            .set("retry.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "200")
            .set("topic.metadata.refresh.interval.ms", "5000")
            .create_with_context(Acknowledgements(seen.clone()))
            .expect("the settings are right");
        let (topic, until) = (topic.to_string(), stop.clone());
        let sender = std::thread::spawn(move || {
            let pause = Duration::from_millis(5);
            let burst = (per_second / 200).max(1);
            let mut number = 0u64;
            while !until.load(Ordering::Relaxed) {
                for _ in 0..burst {
                    let value = format!("{number:012}");
                    let record: BaseRecord<'_, str, str> =
                        BaseRecord::to(&topic).key(value.as_str()).payload(value.as_str());
                    if producer.send(record).is_ok() {
                        number += 1;
                    }
                }
                std::thread::sleep(pause);
            }
            producer.flush(Duration::from_secs(130)).expect("every value meets its fate");
        });
        Load { stop, seen, sender }
    }

    /// How many values were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.seen.count.load(Ordering::Relaxed)
    }

    /// Waits until `more` values beyond those of now are acknowledged.
    #[track_caller]
    pub fn wait_for_more(&self, more: usize, limit: Duration) {
        let target = self.acknowledged() + more;
        crate::wait::until(&format!("{more} more acknowledgements"), limit, || {
            (self.acknowledged() >= target).then_some(())
        });
    }

    /// Stops sending, waits for what is under way.
    pub fn finish(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().expect("the sender does not panic");
        Outcome {
            acknowledged: std::mem::take(
                &mut *self.seen.acknowledged.lock().expect("no panic under this lock"),
            ),
            failed: self.seen.failed.load(Ordering::Relaxed),
        }
    }
}

struct Acknowledgements(Arc<Seen>);

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                let value = message.payload().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                self.0.acknowledged.lock().expect("no panic under this lock").insert(value);
                self.0.count.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                eprintln!("not delivered: {error}");
                self.0.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
