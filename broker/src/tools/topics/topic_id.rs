//! `--topic-id` (Kafka's `Uuid.fromString`).

use client::ids::Uuid;

use super::Failed;
use crate::tools::java_text::decode_base64;

/// Longer ones cannot be ids: 16 bytes are 22 characters, 24 with padding.
const LONGEST: usize = 24;

pub(super) fn parse(text: &str) -> Result<Uuid, Failed> {
    if text.encode_utf16().count() > LONGEST {
        let prefix: String = text.chars().take(LONGEST).collect();
        return Err(Failed::new(format!(
            "Input string with prefix `{prefix}` is too long to be decoded as a base64 UUID"
        )));
    }
    let bytes = decode_base64(text).map_err(Failed::new)?;
    let count = bytes.len();
    bytes.try_into().map(Uuid).map_err(|_| {
        Failed::new(format!(
            "Input string `{text}` decoded as {count} bytes, which is not equal to the expected 16 bytes of a \
             base64-encoded UUID"
        ))
    })
}
