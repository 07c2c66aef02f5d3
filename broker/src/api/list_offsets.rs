//! ListOffsets: offsets by time, and the ends of logs.

use std::collections::BTreeMap;

use client::ids::LeaderEpoch;
use client::wire::messages::list_offsets_request::ListOffsetsPartition;
use client::wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use client::wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use client::wire::{ErrorCode, Str};

use super::{Context, lookup};
use crate::clock::Now;
use crate::metadata::ClusterMetadata;
use crate::partition::{Asker, FoundOffset, ListOffset, OffsetQuery, PartitionError};

const CONSUMER: i32 = -1;
const DEBUGGER: i32 = -2;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// What a timestamp on the wire asks for.
enum Question {
    Partition(OffsetQuery),
    /// Where tiered storage ends; there is none, so the answer is known.
    Tiered,
}

pub(super) fn answer(context: &Context, version: i16, body: &ListOffsetsRequest) -> ListOffsetsResponse {
    let asker = asker(body);
    let cluster = context.metadata.snapshot();
    let repeated = repeated(body);
    let now = Now::read();
    let topics = body.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|asked| {
                let answered = match asker {
                    Err(error) => Err(error),
                    Ok(_) if version >= 1 && repeated.contains_key(&(&topic.name, asked.partition_index)) => {
                        Err(ErrorCode::InvalidRequest)
                    }
                    Ok(asker) if version == 0 => legacy(context, &cluster, &topic.name, asked, asker, now),
                    Ok(asker) => one(context, &cluster, version, &topic.name, asked, asker, now),
                };
                let response = answered.unwrap_or_else(|error| ListOffsetsPartitionResponse {
                    error_code: error.code(),
                    ..ListOffsetsPartitionResponse::default()
                });
                ListOffsetsPartitionResponse { partition_index: asked.partition_index, ..response }
            })
            .collect(),
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}

fn asker(body: &ListOffsetsRequest) -> Result<Asker, ErrorCode> {
    let read_committed = match body.isolation_level {
        0 => false,
        1 => true,
        _ => return Err(ErrorCode::UnknownServerError),
    };
    Ok(match body.replica_id {
        CONSUMER => Asker::Consumer { read_committed },
        DEBUGGER => Asker::Debugger,
        _ => Asker::Replica,
    })
}

/// The partitions that are listed more than once.
fn repeated(body: &ListOffsetsRequest) -> BTreeMap<(&Str, i32), usize> {
    let mut counts = BTreeMap::new();
    for topic in &body.topics {
        for asked in &topic.partitions {
            *counts.entry((&topic.name, asked.partition_index)).or_insert(0) += 1;
        }
    }
    counts.retain(|_, count| *count > 1);
    counts
}

fn one(
    context: &Context,
    cluster: &ClusterMetadata,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
    asker: Asker,
    now: Now,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    let question = question(asked.timestamp, version)?;
    let partition = lookup::hosted(context, cluster, topic, asked.partition_index)?;
    let query = match question {
        Question::Partition(query) => query,
        // Asked all the same, for its refusals.
        Question::Tiered => OffsetQuery::Earliest,
    };
    let ask = ListOffset { asker, current_leader_epoch: lookup::epoch(asked.current_leader_epoch), query };
    let found = partition.list_offset(&ask, now).map_err(|error| code(&error, version))?;
    Ok(match (question, found) {
        (Question::Partition(_), Some(found)) => response(found, version),
        (Question::Partition(_), None) | (Question::Tiered, _) => ListOffsetsPartitionResponse::default(),
    })
}

fn question(timestamp: i64, version: i16) -> Result<Question, ErrorCode> {
    let query = match timestamp {
        LATEST => OffsetQuery::Latest,
        EARLIEST => OffsetQuery::Earliest,
        MAX_TIMESTAMP if version >= 7 => OffsetQuery::MaxTimestamp,
        EARLIEST_LOCAL if version >= 8 => OffsetQuery::Earliest,
        LATEST_TIERED if version >= 9 => return Ok(Question::Tiered),
        0.. => OffsetQuery::At(timestamp),
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    Ok(Question::Partition(query))
}

fn response(found: FoundOffset, version: i16) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        timestamp: found.timestamp,
        offset: found.offset.0,
        leader_epoch: match found.leader_epoch {
            Some(epoch) if version >= 4 => epoch.0,
            _ => LeaderEpoch::NONE.0,
        },
        ..ListOffsetsPartitionResponse::default()
    }
}

fn code(error: &PartitionError, version: i16) -> ErrorCode {
    match error.code() {
        // Clients up to then knew no better word for "wait".
        ErrorCode::OffsetNotAvailable if version < 5 => ErrorCode::LeaderNotAvailable,
        code => code,
    }
}

fn legacy(
    context: &Context,
    cluster: &ClusterMetadata,
    topic: &str,
    asked: &ListOffsetsPartition,
    asker: Asker,
    now: Now,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    if asked.timestamp < EARLIEST {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let partition = lookup::hosted(context, cluster, topic, asked.partition_index)?;
    let max = usize::try_from(asked.max_num_offsets).unwrap_or(0);
    let offsets = partition.legacy_offsets(asker, asked.timestamp, max, now).map_err(|error| error.code())?;
    Ok(ListOffsetsPartitionResponse {
        old_style_offsets: offsets.into_iter().map(|offset| offset.0).collect(),
        ..ListOffsetsPartitionResponse::default()
    })
}
