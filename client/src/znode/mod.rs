//! The znodes of Kafka's ZooKeeper mode: where each lives and what bytes it holds, as Kafka 3.9
//! writes them (`core/src/main/scala/kafka/zk/ZkData.scala`).
//!
//! Pure: nothing here reads a clock, draws a number or talks to a server. Writing gives compact
//! JSON with Kafka's key order; reading looks keys up by name, ignores those it does not know and
//! accepts every older version that Kafka 3.9 accepts.

pub mod admin;
pub mod broker;
pub mod cluster;
pub mod commit;
pub mod companion;
pub mod config;
pub mod consumer;
pub mod controller;
pub mod departure;
pub mod directories;
pub mod eligible_replicas;
pub mod feature;
mod json;
pub mod notification;
pub mod partition;
pub mod producer_ids;
pub mod sanitized;
pub mod topic;
pub mod topic_name;
pub mod unclean_stop;

/// Why a znode's bytes could not be read. The text names the node and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZnodeError {
    #[error("{node} has no data")]
    Empty { node: &'static str },
    #[error("{node} does not hold {expected}: {reason}")]
    Malformed { node: &'static str, expected: &'static str, reason: String },
    #[error("{node} lacks the field '{field}'")]
    Missing { node: &'static str, field: &'static str },
    #[error("{node} has {found} in the field '{field}', where {expected} belongs")]
    Unexpected { node: &'static str, field: &'static str, expected: &'static str, found: String },
    #[error("{node} has version {version}, which is not one of those known ({known})")]
    Version { node: &'static str, version: i64, known: &'static str },
}
