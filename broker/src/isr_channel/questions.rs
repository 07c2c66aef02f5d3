//! The open questions about in-sync sets, and what the controller's answers do to them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicPartition, Uuid, ZkVersion};
use client::wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use client::wire::messages::alter_partition_response::PartitionData as PartitionAnswer;
use client::wire::messages::{AlterPartitionRequest, AlterPartitionResponse};
use client::wire::{ErrorCode, Str};

use crate::partition::leader::IsrChange;
use crate::partition::{IsrAnswer, Proposed};

/// The version with topic ids and replica epochs, of inter-broker protocol 3.5 and later.
const VERSION: i16 = 3;
/// The newest version that names topics, for topics without an id.
const VERSION_BY_NAME: i16 = 1;

/// What the next step is after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Go,
    /// The controller is unknown or another one: the metadata will tell.
    FindController,
    RetryLater,
}

/// What became of one question.
enum Fate {
    Settled(IsrAnswer),
    /// The controller knows the partition otherwise, and will tell.
    Void,
    Open(Next),
}

type Open = BTreeMap<TopicPartition, Proposed>;

/// The proposals nobody has answered yet, at most one a partition.
#[derive(Debug, Default)]
pub struct Questions {
    open: Open,
}

impl Questions {
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The partition's question from now on.
    pub fn add(&mut self, proposed: Proposed) {
        self.open.insert(proposed.partition.clone(), proposed);
    }

    /// Forgets what a newer LeaderAndIsr has settled.
    pub fn drop_void(&mut self, is_awaited: impl Fn(&Proposed) -> bool) {
        self.open.retain(|_, proposed| is_awaited(proposed));
    }

    /// The request with every open question, and its version.
    pub fn request(&self, me: BrokerId, epoch: BrokerEpoch) -> (AlterPartitionRequest, i16) {
        request(me, epoch, &self.open)
    }

    /// Takes the answer to a request of this version; what is settled is told and not asked again.
    pub fn answered(
        &mut self,
        answer: &AlterPartitionResponse,
        version: i16,
        mut settled: impl FnMut(&Proposed, IsrAnswer),
    ) -> Next {
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {}
            ErrorCode::NotController => return Next::FindController,
            _ => return Next::RetryLater,
        }
        let mut next = Next::Go;
        for (id, answer) in answers(answer, &self.open, version) {
            let Some(proposed) = self.open.get(&id) else { continue };
            match fate(proposed, &answer) {
                Fate::Open(other) => {
                    next = other;
                    continue;
                }
                Fate::Void => {}
                Fate::Settled(outcome) => settled(proposed, outcome),
            }
            self.open.remove(&id);
        }
        match next {
            Next::Go if !self.open.is_empty() => Next::RetryLater,
            next => next,
        }
    }
}

fn fate(proposed: &Proposed, answer: &PartitionAnswer) -> Fate {
    let (id, isr) = (&proposed.partition, &proposed.proposal.isr);
    match ErrorCode::from_code(answer.error_code) {
        ErrorCode::None => Fate::Settled(IsrAnswer::Written {
            leader_epoch: LeaderEpoch(answer.leader_epoch),
            isr: answer.isr.iter().copied().map(BrokerId).collect(),
            partition_epoch: ZkVersion(answer.partition_epoch),
        }),
        ErrorCode::OperationNotAttempted | ErrorCode::IneligibleReplica => {
            tracing::info!(partition = %id, ?isr, "the controller finds a replica ineligible");
            Fate::Settled(IsrAnswer::Refused)
        }
        error @ (ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::InvalidUpdateVersion
        | ErrorCode::InvalidRequest
        | ErrorCode::NewLeaderElected) => {
            tracing::info!(
                partition = %id, ?isr, error = error.name(),
                "the controller knows the partition otherwise; waiting to be told"
            );
            Fate::Void
        }
        ErrorCode::NotController => Fate::Open(Next::FindController),
        error => {
            tracing::info!(partition = %id, ?isr, error = error.name(), "asking again");
            Fate::Open(Next::RetryLater)
        }
    }
}

fn request(me: BrokerId, epoch: BrokerEpoch, open: &Open) -> (AlterPartitionRequest, i16) {
    let by_id = open.values().all(|proposed| !proposed.topic_id.is_zero());
    let version = if by_id { VERSION } else { VERSION_BY_NAME };
    let mut topics: Vec<TopicData> = Vec::new();
    for proposed in open.values() {
        let name: &str = &proposed.partition.topic;
        // Partitions come in the order of their topics.
        if topics.last().is_none_or(|topic| topic.topic_name != *name) {
            topics.push(TopicData {
                topic_name: Str::from(name),
                topic_id: if by_id { proposed.topic_id } else { Uuid::ZERO },
                ..TopicData::default()
            });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(partition_data(proposed, version));
        }
    }
    (AlterPartitionRequest { broker_id: me.0, broker_epoch: epoch.0, topics }, version)
}

fn partition_data(proposed: &Proposed, version: i16) -> PartitionData {
    let proposal = &proposed.proposal;
    let mut data = PartitionData {
        partition_index: proposed.partition.partition,
        leader_epoch: proposal.leader_epoch.0,
        partition_epoch: proposal.partition_epoch.0,
        ..PartitionData::default()
    };
    if version >= VERSION {
        let member = |id: &BrokerId| {
            let broker_epoch = match proposal.why {
                IsrChange::Expand(joins, registration) if joins == *id => registration.0,
                _ => -1,
            };
            BrokerState { broker_id: id.0, broker_epoch }
        };
        data.new_isr_with_epochs = proposal.isr.iter().map(member).collect();
    } else {
        data.new_isr = proposal.isr.iter().map(|id| id.0).collect();
    }
    data
}

/// The answers, by the partitions asked about.
fn answers(
    answer: &AlterPartitionResponse,
    open: &Open,
    version: i16,
) -> Vec<(TopicPartition, PartitionAnswer)> {
    let names: BTreeMap<Uuid, &TopicPartition> =
        open.iter().map(|(id, proposed)| (proposed.topic_id, id)).collect();
    let mut found = Vec::new();
    for topic in &answer.topics {
        let name: Option<Arc<str>> = if version > VERSION_BY_NAME {
            names.get(&topic.topic_id).map(|id| Arc::clone(&id.topic))
        } else {
            Some(Arc::from(&*topic.topic_name))
        };
        let Some(name) = name else { continue };
        for partition in &topic.partitions {
            found
                .push((TopicPartition::new(Arc::clone(&name), partition.partition_index), partition.clone()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::leader::IsrProposal;

    #[test]
    fn who_joins_is_named_with_the_registration_it_fetched_under() {
        let (one, two) = (BrokerId(1), BrokerId(2));
        let asked = |why| {
            let proposal = IsrProposal {
                leader_epoch: LeaderEpoch(3),
                partition_epoch: ZkVersion(6),
                isr: vec![one, two],
                why,
            };
            let mut questions = Questions::default();
            let partition = TopicPartition::new("t", 0);
            questions.add(Proposed { partition, topic_id: Uuid([7; 16]), proposal });
            let (request, version) = questions.request(one, BrokerEpoch(11));
            let members = &request.topics[0].partitions[0].new_isr_with_epochs;
            (
                version,
                members.iter().map(|member| (member.broker_id, member.broker_epoch)).collect::<Vec<_>>(),
            )
        };
        assert_eq!(asked(IsrChange::Expand(two, BrokerEpoch(22))), (3, vec![(1, -1), (2, 22)]));
        assert_eq!(asked(IsrChange::Shrink(vec![BrokerId(3)])), (3, vec![(1, -1), (2, -1)]));
    }
}
