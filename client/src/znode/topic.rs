//! `/brokers/topics/<topic>`: which brokers hold a topic's partitions, and the topic's id.
//!
//! Whoever rewrites the node keeps everything in it: a lost topic id makes every replica refuse
//! its leader, a lost `adding_replicas` or `removing_replicas` forgets a reassignment. A topic
//! node is created with its data in one write, never empty: a Kafka controller that meets a topic
//! node without data fails, and so does every one after it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::ZnodeError;
use super::json::{self, Fields, Object};
use crate::ids::{BrokerId, Uuid};

/// Holds one child for each topic.
pub const TOPICS: &str = "/brokers/topics";

/// The version with topic ids, written since inter-broker protocol 2.8.
pub const VERSION: i32 = 3;

const NODE: &str = "a topic's assignment";

pub fn path(topic: &str) -> String {
    format!("{TOPICS}/{topic}")
}

/// The replicas of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionAssignment {
    /// The preferred leader first. During a reassignment: the target in its order, then what
    /// remains of the original.
    pub replicas: Vec<BrokerId>,
    /// Those of `replicas` that a reassignment under way brings in.
    pub adding: Vec<BrokerId>,
    /// Those of `replicas` that leave when it is done.
    pub removing: Vec<BrokerId>,
}

impl PartitionAssignment {
    /// An assignment with no reassignment under way.
    pub fn of(replicas: Vec<BrokerId>) -> PartitionAssignment {
        PartitionAssignment { replicas, adding: Vec::new(), removing: Vec::new() }
    }

    pub fn is_being_reassigned(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas before the reassignment under way.
    pub fn origin(&self) -> Vec<BrokerId> {
        self.replicas.iter().copied().filter(|id| !self.adding.contains(id)).collect()
    }

    /// The replicas once the reassignment under way is done.
    pub fn target(&self) -> Vec<BrokerId> {
        self.replicas.iter().copied().filter(|id| !self.removing.contains(id)).collect()
    }
}

/// What a topic's node holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicAssignment {
    /// `None`: written by a tool older than 2.8, until the controller gives the topic an id.
    pub topic_id: Option<Uuid>,
    pub partitions: BTreeMap<i32, PartitionAssignment>,
}

impl TopicAssignment {
    /// Version 3 of the node.
    pub fn encode(&self) -> Vec<u8> {
        let mut node = Object::new().raw("partitions", &self.map_json(|partition| &partition.replicas, true));
        if let Some(id) = self.topic_id {
            node = node.string("topic_id", &id.to_string());
        }
        node.raw("adding_replicas", &self.map_json(|partition| &partition.adding, false))
            .raw("removing_replicas", &self.map_json(|partition| &partition.removing, false))
            .number("version", VERSION)
            .into_bytes()
    }

    fn map_json(&self, ids: impl Fn(&PartitionAssignment) -> &[BrokerId], with_empty: bool) -> String {
        self.partitions
            .iter()
            .map(|(number, partition)| (number, ids(partition)))
            .filter(|(_, ids)| with_empty || !ids.is_empty())
            .fold(Object::new(), |map, (number, ids)| map.raw(&number.to_string(), &json::brokers(ids)))
            .into_json()
    }

    /// Versions 1 to 3; the version itself is not looked at, as in Kafka.
    ///
    /// No data reads as a topic without partitions. Text that is not JSON is an error here; Kafka's
    /// controller goes on as if it were [`TopicAssignment::default`].
    pub fn decode(data: &[u8]) -> Result<TopicAssignment, ZnodeError> {
        if data.is_empty() {
            return Ok(TopicAssignment::default());
        }
        let value = json::parse(NODE, data)?;
        let fields = Fields::of(NODE, &value)?;
        let adding = fields.object_if_any("adding_replicas")?;
        let removing = fields.object_if_any("removing_replicas")?;
        let mut partitions = BTreeMap::new();
        for (key, ids) in fields.object_if_any("partitions")?.into_iter().flatten() {
            let number = partition_number(key)?;
            let assignment = PartitionAssignment {
                replicas: fields.as_brokers("partitions", ids)?,
                adding: brokers_of(fields, "adding_replicas", adding, key)?,
                removing: brokers_of(fields, "removing_replicas", removing, key)?,
            };
            partitions.insert(number, assignment);
        }
        Ok(TopicAssignment { topic_id: topic_id(fields)?, partitions })
    }
}

