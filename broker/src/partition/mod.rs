//! One partition as this broker holds it: its role, its log, and a watch for those who wait.
//!
//! All of it changes under one std mutex, in short sections that never await. Every section that
//! changed something ends by publishing [`Status`], still under the lock, so that waiters see
//! changes in their order. A failed directory takes its partitions offline.

mod append;
mod config;
pub mod epochs;
mod error;
mod flush;
mod follow;
pub mod follower;
mod housekeeping;
pub mod leader;
mod read;
mod role;
mod status;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::ids::{BrokerId, LeaderEpoch, TopicPartition, Uuid, ZkVersion};
use tokio::sync::{mpsc, watch};

pub use self::append::{Append, RequiredAcks};
pub use self::config::TopicConfig;
pub use self::error::PartitionError;
pub use self::follow::{FollowError, FollowPosition, Followed};
pub use self::housekeeping::IsrAnswer;
pub use self::leader::CaughtUp;
pub use self::read::{Asker, FoundOffset, ListOffset, OffsetQuery, Read, ReadArgs, Reader};
pub use self::role::{Assigned, Judgement, LeaderAndIsr};
pub use self::status::Status;

use self::follower::Follower;
use self::leader::{IsrProposal, Leader, Moment};
use crate::clock::Now;
use crate::cluster_view::ClusterView;
use crate::log::{Log, LogError};
use crate::metadata::ClusterMetadata;

/// What all partitions of a broker share.
#[derive(Debug)]
pub struct Surroundings {
    pub me: BrokerId,
    /// `replica.lag.time.max.ms`
    pub lag_max: Duration,
    pub view: ClusterView,
    /// To the sender of AlterPartition. Bounded by one open proposal a partition.
    pub proposals: mpsc::UnboundedSender<Proposed>,
}

/// An ISR change on its way to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    pub partition: TopicPartition,
    /// All zero if the topic has none.
    pub topic_id: Uuid,
    pub proposal: IsrProposal,
}

/// A partition assigned to this broker.
#[derive(Debug)]
pub struct Partition {
    id: TopicPartition,
    around: Arc<Surroundings>,
    inner: Mutex<Inner>,
    status: watch::Sender<Status>,
    /// Whose turn it is to sync the log.
    flushing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Inner {
    role: Role,
    /// All zero if the topic has none.
    topic_id: Uuid,
    /// −1 until a LeaderAndIsr was adopted.
    leader_epoch: LeaderEpoch,
    partition_epoch: ZkVersion,
    config: Arc<TopicConfig>,
    /// None before it is made, after it is taken for deletion, and while its directory is offline.
    log: Option<Log>,
}

#[derive(Debug)]
enum Role {
    /// No controller's word was adopted yet, or the replica was stopped.
    Idle,
    Leader(Leader),
    Follower(Follower),
    /// The log's directory failed; only a restart brings it back.
    Offline,
}

impl Partition {
    /// A partition without role and log.
    pub fn new(id: TopicPartition, config: Arc<TopicConfig>, around: Arc<Surroundings>) -> Partition {
        let inner = Inner {
            role: Role::Idle,
            topic_id: Uuid::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: ZkVersion(0),
            config,
            log: None,
        };
        let status = watch::Sender::new(Status::UNASSIGNED);
        Partition { id, around, inner: Mutex::new(inner), status, flushing: Arc::default() }
    }

    pub fn id(&self) -> &TopicPartition {
        &self.id
    }

    /// The present facts.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Wakes at every change of the facts; how requests wait.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// All zero if the topic has none.
    pub fn topic_id(&self) -> Uuid {
        self.lock().topic_id
    }

