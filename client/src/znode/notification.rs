//! Sequential nodes by which brokers of older protocols tell the controller that an in-sync set
//! changed, and by which every broker tells it that a log directory failed. The controller
//! deletes them when it has looked.

use super::ZnodeError;
use super::admin::{partition_list, read_partition_list};
use super::json::{self, Fields, Object};
use crate::ids::{BrokerId, TopicPartition};

pub const ISR_CHANGES: &str = "/isr_change_notification";
pub const ISR_CHANGE_PREFIX: &str = "isr_change_";
pub const LOG_DIR_EVENTS: &str = "/log_dir_event_notification";
pub const LOG_DIR_EVENT_PREFIX: &str = "log_dir_event_";

const ISR_NODE: &str = "an ISR change notification";
const LOG_DIR_NODE: &str = "a log directory event";

/// Kafka's number for "a log directory failed", the only event there is.
const LOG_DIR_FAILURE: i32 = 1;

/// The path of a new notification, to be created sequentially.
pub fn isr_change_path() -> String {
    format!("{ISR_CHANGES}/{ISR_CHANGE_PREFIX}")
}

/// The path of a new event, to be created sequentially.
pub fn log_dir_event_path() -> String {
    format!("{LOG_DIR_EVENTS}/{LOG_DIR_EVENT_PREFIX}")
}

/// The partitions whose in-sync set changed.
pub fn encode_isr_change(partitions: &[TopicPartition]) -> Vec<u8> {
    Object::new().number("version", 1).raw("partitions", &partition_list(partitions)).into_bytes()
}

pub fn decode_isr_change(data: &[u8]) -> Result<Vec<TopicPartition>, ZnodeError> {
    let value = json::parse(ISR_NODE, data)?;
    read_partition_list(ISR_NODE, &value)
}

/// A log directory of this broker failed.
pub fn encode_log_dir_event(broker: BrokerId) -> Vec<u8> {
    Object::new()
        .number("version", 1)
        .number("broker", broker.0)
        .number("event", LOG_DIR_FAILURE)
        .into_bytes()
}

/// The broker one of whose log directories failed.
pub fn decode_log_dir_event(data: &[u8]) -> Result<BrokerId, ZnodeError> {
    let value = json::parse(LOG_DIR_NODE, data)?;
    let fields = Fields::of(LOG_DIR_NODE, &value)?;
    Ok(BrokerId(fields.i32("broker")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isr_changes_are_written_as_kafka_does() {
        let text = r#"{"version":1,"partitions":[{"topic":"t","partition":0}]}"#;
        let partitions = vec![TopicPartition::new("t", 0)];
        assert_eq!(String::from_utf8(encode_isr_change(&partitions)).unwrap(), text);
        assert_eq!(decode_isr_change(text.as_bytes()), Ok(partitions));
        assert!(decode_isr_change(b"garbage").is_err());
        assert_eq!(isr_change_path(), "/isr_change_notification/isr_change_");
    }

    #[test]
    fn log_dir_events_are_written_as_kafka_does() {
        let text = r#"{"version":1,"broker":1,"event":1}"#;
        assert_eq!(String::from_utf8(encode_log_dir_event(BrokerId(1))).unwrap(), text);
        assert_eq!(decode_log_dir_event(text.as_bytes()), Ok(BrokerId(1)));
        assert_eq!(log_dir_event_path(), "/log_dir_event_notification/log_dir_event_");
    }
}
