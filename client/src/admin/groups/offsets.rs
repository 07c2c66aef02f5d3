//! How far a group has read: its committed offsets.

use std::collections::BTreeMap;

use super::coordinator::Call;
use crate::admin::{Admin, AdminError, Failure};
use crate::connection::Connection;
use crate::ids::{Offset, TopicPartition};
use crate::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use crate::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use crate::wire::messages::{
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetFetchResponse,
};
use crate::wire::{ApiKey, ErrorCode, Str};

const LIST: Call = Call {
    find: "listConsumerGroupOffsets(api=FIND_COORDINATOR)",
    ask: "listConsumerGroupOffsets(api=OFFSET_FETCH)",
};
const ALTER: Call = Call {
    find: "alterConsumerGroupOffsets(api=FIND_COORDINATOR)",
    ask: "alterConsumerGroupOffsets(api=OFFSET_COMMIT)",
};
const DELETE: Call = Call {
    find: "deleteConsumerGroupOffsets(api=FIND_COORDINATOR)",
    ask: "deleteConsumerGroupOffsets(api=OFFSET_DELETE)",
};

/// From this version on a request names its groups in a list (KIP-709).
const BATCHED: i16 = 8;

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The next record to read.
    pub offset: Offset,
    /// Of the record before it, where the committer knew.
    pub leader_epoch: Option<i32>,
    /// The committer's own words.
    pub metadata: String,
}

impl Admin {
    /// All offsets that the group has committed. A group that does not exist has none.
    pub async fn group_offsets(
        &self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, GroupOffset>, AdminError> {
        let ask = async |connection: &Connection| {
            let versions = connection.negotiate().await.map_err(|error| Failure::Passing(Some(error)))?;
            let is_batched = versions.latest(ApiKey::OffsetFetch).is_some_and(|version| version >= BATCHED);
            let group_id = Str::from(group);
            let request = match is_batched {
                true => OffsetFetchRequest {
                    groups: vec![OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() }],
                    ..Default::default()
                },
                false => OffsetFetchRequest { group_id, topics: None, ..Default::default() },
            };
            Ok(read(self.exchange(connection, &request).await?))
        };
        self.ask_coordinator(LIST, group, ask).await
    }

    /// Commits offsets for a group without members, which need not exist yet. The first refusal is the error;
    /// the offsets of other partitions stand then.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), AdminError> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (partition, offset) in offsets {
            topics.entry(&partition.topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: partition.partition,
                committed_offset: offset.0,
                committed_metadata: Some(Str::new()),
                ..Default::default()
            });
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            let name = Str::from(name);
            OffsetCommitRequestTopic { name, partitions }
        });
        let request = OffsetCommitRequest {
            group_id: Str::from(group),
            topics: topics.collect(),
            ..Default::default()
        };
        let ask = async |connection: &Connection| {
            let response = self.exchange(connection, &request).await?;
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            Ok(first_error(partitions.map(|partition| partition.error_code)))
        };
        self.ask_coordinator(ALTER, group, ask).await
    }

    /// Forgets offsets of a group, where it is not subscribed to the topic. An error of the group as a whole is
    /// the outer one; for each partition there is what became of it.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Result<(), ErrorCode>>, AdminError> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for partition in partitions {
            let asked = OffsetDeleteRequestPartition { partition_index: partition.partition };
            topics.entry(&partition.topic).or_default().push(asked);
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| OffsetDeleteRequestTopic { name: Str::from(name), partitions });
        let request = OffsetDeleteRequest { group_id: Str::from(group), topics: topics.collect() };
        let ask = async |connection: &Connection| {
            let response = self.exchange(connection, &request).await?;
            let code = ErrorCode::from_code(response.error_code);
            if code != ErrorCode::None {
                return Ok(Err(code));
            }
            let mut results = BTreeMap::new();
            for topic in response.topics {
                for partition in topic.partitions {
                    let result = match ErrorCode::from_code(partition.error_code) {
                        ErrorCode::None => Ok(()),
                        code => Err(code),
                    };
                    results.insert(TopicPartition::new(&*topic.name, partition.partition_index), result);
                }
            }
            Ok(Ok(results))
        };
        self.ask_coordinator(DELETE, group, ask).await
    }
}

fn first_error(codes: impl IntoIterator<Item = i16>) -> Result<(), ErrorCode> {
    let mut codes = codes.into_iter().map(ErrorCode::from_code);
    codes.find(|code| *code != ErrorCode::None).map_or(Ok(()), Err)
}

/// The answer about the one group, in either form. A partition whose offset is not known is left out.
fn read(response: OffsetFetchResponse) -> Result<BTreeMap<TopicPartition, GroupOffset>, ErrorCode> {
    let mut offsets = BTreeMap::new();
    let mut take =
        |topic: &Str, partition: i32, offset: i64, epoch: i32, metadata: Option<Str>, code: i16| {
            match ErrorCode::from_code(code) {
                ErrorCode::None if offset >= 0 => {
                    let committed = GroupOffset {
                        offset: Offset(offset),
                        leader_epoch: Some(epoch).filter(|epoch| *epoch >= 0),
                        metadata: metadata.map(|text| text.to_string()).unwrap_or_default(),
                    };
                    offsets.insert(TopicPartition::new(&**topic, partition), committed);
                    Ok(())
                }
                ErrorCode::UnstableOffsetCommit => Err(ErrorCode::UnstableOffsetCommit),
                _ => Ok(()),
            }
        };
    first_error([response.error_code])?;
    for topic in response.topics {
        for found in topic.partitions {
            let (offset, epoch) = (found.committed_offset, found.committed_leader_epoch);
            take(&topic.name, found.partition_index, offset, epoch, found.metadata, found.error_code)?;
        }
    }
    for group in response.groups {
        first_error([group.error_code])?;
        for topic in group.topics {
            for found in topic.partitions {
                let (offset, epoch) = (found.committed_offset, found.committed_leader_epoch);
                take(&topic.name, found.partition_index, offset, epoch, found.metadata, found.error_code)?;
            }
        }
    }
    Ok(offsets)
}
