//! What a controller's orders (LeaderAndIsr, StopReplica) do to partitions. Decides alone; where
//! partitions are kept and who fetches for them is the [`Host`]'s matter.

use std::sync::Arc;

use client::ids::{BrokerId, LeaderEpoch, TopicPartition, Uuid, ZkVersion};
use client::wire::ErrorCode;
use client::wire::messages::leader_and_isr_request::LeaderAndIsrPartitionState;
use client::wire::messages::{LeaderAndIsrRequest, StopReplicaRequest};

use crate::clock::Now;
use crate::log::Log;
use crate::partition::leader::Assignment;
use crate::partition::{Assigned, Judgement, LeaderAndIsr, Partition, PartitionError};

/// A topic that is being deleted: its partitions go whatever epoch they are in.
const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

/// How a partition's topic is named in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// By its id, as soon as the log has one (KIP-516).
    ById,
    ByName,
}

/// The broker around the partitions that get orders.
pub trait Host {
    fn me(&self) -> BrokerId;

    fn hosted(&self, id: &TopicPartition) -> Option<Arc<Partition>>;

    /// Hosts the partition if its log was found at start. Its role is still to come, but the log
    /// already says which topic of this name it is of.
    fn host_found(&self, id: &TopicPartition) -> Option<Arc<Partition>>;

    /// The partition, made if it is not there yet.
    fn host(&self, id: &TopicPartition) -> Arc<Partition>;

    /// Makes the partition an empty log, if it has none.
    fn create_log(
        &self,
        partition: &Arc<Partition>,
        state: &LeaderAndIsr,
        now: Now,
    ) -> Result<(), PartitionError>;

    /// Fetches the partition from `leader` from now on, and from no other; where `leader` is not known to
    /// the metadata yet, as soon as it is.
    fn follow(&self, partition: Arc<Partition>, leader: BrokerId, epoch: LeaderEpoch, naming: Naming);

    fn follow_by_name(&self, id: &TopicPartition);

    fn stop_following(&self, id: &TopicPartition);

    /// Forgets the partition. Its log is for the caller to take.
    fn forget(&self, id: &TopicPartition);

    /// A log that was found at start and that no partition took yet.
    fn take_found_log(&self, id: &TopicPartition) -> Option<Log>;

    fn delete_log(&self, id: &TopicPartition, log: Log, now: Now) -> ErrorCode;
}

/// One partition's role as a controller wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: TopicPartition,
    pub state: LeaderAndIsr,
}

impl Order {
    /// The orders of a request, whichever way its version groups them.
    pub fn all_of(request: &LeaderAndIsrRequest) -> Vec<Order> {
        let ungrouped = request
            .ungrouped_partition_states
            .iter()
            .map(|state| order(Arc::from(&*state.topic_name), Uuid::ZERO, state));
        let grouped = request.topic_states.iter().flat_map(|topic| {
            let name: Arc<str> = Arc::from(&*topic.topic_name);
            topic.partition_states.iter().map(move |state| order(Arc::clone(&name), topic.topic_id, state))
        });
        ungrouped.chain(grouped).collect()
    }

    /// Brings the partition into its role; gives the code to answer with.
    pub fn carry_out(&self, host: &impl Host, now: Now) -> ErrorCode {
        let Order { id, state } = self;
        let hosted = host.hosted(id).or_else(|| host.host_found(id));
        let judgement = hosted.as_ref().map_or(Judgement::Adopt, |partition| partition.judge(state));
        let done = match (judgement, hosted) {
            (Judgement::Adopt, hosted) => {
                if !state.assignment.replicas.contains(&host.me()) {
                    tracing::warn!(partition = %id, replicas = ?state.assignment.replicas, "asked to host a partition of others");
                    return ErrorCode::UnknownTopicOrPartition;
                }
                let partition = hosted.unwrap_or_else(|| host.host(id));
                take_role(host, &partition, state, now)
            }
            (Judgement::AssignTopicId, Some(partition)) => partition.assign_topic_id(state.topic_id, now),
            (Judgement::DropTopicId, _) => {
                host.follow_by_name(id);
                Ok(())
            }
            (Judgement::InconsistentTopicId { ours }, _) => {
                tracing::error!(
                    partition = %id, asked = %state.topic_id, %ours,
                    "the controller means another topic of this name; its old log has to be deleted first"
                );
                return ErrorCode::InconsistentTopicId;
            }
            (Judgement::Stale | Judgement::AssignTopicId, _) => {
                tracing::info!(
                    partition = %id, epoch = %state.assignment.leader_epoch,
                    "LeaderAndIsr ignored: its leader epoch is not newer than ours"
                );
                return ErrorCode::StaleControllerEpoch;
            }
            (Judgement::Offline, _) => return ErrorCode::KafkaStorageError,
        };
        match done {
            Ok(()) => ErrorCode::None,
            Err(error) => {
                tracing::error!(partition = %id, %error, "the partition cannot take its role");
                ErrorCode::KafkaStorageError
            }
        }
    }
}

