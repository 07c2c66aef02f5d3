//! Finding what a request names: partitions on this broker, leaders elsewhere.

use std::sync::Arc;

use client::ids::{BrokerId, LeaderEpoch};
use client::wire::ErrorCode;

use super::Context;
use crate::metadata::ClusterMetadata;
use crate::partition::Partition;

/// Topics that only brokers and administrators' tools write to.
pub(super) const INTERNAL_TOPICS: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// Where a client that came to the wrong broker should go (KIP-951).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CurrentLeader {
    pub(super) id: BrokerId,
    pub(super) epoch: LeaderEpoch,
}

/// A broker as clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: BrokerId,
    pub(super) host: Arc<str>,
    pub(super) port: i32,
    pub(super) rack: Option<Arc<str>>,
}

/// The partition if this broker has a replica of it. Otherwise the error says whether a client
/// should ask for metadata again or may give up.
pub(super) fn hosted(
    context: &Context,
    cluster: &ClusterMetadata,
    topic: &str,
    partition: i32,
) -> Result<Arc<Partition>, ErrorCode> {
    match context.replicas.partition(topic, partition) {
        Some(hosted) => Ok(hosted),
        None if cluster.partition(topic, partition).is_some() => Err(ErrorCode::NotLeaderOrFollower),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

/// The leader as the controller announced it.
pub(super) fn current_leader(cluster: &ClusterMetadata, topic: &str, partition: i32) -> CurrentLeader {
    let found = cluster.partition(topic, partition);
    CurrentLeader {
        id: found.and_then(|known| known.leader).unwrap_or(BrokerId::NONE),
        epoch: found.map_or(LeaderEpoch::NONE, |known| known.leader_epoch),
    }
}

/// The same by what the replica here was told as well: it hears of a new leader before all brokers do.
pub(super) fn newest_leader(
    context: &Context,
    cluster: &ClusterMetadata,
    topic: &str,
    partition: i32,
) -> CurrentLeader {
    let announced = current_leader(cluster, topic, partition);
    let followed = context.replicas.partition(topic, partition).and_then(|replica| replica.follows());
    match followed {
        Some((id, epoch)) if epoch > announced.epoch => CurrentLeader { id, epoch },
        _ => announced,
    }
}

/// How to reach a live broker over the listener that the request came in by.
pub(super) fn node(cluster: &ClusterMetadata, id: BrokerId, listener: &str) -> Option<Node> {
    let broker = cluster.broker(id)?;
    let endpoint = broker.endpoint(listener)?;
    Some(Node { id, host: Arc::clone(&endpoint.host), port: endpoint.port, rack: broker.rack.clone() })
}

/// −1 on the wire: the client does not say.
pub(super) fn epoch(on_wire: i32) -> Option<LeaderEpoch> {
    (on_wire != LeaderEpoch::NONE.0).then_some(LeaderEpoch(on_wire))
}
