//! LeaderAndIsr: the controller assigns partitions and their leaders.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition, Uuid, ZkVersion};
use client::wire::messages::leader_and_isr_request::LeaderAndIsrPartitionState;
use client::wire::messages::leader_and_isr_response::{LeaderAndIsrPartitionError, LeaderAndIsrTopicError};
use client::wire::messages::{LeaderAndIsrRequest, LeaderAndIsrResponse};
use client::wire::{ErrorCode, Str};

use super::{Replicas, off_the_runtime};
use crate::clock::Now;
use crate::fetcher::Naming;
use crate::metadata::ClusterMetadata;
use crate::partition::leader::Assignment;
use crate::partition::{Assigned, Judgement, LeaderAndIsr, Partition, PartitionError};

/// The first version whose answer is grouped by topic id.
const ANSWER_BY_TOPIC_ID: i16 = 5;

/// How many partitions are brought into their role at a time: each waits for a few syncs, which
/// disks do better together than one after the other.
const AT_A_TIME: usize = 8;

/// One partition's order, and what became of it.
struct Order {
    id: TopicPartition,
    state: LeaderAndIsr,
    result: ErrorCode,
}

impl Replicas {
    /// Carries a LeaderAndIsr request out.
    pub async fn leader_and_isr(
        self: &Arc<Self>,
        request: LeaderAndIsrRequest,
        version: i16,
    ) -> LeaderAndIsrResponse {
        let replicas = Arc::clone(self);
        let turn = Arc::clone(&self.control).lock_owned().await;
        off_the_runtime(move || {
            let response = replicas.assign(&request, version);
            drop(turn);
            response
        })
        .await
    }

    fn assign(&self, request: &LeaderAndIsrRequest, version: i16) -> LeaderAndIsrResponse {
        let mut orders = orders(request);
        let (broker, controller) =
            (BrokerEpoch(request.broker_epoch), ControllerEpoch(request.controller_epoch));
        if let Err(fenced) = self.fence.admit(broker, controller, || ()) {
            tracing::warn!(controller = request.controller_id, %fenced, "LeaderAndIsr refused");
            for order in &mut orders {
                order.result = ErrorCode::from(fenced);
            }
            return response(&orders, ErrorCode::from(fenced), version);
        }
        let metadata = self.around.view.snapshot();
        std::thread::scope(|scope| {
            let share = orders.len().div_ceil(AT_A_TIME).max(1);
            let metadata = &metadata;
            let runtime = tokio::runtime::Handle::current();
            for some in orders.chunks_mut(share) {
                let runtime = runtime.clone();
                scope.spawn(move || {
                    let _entered = runtime.enter();
                    for order in some {
                        order.result = self.carry_out(order, metadata);
                    }
                });
            }
        });
        self.assigned.send_replace(true);
        self.orders.send_modify(|count| *count += 1);
        response(&orders, ErrorCode::None, version)
    }

    fn carry_out(&self, order: &Order, metadata: &ClusterMetadata) -> ErrorCode {
        let Order { id, state, .. } = order;
        let hosted = self.hosted.get(id).or_else(|| self.host_loaded(id));
        let judgement = hosted.as_ref().map_or(Judgement::Adopt, |partition| partition.judge(state));
        let refused = match (judgement, hosted) {
            (Judgement::Adopt, hosted) => {
                if !state.assignment.replicas.contains(&self.me) {
                    tracing::warn!(partition = %id, replicas = ?state.assignment.replicas, "asked to host a partition of others");
                    return ErrorCode::UnknownTopicOrPartition;
                }
                let partition = hosted.unwrap_or_else(|| self.host(id));
                self.take_role(&partition, state, metadata)
            }
            (Judgement::AssignTopicId, Some(partition)) => {
                partition.assign_topic_id(state.topic_id, Now::read())
            }
            (Judgement::DropTopicId, _) => {
                self.fetchers.by_name(id);
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
        match refused {
            Ok(()) => ErrorCode::None,
            Err(error) => {
                tracing::error!(partition = %id, %error, "the partition cannot take its role");
                ErrorCode::KafkaStorageError
            }
        }
    }

    fn take_role(
        &self,
        partition: &Arc<Partition>,
        state: &LeaderAndIsr,
        metadata: &ClusterMetadata,
    ) -> Result<(), PartitionError> {
        let now = Now::read();
        self.create_log(partition, state, now)?;
        if !state.topic_id.is_zero() && partition.topic_id().is_zero() {
            partition.assign_topic_id(state.topic_id, now)?;
        }
        if state.leader == self.me {
            let assigned = partition.become_leader(state, now)?;
            if assigned == Assigned::Leads {
                self.fetchers.stop(partition.id());
            }
        } else if metadata.is_alive(state.leader) {
            if let Assigned::Follows { leader, epoch } = partition.become_follower(state, now)? {
                let naming = if state.topic_id.is_zero() { Naming::ByName } else { Naming::ById };
                self.fetchers.follow(Arc::clone(partition), leader, epoch, naming);
            }
        } else if state.leader == BrokerId::NONE {
            tracing::info!(
                partition = %partition.id(), epoch = %state.assignment.leader_epoch, isr = ?state.assignment.isr,
                "the partition has no leader"
            );
        } else {
            tracing::error!(
                partition = %partition.id(), leader = %state.leader, epoch = %state.assignment.leader_epoch,
                "not following: the metadata does not know the leader to be alive"
            );
        }
        Ok(())
    }
}

/// The orders of a request, whichever way its version groups them.
fn orders(request: &LeaderAndIsrRequest) -> Vec<Order> {
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
        result: ErrorCode::None,
    }
}

fn response(orders: &[Order], error: ErrorCode, version: i16) -> LeaderAndIsrResponse {
    let mut response = LeaderAndIsrResponse { error_code: error.code(), ..LeaderAndIsrResponse::default() };
    let one = |order: &Order| LeaderAndIsrPartitionError {
        partition_index: order.id.partition,
        error_code: order.result.code(),
        ..LeaderAndIsrPartitionError::default()
    };
    if version < ANSWER_BY_TOPIC_ID {
        response.partition_errors = orders
            .iter()
            .map(|order| LeaderAndIsrPartitionError { topic_name: Str::from(&*order.id.topic), ..one(order) })
            .collect();
        return response;
    }
    let mut topics: BTreeMap<Uuid, Vec<LeaderAndIsrPartitionError>> = BTreeMap::new();
    for order in orders {
        topics.entry(order.state.topic_id).or_default().push(one(order));
    }
    response.topics = topics
        .into_iter()
        .map(|(topic_id, partition_errors)| LeaderAndIsrTopicError { topic_id, partition_errors })
        .collect();
    response
}
