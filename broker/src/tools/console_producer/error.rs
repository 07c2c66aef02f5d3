//! What Kafka's producer throws for what ours returns.

use client::producer::{ConnectError, ProduceError};

use crate::tools::client_config::{CONFIG_EXCEPTION, KAFKA_EXCEPTION};
use crate::tools::failure::Exception;
use crate::tools::java_exception::{self, TIMEOUT};
use client::wire::ErrorCode;

/// Why there is no producer.
pub(super) fn unconnected(error: ConnectError) -> Exception {
    let because = |error: &dyn std::error::Error| {
        Exception::new(KAFKA_EXCEPTION, "Failed to construct kafka producer")
            .caused_by(CONFIG_EXCEPTION, error.to_string())
    };
    match error {
        ConnectError::Options(error) => Exception::new(CONFIG_EXCEPTION, error.to_string()),
        other => because(&other),
    }
}

/// Why a record was not delivered.
pub(super) fn of(error: &ProduceError) -> Exception {
    let refused = |code: ErrorCode, message: &str| Exception::new(java_exception::class(code), message);
    match error {
        ProduceError::UnknownTopic { topic, waited } => {
            let waited = waited.as_millis();
            Exception::new(TIMEOUT, format!("Topic {topic} not present in metadata after {waited} ms."))
        }
        ProduceError::TopicRefused { topic, code: ErrorCode::InvalidTopicException } => {
            refused(ErrorCode::InvalidTopicException, &format!("Invalid topics: [{topic}]"))
        }
        ProduceError::TopicRefused { code, .. } | ProduceError::NoProducerId { code } => {
            refused(*code, code.message())
        }
        ProduceError::RecordTooLarge { size, limit, property } => refused(
            ErrorCode::MessageTooLarge,
            &format!(
                "The message is {size} bytes when serialized which is larger than {limit}, which is the value of \
                 the {property} configuration."
            ),
        ),
        ProduceError::BufferFull { .. } => {
            Exception::new("org.apache.kafka.clients.producer.BufferExhaustedException", error.to_string())
        }
        ProduceError::InvalidPartition { .. } | ProduceError::Timeout { .. } => {
            Exception::new(TIMEOUT, error.to_string())
        }
        ProduceError::Refused { code, message, .. } => refused(*code, message),
        ProduceError::OthersRefused { message, .. } => refused(ErrorCode::InvalidRecord, message),
        ProduceError::Connection { .. } => refused(ErrorCode::NetworkException, &error.to_string()),
        ProduceError::Build { .. } | ProduceError::Closed => {
            Exception::new(KAFKA_EXCEPTION, error.to_string())
        }
    }
}
