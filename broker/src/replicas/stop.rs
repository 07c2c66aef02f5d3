//! StopReplica: the controller takes partitions away, with or without their records.

use std::sync::Arc;

use client::ids::{BrokerEpoch, ControllerEpoch, LeaderEpoch, TopicPartition};
use client::wire::messages::stop_replica_response::StopReplicaPartitionError;
use client::wire::messages::{StopReplicaRequest, StopReplicaResponse};
use client::wire::{ErrorCode, Str};

use super::{Replicas, off_the_runtime};
use crate::clock::Now;

/// A topic that is being deleted: its partitions go whatever epoch they are in.
const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

struct Order {
    id: TopicPartition,
    epoch: LeaderEpoch,
    delete: bool,
}

impl Replicas {
    /// Carries a StopReplica request out.
    pub async fn stop_replica(self: &Arc<Self>, request: StopReplicaRequest) -> StopReplicaResponse {
        let replicas = Arc::clone(self);
        let turn = Arc::clone(&self.control).lock_owned().await;
        off_the_runtime(move || {
            let response = replicas.stop_all(&request);
            drop(turn);
            response
        })
        .await
    }

    fn stop_all(&self, request: &StopReplicaRequest) -> StopReplicaResponse {
        let (broker, controller) =
            (BrokerEpoch(request.broker_epoch), ControllerEpoch(request.controller_epoch));
        if let Err(fenced) = self.fence.admit(broker, controller, || ()) {
            tracing::warn!(controller = request.controller_id, %fenced, "StopReplica refused");
            return StopReplicaResponse {
                error_code: ErrorCode::from(fenced).code(),
                ..StopReplicaResponse::default()
            };
        }
        let partition_errors = orders(request)
            .iter()
            .map(|order| StopReplicaPartitionError {
                topic_name: Str::from(&*order.id.topic),
                partition_index: order.id.partition,
                error_code: self.stop_one(order).code(),
            })
            .collect();
        StopReplicaResponse { error_code: ErrorCode::None.code(), partition_errors }
    }

    fn stop_one(&self, order: &Order) -> ErrorCode {
        let Order { id, epoch, delete } = order;
        let now = Now::read();
        if let Some(partition) = self.hosted.get(id) {
            let status = partition.status();
            if status.offline {
                return ErrorCode::KafkaStorageError;
            }
            let unfenced = [EPOCH_DURING_DELETE, LeaderEpoch::NONE].contains(epoch);
            if !unfenced && *epoch < status.epoch {
                tracing::info!(partition = %id, asked = %epoch, current = %status.epoch, "StopReplica ignored: it is of an older epoch");
                return ErrorCode::FencedLeaderEpoch;
            }
            self.fetchers.stop(id);
            if !delete {
                partition.stop(now);
                tracing::info!(partition = %id, "stopped");
                return ErrorCode::None;
            }
            self.hosted.remove(id);
            let Some(log) = partition.take_log(now) else { return ErrorCode::None };
            return self.delete_log(id, log, now);
        }
        // It may have been deleted while this broker was down.
        let waiting = if *delete { self.dirs.take(id) } else { None };
        waiting.map_or(ErrorCode::None, |log| self.delete_log(id, log, now))
    }
}

/// The orders of a request, whichever way its version groups them.
fn orders(request: &StopReplicaRequest) -> Vec<Order> {
    let all = request.delete_partitions;
    let bare = request.ungrouped_partitions.iter().map(|one| Order {
        id: TopicPartition::new(&*one.topic_name, one.partition_index),
        epoch: LeaderEpoch::NONE,
        delete: all,
    });
    let by_topic = request.topics.iter().flat_map(|topic| {
        topic.partition_indexes.iter().map(|partition| Order {
            id: TopicPartition::new(&*topic.name, *partition),
            epoch: LeaderEpoch::NONE,
            delete: all,
        })
    });
    let by_state = request.topic_states.iter().flat_map(|topic| {
        topic.partition_states.iter().map(|state| Order {
            id: TopicPartition::new(&*topic.topic_name, state.partition_index),
            epoch: LeaderEpoch(state.leader_epoch),
            delete: state.delete_partition,
        })
    });
    bare.chain(by_topic).chain(by_state).collect()
}
