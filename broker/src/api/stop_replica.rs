//! StopReplica: the controller takes replicas away from this broker.

use client::wire::messages::{StopReplicaRequest, StopReplicaResponse};

use super::Context;

pub(super) async fn answer(context: &Context, body: StopReplicaRequest) -> StopReplicaResponse {
    context.replicas.stop_replica(body).await
}
