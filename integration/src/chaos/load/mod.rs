//! Clients at work: producers that number their records, members of two groups, and who looks at committed offsets.

mod commits;
mod foreign_group;
mod foreign_producer;
mod own_group;
mod own_producer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::counts::Counts;
use crate::checker::{Event, Recorder};

pub(super) const TOPIC: &str = "chaos";
pub(super) const PARTITIONS: i32 = 6;
/// The first by librdkafka, the second by our own group consumer.
pub(super) const GROUPS: [&str; 2] = ["foreign", "own"];
const MEMBERS: usize = 2;

/// Of a producer; then it waits for acknowledgements, which bounds its memory.
const OUTSTANDING_MAX: u64 = 20_000;
const CONSUMER_SESSION: Duration = Duration::from_secs(6);
/// How long members may take to commit and to leave their groups. librdkafka sometimes waits for itself for ever
/// then, and a run has to end.
const FAREWELL: Duration = Duration::from_secs(60);
const COMMIT_EVERY: Duration = Duration::from_millis(1_000);

/// What everybody who takes part is given.
#[derive(Debug, Clone)]
struct Part {
    bootstrap: String,
    recorder: Recorder,
    counts: Arc<Counts>,
    /// A record not acknowledged by then is given up.
    delivery: Duration,
    stop: Arc<AtomicBool>,
}

impl Part {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn polled(&self, group: &str, consumer: u32, partition: i32, offset: i64, value: &[u8]) {
        let record = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        // A value that nobody wrote: the rules will say that nobody sent the record.
        let record = record.unwrap_or(u64::MAX);
        let group = String::from(group);
        self.counts.read(&group, partition, offset);
        self.recorder.record(&Event::Polled { group, consumer, partition, offset, record });
    }

    fn committed(&self, group: &str, consumer: u32, partition: i32, offset: i64) {
        self.counts.committed.fetch_add(1, Ordering::Relaxed);
        let group = String::from(group);
        self.recorder.record(&Event::Committed { group, consumer, partition, offset });
    }

    fn assigned(&self, group: &str, consumer: u32, generation: i32, partitions: Vec<i32>) {
        let group = String::from(group);
        self.recorder.record(&Event::Assigned { group, consumer, generation, partitions });
    }

    fn left(&self, group: &str, consumer: u32) {
        self.recorder.record(&Event::Left { group: String::from(group), consumer });
    }
}

/// The records of one producer: numbered in the order of sending, and nobody else's.
#[derive(Debug)]
struct Numbers {
    producer: u32,
    sent: u64,
}

impl Numbers {
    fn of(producer: u32) -> Numbers {
        Numbers { producer, sent: 0 }
    }

    /// Notes the sending of the next record, which is to go to this partition.
    fn next(&mut self, part: &Part) -> (u64, i32) {
        let record = (u64::from(self.producer) << 40) + self.sent;
        let partition = (self.sent % u64::from(PARTITIONS.unsigned_abs())) as i32;
        self.sent += 1;
        part.counts.sent.fetch_add(1, Ordering::Relaxed);
        part.recorder.record(&Event::Sending { producer: self.producer, record, partition });
        (record, partition)
    }
}

/// Notes what became of records.
#[derive(Debug)]
struct Fates {
    part: Part,
    settled: AtomicU64,
}

impl Fates {
    fn producer(record: u64) -> u32 {
        (record >> 40) as u32
    }

    fn acknowledged(&self, record: u64, partition: i32, offset: i64) {
        self.settled.fetch_add(1, Ordering::Relaxed);
        self.part.counts.acknowledge(partition);
        let producer = Fates::producer(record);
        self.part.recorder.record(&Event::Acknowledged { producer, record, partition, offset });
    }

    fn given_up(&self, record: u64, why: &impl std::fmt::Display) {
        self.settled.fetch_add(1, Ordering::Relaxed);
        self.part.counts.given_up.fetch_add(1, Ordering::Relaxed);
        let producer = Fates::producer(record);
        self.part.recorder.record(&Event::GivenUp { producer, record, why: why.to_string() });
    }

    fn is_full(&self, sent: u64) -> bool {
        sent.saturating_sub(self.settled.load(Ordering::Relaxed)) >= OUTSTANDING_MAX
    }
}

/// Says when the next records are due, at a steady rate without catching up.
#[derive(Debug)]
struct Pace {
    every: Duration,
    burst: u32,
    next: Instant,
}

