//! `/cluster/id`: the cluster's name, drawn by the first broker; every log directory carries it too.

use super::ZnodeError;
use super::json::{self, Fields, Object};

pub const PATH: &str = "/cluster/id";

const NODE: &str = "/cluster/id";

/// Here, and only here, Kafka writes the version between quotes.
pub fn encode(id: &str) -> Vec<u8> {
    Object::new().string("version", "1").string("id", id).into_bytes()
}

pub fn decode(data: &[u8]) -> Result<String, ZnodeError> {
    let value = json::parse(NODE, data)?;
    Fields::of(NODE, &value)?.string("id").map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_written_as_kafka_does() {
        let text = r#"{"version":"1","id":"vPeOCWypqUOSepEvx0cbog"}"#;
        assert_eq!(String::from_utf8(encode("vPeOCWypqUOSepEvx0cbog")).unwrap(), text);
        assert_eq!(decode(text.as_bytes()).as_deref(), Ok("vPeOCWypqUOSepEvx0cbog"));
        assert_eq!(decode(b"{}").unwrap_err().to_string(), "/cluster/id lacks the field 'id'");
    }
}
