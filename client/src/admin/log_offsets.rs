//! Where partitions begin and end, and where they were at a time.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::timeout_at;

use super::attempts::Attempts;
use super::{Admin, AdminError, Failure};
use crate::ids::{BrokerId, Offset, TopicPartition};
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::{ListOffsetsRequest, MetadataRequest};
use crate::wire::{ErrorCode, Str};

const FIND: &str = "listOffsets(api=METADATA)";
const ASK: &str = "listOffsets(api=LIST_OFFSETS)";

/// "I am no replica."
const CONSUMER: i32 = -1;

/// Which offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetAt {
    /// Of the first record that is still there.
    Earliest,
    /// Of the next record to be written (and replicated).
    Latest,
    /// Of the first record with this timestamp, in milliseconds since 1970, or a later one.
    Time(i64),
}

impl OffsetAt {
    fn timestamp(self) -> i64 {
        match self {
            OffsetAt::Latest => -1,
            OffsetAt::Earliest => -2,
            OffsetAt::Time(ms) => ms,
        }
    }
}

/// What a partition is to its caller that does not exist, or that nobody leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaderless {
    AwaitLeader,
    LeaveOut,
}

impl Admin {
    /// The offset of each partition; `None`: no record is that late. A partition that nobody leads is waited for
    /// until the time is up; a topic that does not exist is an error.
    pub async fn log_offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>, AdminError> {
        self.find_offsets(partitions, at, Leaderless::AwaitLeader).await
    }

    /// The same without the partitions that do not exist or that nobody leads.
    pub async fn log_offsets_of_led(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>, AdminError> {
        self.find_offsets(partitions, at, Leaderless::LeaveOut).await
    }

    async fn find_offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        leaderless: Leaderless,
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>, AdminError> {
        let mut attempts = Attempts::begin(FIND, self.options.api_timeout);
        let deadline = attempts.deadline();
        let mut open: BTreeSet<TopicPartition> = partitions.iter().cloned().collect();
        let mut offsets = BTreeMap::new();
        while !open.is_empty() {
            attempts.doing(FIND);
            let leaders = match timeout_at(deadline, self.leaders(&open, leaderless, &mut attempts)).await {
                Err(_) => return Err(attempts.timed_out()),
                Ok(Ok(leaders)) => {
                    if leaderless == Leaderless::LeaveOut {
                        open = leaders.values().flatten().cloned().collect();
                    }
                    leaders
                }
                Ok(Err(Failure::Final(error))) => return Err(error),
                Ok(Err(Failure::Passing(cause))) => {
                    attempts.failed(cause);
                    BTreeMap::new()
                }
            };
            for (leader, partitions) in leaders {
                attempts.doing(ASK);
                let asking = self.ask_leader(leader, &partitions, at, &mut attempts);
                match timeout_at(deadline, asking).await {
                    Err(_) => return Err(attempts.timed_out()),
                    Ok(Ok(found)) => {
                        for (partition, offset) in found {
                            open.remove(&partition);
                            offsets.insert(partition, offset);
                        }
                    }
                    Ok(Err(Failure::Final(error))) => return Err(error),
                    Ok(Err(Failure::Passing(cause))) => attempts.failed(cause),
                }
            }
            if !open.is_empty() && !attempts.pause().await {
                return Err(attempts.timed_out());
            }
        }
        Ok(offsets)
    }

    /// Who leads the partitions, as far as there are leaders.
    async fn leaders(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        leaderless: Leaderless,
        attempts: &mut Attempts,
    ) -> Result<BTreeMap<BrokerId, Vec<TopicPartition>>, Failure> {
        let topics: BTreeSet<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
        let topics = topics
            .into_iter()
            .map(|topic| MetadataRequestTopic { name: Some(Str::from(topic)), ..Default::default() });
        let request = MetadataRequest {
            topics: Some(topics.collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let connection = self.any_broker().await?;
        attempts.sending();
        let response = self.exchange(&connection, &request).await?;
        self.learn(&response);
        let mut leaders: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
        for topic in response.topics {
            let name = topic.name.unwrap_or_default();
            match ErrorCode::from_code(topic.error_code) {
                ErrorCode::UnknownTopicOrPartition if leaderless == Leaderless::AwaitLeader => {
                    return Err(Failure::Final(unknown_topic(&name, partitions)));
                }
                code if code == ErrorCode::None || code.is_retriable() => {}
                code => {
                    let message = code.message().to_owned();
                    return Err(Failure::Final(AdminError::Refused { code, message }));
                }
            }
            for found in topic.partitions {
                let partition = TopicPartition::new(&*name, found.partition_index);
                if found.leader_id >= 0 && partitions.contains(&partition) {
                    leaders.entry(BrokerId(found.leader_id)).or_default().push(partition);
                }
            }
        }
        Ok(leaders)
    }

    /// The offsets that the leader knows; a partition that it does not lead any more is left out.
    async fn ask_leader(
        &self,
        leader: BrokerId,
        partitions: &[TopicPartition],
        at: OffsetAt,
        attempts: &mut Attempts,
    ) -> Result<Vec<(TopicPartition, Option<Offset>)>, Failure> {
        let address = self.links().brokers.get(&leader).cloned().ok_or(Failure::Passing(None))?;
        let connection = self.connection(&address).await?;
        let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for partition in partitions {
            topics.entry(&partition.topic).or_default().push(ListOffsetsPartition {
                partition_index: partition.partition,
                timestamp: at.timestamp(),
                ..Default::default()
            });
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsTopic { name: Str::from(name), partitions });
        let request =
            ListOffsetsRequest { replica_id: CONSUMER, topics: topics.collect(), ..Default::default() };
        attempts.sending();
        let response = self.exchange(&connection, &request).await?;
        let mut found = Vec::with_capacity(partitions.len());
        for topic in response.topics {
            for partition in topic.partitions {
                match ErrorCode::from_code(partition.error_code) {
                    ErrorCode::None => {
                        // Version 0 answers with a list, empty if there is none.
                        let offset = partition.old_style_offsets.first().copied().unwrap_or(partition.offset);
                        let offset = Some(Offset(offset)).filter(|offset| offset.0 >= 0);
                        found.push((TopicPartition::new(&*topic.name, partition.partition_index), offset));
                    }
                    code if code.is_retriable() => {}
                    code => {
                        let message = code.message().to_owned();
                        return Err(Failure::Final(AdminError::Refused { code, message }));
                    }
                }
            }
        }
        Ok(found)
    }
}

/// In the words of Kafka's admin client, about the first partition that was asked for.
fn unknown_topic(topic: &str, asked: &BTreeSet<TopicPartition>) -> AdminError {
    let partition = asked.iter().find(|partition| &*partition.topic == topic).map(|asked| asked.partition);
    let partition = TopicPartition::new(topic, partition.unwrap_or(0));
    AdminError::Refused {
        code: ErrorCode::UnknownTopicOrPartition,
        message: format!(
            "Failed to fetch metadata for partition {partition} because metadata for topic `{topic}` could not be \
             found"
        ),
    }
}
