//! ZooKeeper fails under a cluster at work: its leader dies, then its majority is gone for longer than a heartbeat.
//! Its servers are containers where there is a Docker engine.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use integration::cluster::{Cluster, PATIENCE, ottla};
use integration::foreign::read_topic;
use integration::load::Load;
use integration::observer::Observer;
use integration::process::run;
use integration::servers::Servers;
use integration::wait;

const TOPIC: &str = "load";
/// Many times what a session lasts.
const WITHOUT_MAJORITY: Duration = Duration::from_secs(60);
/// Three times the goal, since machines are noisy.
const FULL_FUNCTION: Duration = Duration::from_secs(15);

#[test]
fn records_flow_while_zookeeper_fails() {
    let mut cluster = Cluster::start_on_servers(Servers::start(3), 3, &[("min.insync.replicas", "2")]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    wait::until("the topic is made", PATIENCE, || make_topic(&cluster, TOPIC).then_some(()));
    let load = Load::start(&cluster.bootstrap(), TOPIC, 500);
    load.wait_for_more(500, PATIENCE);

    let leader = cluster.zookeeper.leader();
    cluster.zookeeper.kill(leader);
    let began = Instant::now();
    load.wait_for_more(500, PATIENCE);
    wait::until("a topic is made", PATIENCE, || make_topic(&cluster, "without-the-leader").then_some(()));
    println!("ZooKeeper's leader killed: a topic made {:.1} s later", began.elapsed().as_secs_f64());
    cluster.zookeeper.revive(leader);
    cluster.zookeeper.wait_until_serving(leader);

    let registered = observer.registered();
    let majority = [leader, (leader + 1) % 3];
    majority.iter().for_each(|server| cluster.zookeeper.kill(*server));
    let gone = Instant::now();
    while gone.elapsed() < WITHOUT_MAJORITY {
        load.wait_for_more(5_000, PATIENCE);
        let acknowledged = load.acknowledged();
        let read = read_topic(&cluster.bootstrap(), TOPIC).len();
        assert!(read >= acknowledged, "{read} records are read, {acknowledged} were acknowledged");
    }
    majority.iter().for_each(|server| cluster.zookeeper.revive(*server));
    majority.iter().for_each(|server| cluster.zookeeper.wait_until_serving(*server));
    let back = Instant::now();
    wait::until("a topic is made", PATIENCE, || make_topic(&cluster, "afterwards").then_some(()));
    println!("ZooKeeper's majority back: a topic made {:.1} s later", back.elapsed().as_secs_f64());
    assert!(back.elapsed() < FULL_FUNCTION, "full function only after {:?}", back.elapsed());
    assert_eq!(observer.registered(), registered, "a session was lost");

    let outcome = load.finish();
    assert_eq!(outcome.failed, 0, "records were given up");
    let stored: BTreeSet<String> =
        read_topic(&cluster.bootstrap(), TOPIC).into_iter().map(|found| found.value).collect();
    let lost: Vec<&String> = outcome.acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} acknowledged records are lost, among them {:?}", lost.len(), lost.first());
}

/// Whether it was.
fn make_topic(cluster: &Cluster<Servers>, name: &str) -> bool {
    let mut command = Command::new(ottla());
    command.args(["topics", "--bootstrap-server", &cluster.bootstrap(), "--create", "--topic", name]);
    command.args(["--partitions", "3", "--replication-factor", "3"]);
    let output = run(&mut command, &[], PATIENCE);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // The answer to an earlier attempt may have been lost.
    output.status.success() || said.contains("already exists")
}
