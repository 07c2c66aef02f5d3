//! Finding leaders, by watching ZooKeeper and by asking brokers: the same answers through the loss of a
//! leader, of ZooKeeper and of its session.

mod crowd;

use std::future::Future;
use std::sync::Arc;

use client::admin::{Admin, AdminOptions, Bootstrap, NewPartitions, NewTopic, Placement};
use client::cluster::{self, ClusterError, ClusterOptions, Discovery, Leadership, TopicState};
use client::ids::TopicPartition;
use client::zk::ZkConfig;
use integration::cluster::{Cluster, PATIENCE};
use integration::observer::Observer;
use integration::wait;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

const TOPIC: &str = "found";
const PARTITIONS: i32 = 6;

#[test]
fn leaders_are_found_by_watching() {
    let mut bench = Bench::start();
    let found = bench.find(by_watching(&bench.cluster));
    bench.survives_a_leader(&found);
    bench.survives_zookeeper(&found);
    bench.sees_added_partitions(&found);
}

#[test]
fn leaders_are_found_by_asking() {
    let mut bench = Bench::start();
    let discovery = bench.by_asking();
    let found = bench.find(discovery);
    bench.survives_a_leader(&found);
    bench.sees_added_partitions(&found);
}

#[test]
fn only_what_is_in_use_is_watched() {
    let bench = Bench::start();
    let found = bench.find(by_watching(&bench.cluster));
    let paths = || bench.cluster.zookeeper.four_letters("wchp").unwrap_or_default();
    let state = |partition: i32| format!("/brokers/topics/{TOPIC}/partitions/{partition}/state");

    let mut used: Vec<watch::Receiver<_>> =
        [1, 2].iter().map(|&partition| found.leader(&TopicPartition::new(TOPIC, partition))).collect();
    wait::until("two states are watched", PATIENCE, || {
        let watched = paths();
        [1, 2].iter().all(|&partition| watched.contains(&state(partition))).then_some(())
    });
    assert!(![0, 3, 4, 5].iter().any(|&partition| paths().contains(&state(partition))), "{}", paths());

    used.remove(0);
    wait::until("a watch nobody needs is given up", PATIENCE, || {
        let watched = paths();
        (!watched.contains(&state(1)) && watched.contains(&state(2))).then_some(())
    });
}

#[test]
fn a_topic_in_use_is_created() {
    let bench = Bench::start();
    for (name, discovery) in [("by-watching", by_watching(&bench.cluster)), ("by-asking", bench.by_asking())]
    {
        let found = bench.find(discovery);
        let mut state = found.topic(name);
        bench.comes_to(&mut state, |state| *state == TopicState::Partitions(1));
        let mut leader = found.leader(&TopicPartition::new(name, 0));
        bench.comes_to(&mut leader, Option::is_some);

        let mut state = found.topic("not a name");
        bench.comes_to(&mut state, |state| matches!(state, TopicState::Refused(_)));
    }
    let keep = ClusterOptions { allow_auto_create_topics: false, ..ClusterOptions::default() };
    for discovery in [by_watching(&bench.cluster), bench.by_asking()] {
        let found = bench
            .runtime
            .block_on(cluster::Cluster::connect(discovery, keep.clone()))
            .expect("there are brokers");
        let mut state = found.topic("missing");
        bench.comes_to(&mut state, |state| *state == TopicState::Absent);
        let refused = bench.wait(found.partitions("missing"));
        assert!(matches!(refused, Err(ClusterError::UnknownTopic { .. })), "{refused:?}");
    }
    let observer = Observer::connect(&bench.cluster.zookeeper.connect_string());
    assert_eq!(observer.get("/brokers/topics/missing"), None);
}

struct Bench {
    cluster: Cluster,
    runtime: Runtime,
    admin: Admin,
}

fn by_watching(cluster: &Cluster) -> Discovery {
    Discovery::ZooKeeper(ZkConfig::new(cluster.zookeeper.connect_string()))
}

impl Bench {
    /// Three brokers and a topic on all of them.
    fn start() -> Bench {
        let cluster = Cluster::start(3, &[]);
        let runtime = Runtime::new().expect("a runtime can be made");
        let bootstrap =
            runtime.block_on(Bootstrap::resolve(&cluster.bootstrap())).expect("an address is an address");
        let admin = Admin::new(bootstrap, AdminOptions::default());
        let new = NewTopic {
            name: TOPIC.into(),
            placement: Placement::Counts { partitions: Some(PARTITIONS), replication_factor: Some(3) },
            configs: Default::default(),
        };
        runtime.block_on(admin.create_topic(&new)).expect("the topic can be created");
        Bench { cluster, runtime, admin }
    }

    fn by_asking(&self) -> Discovery {
        let bootstrap = self.runtime.block_on(Bootstrap::resolve(&self.cluster.bootstrap()));
        Discovery::Bootstrap(bootstrap.expect("an address is an address"))
    }

