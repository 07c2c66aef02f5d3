//! Replicas come and go (`ReplicaStateMachine.scala`).

use std::collections::BTreeMap;

use client::ids::{BrokerId, TopicPartition};

use super::partitions::Outcomes;
use super::{Replica, Term};
use crate::cluster::{Assignment, Leadership, ReplicaState};
use crate::election;
use crate::plan::Batch;
use crate::standing::Cause;
use crate::states::replica_may;
use crate::world::{Trouble, World};

impl<W: World> Term<W> {
    /// Replicas of partitions that were just found. They hear of it with the first leader.
    pub(super) fn replicas_new(&mut self, replicas: Vec<Replica>) {
        for (partition, broker) in self.those_that_may(replicas, Some(ReplicaState::New)) {
            self.cluster.set_replica_state(&partition, broker, ReplicaState::New);
        }
    }

    /// Replicas whose broker is there now are told their role, unless they are new and know it.
    pub(super) fn replicas_online(&mut self, replicas: Vec<Replica>) {
        let mut batch = Batch::default();
        for (partition, broker) in self.those_that_may(replicas, Some(ReplicaState::Online)) {
            if self.cluster.replica_state(&partition, broker) != Some(ReplicaState::New) {
                batch.leader_and_isr(&self.cluster, &[broker], &partition, false);
            } else if !self.cluster.replicas(&partition).contains(&broker) {
                let mut assignment = self.cluster.assignment(&partition).cloned().unwrap_or_default();
                assignment.replicas.push(broker);
                self.cluster.put_assignment(partition.clone(), assignment);
            }
            self.cluster.set_replica_state(&partition, broker, ReplicaState::Online);
        }
        self.send(batch);
    }

    /// Replicas that are gone, or are to go, stop and leave the ISR; the others of the partition
    /// are told. Nobody is told of a topic being deleted.
    pub(super) async fn replicas_offline(&mut self, replicas: Vec<Replica>) -> Result<(), Trouble> {
        let mut batch = Batch::default();
        let mut by_broker: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
        for (partition, broker) in self.those_that_may(replicas, Some(ReplicaState::Offline)) {
            by_broker.entry(broker).or_default().push(partition);
        }
        for (broker, partitions) in by_broker {
            for partition in &partitions {
                batch.stop_replica(&self.cluster, broker, partition, false);
            }
            self.remove_from_isrs(broker, partitions, &mut batch).await?;
        }
        self.send(batch);
        Ok(())
    }

    async fn remove_from_isrs(
        &mut self,
        broker: BrokerId,
        partitions: Vec<TopicPartition>,
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        let (led, never_led): (Vec<_>, Vec<_>) =
            partitions.into_iter().partition(|p| self.cluster.leadership(p).is_some());
        let (left, was_out) = self.leave_isrs(broker, led).await?;
        for partition in left {
            self.cluster.set_replica_state(&partition, broker, ReplicaState::Offline);
            if self.cluster.is_to_delete(&partition.topic) {
                continue;
            }
            let replicas = self.cluster.replicas(&partition);
            let others: Vec<BrokerId> = replicas.iter().copied().filter(|&id| id != broker).collect();
            batch.leader_and_isr(&self.cluster, &others, &partition, false);
        }
        for partition in was_out {
            self.cluster.set_replica_state(&partition, broker, ReplicaState::Offline);
            if !self.cluster.is_to_delete(&partition.topic) {
                // Roles stay as they are (Kafka repeats them here, and replicas ignore that), but
                // brokers have to know that this replica is not there.
                batch.update_metadata(&self.cluster, self.cluster.brokers().keys().copied(), [&partition]);
            }
        }
        for partition in never_led {
            self.cluster.set_replica_state(&partition, broker, ReplicaState::Offline);
            batch.update_metadata(&self.cluster, self.cluster.brokers().keys().copied(), [&partition]);
        }
        Ok(())
    }

