//! What a topic's configuration says to its partitions.

use client::record::Compression;

use crate::log::LogConfig;

/// The present configuration of a topic, as far as its replicas obey it.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    pub log: LogConfig,
    /// `min.insync.replicas`
    pub min_insync_replicas: usize,
    /// `message.timestamp.before.max.ms`
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub message_timestamp_after_max_ms: i64,
    /// `compression.type`; `None`: the producer's.
    pub compression: Option<Compression>,
    /// `message.downconversion.enable`
    pub downconversion_enabled: bool,
    /// `flush.before.ack` of the broker.
    pub flush_before_ack: bool,
}

impl Default for TopicConfig {
    /// Kafka's defaults.
    fn default() -> TopicConfig {
        TopicConfig {
            log: LogConfig::default(),
            min_insync_replicas: 1,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: i64::MAX,
            compression: None,
            downconversion_enabled: true,
            flush_before_ack: false,
        }
    }
}
