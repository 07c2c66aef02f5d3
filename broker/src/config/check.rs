//! Rules on keys and values that need no typed configuration: unknown, refused, without effect. Pure.

use std::collections::BTreeMap;

use crate::config::definition::{Definition, Status};
use crate::config::problem::{Problem, Warning};
use crate::config::refusal::{LISTENER_SCOPE, Refusal, SASL, TLS};
use crate::config::table::{LISTENER_PREFIX, PLUGIN_PREFIXES, find, nearest};
use crate::config::versions::is_current_protocol_version;

/// Unknown keys, and known ones that change nothing.
pub(super) fn warnings(fixed: &BTreeMap<String, String>) -> Vec<Warning> {
    fixed.iter().filter_map(|(key, value)| warning(key, value)).collect()
}

fn warning(key: &str, value: &str) -> Option<Warning> {
    if key.starts_with(LISTENER_PREFIX) || PLUGIN_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
        return None;
    }
    let Some(definition) = find(key) else {
        return Some(Warning::Unknown { key: String::from(key), nearest: nearest(key) });
    };
    (definition.status == Status::Accepted && !is_default(definition, value)).then(|| {
        Warning::WithoutEffect { key: String::from(key), value: definition.shown(value), doc: definition.doc }
    })
}

/// Values that do not fit, and promises that are not kept.
pub(super) fn problems(fixed: &BTreeMap<String, String>) -> Vec<Problem> {
    fixed.iter().filter_map(|(key, value)| problem(key, value)).collect()
}

fn problem(key: &str, value: &str) -> Option<Problem> {
    if let Some(scoped) = key.strip_prefix(LISTENER_PREFIX) {
        return listener_problem(key, scoped, value);
    }
    let definition = find(key)?;
    if let Err(wrong) = definition.parse(value) {
        return Some(Problem::Wrong {
            key: String::from(key),
            value: wrong.value,
            why: wrong.why.to_string(),
            allowed: definition.allowed(),
        });
    }
    match definition.status {
        Status::Refused(refusal) if !is_default(definition, value) => Some(Problem::Refused {
            key: String::from(key),
            value: definition.shown(value),
            why: String::from(refusal.why),
            allowed: match definition.default {
                Some("") | None => String::from("only to leave it out"),
                Some(default) => format!("only {default}, the default"),
            },
        }),
        _ => None,
    }
}

/// Keys for a single listener are for the most part about TLS and SASL.
fn listener_problem(key: &str, scoped: &str, value: &str) -> Option<Problem> {
    let refusal: &Refusal = match scoped.split_once('.').map(|(_, base)| base) {
        Some("num.network.threads") => return None,
        Some(base) if base.starts_with("ssl.") => &TLS,
        Some(base) if base.contains("sasl.") || base == "connections.max.reauth.ms" => &SASL,
        _ => &LISTENER_SCOPE,
    };
    Some(Problem::Refused {
        key: String::from(key),
        value: if key.contains("password") || key.contains("jaas") {
            String::from("[hidden]")
        } else {
            String::from(value)
        },
        why: String::from(refusal.why),
        allowed: String::from("only to leave it out"),
    })
}

/// An empty text for something that is null by default says nothing either.
fn is_default(definition: &Definition, value: &str) -> bool {
    if definition.name == "inter.broker.protocol.version" {
        return is_current_protocol_version(value.trim());
    }
    match definition.default_value() {
        Some(default) => definition.parse(value).ok() == Some(default),
        None => value.trim().is_empty(),
    }
}