impl Pace {
    fn of(per_second: u32) -> Pace {
        let every = Duration::from_millis(20);
        Pace { every, burst: (per_second / 50).max(1), next: Instant::now() }
    }

    /// How long to wait, for how many records then.
    fn next(&mut self) -> (Duration, u32) {
        let now = Instant::now();
        let wait = self.next.saturating_duration_since(now);
        self.next = now.max(self.next) + self.every;
        (wait, self.burst)
    }
}

/// How long a member stays, how it goes and when the next one comes.
#[derive(Debug)]
struct Stay {
    lasts: Duration,
    says_goodbye: bool,
    pause: Duration,
}

impl Stay {
    fn draw(random: &mut StdRng) -> Stay {
        Stay {
            lasts: Duration::from_millis(random.random_range(12_000..40_000)),
            says_goodbye: random.random_ratio(2, 3),
            pause: Duration::from_millis(random.random_range(200..4_000)),
        }
    }
}

/// Everybody at work.
#[derive(Debug)]
pub(super) struct Load {
    producing: Arc<AtomicBool>,
    churning: Arc<AtomicBool>,
    consuming: Arc<AtomicBool>,
    producers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
    counts: Arc<Counts>,
}

impl Load {
    /// Starts everybody. `rate`: records a second, of all producers together, which give a record up after
    /// `delivery`.
    pub(super) fn start(
        bootstrap: &str,
        recorder: &Recorder,
        counts: &Arc<Counts>,
        rate: u32,
        delivery: Duration,
        seed: u64,
    ) -> Load {
        let flag = || Arc::new(AtomicBool::new(false));
        for group in GROUPS {
            recorder.record(&Event::Group { group: String::from(group) });
        }
        let (producing, churning, consuming) = (flag(), flag(), flag());
        let part = |stop: &Arc<AtomicBool>| Part {
            bootstrap: String::from(bootstrap),
            recorder: recorder.clone(),
            counts: Arc::clone(counts),
            delivery,
            stop: Arc::clone(stop),
        };
        let producers = vec![
            spawn(part(&producing), move |part| foreign_producer::run(&part, 1, rate / 2)),
            spawn(part(&producing), move |part| own_producer::run(&part, 2, rate / 2)),
        ];
        let mut consumers = vec![spawn(part(&consuming), |part| commits::run(&part))];
        // Consumers are numbered by member: its lives follow one another.
        for member in 0..MEMBERS as u32 {
            let random = || StdRng::seed_from_u64(seed ^ u64::from(member + 1));
            for (own, first) in [(false, 1_000), (true, 100_000)] {
                let (mut random, staying) = (random(), Arc::clone(&churning));
                let first = first + member * 10_000;
                consumers.push(spawn(part(&consuming), move |part| {
                    let mut consumer = first;
                    while !part.is_over() {
                        let mut stay = Stay::draw(&mut random);
                        if staying.load(Ordering::Relaxed) {
                            stay.says_goodbye = true;
                        }
                        match own {
                            true => own_group::live(&part, &staying, consumer, &stay),
                            false => foreign_group::live(&part, &staying, consumer, &stay),
                        }
                        consumer += 1;
                        if !part.is_over() {
                            std::thread::sleep(stay.pause);
                        }
                    }
                }));
            }
        }
        Load { producing, churning, consuming, producers, consumers, counts: Arc::clone(counts) }
    }

    /// No more records; returns when each has met its fate. From now on members stay.
    pub(super) fn stop_producing(&mut self) {
        self.churning.store(true, Ordering::Relaxed);
        self.producing.store(true, Ordering::Relaxed);
        join(&mut self.producers);
    }

    pub(super) fn stop_consuming(&mut self) {
        self.consuming.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + FAREWELL;
        while self.consumers.iter().any(|thread| !thread.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let stuck = self.consumers.extract_if(.., |thread| !thread.is_finished()).count();
        if stuck > 0 {
            self.counts.complain("consumers", &format!("{stuck} did not end in time, and are left behind"));
        }
        join(&mut self.consumers);
    }
}

fn spawn(part: Part, work: impl FnOnce(Part) + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || work(part))
}

/// # Panics
/// If one of them did: then the history is not whole.
fn join(threads: &mut Vec<JoinHandle<()>>) {
    for thread in threads.drain(..) {
        thread.join().expect("a client's thread does not panic");
    }
}
