//! Finding leaders by asking brokers in this process, of which some do not answer.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

#[allow(dead_code, reason = "the admin client's tests use the rest")]
#[path = "support/brokers.rs"]
mod brokers;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use brokers::{Broker, Reply};
use client::cluster::{Bootstrap, Cluster, ClusterError, ClusterOptions, Discovery, Leadership};
use client::connection::ConnectionError;
use client::consumer::{FetchOptions, Fetcher, Position};
use client::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use client::wire::ApiKey;
use client::wire::messages::metadata_response::MetadataResponsePartition;
use tokio::time::{sleep, timeout};

/// Far below any timeout of the options, and far above what is needed.
const SOON: Duration = Duration::from_secs(5);

/// Longer than the client waits before it asks another broker as well.
const SLOW: Duration = Duration::from_secs(1);

/// What the brokers say, and who says nothing.
#[derive(Clone, Default)]
struct World {
    brokers: brokers::Cluster,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    /// Id and epoch.
    leader: (i32, i32),
    silent: BTreeSet<i32>,
    slow: BTreeSet<i32>,
}

impl World {
    async fn with_brokers<const N: usize>() -> (World, [Broker; N]) {
        let world = World::default();
        let mut all = Vec::new();
        for id in (1..).take(N) {
            all.push(world.broker(id).await);
        }
        (world, all.try_into().ok().unwrap())
    }

    async fn broker(&self, id: i32) -> Broker {
        let told = self.told.clone();
        let script = move |brokers: &brokers::Cluster, _: &[_], now| {
            let told = told.lock().unwrap();
            let reply = match brokers.metadata(1) {
                _ if told.silent.contains(&id) || now != ApiKey::Metadata => Reply::Silence,
                Reply::Metadata(mut metadata) => {
                    let (leader_id, leader_epoch) = told.leader;
                    let partition =
                        MetadataResponsePartition { leader_id, leader_epoch, ..Default::default() };
                    metadata.topics[0].partitions.push(partition);
                    Reply::Metadata(metadata)
                }
                other => other,
            };
            if told.slow.contains(&id) { Reply::Slow(SLOW, Box::new(reply)) } else { reply }
        };
        self.brokers.broker(script).await
    }

    fn elect(&self, leader: i32, epoch: i32) -> Option<Leadership> {
        self.told.lock().unwrap().leader = (leader, epoch);
        Some(Leadership { broker: BrokerId(leader), epoch: LeaderEpoch(epoch) })
    }

    fn silence(&self, ids: impl IntoIterator<Item = i32>) {
        self.told.lock().unwrap().silent.extend(ids);
    }

    /// A client that is connected to the first broker alone, and knows the others.
    async fn client(&self) -> Cluster {
        connect(&self.brokers.addresses()[0]).await.unwrap()
    }
}

async fn connect(servers: &str) -> Result<Cluster, ClusterError> {
    let discovery = Discovery::Bootstrap(Bootstrap::resolve(servers).await.unwrap());
    timeout(SOON, Cluster::connect(discovery, ClusterOptions::default())).await.unwrap()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < SOON, "in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The kernel makes connections to a stopped process until its backlog is full.
#[tokio::test]
async fn a_stopped_broker_to_begin_with_holds_nobody_up() {
    let stopped = TcpListener::bind("127.0.0.1:0").unwrap();
    let (world, _brokers) = World::with_brokers::<1>().await;
    let servers = format!("{},{}", stopped.local_addr().unwrap(), world.brokers.addresses()[0]);
    // Chance decides who is asked first.
    for _ in 0..6 {
        assert_eq!(connect(&servers).await.unwrap().brokers().len(), 1);
    }
}

#[tokio::test]
async fn a_new_leader_is_known_soon_though_the_only_connection_is_to_a_stopped_broker() {
    let (world, [first, _second]) = World::with_brokers::<2>().await;
    let client = world.client().await;
    let at = TopicPartition::new("t", 0);
    let mut leaders = client.leader(&at);
    let mut known = world.elect(1, 0);
    timeout(SOON, leaders.wait_for(|leader| *leader == known)).await.unwrap().unwrap();

    world.silence([1]);
    let before = first.asked().len();
    for epoch in 1..9 {
        client.suspect(&at, known);
        known = world.elect(2, epoch);
        timeout(SOON, leaders.wait_for(|leader| *leader == known)).await.unwrap().unwrap();
    }
    let more = first.asked().len() - before;
    assert!((1..6).contains(&more), "asked {more} times, though it owes an answer for long");
}

/// A broker that the controller does not reach says for long what was so before.
#[tokio::test]
async fn that_nobody_led_before_the_known_leader_is_no_news() {
    let (world, [broker]) = World::with_brokers::<1>().await;
    let client = world.client().await;
    let at = TopicPartition::new("t", 0);
    let mut leaders = client.leader(&at);
    let known = world.elect(1, 5);
    timeout(SOON, leaders.wait_for(|leader| *leader == known)).await.unwrap().unwrap();

    world.elect(-1, 4);
    let before = broker.asked().len();
    client.suspect(&at, known);
    // The first answer is taken before the next question.
    until("it is asked again", || broker.asked().len() >= before + 2).await;
    assert!(!leaders.has_changed().unwrap(), "{:?}", leaders.borrow());

    for epoch in [5, 6, -1] {
        world.elect(-1, epoch);
        client.suspect(&at, known);
        timeout(SOON, leaders.wait_for(Option::is_none)).await.unwrap().unwrap();
        world.elect(1, 5);
        timeout(SOON, leaders.wait_for(|leader| *leader == known)).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_consumer_leaves_a_stopped_leader_as_soon_as_there_is_another() {
    let (world, [first, second]) = World::with_brokers::<2>().await;
    let at = TopicPartition::new("t", 0);
    world.elect(1, 0);
    let fetcher = Fetcher::new(world.client().await, FetchOptions::default());
    fetcher.assign(&at, Position::new(Offset(0), LeaderEpoch::NONE));
    until("the leader is read from", || first.asked().contains(&ApiKey::Fetch)).await;
    world.silence([1]);
    world.elect(2, 1);
    until("the next one is read from", || second.asked().contains(&ApiKey::Fetch)).await;
}

#[tokio::test]
async fn brokers_that_are_all_slow_are_asked_once_each() {
    let (world, brokers) = World::with_brokers::<3>().await;
    let client = world.client().await;
    world.silence(1..=3);
    let asked = || brokers.each_ref().map(|broker| broker.asked().len());
    let before = asked();
    let _topic = client.topic("t");
    until("all are asked", || asked().iter().zip(before).all(|(asked, before)| *asked > before)).await;
    assert_eq!(asked(), before.map(|before| before + 1));
}

#[tokio::test]
async fn a_broker_of_another_version_does_not_end_a_question_that_a_slow_one_answers() {
    let (world, _brokers) = World::with_brokers::<1>().await;
    let _foreign = world.brokers.foreign_broker().await;
    let client = world.client().await;
    world.told.lock().unwrap().slow.insert(1);
    // The first is asked first: there is a connection to it.
    assert_eq!(timeout(SOON, client.topics()).await.unwrap().unwrap(), ["t"]);
}

#[tokio::test]
async fn nobody_repeats_a_question_that_no_broker_can_answer() {
    let world = World::default();
    let _foreign = [world.brokers.foreign_broker().await, world.brokers.foreign_broker().await];
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = format!("{},{nobody}", world.brokers.addresses().join(","));
    let error = connect(&servers).await.unwrap_err();
    assert!(matches!(error, ClusterError::Connection(ConnectionError::NoCommonVersion { .. })), "{error}");
}
