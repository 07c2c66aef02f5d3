//! Whole reigns in memory: an event goes in, and everything the controller writes and sends is
//! compared, in order. What Kafka does at each step is in `KafkaController.scala`.

mod deletion;
mod memory;
mod producer_ids;
mod requests;
mod standing;
mod stops;

use client::ids::Uuid;
use client::ids::{BrokerId, TopicPartition};
use client::wire::ErrorCode;
use client::znode::{notification, topic};
use controller::world::{Event, Trouble};
use futures::executor::block_on;
use memory::{Memory, Reign};

/// Compares line by line, so that a difference shows.
#[track_caller]
pub(crate) fn check(transcript: &str, expected: &str) {
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    let (is, should) = (lines(transcript), lines(expected));
    assert!(is == should, "is:\n{}\n\nshould be:\n{}\n", is.join("\n"), should.join("\n"));
}

#[test]
fn a_new_topic_gets_states_and_leaders() {
    let memory = Memory::with_brokers(2);
    let mut reign = Reign::begin(&memory, 1);
    check(
        &memory.transcript(),
        "to 1: UpdateMetadata brokers 1 2
         to 2: UpdateMetadata brokers 1 2
         delete /admin/preferred_replica_election: there is no such node",
    );
    memory.put_topic("t", Some(Uuid([7; 16])), &[&[1, 2], &[2, 1], &[3, 2]]);
    check(
        &reign.on(Event::TopicsChanged),
        "create t/partitions
         create t/partitions/0
         create t/partitions/1
         create t/partitions/2
         create t/partitions/0/state: leader 1, leader epoch 0, isr 1 2, controller 1; version 0
         create t/partitions/1/state: leader 2, leader epoch 0, isr 2 1, controller 1; version 0
         create t/partitions/2/state: leader 2, leader epoch 0, isr 2, controller 1; version 0
         to 1: LeaderAndIsr t-0 (leader 1, leader epoch 0, isr 1 2, version 0, new) t-1 (leader 2, leader epoch 0, isr 2 1, version 0, new)
         to 2: LeaderAndIsr t-0 (leader 1, leader epoch 0, isr 1 2, version 0, new) t-1 (leader 2, leader epoch 0, isr 2 1, version 0, new) t-2 (leader 2, leader epoch 0, isr 2, version 0, new)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1 2), t-1 (leader 2, leader epoch 0, isr 2 1), t-2 (leader 2, leader epoch 0, isr 2, offline 3)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1 2), t-1 (leader 2, leader epoch 0, isr 2 1), t-2 (leader 2, leader epoch 0, isr 2, offline 3)",
    );
    check(&reign.on(Event::TopicsChanged), "");
}

#[test]
fn a_partition_without_any_replica_waits_for_one() {
    let memory = Memory::with_brokers(1);
    let mut reign = Reign::begin(&memory, 1);
    memory.put_topic("t", Some(Uuid([7; 16])), &[&[2]]);
    memory.transcript();
    check(&reign.on(Event::TopicsChanged), "");
    check(
        &reign.registers(2),
        "to 1: UpdateMetadata brokers 1 2
         to 2: UpdateMetadata brokers 1 2
         create t/partitions
         create t/partitions/0
         create t/partitions/0/state: leader 2, leader epoch 0, isr 2, controller 1; version 0
         to 2: LeaderAndIsr t-0 (leader 2, leader epoch 0, isr 2, version 0, new)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 0, isr 2)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 0, isr 2)",
    );
}

