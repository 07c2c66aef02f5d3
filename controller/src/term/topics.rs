//! Topics and partitions appear (`KafkaController.processTopicChange`, `processPartitionModifications`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::ids::{TopicPartition, Uuid};
use client::znode::topic::{self, TopicAssignment};

use super::Term;
use super::partitions::Strategy;
use crate::cluster::PartitionState;
use crate::election::Unclean;
use crate::store;
use crate::world::{Rejection, Trouble, World, Write};

impl<W: World> Term<W> {
    pub(super) async fn topics_changed(&mut self) -> Result<(), Trouble> {
        let listed: BTreeSet<Arc<str>> =
            self.world.list(topic::TOPICS).await?.into_iter().map(Arc::from).collect();
        let gone: Vec<Arc<str>> = self.cluster.topics().filter(|t| !listed.contains(*t)).cloned().collect();
        for topic in gone {
            tracing::warn!(%topic, "the topic's node was removed by somebody else; the topic is forgotten");
            self.forget_topic(&topic);
        }
        let new: Vec<Arc<str>> = listed.into_iter().filter(|t| !self.cluster.has_topic(t)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let found = store::topics(&self.world, new).await?;
        let partitions = self.learn_topics(found).await?;
        self.create_partitions(partitions).await
    }

    pub(super) fn forget_topic(&mut self, topic: &Arc<str>) {
        self.world.unwatch_topic(topic);
        // Their nodes are left to the next controller, as whatever else belongs to no partition.
        self.forget_standing(topic);
        self.cluster.remove_topic(topic);
    }

    /// Takes topics into memory; those that have no id get one. Returns their partitions.
    pub(super) async fn learn_topics(
        &mut self,
        topics: BTreeMap<Arc<str>, TopicAssignment>,
    ) -> Result<Vec<TopicPartition>, Trouble> {
        let mut without_id = Vec::new();
        let mut learned = Vec::new();
        for (topic, assignment) in topics {
            self.world.watch_topic(&topic);
            if assignment.topic_id.is_none() {
                without_id.push(topic.clone());
            }
            self.cluster.put_topic(topic.clone(), assignment.topic_id);
            learned.extend(self.learn_partitions(&topic, assignment.partitions));
        }
        self.give_ids(without_id).await?;
        Ok(learned)
    }

    /// Tools older than 2.8 write topics without an id, or drop the one there was. Replicas keep
    /// to the id they have (KIP-516), so a known one is put back and only a new topic gets a new one.
    /// The rest of a node is written as it was read, at the version it was read at.
    async fn give_ids(&mut self, topics: Vec<Arc<str>>) -> Result<(), Trouble> {
        let mut open = topics;
        while !open.is_empty() {
            let nodes = self.world.read(open.iter().map(|t| topic::path(t)).collect()).await?;
            let (mut given, mut writes) = (Vec::new(), Vec::new());
            for (topic, node) in open.into_iter().zip(nodes) {
                let Some(node) = node else { continue };
                let mut assignment = store::decode_topic(&topic, &node.data);
                if assignment.topic_id.is_some() {
                    self.cluster.put_topic(topic, assignment.topic_id);
                    continue;
                }
                let id = self.id_for(&topic);
                assignment.topic_id = Some(id);
                let (path, data) = (topic::path(&topic), assignment.encode());
                writes.push(Write::Set { path, data, version: Some(node.version) });
                given.push((topic, id));
            }
            open = Vec::new();
            let results = self.world.commit(writes).await?;
            for ((topic, id), result) in given.into_iter().zip(results) {
                match result {
                    Ok(_) => self.cluster.put_topic(topic, Some(id)),
                    Err(Rejection::BadVersion) => open.push(topic),
                    Err(reason) => tracing::warn!(%topic, %reason, "the topic's id could not be written"),
                }
            }
        }
        Ok(())
    }

    fn id_for(&mut self, topic: &str) -> Uuid {
        let known = self.cluster.topic_id(topic).or_else(|| self.world.remembered_topic_id(topic));
        match known {
            Some(id) => {
                tracing::warn!(topic, %id, "the topic's node lost its id; it is put back");
                id
            }
            None => {
                let id = self.world.new_topic_id();
                tracing::info!(topic, %id, "the topic has no id yet; it gets one");
                id
            }
        }
    }

    /// New partitions go through all states up to having a leader.
    async fn create_partitions(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Trouble> {
        if partitions.is_empty() {
            return Ok(());
        }
        for partition in &partitions {
            self.cluster.set_partition_state(partition, PartitionState::New);
        }
        let replicas = self.replicas_of(&partitions);
        self.replicas_new(replicas.clone());
        self.bring_online(partitions, Strategy::Offline(Unclean::Forbidden)).await?;
        self.replicas_online(replicas);
        Ok(())
    }

    /// A topic's node changed. Only added partitions are acted on; the replicas of those known are
    /// as they are in memory. A topic being deleted gets no more partitions.
    pub(super) async fn topic_changed(&mut self, topic: &Arc<str>, data: &[u8]) -> Result<(), Trouble> {
        if !self.cluster.has_topic(topic) {
            return Ok(());
        }
        let assignment = store::decode_topic(topic, data);
        if assignment.topic_id.is_none() {
            self.give_ids(vec![topic.clone()]).await?;
        }
        let known = |number: &i32| self.cluster.has_partition(&TopicPartition::new(topic.clone(), *number));
        let added: BTreeMap<_, _> =
            assignment.partitions.into_iter().filter(|(number, _)| !known(number)).collect();
        if added.is_empty() {
            return Ok(());
        }
        if self.cluster.is_to_delete(topic) {
            return self.restore_assignment(topic).await;
        }
        let partitions = self.learn_partitions(topic, added);
        tracing::info!(%topic, added = partitions.len(), "partitions were added");
        self.create_partitions(partitions).await
    }

    async fn restore_assignment(&mut self, topic: &Arc<str>) -> Result<(), Trouble> {
        tracing::warn!(%topic, "partitions were added to a topic that is being deleted; the old list is put back");
        let known = self.cluster.partitions_of(topic).into_iter();
        let partitions =
            known.map(|p| (p.partition, self.cluster.assignment(&p).cloned().unwrap_or_default()));
        let assignment =
            TopicAssignment { topic_id: self.cluster.topic_id(topic), partitions: partitions.collect() };
        let write = Write::Set { path: topic::path(topic), data: assignment.encode(), version: None };
        self.world.commit(vec![write]).await.map(drop)
    }
}
