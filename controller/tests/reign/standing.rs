//! What becomes of a partition all of whose in-sync replicas lost the ends of their logs.

use client::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use client::wire::ErrorCode;
use client::wire::messages::ElectLeadersRequest;
use client::znode::commit::LogEnd;
use client::znode::notification;
use client::znode::unclean_stop::UncleanStop;
use controller::world::Event;
use futures::executor::block_on;

use crate::check;
use crate::memory::{Memory, Reign};

const LIST: &str = "/ottla/eligible_replicas/t-0";
const STOP: &str = "/ottla/unclean_stops/1.b";

/// Broker 1 leads, 3 leaves the ISR and 1 knows it; 2 leaves while two must be in sync, 1 dies.
fn last_replica_gone() -> Reign {
    let mut reign = Reign::with_topic(3, &[&[1, 2, 3]]);
    reign.memory.configure("t", "min.insync.replicas", "2");
    reign.dies(3);
    reign.answers(1, 1, ErrorCode::None);
    reign.dies(2);
    reign.dies(1);
    assert_eq!(reign.state("t", 0), "leader -1, leader epoch 3, isr 1, controller 1; version 3");
    reign
}

fn returns_from_stop(reign: &mut Reign, broker: i32) -> String {
    let stop = UncleanStop { broker: BrokerId(broker), boot: "b".into() };
    reign.memory.put(&stop.path(), "");
    reign.registers(broker)
}

/// The broker answers how far its log of t-0 reaches.
fn tells(reign: &mut Reign, broker: i32, epoch: i32, offset: i64) -> String {
    let end = LogEnd { epoch: LeaderEpoch(epoch), offset: Offset(offset) };
    let answered = Event::LogEndsAnswered {
        broker: BrokerId(broker),
        epoch: reign.memory.epoch_of(broker),
        ends: vec![(TopicPartition::new("t", 0), Some(end))],
    };
    reign.on(answered)
}

