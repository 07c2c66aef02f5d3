//! Decodes what Kafka encoded: the structs carry the values that Kafka reads, and encode to the same bytes.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use client::wire::messages::*;
use client::wire::{
    ApiKey, Message, Reader, RequestBody, ResponseBody, Writer, decode_exact, encode_to_bytes, frame,
};
use serde_json::{Map, Value};

use debug_tree::Tree;
use golden::Golden;

#[path = "support/damage.rs"]
#[allow(dead_code, reason = "nothing is damaged here")]
mod damage;
#[path = "support/debug_tree.rs"]
mod debug_tree;
#[path = "support/golden.rs"]
mod golden;
#[path = "../build/parse.rs"]
#[allow(dead_code, reason = "the test needs the definitions, not the rest of what the build reads in them")]
mod parse;

#[test]
fn corpus_decodes_to_kafkas_values_and_encodes_to_kafkas_bytes() {
    let definitions = definitions();
    for golden in golden::corpus() {
        let place = format!("{} v{} {}", golden.name, golden.version, golden.json);
        let (debug, encoded) = round_trip(&golden);
        assert_eq!(encoded, golden.bytes, "bytes of {place}");
        let message = &definitions[&golden.name];
        let tree = debug_tree::parse(&debug);
        let object = golden.json.as_object().unwrap();
        if let Err(difference) = compare_struct(message, &golden.name, &tree, object) {
            panic!("{difference}\nin {place}\ndecoded {debug}");
        }
    }
}

#[test]
fn corpus_of_the_repository_has_every_message_in_every_version() {
    let mut missing = BTreeSet::new();
    for message in definitions().into_values() {
        for version in message.versions.first..=message.versions.last {
            missing.insert((message.name.clone(), version));
        }
    }
    for golden in golden::corpus() {
        missing.remove(&(golden.name, golden.version));
    }
    if std::env::var_os("WIRE_CORPUS").is_none() {
        assert_eq!(missing, BTreeSet::new());
    }
}

/// Kafka keeps the buffers of these too (`ApiKeys.requiresDelayedAllocation`).
#[test]
fn a_request_holds_on_to_its_frame_only_for_bytes_and_records() {
    let mut holding = BTreeSet::new();
    for bytes in damage::valid_frames(&golden::corpus()) {
        let bytes = Bytes::from(bytes);
        let (header, api, mut body) = frame::parse_request(bytes.clone()).unwrap();
        let request = RequestBody::decode(api, header.request_api_version, &mut body).unwrap();
        drop(body);
        if !bytes.is_unique() {
            holding.insert(api.to_string());
        }
        drop((header, request));
    }
    let with_bytes = [
        "AlterUserScramCredentials",
        "Envelope",
        "ExpireDelegationToken",
        "JoinGroup",
        "Produce",
        "RenewDelegationToken",
        "SaslAuthenticate",
        "SyncGroup",
    ];
    assert_eq!(holding, BTreeSet::from(with_bytes.map(String::from)));
}

fn definitions() -> BTreeMap<String, parse::Message> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("messages");
    let mut definitions = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "txt") {
            for message in parse::parse(&fs::read_to_string(&file).unwrap()).unwrap() {
                definitions.insert(message.name.clone(), message);
            }
        }
    }
    definitions
}

/// What was decoded, as its `Debug` text, and the bytes it encodes to.
fn round_trip(golden: &Golden) -> (String, Vec<u8>) {
    let Golden { version, .. } = *golden;
    let mut reader = Reader::new(golden.bytes.clone());
    let mut writer = Writer::new();
    let debug = match (golden.kind.as_str(), golden.key) {
        ("request", Some(key)) => {
            let body = RequestBody::decode(ApiKey::try_from(key).unwrap(), version, &mut reader).unwrap();
            body.encode(&mut writer, version).unwrap();
            inner(&format!("{body:?}"))
        }
        ("response", Some(key)) => {
            let body = ResponseBody::decode(ApiKey::try_from(key).unwrap(), version, &mut reader).unwrap();
            body.encode(&mut writer, version).unwrap();
            inner(&format!("{body:?}"))
        }
        _ => return round_trip_by_name(golden),
    };
    assert_eq!(reader.remaining(), 0, "left over of {} v{version}", golden.name);
    (debug, writer.finish().into_bytes().unwrap().to_vec())
}

/// Without the variant's name around it.
fn inner(debug: &str) -> String {
    debug.split_once('(').unwrap().1.strip_suffix(')').unwrap().to_string()
}

