//! `/feature`: finalized feature levels (KIP-584). A cluster in ZooKeeper mode has none, and keeps
//! the node because brokers of Kafka wait for it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ZnodeError;
use super::json::{self, Fields, Object};

pub const PATH: &str = "/feature";

/// Since inter-broker protocol 3.3-IV0.
pub const VERSION: i32 = 2;

const NODE: &str = "/feature";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureStatus {
    Disabled,
    Enabled,
}

/// What the node holds: the level of each finalized feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    pub status: FeatureStatus,
    pub levels: BTreeMap<String, i16>,
}

impl Features {
    /// What a ZooKeeper-mode cluster of inter-broker protocol 3.9 has.
    pub fn none() -> Features {
        Features { status: FeatureStatus::Enabled, levels: BTreeMap::new() }
    }

    /// Version 2 of the node.
    pub fn encode(&self) -> Vec<u8> {
        let mut features = Object::new();
        for (name, level) in &self.levels {
            features = features.raw(name, &Object::new().number("max_version_level", *level).into_json());
        }
        let status = match self.status {
            FeatureStatus::Disabled => 0,
            FeatureStatus::Enabled => 1,
        };
        Object::new()
            .raw("features", &features.into_json())
            .number("version", VERSION)
            .number("status", status)
            .into_bytes()
    }

    /// Versions 1 and 2.
    pub fn decode(data: &[u8]) -> Result<Features, ZnodeError> {
        let value = json::parse(NODE, data)?;
        let fields = Fields::of(NODE, &value)?;
        let version = fields.i32("version")?;
        if version < 1 {
            return Err(ZnodeError::Version { node: NODE, version: version.into(), known: "1 and later" });
        }
        let status = match fields.i32("status")? {
            0 => FeatureStatus::Disabled,
            1 => FeatureStatus::Enabled,
            other => {
                let found = other.to_string();
                return Err(ZnodeError::Unexpected {
                    node: NODE,
                    field: "status",
                    expected: "0 or 1",
                    found,
                });
            }
        };
        let mut levels = BTreeMap::new();
        for (name, value) in fields.object("features")? {
            let level = value.get("max_version_level").and_then(Value::as_i64);
            let Some(level) = level.and_then(|level| i16::try_from(level).ok()) else {
                let (expected, found) = ("max_version_level", value.to_string());
                return Err(ZnodeError::Unexpected { node: NODE, field: "features", expected, found });
            };
            levels.insert(name.clone(), level);
        }
        Ok(Features { status, levels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_set_is_written_as_kafka_does() {
        let text = r#"{"features":{},"version":2,"status":1}"#;
        assert_eq!(String::from_utf8(Features::none().encode()).unwrap(), text);
        assert_eq!(Features::decode(text.as_bytes()), Ok(Features::none()));
    }

    #[test]
    fn levels_and_version_1_are_read() {
        let v2 = r#"{"features":{"f":{"max_version_level":3}},"version":2,"status":1}"#;
        let read = Features::decode(v2.as_bytes()).unwrap();
        assert_eq!(read.levels, BTreeMap::from([("f".to_owned(), 3)]));
        assert_eq!(String::from_utf8(read.encode()).unwrap(), v2);
        let v1 =
            br#"{"features":{"f":{"min_version_level":1,"max_version_level":3}},"version":1,"status":0}"#;
        assert_eq!(Features::decode(v1).unwrap(), Features { status: FeatureStatus::Disabled, ..read });
    }
}