/// What was written, without what brokers were told.
fn writes(transcript: &str) -> String {
    let lines = transcript.lines().filter(|line| !line.starts_with("to "));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_asked(transcript: &str, broker: i32) -> bool {
    transcript.lines().any(|line| line == format!("to {broker}: LogEnds t-0"))
}

#[test]
fn lists_are_written_with_the_states_they_belong_to() {
    let mut reign = Reign::with_topic(3, &[&[1, 2, 3]]);
    reign.memory.configure("t", "min.insync.replicas", "2");
    check(
        &writes(&reign.dies(3)),
        r#"create /ottla
         create /ottla/departures
         create /ottla/departures/3: {"version":1,"controller_epochs":[1]}; version 0
         set t/partitions/0/state: leader 1, leader epoch 1, isr 1 2, controller 1; version 1"#,
    );
    check(&reign.answers(1, 1, ErrorCode::None), "");
    check(
        &writes(&reign.dies(2)),
        r#"create /ottla/eligible_replicas
           set t/partitions/0/state: leader 1, leader epoch 2, isr 1, controller 1; version 2
           with it create /ottla/eligible_replicas/t-0: {"version":1,"topic_id":"BwcHBwcHBwcHBwcHBwcHBw","state_version":2,"replicas":[2]}; version 0"#,
    );
    check(
        &writes(&reign.dies(1)),
        r#"set t/partitions/0/state: leader -1, leader epoch 3, isr 1, controller 1; version 3
           with it set /ottla/eligible_replicas/t-0: {"version":1,"topic_id":"BwcHBwcHBwcHBwcHBwcHBw","state_version":3,"replicas":[2]}; version 1"#,
    );
}

#[test]
fn a_last_replica_that_lost_nothing_leads_at_once() {
    let mut reign = last_replica_gone();
    reign.registers(1);
    assert_eq!(reign.state("t", 0), "leader 1, leader epoch 4, isr 1, controller 1; version 4");
}

#[test]
fn a_last_replica_that_lost_records_waits_and_the_furthest_log_leads() {
    let mut reign = last_replica_gone();
    let transcript = returns_from_stop(&mut reign, 1);
    assert!(is_asked(&transcript, 1), "{transcript}");
    check(
        &writes(&transcript),
        r#"set /ottla/unclean_stops/1.b: {"version":1,"partitions":[{"topic":"t","partition":0}]}; version 1"#,
    );
    check(&tells(&mut reign, 1, 2, 80), "");
    // Whoever left earlier may hold more as well, and is not waited for.
    let transcript = reign.registers(3);
    assert!(is_asked(&transcript, 3) && !is_asked(&transcript, 1), "{transcript}");
    check(&tells(&mut reign, 3, 0, 90), "");
    let transcript = reign.registers(2);
    assert!(is_asked(&transcript, 2), "{transcript}");
    assert_eq!(reign.state("t", 0), "leader -1, leader epoch 3, isr 1, controller 1; version 3");
    check(
        &writes(&tells(&mut reign, 2, 2, 100)),
        r#"set t/partitions/0/state: leader 2, leader epoch 4, isr 2, controller 1; version 4
           with it set /ottla/eligible_replicas/t-0: {"version":1,"topic_id":"BwcHBwcHBwcHBwcHBwcHBw","state_version":4,"replicas":[],"uncertain":[1]}; version 2
           delete /ottla/unclean_stops/1.b"#,
    );
    check(&tells(&mut reign, 2, 2, 100), "");
}

#[test]
fn a_broker_that_dies_or_comes_again_is_asked_anew() {
    let mut reign = last_replica_gone();
    returns_from_stop(&mut reign, 1);
    let first_run = reign.memory.epoch_of(1);
    assert!(is_asked(&reign.registers(1), 1));
    let late = Event::LogEndsAnswered { broker: BrokerId(1), epoch: first_run, ends: Vec::new() };
    check(&reign.on(late), "");
    reign.registers(2);
    tells(&mut reign, 2, 2, 100);
    assert_eq!(reign.state("t", 0), "leader -1, leader epoch 4, isr 1, controller 1; version 4");
    // It does not answer, and then is gone: what is there decides.
    reign.dies(1);
    assert_eq!(reign.state("t", 0), "leader 2, leader epoch 5, isr 2, controller 1; version 5");
}

#[test]
fn the_next_controller_knows_who_is_waited_for() {
    let mut reign = last_replica_gone();
    returns_from_stop(&mut reign, 1);
    let mut second = Reign::begin(&reign.memory, 2);
    assert!(is_asked(&reign.memory.transcript(), 1));
    check(&tells(&mut second, 1, 2, 80), "");
    assert!(is_asked(&second.registers(2), 2));
    tells(&mut second, 2, 2, 80);
    // Who holds as much and is in sync by the state comes first.
    assert_eq!(second.state("t", 0), "leader 1, leader epoch 4, isr 1, controller 2; version 4");
    assert!(second.memory.data(LIST).is_some_and(|list| list.contains("[2]")), "2 is eligible still");
    assert_eq!(second.memory.data(STOP), None);
}

#[test]
fn a_list_that_is_not_of_this_state_counts_for_nothing() {
    let mut reign = last_replica_gone();
    // As a controller of Apache's writes it.
    let foreign = r#"{"controller_epoch":2,"leader":-1,"version":1,"leader_epoch":4,"isr":[1]}"#;
    reign.memory.put("/brokers/topics/t/partitions/0/state", foreign);
    returns_from_stop(&mut reign, 1);
    let mut third = Reign::begin(&reign.memory, 3);
    assert_eq!(third.memory.data(LIST), None);
    tells(&mut third, 1, 2, 80);
    assert_eq!(third.state("t", 0), "leader 1, leader epoch 5, isr 1, controller 3; version 5");
}

#[test]
fn members_that_all_lost_records_are_compared() {
    let reign = Reign::with_topic(3, &[&[1, 2, 3]]);
    let memory: &Memory = &reign.memory;
    for broker in [1, 2] {
        memory.put(&UncleanStop { broker: BrokerId(broker), boot: "b".into() }.path(), "");
        memory.register(broker);
    }
    memory.put("/brokers/topics/t/partitions/0/state", isr_of_two());
    let mut second = Reign::begin(memory, 2);
    assert_eq!(second.state("t", 0), "leader -1, leader epoch 1, isr 1 2, controller 2; version 2");
    tells(&mut second, 1, 0, 80);
    tells(&mut second, 3, 0, 70);
    tells(&mut second, 2, 0, 90);
    assert_eq!(second.state("t", 0), "leader 2, leader epoch 2, isr 2, controller 2; version 3");
    assert_eq!(memory.data(STOP), None);
}

fn isr_of_two() -> &'static str {
    r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2]}"#
}

#[test]
fn an_operator_may_do_without_those_who_are_away() {
    let mut reign = last_replica_gone();
    returns_from_stop(&mut reign, 1);
    let unclean = ElectLeadersRequest { election_type: 1, topic_partitions: None, timeout_ms: 1_000 };
    block_on(reign.term.elect_leaders(&unclean)).expect("nothing is refused");
    assert_eq!(reign.state("t", 0), "leader 1, leader epoch 4, isr 1, controller 1; version 4");

    let mut reign = last_replica_gone();
    returns_from_stop(&mut reign, 1);
    tells(&mut reign, 1, 2, 80);
    reign.memory.allow_unclean("t");
    block_on(reign.term.unclean_election_allowed(Some("t"))).expect("nothing is refused");
    assert_eq!(reign.state("t", 0), "leader 1, leader epoch 4, isr 1, controller 1; version 4");
}

