//! Kafka's error codes with the names and texts that its own brokers and clients show (`Errors.java` of
//! Kafka 3.9).

/// What an API answers, for the whole request or for a part of it. `code as i16` is the number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(i16)]
pub enum ErrorCode {
    UnknownServerError = -1,
    #[default]
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    InvalidFetchSize = 4,
    LeaderNotAvailable = 5,
    NotLeaderOrFollower = 6,
    RequestTimedOut = 7,
    BrokerNotAvailable = 8,
    ReplicaNotAvailable = 9,
    MessageTooLarge = 10,
    StaleControllerEpoch = 11,
    OffsetMetadataTooLarge = 12,
    NetworkException = 13,
    CoordinatorLoadInProgress = 14,
    CoordinatorNotAvailable = 15,
    NotCoordinator = 16,
    InvalidTopicException = 17,
    RecordListTooLarge = 18,
    NotEnoughReplicas = 19,
    NotEnoughReplicasAfterAppend = 20,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidCommitOffsetSize = 28,
    TopicAuthorizationFailed = 29,
    GroupAuthorizationFailed = 30,
    ClusterAuthorizationFailed = 31,
    InvalidTimestamp = 32,
    UnsupportedSaslMechanism = 33,
    IllegalSaslState = 34,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    NotController = 41,
    InvalidRequest = 42,
    UnsupportedForMessageFormat = 43,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    DuplicateSequenceNumber = 46,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    InvalidProducerIdMapping = 49,
    InvalidTransactionTimeout = 50,
    ConcurrentTransactions = 51,
    TransactionCoordinatorFenced = 52,
    TransactionalIdAuthorizationFailed = 53,
    SecurityDisabled = 54,
    OperationNotAttempted = 55,
    KafkaStorageError = 56,
    LogDirNotFound = 57,
    SaslAuthenticationFailed = 58,
    UnknownProducerId = 59,
    ReassignmentInProgress = 60,
    DelegationTokenAuthDisabled = 61,
    DelegationTokenNotFound = 62,
    DelegationTokenOwnerMismatch = 63,
    DelegationTokenRequestNotAllowed = 64,
    DelegationTokenAuthorizationFailed = 65,
    DelegationTokenExpired = 66,
    InvalidPrincipalType = 67,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    FetchSessionIdNotFound = 70,
    InvalidFetchSessionEpoch = 71,
    ListenerNotFound = 72,
    TopicDeletionDisabled = 73,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    UnsupportedCompressionType = 76,
    StaleBrokerEpoch = 77,
    OffsetNotAvailable = 78,
    MemberIdRequired = 79,
    PreferredLeaderNotAvailable = 80,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    EligibleLeadersNotAvailable = 83,
    ElectionNotNeeded = 84,
    NoReassignmentInProgress = 85,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    UnstableOffsetCommit = 88,
    ThrottlingQuotaExceeded = 89,
    ProducerFenced = 90,
    ResourceNotFound = 91,
    DuplicateResource = 92,
    UnacceptableCredential = 93,
    InconsistentVoterSet = 94,
    InvalidUpdateVersion = 95,
    FeatureUpdateFailed = 96,
    PrincipalDeserializationFailure = 97,
    SnapshotNotFound = 98,
    PositionOutOfRange = 99,
    UnknownTopicId = 100,
    DuplicateBrokerRegistration = 101,
    BrokerIdNotRegistered = 102,
    InconsistentTopicId = 103,
    InconsistentClusterId = 104,
    TransactionalIdNotFound = 105,
    FetchSessionTopicIdError = 106,
    IneligibleReplica = 107,
    NewLeaderElected = 108,
    OffsetMovedToTieredStorage = 109,
    FencedMemberEpoch = 110,
    UnreleasedInstanceId = 111,
    UnsupportedAssignor = 112,
    StaleMemberEpoch = 113,
    MismatchedEndpointType = 114,
    UnsupportedEndpointType = 115,
    UnknownControllerId = 116,
    UnknownSubscriptionId = 117,
    TelemetryTooLarge = 118,
    InvalidRegistration = 119,
    TransactionAbortable = 120,
    InvalidRecordState = 121,
    ShareSessionNotFound = 122,
    InvalidShareSessionEpoch = 123,
    FencedStateEpoch = 124,
    InvalidVoterKey = 125,
    DuplicateVoter = 126,
    VoterNotFound = 127,
}

