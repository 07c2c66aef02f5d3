//! `/brokers/ids/<id>`: a live broker's registration, an ephemeral node. Its czxid is the
//! broker's epoch.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::ZnodeError;
use super::json::{self, Fields, Object};
use crate::ids::BrokerId;

/// Holds one child for each live broker.
pub const IDS: &str = "/brokers/ids";

/// Its data version is the source of generated broker ids (`broker.id=-1`).
pub const SEQID: &str = "/brokers/seqid";

/// The version written at inter-broker protocol 2.7-IV0 and later.
pub const VERSION: i32 = 5;

const NODE: &str = "a broker's registration";

pub fn path(id: BrokerId) -> String {
    format!("{IDS}/{id}")
}

/// How bytes travel on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    const ALL: [SecurityProtocol; 4] = [
        SecurityProtocol::Plaintext,
        SecurityProtocol::Ssl,
        SecurityProtocol::SaslPlaintext,
        SecurityProtocol::SaslSsl,
    ];

    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The number that stands for it in UpdateMetadata requests.
    pub fn id(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }

    /// Reads [`name`](SecurityProtocol::name) in any case, as Kafka does.
    pub fn parse(name: &str) -> Option<SecurityProtocol> {
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// By its [`id`](SecurityProtocol::id).
    pub fn of_id(id: i16) -> Option<SecurityProtocol> {
        Self::ALL.into_iter().find(|protocol| protocol.id() == id)
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a broker can be reached: one of its advertised listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, in capitals, such as `INTERNAL`.
    pub listener: String,
    pub security_protocol: SecurityProtocol,
    /// Without brackets, also for an IPv6 address.
    pub host: String,
    pub port: i32,
}

impl Endpoint {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        let Endpoint { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// `NAME://host:port`
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.listener, self.address())
    }
}

/// The versions of a feature that a broker can work with. Kafka 3.9 in ZooKeeper mode has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupportedVersions {
    pub min: i16,
    pub max: i16,
}

/// What a broker says of itself while it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// At least one. The first with PLAINTEXT is what clients of 0.8 use.
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
    /// −1: no JMX port.
    pub jmx_port: i32,
    /// Milliseconds since 1970. −1: not known.
    pub timestamp_ms: i64,
    pub features: BTreeMap<String, SupportedVersions>,
}

impl Registration {
    /// Version 5 of the node.
    pub fn encode(&self) -> Vec<u8> {
        let protocols = self
            .endpoints
            .iter()
            .fold(Object::new(), |map, endpoint| {
                map.string(&endpoint.listener, endpoint.security_protocol.name())
            })
            .into_json();
        let endpoints =
            json::array(self.endpoints.iter().map(|endpoint| json::string(&endpoint.to_string())));
        let mut node = Object::new()
            .raw("features", &self.features_json())
            .raw("listener_security_protocol_map", &protocols)
            .raw("endpoints", &endpoints);
        if let Some(rack) = &self.rack {
            node = node.string("rack", rack);
        }
        let plaintext =
            self.endpoints.iter().find(|endpoint| endpoint.security_protocol == SecurityProtocol::Plaintext);
        let host = plaintext.map_or_else(|| String::from("null"), |endpoint| json::string(&endpoint.host));
        node.number("jmx_port", self.jmx_port)
            .number("port", plaintext.map_or(-1, |endpoint| endpoint.port))
            .raw("host", &host)
            .number("version", VERSION)
            .quoted_number("timestamp", self.timestamp_ms)
            .into_bytes()
    }

    fn features_json(&self) -> String {
        let mut features = Object::new();
        for (name, versions) in &self.features {
            let range = Object::new()
                .number("min_version", versions.min)
                .number("max_version", versions.max)
                .into_json();
            features = features.raw(name, &range);
        }
        features.into_json()
    }

    /// Versions 1 (0.8) to 5.
    pub fn decode(data: &[u8]) -> Result<Registration, ZnodeError> {
        let value = json::parse(NODE, data)?;
        let fields = Fields::of(NODE, &value)?;
        let version = fields.i32("version")?;
        if version < 1 {
            return Err(ZnodeError::Version { node: NODE, version: version.into(), known: "1 and later" });
        }
        let endpoints = if version == 1 { vec![endpoint_of_v1(fields)?] } else { endpoints(fields)? };
        Ok(Registration {
            endpoints,
            rack: fields.string_if_any("rack")?.map(String::from),
            jmx_port: fields.i32("jmx_port")?,
            timestamp_ms: fields.timestamp("timestamp"),
            features: features(fields)?,
        })
    }
}

fn endpoint_of_v1(fields: Fields<'_>) -> Result<Endpoint, ZnodeError> {
    Ok(Endpoint {
        listener: String::from("PLAINTEXT"),
        security_protocol: SecurityProtocol::Plaintext,
        host: fields.string("host")?.to_owned(),
        port: fields.i32("port")?,
    })
}

fn endpoints(fields: Fields<'_>) -> Result<Vec<Endpoint>, ZnodeError> {
    const FIELD: &str = "endpoints";
    let protocols = fields.object_if_any("listener_security_protocol_map")?;
    let read = |value: &Value| {
        let unexpected = |expected| ZnodeError::Unexpected {
            node: NODE,
            field: FIELD,
            expected,
            found: value.to_string(),
        };
        let (listener, host, port) =
            value.as_str().and_then(split_endpoint).ok_or_else(|| unexpected("NAME://host:port"))?;
        // Before the map existed (0.10.2) a listener's name was its protocol's.
        let protocol = match protocols {
            Some(map) => map.get(listener).and_then(Value::as_str),
            None => Some(listener),
        };
        let security_protocol = protocol
            .and_then(SecurityProtocol::parse)
            .ok_or_else(|| unexpected("a listener with a known security protocol"))?;
        Ok(Endpoint { listener: listener.to_owned(), security_protocol, host: host.to_owned(), port })
    };
    fields.array(FIELD)?.iter().map(read).collect()
}

