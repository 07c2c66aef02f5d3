//! Kafka's own deserializers, as far as their values have a text.

use bytes::Bytes;

const PACKAGE: &str = "org.apache.kafka.common.serialization.";

/// What bytes are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deserializer {
    String,
    Long,
    Integer,
    Short,
    Float,
    Double,
    Boolean,
    Uuid,
    /// `ByteArrayDeserializer`, whose values Java shows by their place in memory.
    ByteArray,
    /// `BytesDeserializer`.
    Bytes,
}

/// Bytes that do not mean anything to who reads them. The text is Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(pub(super) String);

impl Deserializer {
    /// By the name of Kafka's class.
    pub(super) fn find(class: &str) -> Option<Deserializer> {
        Some(match class.strip_prefix(PACKAGE)?.strip_suffix("Deserializer")? {
            "String" => Deserializer::String,
            "Long" => Deserializer::Long,
            "Integer" => Deserializer::Integer,
            "Short" => Deserializer::Short,
            "Float" => Deserializer::Float,
            "Double" => Deserializer::Double,
            "Boolean" => Deserializer::Boolean,
            "UUID" => Deserializer::Uuid,
            "ByteArray" => Deserializer::ByteArray,
            "Bytes" => Deserializer::Bytes,
            _ => return None,
        })
    }

    /// The value's text, as Java shows it.
    pub(super) fn show(self, bytes: &Bytes) -> Result<String, Unreadable> {
        let size = |name: &str, size: usize| {
            Err(Unreadable(format!("Size of data received by {name} is not {size}")))
        };
        let fixed = |name: &str| match self {
            Deserializer::Short => size(name, 2),
            Deserializer::Integer | Deserializer::Float => size(name, 4),
            Deserializer::Boolean => size(name, 1),
            _ => size(name, 8),
        };
        match self {
            Deserializer::String => Ok(String::from_utf8_lossy(bytes).into_owned()),
            Deserializer::Long => match <[u8; 8]>::try_from(bytes.as_ref()) {
                Ok(bytes) => Ok(i64::from_be_bytes(bytes).to_string()),
                Err(_) => fixed("LongDeserializer"),
            },
            Deserializer::Integer => match <[u8; 4]>::try_from(bytes.as_ref()) {
                Ok(bytes) => Ok(i32::from_be_bytes(bytes).to_string()),
                Err(_) => fixed("IntegerDeserializer"),
            },
            Deserializer::Short => match <[u8; 2]>::try_from(bytes.as_ref()) {
                Ok(bytes) => Ok(i16::from_be_bytes(bytes).to_string()),
                Err(_) => fixed("ShortDeserializer"),
            },
            Deserializer::Float => match <[u8; 4]>::try_from(bytes.as_ref()) {
                Ok(bytes) => Ok(format!("{:?}", f32::from_be_bytes(bytes))),
                Err(_) => size("Deserializer", 4),
            },
            Deserializer::Double => match <[u8; 8]>::try_from(bytes.as_ref()) {
                Ok(bytes) => Ok(format!("{:?}", f64::from_be_bytes(bytes))),
                Err(_) => size("Deserializer", 8),
            },
            Deserializer::Boolean => match bytes.as_ref() {
                [0] => Ok("false".to_owned()),
                [1] => Ok("true".to_owned()),
                [other] => {
                    Err(Unreadable(format!("Unexpected byte received by BooleanDeserializer: {other}")))
                }
                _ => fixed("BooleanDeserializer"),
            },
            Deserializer::Uuid => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let is_uuid = text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
                    && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
                match is_uuid {
                    true => Ok(text.to_ascii_lowercase()),
                    false => Err(Unreadable("Error parsing data into UUID".to_owned())),
                }
            }
            Deserializer::ByteArray => Ok(format!("[B@{:x}", crc32c::crc32c(bytes))),
            Deserializer::Bytes => Ok(bytes.iter().map(|byte| escaped(*byte)).collect()),
        }
    }
}

/// As `Bytes.toString` of Kafka shows a byte.
fn escaped(byte: u8) -> String {
    match byte {
        b'\\' | b' '..=b'~' => char::from(byte).to_string(),
        other => format!("\\x{other:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(class: &str, bytes: &'static [u8]) -> Result<String, String> {
        let deserializer = Deserializer::find(&format!("{PACKAGE}{class}Deserializer")).unwrap();
        deserializer.show(&Bytes::from_static(bytes)).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_shown_as_java_shows_them() {
        assert_eq!(show("Long", &[0, 0, 0, 0, 0, 0, 1, 0]), Ok("256".to_owned()));
        assert_eq!(show("Integer", &[0xff; 4]), Ok("-1".to_owned()));
        assert_eq!(show("Double", &1.5f64.to_be_bytes().to_vec().leak()[..]), Ok("1.5".to_owned()));
        assert_eq!(show("Bytes", b"a\x00"), Ok("a\\x00".to_owned()));
        assert!(show("ByteArray", b"a").unwrap().starts_with("[B@"));
        assert_eq!(show("Long", b"a"), Err("Size of data received by LongDeserializer is not 8".to_owned()));
        assert_eq!(Deserializer::find("no.such.Deserializer"), None);
    }
}