impl ErrorCode {
    /// All of them, by rising code.
    pub const ALL: &[ErrorCode] = &[
        ErrorCode::UnknownServerError,
        ErrorCode::None,
        ErrorCode::OffsetOutOfRange,
        ErrorCode::CorruptMessage,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::InvalidFetchSize,
        ErrorCode::LeaderNotAvailable,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::RequestTimedOut,
        ErrorCode::BrokerNotAvailable,
        ErrorCode::ReplicaNotAvailable,
        ErrorCode::MessageTooLarge,
        ErrorCode::StaleControllerEpoch,
        ErrorCode::OffsetMetadataTooLarge,
        ErrorCode::NetworkException,
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
        ErrorCode::InvalidTopicException,
        ErrorCode::RecordListTooLarge,
        ErrorCode::NotEnoughReplicas,
        ErrorCode::NotEnoughReplicasAfterAppend,
        ErrorCode::InvalidRequiredAcks,
        ErrorCode::IllegalGeneration,
        ErrorCode::InconsistentGroupProtocol,
        ErrorCode::InvalidGroupId,
        ErrorCode::UnknownMemberId,
        ErrorCode::InvalidSessionTimeout,
        ErrorCode::RebalanceInProgress,
        ErrorCode::InvalidCommitOffsetSize,
        ErrorCode::TopicAuthorizationFailed,
        ErrorCode::GroupAuthorizationFailed,
        ErrorCode::ClusterAuthorizationFailed,
        ErrorCode::InvalidTimestamp,
        ErrorCode::UnsupportedSaslMechanism,
        ErrorCode::IllegalSaslState,
        ErrorCode::UnsupportedVersion,
        ErrorCode::TopicAlreadyExists,
        ErrorCode::InvalidPartitions,
        ErrorCode::InvalidReplicationFactor,
        ErrorCode::InvalidReplicaAssignment,
        ErrorCode::InvalidConfig,
        ErrorCode::NotController,
        ErrorCode::InvalidRequest,
        ErrorCode::UnsupportedForMessageFormat,
        ErrorCode::PolicyViolation,
        ErrorCode::OutOfOrderSequenceNumber,
        ErrorCode::DuplicateSequenceNumber,
        ErrorCode::InvalidProducerEpoch,
        ErrorCode::InvalidTxnState,
        ErrorCode::InvalidProducerIdMapping,
        ErrorCode::InvalidTransactionTimeout,
        ErrorCode::ConcurrentTransactions,
        ErrorCode::TransactionCoordinatorFenced,
        ErrorCode::TransactionalIdAuthorizationFailed,
        ErrorCode::SecurityDisabled,
        ErrorCode::OperationNotAttempted,
        ErrorCode::KafkaStorageError,
        ErrorCode::LogDirNotFound,
        ErrorCode::SaslAuthenticationFailed,
        ErrorCode::UnknownProducerId,
        ErrorCode::ReassignmentInProgress,
        ErrorCode::DelegationTokenAuthDisabled,
        ErrorCode::DelegationTokenNotFound,
        ErrorCode::DelegationTokenOwnerMismatch,
        ErrorCode::DelegationTokenRequestNotAllowed,
        ErrorCode::DelegationTokenAuthorizationFailed,
        ErrorCode::DelegationTokenExpired,
        ErrorCode::InvalidPrincipalType,
        ErrorCode::NonEmptyGroup,
        ErrorCode::GroupIdNotFound,
        ErrorCode::FetchSessionIdNotFound,
        ErrorCode::InvalidFetchSessionEpoch,
        ErrorCode::ListenerNotFound,
        ErrorCode::TopicDeletionDisabled,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::UnknownLeaderEpoch,
        ErrorCode::UnsupportedCompressionType,
        ErrorCode::StaleBrokerEpoch,
        ErrorCode::OffsetNotAvailable,
        ErrorCode::MemberIdRequired,
        ErrorCode::PreferredLeaderNotAvailable,
        ErrorCode::GroupMaxSizeReached,
        ErrorCode::FencedInstanceId,
        ErrorCode::EligibleLeadersNotAvailable,
        ErrorCode::ElectionNotNeeded,
        ErrorCode::NoReassignmentInProgress,
        ErrorCode::GroupSubscribedToTopic,
        ErrorCode::InvalidRecord,
        ErrorCode::UnstableOffsetCommit,
        ErrorCode::ThrottlingQuotaExceeded,
        ErrorCode::ProducerFenced,
        ErrorCode::ResourceNotFound,
        ErrorCode::DuplicateResource,
        ErrorCode::UnacceptableCredential,
        ErrorCode::InconsistentVoterSet,
        ErrorCode::InvalidUpdateVersion,
        ErrorCode::FeatureUpdateFailed,
        ErrorCode::PrincipalDeserializationFailure,
        ErrorCode::SnapshotNotFound,
        ErrorCode::PositionOutOfRange,
        ErrorCode::UnknownTopicId,
        ErrorCode::DuplicateBrokerRegistration,
        ErrorCode::BrokerIdNotRegistered,
        ErrorCode::InconsistentTopicId,
        ErrorCode::InconsistentClusterId,
        ErrorCode::TransactionalIdNotFound,
        ErrorCode::FetchSessionTopicIdError,
        ErrorCode::IneligibleReplica,
        ErrorCode::NewLeaderElected,
        ErrorCode::OffsetMovedToTieredStorage,
        ErrorCode::FencedMemberEpoch,
        ErrorCode::UnreleasedInstanceId,
        ErrorCode::UnsupportedAssignor,
        ErrorCode::StaleMemberEpoch,
        ErrorCode::MismatchedEndpointType,
        ErrorCode::UnsupportedEndpointType,
        ErrorCode::UnknownControllerId,
        ErrorCode::UnknownSubscriptionId,
        ErrorCode::TelemetryTooLarge,
        ErrorCode::InvalidRegistration,
        ErrorCode::TransactionAbortable,
        ErrorCode::InvalidRecordState,
        ErrorCode::ShareSessionNotFound,
        ErrorCode::InvalidShareSessionEpoch,
        ErrorCode::FencedStateEpoch,
        ErrorCode::InvalidVoterKey,
        ErrorCode::DuplicateVoter,
        ErrorCode::VoterNotFound,
    ];

