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

#[cfg(test)]
mod tests {
    use client::wire::messages::offset_for_leader_epoch_request::OffsetForLeaderTopic;

    use super::*;
    use crate::api::testing::{Layout, OneBroker, batch, produce};

    #[tokio::test]
    async fn an_epoch_ends_where_the_next_begins() {
        let broker = OneBroker::start();
        for epoch in [2, 5] {
            broker.assign(&Layout { leaders: &[1, 3], epoch, ..Layout::default() }).await;
            produce(&broker, "t", 0, batch(&["a", "b"], 1)).await;
        }
        let asked = |partition, leader_epoch, current_leader_epoch| OffsetForLeaderPartition {
            partition,
            leader_epoch,
            current_leader_epoch,
        };
        let partitions = vec![
            asked(0, 5, -1),
            asked(0, 4, 5),
            asked(0, 2, -1),
            asked(0, 1, -1),
            asked(0, 6, -1),
            asked(0, -1, -1),
            asked(0, 2, 4),
            asked(0, 2, 6),
            asked(1, 2, -1),
            asked(9, 2, -1),
        ];
        let request = OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderTopic { topic: "t".into(), partitions }],
            ..OffsetForLeaderEpochRequest::default()
        };
        let response = broker.call(4, &request).await;
        let found: Vec<_> = response.topics[0]
            .partitions
            .iter()
            .map(|found| (ErrorCode::from_code(found.error_code), found.leader_epoch, found.end_offset))
            .collect();
        assert_eq!(
            found,
            [
                (ErrorCode::None, 5, 4),
                (ErrorCode::None, 2, 2),
                (ErrorCode::None, 2, 2),
                (ErrorCode::None, 1, 0),
                (ErrorCode::None, -1, -1),
                (ErrorCode::None, -1, -1),
                (ErrorCode::FencedLeaderEpoch, -1, -1),
                (ErrorCode::UnknownLeaderEpoch, -1, -1),
                (ErrorCode::NotLeaderOrFollower, -1, -1),
                (ErrorCode::UnknownTopicOrPartition, -1, -1),
            ]
        );
    }
}
