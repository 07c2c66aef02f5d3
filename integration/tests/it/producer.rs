//! Our producer against three brokers that die, stop and refuse: nothing that was acknowledged is lost,
//! nothing is stored twice, and the order of a key is kept.

mod examples;
mod fake;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::admin::{Admin, AdminError, AdminOptions, Bootstrap, NewTopic, Placement};
use client::ids::Offset;
use client::producer::{
    Delivery, Idempotence, ProduceError, Producer, ProducerBuilder, ProducerRecord, RecordMetadata, blocking,
};
use client::record::Codec;
use client::wire::ErrorCode;
use futures::future::join_all;
use futures::{SinkExt, StreamExt, stream};
use integration::bench::watches;
use integration::cluster::{Cluster, PATIENCE};
use integration::foreign::{Found, kcat, read_topic};
use integration::observer::Observer;
use integration::percentile::percentile;
use integration::process::succeed;
use integration::wait;
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const TOPIC: &str = "sent";
const KEYS: u64 = 40;

#[test]
fn nothing_is_lost_or_doubled_when_leaders_die_found_by_watching() {
    let bench = Bench::start(6, &[]);
    let builder = Producer::builder().zookeeper(bench.cluster.zookeeper.connect_string());
    leaders_die(bench, builder);
}

#[test]
fn nothing_is_lost_or_doubled_when_leaders_die_found_by_asking() {
    let bench = Bench::start(6, &[]);
    let builder = Producer::builder().bootstrap_servers(bench.cluster.bootstrap());
    leaders_die(bench, builder);
}

fn leaders_die(mut bench: Bench, builder: ProducerBuilder) {
    let observer = Observer::connect(&bench.cluster.zookeeper.connect_string());
    let builder = builder.idempotence(Idempotence::Required).compression(Codec::Lz4);
    let producer = bench.connect(builder.linger(Duration::from_millis(2)));
    let load = Load::start(&bench.runtime, producer.clone());
    for _ in 0..2 {
        load.wait_for_more(2_000);
        let leader = observer.states(TOPIC, 6).expect("the topic is there")[0].leader;
        bench.cluster.kill(leader);
        load.wait_for_more(2_000);
        bench.cluster.start_broker(leader);
        wait::until("the broker is in sync again", PATIENCE, || {
            let states = observer.states(TOPIC, 6)?;
            states.iter().all(|state| state.isr.len() == 3).then_some(())
        });
    }
    let (sent, outcomes) = load.finish(&bench.runtime);
    bench.runtime.block_on(producer.close());
    let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {sent} were given up, the first: {}", failed.len(), failed[0]);

    let found = read_topic(&bench.cluster.bootstrap(), TOPIC);
    let mut last_of_key: BTreeMap<u64, u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for Found { partition, offset, value } in &found {
        let number: u64 = value.parse().expect("a number was sent");
        assert!(seen.insert(number), "{number} is there twice, again at {partition}/{offset}");
        let last = last_of_key.insert(number % KEYS, number);
        assert!(last.is_none_or(|last| last < number), "{number} comes after {last:?}");
        let stored = outcomes[number as usize].as_ref().expect("it was acknowledged");
        assert_eq!((stored.partition, stored.offset), (*partition, Some(Offset(*offset))));
    }
    assert_eq!(seen.len() as u64, sent, "records that were acknowledged are lost");
    println!("{sent} records, two leaders killed: none lost, none twice");
}

/// A request to a broker whose host has vanished is never answered, and its connection stays open.
#[test]
fn a_leader_that_vanished_is_left_when_another_is_known() {
    let bench = Bench::start(6, &[]);
    let watching = Producer::builder().zookeeper(bench.cluster.zookeeper.connect_string());
    let asking = Producer::builder().bootstrap_servers(bench.cluster.bootstrap());
    let producers = [watching, asking].map(|builder| bench.connect(builder));
    let to_all = || {
        let to = |partition| ProducerRecord::to(TOPIC).partition(partition).value("v");
        let records = producers.iter().flat_map(|producer| (0..6).map(|p| producer.deliver(to(p))));
        join_all(records.collect::<Vec<_>>())
    };
    assert!(bench.wait(to_all()).iter().all(Result::is_ok));

    let observer = Observer::connect(&bench.cluster.zookeeper.connect_string());
    let leader = observer.states(TOPIC, 6).expect("the topic is there")[0].leader;
    bench.cluster.signal(leader, Signal::STOP);
    let stopped = Instant::now();
    let outcomes = bench.wait(to_all());
    let took = stopped.elapsed();
    bench.cluster.signal(leader, Signal::CONT);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    // The session lasts 4 s; request.timeout.ms is 30 s.
    assert!(took < Duration::from_secs(10), "took {took:?}");
}

