//! What brokers are told, collected while a decision is carried out and sent once it is done:
//! all LeaderAndIsr requests first, then all UpdateMetadata, then all StopReplica
//! (`ControllerChannelManager.scala`).
//! Says what is sent to whom; `requests` turns it into wire messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use client::ids::{BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition, Uuid, ZkVersion};

use crate::cluster::{Assignment, Broker, ClusterState, Leadership};

/// Kafka's leader of a partition whose topic is being deleted.
pub const LEADER_DURING_DELETE: BrokerId = BrokerId(-2);
/// Kafka's leader epoch in a StopReplica that deletes a topic: whatever the replica's is.
pub const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

/// One request to one broker.
#[derive(Debug, Clone, PartialEq)]
pub enum ControlRequest {
    LeaderAndIsr(LeaderAndIsr),
    UpdateMetadata(UpdateMetadata),
    StopReplica(StopReplica),
    /// How far do your logs of these reach?
    LogEnds(BTreeSet<TopicPartition>),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct LeaderAndIsr {
    pub partitions: BTreeMap<TopicPartition, PartitionRole>,
    pub topic_ids: BTreeMap<Arc<str>, Uuid>,
    /// The leaders named in `partitions`, as far as they are registered.
    pub leaders: BTreeMap<BrokerId, Broker>,
}

/// What a replica is to know of its partition.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionRole {
    pub leadership: Leadership,
    pub assignment: Assignment,
    /// The replica may start with an empty log.
    pub is_new: bool,
}

/// The same for every receiver, so it is built once and shared.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateMetadata {
    /// All registered brokers, always.
    pub brokers: Arc<BTreeMap<BrokerId, Broker>>,
    /// Only what changed.
    pub partitions: Arc<BTreeMap<TopicPartition, PartitionMetadata>>,
    pub topic_ids: Arc<BTreeMap<Arc<str>, Uuid>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PartitionMetadata {
    pub controller_epoch: ControllerEpoch,
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    pub isr: Vec<BrokerId>,
    pub partition_epoch: ZkVersion,
    pub replicas: Vec<BrokerId>,
    pub offline: Vec<BrokerId>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct StopReplica {
    pub partitions: BTreeMap<TopicPartition, StoppedReplica>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoppedReplica {
    pub leader_epoch: LeaderEpoch,
    pub delete: bool,
}

/// Requests being collected. What a request says of a partition is what was known when it was
/// added; the last word on a partition wins.
#[derive(Debug, Default)]
pub struct Batch {
    leader_and_isr: BTreeMap<BrokerId, BTreeMap<TopicPartition, PartitionRole>>,
    metadata_to: BTreeSet<BrokerId>,
    metadata: BTreeMap<TopicPartition, PartitionMetadata>,
    stop_replica: BTreeMap<BrokerId, BTreeMap<TopicPartition, StoppedReplica>>,
}

impl Batch {
    /// Tells replicas their role, and every broker who leads now. Nothing is told of a partition
    /// that has no leadership yet.
    pub fn leader_and_isr(
        &mut self,
        cluster: &ClusterState,
        to: &[BrokerId],
        partition: &TopicPartition,
        is_new: bool,
    ) {
        let (Some(leadership), Some(assignment)) =
            (cluster.leadership(partition), cluster.assignment(partition))
        else {
            return;
        };
        for &broker in to.iter().filter(|id| id.0 >= 0) {
            let roles = self.leader_and_isr.entry(broker).or_default();
            let was_new = roles.get(partition).is_some_and(|role| role.is_new);
            let role = PartitionRole {
                leadership: leadership.clone(),
                assignment: assignment.clone(),
                is_new: is_new || was_new,
            };
            roles.insert(partition.clone(), role);
        }
        self.update_metadata(cluster, cluster.brokers().keys().copied(), [partition]);
    }

    /// Tells brokers of these partitions, and of all brokers. No partition is a request too.
    pub fn update_metadata<'a>(
        &mut self,
        cluster: &ClusterState,
        to: impl IntoIterator<Item = BrokerId>,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) {
        self.metadata_to.extend(to);
        for partition in partitions {
            if let Some(metadata) = metadata(cluster, partition) {
                self.metadata.insert(partition.clone(), metadata);
            }
        }
    }

    pub fn stop_replica(
        &mut self,
        cluster: &ClusterState,
        broker: BrokerId,
        partition: &TopicPartition,
        delete: bool,
    ) {
        let leader_epoch = if cluster.is_to_delete(&partition.topic) {
            EPOCH_DURING_DELETE
        } else {
            cluster.leadership(partition).map_or(LeaderEpoch::NONE, |leadership| leadership.leader_epoch)
        };
        let stopped = self.stop_replica.entry(broker).or_default();
        let delete = delete || stopped.get(partition).is_some_and(|earlier| earlier.delete);
        stopped.insert(partition.clone(), StoppedReplica { leader_epoch, delete });
    }

    /// The requests in the order they must be sent. Those to brokers that are not registered
    /// are dropped: such a broker hears everything anew when it returns.
    pub fn into_requests(self, cluster: &ClusterState) -> Vec<(BrokerId, ControlRequest)> {
        let registered = |broker: &BrokerId| cluster.brokers().contains_key(broker);
        let mut requests = Vec::new();
        for (broker, partitions) in self.leader_and_isr.into_iter().filter(|(broker, _)| registered(broker)) {
            let leaders: BTreeSet<BrokerId> =
                partitions.values().map(|role| role.leadership.leader).collect();
            let leaders =
                leaders.into_iter().filter_map(|id| Some((id, cluster.brokers().get(&id)?.clone())));
            let request = LeaderAndIsr {
                topic_ids: ids(cluster, partitions.keys()),
                leaders: leaders.collect(),
                partitions,
            };
            requests.push((broker, ControlRequest::LeaderAndIsr(request)));
        }
        if !self.metadata_to.is_empty() {
            let update = UpdateMetadata {
                brokers: Arc::new(cluster.brokers().clone()),
                topic_ids: Arc::new(ids(cluster, self.metadata.keys())),
                partitions: Arc::new(self.metadata),
            };
            let to = self.metadata_to.into_iter().filter(registered);
            requests.extend(to.map(|broker| (broker, ControlRequest::UpdateMetadata(update.clone()))));
        }
        for (broker, partitions) in self.stop_replica.into_iter().filter(|(broker, _)| registered(broker)) {
            requests.push((broker, ControlRequest::StopReplica(StopReplica { partitions })));
        }
        requests
    }
}

fn metadata(cluster: &ClusterState, partition: &TopicPartition) -> Option<PartitionMetadata> {
    let leadership = cluster.leadership(partition)?;
    let replicas = cluster.replicas(partition).to_vec();
    let offline = replicas.iter().copied().filter(|&id| !cluster.is_online(id, partition)).collect();
    let (leader, leader_epoch, partition_epoch) = if cluster.is_to_delete(&partition.topic) {
        (LEADER_DURING_DELETE, LeaderEpoch(0), ZkVersion(0))
    } else {
        (leadership.leader, leadership.leader_epoch, leadership.partition_epoch)
    };
    Some(PartitionMetadata {
        controller_epoch: leadership.controller_epoch,
        leader,
        leader_epoch,
        isr: leadership.isr.clone(),
        partition_epoch,
        replicas,
        offline,
    })
}

fn ids<'a>(
    cluster: &ClusterState,
    partitions: impl Iterator<Item = &'a TopicPartition>,
) -> BTreeMap<Arc<str>, Uuid> {
    partitions.filter_map(|p| Some((p.topic.clone(), cluster.topic_id(&p.topic)?))).collect()
}

