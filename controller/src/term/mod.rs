//! One reign of a controller, from the election it won until it is fenced or its session ends.
//!
//! Each event is carried out alone and to its end, always in the same steps: read what may have
//! changed, decide, commit, take into memory what was committed, tell the brokers. Nothing here
//! knows sockets or clocks; see [`World`].

mod alter_partition;
mod brokers;
mod deletion;
mod departures;
mod elections;
mod eligibility;
mod notifications;
mod parents;
mod partitions;
mod producer_ids;
mod replicas;
mod shutdown;
mod stops;
mod takeover;
mod topics;

use std::collections::{BTreeMap, BTreeSet};

use client::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicPartition};
use client::znode::departure::Departure;
use client::znode::unclean_stop::{Concern, UncleanStop};

pub(crate) use self::elections::answer_each;
pub use self::elections::{PREFERRED, UNCLEAN, unknown_election_type};
use self::parents::Parents;
use crate::cluster::ClusterState;
use crate::plan::Batch;
use crate::standing::Standing;
use crate::world::{Event, Trouble, World};

/// What a controller is told by its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `unclean.leader.election.enable`, for topics that do not say.
    pub unclean_leader_election: bool,
    /// `delete.topic.enable`
    pub delete_topic: bool,
    /// `leader.imbalance.per.broker.percentage`
    pub leader_imbalance_per_broker_percentage: i32,
    /// `min.insync.replicas`, for topics that do not say.
    pub min_insync_replicas: usize,
}

impl Default for Settings {
    /// Kafka's defaults.
    fn default() -> Settings {
        Settings {
            unclean_leader_election: false,
            delete_topic: true,
            leader_imbalance_per_broker_percentage: 10,
            min_insync_replicas: 1,
        }
    }
}

/// A partition's replica on a broker.
type Replica = (TopicPartition, BrokerId);

/// See the module's doc.
#[derive(Debug)]
pub struct Term<W> {
    world: W,
    epoch: ControllerEpoch,
    settings: Settings,
    cluster: ClusterState,
    standing: Standing,
    /// Stops on which some partition still depends, as ZooKeeper has them.
    stops: BTreeMap<UncleanStop, Concern>,
    /// Whose lists of eligible replicas nobody else knew when it was looked last.
    unkept: BTreeSet<TopicPartition>,
    parents: Parents,
    /// Brokers that were just taken out of ISRs, as ZooKeeper has them.
    departures: BTreeMap<BrokerId, Departure>,
}

impl<W: World> Term<W> {
    pub fn epoch(&self) -> ControllerEpoch {
        self.epoch
    }

    pub fn cluster(&self) -> &ClusterState {
        &self.cluster
    }

    pub fn world(&self) -> &W {
        &self.world
    }

    /// Carries out what an event asks for. Trouble that is not final has left the rest undone,
    /// until the next event or controller takes it up.
    pub async fn handle(&mut self, event: Event) -> Result<(), Trouble> {
        if event.answers().is_some_and(|(broker, epoch)| !self.is_registered(broker, epoch)) {
            return Ok(());
        }
        match event {
            Event::BrokersChanged => self.brokers_changed().await,
            Event::TopicsChanged => self.topics_changed().await,
            Event::TopicChanged { topic, data } => self.topic_changed(&topic, &data).await,
            Event::DeletionsRequested => self.deletions_requested().await,
            Event::PreferredElectionRequested => self.preferred_election_requested().await,
            Event::ReassignmentRequested => self.reassignment_requested().await,
            Event::IsrsChanged => self.isrs_changed().await,
            Event::LogDirsFailed => self.log_dirs_failed().await,
            Event::LeadersDueForRebalance => self.rebalance_leaders().await,
            Event::ListsDue => self.keep_lasting_lists().await,
            Event::LeaderAndIsrAnswered { broker, roles, .. } => self.roles_answered(broker, &roles).await,
            Event::LogEndsAnswered { broker, ends, .. } => self.log_ends_answered(broker, ends).await,
            Event::ReplicasDeleted { broker, partitions, .. } => {
                self.replicas_deleted(broker, &partitions).await
            }
        }
    }

    /// What a former registration answered, after its process or its disk had ended perhaps, says nothing of this one.
    fn is_registered(&self, broker: BrokerId, epoch: BrokerEpoch) -> bool {
        self.cluster.brokers().get(&broker).is_some_and(|known| known.epoch == epoch)
    }

    fn send(&mut self, batch: Batch) {
        for (broker, request) in batch.into_requests(&self.cluster) {
            self.world.send(broker, request);
        }
    }

    /// Tells all brokers of these partitions; of none, just which brokers there are.
    fn send_metadata<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        let mut batch = Batch::default();
        batch.update_metadata(&self.cluster, self.cluster.brokers().keys().copied(), partitions);
        self.send(batch);
    }
}
