//! `/config/**`: overrides of topics, brokers, clients, users and addresses, and
//! `/config/changes`, which tells the brokers what to read again.

use std::collections::BTreeMap;
use std::fmt;

use super::ZnodeError;
use super::json::{self, Fields, Object};
use super::sanitized::{desanitize, sanitize};
use crate::ids::BrokerId;

/// Holds one sequential child for each change of the last quarter of an hour.
pub const CHANGES: &str = "/config/changes";

/// What a change's name begins with; ZooKeeper adds ten digits.
pub const CHANGE_PREFIX: &str = "config_change_";

/// Stands for "all of this kind that have no node of their own".
pub const DEFAULT: &str = "<default>";

pub const TOPICS: &str = "/config/topics";
pub const BROKERS: &str = "/config/brokers";
pub const CLIENTS: &str = "/config/clients";
pub const USERS: &str = "/config/users";
pub const IPS: &str = "/config/ips";

const NODE: &str = "a config node";
const CHANGE_NODE: &str = "a config change";

/// The path of a new change, to be created sequentially.
pub fn change_path() -> String {
    format!("{CHANGES}/{CHANGE_PREFIX}")
}

/// The number at the end of a change's name. `None`: not such a name.
pub fn change_number(name: &str) -> Option<i64> {
    name.strip_prefix(CHANGE_PREFIX)?.parse().ok()
}

/// Whose configuration it is. `None` is the default of its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigEntity {
    Topic(String),
    Broker(Option<BrokerId>),
    Client(Option<String>),
    User(Option<String>),
    UserClient { user: Option<String>, client: Option<String> },
    Ip(Option<String>),
}

impl ConfigEntity {
    /// Where the entity's overrides are.
    pub fn path(&self) -> String {
        format!("/config/{self}")
    }

    /// Reads what a change node of version 2 names, such as `users/u/clients/<default>`.
    pub fn parse(entity_path: &str) -> Option<ConfigEntity> {
        let parts: Vec<&str> = entity_path.split('/').collect();
        match parts.as_slice() {
            ["topics", topic] => Some(ConfigEntity::Topic((*topic).to_owned())),
            ["brokers", name] if *name == DEFAULT => Some(ConfigEntity::Broker(None)),
            ["brokers", id] => Some(ConfigEntity::Broker(Some(BrokerId(id.parse().ok()?)))),
            ["clients", client] => Some(ConfigEntity::Client(unless_default(client)?)),
            ["users", user] => Some(ConfigEntity::User(unless_default(user)?)),
            ["users", user, "clients", client] => Some(ConfigEntity::UserClient {
                user: unless_default(user)?,
                client: unless_default(client)?,
            }),
            ["ips", ip] => Some(ConfigEntity::Ip((*ip != DEFAULT).then(|| (*ip).to_owned()))),
            _ => None,
        }
    }

    /// Whether the node goes when its last override goes (quotas do, topics and brokers stay).
    pub fn is_deleted_when_empty(&self) -> bool {
        !matches!(self, ConfigEntity::Topic(_) | ConfigEntity::Broker(_))
    }
}

/// The path below `/config`, as a change names it: users and clients sanitized.
impl fmt::Display for ConfigEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_default = |name: &Option<String>| name.as_deref().map_or(DEFAULT.to_owned(), sanitize);
        match self {
            ConfigEntity::Topic(topic) => write!(f, "topics/{topic}"),
            ConfigEntity::Broker(None) => write!(f, "brokers/{DEFAULT}"),
            ConfigEntity::Broker(Some(id)) => write!(f, "brokers/{id}"),
            ConfigEntity::Client(client) => write!(f, "clients/{}", or_default(client)),
            ConfigEntity::User(user) => write!(f, "users/{}", or_default(user)),
            ConfigEntity::UserClient { user, client } => {
                write!(f, "users/{}/clients/{}", or_default(user), or_default(client))
            }
            ConfigEntity::Ip(ip) => write!(f, "ips/{}", ip.as_deref().unwrap_or(DEFAULT)),
        }
    }
}

fn unless_default(part: &str) -> Option<Option<String>> {
    if part == DEFAULT { Some(None) } else { desanitize(part).map(Some) }
}

/// An entity's overrides by name.
pub type Overrides = BTreeMap<String, String>;

/// `{"version":1,"config":{…}}`, also without any override.
pub fn encode(overrides: &Overrides) -> Vec<u8> {
    let config =
        overrides.iter().fold(Object::new(), |map, (name, value)| map.string(name, value)).into_json();
    Object::new().number("version", 1).raw("config", &config).into_bytes()
}

/// No data, and data without `config`, are no overrides. Text that is not such a node is an error
/// for the log; Kafka goes on as if there were no overrides.
pub fn decode(data: &[u8]) -> Result<Overrides, ZnodeError> {
    if data.is_empty() {
        return Ok(Overrides::new());
    }
    let value = json::parse(NODE, data)?;
    let fields = Fields::of(NODE, &value)?;
    let mut overrides = Overrides::new();
    for (name, value) in fields.object_if_any("config")?.into_iter().flatten() {
        overrides.insert(name.clone(), fields.as_string("config", value)?.to_owned());
    }
    Ok(overrides)
}

/// Version 2 of a change.
pub fn encode_change(entity: &ConfigEntity) -> Vec<u8> {
    Object::new().number("version", 2).string("entity_path", &entity.to_string()).into_bytes()
}

