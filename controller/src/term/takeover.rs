//! From winning the election to reigning (`KafkaController.onControllerFailover`): everything is
//! read, every broker hears of the others before it hears whom to follow, and what the last
//! controller left undone is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::ids::{ControllerEpoch, TopicPartition};
use client::znode::{admin, topic};

use super::parents::Parents;
use super::{Replica, Settings, Term};
use crate::cluster::{ClusterState, PartitionState, ReplicaState};
use crate::standing::Standing;
use crate::store;
use crate::world::{Trouble, World};

impl<W: World> Term<W> {
    /// Takes over. Trouble that is not final means that this broker cannot reign; it must give the
    /// election up then.
    pub async fn take_over(world: W, epoch: ControllerEpoch, settings: Settings) -> Result<Term<W>, Trouble> {
        let mut term = Term {
            world,
            epoch,
            settings,
            cluster: ClusterState::default(),
            standing: Standing::default(),
            stops: BTreeMap::new(),
            unkept: BTreeSet::new(),
            parents: Parents::default(),
            departures: BTreeMap::new(),
        };
        term.drop_notifications().await?;
        term.load().await?;
        term.queue_deletions().await?;
        // Kafka's tells of the brokers alone here, upon which those that have just started deny all topics for a moment.
        let partitions: Vec<TopicPartition> = term.cluster.partitions().cloned().collect();
        term.send_metadata(&partitions);
        term.start_replicas().await?;
        term.start_partitions().await?;
        term.resume_deletions().await?;
        term.preferred_election_requested().await?;
        Ok(term)
    }

    async fn load(&mut self) -> Result<(), Trouble> {
        for (id, broker) in store::brokers(&self.world).await? {
            self.world.connect(id, &broker);
            self.cluster.put_broker(id, broker);
        }
        let stops = store::unclean_stops(&self.world).await?;
        let names = self.world.list(topic::TOPICS).await?.into_iter().map(Arc::from).collect();
        let topics = store::topics(&self.world, names).await?;
        let count = topics.len();
        let partitions = self.learn_topics(topics).await?;
        for (partition, state) in store::states(&self.world, partitions.clone()).await? {
            self.cluster.put_leadership(&partition, state);
        }
        self.parents = Parents::read(&self.world).await?;
        self.load_eligible().await?;
        self.load_departures().await?;
        // Before anybody hears whom to follow.
        self.set_tail_losers_aside(stops).await?;
        tracing::info!(
            epoch = %self.epoch, brokers = ?self.cluster.brokers().keys().collect::<Vec<_>>(),
            topics = count, partitions = partitions.len(), "the controller has read the cluster"
        );
        let reassigned = |p: &&TopicPartition| {
            self.cluster.assignment(p).is_some_and(|assignment| assignment.is_being_reassigned())
        };
        let reassigned: Vec<&TopicPartition> = self.cluster.partitions().filter(reassigned).collect();
        if !reassigned.is_empty() {
            tracing::warn!(
                partitions = ?reassigned,
                "reassignments are under way that this controller does not carry on; replicas stay as they are"
            );
        }
        Ok(())
    }

    async fn queue_deletions(&mut self) -> Result<(), Trouble> {
        let requested: BTreeSet<Arc<str>> =
            self.world.list(admin::DELETE_TOPICS).await?.into_iter().map(Arc::from).collect();
        for topic in requested {
            if self.cluster.has_topic(&topic) && self.settings.delete_topic {
                self.cluster.queue_deletion(topic.clone());
                let offline = |(p, id): &Replica| !self.cluster.is_online(*id, p);
                if self.cluster.replicas_of(&topic).iter().any(offline)
                    || self.cluster.is_any_being_reassigned(&topic)
                {
                    self.cluster.hold_deletion(&topic);
                }
            }
        }
        Ok(())
    }

    async fn start_replicas(&mut self) -> Result<(), Trouble> {
        let partitions: Vec<TopicPartition> = self.cluster.partitions().cloned().collect();
        let (online, offline): (Vec<Replica>, Vec<Replica>) =
            self.replicas_of(&partitions).into_iter().partition(|(p, id)| self.cluster.is_online(*id, p));
        for (partition, broker) in &online {
            self.cluster.set_replica_state(partition, *broker, ReplicaState::Online);
        }
        for (partition, broker) in &offline {
            self.cluster.set_replica_state(partition, *broker, ReplicaState::DeletionIneligible);
        }
        self.replicas_online(online);
        self.replicas_offline(offline).await
    }

    async fn start_partitions(&mut self) -> Result<(), Trouble> {
        let partitions: Vec<TopicPartition> = self.cluster.partitions().cloned().collect();
        for partition in partitions {
            let state = match self.cluster.leadership(&partition) {
                None => PartitionState::New,
                Some(state) if self.cluster.is_online(state.leader, &partition) => PartitionState::Online,
                Some(_) => PartitionState::Offline,
            };
            self.cluster.set_partition_state(&partition, state);
        }
        self.elect_for_leaderless().await
    }
}
