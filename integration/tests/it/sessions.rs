//! What the loss of ZooKeeper, or of a broker's session, does to those who produce: as little as can be.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use client::ids::BrokerId;
use client::zk::{Session, ZkConfig};
use integration::apache::Release;
use integration::cluster::{Cluster, PATIENCE, SESSION_TIMEOUT_MS};
use integration::foreign::read_topic;
use integration::load::{Load, Outcome};
use integration::observer::Observer;
use integration::process::succeed;
use integration::wait;
use rustix::process::Signal;

const TOPIC: &str = "load";
const PARTITIONS: usize = 6;

/// Longer than any session lasts.
const LONG: Duration = Duration::from_millis(SESSION_TIMEOUT_MS as u64 * 2);

#[test]
fn records_flow_while_zookeeper_is_silent() {
    let cluster = cluster();
    let load = Load::start(&cluster.bootstrap(), TOPIC, 1_000);
    load.wait_for_more(500, PATIENCE);

    cluster.zookeeper.pause();
    let silent = Instant::now();
    while silent.elapsed() < LONG {
        load.wait_for_more(200, Duration::from_secs(5));
    }
    cluster.zookeeper.resume();

    load.wait_for_more(500, PATIENCE);
    assert_nothing_lost(&cluster, load.finish());
    wait_until_whole(&Observer::connect(&cluster.zookeeper.connect_string()));
}

/// A broker that has just registered knows nothing until the controller tells it, which may take a while: a client
/// that asks it meanwhile must not hear that its topic does not exist.
#[test]
fn a_fresh_broker_denies_no_topic_before_it_was_told_of_them() {
    let mut cluster = cluster();
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let controller = observer.controller().expect("the cluster serves");
    let fresh = *cluster.ids().iter().find(|id| **id != controller).expect("there are three");
    assert!(cluster.terminate(fresh).success());
    cluster.signal(controller, Signal::STOP);
    cluster.start_broker(fresh);
    wait::until("the broker is registered", PATIENCE, || observer.registered().get(&fresh).copied());

    let asked = std::process::Command::new("kcat")
        .args(["-L", "-m", "20", "-t", TOPIC, "-b", &cluster.address(fresh)])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("kcat can be run");
    // Long enough for an answer that does not wait for the controller; shorter than the controller's session.
    std::thread::sleep(Duration::from_millis(1_500));
    cluster.signal(controller, Signal::CONT);
    let said = asked.wait_with_output().expect("kcat ends");
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains(&format!("topic \"{TOPIC}\" with {PARTITIONS} partitions:")), "{said}");
}

/// Kafka's does likewise; one that gave up would have to be started again by somebody.
#[test]
fn a_broker_that_starts_waits_for_zookeeper_and_may_be_stopped_meanwhile() {
    let mut cluster = Cluster::start(1, &[]);
    assert!(cluster.terminate(1).success());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let starts_in_vain = |cluster: &mut Cluster| {
        let zk = ZkConfig::new(cluster.zookeeper.connect_string()).with_timeout(LONG / 2);
        // Its id is taken, so that it is in the midst of its start for as long as we like.
        let other = runtime.block_on(async {
            let other = Session::connect(zk).await.expect("ZooKeeper serves");
            other.register_broker(BrokerId(1), b"{}", None, None).await.expect("nobody is registered");
            other
        });
        let before = cluster.log(1).len();
        cluster.start_broker(1);
        let said = |what: &str| cluster.log(1)[before..].contains(what).then_some(());
        wait::until("the broker waits for its id", PATIENCE, || {
            said("is still registered by another session")
        });
        cluster.zookeeper.pause();
        wait::until("it waits for ZooKeeper", PATIENCE, || said("the start waits for ZooKeeper"));
        other
    };

    let other = starts_in_vain(&mut cluster);
    cluster.zookeeper.resume();
    runtime.block_on(other.close());
    cluster.wait_until_serving();
    assert!(cluster.terminate(1).success());

    let _other = starts_in_vain(&mut cluster);
    assert!(cluster.terminate(1).success(), "{}", cluster.log(1));
    assert!(cluster.log(1).contains("told to stop before it served"));
    cluster.zookeeper.resume();
}

