//! What a configuration key is: type, default, rule, when it may change, and whether Ottla keeps
//! its promise. Pure.

use crate::config::refusal::Refusal;
use crate::config::rule::Rule;
use crate::config::value::{Kind, Value, WrongValue};

/// One configuration key of Kafka 3.9.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    /// As text; `None` is Kafka's null.
    pub default: Option<&'static str>,
    pub rule: Rule,
    pub dynamic: Dynamic,
    pub status: Status,
    /// Kafka leaves such keys out of its documentation and of DescribeConfigs.
    pub internal: bool,
    pub doc: &'static str,
}

/// Whether a key may change while the broker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dynamic {
    ReadOnly,
    /// For one broker only, under `/config/brokers/<id>`.
    PerBroker,
    /// Also for all brokers, under `/config/brokers/<default>`.
    ClusterWide,
}

/// What Ottla does about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has the effect Kafka gives it.
    Kept,
    /// It tunes something that is done differently or not at all; any value is harmless.
    Accepted,
    /// It promises something that is not kept yet, so any value but the default stops the start.
    Refused(&'static Refusal),
}

impl Definition {
    /// Reads and checks a value.
    pub fn parse(&self, text: &str) -> Result<Value, WrongValue> {
        let wrong = |why| WrongValue { name: String::from(self.name), value: self.shown(text), why };
        let value = self.kind.parse(text).map_err(wrong)?;
        self.rule.check(self.name, &value).map_err(|(value, why)| WrongValue {
            name: String::from(self.name),
            value,
            why,
        })?;
        Ok(value)
    }

    /// The default, parsed. `None` is null.
    pub fn default_value(&self) -> Option<Value> {
        self.default.map(|text| self.kind.parse(text).expect("a test parses every default of the table"))
    }

    /// The value as it may appear in messages.
    pub fn shown(&self, value: &str) -> String {
        String::from(if self.is_sensitive() { "[hidden]" } else { value })
    }

    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// What may stand here, for a person.
    pub fn allowed(&self) -> String {
        let values = self.rule.allowed(self.kind);
        match self.default {
            Some(default) if !default.is_empty() => format!("{values} (default: {default})"),
            _ => values,
        }
    }

    pub(super) const fn or(mut self, default: &'static str) -> Definition {
        self.default = Some(default);
        self
    }

    pub(super) const fn at_least(mut self, min: i64) -> Definition {
        self.rule = Rule::AtLeast(min);
        self
    }

    pub(super) const fn between(mut self, min: i64, max: i64) -> Definition {
        self.rule = Rule::Between(min, max);
        self
    }

    pub(super) const fn fraction(mut self, min: f64, max: f64) -> Definition {
        self.rule = Rule::Fraction(min, max);
        self
    }

    pub(super) const fn one_of(mut self, words: &'static [&'static str]) -> Definition {
        self.rule = Rule::OneOf(words);
        self
    }

    pub(super) const fn one_of_any_case(mut self, words: &'static [&'static str]) -> Definition {
        self.rule = Rule::OneOfAnyCase(words);
        self
    }

    pub(super) const fn each_of(mut self, words: &'static [&'static str]) -> Definition {
        self.rule = Rule::EachOf(words);
        self
    }

    pub(super) const fn protocol_version(mut self) -> Definition {
        self.rule = Rule::ProtocolVersion;
        self
    }

    pub(super) const fn gzip_level(mut self) -> Definition {
        self.rule = Rule::GzipLevel;
        self
    }

    pub(super) const fn throttled_replicas(mut self) -> Definition {
        self.rule = Rule::ThrottledReplicas;
        self
    }

    pub(super) const fn non_empty(mut self) -> Definition {
        self.rule = Rule::NonEmpty;
        self
    }

    pub(super) const fn per_broker(mut self) -> Definition {
        self.dynamic = Dynamic::PerBroker;
        self
    }

    pub(super) const fn cluster_wide(mut self) -> Definition {
        self.dynamic = Dynamic::ClusterWide;
        self
    }

    pub(super) const fn internal(mut self) -> Definition {
        self.internal = true;
        self
    }

    pub(super) const fn kept(mut self, doc: &'static str) -> Definition {
        self.doc = doc;
        self
    }

    pub(super) const fn accepted(mut self, doc: &'static str) -> Definition {
        self.status = Status::Accepted;
        self.doc = doc;
        self
    }

    pub(super) const fn refused(mut self, refusal: &'static Refusal, doc: &'static str) -> Definition {
        self.status = Status::Refused(refusal);
        self.doc = doc;
        self
    }
}

pub(super) const fn boolean(name: &'static str) -> Definition {
    definition(name, Kind::Boolean)
}

pub(super) const fn string(name: &'static str) -> Definition {
    definition(name, Kind::String)
}

pub(super) const fn int(name: &'static str) -> Definition {
    definition(name, Kind::Int)
}

pub(super) const fn short(name: &'static str) -> Definition {
    definition(name, Kind::Short)
}

pub(super) const fn long(name: &'static str) -> Definition {
    definition(name, Kind::Long)
}

pub(super) const fn double(name: &'static str) -> Definition {
    definition(name, Kind::Double)
}

pub(super) const fn list(name: &'static str) -> Definition {
    definition(name, Kind::List)
}

pub(super) const fn class(name: &'static str) -> Definition {
    definition(name, Kind::Class)
}

pub(super) const fn password(name: &'static str) -> Definition {
    definition(name, Kind::Password)
}

const fn definition(name: &'static str, kind: Kind) -> Definition {
    Definition {
        name,
        kind,
        default: None,
        rule: Rule::Any,
        dynamic: Dynamic::ReadOnly,
        status: Status::Kept,
        internal: false,
        doc: "",
    }
}
