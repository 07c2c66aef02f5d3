//! What can go wrong for who reads.

use super::committed::OffsetsError;
use super::membership::Refusal;
use crate::cluster::ClusterError;
use crate::consumer::{CorruptRecords, ListOffsetsError, Position};
use crate::ids::TopicPartition;
use crate::wire::ErrorCode;

/// Why there are no records, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// `group.id` is not set, so there is no group to subscribe with.
    #[error("subscribing needs a group.id; without one, partitions can be assigned by hand")]
    NoGroup,
    /// Topics are subscribed to, or partitions assigned by hand, but not both.
    #[error("the consumer has {present} already; unsubscribe first")]
    OtherMode { present: &'static str },
    #[error("{partition} is not assigned to this consumer")]
    NotAssigned { partition: TopicPartition },
    /// The group does not take this consumer.
    #[error(transparent)]
    Group(#[from] Refusal),
    /// What the coordinator keeps for the group cannot be had, so partitions cannot be begun.
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
    #[error(transparent)]
    ListOffsets(#[from] ListOffsetsError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is no committed offset, and `auto.offset.reset` is `none`.
    #[error(
        "{partition} has no committed offset, and auto.offset.reset is none; seek, or choose another reset"
    )]
    NoOffset { partition: TopicPartition },
    /// The log does not reach to the position, and `auto.offset.reset` is `none`.
    #[error("the log of {partition} does not reach to offset {}; seek to another", position.offset)]
    OutOfRange { partition: TopicPartition, position: Position },
    /// The log is not the one that was read any more: records before the position may be gone (KIP-320).
    #[error("the log of {partition} was cut back before offset {}; seek to another", position.offset)]
    Truncated {
        partition: TopicPartition,
        position: Position,
        /// Where the two logs part, if the leader can tell.
        diverged: Option<Position>,
    },
    /// The next record cannot be read. It is tried again with the next poll; seek to pass over it.
    #[error("{partition} cannot be read at offset {}: {cause}", position.offset)]
    Corrupt {
        partition: TopicPartition,
        position: Position,
        #[source]
        cause: CorruptRecords,
    },
    /// The leader's final word about a partition. It is asked again with the next poll.
    #[error("{partition} cannot be read: {code}: {}", code.message())]
    Refused { partition: TopicPartition, code: ErrorCode },
}
