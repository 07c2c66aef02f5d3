//! Machines that stop: what was not synced is cut off a broker's log, and the note of the boot it was
//! used in is changed, as the kernel changes its boot id. Acknowledged records that another replica
//! holds have to survive; under Apache Kafka, by the same procedure, they do not.

use std::fs::File;
use std::path::Path;

use integration::apache::Release;
use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE};
use integration::foreign::{produce_with_kcat, read_topic};
use integration::observer::{Observer, State};
use integration::process::succeed;
use integration::wait;
use rustix::process::Signal;

use crate::brokers::{Brokers, create_topic};

const TOPIC: &str = "t";
const RECORDS: usize = 500;

#[test]
fn a_leader_that_rebooted_unnoticed_does_not_lead_with_what_is_left() {
    // Broker 1 keeps `/controller` for longer than the others' sessions last.
    let mut cluster = Cluster::start_each("", 3, |id, _| {
        let session = if id == 1 { "30000" } else { "4000" };
        vec![("zookeeper.session.timeout.ms".into(), session.into())]
    });
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    fill_topic(&cluster, &observer);
    wait::until("broker 1 is controller", PATIENCE, || {
        let controller = observer.controller()?;
        if controller != 1 {
            drop_controller(&observer);
        }
        (controller == 1).then_some(())
    });

    let before = epoch_of(&observer, 2);
    cluster.signal(1, Signal::STOP);
    stop_machine(&mut cluster, 2);
    cluster.start(2);
    wait::until("broker 2 is registered anew", PATIENCE, || {
        epoch_of(&observer, 2).filter(|epoch| Some(*epoch) != before)
    });
    assert_eq!(state(&observer).leader, 2, "no controller has seen that it was away");
    drop_controller(&observer);

    wait_for(&observer, "broker 3 leads and 2 follows", |state| state.leader == 3 && state.isr.len() == 2);
    cluster.signal(1, Signal::CONT);
    assert_eq!(read_topic(&cluster.bootstrap(), TOPIC).len(), RECORDS);
    assert_eq!(observer.children("/ottla/unclean_stops"), [""; 0], "it was acted on");
}

