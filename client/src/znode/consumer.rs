//! `/consumers/<group>/{ids,owners,offsets}`: consumer groups of the ZooKeeper era (0.8, 0.9), and
//! the offsets that OffsetCommit v0 writes for them.

use std::collections::BTreeMap;

use super::ZnodeError;
use super::json::{self, Fields, Object};
use crate::ids::Offset;

pub const CONSUMERS: &str = "/consumers";

const ID_NODE: &str = "a consumer's registration";
const OFFSET_NODE: &str = "a committed offset";

/// Holds an ephemeral child for each live member.
pub fn ids_path(group: &str) -> String {
    format!("{CONSUMERS}/{group}/ids")
}

pub fn id_path(group: &str, consumer: &str) -> String {
    format!("{}/{consumer}", ids_path(group))
}

pub fn owners_path(group: &str, topic: &str) -> String {
    format!("{CONSUMERS}/{group}/owners/{topic}")
}

/// An ephemeral node that holds the id of the thread that reads the partition, as plain text.
pub fn owner_path(group: &str, topic: &str, partition: i32) -> String {
    format!("{}/{partition}", owners_path(group, topic))
}

pub fn offsets_path(group: &str, topic: &str) -> String {
    format!("{CONSUMERS}/{group}/offsets/{topic}")
}

pub fn offset_path(group: &str, topic: &str, partition: i32) -> String {
    format!("{}/{partition}", offsets_path(group, topic))
}

/// The next offset to consume, in decimal.
pub fn encode_offset(offset: Offset) -> Vec<u8> {
    offset.0.to_string().into_bytes()
}

pub fn decode_offset(data: &[u8]) -> Result<Offset, ZnodeError> {
    if data.is_empty() {
        return Err(ZnodeError::Empty { node: OFFSET_NODE });
    }
    let text = String::from_utf8_lossy(data);
    text.parse().map(Offset).map_err(|_| ZnodeError::Malformed {
        node: OFFSET_NODE,
        expected: "a decimal number",
        reason: format!("it holds {text:?}"),
    })
}

/// How a member names the topics it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionPattern {
    Static,
    WhiteList,
    BlackList,
}

impl SubscriptionPattern {
    pub fn name(self) -> &'static str {
        match self {
            SubscriptionPattern::Static => "static",
            SubscriptionPattern::WhiteList => "white_list",
            SubscriptionPattern::BlackList => "black_list",
        }
    }

    pub fn parse(name: &str) -> Option<SubscriptionPattern> {
        match name {
            "static" => Some(SubscriptionPattern::Static),
            "white_list" => Some(SubscriptionPattern::WhiteList),
            "black_list" => Some(SubscriptionPattern::BlackList),
            _ => None,
        }
    }
}

/// What a member of a group says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRegistration {
    pub pattern: SubscriptionPattern,
    /// Streams per topic; with a list pattern the one key is a regular expression.
    pub subscription: BTreeMap<String, i32>,
    pub timestamp_ms: i64,
}

impl ConsumerRegistration {
    /// Version 1 of the node.
    pub fn encode(&self) -> Vec<u8> {
        let subscription = self
            .subscription
            .iter()
            .fold(Object::new(), |map, (topic, streams)| map.number(topic, *streams))
            .into_json();
        Object::new()
            .number("version", 1)
            .raw("subscription", &subscription)
            .string("pattern", self.pattern.name())
            .quoted_number("timestamp", self.timestamp_ms)
            .into_bytes()
    }

    pub fn decode(data: &[u8]) -> Result<ConsumerRegistration, ZnodeError> {
        let value = json::parse(ID_NODE, data)?;
        let fields = Fields::of(ID_NODE, &value)?;
        let pattern = fields.string("pattern")?;
        let mut subscription = BTreeMap::new();
        for (topic, streams) in fields.object("subscription")? {
            subscription.insert(topic.clone(), fields.as_i32("subscription", streams)?);
        }
        Ok(ConsumerRegistration {
            pattern: SubscriptionPattern::parse(pattern).ok_or_else(|| ZnodeError::Unexpected {
                node: ID_NODE,
                field: "pattern",
                expected: "static, white_list or black_list",
                found: pattern.to_owned(),
            })?,
            subscription,
            timestamp_ms: fields.timestamp("timestamp"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_written_as_kafka_does() {
        let text =
            r#"{"version":1,"subscription":{"topic1":2},"pattern":"static","timestamp":"1400000000000"}"#;
        let member = ConsumerRegistration {
            pattern: SubscriptionPattern::Static,
            subscription: BTreeMap::from([("topic1".into(), 2)]),
            timestamp_ms: 1400000000000,
        };
        assert_eq!(String::from_utf8(member.encode()).unwrap(), text);
        assert_eq!(ConsumerRegistration::decode(text.as_bytes()), Ok(member));
        assert_eq!(id_path("g", "g_h-1-0"), "/consumers/g/ids/g_h-1-0");
        assert_eq!(owner_path("g", "t", 1), "/consumers/g/owners/t/1");
    }

    #[test]
    fn offsets_are_plain_numbers() {
        assert_eq!(encode_offset(Offset(-3)), b"-3");
        assert_eq!(decode_offset(b"42"), Ok(Offset(42)));
        assert_eq!(
            decode_offset(b"many").unwrap_err().to_string(),
            "a committed offset does not hold a decimal number: it holds \"many\""
        );
        assert_eq!(offset_path("g", "t", 0), "/consumers/g/offsets/t/0");
    }
}
