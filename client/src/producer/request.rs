//! Produce requests, and what their answers say of each batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::error::AttemptError;
use crate::cluster::{BrokerInfo, Leadership};
use crate::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use crate::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::wire::messages::produce_response::PartitionProduceResponse;
use crate::wire::messages::{ProduceRequest, ProduceResponse};
use crate::wire::{ErrorCode, Records, Str};

/// The oldest version that carries batches of the present format.
pub(super) const OLDEST_VERSION: i16 = 3;

/// One request for batches of different partitions.
pub(super) fn request(batches: Vec<(TopicPartition, Bytes)>, acks: i16, timeout_ms: i32) -> ProduceRequest {
    let mut topics: BTreeMap<Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
    for (at, bytes) in batches {
        let data = PartitionProduceData { index: at.partition, records: Some(Records::Memory(bytes)) };
        topics.entry(at.topic).or_default().push(data);
    }
    let topic = |(name, partition_data): (Arc<str>, Vec<_>)| TopicProduceData {
        name: Str::from(&*name),
        partition_data,
    };
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms,
        topic_data: topics.into_iter().map(topic).collect(),
    }
}

/// A broker's word on one batch.
#[derive(Debug)]
pub(super) enum Answer {
    Appended {
        base_offset: Option<Offset>,
        append_time: Option<i64>,
    },
    /// Refused as a whole, and perhaps records of it for reasons of their own, by their place in the batch.
    Refused {
        code: ErrorCode,
        message: Arc<str>,
        records: BTreeMap<usize, Arc<str>>,
        /// Who leads instead, as far as that broker knows (KIP-951).
        leader: Option<Leadership>,
    },
    Unanswered,
}

impl Answer {
    pub(super) fn attempt_error(&self) -> AttemptError {
        match self {
            Answer::Refused { code, message, .. } => {
                AttemptError::Refused { code: *code, message: message.clone() }
            }
            Answer::Appended { .. } | Answer::Unanswered => AttemptError::Unanswered,
        }
    }
}

/// The answers in the order of the batches.
pub(super) fn answers<'a>(
    response: &ProduceResponse,
    batches: impl Iterator<Item = &'a TopicPartition>,
) -> Vec<Answer> {
    let mut found: BTreeMap<(&str, i32), &PartitionProduceResponse> = BTreeMap::new();
    for topic in &response.responses {
        for partition in &topic.partition_responses {
            found.insert((&topic.name, partition.index), partition);
        }
    }
    batches
        .map(|at| found.get(&(&*at.topic, at.partition)).map_or(Answer::Unanswered, |said| answer(said)))
        .collect()
}

/// Where the leaders are that the answers name.
pub(super) fn endpoints(response: &ProduceResponse) -> impl Iterator<Item = (BrokerId, BrokerInfo)> + '_ {
    response
        .node_endpoints
        .iter()
        .map(|node| (BrokerId(node.node_id), BrokerInfo::told(&node.host, node.port, node.rack.as_deref())))
}

fn answer(said: &PartitionProduceResponse) -> Answer {
    match ErrorCode::from_code(said.error_code) {
        ErrorCode::None => Answer::Appended {
            base_offset: (said.base_offset >= 0).then_some(Offset(said.base_offset)),
            append_time: (said.log_append_time_ms >= 0).then_some(said.log_append_time_ms),
        },
        // It is in the log already, further back than the broker remembers.
        ErrorCode::DuplicateSequenceNumber => Answer::Appended { base_offset: None, append_time: None },
        code => {
            let message = said.error_message.as_deref().unwrap_or(code.message());
            let own = said.record_errors.iter().filter_map(|record| {
                let text = record.batch_index_error_message.as_deref().unwrap_or(message);
                Some((usize::try_from(record.batch_index).ok()?, Arc::from(text)))
            });
            let (broker, epoch) = (said.current_leader.leader_id, said.current_leader.leader_epoch);
            let leader = Leadership { broker: BrokerId(broker), epoch: LeaderEpoch(epoch) };
            let leader = (broker >= 0 && epoch >= 0).then_some(leader);
            Answer::Refused { code, message: message.into(), records: own.collect(), leader }
        }
    }
}
