//! What brokers and tools ask a controller for.

use client::ids::{TopicPartition, Uuid};
use client::wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use client::wire::messages::elect_leaders_request::TopicPartitions;
use client::wire::messages::{
    AlterPartitionRequest, AlterPartitionResponse, ControlledShutdownRequest, ElectLeadersRequest,
};
use client::wire::{ErrorCode, Str};
use client::znode::admin;
use controller::world::Event;
use futures::executor::block_on;

use crate::check;
use crate::memory::Reign;

/// Version 3, from broker 1 under its present registration, for the topic `t`.
pub(crate) fn alter(reign: &Reign, leader_epoch: i32, version: i32, isr: &[i32]) -> AlterPartitionRequest {
    let member = |&id: &i32| BrokerState { broker_id: id, broker_epoch: -1 };
    let partition = PartitionData {
        partition_index: 0,
        leader_epoch,
        new_isr_with_epochs: isr.iter().map(member).collect(),
        partition_epoch: version,
        ..PartitionData::default()
    };
    let topic_id = reign.term.cluster().topic_id("t").expect("the topic has an id");
    AlterPartitionRequest {
        broker_id: 1,
        broker_epoch: reign.memory.epoch_of(1).0,
        topics: vec![TopicData { topic_id, partitions: vec![partition], ..TopicData::default() }],
    }
}

pub(crate) fn answer(reign: &mut Reign, request: &AlterPartitionRequest) -> AlterPartitionResponse {
    block_on(reign.term.alter_partition(request, 3)).expect("nothing is refused")
}

#[test]
fn a_leader_changes_its_isr() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    let shrink = alter(&reign, 0, 0, &[1]);
    let response = answer(&mut reign, &shrink);
    check(
        &reign.memory.transcript(),
        "set t/partitions/0/state: leader 1, leader epoch 0, isr 1, controller 1; version 1
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 0, isr 1)",
    );
    let granted = &response.topics[0].partitions[0];
    assert_eq!((response.error_code, granted.error_code), (0, 0));
    assert_eq!((granted.leader_id, granted.leader_epoch, granted.partition_epoch), (1, 0, 1));
    assert_eq!(granted.isr, [1]);

    // The answer got lost: asked again, nothing is written.
    let again = answer(&mut reign, &shrink);
    assert_eq!(again, response);
    assert_eq!(reign.state("t", 0), "leader 1, leader epoch 0, isr 1, controller 1; version 1");
}

#[test]
fn who_asks_wrongly_hears_why() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    let old_registration = AlterPartitionRequest { broker_epoch: 1_000_000, ..alter(&reign, 0, 0, &[1]) };
    assert_eq!(answer(&mut reign, &old_registration).error_code, ErrorCode::StaleBrokerEpoch.code());

    let mut unknown = alter(&reign, 0, 0, &[1]);
    unknown.topics[0].topic_id = Uuid([99; 16]);
    let code =
        |response: &AlterPartitionResponse| ErrorCode::from_code(response.topics[0].partitions[0].error_code);
    assert_eq!(code(&answer(&mut reign, &unknown)), ErrorCode::UnknownTopicId);

    let future = alter(&reign, 0, 5, &[1]);
    assert_eq!(code(&answer(&mut reign, &future)), ErrorCode::NotController);
    reign.memory.transcript();

    // Somebody else wrote the state: the version that was asked for is over.
    let written = r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2]}"#;
    reign.memory.put("/brokers/topics/t/partitions/0/state", written);
    let overtaken = alter(&reign, 0, 0, &[1]);
    assert_eq!(code(&answer(&mut reign, &overtaken)), ErrorCode::InvalidUpdateVersion);
    assert_eq!(reign.state("t", 0), "leader 1, leader epoch 0, isr 1 2, controller 1; version 1");
}

#[test]
fn a_broker_that_leaves_is_relieved_first() {
    let mut reign = Reign::with_topic(2, &[&[1, 2], &[2, 1], &[1]]);
    let leave = ControlledShutdownRequest { broker_id: 1, broker_epoch: reign.memory.epoch_of(1).0 };
    let response = block_on(reign.term.controlled_shutdown(&leave)).expect("nothing is refused");
    check(
        &reign.memory.transcript(),
        r#"create /ottla
         create /ottla/departures
         create /ottla/departures/1: {"version":1,"controller_epochs":[1]}; version 0
         set t/partitions/0/state: leader 2, leader epoch 1, isr 2, controller 1; version 1
         to 1: LeaderAndIsr t-0 (leader 2, leader epoch 1, isr 2, version 1)
         to 2: LeaderAndIsr t-0 (leader 2, leader epoch 1, isr 2, version 1)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 1, isr 2, offline 1)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 2, leader epoch 1, isr 2, offline 1)
         set t/partitions/1/state: leader 2, leader epoch 1, isr 2, controller 1; version 1
         to 2: LeaderAndIsr t-1 (leader 2, leader epoch 1, isr 2, version 1)
         to 1: UpdateMetadata brokers 1 2, t-1 (leader 2, leader epoch 1, isr 2, offline 1)
         to 2: UpdateMetadata brokers 1 2, t-1 (leader 2, leader epoch 1, isr 2, offline 1)
         to 1: StopReplica t-1 (leader epoch 0)"#,
    );
    assert_eq!((response.error_code, response.remaining_partitions.len()), (0, 0));
    // When it is gone only the partition it had alone is written.
    check(
        &reign.dies(1),
        "set t/partitions/2/state: leader -1, leader epoch 1, isr 1, controller 1; version 1
         to 2: UpdateMetadata brokers 2, t-0 (leader 2, leader epoch 1, isr 2, offline 1), t-1 (leader 2, leader epoch 1, isr 2, offline 1), t-2 (leader -1, leader epoch 1, isr 1, offline 1)",
    );
}

