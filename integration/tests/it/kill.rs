//! `kill -9` of a leader, of the controller, of a follower, of all three, five rounds each, under a load
//! with acks=all and min.insync.replicas=2: every acknowledged record is read back, and the replicas
//! hold the same batches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use integration::apache::Release;
use integration::cluster::{Cluster, PATIENCE};
use integration::foreign::read_topic;
use integration::load::Load;
use integration::observer::{Observer, State};
use integration::process::succeed;
use integration::wait;
use rustix::process::Signal;

use crate::replicas::assert_identical_replicas;

const ROUNDS: usize = 5;
const PARTITIONS: usize = 12;
const TOPIC: &str = "load";

/// Tests assert three times the goal, since machines are noisy.
const SLACK: u32 = 3;
const LEADERSHIP_MOVED: Duration = Duration::from_secs(1);
const ISR_WHOLE: Duration = Duration::from_secs(10);
const CONTROLLED_SHUTDOWN: Duration = Duration::from_millis(200);

#[test]
fn kill_leader() {
    rounds("leader", |_, observer| vec![states(observer)[0].leader]);
}

#[test]
fn kill_controller() {
    rounds("controller", |_, observer| vec![wait::until("a controller", PATIENCE, || observer.controller())]);
}

#[test]
fn kill_follower() {
    rounds("follower", |_, observer| {
        let state = states(observer)[0].clone();
        vec![*state.isr.iter().find(|id| **id != state.leader).expect("a follower is in sync")]
    });
}

#[test]
fn kill_all() {
    rounds("all three", |cluster, _| cluster.ids());
}