/// One line, for logs and transcripts:
/// `LeaderAndIsr t-0 (leader 1, leader epoch 0, isr 1 2, version 0, new)`.
impl fmt::Display for ControlRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlRequest::LeaderAndIsr(request) => {
                f.write_str("LeaderAndIsr")?;
                for (partition, role) in &request.partitions {
                    let state = &role.leadership;
                    let (leader, epoch, version) = (state.leader, state.leader_epoch, state.partition_epoch);
                    write!(
                        f,
                        " {partition} (leader {leader}, leader epoch {epoch}, isr {}",
                        list(&state.isr)
                    )?;
                    write!(f, ", version {version}{})", if role.is_new { ", new" } else { "" })?;
                }
            }
            ControlRequest::UpdateMetadata(request) => {
                let brokers: Vec<BrokerId> = request.brokers.keys().copied().collect();
                write!(f, "UpdateMetadata brokers {}", list(&brokers))?;
                for (partition, state) in &*request.partitions {
                    let (leader, epoch) = (state.leader, state.leader_epoch);
                    write!(
                        f,
                        ", {partition} (leader {leader}, leader epoch {epoch}, isr {}",
                        list(&state.isr)
                    )?;
                    match state.offline.is_empty() {
                        true => f.write_str(")")?,
                        false => write!(f, ", offline {})", list(&state.offline))?,
                    }
                }
            }
            ControlRequest::StopReplica(request) => {
                f.write_str("StopReplica")?;
                for (partition, stopped) in &request.partitions {
                    let delete = if stopped.delete { ", delete" } else { "" };
                    write!(f, " {partition} (leader epoch {}{delete})", stopped.leader_epoch)?;
                }
            }
            ControlRequest::LogEnds(partitions) => {
                f.write_str("LogEnds")?;
                for partition in partitions {
                    write!(f, " {partition}")?;
                }
            }
        }
        Ok(())
    }
}

fn list(ids: &[BrokerId]) -> String {
    ids.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(" ")
}
