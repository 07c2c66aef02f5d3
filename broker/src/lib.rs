//! The broker: log files, partitions, replication and the server.

pub mod api;
pub mod config;
pub mod fetch_session;
pub mod partition;
pub mod server;
