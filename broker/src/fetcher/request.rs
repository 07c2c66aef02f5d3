//! The requests a fetcher sends.

use std::sync::Arc;

use client::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicPartition, Uuid};
use client::wire::Str;
use client::wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use client::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use client::wire::messages::{FetchRequest, ListOffsetsRequest};

use super::session::{Ask, NextFetch};
use crate::config::ReplicationConfig;

/// Fetch of inter-broker protocol 3.9.
const FETCH: i16 = 17;
/// The newest Fetch that names topics, for topics without an id.
const FETCH_BY_NAME: i16 = 12;
/// ListOffsets of inter-broker protocol 3.9.
pub(super) const LIST_OFFSETS: i16 = 9;

/// The request for `next`, and its version.
pub(super) fn fetch(
    next: &NextFetch,
    me: BrokerId,
    epoch: BrokerEpoch,
    config: &ReplicationConfig,
) -> (FetchRequest, i16) {
    let by_id = next.by_topic_id;
    let mut request = FetchRequest {
        max_wait_ms: i32::try_from(config.fetch_wait_max.as_millis()).unwrap_or(i32::MAX),
        min_bytes: config.fetch_bytes_min,
        max_bytes: config.fetch_response_bytes_max,
        session_id: next.session_id,
        session_epoch: next.session_epoch,
        topics: topics(&next.listed, by_id),
        forgotten_topics_data: forgotten(&next.forgotten, by_id),
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

fn topics(listed: &[(TopicPartition, Ask)], by_id: bool) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    let mut current: Option<(&Arc<str>, Uuid)> = None;
    for (id, ask) in listed {
        if current != Some((&id.topic, ask.topic_id)) {
            current = Some((&id.topic, ask.topic_id));
            let topic_id = if by_id { ask.topic_id } else { Uuid::ZERO };
            topics.push(FetchTopic {
                topic: if by_id { Str::new() } else { Str::from(&*id.topic) },
                topic_id,
                partitions: Vec::new(),
            });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(FetchPartition {
                partition: id.partition,
                current_leader_epoch: ask.leader_epoch.0,
                fetch_offset: ask.offset.0,
                last_fetched_epoch: ask.last_fetched_epoch.0,
                log_start_offset: ask.log_start.0,
                partition_max_bytes: ask.max_bytes,
                ..FetchPartition::default()
            });
        }
    }
    topics
}

fn forgotten(gone: &[(TopicPartition, Uuid)], by_id: bool) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    let mut current: Option<(&Arc<str>, Uuid)> = None;
    for (id, topic_id) in gone {
        if current != Some((&id.topic, *topic_id)) {
            current = Some((&id.topic, *topic_id));
            topics.push(ForgottenTopic {
                topic: if by_id { Str::new() } else { Str::from(&*id.topic) },
                topic_id: if by_id { *topic_id } else { Uuid::ZERO },
                partitions: Vec::new(),
            });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(id.partition);
        }
    }
    topics
}
