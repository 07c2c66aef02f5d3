//! A picture of the cluster and how UpdateMetadata changes it (`ZkMetadataCache.scala`). Pure.
//!
//! Copies share what did not change: with ten thousand partitions, an update of one of them
//! copies a few dozen entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::ids::{BrokerId, ControllerEpoch, LeaderEpoch, Uuid, ZkVersion};
use client::wire::messages::UpdateMetadataRequest;
use client::wire::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState,
};
use client::znode::broker::SecurityProtocol;

use crate::metadata::shards::Shards;

/// Stands in a partition's leader for "this partition is being deleted".
const LEADER_DURING_DELETE: i32 = -2;

/// Partitions of a topic whose entries are copied together.
const PARTITIONS_PER_CHUNK: i32 = 64;

/// The cluster as the controller last described it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ClusterMetadata {
    controller: Option<BrokerId>,
    controller_epoch: ControllerEpoch,
    brokers: Arc<BTreeMap<BrokerId, BrokerMetadata>>,
    topics: Shards<Arc<str>, Arc<TopicMetadata>>,
    names: Shards<Uuid, Arc<str>>,
}

/// A live broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerMetadata {
    pub id: BrokerId,
    pub rack: Option<Arc<str>>,
    /// By listener name.
    pub endpoints: BTreeMap<Arc<str>, Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub host: Arc<str>,
    pub port: i32,
    /// Number of the security protocol; 0 is plaintext.
    pub security_protocol: i16,
}

/// A topic with its partitions.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicMetadata {
    pub name: Arc<str>,
    /// `None`: the controller gave none.
    pub id: Option<Uuid>,
    /// By number divided by [`PARTITIONS_PER_CHUNK`], then by number.
    chunks: BTreeMap<i32, Arc<BTreeMap<i32, PartitionMetadata>>>,
}

/// Leadership and replicas of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// `None`: no replica can lead.
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub isr: Arc<[BrokerId]>,
    pub partition_epoch: ZkVersion,
    pub replicas: Arc<[BrokerId]>,
    /// Assigned, but their broker or its disk is down.
    pub offline_replicas: Arc<[BrokerId]>,
    /// Of the controller that decided this.
    pub controller_epoch: ControllerEpoch,
}

impl ClusterMetadata {
    /// The broker that is the controller.
    pub fn controller(&self) -> Option<BrokerId> {
        self.controller
    }

    /// Of the controller that described this.
    pub fn controller_epoch(&self) -> ControllerEpoch {
        self.controller_epoch
    }

    pub fn brokers(&self) -> &BTreeMap<BrokerId, BrokerMetadata> {
        &self.brokers
    }

    pub fn broker(&self, id: BrokerId) -> Option<&BrokerMetadata> {
        self.brokers.get(&id)
    }

    pub fn is_alive(&self, id: BrokerId) -> bool {
        self.brokers.contains_key(&id)
    }

    pub fn topic(&self, name: &str) -> Option<&TopicMetadata> {
        self.topics.get(name).map(|topic| &**topic)
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionMetadata> {
        self.topic(topic)?.partition(partition)
    }

    pub fn topic_name(&self, id: Uuid) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    pub fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.topic(name)?.id
    }

    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// All topics by name.
    pub fn topics(&self) -> BTreeMap<&str, &TopicMetadata> {
        self.topics.iter().map(|(name, topic)| (&**name, &**topic)).collect()
    }

    /// Replaces brokers and controller, merges partitions, drops those being deleted. Gives the
    /// topics that have no partition left.
    pub(super) fn apply(&mut self, request: &UpdateMetadataRequest) -> Vec<Arc<str>> {
        let epoch = ControllerEpoch(request.controller_epoch);
        // What one controller knows of a partition only ever grows, so a state of before is a request
        // that was sent twice, over another connection, and comes late.
        let may_be_late = epoch == self.controller_epoch;
        self.controller_epoch = epoch;
        self.controller = (request.controller_id >= 0).then_some(BrokerId(request.controller_id));
        let brokers = request.live_brokers.iter().map(|one| (BrokerId(one.id), broker(one))).collect();
        if *self.brokers != brokers {
            self.brokers = Arc::new(brokers);
        }
        let mut gone = Vec::new();
        for topic in &request.topic_states {
            // Before version 7 all ids are zero: such a controller knows none.
            let id = (!topic.topic_id.is_zero()).then_some(topic.topic_id);
            gone.extend(self.apply_topic(
                &topic.topic_name,
                Some(id),
                may_be_late,
                topic.partition_states.iter(),
            ));
        }
        // Versions below 5 repeat the topic's name in each partition.
        let mut ungrouped: BTreeMap<&str, Vec<&UpdateMetadataPartitionState>> = BTreeMap::new();
        for state in &request.ungrouped_partition_states {
            ungrouped.entry(&state.topic_name).or_default().push(state);
        }
        for (topic, states) in ungrouped {
            gone.extend(self.apply_topic(topic, None, may_be_late, states.into_iter()));
        }
        gone
    }