#[test]
fn records_flow_while_zookeeper_is_down() {
    let mut cluster = cluster();
    let load = Load::start(&cluster.bootstrap(), TOPIC, 1_000);
    load.wait_for_more(500, PATIENCE);

    cluster.zookeeper.kill();
    let down = Instant::now();
    while down.elapsed() < LONG {
        load.wait_for_more(200, Duration::from_secs(5));
    }
    cluster.zookeeper.restart();

    load.wait_for_more(500, PATIENCE);
    wait_until_whole(&Observer::connect(&cluster.zookeeper.connect_string()));
    create(&cluster, "afterwards");
    assert_nothing_lost(&cluster, load.finish());
}

#[test]
fn a_leader_that_slept_past_its_session_comes_back_as_a_follower() {
    let cluster = cluster();
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    wait_until_whole(&observer);
    let load = Load::start(&cluster.bootstrap(), TOPIC, 1_000);
    load.wait_for_more(500, PATIENCE);

    let sleeper = states(&observer)[0].0;
    cluster.signal(sleeper, Signal::STOP);
    wait::until("the sleeper's leaderships move", PATIENCE, || {
        states(&observer)
            .iter()
            .all(|(leader, isr)| *leader != sleeper && !isr.contains(&sleeper))
            .then_some(())
    });
    load.wait_for_more(500, PATIENCE);
    cluster.signal(sleeper, Signal::CONT);
    wait_until_whole(&observer);
    load.wait_for_more(500, PATIENCE);
    assert_nothing_lost(&cluster, load.finish());
    let log = cluster.log(sleeper);
    assert!(log.contains("ZooKeeper ended our session"), "the broker says why it registers again:\n{log}");
}

#[test]
fn a_cluster_lives_below_a_chroot() {
    let cluster = Cluster::start_below("/clusters/one", 3, &[]);
    create(&cluster, TOPIC);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    assert_eq!(observer.children("/clusters/one/brokers/ids"), ["1", "2", "3"]);
    assert_eq!(observer.children("/clusters/one/brokers/topics"), [TOPIC]);
    assert_eq!(observer.children("/"), ["clusters", "zookeeper"]);
}

fn cluster() -> Cluster {
    let cluster = Cluster::start(3, &[("min.insync.replicas", "2")]);
    create(&cluster, TOPIC);
    cluster
}

fn create(cluster: &Cluster, topic: &str) {
    let mut command = Release::V3_9.java("org.apache.kafka.tools.TopicCommand");
    command.args(["--bootstrap-server", &cluster.bootstrap(), "--create", "--topic", topic]);
    command.args(["--partitions", &PARTITIONS.to_string(), "--replication-factor", "3"]);
    succeed(&mut command, &[], PATIENCE);
}

/// Leader and in-sync set of each partition.
fn states(observer: &Observer) -> Vec<(i32, Vec<i32>)> {
    let states = observer.states(TOPIC, PARTITIONS).expect("the topic is there");
    states.into_iter().map(|state| (state.leader, state.isr)).collect()
}

fn wait_until_whole(observer: &Observer) {
    wait::until("the ISR is whole", PATIENCE, || {
        let registered = observer.registered().len() == 3;
        (registered && states(observer).iter().all(|(leader, isr)| *leader != -1 && isr.len() == 3))
            .then_some(())
    });
}

fn assert_nothing_lost(cluster: &Cluster, outcome: Outcome) {
    assert_eq!(outcome.failed, 0, "the producer gave up on some records");
    let found: BTreeSet<String> =
        read_topic(&cluster.bootstrap(), TOPIC).into_iter().map(|r| r.value).collect();
    let lost: Vec<&String> = outcome.acknowledged.difference(&found).take(5).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}…");
}
