//! Elections that somebody asks for, and those that spread leadership as assignments prefer it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::ids::{BrokerId, TopicPartition};
use client::wire::messages::elect_leaders_request::TopicPartitions;
use client::wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use client::wire::messages::{ElectLeadersRequest, ElectLeadersResponse};
use client::wire::{ErrorCode, Str};
use client::znode::admin;

use super::Term;
use super::partitions::{ElectionFailure, Strategy};
use crate::cluster::PartitionState;
use crate::election::{self, Unclean};
use crate::world::{Rejection, Trouble, World, Write};

/// Kafka's number of an election of the preferred leader.
pub const PREFERRED: i8 = 0;
/// And of one that may go by anybody's log.
pub const UNCLEAN: i8 = 1;

impl<W: World> Term<W> {
    /// `/admin/preferred_replica_election`, as tools before 2.4 write it. The node is deleted
    /// whatever comes of it: that tells the tool that it was taken up.
    pub(super) async fn preferred_election_requested(&mut self) -> Result<(), Trouble> {
        let path = admin::PREFERRED_REPLICA_ELECTION;
        let node = self.world.read(vec![path.to_owned()]).await?.into_iter().next().flatten();
        let named = node.map(|node| {
            admin::decode_election(&node.data).unwrap_or_else(|error| {
                tracing::warn!(%error, "a request for preferred leaders cannot be read and is dropped");
                Vec::new()
            })
        });
        if let Some(partitions) = named {
            tracing::info!(?partitions, "preferred leaders are asked for in ZooKeeper");
            let known =
                |p: &TopicPartition| self.cluster.has_partition(p) && !self.cluster.is_to_delete(&p.topic);
            let partitions =
                partitions.into_iter().filter(|p| known(p) && !self.is_led_by_preferred(p)).collect();
            self.bring_online(partitions, Strategy::Preferred).await?;
        }
        let delete = Write::Delete { path: path.to_owned() };
        match self.world.commit(vec![delete]).await?.into_iter().next() {
            Some(Err(reason)) if reason != Rejection::NoNode => {
                tracing::warn!(path, %reason, "the request stays in ZooKeeper");
            }
            _ => {}
        }
        Ok(())
    }

    fn is_led_by_preferred(&self, partition: &TopicPartition) -> bool {
        let leader = self.cluster.leadership(partition).map(|state| state.leader);
        leader.is_some() && leader == self.cluster.replicas(partition).first().copied()
    }

    /// Gives leadership back to preferred leaders, for brokers that miss more of it than
    /// `leader.imbalance.per.broker.percentage` allows.
    pub(super) async fn rebalance_leaders(&mut self) -> Result<(), Trouble> {
        if self
            .cluster
            .partitions()
            .any(|p| self.cluster.assignment(p).is_some_and(|a| a.is_being_reassigned()))
        {
            return Ok(());
        }
        let mut preferred_by: BTreeMap<BrokerId, Vec<&TopicPartition>> = BTreeMap::new();
        for partition in self.cluster.partitions().filter(|p| !self.cluster.is_to_delete(&p.topic)) {
            if let Some(&head) = self.cluster.replicas(partition).first() {
                preferred_by.entry(head).or_default().push(partition);
            }
        }
        let allowed = i64::from(self.settings.leader_imbalance_per_broker_percentage);
        let mut due = Vec::new();
        for (broker, partitions) in preferred_by {
            let led_by_another =
                |p: &TopicPartition| self.cluster.leadership(p).is_some_and(|state| state.leader != broker);
            let others = partitions.iter().filter(|p| led_by_another(p)).count();
            let percentage = 100 * others as i64;
            // Without a word of the controller it would not lead, and the old leader not any more.
            if percentage <= allowed * partitions.len() as i64 || !self.world.reaches(broker) {
                continue;
            }
            let movable = partitions.iter().filter(|p| led_by_another(p) && self.can_lead_again(p));
            let before = due.len();
            due.extend(movable.map(|p| (*p).clone()));
            if due.len() > before {
                let moved = due.len() - before;
                tracing::info!(
                    %broker, moved, of = partitions.len(), led_by_others = others,
                    "leadership returns to its preferred broker"
                );
            }
        }
        self.bring_online(due, Strategy::Preferred).await.map(drop)
    }

    fn can_lead_again(&self, partition: &TopicPartition) -> bool {
        let online = self.whole_replicas(partition);
        let assigned = self.cluster.replicas(partition);
        self.cluster
            .leadership(partition)
            .is_some_and(|now| election::preferred(assigned, now, &online).is_some())
    }

    /// `unclean.leader.election.enable` is true now, for a topic or for all that do not say.
    pub async fn unclean_election_allowed(&mut self, topic: Option<&str>) -> Result<(), Trouble> {
        let mut partitions = self.cluster.leaderless();
        partitions.retain(|p| topic.is_none_or(|topic| *p.topic == *topic));
        self.bring_online(partitions, Strategy::Offline(Unclean::Forbidden)).await.map(drop)
    }

    /// The default for topics that do not say otherwise.
    pub fn set_unclean_election_default(&mut self, allowed: bool) {
        self.settings.unclean_leader_election = allowed;
    }