    pub fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.lock().config)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in a section is a bug in the cores; what they assert about holds before they
        // change anything, so the state is as good as it was.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `event` under the lock with what the leader cannot know by itself, then brings the
    /// log's watermark up to the leader's and tells the waiters. A storage failure takes the
    /// partition offline.
    fn change<T>(
        &self,
        now: Now,
        event: impl FnOnce(&mut Inner, &Moment<'_>) -> Result<T, PartitionError>,
    ) -> Result<T, PartitionError> {
        let metadata = self.around.view.snapshot();
        let is_alive = |id| metadata.is_alive(id);
        let moment = Moment { now: now.monotonic, lag_max: self.around.lag_max, is_alive: &is_alive };
        let mut inner = self.lock();
        let outcome = event(&mut inner, &moment);
        if let Err(PartitionError::Log(LogError::Storage(_) | LogError::DirOffline { .. })) = &outcome {
            inner.go_offline();
        }
        self.publish(&mut inner, &metadata);
        outcome
    }

    fn publish(&self, inner: &mut Inner, metadata: &ClusterMetadata) {
        let confirmed = inner.log.as_ref().and_then(|log| inner.confirmed(log));
        if let (Some(confirmed), Some(log)) = (confirmed, &mut inner.log) {
            log.set_high_watermark(confirmed);
        }
        let status = inner.status(metadata);
        self.status.send_if_modified(|known| {
            let modified = *known != status;
            *known = status;
            modified
        });
    }

    fn propose(&self, topic_id: Uuid, proposal: Option<IsrProposal>) {
        let Some(proposal) = proposal else { return };
        tracing::info!(
            partition = %self.id, leader_epoch = %proposal.leader_epoch, isr = ?proposal.isr, why = ?proposal.why,
            "asking the controller to change the in-sync set"
        );
        let proposed = Proposed { partition: self.id.clone(), topic_id, proposal };
        // Nobody listens only while the broker stops.
        let _ = self.around.proposals.send(proposed);
    }
}

impl Inner {
    fn status(&self, metadata: &ClusterMetadata) -> Status {
        let Some(log) = &self.log else {
            let offline = matches!(self.role, Role::Offline);
            return Status { epoch: self.leader_epoch, offline, ..Status::UNASSIGNED };
        };
        let log_start = log.start_offset();
        let (leading_since, low_watermark, may_confirm) = match &self.role {
            Role::Leader(leader) => (
                Some(leader.since()),
                leader.low_watermark(log_start, &|id| metadata.is_alive(id)),
                leader.may_confirm(),
            ),
            Role::Follower(_) | Role::Idle | Role::Offline => (None, log_start, false),
        };
        Status {
            epoch: self.leader_epoch,
            leading_since,
            offline: false,
            log_start,
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
            end: log.end_offset(),
            low_watermark,
            may_confirm,
        }
    }

    /// The log, for whoever may read it in this role.
    fn log(&self) -> Result<&Log, PartitionError> {
        match (&self.role, &self.log) {
            (Role::Offline, _) => Err(PartitionError::Offline),
            (_, None) => Err(PartitionError::NotLeader),
            (_, Some(log)) => Ok(log),
        }
    }

    fn log_mut(&mut self) -> Result<&mut Log, PartitionError> {
        match (&self.role, &mut self.log) {
            (Role::Offline, _) => Err(PartitionError::Offline),
            (_, None) => Err(PartitionError::NotLeader),
            (_, Some(log)) => Ok(log),
        }
    }

    fn leading(&mut self) -> Result<(&mut Leader, &mut Log), PartitionError> {
        match (&mut self.role, &mut self.log) {
            (Role::Leader(leader), Some(log)) => Ok((leader, log)),
            (Role::Offline, _) => Err(PartitionError::Offline),
            _ => Err(PartitionError::NotLeader),
        }
    }

    fn go_offline(&mut self) {
        self.log = None;
        self.role = Role::Offline;
    }

    /// Fences requests that say which leader epoch they believe in (KIP-320). A replica that is offline has none:
    /// Kafka's answers so whatever they say (`ReplicaManager.getPartitionOrError`).
    fn check_epoch(&self, asked: Option<LeaderEpoch>) -> Result<(), PartitionError> {
        let current = self.leader_epoch;
        match asked {
            _ if matches!(self.role, Role::Offline) => Err(PartitionError::Offline),
            _ if crate::mutants::lacks("epoch-check") => Ok(()),
            Some(asked) if asked < current => Err(PartitionError::FencedLeaderEpoch { asked, current }),
            Some(asked) if asked > current => Err(PartitionError::UnknownLeaderEpoch { asked, current }),
            _ => Ok(()),
        }
    }
}
