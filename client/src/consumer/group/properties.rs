//! Kafka's names for the settings: those of its consumer of 3.9.

use std::time::Duration;

use super::builder::GroupConsumerBuilder;
use super::options::{AutoOffsetReset, GroupConsumerOptions};
use crate::cluster::Discovery;
use crate::consumer::Isolation;
use crate::producer::PropertyError;
use crate::producer::properties::{BOOLEAN, boolean, millis, number};
use crate::wire::Str;
use crate::zk::ZkConfig;

/// Kafka's default of `auto.commit.interval.ms`.
const AUTO_COMMIT_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn read<K: AsRef<str>, V: AsRef<str>>(
    properties: impl IntoIterator<Item = (K, V)>,
) -> Result<GroupConsumerBuilder, PropertyError> {
    let mut options = GroupConsumerOptions::default();
    let mut auto_commit = (true, AUTO_COMMIT_INTERVAL);
    let (mut servers, mut zookeeper, mut session) = (None, None, None);
    for (name, value) in properties {
        let (name, value) = (name.as_ref(), value.as_ref().trim());
        let invalid = |problem| PropertyError { name: name.to_owned(), value: value.to_owned(), problem };
        match name {
            "bootstrap.servers" => servers = Some(value.to_owned()),
            "zookeeper.connect" => zookeeper = Some(ZkConfig::new(value)),
            "zookeeper.session.timeout.ms" => session = Some(millis(name, value)?),
            "enable.auto.commit" => auto_commit.0 = boolean(value).ok_or_else(|| invalid(BOOLEAN))?,
            "auto.commit.interval.ms" => auto_commit.1 = millis(name, value)?,
            _ => set(&mut options, name, value)?,
        }
    }
    options.auto_commit = auto_commit.0.then_some(auto_commit.1);
    let mut builder = GroupConsumerBuilder::default().with(|all| *all = options);
    if let Some(servers) = servers {
        builder = builder.bootstrap_servers(servers);
    }
    if let Some(mut config) = zookeeper {
        config.session_timeout = session.unwrap_or(config.session_timeout);
        builder = builder.discovery(Discovery::ZooKeeper(config));
    }
    Ok(builder)
}