    /// As Kafka's clients do, a code from a newer peer is an unknown error of the server.
    pub fn from_code(code: i16) -> ErrorCode {
        let found = ErrorCode::ALL.binary_search_by_key(&code, |error| error.code());
        found
            .ok()
            .and_then(|index| ErrorCode::ALL.get(index).copied())
            .unwrap_or(ErrorCode::UnknownServerError)
    }

    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Kafka's name of it, as `NOT_LEADER_OR_FOLLOWER`.
    pub const fn name(self) -> &'static str {
        self.texts().0
    }

    /// Kafka's default text, which goes into the `error_message` of responses.
    pub const fn message(self) -> &'static str {
        self.texts().1
    }

    /// Whether the same request may succeed later.
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            ErrorCode::CorruptMessage
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::RequestTimedOut
                | ErrorCode::ReplicaNotAvailable
                | ErrorCode::NetworkException
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
                | ErrorCode::NotEnoughReplicas
                | ErrorCode::NotEnoughReplicasAfterAppend
                | ErrorCode::NotController
                | ErrorCode::ConcurrentTransactions
                | ErrorCode::KafkaStorageError
                | ErrorCode::FetchSessionIdNotFound
                | ErrorCode::InvalidFetchSessionEpoch
                | ErrorCode::ListenerNotFound
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::OffsetNotAvailable
                | ErrorCode::PreferredLeaderNotAvailable
                | ErrorCode::EligibleLeadersNotAvailable
                | ErrorCode::ElectionNotNeeded
                | ErrorCode::UnstableOffsetCommit
                | ErrorCode::ThrottlingQuotaExceeded
                | ErrorCode::UnknownTopicId
                | ErrorCode::InconsistentTopicId
                | ErrorCode::FetchSessionTopicIdError
                | ErrorCode::ShareSessionNotFound
                | ErrorCode::InvalidShareSessionEpoch
        )
    }

    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            ErrorCode::UnknownServerError => (
                "UNKNOWN_SERVER_ERROR",
                "The server experienced an unexpected error when processing the request.",
            ),
            ErrorCode::None => ("NONE", "NONE"),
            ErrorCode::OffsetOutOfRange => (
                "OFFSET_OUT_OF_RANGE",
                "The requested offset is not within the range of offsets maintained by the server.",
            ),
            ErrorCode::CorruptMessage => (
                "CORRUPT_MESSAGE",
                "This message has failed its CRC checksum, exceeds the valid size, has a null key for a compacted topic, or is otherwise corrupt.",
            ),
            ErrorCode::UnknownTopicOrPartition => {
                ("UNKNOWN_TOPIC_OR_PARTITION", "This server does not host this topic-partition.")
            }
            ErrorCode::InvalidFetchSize => ("INVALID_FETCH_SIZE", "The requested fetch size is invalid."),
            ErrorCode::LeaderNotAvailable => (
                "LEADER_NOT_AVAILABLE",
                "There is no leader for this topic-partition as we are in the middle of a leadership election.",
            ),
            ErrorCode::NotLeaderOrFollower => (
                "NOT_LEADER_OR_FOLLOWER",
                "For requests intended only for the leader, this error indicates that the broker is not the current leader. For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition.",
            ),
            ErrorCode::RequestTimedOut => ("REQUEST_TIMED_OUT", "The request timed out."),
            ErrorCode::BrokerNotAvailable => ("BROKER_NOT_AVAILABLE", "The broker is not available."),
            ErrorCode::ReplicaNotAvailable => (
                "REPLICA_NOT_AVAILABLE",
                "The replica is not available for the requested topic-partition. Produce/Fetch requests and other requests intended only for the leader or follower return NOT_LEADER_OR_FOLLOWER if the broker is not a replica of the topic-partition.",
            ),
            ErrorCode::MessageTooLarge => (
                "MESSAGE_TOO_LARGE",
                "The request included a message larger than the max message size the server will accept.",
            ),
            ErrorCode::StaleControllerEpoch => {
                ("STALE_CONTROLLER_EPOCH", "The controller moved to another broker.")
            }
            ErrorCode::OffsetMetadataTooLarge => {
                ("OFFSET_METADATA_TOO_LARGE", "The metadata field of the offset request was too large.")
            }
            ErrorCode::NetworkException => {
                ("NETWORK_EXCEPTION", "The server disconnected before a response was received.")
            }
            ErrorCode::CoordinatorLoadInProgress => (
                "COORDINATOR_LOAD_IN_PROGRESS",
                "The coordinator is loading and hence can't process requests.",
            ),
            ErrorCode::CoordinatorNotAvailable => {
                ("COORDINATOR_NOT_AVAILABLE", "The coordinator is not available.")
            }
            ErrorCode::NotCoordinator => ("NOT_COORDINATOR", "This is not the correct coordinator."),
            ErrorCode::InvalidTopicException => (
                "INVALID_TOPIC_EXCEPTION",
                "The request attempted to perform an operation on an invalid topic.",
            ),
            ErrorCode::RecordListTooLarge => (
                "RECORD_LIST_TOO_LARGE",
                "The request included message batch larger than the configured segment size on the server.",
            ),
            ErrorCode::NotEnoughReplicas => (
                "NOT_ENOUGH_REPLICAS",
                "Messages are rejected since there are fewer in-sync replicas than required.",
            ),
            ErrorCode::NotEnoughReplicasAfterAppend => (
                "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
                "Messages are written to the log, but to fewer in-sync replicas than required.",
            ),
            ErrorCode::InvalidRequiredAcks => {
                ("INVALID_REQUIRED_ACKS", "Produce request specified an invalid value for required acks.")
            }
            ErrorCode::IllegalGeneration => {
                ("ILLEGAL_GENERATION", "Specified group generation id is not valid.")
            }
            ErrorCode::InconsistentGroupProtocol => (
                "INCONSISTENT_GROUP_PROTOCOL",
                "The group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list.",
            ),
            ErrorCode::InvalidGroupId => ("INVALID_GROUP_ID", "The configured groupId is invalid."),
            ErrorCode::UnknownMemberId => {
                ("UNKNOWN_MEMBER_ID", "The coordinator is not aware of this member.")
            }
            ErrorCode::InvalidSessionTimeout => (
                "INVALID_SESSION_TIMEOUT",
                "The session timeout is not within the range allowed by the broker (as configured by group.min.session.timeout.ms and group.max.session.timeout.ms).",
            ),
            ErrorCode::RebalanceInProgress => {
                ("REBALANCE_IN_PROGRESS", "The group is rebalancing, so a rejoin is needed.")
            }
            ErrorCode::InvalidCommitOffsetSize => {
                ("INVALID_COMMIT_OFFSET_SIZE", "The committing offset data size is not valid.")
            }
            ErrorCode::TopicAuthorizationFailed => {
                ("TOPIC_AUTHORIZATION_FAILED", "Topic authorization failed.")
            }
            ErrorCode::GroupAuthorizationFailed => {
                ("GROUP_AUTHORIZATION_FAILED", "Group authorization failed.")
            }
            ErrorCode::ClusterAuthorizationFailed => {
                ("CLUSTER_AUTHORIZATION_FAILED", "Cluster authorization failed.")
            }
            ErrorCode::InvalidTimestamp => {
                ("INVALID_TIMESTAMP", "The timestamp of the message is out of acceptable range.")
            }
            ErrorCode::UnsupportedSaslMechanism => {
                ("UNSUPPORTED_SASL_MECHANISM", "The broker does not support the requested SASL mechanism.")
            }
            ErrorCode::IllegalSaslState => {
                ("ILLEGAL_SASL_STATE", "Request is not valid given the current SASL state.")
            }
            ErrorCode::UnsupportedVersion => ("UNSUPPORTED_VERSION", "The version of API is not supported."),
            ErrorCode::TopicAlreadyExists => ("TOPIC_ALREADY_EXISTS", "Topic with this name already exists."),
            ErrorCode::InvalidPartitions => ("INVALID_PARTITIONS", "Number of partitions is below 1."),
            ErrorCode::InvalidReplicationFactor => (
                "INVALID_REPLICATION_FACTOR",
                "Replication factor is below 1 or larger than the number of available brokers.",
            ),
            ErrorCode::InvalidReplicaAssignment => {
                ("INVALID_REPLICA_ASSIGNMENT", "Replica assignment is invalid.")
            }
            ErrorCode::InvalidConfig => ("INVALID_CONFIG", "Configuration is invalid."),
            ErrorCode::NotController => {
                ("NOT_CONTROLLER", "This is not the correct controller for this cluster.")
            }
            ErrorCode::InvalidRequest => (
                "INVALID_REQUEST",
                "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.",
            ),
            ErrorCode::UnsupportedForMessageFormat => (
                "UNSUPPORTED_FOR_MESSAGE_FORMAT",
                "The message format version on the broker does not support the request.",
            ),
            ErrorCode::PolicyViolation => {
                ("POLICY_VIOLATION", "Request parameters do not satisfy the configured policy.")
            }
            ErrorCode::OutOfOrderSequenceNumber => {
                ("OUT_OF_ORDER_SEQUENCE_NUMBER", "The broker received an out of order sequence number.")
            }
            ErrorCode::DuplicateSequenceNumber => {
                ("DUPLICATE_SEQUENCE_NUMBER", "The broker received a duplicate sequence number.")
            }
            ErrorCode::InvalidProducerEpoch => {
                ("INVALID_PRODUCER_EPOCH", "Producer attempted to produce with an old epoch.")
            }
            ErrorCode::InvalidTxnState => {
                ("INVALID_TXN_STATE", "The producer attempted a transactional operation in an invalid state.")
            }
            ErrorCode::InvalidProducerIdMapping => (
                "INVALID_PRODUCER_ID_MAPPING",
                "The producer attempted to use a producer id which is not currently assigned to its transactional id.",
            ),
            ErrorCode::InvalidTransactionTimeout => (
                "INVALID_TRANSACTION_TIMEOUT",
                "The transaction timeout is larger than the maximum value allowed by the broker (as configured by transaction.max.timeout.ms).",
            ),
            ErrorCode::ConcurrentTransactions => (
                "CONCURRENT_TRANSACTIONS",
                "The producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing.",
            ),
            ErrorCode::TransactionCoordinatorFenced => (
                "TRANSACTION_COORDINATOR_FENCED",
                "Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer.",
            ),
            ErrorCode::TransactionalIdAuthorizationFailed => {
                ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "Transactional Id authorization failed.")
            }
            ErrorCode::SecurityDisabled => ("SECURITY_DISABLED", "Security features are disabled."),
            ErrorCode::OperationNotAttempted => (
                "OPERATION_NOT_ATTEMPTED",
                "The broker did not attempt to execute this operation. This may happen for batched RPCs where some operations in the batch failed, causing the broker to respond without trying the rest.",
            ),
            ErrorCode::KafkaStorageError => {
                ("KAFKA_STORAGE_ERROR", "Disk error when trying to access log file on the disk.")
            }
            ErrorCode::LogDirNotFound => {
                ("LOG_DIR_NOT_FOUND", "The user-specified log directory is not found in the broker config.")
            }
            ErrorCode::SaslAuthenticationFailed => {
                ("SASL_AUTHENTICATION_FAILED", "SASL Authentication failed.")
            }
            ErrorCode::UnknownProducerId => (
                "UNKNOWN_PRODUCER_ID",
                "This exception is raised by the broker if it could not locate the producer metadata associated with the producerId in question. This could happen if, for instance, the producer's records were deleted because their retention time had elapsed. Once the last records of the producerId are removed, the producer's metadata is removed from the broker, and future appends by the producer will return this exception.",
            ),
            ErrorCode::ReassignmentInProgress => {
                ("REASSIGNMENT_IN_PROGRESS", "A partition reassignment is in progress.")
            }
            ErrorCode::DelegationTokenAuthDisabled => {
                ("DELEGATION_TOKEN_AUTH_DISABLED", "Delegation Token feature is not enabled.")
            }
            ErrorCode::DelegationTokenNotFound => {
                ("DELEGATION_TOKEN_NOT_FOUND", "Delegation Token is not found on server.")
            }
            ErrorCode::DelegationTokenOwnerMismatch => {
                ("DELEGATION_TOKEN_OWNER_MISMATCH", "Specified Principal is not valid Owner/Renewer.")
            }
            ErrorCode::DelegationTokenRequestNotAllowed => (
                "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
                "Delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token authenticated channels.",
            ),
            ErrorCode::DelegationTokenAuthorizationFailed => {
                ("DELEGATION_TOKEN_AUTHORIZATION_FAILED", "Delegation Token authorization failed.")
            }
            ErrorCode::DelegationTokenExpired => ("DELEGATION_TOKEN_EXPIRED", "Delegation Token is expired."),
            ErrorCode::InvalidPrincipalType => {
                ("INVALID_PRINCIPAL_TYPE", "Supplied principalType is not supported.")
            }
            ErrorCode::NonEmptyGroup => ("NON_EMPTY_GROUP", "The group is not empty."),
            ErrorCode::GroupIdNotFound => ("GROUP_ID_NOT_FOUND", "The group id does not exist."),
            ErrorCode::FetchSessionIdNotFound => {
                ("FETCH_SESSION_ID_NOT_FOUND", "The fetch session ID was not found.")
            }
            ErrorCode::InvalidFetchSessionEpoch => {
                ("INVALID_FETCH_SESSION_EPOCH", "The fetch session epoch is invalid.")
            }
            ErrorCode::ListenerNotFound => (
                "LISTENER_NOT_FOUND",
                "There is no listener on the leader broker that matches the listener on which metadata request was processed.",
            ),
            ErrorCode::TopicDeletionDisabled => ("TOPIC_DELETION_DISABLED", "Topic deletion is disabled."),
            ErrorCode::FencedLeaderEpoch => (
                "FENCED_LEADER_EPOCH",
                "The leader epoch in the request is older than the epoch on the broker.",
            ),
            ErrorCode::UnknownLeaderEpoch => (
                "UNKNOWN_LEADER_EPOCH",
                "The leader epoch in the request is newer than the epoch on the broker.",
            ),
            ErrorCode::UnsupportedCompressionType => (
                "UNSUPPORTED_COMPRESSION_TYPE",
                "The requesting client does not support the compression type of given partition.",
            ),
            ErrorCode::StaleBrokerEpoch => ("STALE_BROKER_EPOCH", "Broker epoch has changed."),
            ErrorCode::OffsetNotAvailable => (
                "OFFSET_NOT_AVAILABLE",
                "The leader high watermark has not caught up from a recent leader election so the offsets cannot be guaranteed to be monotonically increasing.",
            ),
            ErrorCode::MemberIdRequired => (
                "MEMBER_ID_REQUIRED",
                "The group member needs to have a valid member id before actually entering a consumer group.",
            ),
            ErrorCode::PreferredLeaderNotAvailable => {
                ("PREFERRED_LEADER_NOT_AVAILABLE", "The preferred leader was not available.")
            }
            ErrorCode::GroupMaxSizeReached => {
                ("GROUP_MAX_SIZE_REACHED", "The consumer group has reached its max size.")
            }
            ErrorCode::FencedInstanceId => (
                "FENCED_INSTANCE_ID",
                "The broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id.",
            ),
            ErrorCode::EligibleLeadersNotAvailable => {
                ("ELIGIBLE_LEADERS_NOT_AVAILABLE", "Eligible topic partition leaders are not available.")
            }
            ErrorCode::ElectionNotNeeded => {
                ("ELECTION_NOT_NEEDED", "Leader election not needed for topic partition.")
            }
            ErrorCode::NoReassignmentInProgress => {
                ("NO_REASSIGNMENT_IN_PROGRESS", "No partition reassignment is in progress.")
            }
            ErrorCode::GroupSubscribedToTopic => (
                "GROUP_SUBSCRIBED_TO_TOPIC",
                "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.",
            ),
            ErrorCode::InvalidRecord => (
                "INVALID_RECORD",
                "This record has failed the validation on broker and hence will be rejected.",
            ),
            ErrorCode::UnstableOffsetCommit => {
                ("UNSTABLE_OFFSET_COMMIT", "There are unstable offsets that need to be cleared.")
            }
            ErrorCode::ThrottlingQuotaExceeded => {
                ("THROTTLING_QUOTA_EXCEEDED", "The throttling quota has been exceeded.")
            }
            ErrorCode::ProducerFenced => (
                "PRODUCER_FENCED",
                "There is a newer producer with the same transactionalId which fences the current one.",
            ),
            ErrorCode::ResourceNotFound => {
                ("RESOURCE_NOT_FOUND", "A request illegally referred to a resource that does not exist.")
            }
            ErrorCode::DuplicateResource => {
                ("DUPLICATE_RESOURCE", "A request illegally referred to the same resource twice.")
            }
            ErrorCode::UnacceptableCredential => {
                ("UNACCEPTABLE_CREDENTIAL", "Requested credential would not meet criteria for acceptability.")
            }
            ErrorCode::InconsistentVoterSet => (
                "INCONSISTENT_VOTER_SET",
                "Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters.",
            ),
            ErrorCode::InvalidUpdateVersion => {
                ("INVALID_UPDATE_VERSION", "The given update version was invalid.")
            }
            ErrorCode::FeatureUpdateFailed => (
                "FEATURE_UPDATE_FAILED",
                "Unable to update finalized features due to an unexpected server error.",
            ),
            ErrorCode::PrincipalDeserializationFailure => (
                "PRINCIPAL_DESERIALIZATION_FAILURE",
                "Request principal deserialization failed during forwarding. This indicates an internal error on the broker cluster security setup.",
            ),
            ErrorCode::SnapshotNotFound => ("SNAPSHOT_NOT_FOUND", "Requested snapshot was not found."),
            ErrorCode::PositionOutOfRange => (
                "POSITION_OUT_OF_RANGE",
                "Requested position is not greater than or equal to zero, and less than the size of the snapshot.",
            ),
            ErrorCode::UnknownTopicId => ("UNKNOWN_TOPIC_ID", "This server does not host this topic ID."),
            ErrorCode::DuplicateBrokerRegistration => {
                ("DUPLICATE_BROKER_REGISTRATION", "This broker ID is already in use.")
            }
            ErrorCode::BrokerIdNotRegistered => {
                ("BROKER_ID_NOT_REGISTERED", "The given broker ID was not registered.")
            }
            ErrorCode::InconsistentTopicId => {
                ("INCONSISTENT_TOPIC_ID", "The log's topic ID did not match the topic ID in the request.")
            }
            ErrorCode::InconsistentClusterId => (
                "INCONSISTENT_CLUSTER_ID",
                "The clusterId in the request does not match that found on the server.",
            ),
            ErrorCode::TransactionalIdNotFound => {
                ("TRANSACTIONAL_ID_NOT_FOUND", "The transactionalId could not be found.")
            }
            ErrorCode::FetchSessionTopicIdError => {
                ("FETCH_SESSION_TOPIC_ID_ERROR", "The fetch session encountered inconsistent topic ID usage.")
            }
            ErrorCode::IneligibleReplica => {
                ("INELIGIBLE_REPLICA", "The new ISR contains at least one ineligible replica.")
            }
            ErrorCode::NewLeaderElected => (
                "NEW_LEADER_ELECTED",
                "The AlterPartition request successfully updated the partition state but the leader has changed.",
            ),
            ErrorCode::OffsetMovedToTieredStorage => {
                ("OFFSET_MOVED_TO_TIERED_STORAGE", "The requested offset is moved to tiered storage.")
            }
            ErrorCode::FencedMemberEpoch => (
                "FENCED_MEMBER_EPOCH",
                "The member epoch is fenced by the group coordinator. The member must abandon all its partitions and rejoin.",
            ),
            ErrorCode::UnreleasedInstanceId => (
                "UNRELEASED_INSTANCE_ID",
                "The instance ID is still used by another member in the consumer group. That member must leave first.",
            ),
            ErrorCode::UnsupportedAssignor => (
                "UNSUPPORTED_ASSIGNOR",
                "The assignor or its version range is not supported by the consumer group.",
            ),
            ErrorCode::StaleMemberEpoch => (
                "STALE_MEMBER_EPOCH",
                "The member epoch is stale. The member must retry after receiving its updated member epoch via the ConsumerGroupHeartbeat API.",
            ),
            ErrorCode::MismatchedEndpointType => {
                ("MISMATCHED_ENDPOINT_TYPE", "The request was sent to an endpoint of the wrong type.")
            }
            ErrorCode::UnsupportedEndpointType => {
                ("UNSUPPORTED_ENDPOINT_TYPE", "This endpoint type is not supported yet.")
            }
            ErrorCode::UnknownControllerId => ("UNKNOWN_CONTROLLER_ID", "This controller ID is not known."),
            ErrorCode::UnknownSubscriptionId => (
                "UNKNOWN_SUBSCRIPTION_ID",
                "Client sent a push telemetry request with an invalid or outdated subscription ID.",
            ),
            ErrorCode::TelemetryTooLarge => (
                "TELEMETRY_TOO_LARGE",
                "Client sent a push telemetry request larger than the maximum size the broker will accept.",
            ),
            ErrorCode::InvalidRegistration => (
                "INVALID_REGISTRATION",
                "The controller has considered the broker registration to be invalid.",
            ),
            ErrorCode::TransactionAbortable => (
                "TRANSACTION_ABORTABLE",
                "The server encountered an error with the transaction. The client can abort the transaction to continue using this transactional ID.",
            ),
            ErrorCode::InvalidRecordState => (
                "INVALID_RECORD_STATE",
                "The record state is invalid. The acknowledgement of delivery could not be completed.",
            ),
            ErrorCode::ShareSessionNotFound => {
                ("SHARE_SESSION_NOT_FOUND", "The share session was not found.")
            }
            ErrorCode::InvalidShareSessionEpoch => {
                ("INVALID_SHARE_SESSION_EPOCH", "The share session epoch is invalid.")
            }
            ErrorCode::FencedStateEpoch => (
                "FENCED_STATE_EPOCH",
                "The share coordinator rejected the request because the share-group state epoch did not match.",
            ),
            ErrorCode::InvalidVoterKey => {
                ("INVALID_VOTER_KEY", "The voter key doesn't match the receiving replica's key.")
            }
            ErrorCode::DuplicateVoter => {
                ("DUPLICATE_VOTER", "The voter is already part of the set of voters.")
            }
            ErrorCode::VoterNotFound => ("VOTER_NOT_FOUND", "The voter is not part of the set of voters."),
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_and_others_are_unknown_errors() {
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), *error);
        }
        assert_eq!(ErrorCode::ALL.len(), 129);
        for unknown in [-2, 128, i16::MIN, i16::MAX] {
            assert_eq!(ErrorCode::from_code(unknown), ErrorCode::UnknownServerError);
        }
    }

    #[test]
    fn texts_are_kafkas() {
        let error = ErrorCode::NotLeaderOrFollower;
        assert_eq!((error.code(), error.name()), (6, "NOT_LEADER_OR_FOLLOWER"));
        assert_eq!(
            error.message(),
            "For requests intended only for the leader, this error indicates that the broker is not the current \
             leader. For requests intended for any replica, this error indicates that the broker is not a replica \
             of the topic partition."
        );
        assert!(error.is_retriable());
        assert!(!ErrorCode::InvalidTopicException.is_retriable());
    }
}