#[test]
fn a_dead_broker_costs_each_partition_one_write() {
    let mut reign = Reign::with_topic(3, &[&[1, 2, 3], &[2, 1], &[3]]);
    check(
        &reign.dies(1),
        r#"create /ottla
         create /ottla/departures
         create /ottla/departures/1: {"version":1,"controller_epochs":[1]}; version 0
         set t/partitions/0/state: leader 2, leader epoch 1, isr 2 3, controller 1; version 1
         to 2: LeaderAndIsr t-0 (leader 2, leader epoch 1, isr 2 3, version 1)
         to 3: LeaderAndIsr t-0 (leader 2, leader epoch 1, isr 2 3, version 1)
         to 2: UpdateMetadata brokers 2 3, t-0 (leader 2, leader epoch 1, isr 2 3, offline 1)
         to 3: UpdateMetadata brokers 2 3, t-0 (leader 2, leader epoch 1, isr 2 3, offline 1)
         set t/partitions/1/state: leader 2, leader epoch 1, isr 2, controller 1; version 1
         to 2: LeaderAndIsr t-1 (leader 2, leader epoch 1, isr 2, version 1)
         to 2: UpdateMetadata brokers 2 3, t-0 (leader 2, leader epoch 1, isr 2 3, offline 1), t-1 (leader 2, leader epoch 1, isr 2, offline 1)
         to 3: UpdateMetadata brokers 2 3, t-0 (leader 2, leader epoch 1, isr 2 3, offline 1), t-1 (leader 2, leader epoch 1, isr 2, offline 1)"#,
    );
    check(&reign.on(Event::BrokersChanged), "");
}

#[test]
fn the_last_in_sync_replica_keeps_its_place_until_it_is_back() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.dies(2);
    check(
        &reign.dies(1),
        "set t/partitions/0/state: leader -1, leader epoch 2, isr 1, controller 1; version 2",
    );
    check(
        &reign.registers(2),
        "to 2: UpdateMetadata brokers 2, t-0 (leader -1, leader epoch 2, isr 1, offline 1)
         to 2: LeaderAndIsr t-0 (leader -1, leader epoch 2, isr 1, version 2)
         to 2: UpdateMetadata brokers 2, t-0 (leader -1, leader epoch 2, isr 1, offline 1)",
    );
    check(
        &reign.registers(1),
        "to 2: UpdateMetadata brokers 1 2
         to 1: UpdateMetadata brokers 1 2, t-0 (leader -1, leader epoch 2, isr 1)
         to 1: LeaderAndIsr t-0 (leader -1, leader epoch 2, isr 1, version 2)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader -1, leader epoch 2, isr 1)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader -1, leader epoch 2, isr 1)
         set t/partitions/0/state: leader 1, leader epoch 3, isr 1, controller 1; version 3
         to 1: LeaderAndIsr t-0 (leader 1, leader epoch 3, isr 1, version 3)
         to 2: LeaderAndIsr t-0 (leader 1, leader epoch 3, isr 1, version 3)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 3, isr 1)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 3, isr 1)",
    );
}

#[test]
fn unclean_election_only_where_the_topic_allows_it() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.dies(2);
    reign.dies(1);
    reign.registers(2);
    assert_eq!(reign.state("t", 0), "leader -1, leader epoch 2, isr 1, controller 1; version 2");
    reign.memory.allow_unclean("t");
    block_on(reign.term.unclean_election_allowed(Some("t"))).expect("nothing is refused");
    assert_eq!(reign.state("t", 0), "leader 2, leader epoch 3, isr 2, controller 1, recovering; version 3");
}

#[test]
fn a_broker_that_registered_again_is_treated_as_dead_and_new() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    check(
        &reign.registers(1),
        r#"create /ottla
         create /ottla/departures
         create /ottla/departures/1: {"version":1,"controller_epochs":[1]}; version 0
         set t/partitions/0/state: leader 2, leader epoch 1, isr 2, controller 1; version 1
         to 2: LeaderAndIsr t-0 (leader 2, leader epoch 1, isr 2, version 1)
         to 2: UpdateMetadata brokers 2, t-0 (leader 2, leader epoch 1, isr 2, offline 1)
         to 2: UpdateMetadata brokers 2, t-0 (leader 2, leader epoch 1, isr 2, offline 1)
         to 2: UpdateMetadata brokers 1 2
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 1, isr 2)
         to 1: LeaderAndIsr t-0 (leader 2, leader epoch 1, isr 2, version 1)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 1, isr 2)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 1, isr 2)"#,
    );
}

#[test]
fn a_failover_of_a_healthy_cluster_writes_nothing() {
    let reign = Reign::with_topic(2, &[&[1, 2]]);
    let _second = Reign::begin(&reign.memory, 2);
    check(
        &reign.memory.transcript(),
        "to 1: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1 2)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1 2)
         to 1: LeaderAndIsr t-0 (leader 1, leader epoch 0, isr 1 2, version 0)
         to 2: LeaderAndIsr t-0 (leader 1, leader epoch 0, isr 1 2, version 0)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1 2)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1 2)
         delete /admin/preferred_replica_election: there is no such node",
    );
}

