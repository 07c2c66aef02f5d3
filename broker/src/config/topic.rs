//! A topic's configuration: its 36 keys, and how each takes its value from the topic's override,
//! the broker's synonym or Kafka's default (`LogConfig.java`, `ServerTopicConfigSynonyms.java`). Pure.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::config::definition::{Definition, boolean, double, int, list, long, string};
use crate::config::layers::{Layers, Source, Synonym};
use crate::config::value::{Kind, Value, WrongValue};

/// A key of a topic.
#[derive(Debug, Clone, Copy)]
pub struct TopicKey {
    pub definition: Definition,
    /// The broker's key whose value applies where the topic sets none.
    pub broker_synonym: Option<&'static str>,
}

/// Why a topic cannot have a configuration, in Kafka's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TopicConfigError {
    #[error("Unknown topic config name: {0}")]
    Unknown(String),
    #[error(transparent)]
    Wrong(#[from] WrongValue),
    #[error(
        "conflict topic config setting min.compaction.lag.ms ({min_ms}) > max.compaction.lag.ms ({max_ms})"
    )]
    CompactionLags { min_ms: i64, max_ms: i64 },
    #[error(
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
    )]
    TieredStorage,
    #[error(
        "It is invalid to set `remote.log.delete.on.disable` or `remote.log.copy.disable` under Zookeeper's mode."
    )]
    TieredStorageOfKRaft,
}

/// A key of a topic with the value that applies.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicValue {
    pub name: &'static str,
    pub kind: Kind,
    pub value: Value,
    /// All that bears on the value, the winner first.
    pub synonyms: Vec<Synonym>,
    pub doc: &'static str,
}

impl TopicValue {
    pub fn source(&self) -> Source {
        self.synonyms.first().map_or(Source::Default, |synonym| synonym.source)
    }
}

/// The keys in the order in which Kafka 3.9 answers them.
pub fn topic_keys() -> &'static [TopicKey] {
    KEYS
}

pub fn find(name: &str) -> Option<&'static TopicKey> {
    KEYS.iter().find(|key| key.definition.name == name)
}

/// Checks what a client wants to set for a topic of this broker (`LogConfig.validate`).
pub fn validate(broker: &Layers, overrides: &BTreeMap<String, String>) -> Result<(), TopicConfigError> {
    if let Some(unknown) = overrides.keys().find(|name| find(name).is_none()) {
        return Err(TopicConfigError::Unknown(unknown.clone()));
    }
    for key in KEYS {
        if let Some(text) = overrides.get(key.definition.name) {
            key.definition.parse(text)?;
        }
    }
    let applies = |name: &str| find(name).map(|key| effective(key, broker, overrides));
    let (min, max) = (applies("min.compaction.lag.ms"), applies("max.compaction.lag.ms"));
    if let (Some(Value::Long(min_ms)), Some(Value::Long(max_ms))) = (min, max)
        && min_ms > max_ms
    {
        return Err(TopicConfigError::CompactionLags { min_ms, max_ms });
    }
    let is_on = |name: &str| applies(name) == Some(Value::Boolean(true));
    if is_on("remote.log.delete.on.disable") || is_on("remote.log.copy.disable") {
        return Err(TopicConfigError::TieredStorageOfKRaft);
    }
    if is_on("remote.storage.enable") {
        return Err(TopicConfigError::TieredStorage);
    }
    Ok(())
}

/// The value that applies to a topic with these overrides.
///
/// An override that does not fit its definition counts as not set: such a text can only have been
/// written past every check, straight into ZooKeeper.
pub fn effective(key: &TopicKey, broker: &Layers, overrides: &BTreeMap<String, String>) -> Value {
    let own = overrides.get(key.definition.name).and_then(|text| key.definition.parse(text).ok());
    own.or_else(|| of_broker(key, broker))
        .or_else(|| key.definition.default_value())
        .expect("every topic key has a default")
}

/// All keys with their values, sources and synonyms, in Kafka's order.
pub fn describe(broker: &Layers, overrides: &BTreeMap<String, String>) -> Vec<TopicValue> {
    KEYS.iter().map(|key| describe_one(key, broker, overrides)).collect()
}

