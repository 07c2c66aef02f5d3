//! The requests a fetcher sends. Pure.

use std::time::Duration;

use super::options::FetchOptions;
use super::partitions::Check;
use crate::fetch_session::NextFetch;
use crate::ids::TopicPartition;
use crate::wire::Str;
use crate::wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use crate::wire::messages::offset_for_leader_epoch_response::EpochEndOffset;
use crate::wire::messages::{FetchRequest, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

/// The newest Fetch that names topics.
pub(super) const FETCH_BY_NAME: i16 = 12;

/// The first OffsetForLeaderEpoch that consumers may send without rights on the cluster.
pub(super) const EPOCHS_FOR_CONSUMERS: i16 = 3;

/// `replica_id` of who is no replica.
const CONSUMER: i32 = -1;

pub(super) fn fetch(next: &NextFetch, options: &FetchOptions, max_wait: Duration) -> FetchRequest {
    FetchRequest {
        replica_id: CONSUMER,
        max_wait_ms: i32::try_from(max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: options.min_bytes,
        max_bytes: i32::try_from(options.max_bytes).unwrap_or(i32::MAX),
        isolation_level: options.isolation.code(),
        session_id: next.session_id,
        session_epoch: next.session_epoch,
        topics: next.topics(),
        forgotten_topics_data: next.forgotten_topics(),
        rack_id: options.rack.clone(),
        ..FetchRequest::default()
    }
}

/// Asks for the end of each position's epoch.
pub(super) fn epoch_ends(checks: &[Check]) -> OffsetForLeaderEpochRequest {
    let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
    for check in checks {
        let asked = OffsetForLeaderPartition {
            partition: check.id.partition,
            current_leader_epoch: check.leader.epoch.0,
            leader_epoch: check.position.epoch.0,
        };
        match topics.last_mut().filter(|topic| *topic.topic == *check.id.topic) {
            Some(topic) => topic.partitions.push(asked),
            None => topics
                .push(OffsetForLeaderTopic { topic: Str::from(&*check.id.topic), partitions: vec![asked] }),
        }
    }
    OffsetForLeaderEpochRequest { replica_id: CONSUMER, topics }
}

/// A partition's part of the answer.
pub(super) fn epoch_end<'a>(
    response: &'a OffsetForLeaderEpochResponse,
    id: &TopicPartition,
) -> Option<&'a EpochEndOffset> {
    let topics = response.topics.iter().filter(|topic| *topic.topic == *id.topic);
    topics.flat_map(|topic| &topic.partitions).find(|found| found.partition == id.partition)
}
