//! Where committed offsets live: ZooKeeper, written by the group's coordinator alone.
//!
//! The protocol and its argument are in ARCHITECTURE.md, "Committed offsets". In short: every write is
//! a multi that begins with a version check on the state znode of the group's partition of
//! `__consumer_offsets`; every read follows a barrier; a write whose outcome is unknown is resolved
//! before a newer one of the same key is sent; a read waits for the writes that came before it.
//!
//! Nothing here judges members or generations: what arrives may be committed, read or deleted.

mod check;
mod delete;
mod drive;
mod expiry;
mod fence;
mod import;
mod link;
mod load;
mod partition;
mod pending;
mod reads;
mod store;
mod stored;
mod writes;

use std::fmt;
use std::sync::Arc;

use client::ids::TopicPartition;
use client::wire::{ErrorCode, Str};
use client::zk::ZkError;
use client::znode::ZnodeError;

pub use expiry::{Retention, is_expired};
pub use partition::PartitionOffsets;
pub use pending::Late;
pub use store::{AppendTombstones, Coordinated, OffsetStore, OffsetStoreParts};

use crate::group::CommittedOffset;
use fence::Deposed;

/// Whose offset of which partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetKey {
    pub group: Arc<str>,
    pub partition: TopicPartition,
}

impl OffsetKey {
    pub fn new(group: impl Into<Arc<str>>, topic: impl Into<Arc<str>>, partition: i32) -> OffsetKey {
        OffsetKey { group: group.into(), partition: TopicPartition::new(topic, partition) }
    }
}

impl fmt::Display for OffsetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of group {:?}", self.partition, self.group)
    }
}

/// An offset that is to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// The next offset to consume; any number.
    pub offset: i64,
    /// Of the last record consumed; −1: not known.
    pub leader_epoch: i32,
    pub metadata: Str,
    /// Milliseconds since 1970; `None`: that of the write.
    pub commit_time_ms: Option<i64>,
    /// Milliseconds since 1970; `None`: by the broker's retention.
    pub expire_time_ms: Option<i64>,
}

impl From<CommittedOffset> for NewCommit {
    /// The same, with its time.
    fn from(committed: CommittedOffset) -> NewCommit {
        NewCommit {
            offset: committed.offset,
            leader_epoch: committed.leader_epoch,
            metadata: committed.metadata,
            commit_time_ms: Some(committed.commit_time_ms),
            expire_time_ms: committed.expire_time_ms,
        }
    }
}

/// Why an offset was not committed, read or deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OffsetError {
    /// Another broker coordinates the group, or nobody does.
    #[error("this broker does not coordinate the group any more")]
    NotCoordinator,
    /// ZooKeeper did not answer in time, or the controller's word on a new leader epoch is awaited.
    #[error("the group's offsets cannot be reached at the moment")]
    Loading,
    #[error("the commit of {key} takes more bytes than ZooKeeper does")]
    TooLarge { key: OffsetKey },
    /// The group's id is too long, or the topic's name is none.
    #[error("ZooKeeper has no place for {key}")]
    NoPlace { key: OffsetKey },
    /// Somebody else wrote the node.
    #[error("the offset of {key} cannot be read: {why}")]
    Unreadable { key: OffsetKey, why: ZnodeError },
    #[error("ZooKeeper refuses the offset: {0}")]
    Refused(ZkError),
    /// A tombstone has to be in the log first.
    #[error("the log does not take it: {}", .0.name())]
    Log(ErrorCode),
}

impl From<Deposed> for OffsetError {
    fn from(why: Deposed) -> OffsetError {
        match why {
            Deposed::ByAnother => OffsetError::NotCoordinator,
            Deposed::ByNewerEpoch => OffsetError::Loading,
        }
    }
}

impl From<&OffsetError> for ErrorCode {
    fn from(error: &OffsetError) -> ErrorCode {
        match error {
            OffsetError::NotCoordinator => ErrorCode::NotCoordinator,
            OffsetError::Loading => ErrorCode::CoordinatorLoadInProgress,
            OffsetError::TooLarge { .. } => ErrorCode::InvalidCommitOffsetSize,
            OffsetError::NoPlace { .. } => ErrorCode::InvalidGroupId,
            OffsetError::Unreadable { .. } | OffsetError::Refused(_) => ErrorCode::UnknownServerError,
            OffsetError::Log(code) => *code,
        }
    }
}