    fn find(&self, discovery: Discovery) -> cluster::Cluster {
        let options = ClusterOptions::default();
        let found = self.runtime.block_on(cluster::Cluster::connect(discovery, options));
        let found = found.expect("there are brokers");
        let mut brokers = found.watch_brokers();
        let all = |brokers: &Arc<_>| std::collections::BTreeMap::len(brokers) == 3;
        self.comes_to(&mut brokers, all);
        // The broker that is asked may not have heard of it yet.
        wait::until("the topic is listed", PATIENCE, || {
            let topics = self.wait(found.topics()).expect("there are topics");
            topics.contains(&TOPIC.to_owned()).then_some(())
        });
        found
    }

    #[track_caller]
    fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(PATIENCE, what).await }).expect("it happens in time")
    }

    #[track_caller]
    fn comes_to<T>(&self, told: &mut watch::Receiver<T>, what: impl FnMut(&T) -> bool) {
        drop(self.wait(told.wait_for(what)).expect("the cluster is in use"));
    }

    /// What ZooKeeper holds, whoever says it, is what the leaders in use must come to be. Those who ask brokers
    /// ask again when somebody has a doubt, as one who cannot reach a leader does; those who watch need no hint.
    fn agrees(
        &self,
        found: &cluster::Cluster,
        leaders: &[watch::Receiver<Option<Leadership>>],
        dead: Option<i32>,
    ) {
        let observer = Observer::connect(&self.cluster.zookeeper.connect_string());
        wait::until("what is told is what ZooKeeper holds", PATIENCE, || {
            let states = observer.states(TOPIC, leaders.len())?;
            for (partition, leader) in (0..).zip(leaders) {
                found.suspect(&TopicPartition::new(TOPIC, partition), *leader.borrow());
            }
            let alive = states.iter().all(|state| state.leader != -1 && Some(state.leader) != dead);
            let told = leaders.iter().map(|leader| leader.borrow().map(|l| (l.broker.0, l.epoch.0)));
            let held = states.iter().map(|state| Some((state.leader, state.leader_epoch)));
            (alive && told.eq(held)).then_some(())
        });
    }

    fn leaders(&self, found: &cluster::Cluster) -> Vec<watch::Receiver<Option<Leadership>>> {
        (0..PARTITIONS).map(|partition| found.leader(&TopicPartition::new(TOPIC, partition))).collect()
    }

    fn survives_a_leader(&mut self, found: &cluster::Cluster) {
        let leaders = self.leaders(found);
        self.agrees(found, &leaders, None);
        let partition = TopicPartition::new(TOPIC, 0);
        let first = leaders[0].borrow().expect("the partition is led");
        let connection = self.wait(found.connection(first.broker)).expect("the leader can be reached");
        self.cluster.kill(first.broker.0);
        self.wait(connection.closed());
        self.agrees(found, &leaders, Some(first.broker.0));
        self.cluster.start_broker(first.broker.0);
        let mut brokers = found.watch_brokers();
        wait::until("the broker is found again", PATIENCE, || {
            found.suspect(&partition, *leaders[0].borrow());
            brokers.borrow_and_update().contains_key(&first.broker).then_some(())
        });
        self.wait(found.connection(first.broker)).expect("the broker can be reached again");
        self.cluster.wait_until_serving();
        let partitions = self.wait(found.partitions(TOPIC)).expect("the topic is there");
        assert_eq!(partitions.len(), PARTITIONS as usize);
        assert!(partitions.iter().all(|partition| partition.replicas.len() == 3), "{partitions:?}");
    }

    /// A leader changes while ZooKeeper is away, and after that again.
    fn survives_zookeeper(&mut self, found: &cluster::Cluster) {
        let leaders = self.leaders(found);
        self.agrees(found, &leaders, None);
        self.cluster.zookeeper.kill();
        self.cluster.zookeeper.restart();
        let victim = leaders[1].borrow().expect("the partition is led").broker.0;
        self.cluster.kill(victim);
        self.agrees(found, &leaders, Some(victim));
        self.cluster.start_broker(victim);
        self.cluster.wait_until_serving();
    }

    fn sees_added_partitions(&self, found: &cluster::Cluster) {
        let mut state = found.topic(TOPIC);
        self.comes_to(&mut state, |state| *state == TopicState::Partitions(PARTITIONS));
        let more = NewPartitions { topic: TOPIC.into(), total: PARTITIONS + 2, replicas: None };
        self.wait(self.admin.create_partitions(&[more])).expect("partitions can be added");
        // The broker that is asked may not have heard of them yet.
        wait::until("the added partitions are found", PATIENCE, || {
            found.suspect_topic(TOPIC);
            (*state.borrow_and_update() == TopicState::Partitions(PARTITIONS + 2)).then_some(())
        });
    }
}
