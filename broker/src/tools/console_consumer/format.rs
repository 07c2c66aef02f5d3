//! How records are shown: the formatters of Kafka's tool.

use std::collections::BTreeMap;

use bytes::Bytes;
use client::consumer::ConsumerRecord;
use client::record::{NO_TIMESTAMP, TimestampType};
use serde_json::{Value, json};

use super::deserializer::{Deserializer, Unreadable};
use super::internal_topic;

/// A formatter, by its class in Kafka.
#[derive(Debug, Clone)]
pub(super) enum Formatter {
    /// `DefaultMessageFormatter`, and `LoggingMessageFormatter`, whose log nobody sees.
    Default(Box<Layout>),
    /// `NoOpMessageFormatter`.
    NoOp,
    /// `OffsetsMessageFormatter`.
    Offsets,
    /// `GroupMetadataMessageFormatter`.
    GroupMetadata,
    /// `TransactionLogMessageFormatter`.
    TransactionLog,
    /// `--output json`, which is ours.
    Json,
}

/// Which parts of a record are shown, and what is between them.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    timestamp: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    pub(super) key_deserializer: Option<Deserializer>,
    pub(super) value_deserializer: Option<Deserializer>,
    pub(super) headers_deserializer: Option<Deserializer>,
}

impl Layout {
    pub(super) fn read(properties: &BTreeMap<String, String>) -> Layout {
        let is_true = |name: &str, default: bool| {
            properties.get(name).map_or(default, |value| value.trim().eq_ignore_ascii_case("true"))
        };
        let text = |name: &str, default: &str| {
            properties.get(name).map_or(default, String::as_str).as_bytes().to_vec()
        };
        Layout {
            timestamp: is_true("print.timestamp", false),
            partition: is_true("print.partition", false),
            offset: is_true("print.offset", false),
            headers: is_true("print.headers", false),
            key: is_true("print.key", false),
            value: is_true("print.value", true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key_deserializer: None,
            value_deserializer: None,
            headers_deserializer: None,
        }
    }

    fn write(&self, record: &ConsumerRecord, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            parts.push(timestamp(record).into_bytes());
        }
        if self.partition {
            parts.push(format!("Partition:{}", record.partition).into_bytes());
        }
        if self.offset {
            parts.push(format!("Offset:{}", record.offset).into_bytes());
        }
        if self.headers {
            parts.push(self.headers(record)?);
        }
        if self.key {
            parts.push(self.shown(record.key.as_ref(), self.key_deserializer)?);
        }
        if self.value {
            parts.push(self.shown(record.value.as_ref(), self.value_deserializer)?);
        }
        if !parts.is_empty() {
            out.extend(parts.join(self.key_separator.as_slice()));
            out.extend(&self.line_separator);
        }
        Ok(())
    }

    fn headers(&self, record: &ConsumerRecord) -> Result<Vec<u8>, Unreadable> {
        if record.headers.is_empty() {
            return Ok(b"NO_HEADERS".to_vec());
        }
        let mut headers = Vec::with_capacity(record.headers.len());
        for header in &record.headers {
            let mut shown = header.key.as_bytes().to_vec();
            shown.push(b':');
            shown.extend(self.shown(header.value.as_ref(), self.headers_deserializer)?);
            headers.push(shown);
        }
        Ok(headers.join(self.headers_separator.as_slice()))
    }

    fn shown(&self, bytes: Option<&Bytes>, by: Option<Deserializer>) -> Result<Vec<u8>, Unreadable> {
        match (bytes, by) {
            (None, _) => Ok(self.null_literal.clone()),
            (Some(bytes), None) => Ok(bytes.to_vec()),
            (Some(bytes), Some(deserializer)) => deserializer.show(bytes).map(String::into_bytes),
        }
    }
}

fn timestamp(record: &ConsumerRecord) -> String {
    match (record.timestamp_ms, record.timestamp_type) {
        (NO_TIMESTAMP, _) => "NO_TIMESTAMP".to_owned(),
        (ms, TimestampType::CreateTime) => format!("CreateTime:{ms}"),
        (ms, TimestampType::LogAppendTime) => format!("LogAppendTime:{ms}"),
    }
}

