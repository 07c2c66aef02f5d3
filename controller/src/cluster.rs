//! What the controller knows of the cluster: brokers, topics, assignments, leadership, and how
//! far each replica and deletion has come. Plain memory; it reads and writes nothing outside,
//! and takes in only what was read from ZooKeeper or committed there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition, Uuid, ZkVersion};
pub use client::znode::broker::Endpoint;
use client::znode::partition;
pub use client::znode::partition::LeaderRecovery as Recovery;
pub use client::znode::topic::PartitionAssignment as Assignment;

/// A registered broker, as other brokers are told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub epoch: BrokerEpoch,
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
}

impl Broker {
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }
}

/// The content of a partition's `state` znode, with that node's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// [`BrokerId::NONE`] if nobody leads.
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    /// In the order written; the order matters when a leader repeats a request (`AlterPartition`).
    pub isr: Vec<BrokerId>,
    pub recovery: Recovery,
    /// Kafka's partition epoch: the data version of the znode.
    pub partition_epoch: ZkVersion,
    /// The controller that wrote it last.
    pub controller_epoch: ControllerEpoch,
}

impl Leadership {
    /// What was read from the znode at this version.
    pub fn read(state: partition::PartitionState, version: ZkVersion) -> Leadership {
        let partition::PartitionState { leader, leader_epoch, isr, recovery, controller_epoch } = state;
        Leadership { leader, leader_epoch, isr, recovery, partition_epoch: version, controller_epoch }
    }

    /// The bytes of the znode.
    pub fn encode(&self) -> Vec<u8> {
        partition::PartitionState {
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            isr: self.isr.clone(),
            recovery: self.recovery,
            controller_epoch: self.controller_epoch,
        }
        .encode()
    }
}

/// Kafka's partition states (`PartitionStateMachine.scala`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartitionState {
    /// Assigned, never had a leader.
    New,
    Online,
    /// Its leader is gone.
    Offline,
    /// Its topic is being deleted, or it was never seen.
    NonExistent,
}

/// Kafka's replica states (`ReplicaStateMachine.scala`); a replica without a state does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReplicaState {
    New,
    Online,
    Offline,
    DeletionStarted,
    DeletionSuccessful,
    /// It cannot be deleted now, because its broker is away or failed to.
    DeletionIneligible,
}

#[derive(Debug)]
struct Partition {
    assignment: Assignment,
    leadership: Option<Leadership>,
    state: PartitionState,
    replicas: BTreeMap<BrokerId, ReplicaState>,
}

/// How a new reading of `/brokers/ids` differs from the known brokers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BrokerChanges {
    pub new: Vec<BrokerId>,
    /// Registered again since: same id, greater epoch.
    pub bounced: Vec<BrokerId>,
    pub dead: Vec<BrokerId>,
    /// Same registration, other end points or rack.
    pub modified: Vec<BrokerId>,
}

impl BrokerChanges {
    pub fn is_empty(&self) -> bool {
        *self == BrokerChanges::default()
    }
}

/// See the module's doc. Every fact is changed through one method that keeps the indexes true.
#[derive(Debug, Default)]
pub struct ClusterState {
    brokers: BTreeMap<BrokerId, Broker>,
    shutting_down: BTreeSet<BrokerId>,
    offline_dirs: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    topics: BTreeMap<Arc<str>, Option<Uuid>>,
    names: BTreeMap<Uuid, Arc<str>>,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// Index: the partitions whose assignment names the broker.
    hosted: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    /// Index: the partitions in state New or Offline.
    leaderless: BTreeSet<TopicPartition>,
    to_delete: BTreeSet<Arc<str>>,
    deletion_started: BTreeSet<Arc<str>>,
    deletion_ineligible: BTreeSet<Arc<str>>,
}

// Brokers.
impl ClusterState {
    /// All registered brokers, those in controlled shutdown included.
    pub fn brokers(&self) -> &BTreeMap<BrokerId, Broker> {
        &self.brokers
    }

    pub fn is_live(&self, broker: BrokerId) -> bool {
        self.brokers.contains_key(&broker) && !self.shutting_down.contains(&broker)
    }

    pub fn shutting_down(&self) -> &BTreeSet<BrokerId> {
        &self.shutting_down
    }

