//! ElectLeaders, on the controller's broker: asks the controller for preferred or unclean elections (KIP-460), and
//! waits until this broker's metadata shows who was elected.

use client::wire::messages::elect_leaders_request::TopicPartitions;
use client::wire::messages::elect_leaders_response::PartitionResult;
use client::wire::messages::{ElectLeadersRequest, ElectLeadersResponse};
use client::wire::{ErrorCode, Str};
use controller::term::{PREFERRED, UNCLEAN, unknown_election_type};

use super::waiting::wait_until;
use crate::admin::Admin;
use crate::metadata::{ClusterMetadata, PartitionMetadata};

pub(super) async fn answer(admin: &Admin, mut body: ElectLeadersRequest) -> ElectLeadersResponse {
    let (election_type, timeout_ms) = (body.election_type, body.timeout_ms);
    if ![PREFERRED, UNCLEAN].contains(&election_type) {
        return unknown_election_type(&body);
    }
    let is_about_all = body.topic_partitions.is_none();
    body.topic_partitions.get_or_insert_with(|| all(&admin.metadata.snapshot()));
    let mut response = admin.controller.elect_leaders(body).await;
    if is_about_all {
        drop_what_was_not_needed(&mut response);
    }
    let is_settled = |cluster: &ClusterMetadata, topic: &str, result: &PartitionResult| {
        result.error_code != ErrorCode::None.code()
            || cluster
                .partition(topic, result.partition_id)
                .is_some_and(|partition| is_elected(partition, election_type))
    };
    let cluster = wait_until(&admin.metadata, timeout_ms, |cluster| {
        let mut topics = response.replica_election_results.iter();
        topics.all(|topic| topic.partition_result.iter().all(|one| is_settled(cluster, &topic.topic, one)))
    })
    .await;
    for topic in &mut response.replica_election_results {
        for result in &mut topic.partition_result {
            if !is_settled(&cluster, &topic.topic, result) {
                result.error_code = ErrorCode::RequestTimedOut.code();
            }
        }
    }
    response
}

/// Every partition that this broker knows of: one that is not the controller refuses each of them.
fn all(cluster: &ClusterMetadata) -> Vec<TopicPartitions> {
    let topics = cluster.topics().into_iter().map(|(name, topic)| TopicPartitions {
        topic: Str::from(name),
        partitions: topic.partitions().map(|(number, _)| number).collect(),
    });
    topics.collect()
}

fn drop_what_was_not_needed(response: &mut ElectLeadersResponse) {
    let not_needed = ErrorCode::ElectionNotNeeded.code();
    for topic in &mut response.replica_election_results {
        topic.partition_result.retain(|result| result.error_code != not_needed);
    }
    response.replica_election_results.retain(|topic| !topic.partition_result.is_empty());
}

/// A preferred election has one outcome; an unclean one finds a partition without a leader.
fn is_elected(partition: &PartitionMetadata, election_type: i8) -> bool {
    match election_type {
        PREFERRED => partition.leader == partition.replicas.first().copied(),
        _ => partition.leader.is_some(),
    }
}
