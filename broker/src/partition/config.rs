//! What a topic's configuration says to its partitions.

use crate::log::LogConfig;

/// The present configuration of a topic, as far as its replicas obey it.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    pub log: LogConfig,
    /// `min.insync.replicas`
    pub min_insync_replicas: usize,
}
