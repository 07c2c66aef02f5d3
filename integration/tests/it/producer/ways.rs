//! Every way of sending at the same time, while a leader dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use client::producer::{Acks, Idempotence, ProduceError, Producer, ProducerRecord};
use client::record::Codec;
use futures::future::join_all;
use integration::cluster::PATIENCE;
use integration::foreign::consume_with_kcat;
use integration::observer::Observer;
use integration::wait;
use tokio::task::JoinHandle;

use super::{Bench, KEYS};

const PARTITIONS: i32 = 3;

/// One producer, to a topic of its own.
#[derive(Debug, Clone, Copy)]
struct Way {
    topic: &'static str,
    finds: Finds,
    codec: Codec,
    acks: Acks,
    numbers: Numbers,
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finds {
    ByWatching,
    ByAsking,
}

/// What keeps the order, and copies out of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Idempotent,
    /// One batch in flight: copies may be stored, but nothing overtakes.
    OneInFlight,
    Neither,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Each record when the one before is acknowledged.
    OneByOne,
    Together,
}

fn ways() -> [Way; 6] {
    use Finds::{ByAsking, ByWatching};
    use Numbers::{Idempotent, Neither, OneInFlight};
    use Pace::{OneByOne, Together};
    let way = |topic, finds, codec, acks, numbers, pace| Way { topic, finds, codec, acks, numbers, pace };
    [
        way("watching-all-gzip", ByWatching, Codec::Gzip, Acks::All, Idempotent, Together),
        way("asking-all-snappy", ByAsking, Codec::Snappy, Acks::All, Idempotent, OneByOne),
        way("asking-all-zstd", ByAsking, Codec::Zstd, Acks::All, OneInFlight, Together),
        way("watching-all-lz4", ByWatching, Codec::Lz4, Acks::All, OneInFlight, OneByOne),
        way("watching-one-none", ByWatching, Codec::None, Acks::Leader, Neither, Together),
        way("asking-one-zstd", ByAsking, Codec::Zstd, Acks::Leader, Neither, OneByOne),
    ]
}

#[test]
fn every_way_of_sending_outlives_a_leader() {
    let mut bench = Bench::start(1, &[]);
    let ways = ways();
    ways.iter().for_each(|way| bench.create(way.topic, PARTITIONS, &[]));
    let observer = Observer::connect(&bench.cluster.zookeeper.connect_string());
    let streams: Vec<Stream> = ways.iter().map(|way| Stream::start(&bench, *way)).collect();
    streams.iter().for_each(|stream| stream.wait_for_more(100));

    // Of three partitions on three brokers, each broker leads one.
    let victim = 2;
    bench.cluster.kill(victim);
    wait::until("others lead", PATIENCE, || {
        let mut states = ways.iter().map(|way| observer.states(way.topic, PARTITIONS as usize));
        let is_led = |state: &integration::observer::State| state.leader != -1 && state.leader != victim;
        states.all(|states| states.is_some_and(|states| states.iter().all(is_led))).then_some(())
    });
    let after: Vec<usize> = streams.iter().map(|stream| stream.sent.load(Ordering::Relaxed)).collect();
    streams.iter().for_each(|stream| stream.wait_for_more(300));

    let bootstrap = bench.cluster.bootstrap();
    for (stream, after) in streams.into_iter().zip(after) {
        let way = stream.way;
        let outcomes = stream.finish(&bench);
        let failed = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
        assert!(failed.is_none(), "{way:?}: {failed:?}");
        let stored = consume_with_kcat(&bootstrap, way.topic);
        let stored: Vec<usize> =
            stored.iter().map(|value| value.parse().expect("a number was sent")).collect();
        check(way, outcomes.len(), after, &stored);
    }
}

/// `stored` is in the order of each partition's log. Records from `after` on were sent when the dead leader was
/// none any more.
fn check(way: Way, sent: usize, after: usize, stored: &[usize]) {
    let different: BTreeSet<usize> = stored.iter().copied().collect();
    // A leader that acknowledges alone may take its word back with its death.
    let kept_from = if way.acks == Acks::All { 0 } else { after };
    let lost: Vec<usize> = (kept_from..sent).filter(|number| !different.contains(number)).collect();
    assert!(lost.is_empty(), "{way:?}: lost {} of {sent}, such as {}", lost.len(), lost[0]);
    if way.numbers == Numbers::Idempotent {
        assert_eq!(stored.len(), sent, "{way:?}: something is stored twice");
    }
    if way.numbers != Numbers::Neither {
        let mut seen = BTreeSet::new();
        let mut last_of_key: BTreeMap<u64, usize> = BTreeMap::new();
        for number in stored.iter().filter(|number| seen.insert(**number)) {
            let last = last_of_key.insert(*number as u64 % KEYS, *number);
            assert!(last.is_none_or(|last| last < *number), "{way:?}: {number} comes after {last:?}");
        }
    }
    println!("{way:?}: {sent} sent, {} stored", stored.len());
}

type Outcome = Result<(), ProduceError>;

/// Numbered records, until it is told to finish.
struct Stream {
    way: Way,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    acknowledged: Arc<AtomicUsize>,
    sending: JoinHandle<Vec<JoinHandle<Outcome>>>,
}

impl Stream {
    fn start(bench: &Bench, way: Way) -> Stream {
        let builder = match way.finds {
            Finds::ByWatching => Producer::builder().zookeeper(bench.cluster.zookeeper.connect_string()),
            Finds::ByAsking => Producer::builder().bootstrap_servers(bench.cluster.bootstrap()),
        };
        let idempotence = match way.numbers {
            Numbers::Idempotent => Idempotence::Required,
            Numbers::OneInFlight | Numbers::Neither => Idempotence::Off,
        };
        let builder =
            builder.acks(way.acks).compression(way.codec).idempotence(idempotence).with(|options| {
                if way.numbers == Numbers::OneInFlight {
                    options.max_in_flight = 1;
                }
            });
        let producer = bench.connect(builder);
        let (sent, acknowledged) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let (until, next, count) = (stop.clone(), sent.clone(), acknowledged.clone());
        let sending = bench.runtime.spawn(async move {
            let mut deliveries = Vec::new();
            while !until.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let key = format!("key-{}", number as u64 % KEYS);
                let record = ProducerRecord::to(way.topic).key(key).value(number.to_string());
                let delivery = producer.send(record).await.expect("there is room");
                let count = count.clone();
                let mut delivered = tokio::spawn(async move {
                    let outcome = delivery.await.map(drop);
                    count.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
                    outcome
                });
                match way.pace {
                    Pace::OneByOne => {
                        let outcome = (&mut delivered).await.expect("no panic");
                        delivered = tokio::spawn(async { outcome });
                    }
                    // The pace of the load: some hundreds a second.
                    Pace::Together => tokio::time::sleep(Duration::from_millis(2)).await,
                }
                deliveries.push(delivered);
            }
            producer.close().await;
            deliveries
        });
        Stream { way, stop, sent, acknowledged, sending }
    }

    fn wait_for_more(&self, count: usize) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + count;
        wait::until(&format!("{count} more of {:?} are acknowledged", self.way), PATIENCE, || {
            (self.acknowledged.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }

    fn finish(self, bench: &Bench) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        let outcomes = bench.wait(async {
            let deliveries = self.sending.await.expect("the sender does not panic");
            join_all(deliveries).await
        });
        outcomes.into_iter().map(|joined| joined.expect("no panic")).collect()
    }
}
