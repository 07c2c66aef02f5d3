//! The broker: log files, partitions, replication and the server.

pub mod partition;
