//! What went wrong with one topic or resource of a request: a code and, mostly, a text. Every error
//! of administration becomes one here, and nowhere else.

use client::wire::{ErrorCode, MAX_STRING, Str};
use client::zk::ZkError;
use client::znode::topic_name::TopicNameError;
use controller::placement::PlacementError;
use controller::topics::TopicError;

use crate::config::topic::TopicConfigError;

/// An answer that is not success. The texts are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: ErrorCode,
    pub(super) message: Option<String>,
}

impl Failure {
    /// A text that no string of the wire can hold, such as one that repeats a name of the greatest length, makes it
    /// what Kafka says when it cannot write an answer.
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Failure {
        let message = message.into();
        match message.len() > MAX_STRING {
            true => Failure::silent(ErrorCode::UnknownServerError),
            false => Failure { code, message: Some(message) },
        }
    }

    /// Kafka gives no text with some codes.
    pub(super) fn silent(code: ErrorCode) -> Failure {
        Failure { code, message: None }
    }

    pub(super) fn wire_message(&self) -> Option<Str> {
        self.message.as_deref().map(Str::from)
    }
}

impl From<TopicError> for Failure {
    fn from(error: TopicError) -> Failure {
        let message = error.to_string();
        let code = match error {
            TopicError::Name(_) | TopicError::Collides { .. } => ErrorCode::InvalidTopicException,
            TopicError::Exists { .. } | TopicError::MarkedForDeletion { .. } => ErrorCode::TopicAlreadyExists,
            TopicError::Unknown { .. } => ErrorCode::UnknownTopicOrPartition,
            TopicError::BeingReassigned { .. } => ErrorCode::ReassignmentInProgress,
            TopicError::Changed { .. } => ErrorCode::InvalidPartitions,
            TopicError::NoController { .. } => ErrorCode::NotController,
            TopicError::Unreadable { .. } => ErrorCode::UnknownServerError,
            TopicError::ZooKeeper(error) => return Failure::from(error),
        };
        Failure::new(code, message)
    }
}

impl From<ZkError> for Failure {
    fn from(error: ZkError) -> Failure {
        let message = error.to_string();
        let code = match error {
            // Whoever lost its session is not the controller any more.
            ZkError::SessionExpired { .. } | ZkError::Closed { .. } | ZkError::Fenced { .. } => {
                ErrorCode::NotController
            }
            // Clients look again what became of it.
            ZkError::Ambiguous { .. } | ZkError::Unavailable { .. } => ErrorCode::RequestTimedOut,
            ZkError::NoNode { .. }
            | ZkError::NodeExists { .. }
            | ZkError::BadVersion { .. }
            | ZkError::NotEmpty { .. }
            | ZkError::NoAuth { .. }
            | ZkError::AuthFailed
            | ZkError::TooLarge { .. }
            | ZkError::TooManyWatches { .. }
            | ZkError::InvalidConnectString(_)
            | ZkError::Refused { .. } => ErrorCode::UnknownServerError,
        };
        tracing::warn!(%error, "an administrative request failed in ZooKeeper");
        Failure::new(code, message)
    }
}

impl From<PlacementError> for Failure {
    fn from(error: PlacementError) -> Failure {
        let code = match error {
            PlacementError::NoPartitions
            | PlacementError::SameCount { .. }
            | PlacementError::FewerPartitions { .. } => ErrorCode::InvalidPartitions,
            PlacementError::NoReplicas | PlacementError::TooFewBrokers { .. } => {
                ErrorCode::InvalidReplicationFactor
            }
            PlacementError::UnevenReplicas
            | PlacementError::RepeatedReplica(_)
            | PlacementError::NotConsecutive
            | PlacementError::WrongCount { .. }
            | PlacementError::UnknownBrokers(_)
            | PlacementError::EmptyReplicas { .. }
            | PlacementError::RepeatedBroker { .. }
            | PlacementError::OtherFactor { .. } => ErrorCode::InvalidReplicaAssignment,
            PlacementError::SomeRacksUnknown | PlacementError::NoFirstPartition => {
                ErrorCode::UnknownServerError
            }
        };
        Failure::new(code, error.to_string())
    }
}

impl From<TopicConfigError> for Failure {
    fn from(error: TopicConfigError) -> Failure {
        Failure::new(ErrorCode::InvalidConfig, error.to_string())
    }
}

impl From<TopicNameError> for Failure {
    fn from(error: TopicNameError) -> Failure {
        Failure::new(ErrorCode::InvalidTopicException, error.to_string())
    }
}
