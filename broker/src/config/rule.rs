//! Rules on single values, with Kafka's texts (`ConfigDef.Range`, `ValidString`, ...). Pure.

use crate::config::value::{Kind, Value, Why};
use crate::config::versions::is_protocol_version;

/// What a value must fulfil beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    Any,
    AtLeast(i64),
    /// Both ends belong to it.
    Between(i64, i64),
    Fraction(f64, f64),
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    /// Every item of a list.
    EachOf(&'static [&'static str]),
    NonEmpty,
    ProtocolVersion,
    /// 1 to 9, or −1 for zlib's own default.
    GzipLevel,
    /// `*`, or pairs of partition and broker.
    ThrottledReplicas,
}

impl Rule {
    /// Gives back what of the value is wrong, as Kafka would print it, and why.
    pub(super) fn check(self, name: &str, value: &Value) -> Result<(), (String, Why)> {
        let refuse = |why| Err((value.to_string(), why));
        match (self, value) {
            (Rule::AtLeast(min), _) if integer(value).is_some_and(|n| n < min) => {
                refuse(Why::TooSmall(min.to_string()))
            }
            (Rule::Between(min, _), _) if integer(value).is_some_and(|n| n < min) => {
                refuse(Why::TooSmall(min.to_string()))
            }
            (Rule::Between(_, max), _) if integer(value).is_some_and(|n| n > max) => {
                refuse(Why::TooLarge(max.to_string()))
            }
            (Rule::Fraction(min, _), Value::Double(n)) if *n < min => refuse(Why::TooSmall(min.to_string())),
            (Rule::Fraction(_, max), Value::Double(n)) if *n > max => refuse(Why::TooLarge(max.to_string())),
            (Rule::OneOf(words), Value::Text(text)) if !words.contains(&text.as_str()) => {
                refuse(Why::NotOneOf(words.join(", ")))
            }
            (Rule::OneOfAnyCase(words), Value::Text(text))
                if !words.iter().any(|word| word.eq_ignore_ascii_case(text)) =>
            {
                refuse(Why::NotOneOfAnyCase(words.join(", ")))
            }
            (Rule::EachOf(words), Value::List(items)) => {
                match items.iter().find(|item| !words.contains(&item.as_str())) {
                    Some(item) => Err((item.clone(), Why::NotOneOf(words.join(", ")))),
                    None => Ok(()),
                }
            }
            (Rule::NonEmpty, Value::Text(text)) if text.is_empty() => refuse(Why::Empty),
            (Rule::ProtocolVersion, Value::Text(text)) if !is_protocol_version(text) => {
                refuse(Why::NotVersion(text.clone()))
            }
            (Rule::GzipLevel, Value::Int(n)) if *n != -1 && !(1..=9).contains(n) => refuse(Why::NotGzipLevel),
            (Rule::ThrottledReplicas, Value::List(items)) if !are_throttled_replicas(items) => {
                Err((format!("[{}]", items.join(", ")), Why::NotThrottledReplicas(String::from(name))))
            }
            _ => Ok(()),
        }
    }

    /// What may stand here, for a person.
    pub(super) fn allowed(self, kind: Kind) -> String {
        match self {
            Rule::AtLeast(min) => format!("a whole number from {min} to {}", largest(kind)),
            Rule::Between(min, max) => format!("a whole number from {min} to {max}"),
            Rule::Fraction(min, max) => format!("a number from {min} to {max}"),
            Rule::OneOf(words) | Rule::OneOfAnyCase(words) => format!("one of {}", words.join(", ")),
            Rule::EachOf(words) => format!("one or more of {}, separated by commas", words.join(", ")),
            Rule::NonEmpty => String::from("a text that is not empty"),
            Rule::ProtocolVersion => String::from("a version such as 3.9"),
            Rule::GzipLevel => String::from("a whole number from 1 to 9, or -1"),
            Rule::ThrottledReplicas => {
                String::from("* or pairs partition:broker, separated by commas, such as 0:1,1:2")
            }
            Rule::Any => String::from(match kind {
                Kind::Boolean => "true or false",
                Kind::Int => "a whole number from -2147483648 to 2147483647",
                Kind::Short => "a whole number from -32768 to 32767",
                Kind::Long => "a whole number from -9223372036854775808 to 9223372036854775807",
                Kind::Double => "a number",
                Kind::String => "a text",
                Kind::List => "texts separated by commas",
                Kind::Class => "the name of a Java class",
                Kind::Password => "a secret text",
            }),
        }
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(n) => Some(i64::from(*n)),
        Value::Short(n) => Some(i64::from(*n)),
        Value::Long(n) => Some(*n),
        _ => None,
    }
}

fn largest(kind: Kind) -> i64 {
    match kind {
        Kind::Short => i64::from(i16::MAX),
        Kind::Int => i64::from(i32::MAX),
        _ => i64::MAX,
    }
}

/// `ThrottledReplicaListValidator.java`: nothing, `*`, or pairs of numbers.
fn are_throttled_replicas(items: &[String]) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_pair = |item: &String| item.split_once(':').is_some_and(|(p, b)| is_number(p) && is_number(b));
    items.iter().all(is_pair) || matches!(items, [only] if only == "*")
}