#[test]
fn memory_is_bounded_and_full_buffers_hold_senders_back() {
    const BUFFER: usize = 64 * 1024;
    let bench = Bench::start(1, &[]);
    let builder = Producer::builder().bootstrap_servers(bench.cluster.bootstrap()).buffer_memory(BUFFER);
    let producer = bench.connect(builder.with(|options| options.max_block = Duration::from_secs(1)));
    bench.runtime.block_on(producer.deliver(record(0))).expect("the brokers serve");

    bench.cluster.ids().into_iter().for_each(|id| bench.cluster.signal(id, Signal::STOP));
    let large = || ProducerRecord::to(TOPIC).value(vec![b'x'; 1_000]);
    let mut taken = Vec::new();
    let refused = loop {
        match bench.runtime.block_on(producer.send(large())) {
            Ok(delivery) => taken.push(delivery),
            Err(error) => break error,
        }
        assert!(taken.len() * 1_000 < BUFFER, "more was taken than the buffer holds");
    };
    assert!(matches!(refused, ProduceError::BufferFull { limit: BUFFER, .. }), "{refused}");
    assert!(taken.len() > 50, "the buffer is full with {} records", taken.len());
    // One that waits is taken as soon as there is room.
    let waiting = bench.runtime.spawn({
        let (producer, record) = (producer.clone(), large());
        async move { producer.deliver(record).await }
    });
    bench.cluster.ids().into_iter().for_each(|id| bench.cluster.signal(id, Signal::CONT));
    let outcomes = bench.runtime.block_on(join_all(taken));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let waited = bench.runtime.block_on(waiting).expect("the task ends");
    assert!(matches!(waited, Ok(_) | Err(ProduceError::BufferFull { .. })), "{waited:?}");

    let whale = ProducerRecord::to(TOPIC).value(vec![b'x'; BUFFER]);
    let error = bench.runtime.block_on(producer.deliver(whale)).expect_err("it cannot fit");
    assert!(matches!(error, ProduceError::RecordTooLarge { property: "buffer.memory", .. }), "{error}");
}

#[test]
fn flushing_closing_and_dropping_lose_nothing() {
    let bench = Bench::start(3, &[]);
    let lingering = || {
        let builder = Producer::builder().zookeeper(bench.cluster.zookeeper.connect_string());
        bench.connect(builder.linger(Duration::from_secs(60)))
    };
    let producer = lingering();
    let flushed = bench.send(&producer, 0..500);
    bench.runtime.block_on(producer.flush());
    let outcomes: Vec<_> = flushed.into_iter().map(futures::FutureExt::now_or_never).collect();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Some(Ok(_)))), "all is settled after a flush");

    let closed = bench.send(&producer, 500..1_000);
    bench.runtime.block_on(producer.close());
    let outcomes: Vec<_> = closed.into_iter().map(futures::FutureExt::now_or_never).collect();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Some(Ok(_)))), "all is settled after closing");
    let late = bench.runtime.block_on(producer.deliver(record(0)));
    assert!(matches!(late, Err(ProduceError::Closed)), "{late:?}");

    let producer = lingering();
    let dropped = bench.send(&producer, 1_000..1_500);
    drop(producer);
    let outcomes = bench.wait(join_all(dropped));
    assert!(outcomes.iter().all(Result::is_ok), "what was taken is sent after the producer is dropped");

    let producer = lingering();
    let records = stream::iter(1_500..2_000).map(|number| Ok(record(number)));
    bench.wait(records.forward(producer.sink().sink_err_into::<ProduceError>())).expect("all are delivered");

    let blocking = blocking::Producer::connect(
        Producer::builder().bootstrap_servers(bench.cluster.bootstrap()).linger(Duration::from_secs(60)),
    );
    let blocking = blocking.expect("the brokers serve");
    let sent = (2_000..2_500).map(|number| blocking.send(record(number)).expect("there is room"));
    drop(sent.collect::<Vec<_>>());
    drop(blocking);

    let found = read_topic(&bench.cluster.bootstrap(), TOPIC);
    let numbers: BTreeSet<u64> = found.iter().filter_map(|found| found.value.parse().ok()).collect();
    assert_eq!((found.len(), numbers), (2_500, (0..2_500).collect()));
}

