//! What a fetcher does next about a partition, by the leader's answer. Pure.

use client::ids::{LeaderEpoch, Offset, TopicPartition};
use client::wire::ErrorCode;
use client::wire::messages::fetch_response::PartitionData;

use crate::log::LogError;
use crate::partition::epochs::EpochEnd;
use crate::partition::{FollowError, PartitionError};

/// What a partition's part of a fetch answer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Append,
    /// The log parted from the leader's.
    Truncate(EpochEnd),
    /// The position is outside the leader's log: ask for both its ends.
    Reposition,
    /// The leader is in a newer epoch: wait to be told of it.
    Fenced,
    /// The leader has not heard of its role yet, or no longer has it.
    NotThereYet(ErrorCode),
    Failed(ErrorCode),
}

/// What becomes of a partition after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Continue,
    /// Try again later.
    Delay,
    /// Wait for the controller.
    Fail,
}

impl Step {
    pub fn after(answer: &PartitionData) -> Step {
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None if answer.diverging_epoch.epoch >= 0 => Step::Truncate(EpochEnd {
                epoch: LeaderEpoch(answer.diverging_epoch.epoch),
                end: Offset(answer.diverging_epoch.end_offset),
            }),
            ErrorCode::None => Step::Append,
            ErrorCode::OffsetOutOfRange => Step::Reposition,
            ErrorCode::FencedLeaderEpoch => Step::Fenced,
            error @ (ErrorCode::UnknownLeaderEpoch
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId) => Step::NotThereYet(error),
            error => Step::Failed(error),
        }
    }
}

impl Outcome {
    /// After the log was appended to, cut or moved, or was not.
    pub fn of<T>(id: &TopicPartition, done: Result<T, FollowError>) -> Outcome {
        match done {
            Ok(_) | Err(FollowError::Superseded) => Outcome::Continue,
            Err(FollowError::Partition(PartitionError::Log(error @ LogError::Corrupt { .. }))) => {
                tracing::warn!(partition = %id, %error, "the leader sent corrupt records; fetching them again");
                Outcome::Delay
            }
            Err(FollowError::Partition(error)) => {
                tracing::error!(partition = %id, %error, "following stops until the controller assigns the partition anew");
                Outcome::Fail
            }
        }
    }
}
