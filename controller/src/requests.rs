//! Control requests in their wire form, at the versions of inter-broker protocol 3.4 and later:
//! LeaderAndIsr 7, UpdateMetadata 8, StopReplica 4. A controller negotiates none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, TopicPartition, Uuid};
use client::wire::messages::leader_and_isr_request::{
    LeaderAndIsrLiveLeader, LeaderAndIsrPartitionState, LeaderAndIsrTopicState,
};
use client::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use client::wire::messages::stop_replica_request::{StopReplicaPartitionState, StopReplicaTopicState};
use client::wire::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use client::wire::messages::{
    LeaderAndIsrRequest, ListOffsetsRequest, ListOffsetsResponse, StopReplicaRequest, UpdateMetadataRequest,
};
use client::wire::{ErrorCode, Str};
use client::znode::commit::LogEnd;

use crate::cluster::Broker;
use crate::plan::{
    LeaderAndIsr, PartitionMetadata, PartitionRole, StopReplica, StoppedReplica, UpdateMetadata,
};

pub const LEADER_AND_ISR_VERSION: i16 = 7;
pub const UPDATE_METADATA_VERSION: i16 = 8;
pub const STOP_REPLICA_VERSION: i16 = 4;
/// Of ListOffsets, by which [`log_ends`] asks.
pub const LOG_ENDS_VERSION: i16 = 9;

/// The replica id in ListOffsets of a controller that compares logs. A broker of ours answers it by its log,
/// whoever leads, and with the epoch of the last record; Kafka's refuses unless it leads. (It answers −2
/// alike, but with the epoch it was last told of, which may be later than all it holds.)
pub const COMPARES_LOGS: i32 = -966;
/// The timestamp that stands for the end.
const LATEST: i64 = -1;

/// Who sends, and to which registration of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    pub controller: BrokerId,
    pub epoch: ControllerEpoch,
    pub receiver: BrokerEpoch,
}

/// `listener` is the one brokers talk to each other on.
pub fn leader_and_isr(sender: Sender, listener: &str, request: &LeaderAndIsr) -> LeaderAndIsrRequest {
    let topic =
        |topic: &Arc<str>, partition_states: Vec<LeaderAndIsrPartitionState>| LeaderAndIsrTopicState {
            topic_name: Str::from(&**topic),
            topic_id: request.topic_ids.get(topic).copied().unwrap_or(Uuid::ZERO),
            partition_states,
        };
    let live_leader = |(&id, broker): (&BrokerId, &Broker)| {
        let endpoint = broker.endpoint(listener)?;
        let host_name = Str::from(endpoint.host.as_str());
        Some(LeaderAndIsrLiveLeader { broker_id: id.0, host_name, port: endpoint.port })
    };
    LeaderAndIsrRequest {
        controller_id: sender.controller.0,
        is_kraft_controller: false,
        controller_epoch: sender.epoch.0,
        broker_epoch: sender.receiver.0,
        type_: 0,
        topic_states: by_topic(request.partitions.iter().map(role), topic),
        live_leaders: request.leaders.iter().filter_map(live_leader).collect(),
        ..LeaderAndIsrRequest::default()
    }
}

fn role<'a>(
    (partition, role): (&'a TopicPartition, &PartitionRole),
) -> (&'a Arc<str>, LeaderAndIsrPartitionState) {
    let (leadership, assignment) = (&role.leadership, &role.assignment);
    let state = LeaderAndIsrPartitionState {
        partition_index: partition.partition,
        controller_epoch: leadership.controller_epoch.0,
        leader: leadership.leader.0,
        leader_epoch: leadership.leader_epoch.0,
        isr: numbers(&leadership.isr),
        partition_epoch: leadership.partition_epoch.0,
        replicas: numbers(&assignment.replicas),
        adding_replicas: numbers(&assignment.adding),
        removing_replicas: numbers(&assignment.removing),
        is_new: role.is_new,
        leader_recovery_state: leadership.recovery.code(),
        ..LeaderAndIsrPartitionState::default()
    };
    (&partition.topic, state)
}

