//! The response to a Fetch.

use std::collections::BTreeMap;

use bytes::Bytes;
use client::ids::BrokerId;
use client::wire::messages::FetchResponse;
use client::wire::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use client::wire::{ErrorCode, Records, Str};

use super::Terms;
use super::down_convert::Converted;
use super::read::Target;
use crate::api::lookup;
use crate::fetch_session::{Answer, Conclusion, TopicRef};
use crate::log::AbortedTxn;
use crate::metadata::ClusterMetadata;
use crate::partition::Read;

/// From this version on clients are told where the leader went (KIP-951).
const FIRST_WITH_LEADERS: i16 = 16;

const NO_OFFSET: i64 = -1;

/// The answer about one target.
#[derive(Debug)]
pub(super) struct Answered {
    /// Index of the target.
    pub(super) target: usize,
    topic: TopicRef,
    pub(super) data: PartitionData,
}

/// Answers in the order in which they are sent: what was refused before reading comes last.
pub(super) fn partitions(
    cluster: &ClusterMetadata,
    targets: &[Target],
    outcomes: Vec<Converted>,
    terms: &Terms,
) -> Vec<Answered> {
    let (mut read, mut refused) = (Vec::with_capacity(targets.len()), Vec::new());
    for (index, (target, outcome)) in targets.iter().zip(outcomes).enumerate() {
        let partition = target.asked.partition;
        let answered = |data| Answered { target: index, topic: target.asked.topic.clone(), data };
        match outcome {
            Converted::Refused(error) => {
                refused.push(answered(PartitionData {
                    records: Some(no_records()),
                    ..failed(partition, error)
                }));
            }
            Converted::Failed(error) => read.push(answered(PartitionData {
                current_leader: current_leader(cluster, target, error, terms),
                records: Some(no_records()),
                aborted_transactions: None,
                ..failed(partition, error)
            })),
            Converted::Unreadable(error) => read.push(answered(failed(partition, error))),
            Converted::Read(found) => read.push(answered(data(partition, found))),
            Converted::Redirected { to, offsets } => read
                .push(answered(PartitionData { preferred_read_replica: to.0, ..data(partition, offsets) })),
        }
    }
    read.append(&mut refused);
    read
}

fn data(partition_index: i32, found: Read) -> PartitionData {
    let aborted = found.aborted.map(|all| {
        let one = |aborted: AbortedTxn| AbortedTransaction {
            producer_id: aborted.producer_id,
            first_offset: aborted.first_offset.0,
        };
        all.into_iter().map(one).collect()
    });
    PartitionData {
        partition_index,
        error_code: ErrorCode::None.code(),
        high_watermark: found.high_watermark.0,
        last_stable_offset: found.last_stable_offset.0,
        log_start_offset: found.log_start.0,
        diverging_epoch: found.diverging.map_or_else(EpochEndOffset::default, |diverging| EpochEndOffset {
            epoch: diverging.epoch.0,
            end_offset: diverging.end.0,
        }),
        aborted_transactions: aborted,
        records: Some(found.records),
        ..PartitionData::default()
    }
}

/// An error with null records. Where Kafka sends empty ones or no list of aborted transactions,
/// the caller says so.
pub(super) fn failed(partition_index: i32, error: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: error.code(),
        high_watermark: NO_OFFSET,
        last_stable_offset: NO_OFFSET,
        log_start_offset: NO_OFFSET,
        aborted_transactions: Some(Vec::new()),
        records: None,
        ..PartitionData::default()
    }
}

fn no_records() -> Records {
    Records::Memory(Bytes::new())
}

fn current_leader(
    cluster: &ClusterMetadata,
    target: &Target,
    error: ErrorCode,
    terms: &Terms,
) -> LeaderIdAndEpoch {
    let moved = matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
    match target.topic() {
        Some(topic) if moved && terms.version >= FIRST_WITH_LEADERS => {
            let leader = lookup::current_leader(cluster, topic, target.asked.partition);
            LeaderIdAndEpoch { leader_id: leader.id.0, leader_epoch: leader.epoch.0 }
        }
        _ => LeaderIdAndEpoch::default(),
    }
}

/// What the session has to know of an answer.
pub(super) fn news(data: &PartitionData) -> Answer {
    Answer {
        high_watermark: data.high_watermark,
        log_start_offset: data.log_start_offset,
        has_records: data.records.as_ref().is_some_and(|records| !records.is_empty()),
        is_error: data.error_code != ErrorCode::None.code(),
        redirects: data.diverging_epoch != EpochEndOffset::default() || data.preferred_read_replica >= 0,
    }
}

pub(super) fn response(
    cluster: &ClusterMetadata,
    listener: &str,
    answers: Vec<Answered>,
    conclusion: &Conclusion,
    terms: &Terms,
) -> FetchResponse {
    let included = answers.into_iter().zip(&conclusion.included).filter(|(_, included)| **included);
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    let mut last: Option<TopicRef> = None;
    let mut leaders = BTreeMap::new();
    for (answer, _) in included {
        let leader = answer.data.current_leader.leader_id;
        if leader >= 0
            && let Some(node) = lookup::node(cluster, BrokerId(leader), listener)
        {
            leaders.insert(leader, node);
        }
        // Neighbours of one topic share its entry; the order of partitions is kept.
        match (responses.last_mut(), &last) {
            (Some(topic), Some(reference)) if *reference == answer.topic => {
                topic.partitions.push(answer.data)
            }
            _ => {
                responses.push(topic(&answer.topic, answer.data));
                last = Some(answer.topic);
            }
        }
    }
    let endpoints = leaders.into_values().map(|node| NodeEndpoint {
        node_id: node.id.0,
        host: Str::from(&*node.host),
        port: node.port,
        rack: node.rack.as_deref().map(Str::from),
    });
    FetchResponse {
        session_id: conclusion.session_id,
        responses,
        node_endpoints: if terms.version >= FIRST_WITH_LEADERS { endpoints.collect() } else { Vec::new() },
        ..FetchResponse::default()
    }
}

fn topic(reference: &TopicRef, data: PartitionData) -> FetchableTopicResponse {
    let partitions = vec![data];
    match reference {
        TopicRef::Name(name) => FetchableTopicResponse {
            topic: Str::from(&**name),
            partitions,
            ..FetchableTopicResponse::default()
        },
        TopicRef::Id(topic_id) => {
            FetchableTopicResponse { topic_id: *topic_id, partitions, ..FetchableTopicResponse::default() }
        }
    }
}
