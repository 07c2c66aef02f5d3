//! Puts proposals about in-sync sets to the controller (AlterPartition, KIP-497).
//!
//! One request is in flight at a time and carries every open proposal. A proposal is asked again
//! until it is answered, or until a LeaderAndIsr made it void: an unknown outcome stays unknown,
//! and the partition counts both sets meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::connection::{Connection, ConnectionError};
use client::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicPartition, Uuid, ZkVersion};
use client::wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use client::wire::messages::alter_partition_response::PartitionData as PartitionAnswer;
use client::wire::messages::{AlterPartitionRequest, AlterPartitionResponse};
use client::wire::{ErrorCode, Str};
use tokio::sync::mpsc;

use crate::clock::Now;
use crate::cluster_view::{ClusterView, Endpoint};
use crate::control_fence::ControlFence;
use crate::hosted::Hosted;
use crate::partition::{IsrAnswer, Proposed};
use crate::peer;

/// The version with topic ids and replica epochs, of inter-broker protocol 3.5 and later.
const VERSION: i16 = 3;
/// The newest version that names topics, for topics without an id.
const VERSION_BY_NAME: i16 = 1;
/// Kafka waits as long before it repeats what failed for no reason it knows.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The task that asks. Ends when nobody can propose any more.
#[derive(Debug)]
pub(crate) struct IsrChannel {
    pub me: BrokerId,
    pub fence: Arc<ControlFence>,
    pub hosted: Arc<Hosted>,
    pub view: ClusterView,
    pub proposals: mpsc::UnboundedReceiver<Proposed>,
    /// `controller.socket.timeout.ms`
    pub timeout: Duration,
}

/// The connection to the controller of last time.
#[derive(Debug)]
struct Link {
    controller: BrokerId,
    at: Endpoint,
    connection: Connection,
}

/// What the next step is after an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Go,
    /// The controller is unknown or another one: the metadata will tell.
    FindController,
    RetryLater,
}

type Open = BTreeMap<TopicPartition, Proposed>;

impl IsrChannel {
    pub(crate) async fn run(mut self) {
        let mut open = Open::new();
        let mut link: Option<Link> = None;
        let mut failures = 0u32;
        loop {
            if open.is_empty() {
                let Some(first) = self.proposals.recv().await else { return };
                open.insert(first.partition.clone(), first);
            }
            while let Ok(next) = self.proposals.try_recv() {
                open.insert(next.partition.clone(), next);
            }
            self.drop_void(&mut open);
            if open.is_empty() {
                continue;
            }
            match self.attempt(&mut open, &mut link, failures).await {
                Next::Go => failures = 0,
                Next::RetryLater => tokio::time::sleep(RETRY_AFTER).await,
                Next::FindController => {
                    failures = failures.saturating_add(1);
                    link = None;
                    // Whatever changes in the metadata wakes this; the controller may also be the
                    // same one, which has only not taken over yet.
                    let _ = tokio::time::timeout(RETRY_AFTER, self.view.changed()).await;
                }
            }
        }
    }

    /// Forgets what a newer LeaderAndIsr has settled.
    fn drop_void(&self, open: &mut Open) {
        open.retain(|id, proposed| {
            self.hosted.get(id).is_some_and(|partition| partition.awaits(&proposed.proposal))
        });
    }

    async fn attempt(&self, open: &mut Open, link: &mut Option<Link>, failures: u32) -> Next {
        let Some((controller, endpoint)) = self.view.controller() else { return Next::FindController };
        let (request, version) = request(self.me, self.fence.registration(), open);
        let mut view = self.view.clone();
        let ask = async {
            let connection = self.connected(link, controller, &endpoint).await?;
            connection.send(&request, version).await
        };
        tokio::select! {
            answer = ask => match answer {
                Ok(answer) => self.answered(&answer, open, controller, version),
                Err(error) => {
                    if failures == 0 {
                        tracing::info!(%controller, %error, "no answer about in-sync sets; asking until there is one");
                    } else {
                        tracing::debug!(%controller, %error, failures, "no answer about in-sync sets");
                    }
                    Next::FindController
                }
            },
            // The answer of a controller that was replaced may never come.
            () = view.controller_is_not(controller) => Next::FindController,
        }
    }

    async fn connected(
        &self,
        link: &mut Option<Link>,
        controller: BrokerId,
        endpoint: &Endpoint,
    ) -> Result<Connection, ConnectionError> {
        if let Some(link) = link.as_ref().filter(|link| link.controller == controller && link.at == *endpoint)
        {
            return Ok(link.connection.clone());
        }
        let connection = peer::connect(endpoint, &self.client_id(), self.timeout).await?;
        *link = Some(Link { controller, at: endpoint.clone(), connection: connection.clone() });
        Ok(connection)
    }

    fn client_id(&self) -> String {
        format!("broker-{}-to-controller-alter-partition-channel-manager", self.me)
    }

    fn answered(
        &self,
        answer: &AlterPartitionResponse,
        open: &mut Open,
        controller: BrokerId,
        version: i16,
    ) -> Next {
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {}
            ErrorCode::NotController => return Next::FindController,
            error => {
                tracing::warn!(%controller, error = error.name(), "the controller refused to hear about in-sync sets");
                return Next::RetryLater;
            }
        }
        let mut next = Next::Go;
        for (id, answer) in answers(answer, open, version) {
            match self.settle(&id, &answer, open) {
                Next::Go => {}
                other => next = other,
            }
        }
        match next {
            Next::Go if !open.is_empty() => Next::RetryLater,
            next => next,
        }
    }

    /// Applies one partition's answer; what is settled leaves `open`.
    fn settle(&self, id: &TopicPartition, answer: &PartitionAnswer, open: &mut Open) -> Next {
        let Some(proposed) = open.get(id) else { return Next::Go };
        let proposal = &proposed.proposal;
        let outcome = match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => IsrAnswer::Written {
                leader_epoch: LeaderEpoch(answer.leader_epoch),
                isr: answer.isr.iter().copied().map(BrokerId).collect(),
                partition_epoch: ZkVersion(answer.partition_epoch),
            },
            ErrorCode::OperationNotAttempted | ErrorCode::IneligibleReplica => {
                tracing::info!(partition = %id, isr = ?proposal.isr, "the controller finds a replica ineligible");
                IsrAnswer::Refused
            }
            error @ (ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::InvalidUpdateVersion
            | ErrorCode::InvalidRequest
            | ErrorCode::NewLeaderElected) => {
                tracing::info!(
                    partition = %id, isr = ?proposal.isr, error = error.name(),
                    "the controller knows the partition otherwise; waiting to be told"
                );
                open.remove(id);
                return Next::Go;
            }
            ErrorCode::NotController => return Next::FindController,
            error => {
                tracing::info!(partition = %id, isr = ?proposal.isr, error = error.name(), "asking again");
                return Next::RetryLater;
            }
        };
        if let Some(partition) = self.hosted.get(id) {
            partition.isr_answered(proposal, &outcome, Now::read());
        }
        open.remove(id);
        Next::Go
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
        data.new_isr_with_epochs =
            proposal.isr.iter().map(|id| BrokerState { broker_id: id.0, broker_epoch: -1 }).collect();
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
