//! Where the partitions' logs come from and go to.

use std::sync::Arc;

use client::ids::{TopicPartition, Uuid};
use client::wire::ErrorCode;

use super::Replicas;
use crate::clock::Now;
use crate::log::{Log, LogMarks};
use crate::partition::{LeaderAndIsr, Partition, PartitionError};

impl Replicas {
    pub(super) fn host(&self, id: &TopicPartition) -> Arc<Partition> {
        let config = (self.topic_configs)(&id.topic);
        self.hosted
            .get_or_insert(id, || Arc::new(Partition::new(id.clone(), config, Arc::clone(&self.around))))
    }

    /// Hosts the partition if its log was found at start. Its role is still to come, but the log
    /// already says which topic of this name it is of.
    pub(super) fn host_loaded(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        let mut log = self.dirs.take(id)?;
        let partition = self.host(id);
        log.set_config(partition.config().log.clone());
        partition.attach(log, Now::read());
        Some(partition)
    }

    /// Makes the partition an empty log, if it has none.
    pub(super) fn create_log(
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
        let topic_id = Some(state.topic_id).filter(|id| !id.is_zero());
        let created = self.dirs.create(id, config, topic_id, state.is_new, rand::random(), now.unix_ms);
        let log = created.map_err(|error| {
            tracing::error!(partition = %id, %error, "the partition gets no log");
            PartitionError::Offline
        })?;
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
