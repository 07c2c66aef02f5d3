//! Why a leader does not append what a producer sent.

use thiserror::Error;

use super::attributes::UnknownCodec;
use super::batch::BatchError;
use super::builder::BuildError;
use super::compression::CompressionError;
use super::entry::EntryError;
use super::legacy::LegacyError;
use super::record::RecordError;
use super::stream::RecordStreamError;
use crate::ids::Offset;
use crate::wire::ErrorCode;

/// A record that a rule of its topic forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    pub message: String,
}

/// Why a records field of a Produce request is refused.
#[derive(Debug, Error)]
pub enum Refusal {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("a Produce request of version {version} must carry exactly one whole batch of format 2")]
    NotOneBatch { version: i16 },
    #[error("a Produce request of version {version} cannot carry zstd; version 7 can")]
    ZstdTooEarly { version: i16 },
    #[error("the base offset of a produced batch should be 0, but it is {offset}")]
    BaseOffset { offset: Offset },
    #[error("the batch of {size} bytes exceeds the topic's limit of {limit} (max.message.bytes)")]
    TooLarge { size: usize, limit: usize },
    #[error("the batch of {size} bytes does not fit into a segment of {limit} (segment.bytes)")]
    LargerThanSegment { size: usize, limit: usize },
    #[error("a message of format {other} is among messages of format {first}")]
    MixedFormats { first: i8, other: i8 },
    #[error("more than one batch where only one is allowed: format 2 or a compressed message set")]
    MoreThanOneBatch,
    #[error("the batch announces {count} records and a last offset delta of {last_offset_delta}")]
    Count { count: i32, last_offset_delta: i32 },
    #[error("clients are not allowed to write control records")]
    Control,
    #[error("the batch has producer id {producer_id}, but the base sequence {base_sequence}")]
    NoSequence { producer_id: i64, base_sequence: i32 },
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Legacy(#[from] LegacyError),
    #[error("a compressed record says offset delta {found} where {expected} is due")]
    OffsetDelta { expected: i32, found: i32 },
    #[error("a record to be re-encoded has the negative timestamp {timestamp}")]
    NegativeTimestamp { timestamp: i64 },
    #[error(transparent)]
    Codec(#[from] UnknownCodec),
    #[error(transparent)]
    Compression(#[from] CompressionError),
    #[error("the records cannot be written anew: {0}")]
    Rebuild(#[from] BuildError),
    #[error("{total} records break a rule of their topic")]
    Records {
        /// The first of them; no more than [`REFUSED_RECORDS_MAX`].
        records: Vec<RefusedRecord>,
        total: usize,
        /// One of them at least has a timestamp that is not allowed.
        by_timestamp: bool,
    },
}

/// Most records a refusal lists. Kafka has no limit; a small compressed batch of many records would
/// then bring a response of any size about.
pub const REFUSED_RECORDS_MAX: usize = 10_000;

impl Refusal {
    /// What the producer is told.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Refusal::Entry(_) | Refusal::Batch(_) => ErrorCode::CorruptMessage,
            Refusal::NotOneBatch { .. }
            | Refusal::BaseOffset { .. }
            | Refusal::MixedFormats { .. }
            | Refusal::MoreThanOneBatch
            | Refusal::Count { .. }
            | Refusal::Control
            | Refusal::NoSequence { .. }
            | Refusal::Record(_) => ErrorCode::InvalidRecord,
            Refusal::ZstdTooEarly { .. } => ErrorCode::UnsupportedCompressionType,
            Refusal::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Refusal::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            Refusal::Legacy(error) => legacy_code(error),
            Refusal::Compression(error) => compression_code(error),
            // Kafka runs into an unexpected exception on all of these.
            Refusal::OffsetDelta { .. }
            | Refusal::NegativeTimestamp { .. }
            | Refusal::Codec(_)
            | Refusal::Rebuild(_) => ErrorCode::UnknownServerError,
            Refusal::Records { by_timestamp: true, .. } => ErrorCode::InvalidTimestamp,
            Refusal::Records { by_timestamp: false, .. } => ErrorCode::InvalidRecord,
        }
    }

    /// `error_message` of the response; Kafka has one only where single records are named.
    pub fn error_message(&self) -> Option<String> {
        match self {
            Refusal::Records { by_timestamp: true, .. } => {
                Some("One or more records have been rejected due to invalid timestamp".to_owned())
            }
            Refusal::Records { records, total, .. } => {
                let shown: Vec<_> = records.iter().take(3).map(RefusedRecord::in_java).collect();
                Some(format!(
                    "One or more records have been rejected due to {total} record errors in total, and only \
                     showing the first three errors at most: [{}]",
                    shown.join(", ")
                ))
            }
            _ => None,
        }
    }

    /// `record_errors` of the response.
    pub fn record_errors(&self) -> &[RefusedRecord] {
        match self {
            Refusal::Records { records, .. } => records,
            _ => &[],
        }
    }
}

impl RefusedRecord {
    /// As Kafka's `RecordError.toString` has it.
    fn in_java(&self) -> String {
        format!("RecordError(batchIndex={}, message='{}')", self.batch_index, self.message)
    }
}

fn legacy_code(error: &LegacyError) -> ErrorCode {
    match error {
        LegacyError::InnerCrc { .. } | LegacyError::InnerSize { .. } => ErrorCode::CorruptMessage,
        LegacyError::NotLegacy
        | LegacyError::Zstd { .. }
        | LegacyError::NoPayload { .. }
        | LegacyError::Empty
        | LegacyError::InnerMagic { .. }
        | LegacyError::InnerCompressed
        | LegacyError::WrapperOffset { .. } => ErrorCode::InvalidRecord,
        LegacyError::Compression(error) => compression_code(error),
        LegacyError::PartsTooLong | LegacyError::UnknownCodec(_) => ErrorCode::UnknownServerError,
    }
}

/// Kafka has no limit on what a payload decompresses to; producers split a batch that is too large.
fn compression_code(error: &CompressionError) -> ErrorCode {
    match error {
        CompressionError::LimitExceeded { .. } => ErrorCode::MessageTooLarge,
        CompressionError::Corrupt { .. } | CompressionError::Compress { .. } => ErrorCode::UnknownServerError,
    }
}

impl From<RecordStreamError> for Refusal {
    fn from(error: RecordStreamError) -> Refusal {
        match error {
            RecordStreamError::Record(error) => error.into(),
            RecordStreamError::Compression(error) => error.into(),
        }
    }
}