#[test]
fn a_leader_that_died_with_the_controller_costs_two_writes() {
    let reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.memory.unregister(1);
    let _second = Reign::begin(&reign.memory, 2);
    check(
        &reign.memory.transcript(),
        r#"to 2: UpdateMetadata brokers 2, t-0 (leader 1, leader epoch 0, isr 1 2, offline 1)
         to 2: LeaderAndIsr t-0 (leader 1, leader epoch 0, isr 1 2, version 0)
         to 2: UpdateMetadata brokers 2, t-0 (leader 1, leader epoch 0, isr 1 2, offline 1)
         create /ottla
         create /ottla/departures
         create /ottla/departures/1: {"version":1,"controller_epochs":[2]}; version 0
         set t/partitions/0/state: leader -1, leader epoch 1, isr 2, controller 2; version 1
         to 2: LeaderAndIsr t-0 (leader -1, leader epoch 1, isr 2, version 1)
         to 2: UpdateMetadata brokers 2, t-0 (leader -1, leader epoch 1, isr 2, offline 1)
         set t/partitions/0/state: leader 2, leader epoch 2, isr 2, controller 2; version 2
         to 2: LeaderAndIsr t-0 (leader 2, leader epoch 2, isr 2, version 2)
         to 2: UpdateMetadata brokers 2, t-0 (leader 2, leader epoch 2, isr 2, offline 1)
         delete /admin/preferred_replica_election: there is no such node"#,
    );
}

#[test]
fn a_state_that_somebody_else_wrote_is_read_and_decided_anew() {
    let mut reign = Reign::with_topic(3, &[&[1, 2, 3]]);
    // As a leader of an old inter-broker protocol shrinks its ISR: 2 is out, so 3 must lead.
    let shrunk = r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,3]}"#;
    reign.memory.put("/brokers/topics/t/partitions/0/state", shrunk);
    reign.dies(1);
    assert_eq!(reign.state("t", 0), "leader 3, leader epoch 1, isr 3, controller 1; version 2");
}

#[test]
fn a_state_of_a_later_controller_is_left_alone() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    let later = r#"{"controller_epoch":9,"leader":1,"version":1,"leader_epoch":5,"isr":[1,2]}"#;
    reign.memory.put("/brokers/topics/t/partitions/0/state", later);
    reign.dies(1);
    assert_eq!(reign.state("t", 0), "leader 1, leader epoch 5, isr 1 2, controller 9; version 1");
}

#[test]
fn nothing_is_sent_once_the_controller_is_fenced() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.memory.unregister(1);
    reign.memory.fence();
    let trouble = block_on(reign.term.handle(Event::BrokersChanged)).expect_err("fenced");
    assert_eq!(trouble, Trouble::Fenced);
    assert!(trouble.is_final());
    check(&reign.memory.transcript(), "");
}

