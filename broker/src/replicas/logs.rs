//! Where the partitions' logs come from and go to.

use std::sync::Arc;

use client::ids::{TopicPartition, Uuid};
use client::wire::ErrorCode;

use super::Replicas;
use crate::clock::Now;
use crate::log::{Log, LogMarks};
use crate::partition::{LeaderAndIsr, Partition, PartitionError};

impl Replicas {
    /// Gives the partition its log, if it has none: the one that was loaded at start, or a new one.
    pub(super) fn provide_log(
        &self,
        partition: &Arc<Partition>,
        state: &LeaderAndIsr,
        now: Now,
    ) -> Result<(), PartitionError> {
        if partition.has_log() {
            return Ok(());
        }
        let id = partition.id();
        let config = partition.config().log.clone();
        let log = match self.dirs.take(id) {
            Some(mut log) => {
                log.set_config(config);
                log
            }
            None => {
                let topic_id = Some(state.topic_id).filter(|id| !id.is_zero());
                let made = self.dirs.create(id, config, topic_id, state.is_new, rand::random(), now.unix_ms);
                made.map_err(|error| {
                    tracing::error!(partition = %id, %error, "the partition gets no log");
                    PartitionError::Offline
                })?
            }
        };
        partition.attach(log, now);
        Ok(())
    }

    pub(super) fn delete_log(&self, id: &TopicPartition, log: Log, now: Now) -> ErrorCode {
        match self.dirs.delete(log, Uuid(rand::random()), now.unix_ms) {
            Ok(()) => ErrorCode::None,
            Err(error) => {
                tracing::error!(partition = %id, %error, "the log cannot be deleted");
                ErrorCode::KafkaStorageError
            }
        }
    }

    pub(super) fn marks(&self) -> Vec<LogMarks> {
        self.hosted.all().iter().filter_map(|partition| partition.marks()).collect()
    }

    pub(super) fn close_logs(&self) {
        let now = Now::read();
        let logs = self.hosted.all().iter().filter_map(|partition| partition.take_log(now)).collect();
        self.dirs.close(logs);
    }
}
