//! What is sent, and what is known of it afterwards.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::Offset;
use crate::record::RecordHeader;
use crate::wire::Str;

/// A record to be sent.
///
/// ```
/// use client::producer::ProducerRecord;
///
/// let record = ProducerRecord::to("orders").key("customer-7").value("two apples").header("source", "web");
/// assert_eq!(record.key.as_deref(), Some(&b"customer-7"[..]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRecord {
    pub topic: Arc<str>,
    /// `None`: the [partitioner](crate::producer::Partitioning) chooses.
    pub partition: Option<i32>,
    /// Milliseconds since 1970. `None`: when it is handed over.
    pub timestamp: Option<i64>,
    pub key: Option<Bytes>,
    /// `None`: a tombstone, which removes the key from a compacted topic.
    pub value: Option<Bytes>,
    /// In order.
    pub headers: Vec<RecordHeader>,
}

impl ProducerRecord {
    /// A record without key and value.
    pub fn to(topic: impl Into<Arc<str>>) -> ProducerRecord {
        ProducerRecord {
            topic: topic.into(),
            partition: None,
            timestamp: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    #[must_use]
    pub fn key(self, key: impl Into<Bytes>) -> ProducerRecord {
        ProducerRecord { key: Some(key.into()), ..self }
    }

    #[must_use]
    pub fn value(self, value: impl Into<Bytes>) -> ProducerRecord {
        ProducerRecord { value: Some(value.into()), ..self }
    }

    #[must_use]
    pub fn partition(self, partition: i32) -> ProducerRecord {
        ProducerRecord { partition: Some(partition), ..self }
    }

    /// In milliseconds since 1970.
    #[must_use]
    pub fn timestamp(self, timestamp_ms: i64) -> ProducerRecord {
        ProducerRecord { timestamp: Some(timestamp_ms), ..self }
    }

    #[must_use]
    pub fn header(mut self, key: impl Into<Str>, value: impl Into<Bytes>) -> ProducerRecord {
        self.headers.push(RecordHeader { key: key.into(), value: Some(value.into()) });
        self
    }

    /// The most bytes it can take in a batch, without the batch's own header.
    pub(super) fn size_max(&self) -> usize {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize =
            self.headers.iter().map(|header| 2 * LENGTH_MAX + header.key.len() + of(&header.value)).sum();
        RECORD_OVERHEAD_MAX + of(&self.key) + of(&self.value) + headers
    }
}

/// A length as a varint.
const LENGTH_MAX: usize = 5;
/// Length, attributes, timestamp and offset deltas, and the lengths of key, value and list of headers.
const RECORD_OVERHEAD_MAX: usize = LENGTH_MAX + 1 + 10 + LENGTH_MAX + 3 * LENGTH_MAX;

/// Where an acknowledged record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    pub topic: Arc<str>,
    pub partition: i32,
    /// `None`: not known, because no acknowledgement was asked for (acks=0) or the broker had the record
    /// already and no longer knows where.
    pub offset: Option<Offset>,
    /// Milliseconds since 1970: the producer's, or the log's if the topic keeps append times.
    pub timestamp: i64,
}