#[test]
fn a_topic_without_id_gets_one_and_a_lost_id_is_put_back() {
    let memory = Memory::with_brokers(1);
    let mut reign = Reign::begin(&memory, 1);
    memory.transcript();
    memory.put("/brokers/topics/old", r#"{"version":1,"partitions":{"0":[1]}}"#);
    check(
        &reign.on(Event::TopicsChanged),
        r#"set old: {"partitions":{"0":[1]},"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","adding_replicas":{},"removing_replicas":{},"version":3}; version 1
         create old/partitions
         create old/partitions/0
         create old/partitions/0/state: leader 1, leader epoch 0, isr 1, controller 1; version 0
         to 1: LeaderAndIsr old-0 (leader 1, leader epoch 0, isr 1, version 0, new)
         to 1: UpdateMetadata brokers 1, old-0 (leader 1, leader epoch 0, isr 1)"#,
    );
    // A tool of 2.7 or earlier adds a partition and drops the id.
    let data = r#"{"version":1,"partitions":{"0":[1],"1":[1]}}"#;
    memory.put(&topic::path("old"), data);
    let changed = Event::TopicChanged { topic: "old".into(), data: data.into() };
    check(
        &reign.on(changed),
        r#"set old: {"partitions":{"0":[1],"1":[1]},"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","adding_replicas":{},"removing_replicas":{},"version":3}; version 3
         create old/partitions/1
         create old/partitions/1/state: leader 1, leader epoch 0, isr 1, controller 1; version 0
         to 1: LeaderAndIsr old-1 (leader 1, leader epoch 0, isr 1, version 0, new)
         to 1: UpdateMetadata brokers 1, old-1 (leader 1, leader epoch 0, isr 1)"#,
    );
}

#[test]
fn a_new_controller_puts_back_the_id_its_broker_remembers() {
    let memory = Memory::with_brokers(1);
    memory.put("/brokers/topics/t", r#"{"version":1,"partitions":{"0":[1]}}"#);
    memory.remember_id(Uuid([5; 16]));
    let reign = Reign::begin(&memory, 1);
    assert_eq!(reign.term.cluster().topic_id("t"), Some(Uuid([5; 16])));
}

#[test]
fn a_reassignment_under_way_is_kept_when_the_node_is_written() {
    let memory = Memory::with_brokers(1);
    let data =
        r#"{"version":2,"partitions":{"0":[2,1]},"adding_replicas":{"0":[2]},"removing_replicas":{"0":[1]}}"#;
    memory.put("/brokers/topics/t", data);
    Reign::begin(&memory, 1);
    let expected = r#"{"partitions":{"0":[2,1]},"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","adding_replicas":{"0":[2]},"removing_replicas":{"0":[1]},"version":3}"#;
    assert_eq!(memory.data("/brokers/topics/t").as_deref(), Some(expected));
}

#[test]
fn a_topic_node_of_garbage_does_not_stop_the_others() {
    let memory = Memory::with_brokers(1);
    memory.put("/brokers/topics/bad", "");
    memory.put("/brokers/topics/worse", "{{{");
    memory.put_topic("good", Some(Uuid([7; 16])), &[&[1]]);
    let reign = Reign::begin(&memory, 1);
    assert_eq!(reign.state("good", 0), "leader 1, leader epoch 0, isr 1, controller 1; version 0");
}

#[test]
fn a_failed_log_directory_is_asked_after_and_its_replicas_replaced() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    let path = format!("{}0000000000", notification::log_dir_event_path());
    reign.memory.put(&path, notification::encode_log_dir_event(BrokerId(1)));
    check(
        &reign.on(Event::LogDirsFailed),
        "to 1: LeaderAndIsr t-0 (leader 1, leader epoch 0, isr 1 2, version 0)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1 2)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1 2)
         delete /log_dir_event_notification/log_dir_event_0000000000",
    );
    check(
        &reign.answers(1, 0, ErrorCode::KafkaStorageError),
        r#"create /ottla
         create /ottla/departures
         create /ottla/departures/1: {"version":1,"controller_epochs":[1]}; version 0
         set t/partitions/0/state: leader 2, leader epoch 1, isr 2, controller 1; version 1
         to 2: LeaderAndIsr t-0 (leader 2, leader epoch 1, isr 2, version 1)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 1, isr 2, offline 1)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 1, isr 2, offline 1)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 1, isr 2, offline 1)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 1, isr 2, offline 1)
         to 1: StopReplica t-0 (leader epoch 1)"#,
    );
    check(&reign.answers(1, 0, ErrorCode::KafkaStorageError), "");
}

#[test]
fn isr_changes_that_leaders_wrote_are_read_and_told() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    let shrunk = r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1]}"#;
    reign.memory.put("/brokers/topics/t/partitions/0/state", shrunk);
    let named = [TopicPartition::new("t", 0), TopicPartition::new("nothing", 0)];
    reign
        .memory
        .put("/isr_change_notification/isr_change_0000000000", notification::encode_isr_change(&named));
    reign.memory.put("/isr_change_notification/isr_change_1", "garbage");
    check(
        &reign.on(Event::IsrsChanged),
        "to 1: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1)
         delete /isr_change_notification/isr_change_0000000000
         delete /isr_change_notification/isr_change_1",
    );
}