#[test]
fn a_broker_keeps_what_nobody_can_take_over() {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.dies(2);
    let ask = |reign: &mut Reign, broker_id, broker_epoch| {
        let request = ControlledShutdownRequest { broker_id, broker_epoch };
        block_on(reign.term.controlled_shutdown(&request)).expect("nothing is refused")
    };
    let response = ask(&mut reign, 1, -1);
    assert_eq!(&*response.remaining_partitions[0].topic_name, "t");
    assert_eq!(response.remaining_partitions[0].partition_index, 0);
    assert_eq!(ask(&mut reign, 1, 0).error_code, ErrorCode::StaleBrokerEpoch.code());
    assert_eq!(ask(&mut reign, 2, -1).error_code, ErrorCode::BrokerNotAvailable.code());
    assert_eq!(ask(&mut reign, 2, 5).error_code, ErrorCode::UnknownServerError.code());
}

/// Broker 1 was away and is in sync again, but 2 leads.
fn led_by_the_second() -> Reign {
    let mut reign = Reign::with_topic(2, &[&[1, 2]]);
    reign.registers(1);
    let mut grow = alter(&reign, 1, 1, &[2, 1]);
    (grow.broker_id, grow.broker_epoch) = (2, reign.memory.epoch_of(2).0);
    answer(&mut reign, &grow);
    assert_eq!(reign.state("t", 0), "leader 2, leader epoch 1, isr 2 1, controller 1; version 2");
    reign.memory.transcript();
    reign
}

#[test]
fn preferred_leaders_return_when_a_tool_asks() {
    let mut reign = led_by_the_second();
    let asked = admin::encode_election(&[TopicPartition::new("t", 0), TopicPartition::new("unknown", 0)]);
    reign.memory.put(admin::PREFERRED_REPLICA_ELECTION, asked);
    check(
        &reign.on(Event::PreferredElectionRequested),
        "set t/partitions/0/state: leader 1, leader epoch 2, isr 2 1, controller 1; version 3
         to 1: LeaderAndIsr t-0 (leader 1, leader epoch 2, isr 2 1, version 3)
         to 2: LeaderAndIsr t-0 (leader 1, leader epoch 2, isr 2 1, version 3)
         to 1: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 2, isr 2 1)
         to 2: UpdateMetadata brokers 1 2, t-0 (leader 1, leader epoch 2, isr 2 1)
         delete /admin/preferred_replica_election",
    );
}

#[test]
fn preferred_leaders_return_by_themselves() {
    let mut reign = led_by_the_second();
    reign.on(Event::LeadersDueForRebalance);
    assert_eq!(reign.state("t", 0), "leader 1, leader epoch 2, isr 2 1, controller 1; version 3");
    check(&reign.on(Event::LeadersDueForRebalance), "");
}

#[test]
fn elections_are_answered_one_by_one() {
    let mut reign = led_by_the_second();
    let ask = |reign: &mut Reign, election_type, partitions: Option<&[i32]>| {
        let named = |numbers: &[i32]| TopicPartitions { topic: Str::from("t"), partitions: numbers.to_vec() };
        let topic_partitions = partitions.map(|numbers| vec![named(numbers)]);
        let request = ElectLeadersRequest { election_type, topic_partitions, timeout_ms: 1000 };
        let response = block_on(reign.term.elect_leaders(&request)).expect("nothing is refused");
        let results = response.replica_election_results.into_iter().flat_map(|topic| topic.partition_result);
        results
            .map(|result| (result.partition_id, ErrorCode::from_code(result.error_code)))
            .collect::<Vec<_>>()
    };
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(ask(&mut reign, 0, Some(&[0, 1])), [(0, ErrorCode::None), (1, unknown)]);
    assert_eq!(ask(&mut reign, 0, Some(&[0])), [(0, ErrorCode::ElectionNotNeeded)]);
    assert_eq!(ask(&mut reign, 0, None), []);

    reign.dies(2);
    reign.dies(1);
    reign.registers(2);
    assert_eq!(ask(&mut reign, 0, Some(&[0])), [(0, ErrorCode::PreferredLeaderNotAvailable)]);
    assert_eq!(ask(&mut reign, 1, Some(&[0])), [(0, ErrorCode::None)]);
    assert!(reign.state("t", 0).starts_with("leader 2, leader epoch 5, isr 2, controller 1, recovering"));
}
