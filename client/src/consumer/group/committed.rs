//! Offsets that the coordinator keeps for the group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::coordinator::{Coordinator, CoordinatorError, Purpose};
use super::membership::{Identity, NO_GENERATION};
use crate::consumer::Position;
use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::wire::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    offset_commit_request, offset_fetch_request,
};
use crate::wire::{ErrorCode, Str};

/// A position that a group keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// Of the next record to read.
    pub offset: Offset,
    /// Of the record before it; [`LeaderEpoch::NONE`] if it is not known.
    pub leader_epoch: LeaderEpoch,
    /// Whatever the consumer wants to keep with it (`offset.metadata.max.bytes` of the broker: 4096).
    pub metadata: String,
}

impl From<Position> for OffsetAndMetadata {
    fn from(position: Position) -> OffsetAndMetadata {
        OffsetAndMetadata { offset: position.offset, leader_epoch: position.epoch, metadata: String::new() }
    }
}

impl OffsetAndMetadata {
    pub fn position(&self) -> Position {
        Position::new(self.offset, self.leader_epoch)
    }
}

/// Why offsets were not committed, or not read.
#[derive(Debug, thiserror::Error)]
pub enum OffsetsError {
    /// `group.id` is not set.
    #[error("offsets are kept for a group, and this consumer has no group.id")]
    NoGroup,
    /// The consumer is not, or no longer, in its group: others may read, and have committed, since.
    #[error(
        "the offsets cannot be committed: this consumer is not in its group any more, which may have given its \
         partitions to others; poll more often, or raise max.poll.interval.ms"
    )]
    NotMember,
    /// The group rebalances. The consumer may commit again after it has polled.
    #[error("the offsets cannot be committed while the group rebalances; poll, and commit then")]
    Rebalancing,
    #[error("the coordinator refuses {partition}: {code}: {}", code.message())]
    Refused { partition: TopicPartition, code: ErrorCode },
    #[error("the coordinator refuses the group: {code}: {}", code.message())]
    GroupRefused { code: ErrorCode },
    /// Too many commits wait already.
    #[error("too many commits wait for the coordinator")]
    TooMany,
    /// The consumer was closed before the commit was made.
    #[error("the consumer was closed")]
    Closed,
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    #[error("the coordinator gave no answer in {within:?}: {cause}")]
    TimedOut { within: Duration, cause: String },
}

/// Who commits: a member in its generation, or, assigned by hand, nobody in particular.
#[derive(Debug, Clone)]
pub(in crate::consumer) struct Committer {
    pub(super) identity: Identity,
    pub(super) instance_id: Option<Str>,
}

impl Committer {
    pub(in crate::consumer) fn nobody() -> Committer {
        let identity = Identity { member_id: Str::new(), generation: NO_GENERATION };
        Committer { identity, instance_id: None }
    }
}

/// What one attempt came to.
enum Outcome<T> {
    Done(T),
    Failed(OffsetsError),
    /// The error, and whether somebody else is to be asked.
    Again(ErrorCode),
}

/// The offsets of one group.
#[derive(Debug)]
pub(in crate::consumer) struct Committed {
    pub(in crate::consumer) coordinator: Arc<Coordinator>,
    pub(in crate::consumer) group_id: Str,
}

impl Committed {
    /// Tries until it is done, refused for good, or the time is up.
    pub(in crate::consumer) async fn commit(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        committer: &Committer,
        within: Duration,
    ) -> Result<(), OffsetsError> {
        let attempt = || async {
            let request = |version| self.commit_request(offsets, committer, version);
            Ok(commit_outcome(&self.coordinator.ask(Purpose::Offsets, within, request).await?))
        };
        self.until_done(within, attempt).await
    }

