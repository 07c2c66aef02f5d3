//! The broker: log files, partitions, replication and the server.

pub mod api;
pub mod config;
pub mod dynamic_config;
pub mod fetch_session;
pub mod log;
pub mod metadata;
pub mod partition;
pub mod server;
