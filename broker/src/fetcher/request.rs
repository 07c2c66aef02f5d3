//! The requests a fetcher sends.

use std::time::Duration;

use client::fetch_session::NextFetch;
use client::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicPartition};
use client::wire::Str;
use client::wire::messages::fetch_request::ReplicaState;
use client::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use client::wire::messages::{FetchRequest, ListOffsetsRequest};

use crate::config::ReplicationConfig;

/// Fetch of inter-broker protocol 3.9.
const FETCH: i16 = 17;
/// The newest Fetch that names topics, for topics without an id.
const FETCH_BY_NAME: i16 = 12;
/// ListOffsets of inter-broker protocol 3.9.
pub(super) const LIST_OFFSETS: i16 = 9;

/// The request for `next`, and its version. The leader may hold it for `wait`.
pub(super) fn fetch(
    next: &NextFetch,
    me: BrokerId,
    epoch: BrokerEpoch,
    config: &ReplicationConfig,
    wait: Duration,
) -> (FetchRequest, i16) {
    let by_id = next.by_topic_id;
    let mut request = FetchRequest {
        max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: config.fetch_bytes_min,
        max_bytes: config.fetch_response_bytes_max,
        session_id: next.session_id,
        session_epoch: next.session_epoch,
        topics: next.topics(),
        forgotten_topics_data: next.forgotten_topics(),
        ..FetchRequest::default()
    };
    if by_id {
        request.replica_state = ReplicaState { replica_id: me.0, replica_epoch: epoch.0 };
        (request, FETCH)
    } else {
        request.replica_id = me.0;
        (request, FETCH_BY_NAME)
    }
}

/// Asks one end of a partition's log: −1 the last, −2 the first.
pub(super) fn list_offset(
    me: BrokerId,
    partition: &TopicPartition,
    epoch: LeaderEpoch,
    timestamp: i64,
) -> ListOffsetsRequest {
    let asked = ListOffsetsPartition {
        partition_index: partition.partition,
        current_leader_epoch: epoch.0,
        timestamp,
        ..ListOffsetsPartition::default()
    };
    let topic = ListOffsetsTopic { name: Str::from(&*partition.topic), partitions: vec![asked] };
    ListOffsetsRequest { replica_id: me.0, topics: vec![topic], ..ListOffsetsRequest::default() }
}
