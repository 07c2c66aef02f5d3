//! `--output json`: one JSON document on stdout, the same over `--bootstrap-server` and `--zookeeper`.
//!
//! `--list`:
//! ```json
//! {"version":1,"topics":[
//!   {"name":"t","topicId":"7fJ2Vx0wQ0uC1nXo4sQm3A","internal":false,"markedForDeletion":false}]}
//! ```
//! `--describe`:
//! ```json
//! {"version":1,"topics":[
//!   {"name":"t","topicId":"7fJ2Vx0wQ0uC1nXo4sQm3A","partitionCount":1,"replicationFactor":2,
//!    "configs":{"retention.ms":"1000"},"markedForDeletion":false,
//!    "partitions":[{"partition":0,"leader":1,"replicas":[1,2],"isr":[1,2],
//!                   "addingReplicas":[],"removingReplicas":[]}]}]}
//! ```
//! Topics are sorted by name, partitions by number, `configs` by key; its values are texts and hold what is
//! set beyond Kafka's defaults (over `--zookeeper`: what the topic itself sets). `topicId` is null where none
//! is known, `leader` where there is none. The options that choose partitions (`--unavailable-partitions` and
//! its like) leave only those in `partitions`, and only the topics that have some; `--topics-with-overrides`
//! leaves `partitions` out. `markedForDeletion` can be true over `--zookeeper` only.
//! `version` rises when something above changes; fields may be added without that.

use client::ids::{BrokerId, Uuid};
use client::znode::topic_name;
use serde_json::{Map, Value, json};

use super::description::{Partition, Report, Topic};
use crate::tools::console::Console;

const VERSION: u32 = 1;

/// A topic of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) id: Option<Uuid>,
    pub(super) is_marked_for_deletion: bool,
}

pub(super) fn print_list(topics: &[Listed], console: &mut Console) {
    let listed = |topic: &Listed| {
        json!({
            "name": topic.name,
            "topicId": topic.id.map(|id| id.to_string()),
            "internal": topic_name::is_internal(&topic.name),
            "markedForDeletion": topic.is_marked_for_deletion,
        })
    };
    print(topics.iter().map(listed).collect(), console);
}

pub(super) fn print_descriptions(report: &Report, topics: &[Topic], console: &mut Console) {
    let mut topics: Vec<&Topic> = topics.iter().collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let shown = topics.into_iter().filter_map(|topic| describe(report, topic));
    print(shown.collect(), console);
}

fn print(topics: Vec<Value>, console: &mut Console) {
    console.line(json!({ "version": VERSION, "topics": topics }).to_string());
}

fn describe(report: &Report, topic: &Topic) -> Option<Value> {
    let partitions = report.partitions(topic);
    if !report.shows_topic(topic) && partitions.is_empty() {
        return None;
    }
    let mut configs: Vec<&(String, String)> = topic.configs.iter().collect();
    configs.sort();
    let configs: Map<String, Value> =
        configs.into_iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let mut described = json!({
        "name": topic.name,
        "topicId": topic.id.map(|id| id.to_string()),
        "partitionCount": topic.partitions.len(),
        "replicationFactor": topic.replication_factor,
        "configs": configs,
        "markedForDeletion": topic.is_marked_for_deletion,
    });
    if let (Some(fields), true) = (described.as_object_mut(), report.shows_partitions()) {
        fields.insert("partitions".to_owned(), partitions.into_iter().map(describe_partition).collect());
    }
    Some(described)
}

fn describe_partition(partition: &Partition) -> Value {
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<i32>>();
    let moving = partition.move_.as_ref();
    json!({
        "partition": partition.number,
        "leader": partition.leader.map(|id| id.0),
        "replicas": ids(&partition.replicas),
        "isr": ids(&partition.isr),
        "addingReplicas": ids(moving.map_or(&[], |move_| &move_.adding)),
        "removingReplicas": ids(moving.map_or(&[], |move_| &move_.removing)),
    })
}