    /// The ElectLeaders API.
    pub async fn elect_leaders(
        &mut self,
        request: &ElectLeadersRequest,
    ) -> Result<ElectLeadersResponse, Trouble> {
        let strategy = match request.election_type {
            PREFERRED => Strategy::Preferred,
            UNCLEAN => Strategy::Offline(Unclean::Allowed),
            _ => return Ok(unknown_election_type(request)),
        };
        let all = request.topic_partitions.is_none();
        let mut results: BTreeMap<TopicPartition, (ErrorCode, Option<Str>)> = BTreeMap::new();
        let mut due = Vec::new();
        for partition in self.named_in(request) {
            match self.objection(&partition, strategy) {
                Some((ErrorCode::ElectionNotNeeded, _)) if all => {}
                Some(objection) => drop(results.insert(partition, objection)),
                None => due.push(partition),
            }
        }
        for (partition, outcome) in self.bring_online(due, strategy).await? {
            let result = match outcome {
                Ok(()) => (ErrorCode::None, None),
                Err(failure) => refusal(&partition, strategy, &failure),
            };
            results.insert(partition, result);
        }
        Ok(ElectLeadersResponse {
            replica_election_results: by_topic(results),
            ..ElectLeadersResponse::default()
        })
    }

    fn named_in(&self, request: &ElectLeadersRequest) -> BTreeSet<TopicPartition> {
        match &request.topic_partitions {
            Some(topics) => named(topics).collect(),
            None => self.cluster.partitions().cloned().collect(),
        }
    }

    fn objection(&self, partition: &TopicPartition, strategy: Strategy) -> Option<(ErrorCode, Option<Str>)> {
        if !self.cluster.has_partition(partition) {
            let text = "The partition does not exist.";
            return Some((ErrorCode::UnknownTopicOrPartition, Some(text.into())));
        }
        if self.cluster.is_to_delete(&partition.topic) {
            return Some((ErrorCode::InvalidTopicException, Some("The topic is being deleted".into())));
        }
        let not_needed = match strategy {
            Strategy::Preferred => self.is_led_by_preferred(partition),
            Strategy::Offline(_) | Strategy::ControlledShutdown => {
                self.cluster.leadership(partition).is_some_and(|state| self.cluster.is_live(state.leader))
            }
        };
        not_needed
            .then(|| (ErrorCode::ElectionNotNeeded, Some(ErrorCode::ElectionNotNeeded.message().into())))
    }

    /// Whether the partition waits for a leader; for callers that only look.
    pub fn is_leaderless(&self, partition: &TopicPartition) -> bool {
        matches!(self.cluster.partition_state(partition), PartitionState::New | PartitionState::Offline)
    }
}

/// The answer to a request for elections of a type that there is not.
pub fn unknown_election_type(request: &ElectLeadersRequest) -> ElectLeadersResponse {
    let unknown = ErrorCode::UnknownServerError;
    ElectLeadersResponse { error_code: unknown.code(), ..answer_each(request, unknown) }
}

/// One error for all partitions that a request names; the one at the top is 0.
pub(crate) fn answer_each(request: &ElectLeadersRequest, error: ErrorCode) -> ElectLeadersResponse {
    let partitions = named(request.topic_partitions.as_deref().unwrap_or_default());
    ElectLeadersResponse {
        replica_election_results: by_topic(partitions.map(|partition| (partition, (error, None))).collect()),
        ..ElectLeadersResponse::default()
    }
}

fn named(topics: &[TopicPartitions]) -> impl Iterator<Item = TopicPartition> {
    topics.iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(&*topic.topic);
        topic.partitions.iter().map(move |&number| TopicPartition::new(Arc::clone(&name), number))
    })
}

/// Kafka names the strategy by its class.
fn refusal(
    partition: &TopicPartition,
    strategy: Strategy,
    failure: &ElectionFailure,
) -> (ErrorCode, Option<Str>) {
    let (code, class) = match strategy {
        Strategy::Preferred => {
            (ErrorCode::PreferredLeaderNotAvailable, "PreferredReplicaPartitionLeaderElectionStrategy")
        }
        Strategy::Offline(_) | Strategy::ControlledShutdown => {
            (ErrorCode::EligibleLeadersNotAvailable, "OfflinePartitionLeaderElectionStrategy(true)")
        }
    };
    match failure {
        ElectionFailure::NoCandidate { .. } | ElectionFailure::NoneOnline(_) => {
            let text = format!("Failed to elect leader for partition {partition} under strategy {class}");
            (code, Some(Str::from(text)))
        }
        other => (ErrorCode::UnknownServerError, Some(Str::from(other.to_string()))),
    }
}

fn by_topic(results: BTreeMap<TopicPartition, (ErrorCode, Option<Str>)>) -> Vec<ReplicaElectionResult> {
    let mut topics: Vec<ReplicaElectionResult> = Vec::new();
    for (partition, (error, error_message)) in results {
        let result =
            PartitionResult { partition_id: partition.partition, error_code: error.code(), error_message };
        match topics.last_mut() {
            Some(last) if *last.topic == *partition.topic => last.partition_result.push(result),
            _ => topics.push(ReplicaElectionResult {
                topic: Str::from(&*partition.topic),
                partition_result: vec![result],
            }),
        }
    }
    topics
}