    pub fn diff_brokers(&self, registered: &BTreeMap<BrokerId, Broker>) -> BrokerChanges {
        let mut changes = BrokerChanges::default();
        for (&id, broker) in registered {
            match self.brokers.get(&id) {
                None => changes.new.push(id),
                Some(known) if broker.epoch > known.epoch => changes.bounced.push(id),
                Some(known) if broker.epoch == known.epoch && broker != known => changes.modified.push(id),
                Some(_) => {}
            }
        }
        changes.dead.extend(self.brokers.keys().filter(|id| !registered.contains_key(id)));
        changes
    }

    /// Adds a broker, or replaces what is known of it.
    pub fn put_broker(&mut self, id: BrokerId, broker: Broker) {
        self.brokers.insert(id, broker);
    }

    /// Forgets the broker, its controlled shutdown and its failed directories.
    pub fn remove_broker(&mut self, id: BrokerId) {
        self.brokers.remove(&id);
        self.shutting_down.remove(&id);
        self.offline_dirs.remove(&id);
    }

    pub fn begin_shutdown(&mut self, id: BrokerId) {
        self.shutting_down.insert(id);
    }

    pub fn set_dir_offline(&mut self, id: BrokerId, partition: TopicPartition) -> bool {
        self.offline_dirs.entry(id).or_default().insert(partition)
    }

    pub fn set_dir_online(&mut self, id: BrokerId, partition: &TopicPartition) -> bool {
        self.offline_dirs.get_mut(&id).is_some_and(|partitions| partitions.remove(partition))
    }

    /// Whether the broker is live and the directory it keeps this partition in works.
    pub fn is_online(&self, id: BrokerId, partition: &TopicPartition) -> bool {
        self.is_live(id) && !self.is_dir_offline(id, partition)
    }

    /// As [`is_online`](Self::is_online), but a broker in controlled shutdown counts.
    pub fn is_online_or_shutting_down(&self, id: BrokerId, partition: &TopicPartition) -> bool {
        self.brokers.contains_key(&id) && !self.is_dir_offline(id, partition)
    }

    fn is_dir_offline(&self, id: BrokerId, partition: &TopicPartition) -> bool {
        self.offline_dirs.get(&id).is_some_and(|partitions| partitions.contains(partition))
    }
}

