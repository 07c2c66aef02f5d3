//! Topics are deleted.

use client::ids::Uuid;
use client::wire::ErrorCode;
use controller::term::Settings;
use controller::world::Event;

use crate::check;
use crate::memory::{Memory, Reign};

#[test]
fn a_topic_goes_when_every_replica_has_gone() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.memory.allow_unclean("t");
    reign.memory.request_deletion("t");
    check(
        &reign.on(Event::DeletionsRequested),
        "to 1: UpdateMetadata brokers 1 2, t-0 (leader -2, leader epoch 0, isr 1 2)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader -2, leader epoch 0, isr 1 2)
         set t/partitions/0/state: leader -1, leader epoch 1, isr 2, controller 1; version 1
         set t/partitions/0/state: leader -1, leader epoch 2, isr 2, controller 1; version 2
         to 1: StopReplica t-0 (leader epoch -2)
         to 2: StopReplica t-0 (leader epoch -2)
         to 1: StopReplica t-0 (leader epoch -2, delete)
         to 2: StopReplica t-0 (leader epoch -2, delete)",
    );
    let mut answers = reign.memory.deletions_answered(ErrorCode::None).into_iter();
    let (first, second) = (answers.next().expect("of 1"), answers.next().expect("of 2"));
    check(&reign.on(first), "");
    check(
        &reign.on(second),
        "delete t/partitions/0/state
         delete t/partitions/0
         delete t/partitions
         delete t
         delete /config/topics/t
         delete /admin/delete_topics/t",
    );
    assert!(!reign.term.cluster().has_topic("t"));
}

#[test]
fn a_replica_that_is_away_holds_the_deletion_up() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.dies(2);
    reign.memory.request_deletion("t");
    check(
        &reign.on(Event::DeletionsRequested),
        "to 1: UpdateMetadata brokers 1, t-0 (leader -2, leader epoch 0, isr 1, offline 2)
         set t/partitions/0/state: leader -1, leader epoch 2, isr 1, controller 1; version 2
         to 1: StopReplica t-0 (leader epoch -2)
         to 1: StopReplica t-0 (leader epoch -2, delete)",
    );
    for event in reign.memory.deletions_answered(ErrorCode::None) {
        check(&reign.on(event), "");
    }
    check(
        &reign.registers(2),
        "to 1: UpdateMetadata brokers 1 2
         to 2: UpdateMetadata brokers 1 2
         to 2: LeaderAndIsr t-0 (leader -1, leader epoch 2, isr 1, version 2)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader -2, leader epoch 0, isr 1)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader -2, leader epoch 0, isr 1)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader -2, leader epoch 0, isr 1)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader -2, leader epoch 0, isr 1)
         to 2: StopReplica t-0 (leader epoch -2)
         to 2: StopReplica t-0 (leader epoch -2, delete)",
    );
    for event in reign.memory.deletions_answered(ErrorCode::None) {
        reign.on(event);
    }
    assert!(!reign.term.cluster().has_topic("t"));
    assert_eq!(reign.memory.data("/admin/delete_topics/t"), None);
}

/// What is queued for the broker's former life would be done by this one, and its answer taken for the new order's.
#[test]
fn a_broker_that_restarted_hears_nothing_before_its_roles() {
    let mut reign = Reign::with_topic(3, &[&[1, 2, 3]]);
    reign.dies(2);
    reign.memory.request_deletion("t");
    reign.on(Event::DeletionsRequested);
    for event in reign.memory.deletions_answered(ErrorCode::KafkaStorageError) {
        reign.on(event);
    }
    reign.memory.register(3);
    let mut heard = reign.registers(2);
    while reign.term.cluster().has_topic("t") {
        let answers = reign.memory.deletions_answered(ErrorCode::None);
        assert!(!answers.is_empty(), "the deletion goes on:\n{heard}");
        for event in answers {
            heard += &reign.on(event);
        }
    }
    let to_3 = |what: &str| heard.lines().position(|line| line.trim().starts_with(&format!("to 3: {what}")));
    let (roles, stop) = (to_3("LeaderAndIsr").expect("a role"), to_3("StopReplica").expect("an end"));
    assert!(roles < stop, "{heard}");
}

#[test]
fn a_replica_that_cannot_be_deleted_is_tried_again_when_its_broker_returns() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.memory.request_deletion("t");
    reign.on(Event::DeletionsRequested);
    let mut answers = reign.memory.deletions_answered(ErrorCode::KafkaStorageError).into_iter();
    reign.on(answers.next().expect("of 1"));
    let mut answers = answers.map(|answer| match answer {
        Event::ReplicasDeleted { broker, epoch, partitions } => Event::ReplicasDeleted {
            broker,
            epoch,
            partitions: partitions.into_iter().map(|(p, _)| (p, ErrorCode::None)).collect(),
        },
        other => other,
    });
    reign.on(answers.next().expect("of 2"));
    assert!(reign.term.cluster().is_to_delete("t"));

    reign.registers(1);
    for event in reign.memory.deletions_answered(ErrorCode::None) {
        reign.on(event);
    }
    assert!(!reign.term.cluster().has_topic("t"));
}

#[test]
fn a_late_word_of_a_former_registration_holds_nothing_up() {
    for late in [ErrorCode::StaleBrokerEpoch, ErrorCode::KafkaStorageError] {
        let mut reign = Reign::with_topic(2, &[&[1, 2]]);
        reign.memory.request_deletion("t");
        reign.on(Event::DeletionsRequested);
        let of_former = reign.memory.deletions_answered(late);
        for broker in [1, 2] {
            reign.registers(broker);
        }
        for event in of_former {
            check(&reign.on(event), "");
        }
        for event in reign.memory.deletions_answered(ErrorCode::None) {
            reign.on(event);
        }
        assert!(!reign.term.cluster().has_topic("t"), "{late:?}");
    }
}

#[test]
fn a_new_controller_goes_on_with_a_deletion() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.memory.request_deletion("t");
    reign.on(Event::DeletionsRequested);
    reign.memory.deletions_answered(ErrorCode::None);
    let mut second = Reign::begin(&reign.memory, 2);
    for event in second.memory.deletions_answered(ErrorCode::None) {
        second.on(event);
    }
    assert_eq!(second.memory.data("/brokers/topics/t"), None);
}

#[test]
fn requests_that_lead_nowhere_are_dropped() {
    let memory = Memory::with_brokers(1);
    memory.put_topic("kept", Some(Uuid([7; 16])), &[&[1]]);
    let settings = Settings { delete_topic: false, ..Settings::default() };
    let mut reign = Reign::begin_with(&memory, 1, settings);
    memory.transcript();
    memory.request_deletion("kept");
    memory.request_deletion("unknown");
    check(
        &reign.on(Event::DeletionsRequested),
        "delete /admin/delete_topics/kept
         delete /admin/delete_topics/unknown",
    );
    assert!(reign.term.cluster().has_topic("kept"));
}

#[test]
fn a_topic_being_deleted_gets_no_more_partitions() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.dies(2);
    reign.memory.request_deletion("t");
    reign.on(Event::DeletionsRequested);
    let node = reign.memory.data("/brokers/topics/t").expect("the topic is there");
    let more = node.replace(r#""0":[1,2]"#, r#""0":[1,2],"1":[1]"#);
    reign.memory.put("/brokers/topics/t", more.clone());
    reign.on(Event::TopicChanged { topic: "t".into(), data: more.into_bytes() });
    assert_eq!(reign.memory.data("/brokers/topics/t"), Some(node));
}