#[test]
fn who_left_while_the_leader_was_gone_is_waited_for() {
    let mut reign = Reign::with_topic(4, &[&[1, 2, 3]]);
    reign.memory.configure("t", "min.insync.replicas", "2");
    reign.dies(3);
    // The machines of both others have stopped already, and 1 hears nothing of the ISR without 3.
    check(
        &writes(&returns_from_stop(&mut reign, 1)),
        r#"create /ottla/eligible_replicas
           set t/partitions/0/state: leader 2, leader epoch 2, isr 2, controller 1; version 2
           with it create /ottla/eligible_replicas/t-0: {"version":1,"topic_id":"BwcHBwcHBwcHBwcHBwcHBw","state_version":2,"replicas":[1],"uncertain":[3]}; version 0
           set /ottla/eligible_replicas/t-0: {"version":1,"topic_id":"BwcHBwcHBwcHBwcHBwcHBw","state_version":2,"replicas":[],"uncertain":[3,1]}; version 1
           delete /ottla/unclean_stops/1.b"#,
    );
    reign.dies(2);
    returns_from_stop(&mut reign, 2);
    tells(&mut reign, 1, 0, 80);
    tells(&mut reign, 2, 0, 90);
    assert_eq!(reign.state("t", 0), "leader -1, leader epoch 3, isr 2, controller 1; version 3");
    // The next controller knows it as well.
    let mut second = Reign::begin(&reign.memory, 2);
    tells(&mut second, 1, 0, 80);
    tells(&mut second, 2, 0, 90);
    assert_eq!(second.state("t", 0), "leader -1, leader epoch 3, isr 2, controller 1; version 3");
    second.registers(3);
    tells(&mut second, 3, 0, 100);
    assert_eq!(second.state("t", 0), "leader 3, leader epoch 4, isr 3, controller 2; version 4");
}

#[test]
fn a_leader_that_does_not_answer_is_written_down() {
    let three = || {
        let mut reign = Reign::with_topic(3, &[&[1, 2, 3]]);
        reign.memory.configure("t", "min.insync.replicas", "2");
        reign.memory.transcript();
        reign.dies(3);
        reign
    };
    let kept = r#"create /ottla/eligible_replicas
                  create /ottla/eligible_replicas/t-0: {"version":1,"topic_id":"BwcHBwcHBwcHBwcHBwcHBw","state_version":1,"replicas":[],"uncertain":[3]}; version 0
                  delete /ottla/departures/3"#;

    let mut silent = three();
    check(&silent.on(Event::ListsDue), "");
    check(&silent.on(Event::ListsDue), kept);
    check(&silent.on(Event::ListsDue), "");
    check(&silent.answers(1, 1, ErrorCode::None), "delete /ottla/eligible_replicas/t-0");

    let mut prompt = three();
    check(&prompt.on(Event::ListsDue), "");
    check(&prompt.answers(1, 1, ErrorCode::None), "");
    check(&prompt.on(Event::ListsDue), "delete /ottla/departures/3");
    block_on(prompt.term.keep_all_lists()).expect("nothing is refused");
    assert_eq!(prompt.memory.data(LIST), None);

    let mut stopping = three();
    stopping.memory.transcript();
    block_on(stopping.term.keep_all_lists()).expect("nothing is refused");
    check(&stopping.memory.transcript(), kept);
    is_waited_for_by_the_next_controller(&stopping);
}

