//! Listener addresses: `NAME://host:port` (`EndPoint.scala`). Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use client::znode::broker::SecurityProtocol;
use thiserror::Error;

/// Where the broker listens, or what others are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Upper case.
    pub name: String,
    /// Only plaintext can be served.
    pub protocol: SecurityProtocol,
    /// `None`: every interface when listening, the machine's name when advertised.
    pub host: Option<String>,
    /// 0 leaves the choice to the system.
    pub port: u16,
}

/// What is wrong with a list of listeners.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum ListenerError {
    #[error("{0:?} is not of the form NAME://host:port")]
    Malformed(String),
    #[error("port {port} of {listener} is not between 0 and 65535")]
    Port { listener: String, port: String },
    #[error("listener {0} has no security protocol in listener.security.protocol.map")]
    NotInMap(String),
    #[error("listener name {0} appears twice")]
    NameTwice(String),
    #[error("port {0} appears twice")]
    PortTwice(u16),
    #[error("{0:?} is not of the form NAME:PROTOCOL")]
    MalformedMapping(String),
    #[error("{0} is not a security protocol; there are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL")]
    UnknownProtocol(String),
    #[error("listener name {0} is mapped twice")]
    MappedTwice(String),
    #[error("there is no listener in it")]
    Empty,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or("");
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{host}{close}:{}", self.name, self.port)
    }
}

/// Reads `listener.security.protocol.map`.
pub(super) fn parse_protocol_map(text: &str) -> Result<BTreeMap<String, SecurityProtocol>, ListenerError> {
    let mut map = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, protocol) =
            pair.rsplit_once(':').ok_or_else(|| ListenerError::MalformedMapping(String::from(pair)))?;
        let protocol = protocol.trim();
        let protocol = SecurityProtocol::parse(protocol)
            .ok_or_else(|| ListenerError::UnknownProtocol(String::from(protocol)))?;
        let name = name.trim().to_uppercase();
        if map.insert(name.clone(), protocol).is_some() {
            return Err(ListenerError::MappedTwice(name));
        }
    }
    Ok(map)
}

/// Reads `listeners` or `advertised.listeners`. Advertised ports may repeat, bound ones may not
/// (but 0 may, and so may one port on an IPv4 and an IPv6 address, KIP-797).
pub(super) fn parse_listeners(
    text: &str,
    protocols: &BTreeMap<String, SecurityProtocol>,
    ports_are_unique: bool,
) -> Result<Vec<Listener>, ListenerError> {
    let listeners: Vec<Listener> = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| parse_listener(item, protocols))
        .collect::<Result<_, _>>()?;
    if listeners.is_empty() {
        return Err(ListenerError::Empty);
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = listeners.iter().find(|listener| !names.insert(&listener.name)) {
        return Err(ListenerError::NameTwice(twice.name.clone()));
    }
    if ports_are_unique {
        let mut ports = BTreeSet::new();
        let twice = listeners
            .iter()
            .find(|one| one.port != 0 && !ports.insert((one.port, is_ipv6(one.host.as_deref()))));
        if let Some(twice) = twice {
            return Err(ListenerError::PortTwice(twice.port));
        }
    }
    Ok(listeners)
}

fn parse_listener(
    item: &str,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<Listener, ListenerError> {
    let malformed = || ListenerError::Malformed(String::from(item));
    let (name, address) = item.split_once("://").ok_or_else(malformed)?;
    let (host, port_text) = address.rsplit_once(':').ok_or_else(malformed)?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let is_host_char = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
    if name.is_empty() || !host.chars().all(is_host_char) {
        return Err(malformed());
    }
    let name = name.to_uppercase();
    let port = port_text
        .parse()
        .map_err(|_| ListenerError::Port { listener: name.clone(), port: String::from(port_text) })?;
    let protocol = *protocols.get(&name).ok_or_else(|| ListenerError::NotInMap(name.clone()))?;
    let host = (!host.is_empty()).then(|| String::from(host));
    Ok(Listener { name, protocol, host, port })
}

fn is_ipv6(host: Option<&str>) -> bool {
    host.is_some_and(|host| host.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<String>, ListenerError> {
        let map = parse_protocol_map("PLAINTEXT:PLAINTEXT,INSIDE:plaintext,TLS:SSL").expect("a good map");
        let listeners = parse_listeners(text, &map, true)?;
        Ok(listeners.iter().map(|one| format!("{one} {}", one.protocol)).collect())
    }

    #[test]
    fn reads_listeners() {
        for (text, expected) in [
            ("PLAINTEXT://:9092", &["PLAINTEXT://:9092 PLAINTEXT"][..]),
            (
                "plaintext://a-b.c:1, INSIDE://[::1]:2",
                &["PLAINTEXT://a-b.c:1 PLAINTEXT", "INSIDE://[::1]:2 PLAINTEXT"],
            ),
            ("TLS://0.0.0.0:0,PLAINTEXT://h:0", &["TLS://0.0.0.0:0 SSL", "PLAINTEXT://h:0 PLAINTEXT"]),
            (
                "PLAINTEXT://1.2.3.4:9092,INSIDE://[::1]:9092",
                &["PLAINTEXT://1.2.3.4:9092 PLAINTEXT", "INSIDE://[::1]:9092 PLAINTEXT"],
            ),
        ] {
            assert_eq!(parse(text), Ok(expected.iter().map(|s| String::from(*s)).collect()), "{text}");
        }
    }

    #[test]
    fn refuses_listeners() {
        let s = String::from;
        for (text, expected) in [
            ("", ListenerError::Empty),
            ("9092", ListenerError::Malformed(s("9092"))),
            ("PLAINTEXT://h", ListenerError::Malformed(s("PLAINTEXT://h"))),
            ("PLAINTEXT://h/x:1", ListenerError::Malformed(s("PLAINTEXT://h/x:1"))),
            ("PLAINTEXT://h:70000", ListenerError::Port { listener: s("PLAINTEXT"), port: s("70000") }),
            ("OTHER://h:1", ListenerError::NotInMap(s("OTHER"))),
            ("PLAINTEXT://h:1,PLAINTEXT://h:2", ListenerError::NameTwice(s("PLAINTEXT"))),
            ("PLAINTEXT://h:1,INSIDE://h:1", ListenerError::PortTwice(1)),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
        assert_eq!(parse_protocol_map("A"), Err(ListenerError::MalformedMapping(s("A"))));
        assert_eq!(parse_protocol_map("A:B"), Err(ListenerError::UnknownProtocol(s("B"))));
        assert_eq!(parse_protocol_map("A:SSL,a:SSL"), Err(ListenerError::MappedTwice(s("A"))));
    }
}
