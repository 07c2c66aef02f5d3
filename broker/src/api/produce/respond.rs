//! The response to a Produce.

use std::collections::BTreeMap;

use client::wire::messages::ProduceResponse;
use client::wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use client::wire::{ErrorCode, Str};

use super::Outcome;
use super::append::{Rejection, Stored};
use crate::api::{Context, Request, lookup};
use crate::metadata::ClusterMetadata;

/// From this version on clients are told where the leader went (KIP-951).
const FIRST_WITH_LEADERS: i16 = 10;

pub(super) fn response(
    context: &Context,
    cluster: &ClusterMetadata,
    request: &Request,
    outcomes: BTreeMap<(Str, i32), Outcome>,
) -> ProduceResponse {
    let mut responses: Vec<TopicProduceResponse> = Vec::new();
    let mut leaders = BTreeMap::new();
    for ((name, index), outcome) in outcomes {
        let mut response = match outcome {
            Ok(stored) => accepted(index, &stored),
            Err(rejection) => refused(index, rejection),
        };
        let moved = response.error_code == ErrorCode::NotLeaderOrFollower.code();
        if moved && request.version >= FIRST_WITH_LEADERS {
            let leader = lookup::newest_leader(context, cluster, &name, index);
            response.current_leader =
                LeaderIdAndEpoch { leader_id: leader.id.0, leader_epoch: leader.epoch.0 };
            if let Some(node) = lookup::node(cluster, leader.id, &request.listener) {
                leaders.insert(leader.id, node);
            }
        }
        match responses.last_mut() {
            Some(topic) if topic.name == name => topic.partition_responses.push(response),
            _ => responses.push(TopicProduceResponse { name, partition_responses: vec![response] }),
        }
    }
    let endpoints = leaders.into_values().map(|node| NodeEndpoint {
        node_id: node.id.0,
        host: Str::from(&*node.host),
        port: node.port,
        rack: node.rack.as_deref().map(Str::from),
    });
    ProduceResponse { responses, node_endpoints: endpoints.collect(), ..ProduceResponse::default() }
}

fn accepted(index: i32, stored: &Stored) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: stored.error.code(),
        base_offset: stored.base_offset,
        log_append_time_ms: stored.log_append_time_ms,
        log_start_offset: stored.log_start_offset,
        ..PartitionProduceResponse::default()
    }
}

fn refused(index: i32, rejection: Rejection) -> PartitionProduceResponse {
    let record_errors = rejection.records.into_iter().map(|record| BatchIndexAndErrorMessage {
        batch_index: record.batch_index,
        batch_index_error_message: Some(Str::from(record.message)),
    });
    PartitionProduceResponse {
        index,
        error_code: rejection.code.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: rejection.log_start_offset,
        record_errors: record_errors.collect(),
        error_message: rejection.message.map(Str::from),
        ..PartitionProduceResponse::default()
    }
}
