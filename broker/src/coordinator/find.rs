//! Who coordinates a group, as every broker knows it from the metadata.

use std::sync::Arc;

use client::ids::BrokerId;

use super::Coordinator;
use crate::group;

/// Where a coordinator is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub broker: BrokerId,
    pub host: Arc<str>,
    pub port: i32,
}

/// Why no coordinator can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    #[error("the topic of the groups does not exist yet")]
    NoTopic,
    #[error("the group's partition has no leader at the moment, or none with the listener asked by")]
    NoLeader,
}

impl Coordinator {
    /// The coordinator of `group`, by its address on `listener`.
    pub fn find(&self, group: &str, listener: &str) -> Result<Place, NotFound> {
        let cluster = self.metadata.snapshot();
        if cluster.topic(group::TOPIC).is_none() {
            return Err(NotFound::NoTopic);
        }
        let partition = cluster.partition(group::TOPIC, self.partition_of(group));
        let leader = partition.and_then(|partition| partition.leader).ok_or(NotFound::NoLeader)?;
        let broker = cluster.broker(leader).ok_or(NotFound::NoLeader)?;
        let endpoint = broker.endpoint(listener).ok_or(NotFound::NoLeader)?;
        Ok(Place { broker: leader, host: Arc::clone(&endpoint.host), port: endpoint.port })
    }
}