/// Versions 1 (0.9: topics and clients only) and 2. What 0.8.2 wrote, a bare JSON string, is
/// refused, as in Kafka 3.9: such a change takes effect when the broker starts.
pub fn decode_change(data: &[u8]) -> Result<ConfigEntity, ZnodeError> {
    let value = json::parse(CHANGE_NODE, data)?;
    if let Some(topic) = value.as_str() {
        return Err(ZnodeError::Malformed {
            node: CHANGE_NODE,
            expected: "a JSON object",
            reason: format!(
                "it is of the form that Kafka 0.8 wrote for the topic '{topic}', which is not supported"
            ),
        });
    }
    let fields = Fields::of(CHANGE_NODE, &value)?;
    match fields.i32("version")? {
        1 => change_of_v1(fields),
        2 => {
            let path = fields.string("entity_path")?;
            ConfigEntity::parse(path).ok_or_else(|| unknown_entity("entity_path", path))
        }
        version => Err(ZnodeError::Version { node: CHANGE_NODE, version: version.into(), known: "1 and 2" }),
    }
}

fn change_of_v1(fields: Fields<'_>) -> Result<ConfigEntity, ZnodeError> {
    let name = fields.string("entity_name")?;
    match fields.string("entity_type")? {
        "topics" => Ok(ConfigEntity::Topic(name.to_owned())),
        "clients" => {
            unless_default(name).map(ConfigEntity::Client).ok_or_else(|| unknown_entity("entity_name", name))
        }
        other => Err(ZnodeError::Unexpected {
            node: CHANGE_NODE,
            field: "entity_type",
            expected: "'topics' or 'clients'",
            found: other.to_owned(),
        }),
    }
}

fn unknown_entity(field: &'static str, found: &str) -> ZnodeError {
    ZnodeError::Unexpected {
        node: CHANGE_NODE,
        field,
        expected: "the path of a topic, broker, client, user or address",
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_written_as_kafka_does() {
        let text = r#"{"version":1,"config":{"cleanup.policy":"compact","retention.ms":"86400000"}}"#;
        let overrides = Overrides::from([
            ("retention.ms".into(), "86400000".into()),
            ("cleanup.policy".into(), "compact".into()),
        ]);
        assert_eq!(String::from_utf8(encode(&overrides)).unwrap(), text);
        assert_eq!(decode(text.as_bytes()), Ok(overrides));
        assert_eq!(encode(&Overrides::new()), br#"{"version":1,"config":{}}"#);
        for nothing in ["", "{}", r#"{"config":null}"#] {
            assert_eq!(decode(nothing.as_bytes()), Ok(Overrides::new()), "{nothing}");
        }
        assert_eq!(
            decode(br#"{"config":{"a":1}}"#).unwrap_err().to_string(),
            "a config node has 1 in the field 'config', where a string belongs"
        );
    }

    #[test]
    fn every_entity_has_its_path_and_is_read_back_from_it() {
        let name = |text: &str| Some(text.to_owned());
        let cases = [
            (ConfigEntity::Topic("t".into()), "topics/t"),
            (ConfigEntity::Broker(Some(BrokerId(1))), "brokers/1"),
            (ConfigEntity::Broker(None), "brokers/<default>"),
            (ConfigEntity::Client(name("a b")), "clients/a%20b"),
            (ConfigEntity::User(None), "users/<default>"),
            (ConfigEntity::UserClient { user: name("u"), client: None }, "users/u/clients/<default>"),
            (ConfigEntity::Ip(name("1.2.3.4")), "ips/1.2.3.4"),
        ];
        for (entity, path) in cases {
            assert_eq!(entity.to_string(), path);
            assert_eq!(entity.path(), format!("/config/{path}"));
            assert_eq!(ConfigEntity::parse(path), Some(entity.clone()));
            let change = format!(r#"{{"version":2,"entity_path":"{path}"}}"#);
            assert_eq!(String::from_utf8(encode_change(&entity)).unwrap(), change);
            assert_eq!(decode_change(change.as_bytes()), Ok(entity));
        }
        assert_eq!(ConfigEntity::parse("brokers/x"), None);
        assert_eq!(ConfigEntity::parse("topics"), None);
    }

    #[test]
    fn old_changes_are_read_or_refused_in_words() {
        let v1 = br#"{"version":1,"entity_type":"topics","entity_name":"t"}"#;
        assert_eq!(decode_change(v1), Ok(ConfigEntity::Topic("t".into())));
        let text = |data: &str| decode_change(data.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            text(r#""t""#),
            "a config change does not hold a JSON object: it is of the form that Kafka 0.8 wrote for the topic 't', which is not supported"
        );
        assert_eq!(
            text(r#"{"version":1,"entity_type":"users","entity_name":"u"}"#),
            "a config change has users in the field 'entity_type', where 'topics' or 'clients' belongs"
        );
        assert_eq!(
            text(r#"{"version":3}"#),
            "a config change has version 3, which is not one of those known (1 and 2)"
        );
    }

    #[test]
    fn changes_are_numbered() {
        assert_eq!(change_path(), "/config/changes/config_change_");
        assert_eq!(change_number("config_change_0000000042"), Some(42));
        assert_eq!(change_number("other_0000000042"), None);
    }
}
