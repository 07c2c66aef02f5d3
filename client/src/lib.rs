//! What it takes to talk to the cluster: wire messages, record batches, ids, the znode schema
//! and the ZooKeeper session. Brokers and controllers are clients of one another, so they
//! depend on this crate too.

#![deny(clippy::indexing_slicing)]

pub mod admin;
pub mod cluster;
pub mod connection;
pub mod consumer;
pub mod fetch_session;
pub mod ids;
pub mod java_string;
pub mod producer;
pub mod record;
pub mod topic_filter;
pub mod wire;
pub mod zk;
pub mod znode;
