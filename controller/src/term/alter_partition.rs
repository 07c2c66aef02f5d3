//! Leaders ask for another ISR (AlterPartition); `isr` decides, here it is written and answered.

use std::sync::Arc;

use client::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicPartition, Uuid, ZkVersion};
use client::wire::messages::alter_partition_request::{PartitionData as Asked, TopicData as AskedTopic};
use client::wire::messages::alter_partition_response::{PartitionData, TopicData};
use client::wire::messages::{AlterPartitionRequest, AlterPartitionResponse};
use client::wire::{ErrorCode, Str};

use super::Term;
use super::partitions::{ElectionFailure, Outcomes};
use crate::cluster::{Leadership, Recovery};
use crate::isr::{self, IsrChange, Refusal, Verdict};
use crate::standing::Cause;
use crate::world::{Rejection, Trouble, World};

/// Topics are named by id from this version on (KIP-841).
const FIRST_WITH_TOPIC_IDS: i16 = 2;

/// One asked-for partition, with what has become of it so far.
struct Item {
    /// `None`: the topic's id is not known.
    partition: Option<TopicPartition>,
    index: i32,
    verdict: Result<Verdict, ErrorCode>,
}

impl<W: World> Term<W> {
    pub async fn alter_partition(
        &mut self,
        request: &AlterPartitionRequest,
        version: i16,
    ) -> Result<AlterPartitionResponse, Trouble> {
        if let Err(error) = self.check_sender(request) {
            let error_code = error.code();
            return Ok(AlterPartitionResponse { error_code, ..AlterPartitionResponse::default() });
        }
        self.forget_settled_stops().await?;
        let mut topics: Vec<(Str, Uuid, Vec<Item>)> = Vec::new();
        for topic in &request.topics {
            let name = self.name_of(topic, version);
            let judge = |asked: &Asked| self.judge(request, name.as_ref(), asked, version);
            let items = topic.partitions.iter().map(judge).collect();
            topics.push((topic.topic_name.clone(), topic.topic_id, items));
        }
        self.write_verdicts(topics.iter_mut().flat_map(|(_, _, items)| items)).await?;
        let asked: Vec<TopicPartition> =
            topics.iter().flat_map(|(_, _, items)| items).filter_map(|item| item.partition.clone()).collect();
        self.send_metadata(&asked);
        let topics = topics.into_iter().map(|(topic_name, topic_id, items)| TopicData {
            topic_name,
            topic_id,
            partitions: items.into_iter().map(answer).collect(),
        });
        Ok(AlterPartitionResponse { topics: topics.collect(), ..AlterPartitionResponse::default() })
    }

    /// A leader has to send under its present registration.
    fn check_sender(&self, request: &AlterPartitionRequest) -> Result<(), ErrorCode> {
        let (id, epoch) = (BrokerId(request.broker_id), BrokerEpoch(request.broker_epoch));
        let known = self.cluster.brokers().get(&id).map(|broker| broker.epoch);
        if known != Some(epoch) {
            tracing::warn!(broker = %id, %epoch, ?known, "ISR changes refused: the broker is registered otherwise");
            return Err(ErrorCode::StaleBrokerEpoch);
        }
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        match partitions.into_iter().all(|p| Recovery::from_code(p.leader_recovery_state).is_some()) {
            true => Ok(()),
            false => Err(ErrorCode::UnknownServerError),
        }
    }

    fn name_of(&self, topic: &AskedTopic, version: i16) -> Option<Arc<str>> {
        match version < FIRST_WITH_TOPIC_IDS {
            true => Some(Arc::from(&*topic.topic_name)),
            false => self.cluster.topic_name(topic.topic_id).cloned(),
        }
    }

    fn judge(
        &self,
        request: &AlterPartitionRequest,
        topic: Option<&Arc<str>>,
        asked: &Asked,
        version: i16,
    ) -> Item {
        let index = asked.partition_index;
        let Some(topic) = topic else {
            return Item { partition: None, index, verdict: Err(ErrorCode::UnknownTopicId) };
        };
        let partition = TopicPartition::new(topic.clone(), index);
        let change = change(request, asked);
        let verdict = isr::judge(&self.cluster, &partition, &change, self.epoch).map_err(|reason| {
            let sender = change.sender;
            let isr: Vec<BrokerId> = change.isr.iter().map(|(id, _)| *id).collect();
            tracing::info!(%partition, leader = %sender, ?isr, %reason, "ISR change refused");
            error_code(&reason, version)
        });
        Item { partition: Some(partition), index, verdict }
    }

