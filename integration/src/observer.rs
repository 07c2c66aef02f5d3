//! What ZooKeeper holds, seen by a session of the test's own.

use std::collections::BTreeMap;

use client::zk::{Node, Session, ZkConfig};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::cluster::PATIENCE;

/// A session that only reads, for tests that are not async themselves.
#[derive(Debug)]
pub struct Observer {
    session: Session,
    runtime: Runtime,
}

/// One partition's `state` znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub leader: i32,
    pub leader_epoch: i32,
    pub isr: Vec<i32>,
    pub controller_epoch: i32,
    /// The data version of the node.
    pub version: i32,
    /// When it was last written, by ZooKeeper's clock.
    pub written_ms: i64,
}

impl Observer {
    pub fn connect(connect_string: &str) -> Observer {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let config = ZkConfig::new(connect_string).with_timeout(PATIENCE);
        let session = runtime.block_on(Session::connect(config)).expect("ZooKeeper answers");
        Observer { session, runtime }
    }

    /// A node, or `None` if there is none.
    pub fn get(&self, path: &str) -> Option<Node> {
        self.runtime.block_on(self.session.get_if_exists(path)).expect("ZooKeeper answers")
    }

    /// A node's children, sorted; none if there is no such node.
    pub fn children(&self, path: &str) -> Vec<String> {
        match self.runtime.block_on(self.session.children(path)) {
            Ok(mut names) => {
                names.sort();
                names
            }
            Err(client::zk::ZkError::NoNode { .. }) => Vec::new(),
            Err(error) => panic!("children of {path}: {error}"),
        }
    }

    /// Runs something on the session itself.
    pub fn with<T>(&self, work: impl AsyncFnOnce(&Session) -> T) -> T {
        self.runtime.block_on(work(&self.session))
    }

    /// The ids under `/brokers/ids`, each with the time of its registration by ZooKeeper's clock.
    pub fn registered(&self) -> BTreeMap<i32, i64> {
        let ids = self.children("/brokers/ids");
        ids.iter()
            .filter_map(|id| Some((id.parse().ok()?, self.get(&format!("/brokers/ids/{id}"))?.stat.ctime_ms)))
            .collect()
    }

    /// The broker that `/controller` names.
    pub fn controller(&self) -> Option<i32> {
        let node = self.get("/controller")?;
        Some(controller(&node))
    }

    /// The states of a topic's partitions 0 to `count` − 1; `None` while one is missing.
    pub fn states(&self, topic: &str, count: usize) -> Option<Vec<State>> {
        let paths: Vec<String> =
            (0..count).map(|p| format!("/brokers/topics/{topic}/partitions/{p}/state")).collect();
        let nodes = self.runtime.block_on(self.session.get_many(&paths)).expect("ZooKeeper answers");
        nodes.into_iter().zip(&paths).map(|(node, path)| Some(state(path, &node?))).collect()
    }
}

/// What a `state` znode says.
///
/// # Panics
/// If it is malformed.
pub fn state(path: &str, node: &Node) -> State {
    let value = json(path, node);
    let isr = value["isr"].as_array().unwrap_or_else(|| panic!("{path} has no isr: {value}"));
    State {
        leader: integer(&value["leader"]),
        leader_epoch: integer(&value["leader_epoch"]),
        isr: isr.iter().map(integer).collect(),
        controller_epoch: integer(&value["controller_epoch"]),
        version: node.stat.version.0,
        written_ms: node.stat.mtime_ms,
    }
}

/// Whom the `/controller` znode names.
///
/// # Panics
/// If it is malformed.
pub fn controller(node: &Node) -> i32 {
    integer(&json("/controller", node)["brokerid"])
}

fn json(path: &str, node: &Node) -> Value {
    serde_json::from_slice(&node.data)
        .unwrap_or_else(|e| panic!("{path} holds {:?}: {e}", String::from_utf8_lossy(&node.data)))
}

fn integer(value: &Value) -> i32 {
    value.as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or_else(|| panic!("{value} is not an id"))
}