    /// Writes the ISRs that hold the broker without it. Returns the partitions whose ISR it left
    /// now, and those it was out of before.
    async fn leave_isrs(
        &mut self,
        broker: BrokerId,
        partitions: Vec<TopicPartition>,
    ) -> Result<(Vec<TopicPartition>, Vec<TopicPartition>), Trouble> {
        let (mut left, mut out) = (Vec::new(), Vec::new());
        let mut outcomes = Outcomes::new();
        let mut open = partitions;
        while !open.is_empty() {
            let mut decided = Vec::new();
            for partition in open {
                let Some(current) = self.cluster.leadership(&partition) else { continue };
                match election::without(broker, current) {
                    Some(next) => {
                        decided.push((partition, Leadership { controller_epoch: self.epoch, ..next }))
                    }
                    None => out.push(partition),
                }
            }
            let (written, overtaken) = self.write_states(decided, Cause::Controller, &mut outcomes).await?;
            left.extend(written);
            self.refresh(&overtaken, &mut outcomes).await?;
            open = overtaken.into_iter().filter(|p| !outcomes.contains_key(p)).collect();
        }
        for (partition, outcome) in outcomes {
            if let Err(reason) = outcome {
                tracing::warn!(%partition, %broker, %reason, "a replica that is gone stays in the ISR");
            }
        }
        Ok((left, out))
    }

    /// Replicas are told to delete what they hold.
    pub(super) fn replicas_deletion_started(&mut self, replicas: Vec<Replica>) {
        let mut batch = Batch::default();
        for (partition, broker) in self.those_that_may(replicas, Some(ReplicaState::DeletionStarted)) {
            self.cluster.set_replica_state(&partition, broker, ReplicaState::DeletionStarted);
            batch.stop_replica(&self.cluster, broker, &partition, true);
        }
        self.send(batch);
    }

    pub(super) fn replicas_deletion_successful(&mut self, replicas: Vec<Replica>) {
        for (partition, broker) in self.those_that_may(replicas, Some(ReplicaState::DeletionSuccessful)) {
            self.cluster.set_replica_state(&partition, broker, ReplicaState::DeletionSuccessful);
        }
    }

    pub(super) fn replicas_deletion_ineligible(&mut self, replicas: Vec<Replica>) {
        for (partition, broker) in self.those_that_may(replicas, Some(ReplicaState::DeletionIneligible)) {
            self.cluster.set_replica_state(&partition, broker, ReplicaState::DeletionIneligible);
        }
    }

    pub(super) fn replicas_gone(&mut self, replicas: Vec<Replica>) {
        for (partition, broker) in self.those_that_may(replicas, None) {
            self.cluster.remove_replica(&partition, broker);
        }
    }

    /// Every replica of these partitions.
    pub(super) fn replicas_of(&self, partitions: &[TopicPartition]) -> Vec<Replica> {
        let of = |p: &TopicPartition| {
            self.cluster.replicas(p).iter().map(|&broker| (p.clone(), broker)).collect::<Vec<_>>()
        };
        partitions.iter().flat_map(of).collect()
    }

    fn those_that_may(&self, replicas: Vec<Replica>, to: Option<ReplicaState>) -> Vec<Replica> {
        let may = |(partition, broker): &Replica| {
            let from = self.cluster.replica_state(partition, *broker);
            let may = replica_may(from, to);
            if !may {
                tracing::error!(%partition, %broker, ?from, ?to, "a replica cannot change its state so");
            }
            may
        };
        replicas.into_iter().filter(may).collect()
    }

    /// Adds partitions to memory, in the state of not having been seen before.
    pub(super) fn learn_partitions(
        &mut self,
        topic: &std::sync::Arc<str>,
        partitions: impl IntoIterator<Item = (i32, Assignment)>,
    ) -> Vec<TopicPartition> {
        let mut learned = Vec::new();
        for (partition, assignment) in partitions {
            let partition = TopicPartition::new(topic.clone(), partition);
            self.cluster.put_assignment(partition.clone(), assignment);
            learned.push(partition);
        }
        learned
    }
}