/// How far does the log reach? Asked by [`COMPARES_LOGS`].
pub fn log_ends(partitions: &BTreeSet<TopicPartition>) -> ListOffsetsRequest {
    let topic = |topic: &Arc<str>, partitions| ListOffsetsTopic { name: Str::from(&**topic), partitions };
    let asked = |partition: &'_ TopicPartition| ListOffsetsPartition {
        partition_index: partition.partition,
        current_leader_epoch: LeaderEpoch::NONE.0,
        timestamp: LATEST,
        ..ListOffsetsPartition::default()
    };
    ListOffsetsRequest {
        replica_id: COMPARES_LOGS,
        topics: by_topic(partitions.iter().map(|partition| (&partition.topic, asked(partition))), topic),
        ..ListOffsetsRequest::default()
    }
}

/// How far the logs reach by the answer to [`log_ends`]; `None`: there is no log, or none that its broker can read.
///
/// A partition that the broker knows nothing of is left out. It was told of its replicas before it was asked, so
/// this is a later run of it, which knows its logs as soon as it is told again.
pub fn told_ends(
    asked: &BTreeSet<TopicPartition>,
    answer: &ListOffsetsResponse,
) -> Vec<(TopicPartition, Option<LogEnd>)> {
    let told = answer.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let id = TopicPartition::new(&*topic.name, partition.partition_index);
            (id, (ErrorCode::from_code(partition.error_code), partition.leader_epoch, partition.offset))
        })
    });
    let told: BTreeMap<TopicPartition, (ErrorCode, i32, i64)> = told.collect();
    let end = |id: &TopicPartition| match told.get(id) {
        Some((ErrorCode::UnknownTopicOrPartition, ..)) => None,
        Some(&(ErrorCode::None, epoch, offset)) => {
            Some(Some(LogEnd { epoch: LeaderEpoch(epoch), offset: Offset(offset) }))
        }
        Some(_) | None => Some(None),
    };
    asked.iter().filter_map(|id| Some((id.clone(), end(id)?))).collect()
}

pub fn update_metadata(sender: Sender, request: &UpdateMetadata) -> UpdateMetadataRequest {
    let topic =
        |topic: &Arc<str>, partition_states: Vec<UpdateMetadataPartitionState>| UpdateMetadataTopicState {
            topic_name: Str::from(&**topic),
            topic_id: request.topic_ids.get(topic).copied().unwrap_or(Uuid::ZERO),
            partition_states,
        };
    UpdateMetadataRequest {
        controller_id: sender.controller.0,
        is_kraft_controller: false,
        controller_epoch: sender.epoch.0,
        broker_epoch: sender.receiver.0,
        topic_states: by_topic(request.partitions.iter().map(metadata), topic),
        live_brokers: request.brokers.iter().map(live_broker).collect(),
        ..UpdateMetadataRequest::default()
    }
}

fn metadata<'a>(
    (partition, state): (&'a TopicPartition, &PartitionMetadata),
) -> (&'a Arc<str>, UpdateMetadataPartitionState) {
    let state = UpdateMetadataPartitionState {
        partition_index: partition.partition,
        controller_epoch: state.controller_epoch.0,
        leader: state.leader.0,
        leader_epoch: state.leader_epoch.0,
        isr: numbers(&state.isr),
        zk_version: state.partition_epoch.0,
        replicas: numbers(&state.replicas),
        offline_replicas: numbers(&state.offline),
        ..UpdateMetadataPartitionState::default()
    };
    (&partition.topic, state)
}

fn live_broker((&id, broker): (&BrokerId, &Broker)) -> UpdateMetadataBroker {
    let endpoint = |endpoint: &crate::cluster::Endpoint| UpdateMetadataEndpoint {
        port: endpoint.port,
        host: Str::from(endpoint.host.as_str()),
        listener: Str::from(endpoint.listener.as_str()),
        security_protocol: endpoint.security_protocol.id(),
    };
    UpdateMetadataBroker {
        id: id.0,
        endpoints: broker.endpoints.iter().map(endpoint).collect(),
        rack: broker.rack.as_deref().map(Str::from),
        ..UpdateMetadataBroker::default()
    }
}

