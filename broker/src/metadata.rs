//! What the broker knows of the cluster: brokers, topics, leaders. Fed by the controller's
//! UpdateMetadata requests alone, never by ZooKeeper, so that it is what the controller decided,
//! in the controller's order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::ids::ControllerEpoch;
use client::wire::messages::UpdateMetadataRequest;
use thiserror::Error;
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

    /// The picture, once there is one: waits for the controller's first request, but no longer than `patience`.
    pub async fn known(&self, patience: Duration) -> Arc<ClusterMetadata> {
        let mut changed = self.changed();
        let told = changed.wait_for(|cluster| !cluster.brokers().is_empty());
        // Whether the time is up or not, what is known now is the answer.
        let _ = tokio::time::timeout(patience, told).await;
        self.snapshot()
    }

    /// Takes in what the controller sent, and gives the topics that are gone with it.
    ///
    /// Requests are fenced where they arrive; two that passed the fence together are put in order
    /// here, so that an older controller never has the last word.
    pub fn update(&self, request: &UpdateMetadataRequest) -> Result<Vec<Arc<str>>, StaleController> {
        let _one_at_a_time = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = ClusterMetadata::clone(&self.snapshot());
        let asked = ControllerEpoch(request.controller_epoch);
        if asked < next.controller_epoch() {
            return Err(StaleController { asked, known: next.controller_epoch() });
        }
        let gone = next.apply(request);
        self.current.send_replace(Arc::new(next));
        Ok(gone)
    }
}

/// The update comes from a controller that another one has replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it comes from controller epoch {asked}, and epoch {known} is known")]
pub struct StaleController {
    pub asked: ControllerEpoch,
    pub known: ControllerEpoch,
}

#[cfg(test)]
mod tests;
