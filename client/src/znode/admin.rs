//! `/admin/*`: orders to the controller, by the admin API and by tools of the ZooKeeper era.

use serde_json::Value;

use super::ZnodeError;
use super::json::{self, Fields, Object};
use crate::ids::{BrokerId, TopicPartition};

/// Holds one child, without data, for each topic that is to go.
pub const DELETE_TOPICS: &str = "/admin/delete_topics";

pub const REASSIGN_PARTITIONS: &str = "/admin/reassign_partitions";

pub const PREFERRED_REPLICA_ELECTION: &str = "/admin/preferred_replica_election";

const REASSIGN_NODE: &str = "/admin/reassign_partitions";
const ELECTION_NODE: &str = "/admin/preferred_replica_election";

pub fn delete_topic_path(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}

/// One partition's wished-for replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    pub partition: TopicPartition,
    pub replicas: Vec<BrokerId>,
}

/// Version 1 of `/admin/reassign_partitions`.
pub fn encode_reassignments(reassignments: &[Reassignment]) -> Vec<u8> {
    let partitions = json::array(reassignments.iter().map(|reassignment| {
        Object::new()
            .string("topic", &reassignment.partition.topic)
            .number("partition", reassignment.partition.partition)
            .raw("replicas", &json::brokers(&reassignment.replicas))
            .into_json()
    }));
    Object::new().number("version", 1).raw("partitions", &partitions).into_bytes()
}

/// A partition named twice counts once, as its last entry says.
pub fn decode_reassignments(data: &[u8]) -> Result<Vec<Reassignment>, ZnodeError> {
    let value = json::parse(REASSIGN_NODE, data)?;
    let mut reassignments: Vec<Reassignment> = Vec::new();
    for element in partitions(REASSIGN_NODE, &value)? {
        let fields = Fields::of(REASSIGN_NODE, element)?;
        let partition = topic_partition(fields)?;
        let replicas = fields.brokers("replicas")?;
        match reassignments.iter_mut().find(|earlier| earlier.partition == partition) {
            Some(earlier) => earlier.replicas = replicas,
            None => reassignments.push(Reassignment { partition, replicas }),
        }
    }
    Ok(reassignments)
}

/// Version 1 of `/admin/preferred_replica_election`.
pub fn encode_election(partitions: &[TopicPartition]) -> Vec<u8> {
    Object::new().number("version", 1).raw("partitions", &partition_list(partitions)).into_bytes()
}

pub fn decode_election(data: &[u8]) -> Result<Vec<TopicPartition>, ZnodeError> {
    let value = json::parse(ELECTION_NODE, data)?;
    read_partition_list(ELECTION_NODE, &value)
}

/// `[{"topic":"t","partition":0},…]`.
pub(super) fn partition_list(partitions: &[TopicPartition]) -> String {
    json::array(
        partitions
            .iter()
            .map(|tp| Object::new().string("topic", &tp.topic).number("partition", tp.partition).into_json()),
    )
}

pub(super) fn read_partition_list(
    node: &'static str,
    value: &Value,
) -> Result<Vec<TopicPartition>, ZnodeError> {
    partitions(node, value)?.iter().map(|element| topic_partition(Fields::of(node, element)?)).collect()
}

fn partitions<'a>(node: &'static str, value: &'a Value) -> Result<&'a [Value], ZnodeError> {
    Fields::of(node, value)?.array("partitions")
}

fn topic_partition(fields: Fields<'_>) -> Result<TopicPartition, ZnodeError> {
    Ok(TopicPartition::new(fields.string("topic")?, fields.i32("partition")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reassignments_are_written_as_kafka_does() {
        let text = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[4,5,6]}]}"#;
        let wished = vec![Reassignment {
            partition: TopicPartition::new("t", 0),
            replicas: vec![BrokerId(4), BrokerId(5), BrokerId(6)],
        }];
        assert_eq!(String::from_utf8(encode_reassignments(&wished)).unwrap(), text);
        assert_eq!(decode_reassignments(text.as_bytes()), Ok(wished));
    }

    #[test]
    fn the_last_entry_of_a_partition_counts() {
        let twice = br#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1],"log_dirs":["any"]},{"topic":"t","partition":0,"replicas":[2]}]}"#;
        let read = decode_reassignments(twice).unwrap();
        assert_eq!(read.iter().map(|entry| entry.replicas.clone()).collect::<Vec<_>>(), [[BrokerId(2)]]);
        assert_eq!(
            decode_reassignments(b"{}").unwrap_err().to_string(),
            "/admin/reassign_partitions lacks the field 'partitions'"
        );
    }

    #[test]
    fn elections_are_written_as_kafka_does() {
        let text = r#"{"version":1,"partitions":[{"topic":"t","partition":0}]}"#;
        let partitions = vec![TopicPartition::new("t", 0)];
        assert_eq!(String::from_utf8(encode_election(&partitions)).unwrap(), text);
        assert_eq!(decode_election(text.as_bytes()), Ok(partitions));
        assert_eq!(delete_topic_path("t"), "/admin/delete_topics/t");
    }
}
