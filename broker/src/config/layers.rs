//! Where values come from, and which source wins: broker in ZooKeeper, then the cluster's default
//! in ZooKeeper, then `server.properties`, then Kafka's default (KIP-226). Pure.

use std::collections::BTreeMap;

use crate::config::definition::{Definition, Dynamic, Status};
use crate::config::table;
use crate::config::value::Value;

/// The texts of each source. Only what may be changed at run time is in the dynamic ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers {
    /// `server.properties` and `--override`.
    pub fixed: BTreeMap<String, String>,
    /// `/config/brokers/<default>`.
    pub cluster: BTreeMap<String, String>,
    /// `/config/brokers/<id>`.
    pub broker: BTreeMap<String, String>,
}

/// Where a value comes from, numbered as in DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
}

/// A key that bears on another key's value, with its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    /// `None` for a secret.
    pub value: Option<String>,
    pub source: Source,
}

impl Source {
    pub fn wire_code(self) -> i8 {
        self as i8
    }
}

impl Layers {
    /// What is set, by the source that wins; `None` if only the default is left.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.dynamic(name).or_else(|| self.fixed.get(name).map(String::as_str))
    }

    pub fn dynamic(&self, name: &str) -> Option<&str> {
        self.broker.get(name).or_else(|| self.cluster.get(name)).map(String::as_str)
    }

    /// The value that applies, whatever it comes from. `None` is null.
    ///
    /// A text that does not fit the definition counts as not set: it was reported when it was read.
    pub fn value(&self, definition: &Definition) -> Option<Value> {
        let set = self.get(definition.name).and_then(|text| definition.parse(text).ok());
        set.or_else(|| definition.default_value())
    }

    /// All that bears on a key, the winner first (`ConfigHelper.scala`). What would come before the
    /// key's own first mention is left out, as in Kafka: a static `log.retention.hours` does not show
    /// up as a synonym of `log.retention.ms` unless the latter is set.
    pub fn synonyms(&self, name: &str) -> Vec<Synonym> {
        let names = synonym_names(name);
        let sensitive = table::find_described(name).is_none_or(Definition::is_sensitive);
        let sources = [
            (Source::DynamicBroker, &self.broker),
            (Source::DynamicDefaultBroker, &self.cluster),
            (Source::StaticBroker, &self.fixed),
        ];
        let set = sources.into_iter().flat_map(|(source, layer)| {
            names.iter().filter_map(move |&name| Some((name, layer.get(name)?.as_str(), source)))
        });
        let defaults = names.iter().filter_map(|&name| {
            Some((name, table::broker_definitions().get(name)?.default?, Source::Default))
        });
        let all = set.chain(defaults).skip_while(|(mentioned, _, _)| *mentioned != name);
        all.map(|(name, value, source)| Synonym {
            name: String::from(name),
            value: (!sensitive).then(|| String::from(value)),
            source,
        })
        .collect()
    }
}

/// Takes out of a dynamic entity what may not be there, with the reason for each.
pub fn admit_dynamic(
    entity: BTreeMap<String, String>,
    is_cluster_default: bool,
) -> (BTreeMap<String, String>, Vec<(String, String)>) {
    let mut refused = Vec::new();
    let admitted = entity
        .into_iter()
        .filter(|(name, value)| match why_not_dynamic(name, value, is_cluster_default) {
            Some(why) => {
                refused.push((name.clone(), why));
                false
            }
            None => true,
        })
        .collect();
    (admitted, refused)
}

fn why_not_dynamic(name: &str, value: &str, is_cluster_default: bool) -> Option<String> {
    // Kafka keeps keys it does not know: a plug-in might.
    let definition = table::find(name)?;
    match definition.dynamic {
        Dynamic::ReadOnly => return Some(String::from("it cannot change while the broker runs")),
        Dynamic::PerBroker if is_cluster_default => {
            return Some(String::from("it can be set for a single broker only"));
        }
        Dynamic::PerBroker | Dynamic::ClusterWide => {}
    }
    match (definition.parse(value), definition.status) {
        (Err(wrong), _) => Some(wrong.to_string()),
        (Ok(parsed), Status::Refused(refusal)) if Some(&parsed) != definition.default_value().as_ref() => {
            Some(String::from(refusal.why))
        }
        (Ok(_), _) => None,
    }
}

/// Keys that stand for the same thing, the most telling first (`DynamicBrokerConfig.brokerConfigSynonyms`).
fn synonym_names(name: &str) -> Vec<&str> {
    const GROUPS: &[&[&str]] = &[
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
    ];
    match GROUPS.iter().find(|group| group.contains(&name)) {
        Some(group) => group.to_vec(),
        None => vec![name],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (String::from(*k), String::from(*v))).collect()
    }

    fn shown(layers: &Layers, name: &str) -> Vec<String> {
        let text =
            |s: Synonym| format!("{}={} {}", s.name, s.value.as_deref().unwrap_or("null"), s.source as i8);
        layers.synonyms(name).into_iter().map(text).collect()
    }

    #[test]
    fn the_broker_wins_over_the_cluster_over_the_file() {
        let mut layers = Layers { fixed: map(&[("message.max.bytes", "1")]), ..Layers::default() };
        assert_eq!(layers.get("message.max.bytes"), Some("1"));
        layers.cluster = map(&[("message.max.bytes", "2")]);
        assert_eq!(layers.get("message.max.bytes"), Some("2"));
        layers.broker = map(&[("message.max.bytes", "3")]);
        assert_eq!(layers.get("message.max.bytes"), Some("3"));
        assert_eq!(
            shown(&layers, "message.max.bytes"),
            [
                "message.max.bytes=3 2",
                "message.max.bytes=2 3",
                "message.max.bytes=1 4",
                "message.max.bytes=1048588 5"
            ]
        );
    }

    #[test]
    fn synonyms_begin_with_the_key_itself() {
        let mut layers = Layers::default();
        assert_eq!(shown(&layers, "log.retention.ms"), [""; 0]);
        assert_eq!(shown(&layers, "log.retention.hours"), ["log.retention.hours=168 5"]);
        layers.cluster = map(&[("log.retention.ms", "86400000")]);
        assert_eq!(
            shown(&layers, "log.retention.ms"),
            ["log.retention.ms=86400000 3", "log.retention.hours=168 5"]
        );
        layers.fixed = map(&[("password.encoder.secret", "x")]);
        assert_eq!(shown(&layers, "password.encoder.secret"), ["password.encoder.secret=null 4"]);
    }

    #[test]
    fn dynamic_entities_are_sifted() {
        let entity = map(&[
            ("listeners", "PLAINTEXT://:1"),
            ("max.connections", "-1"),
            ("num.partitions", "3"),
            ("log.retention.ms", "5"),
            ("unknown.key", "x"),
            ("ssl.keystore.location", "/k"),
        ]);
        let (admitted, refused) = admit_dynamic(entity, true);
        assert_eq!(admitted, map(&[("log.retention.ms", "5"), ("unknown.key", "x")]));
        let refused: Vec<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(refused, ["listeners", "max.connections", "num.partitions", "ssl.keystore.location"]);
    }
}
