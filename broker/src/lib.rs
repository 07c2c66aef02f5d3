//! The broker: log files, partitions, replication and the server.

pub mod fetch_session;
pub mod partition;
