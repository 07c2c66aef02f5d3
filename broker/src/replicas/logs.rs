//! Where the partitions' logs come from and go to.

use std::sync::Arc;

use client::ids::{BrokerId, LeaderEpoch, TopicPartition, Uuid};
use client::wire::ErrorCode;

use super::{Host, Naming, Replicas};
use crate::clock::Now;
use crate::log::{Log, LogMarks};
use crate::partition::{LeaderAndIsr, Partition, PartitionError};

impl Host for Replicas {
    fn me(&self) -> BrokerId {
        self.me
    }

    fn hosted(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        self.hosted.get(id)
    }

    fn host_found(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        let mut log = self.dirs.take(id)?;
        let partition = self.host(id);
        log.set_config(partition.config().log.clone());
        partition.attach(log, Now::read());
        Some(partition)
    }

    fn host(&self, id: &TopicPartition) -> Arc<Partition> {
        let config = (self.topic_configs)(&id.topic);
        self.hosted
            .get_or_insert(id, || Arc::new(Partition::new(id.clone(), config, Arc::clone(&self.around))))
    }

    fn create_log(
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

    fn follow(&self, partition: Arc<Partition>, leader: BrokerId, epoch: LeaderEpoch, naming: Naming) {
        self.fetchers.follow(partition, leader, epoch, naming);
    }

    fn follow_by_name(&self, id: &TopicPartition) {
        self.fetchers.by_name(id);
    }

    fn stop_following(&self, id: &TopicPartition) {
        self.fetchers.stop(id);
    }

    fn forget(&self, id: &TopicPartition) {
        self.hosted.remove(id);
    }

    fn take_found_log(&self, id: &TopicPartition) -> Option<Log> {
        self.dirs.take(id)
    }

    fn delete_log(&self, id: &TopicPartition, log: Log, now: Now) -> ErrorCode {
        match self.dirs.delete(log, Uuid(rand::random()), now.unix_ms) {
            Ok(()) => ErrorCode::None,
            Err(error) => {
                tracing::error!(partition = %id, %error, "the log cannot be deleted");
                ErrorCode::KafkaStorageError
            }
        }
    }
}

impl Replicas {
    pub(super) fn marks(&self) -> Vec<LogMarks> {
        self.hosted.all().iter().filter_map(|partition| partition.marks()).collect()
    }

    pub(super) fn close_logs(&self) {
        let now = Now::read();
        let logs = self.hosted.all().iter().filter_map(|partition| partition.take_log(now)).collect();
        self.dirs.close(logs);
    }
}
