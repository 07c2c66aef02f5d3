//! The offsets of all partitions of `__consumer_offsets` that this broker leads.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use client::zk::ZkConfig;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use super::fence::Attached;
use super::link::{self, Link};
use super::partition::PartitionOffsets;
use super::pending::Late;
use super::reads::Reads;
use super::{OffsetError, OffsetKey};

/// Multis of all partitions under way at a time: more of them do not make ZooKeeper faster, and what
/// waits here is coalesced.
const MULTIS_IN_FLIGHT: usize = 8;

/// What the store is made of.
#[derive(Debug, Clone)]
pub struct OffsetStoreParts {
    pub me: BrokerId,
    pub zk: ZkConfig,
    /// `offsets.commit.timeout.ms`: how long a request waits for ZooKeeper.
    pub patience: Duration,
}

/// One a broker.
#[derive(Debug)]
pub struct OffsetStore {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) parts: OffsetStoreParts,
    pub(super) links: watch::Sender<Option<Link>>,
    pub(super) multis: Semaphore,
    running: Mutex<Option<Running>>,
}

/// What runs once there is a partition.
#[derive(Debug, Clone)]
struct Running {
    reads: Arc<Reads>,
    keeper: AbortHandle,
}

/// Appends to a coordinating partition's log.
pub type AppendTombstones =
    Arc<dyn Fn(Vec<OffsetKey>) -> BoxFuture<'static, Result<(), OffsetError>> + Send + Sync>;

/// A partition of `__consumer_offsets` that this broker leads.
#[derive(Clone)]
pub struct Coordinated {
    pub partition: TopicPartition,
    /// The leader epoch that is (being) loaded.
    pub epoch: LeaderEpoch,
    /// What becomes of commits that ZooKeeper did not take in time.
    pub late: Late,
    /// Where its log ends at the moment.
    pub log_end: Arc<dyn Fn() -> Offset + Send + Sync>,
    /// Appends a tombstone for each of the keys, and completes when enough replicas have them.
    pub tombstones: AppendTombstones,
    /// Whether a group belongs to it.
    pub has_group: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl OffsetStore {
    pub fn new(parts: OffsetStoreParts) -> OffsetStore {
        let shared = Shared {
            parts,
            links: watch::Sender::new(None),
            multis: Semaphore::new(MULTIS_IN_FLIGHT),
            running: Mutex::new(None),
        };
        OffsetStore { shared: Arc::new(shared) }
    }

    /// Begins to coordinate a partition. Must be called within a runtime. Whoever opens it closes it
    /// ([`PartitionOffsets::close`]) when the broker does not lead at this epoch any more.
    pub fn open(&self, coordinated: Coordinated) -> Arc<PartitionOffsets> {
        let reads = self.shared.reads();
        PartitionOffsets::open(Arc::clone(&self.shared), reads, coordinated)
    }

    /// Ends the session with ZooKeeper.
    pub async fn close(&self) {
        let running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return };
        running.keeper.abort();
        let link = self.shared.links.send_replace(None);
        if let Some(link) = link {
            link.session.close().await;
        }
    }
}

impl Drop for OffsetStore {
    fn drop(&mut self) {
        if let Some(running) = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner).take() {
            running.keeper.abort();
        }
    }
}

impl Shared {
    /// Opens the session with the first partition.
    fn reads(self: &Arc<Self>) -> Arc<Reads> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = running.get_or_insert_with(|| {
            let keeper = tokio::spawn(link::keep(self.parts.zk.clone(), self.links.clone())).abort_handle();
            Running { reads: Arc::new(Reads::start(&self.links)), keeper }
        });
        Arc::clone(&running.reads)
    }

    pub(super) fn link(&self) -> Option<Link> {
        self.links.borrow().clone()
    }

    /// The connection of the moment.
    pub(super) fn attached(&self) -> Option<Attached> {
        self.links.borrow().as_ref().map(|link| link.on)
    }
}

impl fmt::Debug for Coordinated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinated")
            .field("partition", &self.partition)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