fn set(options: &mut GroupConsumerOptions, name: &str, value: &str) -> Result<(), PropertyError> {
    let invalid = |problem| PropertyError { name: name.to_owned(), value: value.to_owned(), problem };
    let some = |value: &str| Some(Str::from(value));
    let truth = || boolean(value).ok_or_else(|| invalid(BOOLEAN));
    let time = || millis(name, value);
    match name {
        "client.id" => options.client_id = Str::from(value),
        "group.id" => options.group_id = some(value),
        "group.instance.id" => options.group_instance_id = some(value),
        "group.protocol" if value.eq_ignore_ascii_case("classic") => {}
        "group.protocol" => {
            return Err(invalid("only `classic` is known; brokers with ZooKeeper know no other"));
        }
        "session.timeout.ms" => options.session_timeout = time()?,
        "heartbeat.interval.ms" => options.heartbeat_interval = time()?,
        "max.poll.interval.ms" => options.max_poll_interval = time()?,
        "max.poll.records" => options.max_poll_records = number(name, value)?,
        "partition.assignment.strategy" => {
            let names = value.split(',').map(str::parse).collect::<Result<Vec<_>, _>>();
            options.assignors = names.map_err(|_| {
                invalid("it takes range, roundrobin, sticky, cooperative-sticky or their classes")
            })?;
        }
        "auto.offset.reset" => {
            options.auto_offset_reset = match value.to_ascii_lowercase().as_str() {
                "earliest" => AutoOffsetReset::Earliest,
                "latest" => AutoOffsetReset::Latest,
                "none" => AutoOffsetReset::None,
                _ => return Err(invalid("it must be earliest, latest or none")),
            }
        }
        "fetch.min.bytes" => options.fetch_min_bytes = number(name, value)?,
        "fetch.max.wait.ms" => options.fetch_max_wait = time()?,
        "fetch.max.bytes" => options.fetch_max_bytes = number(name, value)?,
        "max.partition.fetch.bytes" => options.max_partition_fetch_bytes = number(name, value)?,
        "isolation.level" => {
            options.isolation = match value.to_ascii_lowercase().as_str() {
                "read_uncommitted" => Isolation::ReadUncommitted,
                "read_committed" => Isolation::ReadCommitted,
                _ => return Err(invalid("it must be read_uncommitted or read_committed")),
            }
        }
        "check.crcs" => options.check_crcs = truth()?,
        "client.rack" => options.client_rack = Str::from(value),
        "exclude.internal.topics" => options.exclude_internal_topics = truth()?,
        "allow.auto.create.topics" => options.allow_auto_create_topics = truth()?,
        "request.timeout.ms" => options.request_timeout = time()?,
        "default.api.timeout.ms" => options.api_timeout = time()?,
        "metadata.max.age.ms" => options.metadata_max_age = time()?,
        "retry.backoff.ms" => options.retry_backoff.first = time()?,
        "retry.backoff.max.ms" => options.retry_backoff.longest = time()?,
        "reconnect.backoff.ms" => options.reconnect_backoff.first = time()?,
        "reconnect.backoff.max.ms" => options.reconnect_backoff.longest = time()?,
        // Keys and values are bytes here.
        "key.deserializer" | "value.deserializer" => {}
        _ => tracing::warn!(name, value, "this property means nothing to the consumer"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::assignor::Assignor;

    fn options(properties: &[(&str, &str)]) -> Result<GroupConsumerOptions, String> {
        let mut read_options = GroupConsumerOptions::default();
        let builder = read(properties.iter().copied()).map_err(|error| error.to_string())?;
        let _ = builder.with(|options| read_options = options.clone());
        Ok(read_options)
    }

    #[test]
    fn kafkas_names_are_read() {
        let read = options(&[
            ("group.id", "g"),
            ("session.timeout.ms", "10000"),
            ("partition.assignment.strategy", "roundrobin, org.apache.kafka.clients.consumer.StickyAssignor"),
            ("auto.offset.reset", "Earliest"),
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("max.poll.records", "7"),
            ("key.deserializer", "x"),
        ])
        .unwrap();
        assert_eq!(read.group_id.as_deref(), Some("g"));
        assert_eq!(read.session_timeout, Duration::from_secs(10));
        assert_eq!(read.assignors, [Assignor::RoundRobin, Assignor::Sticky]);
        assert_eq!(read.auto_offset_reset, AutoOffsetReset::Earliest);
        assert_eq!((read.isolation, read.auto_commit), (Isolation::ReadCommitted, None));
        assert_eq!(read.max_poll_records, 7);
    }

    #[test]
    fn the_defaults_are_those_of_kafka_3_9() {
        let read = options(&[("auto.commit.interval.ms", "1000")]).unwrap();
        assert_eq!(read.auto_commit, Some(Duration::from_secs(1)));
        let read = options(&[]).unwrap();
        assert_eq!((read.auto_commit, read.max_poll_records), (Some(Duration::from_secs(5)), 500));
        assert_eq!(read.assignors, [Assignor::Range, Assignor::CooperativeSticky]);
        assert_eq!((read.session_timeout.as_secs(), read.max_poll_interval.as_secs()), (45, 300));
        assert!(read.check().is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let error = options(&[("session.timeout.ms", "soon")]).unwrap_err();
        assert!(error.starts_with("Invalid value soon for configuration session.timeout.ms: "), "{error}");
        for (name, value) in
            [("group.protocol", "consumer"), ("auto.offset.reset", "first"), ("check.crcs", "1")]
        {
            assert!(options(&[(name, value)]).is_err(), "{name}");
        }
        let seldom = options(&[("heartbeat.interval.ms", "45000")]).unwrap();
        assert!(matches!(
            seldom.check(),
            Err(super::super::options::OptionsError::HeartbeatTooSeldom { .. })
        ));
    }
}
