//! Limits of a fetcher.

use std::time::Duration;

use crate::cluster::Backoff;
use crate::consumer::Isolation;
use crate::wire::Str;

/// Limits of a [`Fetcher`](super::Fetcher); the defaults are those of Kafka's consumer.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// `fetch.min.bytes`: a broker that has less waits for more.
    pub min_bytes: i32,
    /// `fetch.max.wait.ms`: for that long at most.
    pub max_wait: Duration,
    /// `fetch.max.bytes`: of one answer, unless its first batch is larger. While as much lies here and is
    /// not taken, only partitions of which nothing lies here are fetched.
    pub max_bytes: usize,
    /// `max.partition.fetch.bytes`: of one partition in one answer, unless its first batch is larger. Two such
    /// answers of a partition lie here at most.
    pub max_partition_bytes: usize,
    /// `isolation.level`
    pub isolation: Isolation,
    /// `check.crcs`
    pub check_crcs: bool,
    /// `client.rack`: brokers that choose replicas by rack send this consumer to the closest (KIP-392).
    /// Empty: it reads from leaders.
    pub rack: Str,
    /// How many records [`Fetched::Records`](super::Fetched::Records) has at least, if they are there; a batch
    /// is never split.
    pub records_at_once: usize,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`: between attempts at a partition.
    pub retry_backoff: Backoff,
    /// `metadata.max.age.ms`: for that long a replica is read from that the leader said is the closest.
    pub preferred_replica_age: Duration,
}

impl Default for FetchOptions {
    fn default() -> FetchOptions {
        FetchOptions {
            min_bytes: 1,
            max_wait: Duration::from_millis(500),
            max_bytes: 50 * 1024 * 1024,
            max_partition_bytes: 1024 * 1024,
            isolation: Isolation::ReadUncommitted,
            check_crcs: true,
            rack: Str::new(),
            records_at_once: 500,
            retry_backoff: Backoff {
                first: Duration::from_millis(100),
                longest: Duration::from_millis(1_000),
            },
            preferred_replica_age: Duration::from_secs(300),
        }
    }
}