    /// An `id` of `None` leaves the one that is known; `Some(None)` takes it away. Gives the name
    /// if the topic is gone.
    fn apply_topic<'a>(
        &mut self,
        name: &str,
        id: Option<Option<Uuid>>,
        may_be_late: bool,
        states: impl Iterator<Item = &'a UpdateMetadataPartitionState>,
    ) -> Option<Arc<str>> {
        let known = self.topics.get(name).cloned();
        let known_id = known.as_ref().and_then(|topic| topic.id);
        let mut topic = known.unwrap_or_else(|| {
            Arc::new(TopicMetadata { name: Arc::from(name), id: None, chunks: BTreeMap::new() })
        });
        // The map's own reference keeps `topic` shared, so this copies its list of chunks, once.
        let changed = Arc::make_mut(&mut topic);
        changed.id = id.unwrap_or(known_id);
        let may_be_late = may_be_late && changed.id == known_id;
        for state in states {
            if !(may_be_late && changed.knows_better(state)) {
                changed.apply(state);
            }
        }
        if let Some(gone) = known_id.filter(|_| changed.id != known_id || changed.chunks.is_empty()) {
            self.names.remove(&gone);
        }
        let was_known = self.topics.get(name).is_some();
        if changed.chunks.is_empty() {
            self.topics.remove(name);
            return was_known.then(|| Arc::clone(&changed.name));
        }
        let name = Arc::clone(&changed.name);
        if let Some(id) = changed.id.filter(|_| changed.id != known_id) {
            self.names.insert(id, Arc::clone(&name));
        }
        self.topics.insert(name, topic);
        None
    }
}

impl BrokerMetadata {
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.get(listener)
    }
}

impl TopicMetadata {
    pub fn partition(&self, number: i32) -> Option<&PartitionMetadata> {
        self.chunks.get(&number.div_euclid(PARTITIONS_PER_CHUNK))?.get(&number)
    }

    /// By rising number.
    pub fn partitions(&self) -> impl Iterator<Item = (i32, &PartitionMetadata)> {
        self.chunks.values().flat_map(|chunk| chunk.iter().map(|(number, partition)| (*number, partition)))
    }

    pub fn partition_count(&self) -> usize {
        self.chunks.values().map(|chunk| chunk.len()).sum()
    }

    /// Whether `state` is older than what is known of its partition. A deletion never is.
    fn knows_better(&self, state: &UpdateMetadataPartitionState) -> bool {
        let told = (LeaderEpoch(state.leader_epoch), ZkVersion(state.zk_version));
        let newer = |known: &PartitionMetadata| (known.leader_epoch, known.partition_epoch) > told;
        state.leader != LEADER_DURING_DELETE && self.partition(state.partition_index).is_some_and(newer)
    }

    fn apply(&mut self, state: &UpdateMetadataPartitionState) {
        let number = state.partition_index;
        let chunk_number = number.div_euclid(PARTITIONS_PER_CHUNK);
        if state.leader == LEADER_DURING_DELETE {
            if let Some(chunk) = self.chunks.get_mut(&chunk_number) {
                let chunk_left = Arc::make_mut(chunk);
                chunk_left.remove(&number);
                if chunk_left.is_empty() {
                    self.chunks.remove(&chunk_number);
                }
            }
            return;
        }
        let chunk = self.chunks.entry(chunk_number).or_default();
        Arc::make_mut(chunk).insert(number, partition(state));
    }
}

fn partition(state: &UpdateMetadataPartitionState) -> PartitionMetadata {
    PartitionMetadata {
        leader: (state.leader >= 0).then_some(BrokerId(state.leader)),
        leader_epoch: LeaderEpoch(state.leader_epoch),
        isr: ids(&state.isr),
        partition_epoch: ZkVersion(state.zk_version),
        replicas: ids(&state.replicas),
        offline_replicas: ids(&state.offline_replicas),
        controller_epoch: ControllerEpoch(state.controller_epoch),
    }
}

fn ids(numbers: &[i32]) -> Arc<[BrokerId]> {
    numbers.iter().copied().map(BrokerId).collect()
}

/// Texts are copied: they would keep the whole request alive otherwise.
fn broker(broker: &UpdateMetadataBroker) -> BrokerMetadata {
    let mut endpoints: BTreeMap<Arc<str>, Endpoint> = broker.endpoints.iter().map(endpoint).collect();
    if endpoints.is_empty() && !broker.v0_host.is_empty() {
        let only = Endpoint { host: Arc::from(&*broker.v0_host), port: broker.v0_port, security_protocol: 0 };
        endpoints.insert(Arc::from(SecurityProtocol::Plaintext.name()), only);
    }
    BrokerMetadata { id: BrokerId(broker.id), rack: broker.rack.as_deref().map(Arc::from), endpoints }
}

/// Before version 3 a listener is named after its security protocol.
fn endpoint(endpoint: &UpdateMetadataEndpoint) -> (Arc<str>, Endpoint) {
    let name = match &*endpoint.listener {
        "" => SecurityProtocol::of_id(endpoint.security_protocol).map_or("", SecurityProtocol::name),
        name => name,
    };
    let address = Endpoint {
        host: Arc::from(&*endpoint.host),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    };
    (Arc::from(name), address)
}