fn describe_one(key: &TopicKey, broker: &Layers, overrides: &BTreeMap<String, String>) -> TopicValue {
    let definition = &key.definition;
    let value = effective(key, broker, overrides);
    let own = overrides.contains_key(definition.name).then(|| Synonym {
        name: String::from(definition.name),
        value: Some(value.to_string()),
        source: Source::Topic,
    });
    let inherited = key.broker_synonym.map_or_else(Vec::new, |name| broker.synonyms(name));
    let synonyms = own.into_iter().chain(inherited).collect();
    TopicValue { name: definition.name, kind: definition.kind, value, synonyms, doc: definition.doc }
}

/// What the broker's configuration says for topics without an override. Times that the broker may
/// give in coarser units are turned into milliseconds.
fn of_broker(key: &TopicKey, broker: &Layers) -> Option<Value> {
    let value = |name: &str| broker.value(crate::config::table::find(name)?);
    let ms = |name: &str, unit_ms: i64| match value(name)? {
        Value::Int(units) => Some(i64::from(units).saturating_mul(unit_ms)),
        Value::Long(units) => Some(units.saturating_mul(unit_ms)),
        _ => None,
    };
    const MINUTE_MS: i64 = 60 * 1000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    match key.definition.name {
        "segment.ms" => ms("log.roll.ms", 1).or_else(|| ms("log.roll.hours", HOUR_MS)).map(Value::Long),
        "segment.jitter.ms" => {
            ms("log.roll.jitter.ms", 1).or_else(|| ms("log.roll.jitter.hours", HOUR_MS)).map(Value::Long)
        }
        "retention.ms" => ms("log.retention.ms", 1)
            .or_else(|| ms("log.retention.minutes", MINUTE_MS))
            .or_else(|| ms("log.retention.hours", HOUR_MS))
            .map(|ms| Value::Long(ms.max(-1))),
        "flush.ms" => ms("log.flush.interval.ms", 1)
            .or_else(|| ms("log.flush.scheduler.interval.ms", 1))
            .map(Value::Long),
        // The deprecated key still rules where the newer ones are left at their default (KIP-937).
        "message.timestamp.before.max.ms" => timestamp_bound("log.message.timestamp.before.max.ms", broker),
        "message.timestamp.after.max.ms" => timestamp_bound("log.message.timestamp.after.max.ms", broker),
        _ => value(key.broker_synonym?),
    }
}

/// How far a record's time may lie from the broker's, by the key for its direction. Where that is
/// left at its default the deprecated `message.timestamp.difference.max.ms` still rules (KIP-937).
pub fn timestamp_bound_ms(name: &str, broker: &Layers, overrides: &BTreeMap<String, String>) -> i64 {
    let value = |name: &str| match find(name).map(|key| effective(key, broker, overrides)) {
        Some(Value::Long(ms)) => ms,
        _ => i64::MAX,
    };
    match value(name) {
        i64::MAX => value("message.timestamp.difference.max.ms"),
        ms => ms,
    }
}

fn timestamp_bound(name: &str, broker: &Layers) -> Option<Value> {
    let value = |name: &str| broker.value(crate::config::table::find(name)?);
    match value(name)? {
        Value::Long(i64::MAX) => value("log.message.timestamp.difference.max.ms"),
        newer => Some(newer),
    }
}

/// Broker keys whose change changes topics.
pub fn broker_synonyms() -> BTreeSet<&'static str> {
    KEYS.iter().filter_map(|key| key.broker_synonym).collect()
}

const fn key(definition: Definition) -> TopicKey {
    TopicKey { definition, broker_synonym: None }
}

const fn inherits(broker_synonym: &'static str, definition: Definition) -> TopicKey {
    TopicKey { definition, broker_synonym: Some(broker_synonym) }
}

