//! Compact JSON as Kafka writes it, and lookups by key that say what was wrong.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::ZnodeError;
use crate::ids::BrokerId;

/// One line of JSON under construction: members in the order they are added, no spaces.
pub(super) struct Object {
    text: String,
}

impl Object {
    pub(super) fn new() -> Object {
        Object { text: String::from("{") }
    }

    fn key(&mut self, key: &str) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        push_string(&mut self.text, key);
        self.text.push(':');
    }

    pub(super) fn number(mut self, key: &str, value: impl Into<i64>) -> Object {
        self.key(key);
        self.text.push_str(&value.into().to_string());
        self
    }

    pub(super) fn string(mut self, key: &str, value: &str) -> Object {
        self.key(key);
        push_string(&mut self.text, value);
        self
    }

    /// A number that Kafka writes between quotes.
    pub(super) fn quoted_number(self, key: &str, value: i64) -> Object {
        self.string(key, &value.to_string())
    }

    /// Adds JSON that is already written.
    pub(super) fn raw(mut self, key: &str, json: &str) -> Object {
        self.key(key);
        self.text.push_str(json);
        self
    }

    pub(super) fn into_json(mut self) -> String {
        self.text.push('}');
        self.text
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.into_json().into_bytes()
    }
}

/// `[a,b,c]` of elements that are JSON already.
pub(super) fn array(elements: impl IntoIterator<Item = String>) -> String {
    let mut text = String::from("[");
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&element);
    }
    text.push(']');
    text
}

/// `[1,2,3]`.
pub(super) fn brokers(ids: &[BrokerId]) -> String {
    array(ids.iter().map(|id| id.0.to_string()))
}

/// `"text"`, escaped as Jackson does it: control characters only, hexadecimal digits in capitals.
pub(super) fn string(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    push_string(&mut text, value);
    text
}