/// `NAME://host:port` or `NAME://[v6]:port`.
fn split_endpoint(text: &str) -> Option<(&str, &str, i32)> {
    let (listener, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((listener, host, port.parse().ok()?))
}

fn features(fields: Fields<'_>) -> Result<BTreeMap<String, SupportedVersions>, ZnodeError> {
    const FIELD: &str = "features";
    let mut features = BTreeMap::new();
    for (name, value) in fields.object_if_any(FIELD)?.into_iter().flatten() {
        let bound = |key: &str| value.get(key).and_then(Value::as_i64).and_then(|v| i16::try_from(v).ok());
        let (Some(min), Some(max)) = (bound("min_version"), bound("max_version")) else {
            let found = value.to_string();
            let expected = "min_version and max_version";
            return Err(ZnodeError::Unexpected { node: NODE, field: FIELD, expected, found });
        };
        features.insert(name.clone(), SupportedVersions { min, max });
    }
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(listener: &str, security_protocol: SecurityProtocol, host: &str, port: i32) -> Endpoint {
        Endpoint { listener: listener.to_owned(), security_protocol, host: host.to_owned(), port }
    }

    fn registration() -> Registration {
        Registration {
            endpoints: vec![
                endpoint("PLAINTEXT", SecurityProtocol::Plaintext, "h1", 9092),
                endpoint("INT", SecurityProtocol::Ssl, "h1", 9093),
            ],
            rack: Some("r1".into()),
            jmx_port: -1,
            timestamp_ms: 1729500000000,
            features: BTreeMap::new(),
        }
    }

    const V5: &str = r#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT","INT":"SSL"},"endpoints":["PLAINTEXT://h1:9092","INT://h1:9093"],"rack":"r1","jmx_port":-1,"port":9092,"host":"h1","version":5,"timestamp":"1729500000000"}"#;

    #[test]
    fn version_5_is_written_as_kafka_does() {
        assert_eq!(String::from_utf8(registration().encode()).unwrap(), V5);
        assert_eq!(Registration::decode(V5.as_bytes()), Ok(registration()));
        assert_eq!(path(BrokerId(1001)), "/brokers/ids/1001");
    }

    #[test]
    fn without_plaintext_host_is_null_and_without_rack_there_is_no_key() {
        let only_ssl = Registration {
            endpoints: vec![endpoint("SSL", SecurityProtocol::Ssl, "::1", 9093)],
            rack: None,
            features: BTreeMap::from([("f".into(), SupportedVersions { min: 1, max: 2 })]),
            ..registration()
        };
        let text = r#"{"features":{"f":{"min_version":1,"max_version":2}},"listener_security_protocol_map":{"SSL":"SSL"},"endpoints":["SSL://[::1]:9093"],"jmx_port":-1,"port":-1,"host":null,"version":5,"timestamp":"1729500000000"}"#;
        assert_eq!(String::from_utf8(only_ssl.encode()).unwrap(), text);
        assert_eq!(Registration::decode(text.as_bytes()), Ok(only_ssl));
    }

    #[test]
    fn older_versions_are_read() {
        let v1 = br#"{"jmx_port":9999,"timestamp":"1","host":"old","version":1,"port":9092}"#;
        let plain = |host, port| vec![endpoint("PLAINTEXT", SecurityProtocol::Plaintext, host, port)];
        let read = Registration::decode(v1).unwrap();
        assert_eq!((read.endpoints, read.jmx_port, read.timestamp_ms), (plain("old", 9092), 9999, 1));

        let v2 = br#"{"endpoints":["PLAINTEXT://h:1"],"jmx_port":-1,"port":1,"host":"h","version":2,"timestamp":"2"}"#;
        assert_eq!(Registration::decode(v2).unwrap().endpoints, plain("h", 1));

        let v3 = br#"{"version":3,"host":"h","port":1,"jmx_port":-1,"timestamp":"2","endpoints":["PLAINTEXT://h:1"],"rack":"dc1","later":[1]}"#;
        assert_eq!(Registration::decode(v3).unwrap().rack.as_deref(), Some("dc1"));

        let v4 = br#"{"listener_security_protocol_map":{"C":"PLAINTEXT"},"endpoints":["C://h:1"],"jmx_port":-1,"port":1,"host":"h","version":4,"timestamp":"2"}"#;
        let client = vec![endpoint("C", SecurityProtocol::Plaintext, "h", 1)];
        assert_eq!(Registration::decode(v4).unwrap().endpoints, client);
    }

    #[test]
    fn what_is_not_a_registration_says_why() {
        let text = |data: &str| Registration::decode(data.as_bytes()).unwrap_err().to_string();
        assert_eq!(text(""), "a broker's registration has no data");
        assert_eq!(
            text(r#"{"version":0}"#),
            "a broker's registration has version 0, which is not one of those known (1 and later)"
        );
        assert_eq!(
            text(r#"{"version":5,"endpoints":["h:1"],"jmx_port":-1}"#),
            "a broker's registration has \"h:1\" in the field 'endpoints', where NAME://host:port belongs"
        );
        assert_eq!(
            text(r#"{"version":5,"endpoints":["PLAINTEXT://h:1"]}"#),
            "a broker's registration lacks the field 'jmx_port'"
        );
        assert_eq!(
            text(
                r#"{"version":4,"endpoints":["C://h:1"],"listener_security_protocol_map":{},"jmx_port":-1}"#
            ),
            "a broker's registration has \"C://h:1\" in the field 'endpoints', where a listener with a known security protocol belongs"
        );
    }
}
