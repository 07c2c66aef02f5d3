//! `/ottla/eligible_replicas/<topic>-<partition>`: replicas outside the ISR that hold every record that was
//! acknowledged with acks=all (KIP-966 calls them eligible leader replicas), and others that may hold
//! more than members who lost the ends of their logs. A controller writes it together with the partition's state, and names the version that gives to the state: where the two
//! differ somebody wrote the state who knows nothing of this, and it counts for nothing.

use super::ZnodeError;
use super::json::{self, Fields, Object};
use crate::ids::{BrokerId, TopicPartition, Uuid, ZkVersion};

/// Has a child for each partition that has such replicas.
pub const ELIGIBLE_REPLICAS: &str = "/ottla/eligible_replicas";

const NODE: &str = "a list of eligible replicas";

pub fn path(partition: &TopicPartition) -> String {
    format!("{ELIGIBLE_REPLICAS}/{partition}")
}

/// Whose node it is, by the name of a child of [`ELIGIBLE_REPLICAS`].
pub fn partition_of(child: &str) -> Option<TopicPartition> {
    let (topic, number) = child.rsplit_once('-')?;
    let partition = TopicPartition::new(topic, number.parse().ok()?);
    (partition.to_string() == child).then_some(partition)
}

/// What the node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EligibleReplicas {
    /// Of the topic: another one may have its name later.
    pub topic_id: Uuid,
    /// The data version of the partition's state that this belongs to.
    pub state_version: ZkVersion,
    pub replicas: Vec<BrokerId>,
    /// They hold less than that for all that is known, but may hold what every member of the ISR has lost: they left
    /// it while its leader may have been gone already, or were in the list before and have lost something too.
    pub uncertain: Vec<BrokerId>,
}

impl EligibleReplicas {
    pub fn encode(&self) -> Vec<u8> {
        let node = Object::new()
            .number("version", 1)
            .string("topic_id", &self.topic_id.to_string())
            .number("state_version", self.state_version.0)
            .raw("replicas", &json::brokers(&self.replicas));
        match self.uncertain.is_empty() {
            true => node.into_bytes(),
            false => node.raw("uncertain", &json::brokers(&self.uncertain)).into_bytes(),
        }
    }

    pub fn decode(data: &[u8]) -> Result<EligibleReplicas, ZnodeError> {
        let value = json::parse(NODE, data)?;
        let fields = Fields::of(NODE, &value)?;
        let id = fields.string("topic_id")?;
        let topic_id = Uuid::parse(id).ok_or_else(|| ZnodeError::Unexpected {
            node: NODE,
            field: "topic_id",
            expected: "a topic id",
            found: id.to_owned(),
        })?;
        Ok(EligibleReplicas {
            topic_id,
            state_version: ZkVersion(fields.i32("state_version")?),
            replicas: fields.brokers("replicas")?,
            uncertain: fields.brokers_if_any("uncertain")?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_names_what_it_belongs_to() {
        let eligible = EligibleReplicas {
            topic_id: Uuid::parse("7fJ2Vx0wQ0uC1nXo4sQm3A").unwrap(),
            state_version: ZkVersion(7),
            replicas: vec![BrokerId(2), BrokerId(3)],
            uncertain: Vec::new(),
        };
        let text = r#"{"version":1,"topic_id":"7fJ2Vx0wQ0uC1nXo4sQm3A","state_version":7,"replicas":[2,3]}"#;
        assert_eq!(String::from_utf8(eligible.encode()).unwrap(), text);
        assert_eq!(EligibleReplicas::decode(text.as_bytes()), Ok(eligible.clone()));
        let doubtful = EligibleReplicas { uncertain: vec![BrokerId(4)], ..eligible };
        let text = text.replace("}", r#","uncertain":[4]}"#);
        assert_eq!(String::from_utf8(doubtful.encode()).unwrap(), text);
        assert_eq!(EligibleReplicas::decode(text.as_bytes()), Ok(doubtful));
        let odd = EligibleReplicas::decode(br#"{"topic_id":"x"}"#).unwrap_err().to_string();
        assert_eq!(
            odd,
            "a list of eligible replicas has x in the field 'topic_id', where a topic id belongs"
        );
    }

    #[test]
    fn the_name_is_the_partitions() {
        let partition = TopicPartition::new("a-b", 12);
        assert_eq!(path(&partition), "/ottla/eligible_replicas/a-b-12");
        assert_eq!(partition_of("a-b-12"), Some(partition));
        for foreign in ["", "a", "a-", "a-x", "a-01", "a-+1"] {
            assert_eq!(partition_of(foreign), None, "{foreign}");
        }
    }
}