fn rounds(who: &str, victims: impl Fn(&Cluster, &Observer) -> Vec<i32>) {
    let mut cluster = Cluster::start(3, &[("min.insync.replicas", "2")]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    create_topic(&cluster, TOPIC, PARTITIONS);
    wait_until_whole(&observer, &cluster.ids(), &[], 0);

    let load = Load::start(&cluster.bootstrap(), TOPIC, 2_000);
    for round in 1..=ROUNDS {
        load.wait_for_more(1_000, PATIENCE);
        let victims = victims(&cluster, &observer);
        for id in &victims {
            cluster.kill(*id);
        }
        let moved = (victims.len() < cluster.ids().len()).then(|| leadership_moved(&observer, &victims));
        if moved.is_some() {
            load.wait_for_more(1_000, PATIENCE);
        }
        let restarted = now_ms();
        for id in &victims {
            cluster.start_broker(*id);
        }
        let healed = wait_until_whole(&observer, &cluster.ids(), &victims, restarted);
        println!(
            "kill {who}, round {round}, brokers {victims:?}: leadership moved {} after the registration vanished, \
             ISR whole {} ms after the last registration, {} acknowledged so far",
            moved.map_or("-".into(), |time| format!("{} ms", time.as_millis())),
            healed.as_millis(),
            load.acknowledged(),
        );
        if let Some(moved) = moved {
            assert!(moved < LEADERSHIP_MOVED * SLACK, "leadership took {moved:?} to move");
        }
        assert!(healed < ISR_WHOLE * SLACK, "the ISR took {healed:?} to be whole");
    }
    load.wait_for_more(1_000, PATIENCE);
    let outcome = load.finish();
    assert_eq!(outcome.failed, 0, "the producer gave up on some records");

    wait_until_whole(&observer, &cluster.ids(), &[], 0);
    let mut found = BTreeMap::new();
    for record in read_topic(&cluster.bootstrap(), TOPIC) {
        let at = (record.partition, record.offset);
        if let Some(first) = found.insert(record.value.clone(), at) {
            panic!(
                "record {} is in the log twice, at {first:?} and {at:?}, though the producer is idempotent",
                record.value
            );
        }
    }
    let lost: Vec<&String> =
        outcome.acknowledged.iter().filter(|value| !found.contains_key(*value)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged records are lost: {:?}…",
        lost.len(),
        outcome.acknowledged.len(),
        lost.iter().take(5).collect::<Vec<_>>()
    );
    println!("kill {who}: {} acknowledged, none lost", outcome.acknowledged.len());

    for id in cluster.ids() {
        assert!(cluster.terminate(id).success(), "broker {id} did not end well on SIGTERM");
    }
    for partition in 0..PARTITIONS {
        let folders: Vec<_> =
            cluster.ids().iter().map(|id| cluster.data(*id).join(format!("{TOPIC}-{partition}"))).collect();
        assert_identical_replicas(&folders);
    }
}

#[test]
fn controlled_shutdown_moves_100_leaderships_at_once() {
    let mut cluster = Cluster::start(3, &[("auto.leader.rebalance.enable", "false")]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    // Broker 3 leads all 100 and is not the controller, which started first.
    let assignment = vec!["3:1:2"; 100].join(",");
    topics(&cluster, &["--create", "--topic", "many", "--replica-assignment", &assignment]);
    let led = |leader: i32| {
        let states = observer.states("many", 100)?;
        states.iter().all(|s| s.leader == leader && s.isr.len() == 3).then_some(())
    };
    wait::until("broker 3 leads", PATIENCE, || led(3));

    let asked = now_ms();
    assert!(cluster.terminate(3).success());
    let states = observer.states("many", 100).expect("the topic is there");
    assert!(states.iter().all(|s| s.leader == 1 && s.isr == [1, 2]), "{states:?}");
    let last = states.iter().map(|s| s.written_ms).max().expect("there are states");
    println!("controlled shutdown: the last of 100 leaderships moved {} ms after SIGTERM", last - asked);
    assert!(last - asked < (CONTROLLED_SHUTDOWN * SLACK).as_millis() as i64, "{} ms", last - asked);
}

#[test]
fn a_broker_stops_in_time_though_the_controller_does_not_answer() {
    let mut cluster = Cluster::start(
        2,
        &[
            // So that nobody else becomes controller meanwhile.
            ("zookeeper.session.timeout.ms", "10000"),
            ("controller.socket.timeout.ms", "700"),
            ("controlled.shutdown.max.retries", "2"),
            ("controlled.shutdown.retry.backoff.ms", "300"),
        ],
    );
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let controller = observer.controller().expect("the cluster serves");
    let leaves = 3 - controller;
    let assignment = format!("{leaves}:{controller},{controller}:{leaves}");
    topics(&cluster, &["--create", "--topic", "left", "--replica-assignment", &assignment]);

    cluster.signal(controller, Signal::STOP);
    let asked = Instant::now();
    assert!(cluster.terminate(leaves).success());
    let took = asked.elapsed();
    cluster.signal(controller, Signal::CONT);
    // Two questions of 0.7 s and a pause of 0.3 s.
    assert!(took > Duration::from_millis(1_700), "{took:?}");
    assert!(took < Duration::from_millis(1_700) * SLACK, "{took:?}");
    let log = cluster.log(leaves);
    let said = log.lines().find(|line| line.contains("stopping uncleanly")).expect("it says what it leaves");
    assert!(said.contains(r#"partitions=["left-0"]"#), "{said}");
}

/// Waits until the victims are gone from ZooKeeper and then until each partition has another leader.
/// The time between the two.
fn leadership_moved(observer: &Observer, victims: &[i32]) -> Duration {
    wait::until("the registrations vanish", PATIENCE, || {
        let registered = observer.registered();
        victims.iter().all(|id| !registered.contains_key(id)).then_some(())
    });
    let vanished = Instant::now();
    wait::until("leadership moves", PATIENCE, || {
        let states = observer.states(TOPIC, PARTITIONS)?;
        states.iter().all(|s| s.leader != -1 && !victims.contains(&s.leader)).then_some(())
    });
    vanished.elapsed()
}

/// Waits until all brokers are registered, those that came back not by what is left of their former
/// sessions, and in sync everywhere. The time between the last registration and the last ISR change,
/// by ZooKeeper's own clock.
fn wait_until_whole(observer: &Observer, ids: &[i32], back: &[i32], since_ms: i64) -> Duration {
    let (registered, states) = wait::until("the ISR is whole", PATIENCE, || {
        let registered = observer.registered();
        let states = observer.states(TOPIC, PARTITIONS)?;
        let whole =
            ids.iter().all(|id| registered.get(id).is_some_and(|at| !back.contains(id) || *at >= since_ms))
                && states.iter().all(|s| s.leader != -1 && s.isr.len() == ids.len());
        whole.then_some((registered, states))
    });
    let last_registration = registered.values().max().copied().unwrap_or_default();
    let last_change = states.iter().map(|s| s.written_ms).max().unwrap_or_default();
    Duration::from_millis(u64::try_from(last_change - last_registration).unwrap_or(0))
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_millis() as i64
}

fn states(observer: &Observer) -> Vec<State> {
    observer.states(TOPIC, PARTITIONS).expect("the topic is there")
}

fn create_topic(cluster: &Cluster, topic: &str, partitions: usize) {
    let partitions = partitions.to_string();
    topics(
        cluster,
        &["--create", "--topic", topic, "--partitions", &partitions, "--replication-factor", "3"],
    );
}

fn topics(cluster: &Cluster, arguments: &[&str]) {
    let mut command = Release::V3_9.java("org.apache.kafka.tools.TopicCommand");
    command.args(["--bootstrap-server", &cluster.bootstrap()]).args(arguments);
    succeed(&mut command, &[], PATIENCE);
}
