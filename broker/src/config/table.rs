//! Every key of `server.properties` that Kafka 3.9 knows, with its default. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::config::definition::{Definition, boolean, int, long, string};

mod groups;
mod identity;
mod kraft;
mod log;
mod network;
mod remote;
mod replication;
mod security;

/// All definitions of a broker's configuration, by name (`KafkaConfig.configDef`).
pub fn broker_definitions() -> &'static BTreeMap<&'static str, &'static Definition> {
    static BY_NAME: LazyLock<BTreeMap<&'static str, &'static Definition>> = LazyLock::new(|| {
        let areas = [
            identity::TABLE,
            network::TABLE,
            replication::TABLE,
            log::TABLE,
            groups::TABLE,
            security::TABLE,
            kraft::TABLE,
            remote::TABLE,
        ];
        areas.into_iter().flatten().map(|definition| (definition.name, definition)).collect()
    });
    &BY_NAME
}

/// Keys that exist only in ZooKeeper, under `/config/brokers` (`DynamicConfig.Broker`).
pub const DYNAMIC_ONLY: &[Definition] = &[
    long("leader.replication.throttled.rate").or("9223372036854775807").at_least(0).per_broker().accepted(
        "Bytes per second a leader gives to throttled followers; replication is not throttled here.",
    ),
    long("follower.replication.throttled.rate")
        .or("9223372036854775807")
        .at_least(0)
        .per_broker()
        .accepted("Bytes per second a throttled follower takes; replication is not throttled here."),
    long("replica.alter.log.dirs.io.max.bytes.per.second")
        .or("9223372036854775807")
        .at_least(0)
        .per_broker()
        .accepted("Bytes per second of moves between folders; there are none here."),
];

/// Keys that Kafka's brokers do not know. They are not listed by DescribeConfigs, whose readers know
/// Kafka's; asked for by name they are answered.
pub const OURS: &[Definition] = &[
    string("offsets.storage")
        .or("zookeeper")
        .one_of(&["zookeeper", "kafka", "both"])
        .kept("Where committed offsets are kept: in ZooKeeper, in __consumer_offsets, or in both."),
    boolean("broker.death.detection.enable").or("true").kept(
        "Whether a broker whose process died is replaced at once: others notice that its connections ended and its \
         listener refuses new ones, and remove its registration. Otherwise its ZooKeeper session has to end first.",
    ),
    boolean("flush.before.ack").or("false").kept(
        "Whether records are synced to disk before they are acknowledged: by the leader, and with acks=all by every \
         replica in sync. Many records share one sync.",
    ),
];

/// Keys of Kafka's authorizer. They mean nothing without `authorizer.class.name`.
pub const OF_AUTHORIZER: &[Definition] = &[
    string("super.users").accepted("Principals that the authorizer allows everything."),
    boolean("allow.everyone.if.no.acl.found")
        .or("false")
        .accepted("Whether the authorizer allows what no rule forbids."),
    string("authorizer.zookeeper.url").accepted("The authorizer's own ZooKeeper."),
    int("authorizer.zookeeper.session.timeout.ms")
        .accepted("Session timeout of the authorizer's own ZooKeeper."),
    int("authorizer.zookeeper.connection.timeout.ms")
        .accepted("Connection timeout of the authorizer's own ZooKeeper."),
];

/// Prefixes of keys that belong to plug-ins of tiered storage, which is off.
pub const PLUGIN_PREFIXES: &[&str] = &["rsm.config.", "rlmm.config."];

/// Before a listener's name in a key that is meant for that listener alone.
pub const LISTENER_PREFIX: &str = "listener.name.";

/// A broker key, a key of [`DYNAMIC_ONLY`], of [`OURS`] or of [`OF_AUTHORIZER`].
pub fn find(name: &str) -> Option<&'static Definition> {
    find_described(name).or_else(|| OF_AUTHORIZER.iter().find(|definition| definition.name == name))
}

/// A key that DescribeConfigs knows the type of. Any other counts as a secret there.
pub fn find_described(name: &str) -> Option<&'static Definition> {
    let others = || DYNAMIC_ONLY.iter().chain(OURS).find(|definition| definition.name == name);
    broker_definitions().get(name).copied().or_else(others)
}

/// The known key that a person most likely meant.
pub fn nearest(unknown: &str) -> Option<&'static str> {
    let others = OF_AUTHORIZER.iter().chain(OURS).map(|definition| definition.name);
    let names = broker_definitions().keys().copied().chain(others);
    let far = unknown.len() / 3 + 1;
    names
        .map(|name| (edit_distance(unknown, name), name))
        .min()
        .and_then(|(distance, name)| (distance <= far).then_some(name))
}

/// Levenshtein's distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (above, y) in row.iter().skip(1).zip(b.bytes()) {
            left = (diagonal + usize::from(x != y)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::definition::Status;

    #[test]
    fn every_default_fits_its_definition() {
        let all = broker_definitions().values().copied().chain(DYNAMIC_ONLY).chain(OURS);
        for definition in all.chain(OF_AUTHORIZER) {
            if let Some(default) = definition.default {
                let parsed = definition.parse(default);
                assert_eq!(
                    parsed.as_ref().map(ToString::to_string),
                    Ok(String::from(default)),
                    "{}",
                    definition.name
                );
            }
            assert!(definition.doc.ends_with('.'), "{}", definition.name);
        }
    }

    #[test]
    fn the_table_has_each_key_of_kafka_once() {
        let areas = [
            identity::TABLE,
            network::TABLE,
            replication::TABLE,
            log::TABLE,
            groups::TABLE,
            security::TABLE,
            kraft::TABLE,
            remote::TABLE,
        ];
        let rows: usize = areas.iter().map(|rows| rows.len()).sum();
        assert_eq!((rows, broker_definitions().len()), (328, 328));
    }

    #[test]
    fn security_is_never_waved_through() {
        for (name, definition) in broker_definitions() {
            if name.starts_with("ssl.") || name.starts_with("sasl.") || name.starts_with("zookeeper.ssl.") {
                assert!(matches!(definition.status, Status::Refused(_)), "{name}");
            }
        }
    }

    #[test]
    fn typing_errors_find_their_key() {
        for (typed, meant) in [
            ("num.partition", Some("num.partitions")),
            ("log.retention.hour", Some("log.retention.hours")),
            ("zookeper.connect", Some("zookeeper.connect")),
            ("broker.idd", Some("broker.id")),
            ("something.else.entirely", None),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }
}
