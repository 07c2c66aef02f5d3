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