fn push_string(text: &mut String, value: &str) {
    text.push('"');
    for char in value.chars() {
        match char {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control < ' ' => {
                write!(text, "\\u{:04X}", u32::from(control)).expect("writing to a String cannot fail");
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

/// An object that was read, with the name of its znode for the errors.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) node: &'static str,
    map: &'a Map<String, Value>,
}

/// Parses a znode's bytes as any JSON value. No data is [`ZnodeError::Empty`].
pub(super) fn parse(node: &'static str, data: &[u8]) -> Result<Value, ZnodeError> {
    if data.is_empty() {
        return Err(ZnodeError::Empty { node });
    }
    serde_json::from_slice(data).map_err(|error| ZnodeError::Malformed {
        node,
        expected: "JSON",
        reason: error.to_string(),
    })
}

impl<'a> Fields<'a> {
    pub(super) fn of(node: &'static str, value: &'a Value) -> Result<Fields<'a>, ZnodeError> {
        match value {
            Value::Object(map) => Ok(Fields { node, map }),
            other => Err(ZnodeError::Malformed {
                node,
                expected: "a JSON object",
                reason: format!("it holds {}", shown(other)),
            }),
        }
    }

    /// The value of a key; JSON's `null` counts as absent.
    pub(super) fn get(&self, field: &'static str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn required(&self, field: &'static str) -> Result<&'a Value, ZnodeError> {
        self.get(field).ok_or(ZnodeError::Missing { node: self.node, field })
    }

    fn unexpected(&self, field: &'static str, expected: &'static str, found: &Value) -> ZnodeError {
        ZnodeError::Unexpected { node: self.node, field, expected, found: shown(found) }
    }

    pub(super) fn i32(&self, field: &'static str) -> Result<i32, ZnodeError> {
        self.as_i32(field, self.required(field)?)
    }

    pub(super) fn i32_or(&self, field: &'static str, absent: i32) -> Result<i32, ZnodeError> {
        self.get(field).map_or(Ok(absent), |value| self.as_i32(field, value))
    }

    pub(super) fn as_i32(&self, field: &'static str, value: &Value) -> Result<i32, ZnodeError> {
        value
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(|| self.unexpected(field, "a 32-bit integer", value))
    }

    pub(super) fn i64(&self, field: &'static str) -> Result<i64, ZnodeError> {
        self.as_i64(field, self.required(field)?)
    }

    pub(super) fn i64_if_any(&self, field: &'static str) -> Result<Option<i64>, ZnodeError> {
        self.get(field).map(|value| self.as_i64(field, value)).transpose()
    }

    fn as_i64(&self, field: &'static str, value: &Value) -> Result<i64, ZnodeError> {
        value.as_i64().ok_or_else(|| self.unexpected(field, "a 64-bit integer", value))
    }

    pub(super) fn string(&self, field: &'static str) -> Result<&'a str, ZnodeError> {
        self.as_string(field, self.required(field)?)
    }

    pub(super) fn string_if_any(&self, field: &'static str) -> Result<Option<&'a str>, ZnodeError> {
        self.get(field).map(|value| self.as_string(field, value)).transpose()
    }

    pub(super) fn as_string(&self, field: &'static str, value: &'a Value) -> Result<&'a str, ZnodeError> {
        value.as_str().ok_or_else(|| self.unexpected(field, "a string", value))
    }

    /// An integer that Kafka writes between quotes; the bare number is accepted too.
    pub(super) fn quoted_i64(&self, field: &'static str) -> Result<i64, ZnodeError> {
        let value = self.required(field)?;
        loose_i64(value).ok_or_else(|| self.unexpected(field, "an integer between quotes", value))
    }

    /// A time that nothing depends on: −1 if it is absent or not a number, as Kafka never looks.
    pub(super) fn timestamp(&self, field: &'static str) -> i64 {
        self.get(field).and_then(loose_i64).unwrap_or(-1)
    }

    pub(super) fn array(&self, field: &'static str) -> Result<&'a [Value], ZnodeError> {
        self.as_array(field, self.required(field)?)
    }

    fn as_array(&self, field: &'static str, value: &'a Value) -> Result<&'a [Value], ZnodeError> {
        value.as_array().map(Vec::as_slice).ok_or_else(|| self.unexpected(field, "an array", value))
    }

    pub(super) fn brokers(&self, field: &'static str) -> Result<Vec<BrokerId>, ZnodeError> {
        self.as_brokers(field, self.required(field)?)
    }

    pub(super) fn brokers_if_any(&self, field: &'static str) -> Result<Option<Vec<BrokerId>>, ZnodeError> {
        self.get(field).map(|value| self.as_brokers(field, value)).transpose()
    }

    pub(super) fn as_brokers(
        &self,
        field: &'static str,
        value: &'a Value,
    ) -> Result<Vec<BrokerId>, ZnodeError> {
        self.as_array(field, value)?.iter().map(|id| self.as_i32(field, id).map(BrokerId)).collect()
    }

    /// The object under a key, if the key is there.
    pub(super) fn object_if_any(
        &self,
        field: &'static str,
    ) -> Result<Option<&'a Map<String, Value>>, ZnodeError> {
        self.get(field)
            .map(|value| value.as_object().ok_or_else(|| self.unexpected(field, "an object", value)))
            .transpose()
    }

    pub(super) fn object(&self, field: &'static str) -> Result<&'a Map<String, Value>, ZnodeError> {
        self.object_if_any(field)?.ok_or(ZnodeError::Missing { node: self.node, field })
    }
}

fn loose_i64(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// What was found, short enough for a log line.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_jackson_does() {
        assert_eq!(string("a\"b\\c\n\u{1f}é/\u{7f}"), "\"a\\\"b\\\\c\\n\\u001Fé/\u{7f}\"");
    }

    #[test]
    fn members_keep_their_order() {
        let text =
            Object::new().number("b", 1).string("a", "x").quoted_number("c", -1).raw("d", "[]").into_json();
        assert_eq!(text, r#"{"b":1,"a":"x","c":"-1","d":[]}"#);
        assert_eq!(Object::new().into_json(), "{}");
    }

    #[test]
    fn errors_say_what_was_found() {
        let value = parse("the node", br#"{"a":"x","b":null,"c":3000000000}"#).unwrap();
        let fields = Fields::of("the node", &value).unwrap();
        assert_eq!(
            fields.i32("a").unwrap_err().to_string(),
            "the node has \"x\" in the field 'a', where a 32-bit integer belongs"
        );
        assert_eq!(fields.i32("b").unwrap_err().to_string(), "the node lacks the field 'b'");
        assert_eq!(
            fields.i32("c").unwrap_err().to_string(),
            "the node has 3000000000 in the field 'c', where a 32-bit integer belongs"
        );
        assert_eq!(parse("the node", b"").unwrap_err().to_string(), "the node has no data");
    }
}