#[test]
fn the_last_replica_in_sync_waits_for_one_that_may_hold_more() {
    let mut cluster = Cluster::start(3, &[]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    leave_one_without_its_tail(&mut cluster, &observer);
    cluster.start(2);
    wait::until("somebody says who is waited for", PATIENCE, || {
        let said =
            "every replica in sync (2) lost the end of its log with its machine, and one of 3 may hold more";
        cluster.ids().iter().any(|id| cluster.log(*id).contains(said)).then_some(())
    });
    assert_eq!(state(&observer).leader, -1);
    cluster.start(3);
    let state = wait_for(&observer, "the ISR is whole", |state| state.isr.len() == 2);
    assert_eq!(state.leader, 3, "{state:?}");
    assert_eq!(read_topic(&cluster.bootstrap(), TOPIC).len(), RECORDS);
    assert_eq!(observer.children("/ottla/unclean_stops"), [""; 0], "it was acted on");
    assert_eq!(observer.children("/ottla/eligible_replicas"), [""; 0], "enough are in sync");
}

/// By Kafka's own tool, as the message tells.
#[test]
fn an_operator_may_do_without_the_one_that_is_waited_for() {
    let mut cluster = Cluster::start(3, &[]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    leave_one_without_its_tail(&mut cluster, &observer);
    cluster.start(2);
    wait::until("somebody says what an operator can do", PATIENCE, || {
        let said = "kafka-leader-election --election-type unclean";
        cluster.ids().iter().any(|id| cluster.log(*id).contains(said)).then_some(())
    });
    let mut elect = Release::V3_9.java("org.apache.kafka.tools.LeaderElectionCommand");
    elect.args(["--bootstrap-server", &cluster.bootstrap(), "--election-type", "unclean"]);
    elect.args(["--topic", TOPIC, "--partition", "0"]);
    let said = succeed(&mut elect, &[], PATIENCE);
    assert_eq!(
        said.trim_end(),
        format!("Successfully completed leader election (UNCLEAN) for partitions {TOPIC}-0")
    );
    assert_eq!(state(&observer).leader, 2);
    cluster.start(3);
    let state = wait_for(&observer, "the ISR is whole", |state| state.isr.len() == 2);
    assert_eq!(state.leader, 2, "{state:?}");
    let found = read_topic(&cluster.bootstrap(), TOPIC).len();
    assert!((1..RECORDS).contains(&found), "{found} of {RECORDS}: what broker 2 had left");
}

/// What the others are measured by. A broker of Apache's takes no notice of the marks either.
#[test]
fn apache_kafka_loses_what_the_last_replica_in_sync_lost() {
    let mut cluster = ApacheCluster::start(3, &[]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    std::fs::write(cluster.data(2).join(".ottla_boot"), "0\n").expect("a file can be written");
    leave_one_without_its_tail(&mut cluster, &observer);
    cluster.start(2);
    let state = wait_for(&observer, "broker 2 leads", |state| state.leader == 2);
    assert_eq!(state.isr, [2]);
    cluster.start(3);
    wait_for(&observer, "the ISR is whole", |state| state.isr.len() == 2);
    let found = read_topic(&cluster.bootstrap(), TOPIC).len();
    println!("Apache Kafka: {RECORDS} acknowledged by two replicas in sync, {found} left");
    assert!(found < RECORDS, "nothing is lost: this procedure shows nothing");
}

/// Records that brokers 2 and 3 have acknowledged together.
fn fill_topic(cluster: &impl Brokers, observer: &Observer) {
    create_topic(cluster, TOPIC, "2:3", &["--config", "min.insync.replicas=2"]);
    wait_for(observer, "2 leads 3", |state| state.isr == [2, 3]);
    let values: Vec<String> = (0..RECORDS).map(|number| format!("value-{number}")).collect();
    produce_with_kcat(&cluster.bootstrap(), TOPIC, &values, &["-X", "batch.num.messages=10"]);
}

/// Broker 3 dies, and then the machine of broker 2, the last one in sync.
fn leave_one_without_its_tail(cluster: &mut impl Brokers, observer: &Observer) {
    fill_topic(cluster, observer);
    cluster.kill(3);
    wait_for(observer, "broker 3 is out", |state| state.isr == [2]);
    stop_machine(cluster, 2);
    wait_for(observer, "nobody leads", |state| state.leader == -1 && state.isr == [2]);
}

fn stop_machine(cluster: &mut impl Brokers, id: i32) {
    cluster.kill(id);
    let data = cluster.data(id);
    lose_what_was_not_synced(&data.join(format!("{TOPIC}-0")));
    let boot = data.join(".ottla_boot");
    if boot.exists() {
        std::fs::write(boot, "00000000-0000-4000-8000-000000000000\n").expect("a file can be written");
    }
}

/// Nothing of a young active segment was synced; the kernel had written half of it by itself.
fn lose_what_was_not_synced(log: &Path) {
    let path = log.join("00000000000000000000.log");
    let file = File::options().write(true).open(&path).expect("the segment is there");
    let size = file.metadata().expect("it has a size").len();
    assert!(size > 0, "{} is empty", path.display());
    file.set_len(size / 2).expect("it can be cut");
}

fn drop_controller(observer: &Observer) {
    observer.with(async |session| session.delete("/controller", None).await).ok();
}

fn epoch_of(observer: &Observer, id: i32) -> Option<i64> {
    Some(observer.get(&format!("/brokers/ids/{id}"))?.stat.czxid)
}

fn state(observer: &Observer) -> State {
    observer.states(TOPIC, 1).expect("the topic is there").remove(0)
}

fn wait_for(observer: &Observer, what: &str, is_so: impl Fn(&State) -> bool) -> State {
    wait::until(what, PATIENCE, || {
        let state = observer.states(TOPIC, 1)?.remove(0);
        is_so(&state).then_some(state)
    })
}
