//! Why the cluster could not be asked.

use crate::cluster::BootstrapError;
use crate::connection::ConnectionError;
use crate::ids::BrokerId;
use crate::wire::ErrorCode;
use crate::zk::ZkError;
use crate::znode::ZnodeError;

/// Why the cluster could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error(transparent)]
    ZooKeeper(#[from] ZkError),
    /// A node of ZooKeeper holds something else than Kafka writes there.
    #[error(transparent)]
    Znode(#[from] ZnodeError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// None is registered, or none of them could be reached in time.
    #[error("no broker of the cluster can be reached{}", because(cause))]
    NoBroker { cause: Option<Box<ConnectionError>> },
    /// It is not registered now, or has no listener that this client may use.
    #[error("broker {broker} is not there at present")]
    UnknownBroker { broker: BrokerId },
    #[error("topic {topic} does not exist")]
    UnknownTopic { topic: String },
    /// A broker's answer about a topic.
    #[error("topic {topic}: {code}: {}", code.message())]
    Refused { topic: String, code: ErrorCode },
}

impl ClusterError {
    /// Whether the same may succeed later without anybody's help.
    pub fn is_retriable(&self) -> bool {
        match self {
            ClusterError::ZooKeeper(error) => error.is_connection_trouble(),
            ClusterError::Connection(error) => error.is_retriable(),
            ClusterError::NoBroker { .. } | ClusterError::UnknownBroker { .. } => true,
            ClusterError::Refused { code, .. } => code.is_retriable(),
            ClusterError::UnknownTopic { .. } | ClusterError::Bootstrap(_) | ClusterError::Znode(_) => false,
        }
    }
}

fn because(cause: &Option<Box<ConnectionError>>) -> String {
    cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default()
}