impl Formatter {
    /// Appends a record as it is shown; nothing if it is of a kind that this formatter passes over.
    pub(super) fn write(&self, record: &ConsumerRecord, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let (key, value) = (record.key.clone(), record.value.clone());
        let document = match self {
            Formatter::Default(layout) => return layout.write(record, out),
            Formatter::NoOp => None,
            Formatter::Offsets => internal_topic::offset(key, value)?,
            Formatter::GroupMetadata => internal_topic::group(key, value)?,
            Formatter::TransactionLog => internal_topic::transaction(key, value)?,
            Formatter::Json => {
                out.extend(as_json(record).to_string().into_bytes());
                out.push(b'\n');
                None
            }
        };
        if let Some(document) = document {
            out.extend(document.to_string().into_bytes());
        }
        Ok(())
    }
}

/// `{"version":1,"topic":"t","partition":0,"offset":5,"timestamp":1582979415005,"timestampType":"CreateTime",
/// "headers":[["h","x"]],"key":null,"value":"v"}`; bytes that are not UTF-8 are `{"hex":"00ff"}`.
fn as_json(record: &ConsumerRecord) -> Value {
    let text = |bytes: &Bytes| match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    };
    let shown = |bytes: &Option<Bytes>| bytes.as_ref().map_or(Value::Null, text);
    let headers = record.headers.iter().map(|header| json!([&*header.key, shown(&header.value)]));
    json!({
        "version": 1,
        "topic": &*record.topic,
        "partition": record.partition,
        "offset": record.offset.0,
        "timestamp": Some(record.timestamp_ms).filter(|ms| *ms != NO_TIMESTAMP),
        "timestampType": match record.timestamp_type {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        },
        "headers": headers.collect::<Vec<_>>(),
        "key": shown(&record.key),
        "value": shown(&record.value),
    })
}

#[cfg(test)]
mod tests {
    use client::consumer::RecordHeader;
    use client::ids::{LeaderEpoch, Offset};
    use client::wire::Str;

    use super::*;

    fn record(
        key: Option<&'static str>,
        value: Option<&'static str>,
        headers: &[(&str, Option<&'static str>)],
    ) -> ConsumerRecord {
        let bytes = |text: Option<&'static str>| text.map(|text| Bytes::from_static(text.as_bytes()));
        let headers = headers.iter();
        let headers = headers.map(|(key, value)| RecordHeader { key: Str::from(*key), value: bytes(*value) });
        ConsumerRecord {
            topic: "t".into(),
            partition: 2,
            offset: Offset(7),
            leader_epoch: LeaderEpoch::NONE,
            timestamp_type: TimestampType::CreateTime,
            timestamp_ms: 170,
            key: bytes(key),
            value: bytes(value),
            headers: headers.collect(),
        }
    }

    fn shown(record: &ConsumerRecord, properties: &[(&str, &str)]) -> String {
        let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let formatter = Formatter::Default(Box::new(Layout::read(&properties.collect())));
        let mut out = Vec::new();
        formatter.write(record, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parts_are_shown_in_kafkas_order() {
        let plain = record(Some("k"), Some("v"), &[("h1", Some("x")), ("h2", None)]);
        assert_eq!(shown(&plain, &[]), "v\n");
        let all = ["timestamp", "partition", "offset", "headers", "key"].map(|part| format!("print.{part}"));
        let all: Vec<(&str, &str)> = all.iter().map(|name| (name.as_str(), "true")).collect();
        assert_eq!(shown(&plain, &all), "CreateTime:170\tPartition:2\tOffset:7\th1:x,h2:null\tk\tv\n");
        assert_eq!(shown(&plain, &[("print.value", "false"), ("print.key", "true")]), "k\n");
        assert_eq!(shown(&plain, &[("print.value", "false")]), "");
        assert_eq!(shown(&plain, &[("line.separator", ";")]), "v;");
        let empty = record(None, None, &[]);
        let said =
            shown(&empty, &[("print.key", "true"), ("print.headers", "true"), ("null.literal", "NIL")]);
        assert_eq!(said, "NO_HEADERS\tNIL\tNIL\n");
        let timeless = ConsumerRecord { timestamp_ms: NO_TIMESTAMP, ..empty };
        assert_eq!(shown(&timeless, &[("print.timestamp", "true")]), "NO_TIMESTAMP\tnull\n");
    }

    #[test]
    fn json_holds_everything() {
        let mut out = Vec::new();
        let odd = ConsumerRecord {
            value: Some(Bytes::from_static(&[0, 0xff])),
            ..record(None, None, &[("h", Some("x"))])
        };
        Formatter::Json.write(&odd, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"version\":1,\"topic\":\"t\",\"partition\":2,\"offset\":7,\"timestamp\":170,\
             \"timestampType\":\"CreateTime\",\"headers\":[[\"h\",\"x\"]],\"key\":null,\"value\":{\"hex\":\"00ff\"}}\n"
        );
    }
}