    /// The committed offsets of these partitions; those without one are left out.
    pub(in crate::consumer) async fn fetch(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        within: Duration,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, OffsetsError> {
        let attempt = || async {
            let request = |version| self.fetch_request(partitions, version);
            Ok(fetch_outcome(self.coordinator.ask(Purpose::Offsets, within, request).await?))
        };
        self.until_done(within, attempt).await
    }

    async fn until_done<T, F>(&self, within: Duration, attempt: impl Fn() -> F) -> Result<T, OffsetsError>
    where
        F: Future<Output = Result<Outcome<T>, CoordinatorError>>,
    {
        let deadline = Instant::now() + within;
        let mut cause = "no broker was reached".to_owned();
        let mut failures = 0_u32;
        loop {
            match timeout_at(deadline, attempt()).await {
                Err(_) => return Err(OffsetsError::TimedOut { within, cause }),
                Ok(Ok(Outcome::Done(value))) => return Ok(value),
                Ok(Ok(Outcome::Failed(error))) => return Err(error),
                Ok(Ok(Outcome::Again(code))) => {
                    cause = format!("{code}: {}", code.message());
                    if code != ErrorCode::CoordinatorLoadInProgress {
                        self.coordinator.moved();
                    }
                }
                Ok(Err(error)) if error.is_retriable() => cause = error.to_string(),
                Ok(Err(error)) => return Err(error.into()),
            }
            failures = failures.saturating_add(1);
            let pause = self.coordinator.cluster().options().retry_backoff.pause(failures, rand::random());
            if Instant::now() + pause >= deadline {
                return Err(OffsetsError::TimedOut { within, cause });
            }
            sleep(pause).await;
        }
    }

    fn commit_request(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        committer: &Committer,
        version: i16,
    ) -> OffsetCommitRequest {
        use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (partition, committed) in offsets {
            let entry = OffsetCommitRequestPartition {
                partition_index: partition.partition,
                committed_offset: committed.offset.0,
                committed_leader_epoch: committed.leader_epoch.0,
                committed_metadata: Some(Str::from(committed.metadata.as_str())),
                ..Default::default()
            };
            match topics.last_mut().filter(|topic| *topic.name == *partition.topic) {
                Some(topic) => topic.partitions.push(entry),
                None => topics.push(OffsetCommitRequestTopic {
                    name: Str::from(&*partition.topic),
                    partitions: vec![entry],
                }),
            }
        }
        OffsetCommitRequest {
            group_id: self.group_id.clone(),
            generation_id_or_member_epoch: committer.identity.generation,
            member_id: committer.identity.member_id.clone(),
            group_instance_id: committer.instance_id.clone().filter(|_| version >= 7),
            topics,
            ..Default::default()
        }
    }

    fn fetch_request(&self, partitions: &BTreeSet<TopicPartition>, version: i16) -> OffsetFetchRequest {
        use offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        };
        let mut topics: BTreeMap<&Arc<str>, Vec<i32>> = BTreeMap::new();
        for partition in partitions {
            topics.entry(&partition.topic).or_default().push(partition.partition);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| (Str::from(&**topic), partitions));
        // Offsets of transactions that are not decided yet are waited for (KIP-447).
        let require_stable = version >= 7;
        if version >= 8 {
            let topics =
                topics.map(|(name, partition_indexes)| OffsetFetchRequestTopics { name, partition_indexes });
            let group = OffsetFetchRequestGroup {
                group_id: self.group_id.clone(),
                topics: Some(topics.collect()),
                ..Default::default()
            };
            return OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() };
        }
        let topics =
            topics.map(|(name, partition_indexes)| OffsetFetchRequestTopic { name, partition_indexes });
        OffsetFetchRequest {
            group_id: self.group_id.clone(),
            topics: Some(topics.collect()),
            require_stable,
            ..Default::default()
        }
    }
}

fn commit_outcome(answer: &OffsetCommitResponse) -> Outcome<()> {
    for topic in &answer.topics {
        for partition in &topic.partitions {
            let code = ErrorCode::from_code(partition.error_code);
            match code {
                ErrorCode::None => {}
                ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId => {
                    return Outcome::Failed(OffsetsError::GroupRefused { code });
                }
                ErrorCode::RebalanceInProgress => return Outcome::Failed(OffsetsError::Rebalancing),
                code if code.is_retriable() && code != ErrorCode::UnknownTopicOrPartition => {
                    return Outcome::Again(code);
                }
                code => {
                    let partition = TopicPartition::new(&*topic.name, partition.partition_index);
                    return Outcome::Failed(OffsetsError::Refused { partition, code });
                }
            }
        }
    }
    Outcome::Done(())
}

fn fetch_outcome(answer: OffsetFetchResponse) -> Outcome<BTreeMap<TopicPartition, OffsetAndMetadata>> {
    let mut found = Vec::new();
    let mut top = answer.error_code;
    for topic in &answer.topics {
        for p in &topic.partitions {
            let at = (p.committed_offset, p.committed_leader_epoch, p.metadata.as_ref());
            found.push((&topic.name, p.partition_index, at, p.error_code));
        }
    }
    for group in &answer.groups {
        top = group.error_code;
        for topic in &group.topics {
            for p in &topic.partitions {
                let at = (p.committed_offset, p.committed_leader_epoch, p.metadata.as_ref());
                found.push((&topic.name, p.partition_index, at, p.error_code));
            }
        }
    }
    match ErrorCode::from_code(top) {
        ErrorCode::None => {}
        code if code.is_retriable() => return Outcome::Again(code),
        code => return Outcome::Failed(OffsetsError::GroupRefused { code }),
    }
    let mut committed = BTreeMap::new();
    for (topic, partition, (offset, epoch, metadata), code) in found {
        let partition = TopicPartition::new(&**topic, partition);
        match ErrorCode::from_code(code) {
            ErrorCode::None if offset < 0 => {}
            ErrorCode::None => {
                let metadata = metadata.map(|text| text.to_string()).unwrap_or_default();
                let (offset, leader_epoch) = (Offset(offset), LeaderEpoch(epoch));
                committed.insert(partition, OffsetAndMetadata { offset, leader_epoch, metadata });
            }
            code if code.is_retriable() && code != ErrorCode::UnknownTopicOrPartition => {
                return Outcome::Again(code);
            }
            code => return Outcome::Failed(OffsetsError::Refused { partition, code }),
        }
    }
    Outcome::Done(committed)
}
