//! ListOffsets: offsets by time, and the ends of logs.

use std::collections::BTreeMap;

use client::ids::LeaderEpoch;
use client::wire::messages::list_offsets_request::ListOffsetsPartition;
use client::wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use client::wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use client::wire::{ErrorCode, Str};
use controller::requests::COMPARES_LOGS;

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
        COMPARES_LOGS => Asker::Comparer,
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
    let max = usize::try_from(asked.max_num_offsets).map_err(|_| ErrorCode::UnknownServerError)?;
    let offsets = partition.legacy_offsets(asker, asked.timestamp, max, now).map_err(|error| error.code())?;
    Ok(ListOffsetsPartitionResponse {
        old_style_offsets: offsets.into_iter().map(|offset| offset.0).collect(),
        ..ListOffsetsPartitionResponse::default()
    })
}

#[cfg(test)]
mod tests {
    use client::wire::messages::list_offsets_request::ListOffsetsTopic;

    use super::*;
    use crate::api::testing::{Layout, OneBroker, batch, produce};

    fn request(asked: &[(i32, i64)]) -> ListOffsetsRequest {
        let partitions = asked.iter().map(|(partition_index, timestamp)| ListOffsetsPartition {
            partition_index: *partition_index,
            timestamp: *timestamp,
            ..ListOffsetsPartition::default()
        });
        ListOffsetsRequest {
            replica_id: CONSUMER,
            topics: vec![ListOffsetsTopic { name: Str::from("t"), partitions: partitions.collect() }],
            ..ListOffsetsRequest::default()
        }
    }

    /// The error, or `timestamp@offset/epoch`.
    async fn shown(broker: &OneBroker, version: i16, request: &ListOffsetsRequest) -> Vec<String> {
        let response = broker.call(version, request).await;
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        let line = |one: &ListOffsetsPartitionResponse| match ErrorCode::from_code(one.error_code) {
            ErrorCode::None if version == 0 => format!("{:?}", one.old_style_offsets),
            ErrorCode::None => format!("{}@{}/{}", one.timestamp, one.offset, one.leader_epoch),
            error => error.name().to_owned(),
        };
        partitions.map(line).collect()
    }

    /// Offsets 0 (time 100), 1 and 2 (300), 3 (200), in leader epoch 4; the follower has none yet
    /// if `replicas` has one.
    async fn filled(replicas: &[i32]) -> OneBroker {
        let broker = OneBroker::start();
        broker
            .assign(&Layout { leaders: &[1, 2], replicas, isr: replicas, epoch: 4, ..Layout::default() })
            .await;
        for (values, timestamp) in [(&["a"][..], 100), (&["b", "c"], 300), (&["d"], 200)] {
            produce(&broker, "t", 0, batch(values, timestamp)).await;
        }
        broker
    }

    #[tokio::test]
    async fn every_question_has_the_versions_it_has() {
        let broker = filled(&[1]).await;
        let unsupported = "UNSUPPORTED_VERSION";
        for (timestamp, from, expected) in [
            (LATEST, 1, "-1@4/4"),
            (EARLIEST, 1, "-1@0/4"),
            (MAX_TIMESTAMP, 7, "300@1/4"),
            (EARLIEST_LOCAL, 8, "-1@0/4"),
            (LATEST_TIERED, 9, "-1@-1/-1"),
            (-6, 10, ""),
            (0, 1, "100@0/4"),
            (100, 1, "100@0/4"),
            (101, 1, "300@1/4"),
            (300, 1, "300@1/4"),
            (301, 1, "-1@-1/-1"),
        ] {
            for version in 1..=9 {
                let expected = match expected {
                    _ if version < from => unsupported.to_owned(),
                    known if version < 4 => known.replace("/4", "/-1"),
                    known => known.to_owned(),
                };
                let request = request(&[(0, timestamp)]);
                assert_eq!(
                    shown(&broker, version, &request).await,
                    [expected],
                    "{timestamp} in version {version}"
                );
            }
        }
    }

    #[tokio::test]
    async fn version_0_lists_segments() {
        let broker = filled(&[1]).await;
        let mut request = request(&[(0, LATEST), (0, EARLIEST), (0, MAX_TIMESTAMP), (1, LATEST)]);
        for asked in &mut request.topics[0].partitions {
            asked.max_num_offsets = 10;
        }
        let expected = ["[4, 0]", "[0]", "UNSUPPORTED_VERSION", "NOT_LEADER_OR_FOLLOWER"];
        assert_eq!(shown(&broker, 0, &request).await, expected);
    }

    #[tokio::test]
    async fn refusals_are_told_by_partition() {
        let broker = filled(&[1, 2]).await;
        let request_of = request;
        let mut request = request(&[(0, LATEST), (1, LATEST), (7, LATEST)]);
        let unknown = ["OFFSET_NOT_AVAILABLE", "NOT_LEADER_OR_FOLLOWER", "UNKNOWN_TOPIC_OR_PARTITION"];
        broker
            .assign(&Layout {
                leaders: &[1, 2],
                replicas: &[1, 2],
                isr: &[1, 2],
                epoch: 5,
                ..Layout::default()
            })
            .await;
        assert_eq!(shown(&broker, 5, &request).await, unknown);
        assert_eq!(shown(&broker, 4, &request).await[0], "LEADER_NOT_AVAILABLE");
        request.topics[0].partitions[0].current_leader_epoch = 4;
        assert_eq!(shown(&broker, 4, &request).await[0], "FENCED_LEADER_EPOCH");
        let twice = request_of(&[(0, EARLIEST), (0, LATEST)]);
        assert_eq!(shown(&broker, 1, &twice).await, ["INVALID_REQUEST"; 2]);
        let mut replica = request_of(&[(0, LATEST)]);
        replica.replica_id = 2;
        assert_eq!(shown(&broker, 9, &replica).await, ["-1@4/5"]);
        let mut debugger = request_of(&[(1, LATEST)]);
        debugger.replica_id = DEBUGGER;
        assert_eq!(shown(&broker, 9, &debugger).await, ["-1@0/5"]);
        let mut comparing = request_of(&[(0, LATEST), (1, LATEST)]);
        comparing.replica_id = COMPARES_LOGS;
        let told = shown(&broker, 9, &comparing).await;
        assert_eq!(told, ["-1@4/4", "-1@0/-1"], "nothing was written in epoch 5; the other log is empty");
        let mut isolation = request_of(&[(0, EARLIEST)]);
        isolation.isolation_level = 7;
        assert_eq!(shown(&broker, 9, &isolation).await, ["UNKNOWN_SERVER_ERROR"]);
    }
}
