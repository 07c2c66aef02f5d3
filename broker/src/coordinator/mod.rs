//! The coordinator of consumer groups: for each partition of `__consumer_offsets` that this broker
//! leads, the groups that belong to it.
//!
//! What a group does about an event is decided by [`crate::group`]; here is what surrounds it: which
//! partitions are led, loading them, requests that wait, deadlines, and appends with acks=all.
//! A group's state is its log's: what is not appended and replicated is not told to members, whoever appended it.

mod append;
mod cell;
mod expiry;
mod find;
mod led;
mod load;
mod loaded;
mod offsets;
mod requests;
mod roles;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use client::wire::ErrorCode;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::config::GroupsConfig;
use crate::group;
use crate::metadata::MetadataCache;
use crate::offsets::OffsetStore;
use crate::replicas::Replicas;

pub use find::{NotFound, Place};
pub use led::Led;
pub use loaded::{Loaded, Standing};
pub use offsets::Fetched;
pub use requests::OffsetDeleteRefused;

use led::Means;

/// Partitions whose logs are read at a time: each takes a thread and a buffer
/// (`offsets.load.buffer.size`).
const LOADS_AT_A_TIME: usize = 4;

/// What a coordinator is made of.
#[derive(Debug)]
pub struct CoordinatorParts {
    pub config: GroupsConfig,
    pub metadata: Arc<MetadataCache>,
    pub replicas: Arc<Replicas>,
    pub offsets: Arc<OffsetStore>,
}

/// One a broker.
#[derive(Debug)]
pub struct Coordinator {
    means: Means,
    metadata: Arc<MetadataCache>,
    replicas: Arc<Replicas>,
    led: RwLock<BTreeMap<i32, Arc<Led>>>,
    loads: Arc<Semaphore>,
    /// None once it is stopped.
    task: Mutex<Option<AbortHandle>>,
}

/// Why a group's request cannot be carried out here and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the group's id is empty")]
    NoGroup,
    #[error("the broker is stopping")]
    Stopping,
    #[error("another broker coordinates the group")]
    NotCoordinator,
    #[error("the group's coordinator has just taken over and is loading its state")]
    Loading,
}

impl From<Unavailable> for ErrorCode {
    fn from(error: Unavailable) -> ErrorCode {
        match error {
            Unavailable::NoGroup => ErrorCode::InvalidGroupId,
            Unavailable::Stopping => ErrorCode::CoordinatorNotAvailable,
            Unavailable::NotCoordinator => ErrorCode::NotCoordinator,
            Unavailable::Loading => ErrorCode::CoordinatorLoadInProgress,
        }
    }
}

impl Coordinator {
    /// Starts to follow the roles of this broker's partitions, on the runtime it is called in.
    pub fn start(parts: CoordinatorParts) -> Arc<Coordinator> {
        let CoordinatorParts { config, metadata, replicas, offsets } = parts;
        let coordinator = Arc::new(Coordinator {
            means: Means { config, offsets },
            metadata,
            replicas,
            led: RwLock::default(),
            loads: Arc::new(Semaphore::new(LOADS_AT_A_TIME)),
            task: Mutex::default(),
        });
        let task = controller::vital::spawn("follow roles", Arc::clone(&coordinator).follow_roles());
        *coordinator.lock_task() = Some(task.abort_handle());
        coordinator
    }

    /// Stops to coordinate: those that wait are told to look for another coordinator.
    pub fn stop(&self) {
        let task = self.lock_task().take();
        if let Some(task) = task {
            task.abort();
        }
        for led in self.all_led() {
            self.unload(&led);
        }
    }

    /// The partition of `__consumer_offsets` that a group belongs to.
    pub fn partition_of(&self, group: &str) -> i32 {
        group::partition_of(group, self.partition_count())
    }

    /// The loaded partition that `group` belongs to, for requests that allow an empty name.
    pub fn led(&self, group: &str) -> Result<Arc<Led>, Unavailable> {
        if self.lock_task().is_none() {
            return Err(Unavailable::Stopping);
        }
        let partition = self.partition_of(group);
        match self.find_led(partition) {
            Some(led) if !led.leads() => Err(Unavailable::NotCoordinator),
            Some(led) if led.is_loaded() => Ok(led),
            Some(_) => Err(Unavailable::Loading),
            None => {
                // Its role may have changed a moment ago.
                let hosted = self.replicas.partition(group::TOPIC, partition);
                match hosted {
                    Some(hosted) if hosted.status().is_leader() => Err(Unavailable::Loading),
                    _ => Err(Unavailable::NotCoordinator),
                }
            }
        }
    }

    /// The loaded partition that `group` belongs to.
    pub fn named(&self, group: &str) -> Result<Arc<Led>, Unavailable> {
        if group.is_empty() { Err(Unavailable::NoGroup) } else { self.led(group) }
    }

    /// All partitions that this broker coordinates, loaded or not.
    pub fn all_led(&self) -> Vec<Arc<Led>> {
        self.led.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn find_led(&self, partition: i32) -> Option<Arc<Led>> {
        self.led.read().unwrap_or_else(PoisonError::into_inner).get(&partition).cloned()
    }

    fn lock_task(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the topic is, or as it will be made.
    fn partition_count(&self) -> i32 {
        let cluster = self.metadata.snapshot();
        let existing = cluster.topic(group::TOPIC).map(|topic| topic.partition_count());
        existing.and_then(|count| i32::try_from(count).ok()).unwrap_or(self.means.config.partitions_default)
    }
}