#[test]
fn every_codec_is_read_by_librdkafka() {
    let bench = Bench::start(1, &[]);
    let mut expected = Vec::new();
    for codec in Codec::ALL {
        let builder = Producer::builder().bootstrap_servers(bench.cluster.bootstrap()).compression(codec);
        let producer = bench.connect(builder.linger(Duration::from_millis(20)));
        let sent = (0..200).map(|number| {
            let value = format!("{codec}-{number}-{}", "compressible ".repeat(20));
            expected.push(format!("{number}|{value}|codec={codec},n={number}"));
            let record = ProducerRecord::to(TOPIC).key(number.to_string()).value(value);
            record.header("codec", codec.name()).header("n", number.to_string())
        });
        let deliveries = sent.map(|record| bench.runtime.block_on(producer.send(record)));
        let deliveries: Vec<Delivery> = deliveries.map(|sent| sent.expect("there is room")).collect();
        let outcomes = bench.wait(join_all(deliveries));
        assert!(outcomes.iter().all(Result::is_ok), "{codec}: {:?}", outcomes.iter().find(|o| o.is_err()));
        bench.wait(producer.close());
    }
    let mut kcat = kcat();
    kcat.args(["-C", "-b", &bench.cluster.bootstrap(), "-t", TOPIC, "-o", "beginning", "-e", "-q"]);
    let read = succeed(kcat.args(["-f", "%k|%s|%h\n"]), &[], PATIENCE);
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);
    let segment = bench.cluster.data(1).join(format!("{TOPIC}-0/00000000000000000000.log"));
    let stored = std::fs::read(segment).expect("the log is there");
    let codecs: BTreeSet<u8> =
        client::record::batches(&stored).map(|batch| batch.attributes().codec_id()).collect();
    assert_eq!(codecs, Codec::ALL.iter().map(|codec| codec.id()).collect(), "each codec was used");
}

#[test]
fn what_is_too_large_together_goes_in_pieces() {
    let bench = Bench::start(1, &[("max.message.bytes", "2000")]);
    let builder = Producer::builder().zookeeper(bench.cluster.zookeeper.connect_string());
    let producer =
        bench.connect(builder.linger(Duration::from_millis(50)).idempotence(Idempotence::Required));
    let deliveries = bench.send(&producer, 0..1_000);
    let outcomes = bench.wait(join_all(deliveries));
    let offsets: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().map(|stored| stored.offset)).collect();
    for (number, offset) in (0..).zip(offsets) {
        assert_eq!(offset.expect("it was delivered"), Some(Offset(number)));
    }
    let whale = ProducerRecord::to(TOPIC).value(vec![b'x'; 4_000]);
    let error = bench.wait(producer.deliver(whale)).expect_err("it is larger than the topic takes");
    assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge), "{error}");
    // The gap that it left in the sequence numbers is closed by the next epoch.
    let stored = bench.wait(producer.deliver(record(1_000))).expect("it is delivered");
    assert_eq!(stored.offset, Some(Offset(1_000)));
}

#[test]
fn refusals_and_missing_topics_have_names() {
    let bench = Bench::start(1, &[]);
    for builder in [
        Producer::builder().zookeeper(bench.cluster.zookeeper.connect_string()),
        Producer::builder().bootstrap_servers(bench.cluster.bootstrap()),
    ] {
        let producer = bench.connect(builder.with(|options| options.max_block = Duration::from_secs(2)));
        let deliver = |record| bench.wait(producer.deliver(record)).expect_err("it cannot be delivered");
        let error = deliver(ProducerRecord::to("no such name").value("v"));
        assert_eq!(error.code(), Some(ErrorCode::InvalidTopicException), "{error}");
        let error = deliver(record(0).partition(7));
        assert!(
            matches!(error, ProduceError::InvalidPartition { partition: 7, partitions: 1, .. }),
            "{error}"
        );
        let error = deliver(ProducerRecord::to(TOPIC).value(vec![0; 2 << 20]));
        assert!(
            matches!(error, ProduceError::RecordTooLarge { property: "max.request.size", .. }),
            "{error}"
        );
    }
}

