//! What ZooKeeper tells of a node.

use std::fmt;

use crate::ids::ZkVersion;

/// A session, by the number that the server gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub i64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The transaction that created the node. A broker's epoch is that of its registration.
    pub czxid: i64,
    /// The transaction that last changed the data.
    pub mzxid: i64,
    /// The transaction that last changed the list of children.
    pub pzxid: i64,
    /// When the node was created, in milliseconds since 1970 by the server's clock.
    pub ctime_ms: i64,
    pub mtime_ms: i64,
    /// Changes of the data so far.
    pub version: ZkVersion,
    /// Changes of the list of children so far.
    pub children_version: i32,
    /// The session that an ephemeral node lives as long as.
    pub ephemeral_owner: Option<SessionId>,
    pub data_length: i32,
    pub children: i32,
}

impl From<zookeeper_client::Stat> for Stat {
    fn from(stat: zookeeper_client::Stat) -> Stat {
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            pzxid: stat.pzxid,
            ctime_ms: stat.ctime,
            mtime_ms: stat.mtime,
            version: ZkVersion(stat.version),
            children_version: stat.cversion,
            ephemeral_owner: (stat.ephemeral_owner != 0).then_some(SessionId(stat.ephemeral_owner)),
            data_length: stat.data_length,
            children: stat.num_children,
        }
    }
}

/// A node as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub data: Vec<u8>,
    pub stat: Stat,
}

impl Node {
    pub fn version(&self) -> ZkVersion {
        self.stat.version
    }
}
