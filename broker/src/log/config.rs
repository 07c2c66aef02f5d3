//! How one log behaves: Kafka's topic configs, in their own names, units and defaults.

use client::record::TimestampType;
use thiserror::Error;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The configs of a topic that its logs obey. Names are Kafka's with `_` for `.`, and the unit appended where
/// Kafka's name lacks it.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `cleanup.policy` holds `delete`.
    pub cleanup_policy_delete: bool,
    /// `cleanup.policy` holds `compact`.
    pub cleanup_policy_compact: bool,
    pub segment_bytes: i32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: i32,
    pub index_interval_bytes: i32,
    /// −1: without limit.
    pub retention_bytes: i64,
    /// −1: without limit.
    pub retention_ms: i64,
    /// Which part of a log must be dirty for compaction to be worth while, from 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// How long a tombstone can still be read after its segment was first compacted.
    pub delete_retention_ms: i64,
    /// Records younger than this are not compacted.
    pub min_compaction_lag_ms: i64,
    /// Records older than this have to be compacted.
    pub max_compaction_lag_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub max_message_bytes: i32,
    pub message_timestamp_type: TimestampType,
    pub preallocate: bool,
    /// `producer.id.expiration.ms` of the broker: when an idle producer's state is forgotten.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            cleanup_policy_delete: true,
            cleanup_policy_compact: false,
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_bytes: -1,
            retention_ms: 7 * DAY_MS,
            min_cleanable_dirty_ratio: 0.5,
            delete_retention_ms: DAY_MS,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            // 1 MiB of records and the 12 bytes before a batch's length counts.
            max_message_bytes: (1 << 20) + 12,
            message_timestamp_type: TimestampType::CreateTime,
            preallocate: false,
            producer_id_expiration_ms: DAY_MS,
        }
    }
}

/// A config value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Invalid value {value} for configuration {name}: {expected}")]
pub struct InvalidLogConfig {
    pub name: String,
    pub value: String,
    /// What would be right.
    pub expected: &'static str,
}

impl LogConfig {
    /// Sets one config by its Kafka name. `Ok(false)`: the name is none that logs care about.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, InvalidLogConfig> {
        let invalid = |expected| InvalidLogConfig { name: name.into(), value: value.into(), expected };
        let i32_from = |minimum: i32, expected| {
            value.trim().parse().ok().filter(|n| *n >= minimum).ok_or_else(|| invalid(expected))
        };
        let i64_from = |minimum: i64, expected| {
            value.trim().parse().ok().filter(|n| *n >= minimum).ok_or_else(|| invalid(expected))
        };
        match name {
            "cleanup.policy" => {
                let policies: Vec<&str> = value.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
                if policies.iter().any(|policy| !["delete", "compact"].contains(policy)) {
                    return Err(invalid("String must be one of: compact, delete"));
                }
                self.cleanup_policy_delete = policies.contains(&"delete");
                self.cleanup_policy_compact = policies.contains(&"compact");
            }
            "segment.bytes" => self.segment_bytes = i32_from(14, "Value must be at least 14")?,
            "segment.ms" => self.segment_ms = i64_from(1, "Value must be at least 1")?,
            "segment.jitter.ms" => self.segment_jitter_ms = i64_from(0, "Value must be at least 0")?,
            "segment.index.bytes" => self.segment_index_bytes = i32_from(4, "Value must be at least 4")?,
            "index.interval.bytes" => self.index_interval_bytes = i32_from(0, "Value must be at least 0")?,
            "retention.bytes" => self.retention_bytes = i64_from(i64::MIN, "Not a number of type LONG")?,
            "retention.ms" => self.retention_ms = i64_from(-1, "Value must be at least -1")?,
            "min.cleanable.dirty.ratio" => {
                let ratio = value.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
                self.min_cleanable_dirty_ratio = ratio.ok_or_else(|| invalid("Value must be from 0 to 1"))?;
            }
            "delete.retention.ms" => self.delete_retention_ms = i64_from(0, "Value must be at least 0")?,
            "min.compaction.lag.ms" => self.min_compaction_lag_ms = i64_from(0, "Value must be at least 0")?,
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = i64_from(1, "Value must be at least 1")?,
            "file.delete.delay.ms" => self.file_delete_delay_ms = i64_from(0, "Value must be at least 0")?,
            "flush.messages" => self.flush_messages = i64_from(1, "Value must be at least 1")?,
            "flush.ms" => self.flush_ms = i64_from(0, "Value must be at least 0")?,
            "max.message.bytes" => self.max_message_bytes = i32_from(0, "Value must be at least 0")?,
            "message.timestamp.type" => {
                self.message_timestamp_type = match value.trim() {
                    "CreateTime" => TimestampType::CreateTime,
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => return Err(invalid("String must be one of: CreateTime, LogAppendTime")),
                }
            }
            "preallocate" => {
                self.preallocate = match value.trim().to_ascii_lowercase().as_str() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(invalid("Expected value to be either true or false")),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn max_segment_bytes(&self) -> u64 {
        u64::try_from(self.segment_bytes).unwrap_or(0)
    }

    /// Age at which a segment is closed: what is in the open one could not be compacted in time.
    pub(super) fn max_segment_ms(&self) -> i64 {
        match self.cleanup_policy_compact && self.max_compaction_lag_ms > 0 {
            true => self.segment_ms.min(self.max_compaction_lag_ms),
            false => self.segment_ms,
        }
    }

    pub(super) fn max_index_bytes(&self) -> usize {
        usize::try_from(self.segment_index_bytes).unwrap_or(0)
    }

    pub(super) fn index_interval(&self) -> u64 {
        u64::try_from(self.index_interval_bytes).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_kafka_names() {
        let mut config = LogConfig::default();
        assert_eq!(config.set("cleanup.policy", "compact, delete"), Ok(true));
        assert_eq!(config.set("segment.bytes", "14"), Ok(true));
        assert_eq!(config.set("message.timestamp.type", "LogAppendTime"), Ok(true));
        assert_eq!(config.set("min.insync.replicas", "2"), Ok(false));
        let expected = LogConfig {
            cleanup_policy_compact: true,
            segment_bytes: 14,
            message_timestamp_type: TimestampType::LogAppendTime,
            ..LogConfig::default()
        };
        assert_eq!(config, expected);
        for (name, value) in [("segment.bytes", "13"), ("cleanup.policy", "keep"), ("preallocate", "yes")] {
            assert_eq!(config.set(name, value).unwrap_err().name, name);
        }
        assert_eq!(config, expected);
    }
}
