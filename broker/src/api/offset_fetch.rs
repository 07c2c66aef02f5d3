//! OffsetFetch: how far groups have read. Version 0 is the classic consumers' way to ZooKeeper, by any
//! broker (`KafkaApis.handleOffsetFetchRequest`).

use std::sync::Arc;

use client::ids::TopicPartition;
use client::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use client::wire::messages::{OffsetFetchRequest, OffsetFetchResponse};
use client::wire::{ErrorCode, Str};
use client::znode::consumer;
use futures::{FutureExt, StreamExt, stream};

use super::Context;
use super::offset_commit::classic_code;
use crate::coordinator::Fetched;
use crate::group::CommittedOffset;

/// From this version on a request names many groups.
const BATCHED: i16 = 8;

/// From this version on an error has a place of its own.
const WITH_ERROR: i16 = 2;

/// Groups of one request that are looked up at a time.
const GROUPS_AT_A_TIME: usize = 256;

pub(super) async fn answer(context: &Context, version: i16, body: OffsetFetchRequest) -> OffsetFetchResponse {
    if version >= BATCHED {
        let asked = body.groups.into_iter().map(|group| {
            let named = group
                .topics
                .map(|topics| named(topics.into_iter().map(|topic| (topic.name, topic.partition_indexes))));
            (group.group_id, named)
        });
        // In the request's order.
        let groups = stream::iter(asked)
            .map(|(group, asked)| of_group(context, group, asked).boxed())
            .buffered(GROUPS_AT_A_TIME)
            .collect()
            .await;
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let asked = body
        .topics
        .map(|topics| named(topics.into_iter().map(|topic| (topic.name, topic.partition_indexes))));
    if version == 0 {
        let topics = from_zookeeper(context, &body.group_id, asked.unwrap_or_default()).await;
        return OffsetFetchResponse { topics, ..OffsetFetchResponse::default() };
    }
    let of_group = of_group(context, body.group_id, asked).await;
    let topics = of_group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(ungrouped).collect(),
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: if version >= WITH_ERROR { of_group.error_code } else { 0 },
        ..OffsetFetchResponse::default()
    }
}

fn named(topics: impl Iterator<Item = (Str, Vec<i32>)>) -> Vec<TopicPartition> {
    topics
        .flat_map(|(name, partitions)| {
            let name: Arc<str> = Arc::from(&*name);
            partitions.into_iter().map(move |partition| TopicPartition::new(Arc::clone(&name), partition))
        })
        .collect()
}

/// `asked`: `None` for all that the group has.
async fn of_group(
    context: &Context,
    group: Str,
    asked: Option<Vec<TopicPartition>>,
) -> OffsetFetchResponseGroup {
    let fetched = match context.coordinator.led(&group) {
        Ok(led) => led.fetch_offsets(&group, asked.as_deref()).await,
        Err(unavailable) => Err(unavailable.into()),
    };
    let (topics, code) = match fetched {
        Ok(fetched) => (by_topic(fetched), ErrorCode::None),
        Err(code) => (Vec::new(), code),
    };
    OffsetFetchResponseGroup { group_id: group, topics, error_code: code.code() }
}

fn by_topic(fetched: Fetched) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (partition, found) in fetched {
        let answer = one(partition.partition, found);
        match topics.last_mut() {
            Some(topic) if *topic.name == *partition.topic => topic.partitions.push(answer),
            _ => {
                let name = Str::from(&*partition.topic);
                topics.push(OffsetFetchResponseTopics { name, partitions: vec![answer] });
            }
        }
    }
    topics
}

fn one(
    partition_index: i32,
    found: Result<Option<CommittedOffset>, ErrorCode>,
) -> OffsetFetchResponsePartitions {
    let absent = |code: ErrorCode| OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::new()),
        error_code: code.code(),
    };
    match found {
        Ok(Some(committed)) => OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(committed.metadata),
            error_code: ErrorCode::None.code(),
        },
        Ok(None) => absent(ErrorCode::None),
        Err(code) => absent(code),
    }
}

fn ungrouped(found: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: found.partition_index,
        committed_offset: found.committed_offset,
        committed_leader_epoch: found.committed_leader_epoch,
        metadata: found.metadata,
        error_code: found.error_code,
    }
}

/// What the nodes say, whoever wrote them. One that is not there is an unknown partition.
async fn from_zookeeper(
    context: &Context,
    group: &str,
    asked: Vec<TopicPartition>,
) -> Vec<OffsetFetchResponseTopic> {
    let session = context.admin.session();
    let metadata = context.metadata.snapshot();
    let mut topics: Vec<OffsetFetchResponseTopic> = Vec::new();
    for partition in asked {
        let path = consumer::offset_path(group, &partition.topic, partition.partition);
        let found = match &session {
            _ if metadata.partition(&partition.topic, partition.partition).is_none() => Ok(None),
            Some(session) => session.get_if_exists(&path).await.map_err(|error| classic_code(&error)),
            None => Err(ErrorCode::CoordinatorLoadInProgress),
        };
        let offset = match found {
            Ok(Some(node)) => consumer::decode_offset(&node.data).map_err(|_| ErrorCode::UnknownServerError),
            Ok(None) => Err(ErrorCode::UnknownTopicOrPartition),
            Err(code) => Err(code),
        };
        let answer = OffsetFetchResponsePartition {
            partition_index: partition.partition,
            committed_offset: offset.map_or(-1, |offset| offset.0),
            committed_leader_epoch: -1,
            metadata: Some(Str::new()),
            error_code: offset.err().unwrap_or(ErrorCode::None).code(),
        };
        match topics.last_mut() {
            Some(topic) if *topic.name == *partition.topic => topic.partitions.push(answer),
            _ => {
                let name = Str::from(&*partition.topic);
                topics.push(OffsetFetchResponseTopic { name, partitions: vec![answer] });
            }
        }
    }
    topics
}