/// In the order of Kafka's answers, which is that of a Java hash map.
const KEYS: &[TopicKey] = &[
    inherits(
        "compression.type",
        string("compression.type")
            .or("producer")
            .one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
            .kept("Compression of stored records; producer keeps what the producer sent."),
    ),
    key(boolean("remote.log.delete.on.disable")
        .or("false")
        .accepted("Whether tiered data goes when tiered storage is turned off for the topic.")),
    key(list("leader.replication.throttled.replicas")
        .or("")
        .throttled_replicas()
        .accepted("Replicas throttled at their leader, as partition:broker pairs or *.")),
    key(boolean("remote.storage.enable").or("false").accepted("Whether the topic's old segments move to tiered storage.")),
    inherits(
        "log.message.downconversion.enable",
        boolean("message.downconversion.enable")
            .or("true")
            .kept("Whether records are converted for consumers that only know an older format."),
    ),
    inherits(
        "min.insync.replicas",
        int("min.insync.replicas")
            .or("1")
            .at_least(1)
            .kept("In-sync replicas that must have a write before it is acknowledged with acks=all."),
    ),
    inherits(
        "log.roll.jitter.ms",
        long("segment.jitter.ms").or("0").at_least(0).kept("Random part taken off the age at which a segment is closed."),
    ),
    key(boolean("remote.log.copy.disable").or("false").accepted("Whether copying to tiered storage is suspended.")),
    inherits(
        "log.local.retention.ms",
        long("local.retention.ms").or("-2").at_least(-2).accepted("Age of local segments under tiered storage."),
    ),
    inherits(
        "log.cleanup.policy",
        list("cleanup.policy")
            .or("delete")
            .each_of(&["compact", "delete"])
            .kept("What happens to old segments: delete, compact, or both."),
    ),
    inherits(
        "log.flush.interval.ms",
        long("flush.ms")
            .or("9223372036854775807")
            .at_least(0)
            .kept("Age of an unflushed record at which the log is flushed to disk."),
    ),
    key(list("follower.replication.throttled.replicas")
        .or("")
        .throttled_replicas()
        .accepted("Replicas throttled at their follower, as partition:broker pairs or *.")),
    inherits(
        "compression.lz4.level",
        int("compression.lz4.level").or("9").between(1, 17).kept("Level used when the broker compresses with lz4."),
    ),
    inherits(
        "log.segment.bytes",
        int("segment.bytes")
            .or("1073741824")
            .at_least(14)
            .kept("Size at which a segment file is closed and a new one begun."),
    ),
    inherits(
        "log.retention.ms",
        long("retention.ms")
            .or("604800000")
            .at_least(-1)
            .kept("Age at which segments are deleted; -1 means never."),
    ),
    inherits(
        "compression.gzip.level",
        int("compression.gzip.level").or("-1").gzip_level().kept("Level used when the broker compresses with gzip."),
    ),
    inherits(
        "log.flush.interval.messages",
        long("flush.messages")
            .or("9223372036854775807")
            .at_least(1)
            .kept("Records after which the log is flushed to disk."),
    ),
    inherits(
        "compression.zstd.level",
        int("compression.zstd.level")
            .or("3")
            .between(-131_072, 22)
            .kept("Level used when the broker compresses with zstd."),
    ),
    inherits(
        "log.message.format.version",
        string("message.format.version")
            .or("3.0-IV1")
            .protocol_version()
            .accepted("Without effect: records are always stored in format 2."),
    ),
    inherits(
        "log.cleaner.max.compaction.lag.ms",
        long("max.compaction.lag.ms")
            .or("9223372036854775807")
            .at_least(1)
            .kept("Age at which a record must be compacted."),
    ),
    inherits(
        "log.segment.delete.delay.ms",
        long("file.delete.delay.ms")
            .or("60000")
            .at_least(0)
            .kept("How long a deleted segment's file stays under a .deleted name."),
    ),
    inherits(
        "message.max.bytes",
        int("max.message.bytes").or("1048588").at_least(0).kept("Largest batch of records accepted, after compression."),
    ),
    inherits(
        "log.cleaner.min.compaction.lag.ms",
        long("min.compaction.lag.ms").or("0").at_least(0).kept("Age below which a record is not compacted."),
    ),
    inherits(
        "log.message.timestamp.type",
        string("message.timestamp.type")
            .or("CreateTime")
            .one_of(&["CreateTime", "LogAppendTime"])
            .kept("Whether a record keeps its producer's time or gets the time of its append."),
    ),
    inherits(
        "log.local.retention.bytes",
        long("local.retention.bytes").or("-2").at_least(-2).accepted("Size of local segments under tiered storage."),
    ),
    inherits(
        "log.preallocate",
        boolean("preallocate").or("false").kept("Whether a new segment's file is allocated in full."),
    ),
    inherits(
        "log.cleaner.min.cleanable.ratio",
        double("min.cleanable.dirty.ratio")
            .or("0.5")
            .fraction(0.0, 1.0)
            .kept("Share of uncompacted log that makes compaction worth while."),
    ),
    inherits(
        "log.index.interval.bytes",
        int("index.interval.bytes").or("4096").at_least(0).kept("Bytes of log between two index entries."),
    ),
    inherits(
        "unclean.leader.election.enable",
        boolean("unclean.leader.election.enable")
            .or("false")
            .kept("Whether a replica outside the in-sync set may lead when no other is left, at the price of lost records."),
    ),
    inherits(
        "log.retention.bytes",
        long("retention.bytes")
            .or("-1")
            .kept("Size of a partition beyond which old segments are deleted; -1 means no limit."),
    ),
    inherits(
        "log.cleaner.delete.retention.ms",
        long("delete.retention.ms")
            .or("86400000")
            .at_least(0)
            .kept("How long a deletion marker survives compaction."),
    ),
    inherits(
        "log.message.timestamp.after.max.ms",
        long("message.timestamp.after.max.ms")
            .or("9223372036854775807")
            .at_least(0)
            .kept("How far a record's time may lie after the broker's."),
    ),
    inherits(
        "log.message.timestamp.before.max.ms",
        long("message.timestamp.before.max.ms")
            .or("9223372036854775807")
            .at_least(0)
            .kept("How far a record's time may lie before the broker's."),
    ),
    inherits(
        "log.roll.ms",
        long("segment.ms").or("604800000").at_least(1).kept("Age at which a segment is closed."),
    ),
    inherits(
        "log.message.timestamp.difference.max.ms",
        long("message.timestamp.difference.max.ms")
            .or("9223372036854775807")
            .at_least(0)
            .kept("Deprecated: bound in both directions, where the two newer keys are not given."),
    ),
    inherits(
        "log.index.size.max.bytes",
        int("segment.index.bytes").or("10485760").at_least(4).kept("Size of an index file; a segment is closed when it is full."),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (String::from(*k), String::from(*v))).collect()
    }

    fn value(broker: &Layers, overrides: &BTreeMap<String, String>, name: &str) -> String {
        effective(find(name).expect("a topic key"), broker, overrides).to_string()
    }

    #[test]
    fn every_default_and_synonym_fits() {
        assert_eq!(KEYS.len(), 36);
        for key in KEYS {
            let default = key.definition.default.expect("topic keys have defaults");
            assert_eq!(
                key.definition.parse(default).map(|value| value.to_string()),
                Ok(String::from(default)),
                "{}",
                key.definition.name
            );
            assert_eq!(
                value(&Layers::default(), &BTreeMap::new(), key.definition.name),
                default,
                "{}",
                key.definition.name
            );
            if let Some(synonym) = key.broker_synonym {
                assert!(crate::config::table::find(synonym).is_some(), "{synonym}");
            }
        }
    }

    #[test]
    fn the_override_wins_over_the_broker_over_the_default() {
        let mut broker = Layers::default();
        assert_eq!(value(&broker, &map(&[]), "retention.ms"), "604800000");
        broker.fixed = map(&[("log.retention.minutes", "2"), ("log.roll.hours", "1")]);
        assert_eq!(value(&broker, &map(&[]), "retention.ms"), "120000");
        assert_eq!(value(&broker, &map(&[]), "segment.ms"), "3600000");
        broker.cluster = map(&[("log.retention.ms", "7")]);
        assert_eq!(value(&broker, &map(&[]), "retention.ms"), "7");
        assert_eq!(value(&broker, &map(&[("retention.ms", "9")]), "retention.ms"), "9");
        assert_eq!(value(&broker, &map(&[("retention.ms", "rubbish")]), "retention.ms"), "7");
    }

    #[test]
    fn the_deprecated_bound_on_times_rules_where_nothing_newer_is_set() {
        const BEFORE: &str = "message.timestamp.before.max.ms";
        const DIFFERENCE: &str = "message.timestamp.difference.max.ms";
        let bound =
            |broker: &Layers, overrides: &[(&str, &str)]| timestamp_bound_ms(BEFORE, broker, &map(overrides));
        let mut broker = Layers::default();
        assert_eq!(bound(&broker, &[]), i64::MAX);
        assert_eq!(bound(&broker, &[(DIFFERENCE, "5")]), 5);
        assert_eq!(bound(&broker, &[(DIFFERENCE, "5"), (BEFORE, "7")]), 7);
        broker.fixed = map(&[("log.message.timestamp.difference.max.ms", "9")]);
        assert_eq!(bound(&broker, &[]), 9);
        assert_eq!(bound(&broker, &[(BEFORE, "7")]), 7);
    }

    #[test]
    fn describes_sources_as_kafka_does() {
        let broker = Layers { cluster: map(&[("log.retention.ms", "86400000")]), ..Layers::default() };
        let all = describe(
            &broker,
            &map(&[("max.message.bytes", "2000000"), ("cleanup.policy", "compact, delete")]),
        );
        let shown = |name: &str| {
            let one = all.iter().find(|one| one.name == name).expect("a topic key");
            let synonyms: Vec<String> = one
                .synonyms
                .iter()
                .map(|s| format!("{}={} {}", s.name, s.value.as_deref().unwrap_or("null"), s.source as i8))
                .collect();
            (one.value.to_string(), one.source() as i8, synonyms.join(", "))
        };
        let expect =
            |value: &str, source, synonyms: &str| (String::from(value), source, String::from(synonyms));
        assert_eq!(
            shown("max.message.bytes"),
            expect("2000000", 1, "max.message.bytes=2000000 1, message.max.bytes=1048588 5")
        );
        assert_eq!(
            shown("retention.ms"),
            expect("86400000", 3, "log.retention.ms=86400000 3, log.retention.hours=168 5")
        );
        assert_eq!(shown("segment.ms"), expect("604800000", 5, ""));
        assert_eq!(
            shown("cleanup.policy"),
            expect("compact,delete", 1, "cleanup.policy=compact,delete 1, log.cleanup.policy=delete 5")
        );
    }

    #[test]
    fn refuses_in_kafkas_words() {
        for (pairs, expected) in [
            (&[("foo", "1")][..], "Unknown topic config name: foo"),
            (
                &[("retention.ms", "abc")],
                "Invalid value abc for configuration retention.ms: Not a number of type LONG",
            ),
            (
                &[("segment.bytes", "1")],
                "Invalid value 1 for configuration segment.bytes: Value must be at least 14",
            ),
            (
                &[("cleanup.policy", "delete,shrink")],
                "Invalid value shrink for configuration cleanup.policy: String must be one of: compact, delete",
            ),
            (
                &[("min.cleanable.dirty.ratio", "1.5")],
                "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
            ),
            (
                &[("preallocate", "maybe")],
                "Invalid value maybe for configuration preallocate: Expected value to be either true or false",
            ),
            (
                &[("compression.gzip.level", "0")],
                "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
            ),
            (
                &[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")],
                "conflict topic config setting min.compaction.lag.ms (9) > max.compaction.lag.ms (8)",
            ),
            (
                &[("message.format.version", "9.9")],
                "Invalid value 9.9 for configuration message.format.version: Version 9.9 is not a valid version",
            ),
            (
                &[("leader.replication.throttled.replicas", "x:1,2:3")],
                "Invalid value [x:1, 2:3] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            ),
            (
                &[("remote.log.copy.disable", "true")],
                "It is invalid to set `remote.log.delete.on.disable` or `remote.log.copy.disable` under Zookeeper's mode.",
            ),
            (
                &[("remote.storage.enable", "true")],
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
            ),
        ] {
            let refused = validate(&Layers::default(), &map(pairs)).map_err(|error| error.to_string());
            assert_eq!(refused, Err(String::from(expected)));
        }
        assert_eq!(
            validate(&Layers::default(), &map(&[("leader.replication.throttled.replicas", "0:1,1:2")])),
            Ok(())
        );
        assert_eq!(
            validate(&Layers::default(), &map(&[("leader.replication.throttled.replicas", "*")])),
            Ok(())
        );
    }
}
