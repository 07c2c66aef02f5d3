//! What replication looks up in the cluster's metadata: who is alive, where brokers listen for
//! brokers, who is the controller.

use std::fmt;
use std::sync::Arc;

use client::ids::BrokerId;
use tokio::sync::watch;

use crate::metadata::{ClusterMetadata, MetadataCache};

/// Where a broker listens for other brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    host: Arc<str>,
    port: i32,
}

/// The metadata cache as the inter-broker listener shows it. A clone waits for changes on its own.
#[derive(Debug, Clone)]
pub struct ClusterView {
    metadata: watch::Receiver<Arc<ClusterMetadata>>,
    /// `inter.broker.listener.name`
    listener: Arc<str>,
}

impl ClusterView {
    pub fn new(cache: &MetadataCache, listener: Arc<str>) -> ClusterView {
        ClusterView { metadata: cache.changed(), listener }
    }

    pub(crate) fn snapshot(&self) -> Arc<ClusterMetadata> {
        Arc::clone(&self.metadata.borrow())
    }

    pub(crate) fn endpoint(&self, id: BrokerId) -> Option<Endpoint> {
        let metadata = self.snapshot();
        let endpoint = metadata.broker(id)?.endpoint(&self.listener)?;
        Some(Endpoint { host: Arc::clone(&endpoint.host), port: endpoint.port })
    }

    pub(crate) fn controller(&self) -> Option<(BrokerId, Endpoint)> {
        let id = self.snapshot().controller()?;
        Some((id, self.endpoint(id)?))
    }

    /// Waits for the next change, whatever it is.
    pub(crate) async fn changed(&mut self) {
        if self.metadata.changed().await.is_err() {
            // The cache is gone, so the broker stops; nothing changes any more.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it is known where `id` listens.
    pub(crate) async fn knows(&mut self, id: BrokerId) {
        let knows = |metadata: &Arc<ClusterMetadata>| {
            metadata.broker(id).is_some_and(|broker| broker.endpoint(&self.listener).is_some())
        };
        if self.metadata.wait_for(knows).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the controller is another one than `id`, or none.
    pub(crate) async fn controller_is_not(&mut self, id: BrokerId) {
        if self.metadata.wait_for(|metadata| metadata.controller() != Some(id)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// As an address to connect to; a literal IPv6 address needs its brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
