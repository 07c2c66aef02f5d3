//! How far a group has read: its committed offsets.

use std::collections::BTreeMap;

use super::coordinator::Call;
use super::{Coordinator, PerGroup};
use crate::admin::{Admin, AdminError, Failure};
use crate::connection::Connection;
use crate::ids::{Offset, TopicPartition};
use crate::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use crate::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use crate::wire::messages::offset_fetch_response::OffsetFetchResponseGroup;
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

/// By partition.
pub type GroupOffsets = BTreeMap<TopicPartition, GroupOffset>;

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
    /// All offsets that each group has committed. A group that does not exist has none.
    pub async fn group_offsets(&self, groups: &[String]) -> Result<PerGroup<GroupOffsets>, AdminError> {
        let ask = async |connection: &Connection, _: &Coordinator, groups: &[String]| {
            let versions = connection.negotiate().await.map_err(|error| Failure::Passing(Some(error)))?;
            if versions.latest(ApiKey::OffsetFetch).is_some_and(|version| version >= BATCHED) {
                let asked = |group: &String| OffsetFetchRequestGroup {
                    group_id: Str::from(group.as_str()),
                    topics: None,
                    ..Default::default()
                };
                let request =
                    OffsetFetchRequest { groups: groups.iter().map(asked).collect(), ..Default::default() };
                let response = self.exchange(connection, &request).await?;
                return Ok(response.groups.into_iter().map(read_group).collect());
            }
            let mut answers = Vec::with_capacity(groups.len());
            for group in groups {
                let group_id = Str::from(group.as_str());
                let request = OffsetFetchRequest { group_id, topics: None, ..Default::default() };
                answers.push((group.clone(), read_single(self.exchange(connection, &request).await?)));
            }
            Ok(answers)
        };
        self.ask_coordinators(LIST, groups, ask).await
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

fn read_group(group: OffsetFetchResponseGroup) -> (String, Result<GroupOffsets, ErrorCode>) {
    let found = group.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |found| Found {
            partition: TopicPartition::new(&*name, found.partition_index),
            offset: found.committed_offset,
            leader_epoch: found.committed_leader_epoch,
            metadata: found.metadata,
            code: found.error_code,
        })
    });
    (group.group_id.to_string(), first_error([group.error_code]).and_then(|()| read(found)))
}

/// The answer in the form for one group.
fn read_single(response: OffsetFetchResponse) -> Result<GroupOffsets, ErrorCode> {
    first_error([response.error_code])?;
    read(response.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |found| Found {
            partition: TopicPartition::new(&*name, found.partition_index),
            offset: found.committed_offset,
            leader_epoch: found.committed_leader_epoch,
            metadata: found.metadata,
            code: found.error_code,
        })
    }))
}

/// What an answer says of a partition, in either form.
struct Found {
    partition: TopicPartition,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<Str>,
    code: i16,
}

/// A partition whose offset is not known is left out.
fn read(found: impl Iterator<Item = Found>) -> Result<GroupOffsets, ErrorCode> {
    let mut offsets = GroupOffsets::new();
    for Found { partition, offset, leader_epoch, metadata, code } in found {
        match ErrorCode::from_code(code) {
            ErrorCode::None if offset >= 0 => {
                let leader_epoch = Some(leader_epoch).filter(|epoch| *epoch >= 0);
                let metadata = metadata.map(|text| text.to_string()).unwrap_or_default();
                offsets.insert(partition, GroupOffset { offset: Offset(offset), leader_epoch, metadata });
            }
            ErrorCode::UnstableOffsetCommit => return Err(ErrorCode::UnstableOffsetCommit),
            _ => {}
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::offset_fetch_response::{
        OffsetFetchResponsePartition, OffsetFetchResponseTopic,
    };

    fn answer(partitions: &[(i32, i64, i16)]) -> OffsetFetchResponse {
        let partition = |&(partition_index, committed_offset, error_code): &(i32, i64, i16)| {
            OffsetFetchResponsePartition {
                partition_index,
                committed_offset,
                error_code,
                ..Default::default()
            }
        };
        let topic = OffsetFetchResponseTopic {
            name: Str::from("t"),
            partitions: partitions.iter().map(partition).collect(),
        };
        OffsetFetchResponse { topics: vec![topic], ..Default::default() }
    }

    #[test]
    fn what_is_not_committed_is_left_out_and_what_may_change_is_asked_again() {
        let offsets = read_single(answer(&[(0, 5, 0), (1, -1, 0), (2, 7, 3)])).unwrap();
        let found: Vec<(i32, Offset)> =
            offsets.iter().map(|(partition, committed)| (partition.partition, committed.offset)).collect();
        assert_eq!(found, [(0, Offset(5))]);
        assert_eq!(read_single(answer(&[(0, 5, 0), (1, -1, 88)])), Err(ErrorCode::UnstableOffsetCommit));
        let refused = OffsetFetchResponse { error_code: 16, ..Default::default() };
        assert_eq!(read_single(refused), Err(ErrorCode::NotCoordinator));
    }
}
