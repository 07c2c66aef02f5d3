//! Settings of a classic consumer, under the names and with the defaults of Kafka 0.8.2. Pure.

use std::time::Duration;

use super::assignment::Strategy;
use crate::wire::Str;

/// Where a partition begins that the group has no offset of, or whose offset is no longer there:
/// `auto.offset.reset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoOffsetReset {
    Smallest,
    #[default]
    Largest,
}

/// Where the group's offsets are kept: `offsets.storage`. All members must say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetsStorage {
    #[default]
    ZooKeeper,
    /// With the brokers, by way of the group's coordinator.
    Kafka {
        /// `dual.commit.enabled`: in ZooKeeper too, and the larger offset of both counts. So a group can move
        /// from one place to the other while members of either kind are at work.
        dual_commit: bool,
    },
}

/// Settings of a [`ClassicConsumer`](super::ClassicConsumer).
#[derive(Debug, Clone)]
pub struct ClassicConfig {
    /// `zookeeper.connect`
    pub zookeeper: String,
    /// `group.id`: letters, digits, `.`, `_` and `-`.
    pub group: String,
    /// `consumer.id`: what follows the group's name in this member's name. `None`: made of the host's name,
    /// the time and chance.
    pub consumer_id: Option<String>,
    /// `client.id`; the group's name if it is not given.
    pub client_id: Option<Str>,
    /// `zookeeper.session.timeout.ms`: for so long the partitions of a member that died wait.
    pub session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`; the session timeout if it is not given.
    pub connection_timeout: Option<Duration>,
    /// `auto.commit.enable`: commit in intervals, when partitions are given up, and at the end.
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`
    pub auto_commit_interval: Duration,
    /// `auto.offset.reset`
    pub auto_offset_reset: AutoOffsetReset,
    /// `offsets.storage` and `dual.commit.enabled`
    pub offsets_storage: OffsetsStorage,
    /// `offsets.channel.socket.timeout.ms`: for how long the group's coordinator is asked for offsets, or to keep
    /// them.
    pub offsets_channel_socket_timeout: Duration,
    /// `partition.assignment.strategy`; all members must have the same.
    pub strategy: Strategy,
    /// `rebalance.max.retries`: attempts at taking the partitions that fall to this member.
    pub rebalance_max_retries: u32,
    /// `rebalance.backoff.ms`: between them.
    pub rebalance_backoff: Duration,
    /// `refresh.leader.backoff.ms`: between attempts at a partition whose leader is not known.
    pub refresh_leader_backoff: Duration,
    /// `fetch.message.max.bytes`: of one partition in one answer.
    pub fetch_message_max_bytes: usize,
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.wait.max.ms`
    pub fetch_wait_max: Duration,
    /// `socket.timeout.ms`
    pub socket_timeout: Duration,
    /// `consumer.timeout.ms`: a stream that has had no record for so long says so. `None` (−1): it waits.
    pub consumer_timeout: Option<Duration>,
    /// `exclude.internal.topics`: lists do not mean these.
    pub exclude_internal_topics: bool,
}

/// Properties that make no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassicConfigError {
    #[error("Missing required property '{name}'")]
    Missing { name: &'static str },
    #[error("the property {name} is '{value}', but it should be {expected}")]
    Invalid { name: String, value: String, expected: &'static str },
}

impl ClassicConfig {
    /// Kafka's defaults for everything but where and who.
    pub fn new(zookeeper: impl Into<String>, group: impl Into<String>) -> ClassicConfig {
        let millis = Duration::from_millis;
        ClassicConfig {
            zookeeper: zookeeper.into(),
            group: group.into(),
            consumer_id: None,
            client_id: None,
            session_timeout: millis(6_000),
            connection_timeout: None,
            auto_commit: true,
            auto_commit_interval: millis(60_000),
            auto_offset_reset: AutoOffsetReset::Largest,
            offsets_storage: OffsetsStorage::ZooKeeper,
            offsets_channel_socket_timeout: millis(10_000),
            strategy: Strategy::Range,
            rebalance_max_retries: 4,
            rebalance_backoff: millis(2_000),
            refresh_leader_backoff: millis(200),
            fetch_message_max_bytes: 1024 * 1024,
            fetch_min_bytes: 1,
            fetch_wait_max: millis(100),
            socket_timeout: millis(30_000),
            consumer_timeout: None,
            exclude_internal_topics: true,
        }
    }

    /// Reads a property map; names that Kafka does not know, or that mean nothing here, are passed over.
    pub fn from_properties<K: AsRef<str>, V: AsRef<str>>(
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Result<ClassicConfig, ClassicConfigError> {
        let mut config = ClassicConfig::new("", "");
        let mut sync_time = None;
        let mut backoff = None;
        let mut dual_commit = true;
        for (name, value) in properties {
            let property = Property { name: name.as_ref(), value: value.as_ref().trim() };
            match property.name {
                "zookeeper.sync.time.ms" => sync_time = Some(property.millis()?),
                "rebalance.backoff.ms" => backoff = Some(property.millis()?),
                "dual.commit.enabled" => dual_commit = property.boolean()?,
                _ => config.set(&property)?,
            }
        }
        if let Some(backoff) = backoff.or(sync_time) {
            config.rebalance_backoff = backoff;
        }
        if let OffsetsStorage::Kafka { dual_commit: wanted } = &mut config.offsets_storage {
            *wanted = dual_commit;
        }
        config.checked()
    }

    fn set(&mut self, property: &Property<'_>) -> Result<(), ClassicConfigError> {
        match property.name {
            "zookeeper.connect" => self.zookeeper = property.value.to_owned(),
            "group.id" => self.group = property.value.to_owned(),
            "consumer.id" => self.consumer_id = Some(property.value.to_owned()),
            "client.id" => self.client_id = Some(Str::from(property.value)),
            "zookeeper.session.timeout.ms" => self.session_timeout = property.millis()?,
            "zookeeper.connection.timeout.ms" => self.connection_timeout = Some(property.millis()?),
            "auto.commit.enable" => self.auto_commit = property.boolean()?,
            "auto.commit.interval.ms" => self.auto_commit_interval = property.millis()?,
            "auto.offset.reset" => {
                self.auto_offset_reset = property.one_of(
                    "smallest or largest",
                    &[("smallest", AutoOffsetReset::Smallest), ("largest", AutoOffsetReset::Largest)],
                )?;
            }
            "partition.assignment.strategy" => {
                self.strategy = property.one_of(
                    "range or roundrobin",
                    &[("range", Strategy::Range), ("roundrobin", Strategy::RoundRobin)],
                )?;
            }
            "rebalance.max.retries" => self.rebalance_max_retries = property.number()?,
            "refresh.leader.backoff.ms" => self.refresh_leader_backoff = property.millis()?,
            "fetch.message.max.bytes" => self.fetch_message_max_bytes = property.number()?,
            "fetch.min.bytes" => self.fetch_min_bytes = property.number()?,
            "fetch.wait.max.ms" => self.fetch_wait_max = property.millis()?,
            "socket.timeout.ms" => self.socket_timeout = property.millis()?,
            "consumer.timeout.ms" => {
                self.consumer_timeout = match property.value {
                    "-1" => None,
                    _ => Some(property.millis()?),
                };
            }
            "exclude.internal.topics" => self.exclude_internal_topics = property.boolean()?,
            "offsets.storage" => {
                let kafka = OffsetsStorage::Kafka { dual_commit: true };
                let values = [("zookeeper", OffsetsStorage::ZooKeeper), ("kafka", kafka)];
                self.offsets_storage = property.one_of("zookeeper or kafka", &values)?;
            }
            "offsets.channel.socket.timeout.ms" => {
                self.offsets_channel_socket_timeout = property.millis()?;
            }
            _ => {
                tracing::warn!(property.name, property.value, "this property means nothing to the consumer");
            }
        }
        Ok(())
    }

    /// The same, if a group can be joined with it.
    pub(super) fn checked(self) -> Result<ClassicConfig, ClassicConfigError> {
        for (name, value) in [("zookeeper.connect", &self.zookeeper), ("group.id", &self.group)] {
            if value.is_empty() {
                return Err(ClassicConfigError::Missing { name });
            }
        }
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let names = [
            ("group.id", Some(self.group.as_str())),
            ("consumer.id", self.consumer_id.as_deref()),
            ("client.id", self.client_id.as_deref()),
        ];
        for (name, value) in names {
            if let Some(value) = value.filter(|value| !value.chars().all(is_legal)) {
                return Err(ClassicConfigError::Invalid {
                    name: name.to_owned(),
                    value: value.to_owned(),
                    expected: "of letters, digits, '.', '_' and '-' only",
                });
            }
        }
        if self.fetch_wait_max > self.socket_timeout {
            return Err(ClassicConfigError::Invalid {
                name: "fetch.wait.max.ms".to_owned(),
                value: self.fetch_wait_max.as_millis().to_string(),
                expected: "not more than socket.timeout.ms",
            });
        }
        Ok(self)
    }
}

struct Property<'a> {
    name: &'a str,
    value: &'a str,
}

impl Property<'_> {
    fn invalid(&self, expected: &'static str) -> ClassicConfigError {
        let (name, value) = (self.name.to_owned(), self.value.to_owned());
        ClassicConfigError::Invalid { name, value, expected }
    }

    fn number<T: std::str::FromStr>(&self) -> Result<T, ClassicConfigError> {
        self.value.parse().map_err(|_| self.invalid("a number"))
    }

    fn millis(&self) -> Result<Duration, ClassicConfigError> {
        let millis: u32 = self.value.parse().map_err(|_| self.invalid("a number of milliseconds"))?;
        Ok(Duration::from_millis(millis.into()))
    }

    fn boolean(&self) -> Result<bool, ClassicConfigError> {
        self.one_of("true or false", &[("true", true), ("false", false)])
    }

    fn one_of<T: Copy>(&self, expected: &'static str, values: &[(&str, T)]) -> Result<T, ClassicConfigError> {
        let found = values.iter().find(|(value, _)| *value == self.value);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| self.invalid(expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_by_kafkas_names() {
        let of = |more: &[(&str, &str)]| {
            let required = [("zookeeper.connect", "z:2181/k"), ("group.id", "g")];
            ClassicConfig::from_properties(required.iter().chain(more).copied())
        };
        let config = of(&[
            ("auto.offset.reset", "smallest"),
            ("zookeeper.sync.time.ms", "500"),
            ("consumer.timeout.ms", "-1"),
            ("auto.commit.enable", "false"),
            ("partition.assignment.strategy", "roundrobin"),
            ("something.else", "x"),
        ])
        .unwrap();
        assert_eq!((config.zookeeper.as_str(), config.group.as_str()), ("z:2181/k", "g"));
        assert_eq!((config.auto_offset_reset, config.auto_commit), (AutoOffsetReset::Smallest, false));
        assert_eq!((config.strategy, config.consumer_timeout), (Strategy::RoundRobin, None));
        assert_eq!(config.rebalance_backoff, Duration::from_millis(500));

        let error = |more: &[(&str, &str)]| of(more).unwrap_err().to_string();
        assert_eq!(
            error(&[("auto.offset.reset", "earliest")]),
            "the property auto.offset.reset is 'earliest', but it should be smallest or largest"
        );
        assert_eq!(
            error(&[("group.id", "a/b")]),
            "the property group.id is 'a/b', but it should be of letters, digits, '.', '_' and '-' only"
        );
        let storage = |more: &[(&str, &str)]| of(more).unwrap().offsets_storage;
        assert_eq!(storage(&[("dual.commit.enabled", "true")]), OffsetsStorage::ZooKeeper);
        assert_eq!(storage(&[("offsets.storage", "kafka")]), OffsetsStorage::Kafka { dual_commit: true });
        let once = storage(&[("dual.commit.enabled", "false"), ("offsets.storage", "kafka")]);
        assert_eq!(once, OffsetsStorage::Kafka { dual_commit: false });
        assert_eq!(error(&[("group.id", "")]), "Missing required property 'group.id'");
    }
}
