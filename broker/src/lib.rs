//! The broker: log files, partitions, replication and the server.

pub mod admin;
pub mod api;
pub mod broker;
pub mod clock;
pub mod cluster_identity;
pub mod cluster_view;
pub mod config;
pub mod control_fence;
pub mod coordinator;
pub mod dynamic_config;
pub mod fetch_session;
pub mod fetcher;
pub mod group;
mod hosted;
pub mod isr_channel;
pub mod log;
pub mod membership;
pub mod metadata;
mod mutants;
pub mod offsets;
pub mod partition;
mod peer;
pub mod producer_ids;
pub mod replicas;
pub mod server;
mod spell;
pub mod tools;
