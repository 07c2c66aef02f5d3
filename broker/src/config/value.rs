//! Typed values and their texts, as `org.apache.kafka.common.config.ConfigDef` reads and writes
//! them. Pure.

use std::fmt;

use thiserror::Error;

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// A value of one of the kinds. Strings, class names and passwords are all text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Boolean(bool),
    Int(i32),
    Short(i16),
    Long(i64),
    Double(f64),
    Text(String),
    List(Vec<String>),
}

/// A value that its definition does not allow, in Kafka's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Invalid value {value} for configuration {name}: {why}")]
pub struct WrongValue {
    pub name: String,
    pub value: String,
    pub why: Why,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    #[error("Expected value to be either true or false")]
    NotBoolean,
    #[error("Not a number of type {0}")]
    NotNumber(Kind),
    #[error("Value must be at least {0}")]
    TooSmall(String),
    #[error("Value must be no more than {0}")]
    TooLarge(String),
    #[error("String must be one of: {0}")]
    NotOneOf(String),
    #[error("String must be one of (case insensitive): {0}")]
    NotOneOfAnyCase(String),
    #[error("String must be non-empty")]
    Empty,
    #[error("Version {0} is not a valid version")]
    NotVersion(String),
    #[error("Value must be between 1 and 9 or equal to -1")]
    NotGzipLevel,
    #[error(
        "{0} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    )]
    NotThrottledReplicas(String),
}

impl Kind {
    /// Reads a value; what surrounds it in blanks does not count.
    pub fn parse(self, text: &str) -> Result<Value, Why> {
        let text = text.trim();
        let not_number = Why::NotNumber(self);
        match self {
            Kind::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Kind::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Kind::Boolean => Err(Why::NotBoolean),
            Kind::Int => text.parse().map(Value::Int).or(Err(not_number)),
            Kind::Short => text.parse().map(Value::Short).or(Err(not_number)),
            Kind::Long => text.parse().map(Value::Long).or(Err(not_number)),
            Kind::Double => parse_double(text).map(Value::Double).ok_or(not_number),
            Kind::List => Ok(Value::List(split_list(text))),
            Kind::String | Kind::Class | Kind::Password => Ok(Value::Text(String::from(text))),
        }
    }

    /// The type's number in DescribeConfigs (`DescribeConfigsResponse.ConfigType`).
    pub fn wire_code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        })
    }
}

/// As Kafka reports a value (`ConfigDef.convertToString`).
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            Value::Short(value) => value.fmt(f),
            Value::Long(value) => value.fmt(f),
            Value::Double(value) => f.write_str(&java_double(*value)),
            Value::Text(value) => f.write_str(value),
            Value::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// Items are separated by commas; blanks around them do not count.
fn split_list(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|item| String::from(item.trim())).collect()
}

/// Java allows a type suffix after the number; words such as `inf` are no numbers here.
fn parse_double(text: &str) -> Option<f64> {
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    if digits.contains(|c: char| c.is_alphabetic() && !matches!(c, 'e' | 'E')) {
        return None;
    }
    digits.parse().ok()
}

/// `Double.toString`: decimal between 10^-3 and 10^7, else in the form `1.5E10`.
fn java_double(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        Some((mantissa, exponent)) => format!("{mantissa}E{exponent}"),
        None => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_read_as_in_java() {
        for (value, expected) in [
            (0.5, "0.5"),
            (1.0, "1.0"),
            (0.0, "0.0"),
            (0.001, "0.001"),
            (0.0005, "5.0E-4"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (f64::MAX, "1.7976931348623157E308"),
        ] {
            assert_eq!(java_double(value), expected);
        }
    }

    #[test]
    fn parses_each_kind() {
        let text = |text: &str| Value::Text(String::from(text));
        for (kind, input, expected) in [
            (Kind::Boolean, " TRUE ", Ok(Value::Boolean(true))),
            (Kind::Boolean, "yes", Err(Why::NotBoolean)),
            (Kind::Int, "+7", Ok(Value::Int(7))),
            (Kind::Int, "2147483648", Err(Why::NotNumber(Kind::Int))),
            (Kind::Short, "40000", Err(Why::NotNumber(Kind::Short))),
            (Kind::Long, "1e3", Err(Why::NotNumber(Kind::Long))),
            (Kind::Double, "1.5e3", Ok(Value::Double(1500.0))),
            (Kind::Double, "0.5d", Ok(Value::Double(0.5))),
            (Kind::Double, "inf", Err(Why::NotNumber(Kind::Double))),
            (Kind::List, "a , b,,c", Ok(Value::List(["a", "b", "", "c"].map(String::from).to_vec()))),
            (Kind::List, "  ", Ok(Value::List(Vec::new()))),
            (Kind::Password, " x ", Ok(text("x"))),
        ] {
            assert_eq!(kind.parse(input), expected, "{kind} {input:?}");
        }
    }
}
