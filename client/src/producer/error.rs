//! Why a record was not delivered.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::ClusterError;
use crate::connection::ConnectionError;
use crate::ids::TopicPartition;
use crate::record::BuildError;
use crate::wire::ErrorCode;

/// Why a record was not delivered.
///
/// After [`Timeout`](ProduceError::Timeout) and [`Connection`](ProduceError::Connection) the record may be in the
/// log or not; in every other case it is not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProduceError {
    /// `max.block.ms` passed before it was known how many partitions the topic has.
    #[error("topic {topic} was not found within {} ms", waited.as_millis())]
    UnknownTopic { topic: Arc<str>, waited: Duration },
    #[error("topic {topic} cannot be written to: {code}: {}", code.message())]
    TopicRefused { topic: Arc<str>, code: ErrorCode },
    /// `max.block.ms` passed and the topic still had no such partition.
    #[error(
        "topic {topic} has partitions 0 to {partitions} (exclusive), so none with the number {partition}"
    )]
    InvalidPartition { topic: Arc<str>, partition: i32, partitions: i32 },
    /// `max.block.ms` passed while `buffer.memory` was taken by records that wait to be delivered.
    #[error(
        "no room for a record of {size} bytes within {} ms: buffer.memory holds {limit} bytes that are not delivered yet",
        waited.as_millis()
    )]
    BufferFull { size: usize, limit: usize, waited: Duration },
    /// Sending it was not tried.
    #[error("the record takes {size} bytes, more than {property} allows ({limit})")]
    RecordTooLarge { size: usize, limit: usize, property: &'static str },
    /// `delivery.timeout.ms` passed.
    #[error("{partition}: not acknowledged within {} ms{}", within.as_millis(), because(last))]
    Timeout { partition: TopicPartition, within: Duration, last: Option<Arc<AttemptError>> },
    /// All `retries` were used up, the last one by a lost connection.
    #[error("{partition}: {cause}")]
    Connection { partition: TopicPartition, cause: Arc<AttemptError> },
    /// The broker's answer, one that trying again does not change, or the last of all `retries`.
    #[error("{partition}: {code}: {message}")]
    Refused { partition: TopicPartition, code: ErrorCode, message: Arc<str> },
    /// The batch of the record was refused for another record in it.
    #[error("{partition}: not appended, since other records of its batch were refused: {message}")]
    OthersRefused { partition: TopicPartition, message: Arc<str> },
    #[error("{partition}: {cause}")]
    Build { partition: TopicPartition, cause: Arc<BuildError> },
    /// No broker gave the producer an id, which idempotence needs.
    #[error("no producer id: {code}: {}", code.message())]
    NoProducerId { code: ErrorCode },
    /// The producer was closed before the record was delivered.
    #[error("the producer is closed")]
    Closed,
}

impl ProduceError {
    /// The broker's code, if that is why.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ProduceError::TopicRefused { code, .. }
            | ProduceError::Refused { code, .. }
            | ProduceError::NoProducerId { code } => Some(*code),
            _ => None,
        }
    }
}

/// Why one attempt to send a batch failed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    #[error("nobody leads the partition at present")]
    NoLeader,
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("{code}: {message}")]
    Refused { code: ErrorCode, message: Arc<str> },
    #[error("the broker's answer leaves the partition out")]
    Unanswered,
}

fn because(last: &Option<Arc<AttemptError>>) -> String {
    last.as_ref().map(|last| format!("; the last attempt failed: {last}")).unwrap_or_default()
}
