//! The broker: log files, partitions, replication and the server.
