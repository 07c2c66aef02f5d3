//! What can be done to a cluster, wherever it runs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A broker by its id, or a ZooKeeper server by its number from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    Broker(i32),
    ZooKeeper(i32),
}

impl Node {
    /// The last part of its address, wherever the network is: brokers from 11, ZooKeeper servers from 101 on.
    pub(super) fn host_number(self) -> u8 {
        let (base, number) = match self {
            Node::Broker(id) => (10, id),
            Node::ZooKeeper(server) => (100, server),
        };
        base + u8::try_from(number).unwrap_or(u8::MAX - base)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Broker(id) => write!(f, "broker-{id}"),
            Node::ZooKeeper(id) => write!(f, "zookeeper-{id}"),
        }
    }
}

/// An end of a link: a node, or wherever all clients are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    Node(Node),
    Clients,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Node(node) => node.fmt(f),
            End::Clients => f.write_str("clients"),
        }
    }
}

/// What a node's link does to packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weather {
    Fair,
    /// Unplugged.
    Down,
    /// Of all packets, in both directions, this share is lost.
    Lossy(f64),
    /// So many kilobits a second are carried.
    Narrow(u32),
}

/// How many nodes of each kind there are, and what they must be able to suffer.
#[derive(Debug, Clone)]
pub struct Shape {
    pub brokers: i32,
    pub zookeepers: i32,
    /// Whether libfaketime is to stand between brokers and their clocks.
    pub clocks: bool,
    /// Whether brokers' writes can be made slower.
    pub slow_disks: bool,
    /// `key=value` lines of brokers' properties, which count instead of the usual ones.
    pub properties: Vec<String>,
}

/// A command without which nothing can be done failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct ArenaError {
    pub what: String,
    pub why: String,
}

/// What became of a node that was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Orderly,
    /// It ended in another way.
    Otherwise(String),
    /// It runs on.
    Late,
    /// It had ended before it was told to, which [`Arena::ended`] tells.
    Before,
}

/// A cluster whose nodes, links and disks are at one's mercy.
///
/// What is done twice has to be undone twice only for [`cut`](Arena::cut); everything else is a state. A link's
/// [`Weather`] and a disk's state outlive the node's process.
pub trait Arena {
    fn brokers(&self) -> Vec<i32>;
    fn zookeepers(&self) -> Vec<i32>;
    /// `host:port` of a broker, for clients.
    fn address(&self, broker: i32) -> String;
    /// `zookeeper.connect`, for clients.
    fn zookeeper_connect(&self) -> String;

    /// Starts a node that is down. Returns at once.
    fn start(&mut self, node: Node) -> Result<(), ArenaError>;
    /// SIGKILL. Where the node had ended before, [`ended`](Arena::ended) tells.
    fn kill(&mut self, node: Node) -> Result<(), ArenaError>;
    /// SIGTERM, and waits for the end at most `limit`.
    fn terminate(&mut self, node: Node, limit: Duration) -> Result<Stop, ArenaError>;
    fn pause(&mut self, node: Node) -> Result<(), ArenaError>;
    fn resume(&mut self, node: Node) -> Result<(), ArenaError>;
    fn is_running(&self, node: Node) -> bool;
    /// Nodes that ended since this was last asked without having been told to, and how.
    fn ended(&mut self) -> Vec<(Node, String)>;
    /// Of ZooKeeper's servers, whether this one leads.
    fn is_zookeeper_leader(&self, server: i32) -> bool;

    /// Packets of `from` no longer reach `to`; what goes the other way still arrives.
    fn cut(&mut self, from: End, to: End) -> Result<(), ArenaError>;
    /// Undoes one [`cut`](Arena::cut).
    fn heal(&mut self, from: End, to: End) -> Result<(), ArenaError>;
    fn weather(&mut self, node: Node, weather: Weather) -> Result<(), ArenaError>;

    /// Leaves no room on a broker's disk.
    fn fill_disk(&mut self, broker: i32) -> Result<(), ArenaError>;
    fn free_disk(&mut self, broker: i32) -> Result<(), ArenaError>;
    /// How much longer each write and sync of a broker takes.
    fn slow_disk(&mut self, broker: i32, delay: Duration) -> Result<(), ArenaError>;
    /// How far a broker's realtime clock is off.
    fn shift_clock(&mut self, broker: i32, seconds: i64) -> Result<(), ArenaError>;
    /// Where a broker's partitions can be read as they are now.
    fn log_dir(&self, broker: i32) -> Result<PathBuf, ArenaError>;
    /// What a node has said so far.
    fn log(&self, node: Node) -> String;
    /// What a shell says where the broker's disk is `$DISK`, with the same things between it and its clock and
    /// its files. The broker need not run.
    fn beside(&self, broker: i32, shell: &str) -> Result<String, ArenaError>;
}
