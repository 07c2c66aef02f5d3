//! OffsetForLeaderEpoch: where an epoch ends in the leader's log (KIP-101, KIP-320).

use client::ids::LeaderEpoch;
use client::wire::ErrorCode;
use client::wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use client::wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use client::wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::{Context, lookup};
use crate::clock::Now;
use crate::metadata::ClusterMetadata;

pub(super) fn answer(context: &Context, body: &OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let cluster = context.metadata.snapshot();
    let now = Now::read();
    let topics = body.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|asked| match end_of_epoch(context, &cluster, &topic.topic, asked, now) {
                Ok(found) => found,
                Err(error) => EpochEndOffset {
                    error_code: error.code(),
                    partition: asked.partition,
                    ..EpochEndOffset::default()
                },
            })
            .collect(),
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..OffsetForLeaderEpochResponse::default() }
}

fn end_of_epoch(
    context: &Context,
    cluster: &ClusterMetadata,
    topic: &str,
    asked: &OffsetForLeaderPartition,
    now: Now,
) -> Result<EpochEndOffset, ErrorCode> {
    let partition = lookup::hosted(context, cluster, topic, asked.partition)?;
    let end = partition
        .offset_for_leader_epoch(
            lookup::epoch(asked.current_leader_epoch),
            LeaderEpoch(asked.leader_epoch),
            now,
        )
        .map_err(|error| error.code())?;
    let unknown = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
    Ok(end.map_or(unknown.clone(), |end| EpochEndOffset {
        leader_epoch: end.epoch.0,
        end_offset: end.end.0,
        ..unknown
    }))
}
