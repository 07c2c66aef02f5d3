//! Brokers that come back after their machines stopped. They tell of it before they register
//! (`client::znode::unclean_stop`), and a controller has to know before it tells them anything.

use client::ids::BrokerId;
use client::znode::partition;
use client::znode::unclean_stop::UncleanStop;
use controller::world::Event;

use crate::check;
use crate::memory::{Memory, Mishap, Reign};
use crate::requests::{alter, answer};

/// The broker's machine stopped, and the broker is back.
fn returns_from_stop(memory: &Memory, broker: i32) {
    let stop = UncleanStop { broker: BrokerId(broker), boot: "b".into() };
    memory.put(&stop.path(), "");
    memory.register(broker);
}

#[test]
fn a_leader_that_lost_records_does_not_lead_on_under_the_next_controller() {
    let reign = Reign::with_topic(3, &[&[1, 2, 3], &[2, 1], &[3, 2]]);
    returns_from_stop(&reign.memory, 1);
    let second = Reign::begin(&reign.memory, 2);
    let transcript = reign.memory.transcript();
    let before_requests: Vec<&str> = transcript.lines().take_while(|line| !line.starts_with("to ")).collect();
    check(
        &before_requests.join("\n"),
        r#"create /ottla/eligible_replicas
         set t/partitions/0/state: leader -1, leader epoch 1, isr 2 3, controller 2; version 1
         with it create /ottla/eligible_replicas/t-0: {"version":1,"topic_id":"BwcHBwcHBwcHBwcHBwcHBw","state_version":1,"replicas":[],"uncertain":[1]}; version 0
         set t/partitions/1/state: leader 2, leader epoch 1, isr 2, controller 2; version 1
         with it create /ottla/eligible_replicas/t-1: {"version":1,"topic_id":"BwcHBwcHBwcHBwcHBwcHBw","state_version":1,"replicas":[],"uncertain":[1]}; version 0
         delete /ottla/unclean_stops/1.b"#,
    );
    assert_eq!(second.state("t", 0), "leader 2, leader epoch 2, isr 2 3, controller 2; version 2");
    assert_eq!(second.state("t", 1), "leader 2, leader epoch 1, isr 2, controller 2; version 1");
    assert_eq!(second.state("t", 2), "leader 3, leader epoch 0, isr 3 2, controller 1; version 0");
    assert!(transcript.contains("to 1: LeaderAndIsr t-0 (leader -1, leader epoch 1, isr 2 3, version 1)"));
    assert!(transcript.contains("to 1: LeaderAndIsr t-0 (leader 2, leader epoch 2, isr 2 3, version 2)"));
    // 2 has not said that it leads: it may have lost more.
    let list = reign.memory.data("/ottla/eligible_replicas/t-0").unwrap();
    assert!(list.contains(r#""state_version":2,"replicas":[],"uncertain":[1]"#), "{list}");
}

#[test]
fn replicas_that_all_lost_records_stay_in_the_isr() {
    let reign = Reign::with_topic(2, &[&[1, 2]]);
    returns_from_stop(&reign.memory, 1);
    returns_from_stop(&reign.memory, 2);
    let second = Reign::begin(&reign.memory, 2);
    assert_eq!(second.state("t", 0), "leader -1, leader epoch 1, isr 1 2, controller 2; version 1");
}

#[test]
fn a_broker_that_is_not_back_yet_is_waited_for() {
    let reign = Reign::with_topic(2, &[&[1, 2]]);
    returns_from_stop(&reign.memory, 1);
    reign.memory.unregister(1);
    let mut second = Reign::begin(&reign.memory, 2);
    assert_eq!(second.state("t", 0), "leader 2, leader epoch 2, isr 2, controller 2; version 2");
    assert!(reign.memory.data("/ottla/unclean_stops/1.b").is_some());
    assert!(second.registers(1).ends_with("delete /ottla/unclean_stops/1.b\n"));
}

/// ZooKeeper was away for longer than it took the machine to come back: the session of before goes on.
#[test]
fn a_word_outlasts_the_registration_of_before_the_stop() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    let leaves = alter(&reign, 0, 0, &[1]);
    answer(&mut reign, &leaves);
    let stop = UncleanStop { broker: BrokerId(2), boot: "b".into() };
    reign.memory.put(&stop.path(), "");
    let mut second = Reign::begin(&reign.memory, 2);
    assert!(reign.memory.data(&stop.path()).is_some());
    // The leader goes by what was fetched before the stop.
    let joins = alter(&second, 0, 1, &[1, 2]);
    answer(&mut second, &joins);
    assert_eq!(second.state("t", 0), "leader 1, leader epoch 0, isr 1 2, controller 2; version 2");
    assert!(reign.memory.data(&stop.path()).is_some());
    let transcript = second.registers(2);
    assert!(transcript.ends_with("delete /ottla/unclean_stops/2.b\n"), "{transcript}");
    assert_eq!(second.state("t", 0), "leader 1, leader epoch 1, isr 1, controller 2; version 3");
}

#[test]
fn a_broker_that_registers_anew_is_treated_as_dead_and_new_before_its_word_is_taken_away() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    returns_from_stop(&reign.memory, 1);
    let transcript = reign.on(Event::BrokersChanged);
    let (before_requests, _) = transcript.split_once("\nto ").unwrap();
    let relieved = "\nset t/partitions/0/state: leader 2, leader epoch 1, isr 2,";
    assert!(before_requests.contains(relieved), "{transcript}");
    assert!(transcript.ends_with("delete /ottla/unclean_stops/1.b\n"), "{transcript}");
}