#[test]
fn who_left_is_known_to_the_next_controller_though_this_one_is_killed() {
    let mut reign = Reign::with_topic(3, &[&[1, 2, 3]]);
    reign.memory.configure("t", "min.insync.replicas", "2");
    reign.dies(3);
    is_waited_for_by_the_next_controller(&reign);

    // The next one is killed as well.
    let mut reign = Reign::with_topic(4, &[&[1, 2, 3, 4]]);
    reign.memory.configure("t", "min.insync.replicas", "2");
    reign.dies(3);
    let mut second = Reign::begin(&reign.memory, 2);
    second.dies(4);
    let mut third = Reign::begin(&reign.memory, 3);
    third.on(Event::ListsDue);
    assert_eq!(reign.memory.data(LIST), None, "leaders may answer");
    third.on(Event::ListsDue);
    let text = reign.memory.data(LIST).unwrap_or_default();
    assert!(text.ends_with(r#""state_version":2,"replicas":[],"uncertain":[3,4]}"#), "{text}");
}

#[test]
fn who_left_is_told_only_of_the_states_of_that_controller_and_until_the_leader_has_heard() {
    let begin = || {
        let mut reign = Reign::with_topic(3, &[&[1, 2, 3]]);
        reign.memory.configure("t", "min.insync.replicas", "2");
        reign.dies(3);
        reign
    };
    let forgotten = "delete /ottla/departures/3";
    let reign = begin();
    let mut heard = Reign::begin(&reign.memory, 2);
    reign.memory.transcript();
    check(&heard.on(Event::ListsDue), "");
    check(&heard.answers(1, 1, ErrorCode::None), "");
    check(&heard.on(Event::ListsDue), forgotten);

    let reign = begin();
    let foreign = r#"{"controller_epoch":2,"leader":1,"version":1,"leader_epoch":2,"isr":[1,2]}"#;
    reign.memory.put("/brokers/topics/t/partitions/0/state", foreign);
    let mut third = Reign::begin(&reign.memory, 3);
    reign.memory.transcript();
    check(&third.on(Event::ListsDue), forgotten);
}

/// The machines of the two who stayed stop, and come back without the ends of their logs.
fn is_waited_for_by_the_next_controller(reign: &Reign) {
    let mut second = Reign::begin(&reign.memory, 2);
    second.dies(1);
    second.dies(2);
    for broker in [1, 2] {
        returns_from_stop(&mut second, broker);
    }
    tells(&mut second, 1, 0, 80);
    tells(&mut second, 2, 0, 90);
    assert!(second.state("t", 0).starts_with("leader -1, "), "{}", second.state("t", 0));
    second.registers(3);
    tells(&mut second, 3, 0, 100);
    assert!(second.state("t", 0).starts_with("leader 3, "), "{}", second.state("t", 0));
}

#[test]
fn those_set_aside_for_a_stop_are_told_until_the_leader_goes_on_without() {
    let reign = Reign::with_topic(3, &[&[1, 2, 3]]);
    reign.memory.configure("t", "min.insync.replicas", "2");
    reign.memory.put(&UncleanStop { broker: BrokerId(3), boot: "b".into() }.path(), "");
    reign.memory.register(3);
    let mut second = Reign::begin(&reign.memory, 2);
    assert_eq!(second.state("t", 0), "leader 1, leader epoch 1, isr 1 2, controller 2; version 1");
    let list = reign.memory.data(LIST).unwrap();
    assert!(list.ends_with(r#""state_version":1,"replicas":[],"uncertain":[3]}"#), "{list}");
    reign.memory.transcript();
    // Neither a former state nor a follower's word tells that.
    check(&second.answers(1, 0, ErrorCode::None), "");
    check(&second.answers(2, 1, ErrorCode::None), "");
    let told = second.answers(1, 1, ErrorCode::StaleControllerEpoch);
    check(&told, "delete /ottla/eligible_replicas/t-0");
}

#[test]
fn who_lost_something_is_waited_for_while_nothing_is_acknowledged_without_it() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.memory.configure("t", "min.insync.replicas", "2");
    reign.dies(2);
    reign.answers(1, 1, ErrorCode::None);
    returns_from_stop(&mut reign, 2);
    // Another controller tells the leader again.
    let mut second = Reign::begin(&reign.memory, 2);
    reign.memory.transcript();
    check(&second.answers(1, 1, ErrorCode::StaleControllerEpoch), "");
    second.dies(2);
    second.dies(1);
    returns_from_stop(&mut second, 1);
    tells(&mut second, 1, 0, 80);
    assert!(second.state("t", 0).starts_with("leader -1, "), "{}", second.state("t", 0));
    second.registers(2);
    tells(&mut second, 2, 0, 90);
    assert!(second.state("t", 0).starts_with("leader 2, "), "{}", second.state("t", 0));
}

#[test]
fn a_list_is_written_again_after_somebody_else_wrote_the_state() {
    let mut reign = Reign::with_topic(3, &[&[1, 2, 3]]);
    reign.memory.configure("t", "min.insync.replicas", "2");
    reign.dies(3);
    reign.dies(2);
    reign.registers(2);
    // As brokers of inter-broker protocol 2.6 do it.
    let joined = r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":2,"isr":[1,2]}"#;
    reign.memory.put("/brokers/topics/t/partitions/0/state", joined);
    let path = "/isr_change_notification/isr_change_0000000000";
    reign.memory.put(path, notification::encode_isr_change(&[TopicPartition::new("t", 0)]));
    reign.on(Event::IsrsChanged);
    reign.answers(1, 3, ErrorCode::None);
    reign.dies(2);
    let list = reign.memory.data(LIST).unwrap();
    assert!(list.ends_with(r#""state_version":4,"replicas":[2]}"#), "{list}");
}

#[test]
fn lists_go_with_their_topic() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.memory.configure("t", "min.insync.replicas", "2");
    reign.dies(2);
    reign.registers(2);
    assert!(reign.memory.data(LIST).is_some());
    reign.memory.request_deletion("t");
    reign.on(Event::DeletionsRequested);
    for event in reign.memory.deletions_answered(ErrorCode::None) {
        reign.on(event);
    }
    assert_eq!(reign.memory.data(LIST), None);
}
