//! DescribeProducers: which idempotent and transactional producers a replica remembers (KIP-664).
//! Any replica answers for itself, not only the leader.

use client::wire::ErrorCode;
use client::wire::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use client::wire::messages::{DescribeProducersRequest, DescribeProducersResponse};
use client::znode::topic_name;

use super::failure::Failure;
use super::{Context, lookup};
use crate::metadata::ClusterMetadata;

pub(super) fn answer(context: &Context, body: &DescribeProducersRequest) -> DescribeProducersResponse {
    let cluster = context.metadata.snapshot();
    let topics = body.topics.iter().map(|topic| TopicResponse {
        name: topic.name.clone(),
        partitions: topic.partition_indexes.iter().map(|&p| one(context, &cluster, &topic.name, p)).collect(),
    });
    DescribeProducersResponse { topics: topics.collect(), ..DescribeProducersResponse::default() }
}

fn one(context: &Context, cluster: &ClusterMetadata, topic: &str, partition_index: i32) -> PartitionResponse {
    match producers(context, cluster, topic, partition_index) {
        Ok(active_producers) => {
            PartitionResponse { partition_index, active_producers, ..PartitionResponse::default() }
        }
        Err(failure) => PartitionResponse {
            partition_index,
            error_code: failure.code.code(),
            error_message: failure.wire_message(),
            ..PartitionResponse::default()
        },
    }
}

/// What is refused for the topic has a text in Kafka, what is refused for the partition has none.
fn producers(
    context: &Context,
    cluster: &ClusterMetadata,
    topic: &str,
    partition: i32,
) -> Result<Vec<ProducerState>, Failure> {
    topic_name::validate(topic)?;
    let unknown = ErrorCode::UnknownTopicOrPartition;
    cluster.topic(topic).ok_or_else(|| Failure::new(unknown, unknown.message()))?;
    let hosted = lookup::hosted(context, cluster, topic, partition).map_err(Failure::silent)?;
    let known = hosted.producers().map_err(|error| Failure::silent(error.code()))?;
    let described = known.into_iter().map(|(producer_id, state)| ProducerState {
        producer_id,
        producer_epoch: i32::from(state.epoch),
        last_sequence: state.last_sequence(),
        last_timestamp: state.last_timestamp,
        coordinator_epoch: state.coordinator_epoch,
        current_txn_start_offset: state.open_txn.map_or(-1, |first| first.0),
    });
    Ok(described.collect())
}
