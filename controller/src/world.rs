//! What a reigning controller needs of the world outside: ZooKeeper and the other brokers. A seam,
//! so that whole reigns run in memory too, and every decision shows as reads, writes and requests.

use std::future::Future;
use std::sync::Arc;

use client::ids::{BrokerEpoch, BrokerId, TopicPartition, Uuid, ZkVersion};
use client::wire::ErrorCode;
use client::znode::commit::LogEnd;

use crate::cluster::Broker;
use crate::plan::ControlRequest;

/// A znode as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub data: Vec<u8>,
    pub version: ZkVersion,
    /// The transaction that created the node; a broker's epoch.
    pub czxid: i64,
}

/// One write. Each is fenced: it happens only while `/controller_epoch` is as our election left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Create {
        path: String,
        data: Vec<u8>,
    },
    /// `None`: whatever the version is.
    Set {
        path: String,
        data: Vec<u8>,
        version: Option<ZkVersion>,
    },
    /// Whatever the version is.
    Delete {
        path: String,
    },
    /// The first, and the others with it: all of them happen or none. If only another than the first is
    /// impossible, the first happens alone.
    Together(Vec<Write>),
}

impl Write {
    pub fn path(&self) -> &str {
        match self {
            Write::Create { path, .. } | Write::Set { path, .. } | Write::Delete { path } => path,
            Write::Together(writes) => writes.first().map_or("", Write::path),
        }
    }
}

/// Why one write did not happen, though we are still the controller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the node was written by somebody else since")]
    BadVersion,
    #[error("the node exists already")]
    NodeExists,
    #[error("there is no such node")]
    NoNode,
    #[error("the node has children")]
    NotEmpty,
    #[error("ZooKeeper refuses: {0}")]
    Refused(String),
}

/// Why an operation failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Another controller was elected, or an outsider wrote `/controller_epoch`.
    #[error("/controller_epoch was written by somebody else, so this controller may write no more")]
    Fenced,
    /// And with it our election.
    #[error("the ZooKeeper session has ended")]
    SessionOver,
    /// A definite answer that leaves nothing to do but to drop what was begun.
    #[error("ZooKeeper refuses an operation on {path}: {reason}")]
    Refused { path: String, reason: String },
}

impl Trouble {
    /// Whether the reign is over.
    pub fn is_final(&self) -> bool {
        match self {
            Trouble::Fenced | Trouble::SessionOver => true,
            Trouble::Refused { .. } => false,
        }
    }
}

/// See the module's doc. A lost connection is not seen here: operations wait until it is back or
/// the session has ended, and writes whose answer got lost are looked up.
pub trait World: Send + Sync {
    /// Reads nodes, in order of the paths; `None` for one that is not there.
    fn read(&self, paths: Vec<String>) -> impl Future<Output = Result<Vec<Option<Node>>, Trouble>> + Send;

    /// The names of a node's children; none if it is not there.
    fn list(&self, path: &str) -> impl Future<Output = Result<Vec<String>, Trouble>> + Send;

    /// Writes in order, each by itself: one that is rejected does not hold up the others.
    /// Gives the new version of each node.
    fn commit(
        &self,
        writes: Vec<Write>,
    ) -> impl Future<Output = Result<Vec<Result<ZkVersion, Rejection>>, Trouble>> + Send;

    /// Opens a channel to a registration of a broker, and watches the registration.
    fn connect(&mut self, id: BrokerId, broker: &Broker);

    /// Closes it; what was not sent yet is dropped.
    fn disconnect(&mut self, id: BrokerId);

    /// Queues a request behind those sent to that broker before.
    fn send(&mut self, to: BrokerId, request: ControlRequest);

    /// Whether the broker has answered what it was sent, or has not been sent it for long: one that
    /// has not cannot be told that it leads now.
    fn reaches(&self, _broker: BrokerId) -> bool {
        true
    }

    fn watch_topic(&mut self, topic: &Arc<str>);

    fn unwatch_topic(&mut self, topic: &str);

    /// The id this broker last heard for a topic, from whichever controller.
    fn remembered_topic_id(&self, topic: &str) -> Option<Uuid>;

    fn new_topic_id(&mut self) -> Uuid;
}

/// What wakes a controller. Events about znodes say where to look, not what is there.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something under `/brokers/ids`.
    BrokersChanged,
    /// The children of `/brokers/topics`.
    TopicsChanged,
    /// A topic's node, with what it held when the next change began to be watched for.
    TopicChanged { topic: Arc<str>, data: Vec<u8> },
    /// The children of `/admin/delete_topics`.
    DeletionsRequested,
    /// `/admin/preferred_replica_election` appeared.
    PreferredElectionRequested,
    /// `/admin/reassign_partitions` appeared.
    ReassignmentRequested,
    /// The children of `/isr_change_notification`: brokers of inter-broker protocol 2.6 and earlier
    /// write states themselves and tell so.
    IsrsChanged,
    /// The children of `/log_dir_event_notification`.
    LogDirsFailed,
    /// Time to look whether leadership is spread as the assignments prefer it.
    LeadersDueForRebalance,
    /// Time to write the lists of eligible replicas that only this controller has known since the last such event.
    ListsDue,
    /// The answer of a broker's registration to a LeaderAndIsr request.
    LeaderAndIsrAnswered { broker: BrokerId, epoch: BrokerEpoch, roles: Vec<RoleAnswer> },
    /// How far the logs of a broker's registration reach; `None` where it has no log that it can read.
    LogEndsAnswered { broker: BrokerId, epoch: BrokerEpoch, ends: Vec<(TopicPartition, Option<LogEnd>)> },
    /// The answer of a broker's registration to a StopReplica request, as far as it was to delete.
    ReplicasDeleted { broker: BrokerId, epoch: BrokerEpoch, partitions: Vec<(TopicPartition, ErrorCode)> },
}

impl Event {
    /// Whose answer it is.
    pub fn answers(&self) -> Option<(BrokerId, BrokerEpoch)> {
        match self {
            Event::LeaderAndIsrAnswered { broker, epoch, .. }
            | Event::LogEndsAnswered { broker, epoch, .. }
            | Event::ReplicasDeleted { broker, epoch, .. } => Some((*broker, *epoch)),
            _ => None,
        }
    }
}

/// What a broker says to the role it was told for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleAnswer {
    pub partition: TopicPartition,
    /// Of the state that it was told.
    pub version: ZkVersion,
    pub error: ErrorCode,
}