fn topic_id(fields: Fields<'_>) -> Result<Option<Uuid>, ZnodeError> {
    let Some(text) = fields.string_if_any("topic_id")? else { return Ok(None) };
    match Uuid::parse(text) {
        Some(id) => Ok(Some(id)),
        None => Err(ZnodeError::Unexpected {
            node: NODE,
            field: "topic_id",
            expected: "22 characters of base64",
            found: text.to_owned(),
        }),
    }
}

fn partition_number(key: &str) -> Result<i32, ZnodeError> {
    key.parse().map_err(|_| ZnodeError::Unexpected {
        node: NODE,
        field: "partitions",
        expected: "a partition's number",
        found: key.to_owned(),
    })
}

fn brokers_of(
    fields: Fields<'_>,
    field: &'static str,
    map: Option<&Map<String, Value>>,
    key: &str,
) -> Result<Vec<BrokerId>, ZnodeError> {
    match map.and_then(|map| map.get(key)) {
        None => Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(|id| fields.as_i32(field, id).map(BrokerId)).collect(),
        Some(other) => Err(ZnodeError::Unexpected {
            node: NODE,
            field,
            expected: "an array of broker ids",
            found: other.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[i32]) -> Vec<BrokerId> {
        numbers.iter().copied().map(BrokerId).collect()
    }

    fn topic() -> TopicAssignment {
        TopicAssignment {
            topic_id: Uuid::parse("7fJ2Vx0wQ0uC1nXo4sQm3A"),
            partitions: BTreeMap::from([
                (0, PartitionAssignment::of(ids(&[1, 2, 3]))),
                (1, PartitionAssignment::of(ids(&[2, 3, 1]))),
            ]),
        }
    }

    fn check(topic: TopicAssignment, text: &str) {
        assert_eq!(String::from_utf8(topic.encode()).unwrap(), text);
        assert_eq!(TopicAssignment::decode(text.as_bytes()), Ok(topic));
    }

    #[test]
    fn version_3_is_written_as_kafka_does() {
        check(
            topic(),
            r#"{"partitions":{"0":[1,2,3],"1":[2,3,1]},"topic_id":"7fJ2Vx0wQ0uC1nXo4sQm3A","adding_replicas":{},"removing_replicas":{},"version":3}"#,
        );
        check(
            TopicAssignment { topic_id: None, ..topic() },
            r#"{"partitions":{"0":[1,2,3],"1":[2,3,1]},"adding_replicas":{},"removing_replicas":{},"version":3}"#,
        );
        assert_eq!(path("t"), "/brokers/topics/t");
    }

    #[test]
    fn only_partitions_under_reassignment_are_in_the_extra_maps() {
        let mut topic = topic();
        let moving =
            PartitionAssignment { replicas: ids(&[4, 2, 3, 1]), adding: ids(&[4]), removing: ids(&[1]) };
        assert_eq!((moving.origin(), moving.target()), (ids(&[2, 3, 1]), ids(&[4, 2, 3])));
        assert!(moving.is_being_reassigned());
        topic.partitions.insert(1, moving);
        check(
            topic,
            r#"{"partitions":{"0":[1,2,3],"1":[4,2,3,1]},"topic_id":"7fJ2Vx0wQ0uC1nXo4sQm3A","adding_replicas":{"1":[4]},"removing_replicas":{"1":[1]},"version":3}"#,
        );
    }

    #[test]
    fn what_old_tools_write_is_read() {
        let v1 = br#"{"version":1,"partitions":{"10":[1],"2":[2]}}"#;
        let read = TopicAssignment::decode(v1).unwrap();
        assert_eq!(read.topic_id, None);
        assert_eq!(read.partitions.keys().copied().collect::<Vec<_>>(), [2, 10]);
        assert_eq!(TopicAssignment::decode(b""), Ok(TopicAssignment::default()));
        assert_eq!(TopicAssignment::decode(b"{}"), Ok(TopicAssignment::default()));
    }

    #[test]
    fn garbage_says_what_it_is() {
        let text = |data: &str| TopicAssignment::decode(data.as_bytes()).unwrap_err().to_string();
        assert!(text("{").starts_with("a topic's assignment does not hold JSON: "));
        assert_eq!(
            text(r#"{"partitions":{"x":[1]}}"#),
            "a topic's assignment has x in the field 'partitions', where a partition's number belongs"
        );
        assert_eq!(
            text(r#"{"partitions":{},"topic_id":"short"}"#),
            "a topic's assignment has short in the field 'topic_id', where 22 characters of base64 belongs"
        );
    }
}
