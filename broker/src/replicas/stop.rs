//! StopReplica: the controller takes partitions away, with or without their records.

use std::sync::Arc;

use client::ids::{BrokerEpoch, ControllerEpoch};
use client::wire::messages::stop_replica_response::StopReplicaPartitionError;
use client::wire::messages::{StopReplicaRequest, StopReplicaResponse};
use client::wire::{ErrorCode, Str};

use super::{Replicas, StopOrder};
use crate::blocking::off_the_runtime;
use crate::clock::Now;

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
        let partition_errors = StopOrder::all_of(request)
            .iter()
            .map(|order| StopReplicaPartitionError {
                topic_name: Str::from(&*order.id.topic),
                partition_index: order.id.partition,
                error_code: order.carry_out(self, Now::read()).code(),
            })
            .collect();
        StopReplicaResponse { error_code: ErrorCode::None.code(), partition_errors }
    }
}