    async fn write_verdicts<'a>(&mut self, items: impl Iterator<Item = &'a mut Item>) -> Result<(), Trouble> {
        let mut items: Vec<&mut Item> =
            items.filter(|item| matches!(item.verdict, Ok(Verdict::Write(_)))).collect();
        let decided = items.iter().filter_map(|item| match (&item.partition, &item.verdict) {
            (Some(partition), Ok(Verdict::Write(state))) => Some((partition.clone(), state.clone())),
            _ => None,
        });
        let mut outcomes = Outcomes::new();
        let (written, overtaken) = self.write_states(decided.collect(), Cause::Leader, &mut outcomes).await?;
        self.refresh(&overtaken, &mut Outcomes::new()).await?;
        for item in &mut items {
            let Some(partition) = &item.partition else { continue };
            item.verdict = match self.cluster.leadership(partition) {
                Some(now) if written.contains(partition) => Ok(Verdict::Unchanged(now.clone())),
                _ if overtaken.contains(partition) => Err(ErrorCode::InvalidUpdateVersion),
                _ => Err(match outcomes.get(partition) {
                    Some(Err(ElectionFailure::NotWritten(Rejection::NoNode))) => {
                        ErrorCode::UnknownTopicOrPartition
                    }
                    _ => ErrorCode::UnknownServerError,
                }),
            };
        }
        Ok(())
    }
}

fn change(request: &AlterPartitionRequest, asked: &Asked) -> IsrChange {
    // Version 3 names the members' epochs; only one of the lists is filled.
    let plain = asked.new_isr.iter().map(|&id| (BrokerId(id), BrokerEpoch(-1)));
    let with_epochs = asked
        .new_isr_with_epochs
        .iter()
        .map(|member| (BrokerId(member.broker_id), BrokerEpoch(member.broker_epoch)));
    IsrChange {
        sender: BrokerId(request.broker_id),
        leader_epoch: LeaderEpoch(asked.leader_epoch),
        isr: plain.chain(with_epochs).collect(),
        recovery: Recovery::from_code(asked.leader_recovery_state).unwrap_or_default(),
        partition_epoch: ZkVersion(asked.partition_epoch),
    }
}

fn error_code(refusal: &Refusal, version: i16) -> ErrorCode {
    match refusal {
        Refusal::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        Refusal::ControllerBehind { .. } => ErrorCode::NotController,
        Refusal::Fenced { .. } => ErrorCode::FencedLeaderEpoch,
        Refusal::OldVersion { .. } => ErrorCode::InvalidUpdateVersion,
        Refusal::NotLeader { .. }
        | Refusal::LeaderLeftOut { .. }
        | Refusal::Repeated(_)
        | Refusal::NotAssigned(_)
        | Refusal::Recovery => ErrorCode::InvalidRequest,
        Refusal::Ineligible(_) if version < FIRST_WITH_TOPIC_IDS => ErrorCode::OperationNotAttempted,
        Refusal::Ineligible(_) => ErrorCode::IneligibleReplica,
    }
}

fn answer(item: Item) -> PartitionData {
    match item.verdict {
        Ok(Verdict::Unchanged(state) | Verdict::Write(state)) => granted(item.index, &state),
        Err(error) => PartitionData {
            partition_index: item.index,
            error_code: error.code(),
            ..PartitionData::default()
        },
    }
}

fn granted(partition_index: i32, state: &Leadership) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: ErrorCode::None.code(),
        leader_id: state.leader.0,
        leader_epoch: state.leader_epoch.0,
        isr: state.isr.iter().map(|id| id.0).collect(),
        leader_recovery_state: state.recovery.code(),
        partition_epoch: state.partition_epoch.0,
    }
}
