//! How soon a producer that watches ZooKeeper uses a new leader: from the change of the partition's state
//! znode, by ZooKeeper's clock, to the first acknowledgement from the new leader.
//!
//! Brokers 4 and 5 hold a single partition and no other, so that the death of its leader changes one state;
//! brokers 1 to 3 share all the others, so that the death of one changes thousands at once.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::admin::{Admin, AdminOptions, Bootstrap, NewTopic, Placement};
use client::ids::BrokerId;
use client::producer::{Producer, ProducerRecord};
use futures::future::join_all;
use tokio::runtime::Runtime;

use crate::cluster::{Cluster, PATIENCE};
use crate::observer::{Observer, State};
use crate::percentile::percentile;
use crate::wait;

const MANY: &str = "many";
const ALONE: &str = "alone";
/// Hold the partition of [`ALONE`].
const LONERS: [BrokerId; 2] = [BrokerId(4), BrokerId(5)];

/// What to measure.
#[derive(Debug, Clone)]
pub struct Scale {
    /// In use by the producer at the same time, beside one more.
    pub partitions: i32,
    pub replicas: usize,
    /// How often the leader of the single partition dies.
    pub trials: usize,
}

/// Times from a state's change to the first acknowledgement, in milliseconds (ZooKeeper's clock has no finer).
#[derive(Debug)]
pub struct Figures {
    /// One partition alone lost its leader, by trial.
    pub alone: Vec<i64>,
    /// All partitions of a broker lost their leader: each from its own change.
    pub each: Vec<i64>,
    /// From the first of those changes to the last of those acknowledgements.
    pub all: i64,
    /// From the first of those changes to the last of them: the controller's share.
    pub changes: i64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let spread = |times: &[i64]| {
            let at = |percent| percentile(times, percent);
            format!("p50 {} ms, p99 {} ms, worst {} ms", at(50), at(99), at(100))
        };
        writeln!(f, "one partition, {} trials: {}", self.alone.len(), spread(&self.alone))?;
        writeln!(
            f,
            "{} partitions together, each from its own change: {}",
            self.each.len(),
            spread(&self.each)
        )?;
        write!(
            f,
            "all of them: {} ms after the first change (the last change came {} ms after it)",
            self.all, self.changes
        )
    }
}

pub fn run(scale: &Scale) -> Figures {
    let runtime = Runtime::new().expect("a runtime can be made");
    let mut cluster = Cluster::start(5, &[("auto.leader.rebalance.enable", "false")]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    runtime.block_on(create(&cluster, scale));
    let count = usize::try_from(scale.partitions).expect("partitions are counted");
    wait_until_whole(&observer, MANY, count, scale.replicas);
    wait_until_whole(&observer, ALONE, 1, 2);

    let builder = Producer::builder().zookeeper(cluster.zookeeper.connect_string());
    let producer = runtime.block_on(builder.connect()).expect("the cluster is found");
    let everywhere: Vec<i32> = (0..scale.partitions).collect();
    runtime.block_on(acknowledged(&producer, MANY, &everywhere));
    runtime.block_on(acknowledged(&producer, ALONE, &[0]));

    let mut alone = Vec::new();
    for _ in 0..scale.trials {
        let before = observer.states(ALONE, 1).expect("the topic is there");
        let leader = before[0].leader;
        cluster.kill(leader);
        let at = runtime.block_on(acknowledged(&producer, ALONE, &[0]));
        let after = observer.states(ALONE, 1).expect("the topic is there");
        alone.extend(since_change(&before, &after, &at));
        // The other one leads now; it is next.
        cluster.start_broker(leader);
        wait_until_whole(&observer, ALONE, 1, 2);
    }

    let before = observer.states(MANY, count).expect("the topic is there");
    let victim = 1;
    let led: Vec<i32> =
        (0..).zip(&before).filter(|(_, state)| state.leader == victim).map(|(number, _)| number).collect();
    cluster.kill(victim);
    let at = runtime.block_on(acknowledged(&producer, MANY, &led));
    let after = observer.states(MANY, count).expect("the topic is there");
    let changed: Vec<i64> =
        led.iter().filter_map(|number| Some(after.get(usize::try_from(*number).ok()?)?.written_ms)).collect();
    let first = changed.iter().min().copied().unwrap_or_default();
    Figures {
        alone,
        each: since_change(&before, &after, &at),
        all: at.values().max().copied().unwrap_or_default() - first,
        changes: changed.iter().max().copied().unwrap_or_default() - first,
    }
}

async fn create(cluster: &Cluster, scale: &Scale) {
    let bootstrap = Bootstrap::resolve(&cluster.bootstrap()).await.expect("addresses are addresses");
    let admin = Admin::new(bootstrap, AdminOptions::default());
    let place = |number: i32| {
        let replicas = (0..3).cycle().skip(usize::try_from(number % 3).unwrap_or(0)).take(scale.replicas);
        (number, replicas.map(|at| BrokerId(1 + at)).collect())
    };
    let many: BTreeMap<i32, Vec<BrokerId>> = (0..scale.partitions).map(place).collect();
    let alone = BTreeMap::from([(0, LONERS.to_vec())]);
    for (name, replicas) in [(MANY, many), (ALONE, alone)] {
        let placement = Placement::Replicas(replicas);
        let new = NewTopic { name: name.into(), placement, configs: BTreeMap::new() };
        admin.create_topic(&new).await.expect("the topic can be created");
    }
}

/// Sends a record to each partition, and gives the time when it was acknowledged, in milliseconds since 1970.
async fn acknowledged(producer: &Producer, topic: &str, partitions: &[i32]) -> BTreeMap<i32, i64> {
    let send = |&partition: &i32| async move {
        let record = ProducerRecord::to(topic).partition(partition).value("v");
        producer.deliver(record).await.expect("it is delivered");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        (partition, i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
    };
    join_all(partitions.iter().map(send)).await.into_iter().collect()
}

/// For each partition that has another leader, the time from its election to its acknowledgement. A controller
/// that takes over meanwhile writes a state twice, first that nobody leads; the later write counts.
fn since_change(before: &[State], after: &[State], at: &BTreeMap<i32, i64>) -> Vec<i64> {
    let states = (0..).zip(before.iter().zip(after));
    let moved = states.filter(|(_, (before, after))| after.leader != before.leader);
    moved.filter_map(|(number, (_, after))| Some(at.get(&number)? - after.written_ms)).collect()
}

fn wait_until_whole(observer: &Observer, topic: &str, count: usize, replicas: usize) {
    wait::until(&format!("all replicas of {topic} are in sync"), PATIENCE * 2, || {
        let states = observer.states(topic, count)?;
        states.iter().all(|state| state.leader != -1 && state.isr.len() == replicas).then_some(())
    });
}
