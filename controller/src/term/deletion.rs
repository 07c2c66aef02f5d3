//! Topics are deleted (`TopicDeletionManager.scala`): all replicas stop and delete, and only when
//! every one has said so does the topic leave ZooKeeper. A replica whose broker is away holds the
//! deletion up until it returns, lest it bring old records back under the same name.

use std::sync::Arc;

use client::ids::{BrokerId, TopicPartition};
use client::wire::ErrorCode;
use client::znode::{admin, config, partition, topic};

use super::{Replica, Term};
use crate::cluster::{PartitionState, ReplicaState};
use crate::world::{Rejection, Trouble, World, Write};

impl<W: World> Term<W> {
    pub(super) async fn deletions_requested(&mut self) -> Result<(), Trouble> {
        let requested: Vec<Arc<str>> =
            self.world.list(admin::DELETE_TOPICS).await?.into_iter().map(Arc::from).collect();
        if requested.iter().any(|topic| !self.cluster.has_topic(topic)) {
            // It may have been made a moment ago, and not be known yet.
            self.topics_changed().await?;
        }
        let deletable = |t: &Arc<str>| self.settings.delete_topic && self.cluster.has_topic(t);
        let (topics, refused): (Vec<Arc<str>>, Vec<Arc<str>>) = requested.into_iter().partition(deletable);
        for topic in &refused {
            let reason = match self.cluster.has_topic(topic) {
                true => "delete.topic.enable is false",
                false => "there is no such topic",
            };
            tracing::warn!(%topic, reason, "a request to delete a topic is dropped");
        }
        let drop_request = |topic: &Arc<str>| Write::Delete { path: admin::delete_topic_path(topic) };
        self.world.commit(refused.iter().map(drop_request).collect()).await?;
        if topics.is_empty() {
            return Ok(());
        }
        for topic in topics {
            if !self.cluster.is_to_delete(&topic) {
                tracing::info!(%topic, "the topic is to be deleted");
                self.cluster.queue_deletion(topic);
            }
        }
        self.resume_deletions().await
    }

    /// Brokers with replicas of these topics came back.
    pub(super) async fn resume_deletion_of(&mut self, topics: &[Arc<str>]) -> Result<(), Trouble> {
        for topic in topics {
            self.cluster.release_deletion(topic);
        }
        self.resume_deletions().await
    }

    /// Takes every deletion a step further, as far as it can go now.
    pub(super) async fn resume_deletions(&mut self) -> Result<(), Trouble> {
        let queued: Vec<Arc<str>> = self.cluster.to_delete().iter().cloned().collect();
        let (mut retry, mut start) = (Vec::new(), Vec::new());
        for topic in queued {
            let replicas = self.cluster.replicas_of(&topic);
            let states: Vec<_> = replicas.iter().map(|(p, id)| self.cluster.replica_state(p, *id)).collect();
            if states.iter().all(|&state| state == Some(ReplicaState::DeletionSuccessful)) {
                self.complete_deletion(&topic).await?;
                continue;
            }
            if states.contains(&Some(ReplicaState::DeletionStarted)) {
                continue;
            }
            if states.contains(&Some(ReplicaState::DeletionIneligible)) {
                retry.extend(self.cluster.replicas_in(&topic, ReplicaState::DeletionIneligible));
            }
            if !self.cluster.is_deletion_held(&topic) {
                start.push(topic);
            }
        }
        self.replicas_offline(retry).await?;
        self.start_deletions(start).await
    }

    async fn start_deletions(&mut self, topics: Vec<Arc<str>>) -> Result<(), Trouble> {
        if topics.is_empty() {
            return Ok(());
        }
        let mut partitions = Vec::new();
        for topic in &topics {
            let of_topic = self.cluster.partitions_of(topic);
            if self.cluster.start_deletion(topic) {
                self.set_offline(&of_topic);
                for partition in &of_topic {
                    self.cluster.set_partition_state(partition, PartitionState::NonExistent);
                }
            }
            partitions.extend(of_topic);
        }
        self.send_metadata(&partitions);

        let (mut alive, mut dead) = (Vec::new(), Vec::new());
        let mut held = Vec::new();
        for topic in topics {
            let before = dead.len();
            for (partition, broker) in self.cluster.replicas_of(&topic) {
                if !self.cluster.is_online(broker, &partition) {
                    dead.push((partition, broker));
                } else if self.cluster.replica_state(&partition, broker)
                    != Some(ReplicaState::DeletionSuccessful)
                {
                    alive.push((partition, broker));
                }
            }
            if dead.len() > before {
                held.push(topic);
            }
        }
        self.mark_ineligible(dead);
        self.replicas_offline(alive.clone()).await?;
        self.replicas_deletion_started(alive);
        for topic in held {
            tracing::info!(%topic, "the deletion waits for brokers that are away and hold replicas");
            self.cluster.hold_deletion(&topic);
        }
        Ok(())
    }

