//! What Kafka's admin client throws for what ours returns.

use client::admin::AdminError;
use client::wire::ErrorCode;

use super::client_config::KAFKA_EXCEPTION;
use super::failure::Exception;

pub(super) const EXECUTION: &str = "java.util.concurrent.ExecutionException";
pub(super) const RUNTIME: &str = "java.lang.RuntimeException";
pub(super) const TIMEOUT: &str = "org.apache.kafka.common.errors.TimeoutException";

/// The call that finds the brokers to list groups from.
const FIND_BROKERS: &str = "findAllBrokers";

pub(super) fn of(error: &AdminError) -> Exception {
    match error {
        AdminError::NoBroker { call: FIND_BROKERS, .. } | AdminError::TimedOut { call: FIND_BROKERS, .. } => {
            let message = "Failed to find brokers to send ListGroups";
            Exception::new(KAFKA_EXCEPTION, message).caused_by(TIMEOUT, error.to_string())
        }
        AdminError::NoBroker { .. } | AdminError::TimedOut { .. } => {
            Exception::new(TIMEOUT, error.to_string())
        }
        AdminError::Refused { code, message } => Exception::new(class(*code), message.clone()),
        AdminError::UnrepresentableName { .. } => {
            Exception::new(class(ErrorCode::InvalidTopicException), error.to_string())
        }
        AdminError::Unsupported(_) => Exception::new(class(ErrorCode::UnsupportedVersion), error.to_string()),
    }
}

/// As a future's `get` throws it.
pub(super) fn execution(error: &AdminError) -> Exception {
    of(error).wrapped_in(EXECUTION)
}

/// The exception of an error that a broker answered with.
pub(super) fn class(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownTopicOrPartition => {
            "org.apache.kafka.common.errors.UnknownTopicOrPartitionException"
        }
        ErrorCode::LeaderNotAvailable => "org.apache.kafka.common.errors.LeaderNotAvailableException",
        ErrorCode::NotLeaderOrFollower => "org.apache.kafka.common.errors.NotLeaderOrFollowerException",
        ErrorCode::RequestTimedOut => TIMEOUT,
        ErrorCode::MessageTooLarge => "org.apache.kafka.common.errors.RecordTooLargeException",
        ErrorCode::RecordListTooLarge => "org.apache.kafka.common.errors.RecordBatchTooLargeException",
        ErrorCode::OffsetMetadataTooLarge => "org.apache.kafka.common.errors.OffsetMetadataTooLarge",
        ErrorCode::NetworkException => "org.apache.kafka.common.errors.NetworkException",
        ErrorCode::CoordinatorLoadInProgress => {
            "org.apache.kafka.common.errors.CoordinatorLoadInProgressException"
        }
        ErrorCode::CoordinatorNotAvailable => {
            "org.apache.kafka.common.errors.CoordinatorNotAvailableException"
        }
        ErrorCode::NotCoordinator => "org.apache.kafka.common.errors.NotCoordinatorException",
        ErrorCode::InvalidTopicException => "org.apache.kafka.common.errors.InvalidTopicException",
        ErrorCode::NotEnoughReplicas => "org.apache.kafka.common.errors.NotEnoughReplicasException",
        ErrorCode::NotEnoughReplicasAfterAppend => {
            "org.apache.kafka.common.errors.NotEnoughReplicasAfterAppendException"
        }
        ErrorCode::InvalidRequiredAcks => "org.apache.kafka.common.errors.InvalidRequiredAcksException",
        ErrorCode::InvalidGroupId => "org.apache.kafka.common.errors.InvalidGroupIdException",
        ErrorCode::UnknownMemberId => "org.apache.kafka.common.errors.UnknownMemberIdException",
        ErrorCode::RebalanceInProgress => "org.apache.kafka.common.errors.RebalanceInProgressException",
        ErrorCode::IllegalGeneration => "org.apache.kafka.common.errors.IllegalGenerationException",
        ErrorCode::FencedInstanceId => "org.apache.kafka.common.errors.FencedInstanceIdException",
        ErrorCode::TopicAuthorizationFailed => "org.apache.kafka.common.errors.TopicAuthorizationException",
        ErrorCode::GroupAuthorizationFailed => "org.apache.kafka.common.errors.GroupAuthorizationException",
        ErrorCode::ClusterAuthorizationFailed => {
            "org.apache.kafka.common.errors.ClusterAuthorizationException"
        }
        ErrorCode::InvalidTimestamp => "org.apache.kafka.common.errors.InvalidTimestampException",
        ErrorCode::UnsupportedVersion => "org.apache.kafka.common.errors.UnsupportedVersionException",
        ErrorCode::UnsupportedForMessageFormat => {
            "org.apache.kafka.common.errors.UnsupportedForMessageFormatException"
        }
        ErrorCode::UnsupportedCompressionType => {
            "org.apache.kafka.common.errors.UnsupportedCompressionTypeException"
        }
        ErrorCode::PolicyViolation => "org.apache.kafka.common.errors.PolicyViolationException",
        ErrorCode::InvalidRequest => "org.apache.kafka.common.errors.InvalidRequestException",
        ErrorCode::NonEmptyGroup => "org.apache.kafka.common.errors.GroupNotEmptyException",
        ErrorCode::GroupIdNotFound => "org.apache.kafka.common.errors.GroupIdNotFoundException",
        ErrorCode::GroupSubscribedToTopic => "org.apache.kafka.common.errors.GroupSubscribedToTopicException",
        ErrorCode::GroupMaxSizeReached => "org.apache.kafka.common.errors.GroupMaxSizeReachedException",
        ErrorCode::InvalidRecord => "org.apache.kafka.common.InvalidRecordException",
        ErrorCode::CorruptMessage => "org.apache.kafka.common.errors.CorruptRecordException",
        ErrorCode::KafkaStorageError => "org.apache.kafka.common.errors.KafkaStorageException",
        ErrorCode::OutOfOrderSequenceNumber => "org.apache.kafka.common.errors.OutOfOrderSequenceException",
        ErrorCode::InvalidProducerEpoch => "org.apache.kafka.common.errors.InvalidProducerEpochException",
        ErrorCode::UnknownProducerId => "org.apache.kafka.common.errors.UnknownProducerIdException",
        ErrorCode::ProducerFenced => "org.apache.kafka.common.errors.ProducerFencedException",
        ErrorCode::OffsetOutOfRange => "org.apache.kafka.common.errors.OffsetOutOfRangeException",
        ErrorCode::UnknownServerError => "org.apache.kafka.common.errors.UnknownServerException",
        _ => "org.apache.kafka.common.errors.ApiException",
    }
}
