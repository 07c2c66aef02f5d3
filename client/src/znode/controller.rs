//! `/controller`, an ephemeral node that names the controller, and `/controller_epoch`, which
//! counts the elections. Both are written only by the election itself, in one multi: whoever
//! touches them otherwise stops the sitting controller from writing.

use super::ZnodeError;
use super::json::{self, Fields, Object};
use crate::ids::{BrokerId, ControllerEpoch};

pub const PATH: &str = "/controller";
pub const EPOCH_PATH: &str = "/controller_epoch";

/// What `/controller_epoch` is created with; the first controller has epoch 1.
pub const INITIAL_EPOCH: ControllerEpoch = ControllerEpoch(0);

const NODE: &str = "/controller";
const EPOCH_NODE: &str = "/controller_epoch";

/// What `/controller` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerRegistration {
    pub broker: BrokerId,
    /// Milliseconds since 1970 of the election. −1: not known.
    pub timestamp_ms: i64,
    /// Above 0: a KRaft controller is migrating the cluster, and brokers must not stand for
    /// election. −1: none.
    pub kraft_controller_epoch: i32,
}

impl ControllerRegistration {
    /// A broker's own candidacy.
    pub fn of(broker: BrokerId, timestamp_ms: i64) -> ControllerRegistration {
        ControllerRegistration { broker, timestamp_ms, kraft_controller_epoch: -1 }
    }

    /// Version 2 of the node.
    pub fn encode(&self) -> Vec<u8> {
        Object::new()
            .number("version", 2)
            .number("brokerid", self.broker.0)
            .quoted_number("timestamp", self.timestamp_ms)
            .number("kraftControllerEpoch", self.kraft_controller_epoch)
            .into_bytes()
    }

    /// Versions 1 (before 3.4) and 2.
    pub fn decode(data: &[u8]) -> Result<ControllerRegistration, ZnodeError> {
        let value = json::parse(NODE, data)?;
        let fields = Fields::of(NODE, &value)?;
        Ok(ControllerRegistration {
            broker: BrokerId(fields.i32("brokerid")?),
            timestamp_ms: fields.timestamp("timestamp"),
            kraft_controller_epoch: fields.i32_or("kraftControllerEpoch", -1)?,
        })
    }
}

/// The decimal number in `/controller_epoch`.
pub fn encode_epoch(epoch: ControllerEpoch) -> Vec<u8> {
    epoch.0.to_string().into_bytes()
}

pub fn decode_epoch(data: &[u8]) -> Result<ControllerEpoch, ZnodeError> {
    if data.is_empty() {
        return Err(ZnodeError::Empty { node: EPOCH_NODE });
    }
    let text = String::from_utf8_lossy(data);
    text.parse().map(ControllerEpoch).map_err(|_| ZnodeError::Malformed {
        node: EPOCH_NODE,
        expected: "a decimal number",
        reason: format!("it holds {text:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_is_written_as_kafka_does() {
        let text = r#"{"version":2,"brokerid":1001,"timestamp":"1729500000123","kraftControllerEpoch":-1}"#;
        let node = ControllerRegistration::of(BrokerId(1001), 1729500000123);
        assert_eq!(String::from_utf8(node.encode()).unwrap(), text);
        assert_eq!(ControllerRegistration::decode(text.as_bytes()), Ok(node));
    }

    #[test]
    fn version_1_and_kraft_are_read() {
        let v1 = ControllerRegistration::decode(br#"{"version":1,"brokerid":3,"timestamp":"7"}"#);
        assert_eq!(v1, Ok(ControllerRegistration::of(BrokerId(3), 7)));
        let kraft =
            ControllerRegistration::decode(br#"{"version":2,"brokerid":3000,"kraftControllerEpoch":4}"#);
        assert_eq!(kraft.unwrap().kraft_controller_epoch, 4);
    }

    #[test]
    fn the_epoch_is_a_plain_number() {
        assert_eq!(encode_epoch(ControllerEpoch(17)), b"17");
        assert_eq!(decode_epoch(b"17"), Ok(ControllerEpoch(17)));
        assert_eq!(
            decode_epoch(b"x").unwrap_err().to_string(),
            "/controller_epoch does not hold a decimal number: it holds \"x\""
        );
    }
}
