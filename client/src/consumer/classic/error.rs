//! Why a classic consumer cannot do what it should.

use super::assignment::UnevenSubscriptions;
use super::config::ClassicConfigError;
use crate::cluster::ClusterError;
use crate::consumer::group::OffsetsError;
use crate::topic_filter::InvalidPattern;
use crate::zk::ZkError;
use crate::znode::ZnodeError;

/// Why a classic consumer cannot do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClassicError {
    #[error(transparent)]
    Config(#[from] ClassicConfigError),
    #[error(transparent)]
    ZooKeeper(#[from] ZkError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// With `offsets.storage=kafka`.
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
    /// Another process uses the same `consumer.id`, or an earlier one of ours ended without closing its
    /// session, which then ends by itself.
    #[error("the group {group} has a member {consumer} already, of another session")]
    Taken { group: String, consumer: String },
    #[error("{consumer} cannot take its partitions after {attempts} attempts: {cause}")]
    RebalanceFailed { consumer: String, attempts: u32, cause: Box<RebalanceError> },
    #[error("the consumer is closed")]
    Closed,
}

/// Why an attempt to take what falls to a member did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RebalanceError {
    #[error(transparent)]
    ZooKeeper(#[from] ZkError),
    #[error(transparent)]
    Znode(#[from] ZnodeError),
    /// With `offsets.storage=kafka`.
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
    #[error("the member {member} reads topics by a pattern that cannot be read here: {cause}")]
    Pattern { member: String, cause: InvalidPattern },
    #[error(transparent)]
    Uneven(#[from] UnevenSubscriptions),
    /// It has not let go of them yet, or died, and its session has not ended yet.
    #[error("{} partitions still belong to another member, such as {partition} to {owner}", count)]
    Owned { count: usize, partition: String, owner: String },
}

impl RebalanceError {
    pub(super) fn is_session_over(&self) -> bool {
        matches!(self, RebalanceError::ZooKeeper(error) if error.is_session_over())
    }
}

/// Why offsets could not be committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StorageError {
    #[error(transparent)]
    ZooKeeper(#[from] ZkError),
    #[error(transparent)]
    Brokers(#[from] OffsetsError),
}

impl From<StorageError> for ClassicError {
    fn from(error: StorageError) -> ClassicError {
        match error {
            StorageError::ZooKeeper(error) => ClassicError::ZooKeeper(error),
            StorageError::Brokers(error) => ClassicError::Offsets(error),
        }
    }
}

impl From<StorageError> for RebalanceError {
    fn from(error: StorageError) -> RebalanceError {
        match error {
            StorageError::ZooKeeper(error) => RebalanceError::ZooKeeper(error),
            StorageError::Brokers(error) => RebalanceError::Offsets(error),
        }
    }
}
