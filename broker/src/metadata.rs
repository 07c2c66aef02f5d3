//! What the broker knows of the cluster: brokers, topics, leaders. Fed by the controller's
//! UpdateMetadata requests alone, never by ZooKeeper, so that it is what the controller decided,
//! in the controller's order.

use std::sync::{Arc, Mutex, PoisonError};

use client::wire::messages::UpdateMetadataRequest;
use tokio::sync::watch;

pub use cluster::{BrokerMetadata, ClusterMetadata, Endpoint, PartitionMetadata, TopicMetadata};

mod cluster;
mod shards;

/// The newest picture of the cluster, replaced whole by each update.
#[derive(Debug)]
pub struct MetadataCache {
    current: watch::Sender<Arc<ClusterMetadata>>,
    /// Held while an update is made of its predecessor.
    updating: Mutex<()>,
}

impl Default for MetadataCache {
    fn default() -> Self {
        MetadataCache { current: watch::Sender::new(Arc::default()), updating: Mutex::new(()) }
    }
}

impl MetadataCache {
    /// Empty until the controller's first request.
    pub fn new() -> MetadataCache {
        MetadataCache::default()
    }

    pub fn snapshot(&self) -> Arc<ClusterMetadata> {
        Arc::clone(&self.current.borrow())
    }

    /// Follows the cluster; `wait_for` on it waits for something to come true.
    pub fn changed(&self) -> watch::Receiver<Arc<ClusterMetadata>> {
        self.current.subscribe()
    }

    /// Takes in what the controller sent. Whether that controller is to be obeyed was decided before.
    pub fn update(&self, request: &UpdateMetadataRequest) {
        let _one_at_a_time = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = ClusterMetadata::clone(&self.snapshot());
        next.apply(request);
        self.current.send_replace(Arc::new(next));
    }
}

#[cfg(test)]
mod tests;