    /// Those that are deleted, or ineligible already, stay so.
    fn mark_ineligible(&mut self, replicas: Vec<Replica>) {
        let settled = |(p, id): &Replica| {
            let state = self.cluster.replica_state(p, *id);
            matches!(state, Some(ReplicaState::DeletionIneligible | ReplicaState::DeletionSuccessful))
        };
        let replicas = replicas.into_iter().filter(|replica| !settled(replica)).collect();
        self.replicas_deletion_ineligible(replicas);
    }

    /// A broker has answered a request to delete replicas.
    pub(super) async fn replicas_deleted(
        &mut self,
        broker: BrokerId,
        partitions: &[(TopicPartition, ErrorCode)],
    ) -> Result<(), Trouble> {
        // The broker says of a registration that it is over: as the one it is now, it is asked again when the
        // controller learns of it. Taken for a failure of that attempt, the topic would never go.
        let present = partitions.iter().filter(|(_, error)| *error != ErrorCode::StaleBrokerEpoch);
        let queued = present.filter(|(p, _)| self.cluster.is_to_delete(&p.topic));
        let (deleted, failed): (Vec<_>, Vec<_>) = queued.partition(|(_, error)| *error == ErrorCode::None);
        for (partition, error) in &failed {
            tracing::warn!(%partition, %broker, error = error.name(), "a broker could not delete its replica");
        }
        let replicas = |list: Vec<&(TopicPartition, ErrorCode)>| -> Vec<Replica> {
            list.into_iter().map(|(partition, _)| (partition.clone(), broker)).collect()
        };
        let (deleted, failed) = (replicas(deleted), replicas(failed));
        if !failed.is_empty() {
            self.deletion_failed(failed).await?;
        }
        if !deleted.is_empty() {
            self.replicas_deletion_successful(deleted);
            self.resume_deletions().await?;
        }
        Ok(())
    }

    pub(super) async fn deletion_failed(&mut self, replicas: Vec<Replica>) -> Result<(), Trouble> {
        for (partition, _) in &replicas {
            self.cluster.hold_deletion(&partition.topic);
        }
        self.mark_ineligible(replicas);
        self.resume_deletions().await
    }

    /// All replicas are gone: the topic leaves ZooKeeper, the request last.
    async fn complete_deletion(&mut self, topic: &Arc<str>) -> Result<(), Trouble> {
        self.world.unwatch_topic(topic);
        let replicas = self.cluster.replicas_in(topic, ReplicaState::DeletionSuccessful);
        self.replicas_gone(replicas);
        let numbers = self.world.list(&partition::partitions_path(topic)).await?;
        let numbers: Vec<i32> = numbers.iter().filter_map(|name| name.parse().ok()).collect();
        let states = numbers.iter().map(|&number| partition::state_path(topic, number));
        let partitions = numbers.iter().map(|&number| partition::path(topic, number));
        let topic_nodes = [partition::partitions_path(topic), topic::path(topic)];
        let config = config::ConfigEntity::Topic(topic.to_string()).path();
        let last = [config, admin::delete_topic_path(topic)];
        let lists = self.forget_standing(topic);
        let paths: Vec<String> =
            states.chain(partitions).chain(topic_nodes).chain(lists).chain(last).collect();
        let results =
            self.world.commit(paths.iter().cloned().map(|path| Write::Delete { path }).collect()).await?;
        for (path, result) in paths.into_iter().zip(results) {
            match result {
                Ok(_) | Err(Rejection::NoNode) => {}
                Err(reason) => tracing::error!(%topic, path, %reason, "a node of a deleted topic stays"),
            }
        }
        tracing::info!(%topic, "the topic is deleted");
        self.cluster.remove_topic(topic);
        Ok(())
    }
}
