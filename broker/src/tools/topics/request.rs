//! What `--create` and `--alter` ask for: counts, assignments and configuration, read and checked before
//! anything is sent.

use std::collections::BTreeMap;

use client::ids::BrokerId;

use super::options::Arguments;
use super::{Dialect, Failed};
use crate::config::{Value, topic};
use crate::tools::console::Console;
use crate::tools::hash_order;
use crate::tools::java_text::{parse_int, split};

/// A topic as it is to be, or as it is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicRequest {
    pub(super) topic: String,
    pub(super) partitions: Option<i32>,
    pub(super) replication_factor: Option<i32>,
    /// Replicas by partition number; `None` if nothing is said of them.
    pub(super) replicas: Option<BTreeMap<i32, Vec<BrokerId>>>,
    pub(super) configs: BTreeMap<String, String>,
    pub(super) configs_to_delete: Vec<String>,
}

impl TopicRequest {
    pub(super) fn read(
        dialect: Dialect,
        arguments: &Arguments,
        console: &mut Console,
    ) -> Result<TopicRequest, Failed> {
        let topic = arguments.value("topic")?.unwrap_or_default().to_owned();
        let partitions = arguments.integer("partitions")?;
        let replication_factor = arguments.integer("replication-factor")?;
        let assignment = arguments.value("replica-assignment")?.filter(|text| !text.is_empty());
        let replicas = assignment.map(parse_assignment).transpose()?;
        let configs = parse_configs(arguments.values("config"))?;
        check_configs(&configs)?;
        if let Some(version) = configs.get("message.format.version") {
            warn_of_format_version(dialect, version, console);
        }
        let configs_to_delete = arguments.values("delete-config").iter().map(|name| name.trim().to_owned());
        let configs_to_delete: Vec<String> = configs_to_delete.collect();
        check_names(&configs_to_delete)?;
        Ok(TopicRequest { topic, partitions, replication_factor, replicas, configs, configs_to_delete })
    }
}

/// `1:2,2:3`: the replicas of partition 0, of partition 1, and so on.
fn parse_assignment(text: &str) -> Result<BTreeMap<i32, Vec<BrokerId>>, Failed> {
    let mut assignment: BTreeMap<i32, Vec<BrokerId>> = BTreeMap::new();
    for (partition, replicas) in (0..).zip(split(text, ',')) {
        let ids = split(replicas, ':').into_iter().map(|id| parse_int(id.trim()).map(BrokerId));
        let ids: Vec<BrokerId> = ids.collect::<Result<_, String>>().map_err(Failed::new)?;
        let repeated = repeated(&ids);
        if !repeated.is_empty() {
            return Err(Failed::new(format!(
                "Partition replica lists may not contain duplicate entries: {}",
                repeated.join(",")
            )));
        }
        if assignment.get(&0).is_some_and(|first| first.len() != ids.len()) {
            return Err(Failed::new(format!(
                "Partition {partition} has different replication factor: {ids:?}"
            )));
        }
        assignment.insert(partition, ids);
    }
    Ok(assignment)
}

fn repeated(ids: &[BrokerId]) -> Vec<String> {
    let is_again = |(at, id): &(usize, &BrokerId)| ids.iter().take(*at).any(|earlier| earlier == *id);
    let mut again: Vec<BrokerId> = ids.iter().enumerate().filter(is_again).map(|(_, id)| *id).collect();
    again.sort_unstable();
    again.dedup();
    again.iter().map(BrokerId::to_string).collect()
}

fn parse_configs(given: &[String]) -> Result<BTreeMap<String, String>, Failed> {
    let mut configs = BTreeMap::new();
    for pair in given {
        match split(pair, '=').as_slice() {
            [name, value] => configs.insert(name.trim().to_owned(), value.trim().to_owned()),
            _ => {
                return Err(Failed::new(
                    "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
                ));
            }
        };
    }
    Ok(configs)
}

/// What can be said of a configuration without the brokers' own (`LogConfig.validate` of Kafka's tool).
pub(super) fn check_configs(configs: &BTreeMap<String, String>) -> Result<(), Failed> {
    check_names(&configs.keys().cloned().collect::<Vec<_>>())?;
    let mut values = BTreeMap::new();
    for key in topic::topic_keys() {
        let name = key.definition.name;
        let value = match configs.get(name) {
            Some(text) => Some(key.definition.parse(text).map_err(|wrong| Failed::new(wrong.to_string()))?),
            None => key.definition.default_value(),
        };
        values.insert(name, value);
    }
    let lag = |name: &str| match values.get(name) {
        Some(Some(Value::Long(millis))) => Some(*millis),
        _ => None,
    };
    match (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms")) {
        (Some(min_ms), Some(max_ms)) if min_ms > max_ms => {
            Err(Failed::new(topic::TopicConfigError::CompactionLags { min_ms, max_ms }.to_string()))
        }
        _ => Ok(()),
    }
}

fn check_names(names: &[String]) -> Result<(), Failed> {
    let mut unknown: Vec<&String> = names.iter().collect();
    hash_order::sort(&mut unknown, hash_order::DEFAULT_CAPACITY, |name| name);
    match unknown.into_iter().find(|name| topic::find(name).is_none()) {
        Some(name) => Err(Failed::new(topic::TopicConfigError::Unknown(name.clone()).to_string())),
        None => Ok(()),
    }
}

fn warn_of_format_version(dialect: Dialect, version: &str, console: &mut Console) {
    let more = match dialect {
        Dialect::Brokers => {
            " or if the inter.broker.protocol.version is 3.0 or newer. This configuration is deprecated and it \
             will be removed in Apache Kafka 4.0."
        }
        Dialect::ZooKeeper => ".",
    };
    console.line(format!(
        "WARNING: The configuration message.format.version={version} is specified. This configuration will be \
         ignored if the version is newer than the inter.broker.protocol.version specified in the broker{more}"
    ));
}

/// Warns of names that metrics cannot tell from each other.
pub(super) fn warn_of_collisions(topic: &str, console: &mut Console) {
    if client::znode::topic_name::has_collision_chars(topic) {
        console.line(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
             collide. To avoid issues it is best to use either, but not both.",
        );
    }
}