fn take_role(
    host: &impl Host,
    partition: &Arc<Partition>,
    state: &LeaderAndIsr,
    now: Now,
) -> Result<(), PartitionError> {
    host.create_log(partition, state, now)?;
    if !state.topic_id.is_zero() && partition.topic_id().is_zero() {
        partition.assign_topic_id(state.topic_id, now)?;
    }
    if state.leader == host.me() {
        let assigned = partition.become_leader(state, now)?;
        if assigned == Assigned::Leads {
            host.stop_following(partition.id());
        }
    } else if state.leader == BrokerId::NONE {
        tracing::info!(
            partition = %partition.id(), epoch = %state.assignment.leader_epoch, isr = ?state.assignment.isr,
            "the partition has no leader"
        );
    } else if let Assigned::Follows { leader, epoch } = partition.become_follower(state, now)? {
        // Kafka's brokers refuse to follow whom their metadata do not know, and then wait until they are told
        // anew, which nobody does where the list of brokers was only late.
        let naming = if state.topic_id.is_zero() { Naming::ByName } else { Naming::ById };
        host.follow(Arc::clone(partition), leader, epoch, naming);
    }
    Ok(())
}

fn order(topic: Arc<str>, topic_id: Uuid, state: &LeaderAndIsrPartitionState) -> Order {
    let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    let assignment = Assignment {
        leader_epoch: LeaderEpoch(state.leader_epoch),
        partition_epoch: ZkVersion(state.partition_epoch),
        replicas: brokers(&state.replicas),
        isr: brokers(&state.isr),
    };
    Order {
        id: TopicPartition::new(topic, state.partition_index),
        state: LeaderAndIsr { leader: BrokerId(state.leader), topic_id, assignment, is_new: state.is_new },
    }
}

/// One partition that a controller takes away, with or without its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopOrder {
    pub id: TopicPartition,
    pub epoch: LeaderEpoch,
    pub delete: bool,
}

impl StopOrder {
    /// The orders of a request, whichever way its version groups them.
    pub fn all_of(request: &StopReplicaRequest) -> Vec<StopOrder> {
        let all = request.delete_partitions;
        let bare = request.ungrouped_partitions.iter().map(|one| StopOrder {
            id: TopicPartition::new(&*one.topic_name, one.partition_index),
            epoch: LeaderEpoch::NONE,
            delete: all,
        });
        let by_topic = request.topics.iter().flat_map(|topic| {
            topic.partition_indexes.iter().map(|partition| StopOrder {
                id: TopicPartition::new(&*topic.name, *partition),
                epoch: LeaderEpoch::NONE,
                delete: all,
            })
        });
        let by_state = request.topic_states.iter().flat_map(|topic| {
            topic.partition_states.iter().map(|state| StopOrder {
                id: TopicPartition::new(&*topic.topic_name, state.partition_index),
                epoch: LeaderEpoch(state.leader_epoch),
                delete: state.delete_partition,
            })
        });
        bare.chain(by_topic).chain(by_state).collect()
    }

    /// Stops the partition; gives the code to answer with.
    pub fn carry_out(&self, host: &impl Host, now: Now) -> ErrorCode {
        let StopOrder { id, epoch, delete } = self;
        if let Some(partition) = host.hosted(id) {
            let status = partition.status();
            if status.offline {
                return ErrorCode::KafkaStorageError;
            }
            let unfenced = [EPOCH_DURING_DELETE, LeaderEpoch::NONE].contains(epoch);
            if !unfenced && *epoch < status.epoch {
                tracing::info!(partition = %id, asked = %epoch, current = %status.epoch, "StopReplica ignored: it is of an older epoch");
                return ErrorCode::FencedLeaderEpoch;
            }
            host.stop_following(id);
            if !delete {
                partition.stop(now);
                tracing::info!(partition = %id, "stopped");
                return ErrorCode::None;
            }
            host.forget(id);
            let Some(log) = partition.take_log(now) else { return ErrorCode::None };
            return host.delete_log(id, log, now);
        }
        // It may have been deleted while this broker was down.
        let found = if *delete { host.take_found_log(id) } else { None };
        found.map_or(ErrorCode::None, |log| host.delete_log(id, log, now))
    }
}
