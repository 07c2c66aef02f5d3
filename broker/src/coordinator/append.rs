//! Appends to a coordinating partition.

use std::sync::Arc;

use client::ids::{LeaderEpoch, Offset};
use client::record::Compression;
use client::wire::ErrorCode;
use tokio::time::timeout;

use super::Led;
use crate::clock::Now;
use crate::group::record::{self, Content, Encoded};
use crate::partition::{Partition, RequiredAcks};

/// Records that are in this broker's log and may not be on other replicas yet.
#[derive(Debug)]
pub struct Appending {
    partition: Arc<Partition>,
    acks: RequiredAcks,
    limit: std::time::Duration,
    epoch: LeaderEpoch,
    required: Offset,
}

impl Led {
    /// Appends one batch. Records appended one after the other are in the log in this order.
    pub fn append(&self, records: &[Encoded], content: Content) -> Result<Appending, ErrorCode> {
        let now = Now::read();
        let (partition, config) = (self.partition(), self.config());
        let topic = partition.config();
        let compression = topic.compression.unwrap_or_else(|| Compression::from(config.compression));
        let mut batch = record::batch(records, content, compression, now.unix_ms).map_err(|error| {
            tracing::error!(partition = self.number(), %error, "a record of a group cannot be written");
            ErrorCode::UnknownServerError
        })?;
        if i64::try_from(batch.len()).unwrap_or(i64::MAX) > i64::from(topic.log.max_message_bytes) {
            return Err(ErrorCode::MessageTooLarge);
        }
        let acks = config.append_acks;
        let append = partition.append_in_term(&mut batch, acks, self.since(), now);
        let append = append.map_err(|error| error.code())?;
        Ok(Appending {
            partition: Arc::clone(partition),
            acks,
            limit: config.append_timeout,
            epoch: append.epoch,
            required: append.required,
        })
    }
}

impl Appending {
    /// Where the log ended with it.
    pub(super) fn end(&self) -> Offset {
        self.required
    }

    /// Returns when as many replicas have the records as `offsets.commit.required.acks` asks for, or
    /// `offsets.commit.timeout.ms` is over.
    pub async fn done(self) -> Result<(), ErrorCode> {
        match timeout(self.limit, self.partition.wait_for(self.acks, self.epoch, self.required)).await {
            Ok(outcome) => outcome.map_err(|error| error.code()),
            Err(_) => Err(ErrorCode::RequestTimedOut),
        }
    }
}

/// What those are told who commit or delete offsets (Kafka's mapping).
pub(super) fn told_to_committers(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::InvalidCommitOffsetSize
        }
        other => other,
    }
}

/// What members are told when their group's record could not be appended (Kafka's mapping).
pub(super) fn told_to_members(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::RequestTimedOut => ErrorCode::RebalanceInProgress,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => ErrorCode::UnknownServerError,
        other => other,
    }
}
