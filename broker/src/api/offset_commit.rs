//! OffsetCommit: how far a group has read. Version 0 is the classic consumers' way into ZooKeeper,
//! by any broker and asked of no group (`KafkaApis.handleOffsetCommitRequest`).

use std::collections::BTreeMap;
use std::sync::Arc;

use client::ids::{Offset, TopicPartition};
use client::wire::ErrorCode;
use client::wire::messages::offset_commit_request::OffsetCommitRequestPartition;
use client::wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use client::wire::messages::{OffsetCommitRequest, OffsetCommitResponse};
use client::zk::ZkError;
use client::znode::consumer;
use futures::future::join_all;

use super::Context;
use crate::clock::Now;
use crate::group::{Commit, Identity};
use crate::offsets::NewCommit;

/// What became of each partition.
type Outcomes = BTreeMap<TopicPartition, ErrorCode>;

pub(super) async fn answer(
    context: &Context,
    version: i16,
    body: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let mut outcomes = Outcomes::new();
    let mut commits: BTreeMap<TopicPartition, NewCommit> = BTreeMap::new();
    let metadata = context.metadata.snapshot();
    for topic in &body.topics {
        let name: Arc<str> = Arc::from(&*topic.name);
        for one in &topic.partitions {
            let partition = TopicPartition::new(Arc::clone(&name), one.partition_index);
            if metadata.partition(&name, one.partition_index).is_none() {
                outcomes.insert(partition, ErrorCode::UnknownTopicOrPartition);
            } else {
                // Listed twice, the last one counts.
                commits.insert(partition, new_commit(version, body.retention_time_ms, one));
            }
        }
    }
    if version == 0 {
        commit_to_zookeeper(context, &body.group_id, commits, &mut outcomes).await;
    } else if !commits.is_empty() {
        commit(context, &body, commits, &mut outcomes).await;
    }
    respond(&body, &outcomes)
}

fn new_commit(version: i16, retention_time_ms: i64, asked: &OffsetCommitRequestPartition) -> NewCommit {
    let commit_time_ms = (version == 1 && asked.commit_timestamp != -1).then_some(asked.commit_timestamp);
    let retention = (retention_time_ms != -1).then_some(retention_time_ms);
    NewCommit {
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata: asked.committed_metadata.clone().unwrap_or_default(),
        commit_time_ms,
        expire_time_ms: retention.map(|retention| Now::read().unix_ms.saturating_add(retention)),
    }
}

async fn commit(
    context: &Context,
    body: &OffsetCommitRequest,
    commits: BTreeMap<TopicPartition, NewCommit>,
    outcomes: &mut Outcomes,
) {
    let who = Identity {
        member_id: &body.member_id,
        instance_id: body.group_instance_id.as_deref(),
        generation: body.generation_id_or_member_epoch,
    };
    let led = match context.coordinator.led(&body.group_id) {
        Ok(led) => led,
        Err(unavailable) => {
            let code = ErrorCode::from(unavailable);
            outcomes.extend(commits.into_keys().map(|partition| (partition, code)));
            return;
        }
    };
    if let Err(refused) = led.check_commit(&body.group_id, who, Commit::Plain) {
        let code = ErrorCode::from(refused);
        outcomes.extend(commits.into_keys().map(|partition| (partition, code)));
        return;
    }
    let admitted = admit(context, commits, outcomes);
    if admitted.is_empty() {
        return;
    }
    let partitions: Vec<TopicPartition> = admitted.iter().map(|(partition, _)| partition.clone()).collect();
    let committed = led.commit_offsets(&body.group_id, admitted).await;
    let codes = committed.into_iter().map(|one| one.err().unwrap_or(ErrorCode::None));
    outcomes.extend(partitions.into_iter().zip(codes));
}

/// Refuses texts that are too long.
fn admit(
    context: &Context,
    commits: BTreeMap<TopicPartition, NewCommit>,
    outcomes: &mut Outcomes,
) -> Vec<(TopicPartition, NewCommit)> {
    // Java counts UTF-16 units.
    let is_too_long =
        |new: &NewCommit| new.metadata.encode_utf16().count() > context.config.groups.offset_metadata_max;
    let (refused, admitted): (Vec<_>, Vec<_>) = commits.into_iter().partition(|(_, new)| is_too_long(new));
    outcomes.extend(refused.into_iter().map(|(partition, _)| (partition, ErrorCode::OffsetMetadataTooLarge)));
    admitted
}

/// Sets or creates the node of each offset, whoever else does. A commit of a coordinator beside it does
/// not count any more, since it does not repeat the offset.
async fn commit_to_zookeeper(
    context: &Context,
    group: &str,
    commits: BTreeMap<TopicPartition, NewCommit>,
    outcomes: &mut Outcomes,
) {
    let admitted = admit(context, commits, outcomes);
    let session = context.admin.session();
    let writes = admitted.into_iter().map(async |(partition, new)| {
        let path = consumer::offset_path(group, &partition.topic, partition.partition);
        let written = match &session {
            Some(session) => session.set_or_create(&path, consumer::encode_offset(Offset(new.offset))).await,
            None => return (partition, ErrorCode::CoordinatorLoadInProgress),
        };
        (partition, written.map_or_else(|error| classic_code(&error), |()| ErrorCode::None))
    });
    outcomes.extend(join_all(writes).await);
}

/// What classic consumers are told: those that fail for lack of ZooKeeper try again.
pub(super) fn classic_code(error: &ZkError) -> ErrorCode {
    if error.is_connection_trouble() || error.is_session_over() {
        ErrorCode::CoordinatorLoadInProgress
    } else {
        ErrorCode::UnknownServerError
    }
}

/// In the request's order, each partition once; topics of no partition are left out.
fn respond(body: &OffsetCommitRequest, outcomes: &Outcomes) -> OffsetCommitResponse {
    let mut left = outcomes.clone();
    let mut topics: Vec<OffsetCommitResponseTopic> = Vec::new();
    for topic in &body.topics {
        let name: Arc<str> = Arc::from(&*topic.name);
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .filter_map(|one| {
                let code = left.remove(&TopicPartition::new(Arc::clone(&name), one.partition_index))?;
                Some(OffsetCommitResponsePartition {
                    partition_index: one.partition_index,
                    error_code: code.code(),
                })
            })
            .collect();
        match topics.iter_mut().find(|known| known.name == topic.name) {
            None if partitions.is_empty() => {}
            Some(known) => known.partitions.extend(partitions),
            None => topics.push(OffsetCommitResponseTopic { name: topic.name.clone(), partitions }),
        }
    }
    OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }
}