#[test]
fn a_state_that_somebody_else_wrote_meanwhile_is_decided_anew() {
    let reign = Reign::with_topic(3, &[&[1, 2, 3]]);
    returns_from_stop(&reign.memory, 1);
    let by = Box::new(|_: &[u8]| {
        br#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,3]}"#.to_vec()
    });
    let path = "/brokers/topics/t/partitions/0/state";
    assert_eq!(partition::state_path("t", 0), path);
    reign.memory.mishap(Mishap::Overtaken { path, by });
    let second = Reign::begin(&reign.memory, 2);
    assert_eq!(second.state("t", 0), "leader 3, leader epoch 2, isr 3, controller 2; version 3");
}

#[test]
fn a_stop_that_one_partition_waits_for_says_nothing_of_others_any_more() {
    let mut reign = Reign::with_topic(3, &[&[1, 2], &[2, 3]]);
    reign.dies(3);
    returns_from_stop(&reign.memory, 2);
    reign.on(Event::BrokersChanged);
    assert_eq!(
        reign.state("t", 1),
        "leader -1, leader epoch 2, isr 2, controller 1; version 2",
        "2 is asked"
    );
    assert_eq!(reign.state("t", 0), "leader 1, leader epoch 1, isr 1, controller 1; version 1");
    let stop = reign.memory.data("/ottla/unclean_stops/2.b").unwrap();
    assert_eq!(stop, r#"{"version":1,"partitions":[{"topic":"t","partition":1}]}"#);

    // It has fetched again what it lacked; then another controller comes.
    let joins = alter(&reign, 1, 1, &[1, 2]);
    answer(&mut reign, &joins);
    let joined = reign.state("t", 0);
    assert_eq!(joined, "leader 1, leader epoch 1, isr 1 2, controller 1; version 2");
    let mut second = Reign::begin(&reign.memory, 2);
    assert_eq!(second.state("t", 0), joined);
    assert_eq!(second.state("t", 1), "leader -1, leader epoch 2, isr 2, controller 1; version 2");

    // Nor does its process lose anything when it dies alone.
    second.dies(1);
    second.dies(2);
    second.registers(2);
    assert!(second.state("t", 0).starts_with("leader 2, "), "{}", second.state("t", 0));
    assert!(second.state("t", 1).starts_with("leader -1, "), "{}", second.state("t", 1));
}