pub fn stop_replica(sender: Sender, request: &StopReplica) -> StopReplicaRequest {
    let topic = |topic: &Arc<str>, partition_states: Vec<StopReplicaPartitionState>| StopReplicaTopicState {
        topic_name: Str::from(&**topic),
        partition_states,
    };
    StopReplicaRequest {
        controller_id: sender.controller.0,
        is_kraft_controller: false,
        controller_epoch: sender.epoch.0,
        broker_epoch: sender.receiver.0,
        topic_states: by_topic(request.partitions.iter().map(stopped), topic),
        ..StopReplicaRequest::default()
    }
}

fn stopped<'a>(
    (partition, stopped): (&'a TopicPartition, &StoppedReplica),
) -> (&'a Arc<str>, StopReplicaPartitionState) {
    let state = StopReplicaPartitionState {
        partition_index: partition.partition,
        leader_epoch: stopped.leader_epoch.0,
        delete_partition: stopped.delete,
    };
    (&partition.topic, state)
}

/// Groups what comes in order of topic.
fn by_topic<'a, P, T>(
    partitions: impl Iterator<Item = (&'a Arc<str>, P)>,
    group: impl Fn(&Arc<str>, Vec<P>) -> T,
) -> Vec<T> {
    let mut topics = Vec::new();
    let mut current: Option<(&Arc<str>, Vec<P>)> = None;
    for (topic, state) in partitions {
        match &mut current {
            Some((name, states)) if *name == topic => states.push(state),
            _ => {
                topics.extend(current.replace((topic, vec![state])).map(|(name, states)| group(name, states)))
            }
        }
    }
    topics.extend(current.map(|(name, states)| group(name, states)));
    topics
}

fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

#[cfg(test)]
mod tests {
    use client::ids::ZkVersion;
    use client::wire::encode_to_bytes;
    use client::wire::messages::list_offsets_response::{
        ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
    };
    use client::znode::broker::SecurityProtocol;

    use super::*;
    use crate::cluster::{Assignment, Endpoint, Leadership, Recovery};
    use crate::plan::ControlRequest;

    fn broker(host: &str) -> Broker {
        let endpoint = |listener: &str, port| Endpoint {
            listener: listener.into(),
            security_protocol: SecurityProtocol::Plaintext,
            host: host.into(),
            port,
        };
        let endpoints = vec![endpoint("CLIENTS", 9092), endpoint("INTERNAL", 9093)];
        Broker { epoch: BrokerEpoch(55), endpoints, rack: None }
    }

    #[test]
    fn a_run_that_was_not_told_of_its_replicas_says_nothing_of_their_logs() {
        let asked: BTreeSet<TopicPartition> = (0..4).map(|number| TopicPartition::new("t", number)).collect();
        let answered = |partition_index, error: ErrorCode, offset| ListOffsetsPartitionResponse {
            partition_index,
            error_code: error.code(),
            leader_epoch: 4,
            offset,
            ..ListOffsetsPartitionResponse::default()
        };
        let partitions = vec![
            answered(0, ErrorCode::None, 66),
            answered(1, ErrorCode::KafkaStorageError, -1),
            answered(2, ErrorCode::UnknownTopicOrPartition, -1),
        ];
        let topic = ListOffsetsTopicResponse { name: "t".into(), partitions };
        let answer = ListOffsetsResponse { topics: vec![topic], ..ListOffsetsResponse::default() };
        let told: Vec<_> =
            told_ends(&asked, &answer).into_iter().map(|(id, end)| (id.partition, end)).collect();
        let end = LogEnd { epoch: LeaderEpoch(4), offset: Offset(66) };
        assert_eq!(told, [(0, Some(end)), (1, None), (3, None)]);
    }