fn round_trip_by_name(golden: &Golden) -> (String, Vec<u8>) {
    fn of<M: Message + std::fmt::Debug>(golden: &Golden) -> (String, Vec<u8>) {
        let message: M = decode_exact(Bytes::from(golden.bytes.clone()), golden.version).unwrap();
        (format!("{message:?}"), encode_to_bytes(&message, golden.version).unwrap().to_vec())
    }
    match golden.name.as_str() {
        "RequestHeader" => of::<RequestHeader>(golden),
        "ResponseHeader" => of::<ResponseHeader>(golden),
        "ConsumerProtocolAssignment" => of::<ConsumerProtocolAssignment>(golden),
        "ConsumerProtocolSubscription" => of::<ConsumerProtocolSubscription>(golden),
        "DefaultPrincipalData" => of::<DefaultPrincipalData>(golden),
        "GroupMetadataKey" => of::<GroupMetadataKey>(golden),
        "GroupMetadataValue" => of::<GroupMetadataValue>(golden),
        "OffsetCommitKey" => of::<OffsetCommitKey>(golden),
        "OffsetCommitValue" => of::<OffsetCommitValue>(golden),
        "TransactionLogKey" => of::<TransactionLogKey>(golden),
        "TransactionLogValue" => of::<TransactionLogValue>(golden),
        other => panic!("no message is called {other}"),
    }
}

/// Every field of the struct has the JSON's value, or its default where the JSON has none; and the JSON
/// has no field that the struct lacks.
fn compare_struct(
    message: &parse::Message,
    name: &str,
    tree: &Tree,
    json: &Map<String, Value>,
) -> Result<(), String> {
    let Tree::Struct(decoded, values) = tree else { return Err(format!("{tree:?} is no {name}")) };
    let definition = message.structs.iter().find(|s| s.name == name).unwrap();
    if decoded != name || values.len() != definition.fields.len() {
        return Err(format!("{decoded} has {} fields, {name} {}", values.len(), definition.fields.len()));
    }
    let mut json: BTreeMap<String, &Value> =
        json.iter().map(|(key, value)| (snake_case(key), value)).collect();
    for (field, (_, tree)) in definition.fields.iter().zip(values) {
        let default = default(field);
        let expected = json.remove(&field.name).unwrap_or(&default);
        compare(message, &field.ty, tree, expected).map_err(|e| format!("{name}.{}: {e}", field.name))?;
    }
    match json.first_key_value() {
        None => Ok(()),
        Some((key, _)) => Err(format!("{name} has no {key}")),
    }
}

fn compare(message: &parse::Message, ty: &parse::Type, tree: &Tree, json: &Value) -> Result<(), String> {
    use parse::Type;
    let differs = || format!("decoded {tree:?}, Kafka has {json}");
    let same = |same: bool| same.then_some(()).ok_or_else(differs);
    match (ty, tree, json) {
        (_, Tree::Word(word), Value::Null) => same(word == "None"),
        (_, Tree::Tuple(some, inner), _) if some == "Some" => compare(message, ty, &inner[0], json),
        (Type::Records, Tree::Tuple(memory, inner), _) if memory == "Memory" => {
            compare(message, &Type::Bytes, &inner[0], json)
        }
        (Type::Struct(name), _, Value::Object(json)) => compare_struct(message, name, tree, json),
        (Type::Array(element), Tree::List(trees), Value::Array(values)) if trees.len() == values.len() => {
            trees.iter().zip(values).try_for_each(|(tree, json)| compare(message, element, tree, json))
        }
        (Type::String, Tree::Text(bytes), Value::String(text)) => same(bytes == text.as_bytes()),
        (Type::Bytes, Tree::Text(bytes), Value::String(text)) => {
            same(*bytes == STANDARD.decode(text).unwrap())
        }
        (Type::Uuid, Tree::Word(word), Value::String(text)) => same(word == text),
        (Type::Bool, Tree::Word(word), Value::Bool(value)) => same(*word == value.to_string()),
        (Type::Float64, Tree::Word(word), Value::Number(number)) => {
            same(word.parse::<f64>().unwrap().to_bits() == number.as_f64().unwrap().to_bits())
        }
        (Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64, Tree::Word(word), Value::Number(number)) => {
            same(*word == number.to_string())
        }
        _ => Err(differs()),
    }
}

fn default(field: &parse::Field) -> Value {
    use parse::Type;
    match (field.default.as_deref(), &field.ty) {
        (_, Type::Records) | (Some("null"), _) => Value::Null,
        (Some(value), _) => serde_json::from_str(value).unwrap(),
        (None, Type::Struct(_)) => Value::Object(Map::new()),
        (None, Type::Array(_)) => Value::Array(Vec::new()),
        (None, Type::String | Type::Bytes) => Value::String(String::new()),
        (None, Type::Uuid) => Value::String("A".repeat(22)),
        (None, Type::Bool) => Value::Bool(false),
        (None, Type::Float64) => Value::from(0.0),
        (None, _) => Value::from(0),
    }
}

/// As Kafka's generator does it: no underscore between capitals (`isKRaftController`).
fn snake_case(name: &str) -> String {
    let mut out = String::new();
    let mut after_capital = true;
    for c in name.chars() {
        if c.is_ascii_uppercase() && !after_capital {
            out.push('_');
        }
        after_capital = c.is_ascii_uppercase();
        out.push(c.to_ascii_lowercase());
    }
    out
}