/// The benchmark on a smaller scale. Its goal is 50 ms on a machine that does nothing else.
#[test]
fn watched_leaders_are_used_at_once() {
    const SLACK: i64 = 20;
    let figures = watches::run(&watches::Scale { partitions: 150, replicas: 2, trials: 1 });
    println!("{figures}");
    assert_eq!((figures.alone.len(), figures.each.len()), (1, 50));
    assert!(percentile(&figures.alone, 99) <= 50 * SLACK, "{figures}");
    assert!(percentile(&figures.each, 99) <= 50 * SLACK, "{figures}");
}

/// Three brokers, a topic on all of them, and a runtime to send with.
struct Bench {
    cluster: Cluster,
    runtime: Runtime,
}

impl Bench {
    fn start(partitions: i32, configs: &[(&str, &str)]) -> Bench {
        let cluster = Cluster::start(3, &[("min.insync.replicas", "2")]);
        let bench = Bench { cluster, runtime: Runtime::new().expect("a runtime can be made") };
        bench.create(TOPIC, partitions, configs);
        bench
    }

    fn create(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
        let create = async {
            let bootstrap =
                Bootstrap::resolve(&self.cluster.bootstrap()).await.expect("addresses are addresses");
            let new = NewTopic {
                name: topic.into(),
                placement: Placement::Counts { partitions: Some(partitions), replication_factor: Some(3) },
                configs: configs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            };
            let admin = Admin::new(bootstrap, AdminOptions::default());
            admin.create_topic(&new).await?;
            admin.wait_until_served(topic, partitions as usize).await;
            Ok::<(), AdminError>(())
        };
        self.runtime.block_on(create).expect("the topic can be created");
    }

    fn connect(&self, builder: ProducerBuilder) -> Producer {
        self.wait(builder.connect()).expect("the cluster is found")
    }

    #[track_caller]
    fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        let within = async { tokio::time::timeout(PATIENCE, what).await };
        self.runtime.block_on(within).expect("it happens in time")
    }

    fn send(&self, producer: &Producer, numbers: std::ops::Range<u64>) -> Vec<Delivery> {
        let send = numbers.map(|number| self.runtime.block_on(producer.send(record(number))));
        send.map(|sent| sent.expect("there is room")).collect()
    }
}

fn record(number: u64) -> ProducerRecord {
    ProducerRecord::to(TOPIC).key(format!("key-{}", number % KEYS)).value(number.to_string())
}

/// Numbered records, in order, until it is told to finish.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    sending: JoinHandle<Vec<JoinHandle<Result<RecordMetadata, ProduceError>>>>,
}

impl Load {
    fn start(runtime: &Runtime, producer: Producer) -> Load {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (until, count) = (stop.clone(), acknowledged.clone());
        let sending = runtime.spawn(async move {
            let mut deliveries = Vec::new();
            while !until.load(Ordering::Relaxed) {
                for _ in 0..10 {
                    let number = deliveries.len() as u64;
                    let delivery = producer.send(record(number)).await.expect("there is room");
                    let count = count.clone();
                    deliveries.push(tokio::spawn(async move {
                        let outcome = delivery.await;
                        count.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
                        outcome
                    }));
                }
                // The pace of the load: some thousands a second.
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            deliveries
        });
        Load { stop, acknowledged, sending }
    }

    fn wait_for_more(&self, count: usize) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + count;
        wait::until(&format!("{count} more records are acknowledged"), PATIENCE, || {
            (self.acknowledged.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }

    /// How many were sent, and what became of each.
    fn finish(self, runtime: &Runtime) -> (u64, Vec<Result<RecordMetadata, ProduceError>>) {
        self.stop.store(true, Ordering::Relaxed);
        let outcomes = runtime.block_on(async {
            let deliveries = self.sending.await.expect("the sender does not panic");
            let settled = tokio::time::timeout(PATIENCE, join_all(deliveries)).await;
            settled.expect("everything is settled in time")
        });
        let outcomes: Vec<_> = outcomes.into_iter().map(|joined| joined.expect("no panic")).collect();
        (outcomes.len() as u64, outcomes)
    }
}