    fn role() -> PartitionRole {
        let leadership = Leadership {
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(4),
            isr: vec![BrokerId(1), BrokerId(2)],
            recovery: Recovery::Recovering,
            partition_epoch: ZkVersion(9),
            controller_epoch: ControllerEpoch(3),
        };
        let assignment = Assignment {
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            adding: vec![BrokerId(3)],
            removing: vec![BrokerId(2)],
        };
        PartitionRole { leadership, assignment, is_new: true }
    }

    #[test]
    fn leader_and_isr_carries_everything_a_replica_needs() {
        let sender = Sender { controller: BrokerId(7), epoch: ControllerEpoch(5), receiver: BrokerEpoch(55) };
        let partitions: BTreeMap<TopicPartition, PartitionRole> =
            [("a", 0), ("a", 1), ("b", 0)].map(|(t, p)| (TopicPartition::new(t, p), role())).into();
        let id = Uuid([9; 16]);
        let request = LeaderAndIsr {
            partitions,
            topic_ids: BTreeMap::from([("a".into(), id)]),
            leaders: BTreeMap::from([(BrokerId(1), broker("h1"))]),
        };
        assert!(
            ControlRequest::LeaderAndIsr(request.clone())
                .to_string()
                .contains("a-0 (leader 1, leader epoch 4, isr 1 2, version 9, new)")
        );
        let wire = leader_and_isr(sender, "INTERNAL", &request);
        assert_eq!((wire.controller_id, wire.controller_epoch, wire.broker_epoch), (7, 5, 55));
        let topics: Vec<(&str, Uuid, usize)> = wire
            .topic_states
            .iter()
            .map(|t| (&*t.topic_name, t.topic_id, t.partition_states.len()))
            .collect();
        assert_eq!(topics, [("a", id, 2), ("b", Uuid::ZERO, 1)]);
        let expected = LeaderAndIsrPartitionState {
            partition_index: 1,
            controller_epoch: 3,
            leader: 1,
            leader_epoch: 4,
            isr: vec![1, 2],
            partition_epoch: 9,
            replicas: vec![1, 2, 3],
            adding_replicas: vec![3],
            removing_replicas: vec![2],
            is_new: true,
            leader_recovery_state: 1,
            ..LeaderAndIsrPartitionState::default()
        };
        assert_eq!(wire.topic_states[0].partition_states[1], expected);
        let leader = LeaderAndIsrLiveLeader { broker_id: 1, host_name: Str::from("h1"), port: 9093 };
        assert_eq!(wire.live_leaders, [leader]);
        encode_to_bytes(&wire, LEADER_AND_ISR_VERSION).expect("no field is of another version");
    }

    #[test]
    fn all_three_can_be_written_at_their_version() {
        let sender = Sender { controller: BrokerId(7), epoch: ControllerEpoch(5), receiver: BrokerEpoch(55) };
        let stop = StopReplica {
            partitions: BTreeMap::from([(
                TopicPartition::new("t", 3),
                StoppedReplica { leader_epoch: LeaderEpoch(-2), delete: true },
            )]),
        };
        let wire = stop_replica(sender, &stop);
        let state =
            StopReplicaPartitionState { partition_index: 3, leader_epoch: -2, delete_partition: true };
        assert_eq!(wire.topic_states[0].partition_states, [state]);
        encode_to_bytes(&wire, STOP_REPLICA_VERSION).expect("no field is of another version");

        let update = UpdateMetadata {
            brokers: Arc::new(BTreeMap::from([(BrokerId(1), broker("h1"))])),
            partitions: Arc::new(BTreeMap::new()),
            topic_ids: Arc::new(BTreeMap::new()),
        };
        let wire = update_metadata(sender, &update);
        let ports: Vec<(&str, i32)> =
            wire.live_brokers[0].endpoints.iter().map(|e| (&*e.listener, e.port)).collect();
        assert_eq!(ports, [("CLIENTS", 9092), ("INTERNAL", 9093)]);
        encode_to_bytes(&wire, UPDATE_METADATA_VERSION).expect("no field is of another version");
    }
}
