//! What a topic demands of produced records, and the rules for single records.

use super::NO_TIMESTAMP;
use super::attributes::TimestampType;
use super::compression::Compression;
use super::refusal::{REFUSED_RECORDS_MAX, Refusal, RefusedRecord};
use super::stream::RecordHead;
use crate::ids::TopicPartition;

/// What a topic and its leader demand of produced records.
#[derive(Debug, Clone, Copy)]
pub struct ProduceRules<'a> {
    /// Named in refusals.
    pub partition: &'a TopicPartition,
    pub origin: Origin,
    /// `max.message.bytes`: of a whole batch.
    pub max_message_bytes: usize,
    /// `segment.bytes`.
    pub segment_bytes: usize,
    /// `cleanup.policy` has `compact`: every record needs a key.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_max_ms: i64,
    /// `compression.type`; `None` is `producer`: as the batch comes.
    pub compression: Option<Compression>,
    /// Most bytes a payload may decompress to.
    pub decompressed_max_bytes: usize,
}

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Client,
    /// This broker's group or transaction coordinator, which may write control records.
    Coordinator,
}

/// The rules for single records, and what is gathered on the way.
pub(super) struct RecordCheck<'a> {
    pub(super) rules: &'a ProduceRules<'a>,
    now_ms: i64,
    /// Kafka has not kept the records it names in a refusal, and says so.
    partial: bool,
    /// Of the batch or message whose records come next.
    pub(super) batch_has_append_time: bool,
    /// Records seen.
    pub(super) index: i32,
    pub(super) max_timestamp: i64,
    pub(super) max_timestamp_index: i32,
    refused: Vec<RefusedRecord>,
    refused_total: usize,
    by_timestamp: bool,
}

impl<'a> RecordCheck<'a> {
    pub(super) fn new(rules: &'a ProduceRules<'a>, now_ms: i64, partial: bool) -> RecordCheck<'a> {
        RecordCheck {
            rules,
            now_ms,
            partial,
            batch_has_append_time: false,
            index: 0,
            max_timestamp: NO_TIMESTAMP,
            max_timestamp_index: 0,
            refused: Vec::new(),
            refused_total: 0,
            by_timestamp: false,
        }
    }

    #[inline]
    pub(super) fn see(&mut self, record: &RecordHead) {
        if self.rules.compacted && record.key_len < 0 {
            self.refuse(|check| {
                let partition = check.rules.partition;
                format!("Compacted topic cannot accept message without key in topic partition {partition}")
            });
        } else if !self.timestamp_allowed(record) {
            self.by_timestamp = true;
            self.refuse(|check| check.timestamp_text(record));
        }
        if record.timestamp > self.max_timestamp {
            self.max_timestamp = record.timestamp;
            self.max_timestamp_index = self.index;
        }
        self.index = self.index.saturating_add(1);
    }

    /// Kafka lets a producer's append-time batch pass, where records have a timestamp to be judged by.
    fn timestamp_allowed(&self, record: &RecordHead) -> bool {
        let judged =
            self.rules.timestamp_type == TimestampType::CreateTime && record.timestamp != NO_TIMESTAMP;
        if !judged {
            return !self.batch_has_append_time;
        }
        let age = self.now_ms.wrapping_sub(record.timestamp);
        age <= self.rules.before_max_ms && age.wrapping_neg() <= self.rules.after_max_ms
    }

    fn timestamp_text(&self, record: &RecordHead) -> String {
        let RecordHead { timestamp, offset_delta: offset, key_len, value_len } = *record;
        if self.rules.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
            let from = self.now_ms.wrapping_sub(self.rules.before_max_ms);
            let to = self.now_ms.wrapping_add(self.rules.after_max_ms);
            return format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should \
                 be within [{from}, {to}]"
            );
        }
        let (name, key, value) = match self.partial {
            true => ("PartialDefaultRecord", key_len, value_len),
            false => ("DefaultRecord", key_len.max(0), value_len.max(0)),
        };
        format!(
            "Invalid timestamp type in message {name}(offset={offset}, timestamp={timestamp}, key={key} bytes, \
             value={value} bytes). Producer should not set timestamp type to LogAppendTime."
        )
    }

    #[cold]
    fn refuse(&mut self, message: impl FnOnce(&Self) -> String) {
        self.refused_total += 1;
        if self.refused.len() < REFUSED_RECORDS_MAX {
            let message = message(self);
            self.refused.push(RefusedRecord { batch_index: self.index, message });
        }
    }

    pub(super) fn verdict(&mut self) -> Result<(), Refusal> {
        if self.refused_total == 0 {
            return Ok(());
        }
        Err(Refusal::Records {
            records: std::mem::take(&mut self.refused),
            total: self.refused_total,
            by_timestamp: self.by_timestamp,
        })
    }
}
