//! Messages encoded by Kafka's own classes, one JSON object a line.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One message: its bytes, and the values that Kafka reads in them.
pub(crate) struct Golden {
    pub(crate) name: String,
    /// `request`, `response`, `header` or `data`.
    pub(crate) kind: String,
    pub(crate) key: Option<i16>,
    pub(crate) version: i16,
    pub(crate) json: Value,
    pub(crate) bytes: Vec<u8>,
}

/// The file that `WIRE_CORPUS` names, or the one in the repository: every message of the definitions in
/// every version, five random values each, encoded by Kafka 3.9.1.
pub(crate) fn corpus() -> Vec<Golden> {
    let file = std::env::var_os("WIRE_CORPUS").map_or_else(fixture, PathBuf::from);
    let goldens: Vec<Golden> = text(&file).lines().map(golden).collect();
    println!("{}: {} messages", file.display(), goldens.len());
    assert!(!goldens.is_empty(), "no message in {}", file.display());
    goldens
}

pub(crate) fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/tests/fixtures/corpus.jsonl.xz")
}

fn text(file: &Path) -> String {
    let mut reader = BufReader::new(File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display())));
    let mut bytes = Vec::new();
    if file.extension().is_some_and(|extension| extension == "xz") {
        lzma_rs::xz_decompress(&mut reader, &mut bytes).unwrap();
    } else {
        reader.read_to_end(&mut bytes).unwrap();
    }
    String::from_utf8(bytes).unwrap()
}

fn golden(line: &str) -> Golden {
    let mut line: Value = serde_json::from_str(line).unwrap();
    Golden {
        name: line["name"].as_str().unwrap().into(),
        kind: line["kind"].as_str().unwrap().into(),
        key: line["key"].as_i64().map(|key| key as i16),
        version: line["version"].as_i64().unwrap() as i16,
        bytes: unhex(line["hex"].as_str().unwrap()),
        json: line["json"].take(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}