// Topics and assignments.
impl ClusterState {
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    pub fn has_topic(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub fn topic_id(&self, topic: &str) -> Option<Uuid> {
        self.topics.get(topic).copied().flatten()
    }

    pub fn topic_name(&self, id: Uuid) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// Adds a topic, or gives a known one its id. A known id is never replaced.
    pub fn put_topic(&mut self, topic: Arc<str>, id: Option<Uuid>) {
        let known = self.topics.entry(topic.clone()).or_default();
        if known.is_none() {
            *known = id;
        }
        if let Some(id) = *known {
            self.names.insert(id, topic);
        }
    }

    /// Forgets the topic and all its partitions.
    pub fn remove_topic(&mut self, topic: &str) {
        if let Some(Some(id)) = self.topics.remove(topic) {
            self.names.remove(&id);
        }
        for partition in self.partitions_of(topic) {
            self.put_assignment(partition.clone(), Assignment::default());
            self.partitions.remove(&partition);
            self.leaderless.remove(&partition);
            for offline in self.offline_dirs.values_mut() {
                offline.remove(&partition);
            }
        }
        self.to_delete.remove(topic);
        self.deletion_started.remove(topic);
        self.deletion_ineligible.remove(topic);
    }

    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    pub fn partitions_of(&self, topic: &str) -> Vec<TopicPartition> {
        let first = TopicPartition::new(topic, i32::MIN);
        self.partitions
            .range(first..)
            .map(|(partition, _)| partition)
            .take_while(|p| &*p.topic == topic)
            .cloned()
            .collect()
    }

    pub fn has_partition(&self, partition: &TopicPartition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// The partitions whose assignment names the broker.
    pub fn hosted_by(&self, broker: BrokerId) -> impl Iterator<Item = &TopicPartition> {
        self.hosted.get(&broker).into_iter().flatten()
    }

    pub fn assignment(&self, partition: &TopicPartition) -> Option<&Assignment> {
        self.partitions.get(partition).map(|known| &known.assignment)
    }

    /// The complete replica list; empty if the partition is unknown.
    pub fn replicas(&self, partition: &TopicPartition) -> &[BrokerId] {
        self.assignment(partition).map_or(&[], |assignment| &assignment.replicas)
    }

    pub fn online_replicas(&self, partition: &TopicPartition) -> Vec<BrokerId> {
        self.replicas(partition).iter().copied().filter(|&id| self.is_online(id, partition)).collect()
    }

    pub fn is_any_being_reassigned(&self, topic: &str) -> bool {
        self.partitions_of(topic)
            .iter()
            .any(|p| self.assignment(p).is_some_and(Assignment::is_being_reassigned))
    }

    pub fn put_assignment(&mut self, partition: TopicPartition, assignment: Assignment) {
        for broker in self.replicas(&partition).to_vec() {
            if let Some(hosted) = self.hosted.get_mut(&broker) {
                hosted.remove(&partition);
            }
        }
        for &broker in &assignment.replicas {
            self.hosted.entry(broker).or_default().insert(partition.clone());
        }
        let known = self.partitions.entry(partition).or_insert_with(|| Partition {
            assignment: Assignment::default(),
            leadership: None,
            state: PartitionState::NonExistent,
            replicas: BTreeMap::new(),
        });
        known.assignment = assignment;
    }

    /// Takes one replica out of the assignment and forgets its state.
    pub fn remove_replica(&mut self, partition: &TopicPartition, broker: BrokerId) {
        let Some(known) = self.partitions.get_mut(partition) else { return };
        known.replicas.remove(&broker);
        known.assignment.replicas.retain(|&replica| replica != broker);
        if let Some(hosted) = self.hosted.get_mut(&broker) {
            hosted.remove(partition);
        }
    }
}

// Leadership and states.
impl ClusterState {
    pub fn leadership(&self, partition: &TopicPartition) -> Option<&Leadership> {
        self.partitions.get(partition)?.leadership.as_ref()
    }

    pub fn put_leadership(&mut self, partition: &TopicPartition, leadership: Leadership) {
        if let Some(known) = self.partitions.get_mut(partition) {
            known.leadership = Some(leadership);
        }
    }

    /// The partitions this broker leads that have other replicas too.
    pub fn replicated_partitions_led_by(&self, broker: BrokerId) -> Vec<TopicPartition> {
        self.hosted_by(broker)
            .filter(|p| self.replicas(p).len() > 1 && self.leadership(p).is_some_and(|l| l.leader == broker))
            .cloned()
            .collect()
    }

    pub fn partition_state(&self, partition: &TopicPartition) -> PartitionState {
        self.partitions.get(partition).map_or(PartitionState::NonExistent, |known| known.state)
    }

    pub fn set_partition_state(&mut self, partition: &TopicPartition, state: PartitionState) {
        let Some(known) = self.partitions.get_mut(partition) else { return };
        known.state = state;
        match state {
            PartitionState::New | PartitionState::Offline => self.leaderless.insert(partition.clone()),
            PartitionState::Online | PartitionState::NonExistent => self.leaderless.remove(partition),
        };
    }

    /// Partitions in state New or Offline of topics that stay.
    pub fn leaderless(&self) -> Vec<TopicPartition> {
        self.leaderless.iter().filter(|p| !self.to_delete.contains(&p.topic)).cloned().collect()
    }

    pub fn replica_state(&self, partition: &TopicPartition, broker: BrokerId) -> Option<ReplicaState> {
        self.partitions.get(partition)?.replicas.get(&broker).copied()
    }

    pub fn set_replica_state(&mut self, partition: &TopicPartition, broker: BrokerId, state: ReplicaState) {
        if let Some(known) = self.partitions.get_mut(partition) {
            known.replicas.insert(broker, state);
        }
    }

    /// Every replica of the topic, in order of partition and assignment.
    pub fn replicas_of(&self, topic: &str) -> Vec<(TopicPartition, BrokerId)> {
        let pairs =
            |p: TopicPartition| self.replicas(&p).iter().map(|&id| (p.clone(), id)).collect::<Vec<_>>();
        self.partitions_of(topic).into_iter().flat_map(pairs).collect()
    }

    pub fn replicas_in(&self, topic: &str, state: ReplicaState) -> Vec<(TopicPartition, BrokerId)> {
        self.replicas_of(topic)
            .into_iter()
            .filter(|(p, id)| self.replica_state(p, *id) == Some(state))
            .collect()
    }
}

// Deletion of topics.
impl ClusterState {
    pub fn to_delete(&self) -> &BTreeSet<Arc<str>> {
        &self.to_delete
    }

    pub fn is_to_delete(&self, topic: &str) -> bool {
        self.to_delete.contains(topic)
    }

    pub fn queue_deletion(&mut self, topic: Arc<str>) {
        self.to_delete.insert(topic);
    }

    /// Marks the deletion as begun; `false` if it was already.
    pub fn start_deletion(&mut self, topic: &Arc<str>) -> bool {
        self.deletion_started.insert(topic.clone())
    }

    pub fn is_deletion_started(&self, topic: &str) -> bool {
        self.deletion_started.contains(topic)
    }

    /// Holds the deletion of a queued topic back; others are left alone.
    pub fn hold_deletion(&mut self, topic: &Arc<str>) {
        if self.to_delete.contains(topic) {
            self.deletion_ineligible.insert(topic.clone());
        }
    }

    pub fn release_deletion(&mut self, topic: &str) {
        self.deletion_ineligible.remove(topic);
    }

    pub fn is_deletion_held(&self, topic: &str) -> bool {
        self.deletion_ineligible.contains(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(epoch: i64) -> Broker {
        Broker { epoch: BrokerEpoch(epoch), endpoints: Vec::new(), rack: None }
    }

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().map(|&id| BrokerId(id)).collect()
    }

    #[test]
    fn brokers_are_told_apart_by_id_and_epoch() {
        let mut state = ClusterState::default();
        for id in 1..=4 {
            state.put_broker(BrokerId(id), broker(10));
        }
        let mut moved = broker(10);
        moved.rack = Some("r".into());
        let registered = BTreeMap::from([
            (BrokerId(1), broker(10)),
            (BrokerId(2), broker(11)),
            (BrokerId(3), moved),
            (BrokerId(5), broker(12)),
        ]);
        let expected =
            BrokerChanges { new: ids(&[5]), bounced: ids(&[2]), dead: ids(&[4]), modified: ids(&[3]) };
        assert_eq!(state.diff_brokers(&registered), expected);
    }

    #[test]
    fn indexes_follow_assignments_and_states() {
        let mut state = ClusterState::default();
        let (p0, p1) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        state.put_topic("t".into(), None);
        state.put_topic("ta".into(), None);
        state.put_assignment(p0.clone(), Assignment::of(ids(&[1, 2])));
        state.put_assignment(p1.clone(), Assignment::of(ids(&[2, 3])));
        state.put_assignment(TopicPartition::new("ta", 0), Assignment::of(ids(&[2])));
        assert_eq!(state.partitions_of("t"), vec![p0.clone(), p1.clone()]);
        assert_eq!(state.hosted_by(BrokerId(2)).count(), 3);

        state.put_assignment(p0.clone(), Assignment::of(ids(&[3])));
        assert_eq!(state.hosted_by(BrokerId(1)).count(), 0);
        assert_eq!(state.hosted_by(BrokerId(3)).cloned().collect::<Vec<_>>(), vec![p0.clone(), p1.clone()]);

        state.set_partition_state(&p0, PartitionState::New);
        state.set_partition_state(&p1, PartitionState::Offline);
        assert_eq!(state.leaderless(), vec![p0.clone(), p1.clone()]);
        state.set_partition_state(&p0, PartitionState::Online);
        assert_eq!(state.leaderless(), vec![p1]);

        state.remove_topic("t");
        assert_eq!(state.leaderless(), vec![]);
        assert_eq!(state.hosted_by(BrokerId(2)).count(), 1);
        assert!(!state.has_partition(&p0));
    }

    #[test]
    fn a_known_topic_id_is_never_replaced() {
        let mut state = ClusterState::default();
        let (first, second) = (Uuid([1; 16]), Uuid([2; 16]));
        state.put_topic("t".into(), None);
        state.put_topic("t".into(), Some(first));
        state.put_topic("t".into(), Some(second));
        state.put_topic("t".into(), None);
        assert_eq!(state.topic_id("t"), Some(first));
        assert_eq!(state.topic_name(second), None);
    }
}
