//! The settings of a group consumer.

use std::time::Duration;

use crate::cluster::{Backoff, ClusterOptions};
use crate::connection::ConnectionOptions;
use crate::consumer::assignor::Assignor;
use crate::consumer::{FetchOptions, Isolation, OffsetSpec};
use crate::wire::Str;

/// Where to begin when the group has no offset, or one that the log does not reach to (any more)
/// (`auto.offset.reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoOffsetReset {
    Earliest,
    #[default]
    Latest,
    /// Nowhere: it is an error.
    None,
}

impl AutoOffsetReset {
    pub(super) fn spec(self) -> Option<OffsetSpec> {
        match self {
            AutoOffsetReset::Earliest => Some(OffsetSpec::Earliest),
            AutoOffsetReset::Latest => Some(OffsetSpec::Latest),
            AutoOffsetReset::None => None,
        }
    }
}

/// The settings of a [`GroupConsumer`](super::GroupConsumer). The defaults are those of Kafka's consumer of 3.9,
/// named after each field.
#[derive(Debug, Clone)]
pub struct GroupConsumerOptions {
    /// `client.id`
    pub client_id: Str,
    /// `group.id`. `None`: partitions are assigned by hand, and no offsets are kept.
    pub group_id: Option<Str>,
    /// `group.instance.id`: the group knows the consumer by this name over restarts, and waits
    /// `session.timeout.ms` for it before it gives its partitions to others (KIP-345).
    pub group_instance_id: Option<Str>,
    /// `session.timeout.ms`
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: a consumer that works longer on what it got leaves the group.
    pub max_poll_interval: Duration,
    /// `max.poll.records`
    pub max_poll_records: usize,
    /// `partition.assignment.strategy`, the preferred one first. Only with cooperative ones alone does the consumer
    /// keep its partitions while the group rebalances.
    pub assignors: Vec<Assignor>,
    /// `enable.auto.commit` and `auto.commit.interval.ms`: how often what was polled and worked on is
    /// committed. `None`: when the user says so.
    pub auto_commit: Option<Duration>,
    /// `auto.offset.reset`
    pub auto_offset_reset: AutoOffsetReset,
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.max.wait.ms`
    pub fetch_max_wait: Duration,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: usize,
    /// `max.partition.fetch.bytes`
    pub max_partition_fetch_bytes: usize,
    /// `isolation.level`
    pub isolation: Isolation,
    /// `check.crcs`
    pub check_crcs: bool,
    /// `client.rack`: brokers that choose replicas by rack let the consumer read from the closest (KIP-392).
    pub client_rack: Str,
    /// `exclude.internal.topics`: whether [`subscribe_where`](super::GroupConsumer::subscribe_where) passes over
    /// `__consumer_offsets` and its like.
    pub exclude_internal_topics: bool,
    /// `allow.auto.create.topics`
    pub allow_auto_create_topics: bool,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`
    pub api_timeout: Duration,
    /// `metadata.max.age.ms`
    pub metadata_max_age: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`
    pub retry_backoff: Backoff,
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`
    pub reconnect_backoff: Backoff,
}

impl Default for GroupConsumerOptions {
    fn default() -> GroupConsumerOptions {
        let (cluster, fetch) = (ClusterOptions::default(), FetchOptions::default());
        GroupConsumerOptions {
            client_id: Str::new(),
            group_id: None,
            group_instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            max_poll_records: 500,
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            auto_commit: Some(Duration::from_secs(5)),
            auto_offset_reset: AutoOffsetReset::Latest,
            fetch_min_bytes: fetch.min_bytes,
            fetch_max_wait: fetch.max_wait,
            fetch_max_bytes: fetch.max_bytes,
            max_partition_fetch_bytes: fetch.max_partition_bytes,
            isolation: fetch.isolation,
            check_crcs: fetch.check_crcs,
            client_rack: Str::new(),
            exclude_internal_topics: true,
            allow_auto_create_topics: true,
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            metadata_max_age: cluster.metadata_max_age,
            retry_backoff: cluster.retry_backoff,
            reconnect_backoff: cluster.reconnect_backoff,
        }
    }
}

/// Settings that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    #[error("{property} must not be empty")]
    Empty { property: &'static str },
    #[error("{property} must be at least 1")]
    Zero { property: &'static str },
    #[error("heartbeat.interval.ms ({interval:?}) must be less than session.timeout.ms ({session:?})")]
    HeartbeatTooSeldom { interval: Duration, session: Duration },
    #[error("group.instance.id needs a group.id")]
    InstanceWithoutGroup,
}

impl GroupConsumerOptions {
    pub(super) fn check(&self) -> Result<(), OptionsError> {
        let empty = |property| Err(OptionsError::Empty { property });
        if self.group_id.as_ref().is_some_and(|id| id.is_empty()) {
            return empty("group.id");
        }
        if self.group_instance_id.as_ref().is_some_and(|id| id.is_empty()) {
            return empty("group.instance.id");
        }
        if self.assignors.is_empty() {
            return empty("partition.assignment.strategy");
        }
        if self.max_poll_records == 0 {
            return Err(OptionsError::Zero { property: "max.poll.records" });
        }
        if self.heartbeat_interval >= self.session_timeout {
            let (interval, session) = (self.heartbeat_interval, self.session_timeout);
            return Err(OptionsError::HeartbeatTooSeldom { interval, session });
        }
        match (&self.group_id, &self.group_instance_id) {
            (None, Some(_)) => Err(OptionsError::InstanceWithoutGroup),
            _ => Ok(()),
        }
    }

    pub(super) fn cluster(&self) -> ClusterOptions {
        ClusterOptions {
            client_id: self.client_id.clone(),
            connection: ConnectionOptions { request_timeout: self.request_timeout, ..Default::default() },
            metadata_max_age: self.metadata_max_age,
            retry_backoff: self.retry_backoff,
            reconnect_backoff: self.reconnect_backoff,
            api_timeout: self.api_timeout,
            allow_auto_create_topics: self.allow_auto_create_topics,
            ..ClusterOptions::default()
        }
    }

    pub(super) fn fetch(&self) -> FetchOptions {
        FetchOptions {
            min_bytes: self.fetch_min_bytes,
            max_wait: self.fetch_max_wait,
            max_bytes: self.fetch_max_bytes,
            max_partition_bytes: self.max_partition_fetch_bytes,
            isolation: self.isolation,
            check_crcs: self.check_crcs,
            rack: self.client_rack.clone(),
            records_at_once: self.max_poll_records,
            retry_backoff: self.retry_backoff,
            preferred_replica_age: self.metadata_max_age,
        }
    }
}
