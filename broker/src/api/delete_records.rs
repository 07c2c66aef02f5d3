//! DeleteRecords: raises the start of logs, and answers when every live replica has raised it too
//! (KIP-107).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::ids::Offset;
use client::wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use client::wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use client::wire::{ErrorCode, Str};
use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::{Context, lookup};
use crate::clock::Now;
use crate::metadata::ClusterMetadata;
use crate::partition::Partition;

/// Stands for the high watermark.
const TO_HIGH_WATERMARK: i64 = -1;

pub(super) async fn answer(context: &Context, body: &DeleteRecordsRequest) -> DeleteRecordsResponse {
    let cluster = context.metadata.snapshot();
    let now = Now::read();
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(body.timeout_ms).unwrap_or(0));
    let mut waits = Vec::new();
    for topic in &body.topics {
        for asked in &topic.partitions {
            let begun = begin(context, &cluster, &topic.name, asked.partition_index, asked.offset, now);
            waits.push(finish(topic.name.clone(), asked.partition_index, begun, deadline));
        }
    }
    let mut topics: BTreeMap<Str, Vec<DeleteRecordsPartitionResult>> = BTreeMap::new();
    for (topic, partition_index, outcome) in join_all(waits).await {
        let (low_watermark, error) = match outcome {
            Ok(low_watermark) => (low_watermark.0, ErrorCode::None),
            Err(error) => (-1, error),
        };
        let result =
            DeleteRecordsPartitionResult { partition_index, low_watermark, error_code: error.code() };
        topics.entry(topic).or_default().push(result);
    }
    let topics = topics.into_iter().map(|(name, partitions)| DeleteRecordsTopicResult { name, partitions });
    DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() }
}

/// Raises the leader's own log start; the offset that the others must reach.
fn begin(
    context: &Context,
    cluster: &ClusterMetadata,
    topic: &str,
    partition: i32,
    offset: i64,
    now: Now,
) -> Result<(Arc<Partition>, Offset), ErrorCode> {
    if cluster.partition(topic, partition).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    if lookup::INTERNAL_TOPICS.contains(&topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let hosted = lookup::hosted(context, cluster, topic, partition)?;
    let before = (offset != TO_HIGH_WATERMARK).then_some(Offset(offset));
    let target = hosted.delete_records(before, now).map_err(|error| error.code())?;
    Ok((hosted, target))
}

async fn finish(
    topic: Str,
    partition: i32,
    begun: Result<(Arc<Partition>, Offset), ErrorCode>,
    deadline: Instant,
) -> (Str, i32, Result<Offset, ErrorCode>) {
    let outcome = match begun {
        Ok((hosted, target)) => {
            let waited = timeout_at(deadline, reached(&hosted, target)).await;
            waited.unwrap_or(Err(ErrorCode::RequestTimedOut))
        }
        Err(error) => Err(error),
    };
    (topic, partition, outcome)
}

/// Waits until no live replica has records below `target`.
async fn reached(partition: &Partition, target: Offset) -> Result<Offset, ErrorCode> {
    let mut watch = partition.watch();
    let epoch = watch.borrow().epoch;
    loop {
        let status = *watch.borrow_and_update();
        if status.offline {
            return Err(ErrorCode::KafkaStorageError);
        }
        if !status.is_leader() || status.epoch != epoch {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if status.low_watermark >= target {
            return Ok(status.low_watermark);
        }
        if watch.changed().await.is_err() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
    }
}

#[cfg(test)]
mod tests {
    use client::ids::Uuid;
    use client::wire::messages::FetchRequest;
    use client::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    use client::wire::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
    use futures::FutureExt;

    use super::*;
    use crate::api::testing::{Layout, OneBroker, batch, produce};

    fn request(asked: &[(&str, i32, i64)]) -> DeleteRecordsRequest {
        let topic = |(name, partition_index, offset): &(&str, i32, i64)| DeleteRecordsTopic {
            name: Str::from(*name),
            partitions: vec![DeleteRecordsPartition { partition_index: *partition_index, offset: *offset }],
        };
        DeleteRecordsRequest { topics: asked.iter().map(topic).collect(), timeout_ms: 0 }
    }

    fn results(response: &DeleteRecordsResponse) -> Vec<(ErrorCode, i64)> {
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|one| (ErrorCode::from_code(one.error_code), one.low_watermark)).collect()
    }

    #[tokio::test]
    async fn records_go_up_to_the_offset_and_never_come_back() {
        let broker = OneBroker::start();
        broker.assign(&Layout { leaders: &[1, 2], ..Layout::default() }).await;
        produce(&broker, "t", 0, batch(&["a", "b", "c"], 1)).await;
        for (offset, expected) in [
            (2, (ErrorCode::None, 2)),
            (1, (ErrorCode::None, 2)),
            (4, (ErrorCode::OffsetOutOfRange, -1)),
            (-2, (ErrorCode::OffsetOutOfRange, -1)),
            (-1, (ErrorCode::None, 3)),
        ] {
            let response = broker.call(2, &request(&[("t", 0, offset)])).await;
            assert_eq!(results(&response), [expected], "to {offset}");
        }
        let others = broker.call(2, &request(&[("t", 1, 0), ("t", 5, 0), ("u", 0, 0)])).await;
        let unknown = (ErrorCode::UnknownTopicOrPartition, -1);
        assert_eq!(results(&others), [(ErrorCode::NotLeaderOrFollower, -1), unknown, unknown]);
    }

    #[tokio::test]
    async fn topics_that_keep_records_refuse() {
        let broker = OneBroker::with_topic_config(|config| {
            (config.log.cleanup_policy_delete, config.log.cleanup_policy_compact) = (false, true);
        });
        broker.assign(&Layout::default()).await;
        broker.assign(&Layout { topic: "__consumer_offsets", id: Uuid([9; 16]), ..Layout::default() }).await;
        let response = broker.call(2, &request(&[("t", 0, 0), ("__consumer_offsets", 0, 0)])).await;
        let expected = [(ErrorCode::InvalidTopicException, -1), (ErrorCode::PolicyViolation, -1)];
        assert_eq!(results(&response), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_waits_for_the_followers() {
        let broker = OneBroker::start();
        broker.assign(&Layout { replicas: &[1, 2], isr: &[1, 2], ..Layout::default() }).await;
        produce(&broker, "t", 0, batch(&["a", "b"], 1)).await;
        let fetched = |fetch_offset, log_start_offset| FetchRequest {
            replica_state: ReplicaState { replica_id: 2, ..ReplicaState::default() },
            topics: vec![FetchTopic {
                topic_id: Uuid([7; 16]),
                partitions: vec![FetchPartition {
                    fetch_offset,
                    log_start_offset,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        broker.call(17, &fetched(2, 0)).await;
        let mut delete = request(&[("t", 0, 1)]);
        let timed_out = broker.call(2, &delete).await;
        assert_eq!(results(&timed_out), [(ErrorCode::RequestTimedOut, -1)]);
        delete.timeout_ms = 30_000;
        let waiting = broker.call(2, &delete);
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        broker.call(17, &fetched(2, 1)).await;
        let response = waiting.as_mut().now_or_never().expect("the follower's log starts at 1 now");
        assert_eq!(results(&response), [(ErrorCode::None, 1)]);
    }
}
