//! Why a partition refused a request, and the code that says so on the wire.

use client::ids::{BrokerId, LeaderEpoch, Offset};
use client::wire::ErrorCode;
use thiserror::Error;

use crate::log::LogError;

/// What can be wrong with a request to one partition.
#[derive(Debug, Error)]
pub enum PartitionError {
    #[error("this broker is not the partition's leader; ask for metadata and go to the leader")]
    NotLeader,
    #[error(
        "producer {producer_id} sent sequence {found}, and {expected} is missing: it may be on its way to the \
         former leader, whose refusal will send it here"
    )]
    EarlierBatchToCome { producer_id: i64, found: i32, expected: i32 },
    #[error("broker {replica} is not a replica of the partition; its controller has not told us of it")]
    NotReplica { replica: BrokerId, knows_epoch: bool },
    #[error("the request is of leader epoch {asked}, but the partition is in {current} already")]
    FencedLeaderEpoch { asked: LeaderEpoch, current: LeaderEpoch },
    #[error("the request is of leader epoch {asked}, which this broker has not heard of; it is in {current}")]
    UnknownLeaderEpoch { asked: LeaderEpoch, current: LeaderEpoch },
    #[error("{in_sync} replicas are in sync, acks=all needs {needed} (min.insync.replicas)")]
    NotEnoughReplicas { in_sync: usize, needed: usize },
    #[error("the records are stored, but too few replicas are in sync to confirm them")]
    NotEnoughReplicasAfterAppend,
    #[error("offset {offset} is outside the log, which is {start} to {end}")]
    OffsetOutOfRange { offset: Offset, start: Offset, end: Offset },
    #[error(
        "the new leader does not know yet what is committed: its high watermark is {high_watermark}, \
         its epoch began at {epoch_start}"
    )]
    OffsetNotAvailable { high_watermark: Offset, epoch_start: Offset },
    #[error("the topic's cleanup.policy does not contain delete, so its records may not be deleted")]
    DeletionNotAllowed,
    #[error("the partition's log directory is offline")]
    Offline,
    #[error(transparent)]
    Log(#[from] LogError),
}

impl PartitionError {
    pub fn code(&self) -> ErrorCode {
        ErrorCode::from(self)
    }
}

impl From<&PartitionError> for ErrorCode {
    fn from(error: &PartitionError) -> ErrorCode {
        match error {
            PartitionError::NotLeader | PartitionError::EarlierBatchToCome { .. } => {
                ErrorCode::NotLeaderOrFollower
            }
            PartitionError::NotReplica { knows_epoch: true, .. } => ErrorCode::UnknownLeaderEpoch,
            PartitionError::NotReplica { knows_epoch: false, .. } => ErrorCode::NotLeaderOrFollower,
            PartitionError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            PartitionError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
            PartitionError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
            PartitionError::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
            PartitionError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            PartitionError::OffsetNotAvailable { .. } => ErrorCode::OffsetNotAvailable,
            PartitionError::DeletionNotAllowed => ErrorCode::PolicyViolation,
            PartitionError::Offline => ErrorCode::KafkaStorageError,
            PartitionError::Log(error) => log_code(error),
        }
    }
}

fn log_code(error: &LogError) -> ErrorCode {
    match error {
        LogError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        LogError::MessageTooLarge { .. } => ErrorCode::MessageTooLarge,
        LogError::RecordListTooLarge { .. } => ErrorCode::RecordListTooLarge,
        LogError::Corrupt { .. } | LogError::Damaged { .. } | LogError::Unreadable { .. } => {
            ErrorCode::CorruptMessage
        }
        LogError::NotContinuing { .. } | LogError::OffsetsNotRising { .. } => ErrorCode::UnknownServerError,
        LogError::StaleProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        LogError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        LogError::Storage(_) | LogError::DirOffline { .. } => ErrorCode::KafkaStorageError,
    }
}
