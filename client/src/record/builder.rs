//! Writes batches of magic 2. Message sets of the older formats are written by
//! [`message_set`](super::message_set).

use thiserror::Error;

use super::attributes::{Attributes, Codec, TimestampType};
use super::batch::{BatchHeader, HEADER_LEN, LOG_OVERHEAD, MAGIC, reset_crc};
use super::compression::{Compression, CompressionError, Compressor};
use super::record::{Header, Record};
use super::varint;
use super::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP};
use crate::ids::{LeaderEpoch, Offset};

/// Records wait here until the codec gets them in one piece.
const PENDING_MAX: usize = 32 << 10;

/// Why a batch cannot be built.
#[derive(Debug, Error)]
pub enum BuildError {
    #[error("offset {offset} does not come after {last}, the batch's last")]
    OffsetNotRising { offset: Offset, last: Offset },
    #[error("offset {offset} is too far from {base}, the batch's first: the distance takes 32 bits")]
    OffsetTooFar { offset: Offset, base: Offset },
    #[error("a record of {size} bytes is too large for any batch")]
    RecordTooLarge { size: usize },
    #[error("the batch would take {size} bytes, more than its length field can say")]
    BatchTooLarge { size: usize },
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// Who writes an idempotent or transactional batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
    /// The sequence number of the batch's first record.
    pub base_sequence: i32,
}

impl Producer {
    pub const NONE: Producer =
        Producer { id: NO_PRODUCER_ID, epoch: NO_PRODUCER_EPOCH, base_sequence: NO_SEQUENCE };
}

impl Default for Producer {
    fn default() -> Producer {
        Producer::NONE
    }
}

/// What a batch says beside its records. The default is what a plain producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    pub base_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub compression: Compression,
    /// Set: the batch has the LogAppendTime type and this time. Unset: CreateTime.
    pub append_time: Option<i64>,
    pub producer: Producer,
    pub transactional: bool,
    pub control: bool,
    pub delete_horizon_ms: Option<i64>,
}

impl Default for BatchOptions {
    fn default() -> BatchOptions {
        BatchOptions {
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch::NONE,
            compression: Compression::NONE,
            append_time: None,
            producer: Producer::NONE,
            transactional: false,
            control: false,
            delete_horizon_ms: None,
        }
    }
}

/// A record to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRecord<'a> {
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
}

impl Default for NewRecord<'_> {
    fn default() -> Self {
        NewRecord { timestamp: NO_TIMESTAMP, key: None, value: None, headers: &[] }
    }
}

/// One batch being written.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    sink: Compressor,
    pending: Vec<u8>,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    last_offset: Option<Offset>,
    count: i32,
}

impl BatchBuilder {
    pub fn new(options: BatchOptions) -> Result<BatchBuilder, BuildError> {
        Ok(BatchBuilder {
            sink: Compressor::new(options.compression, MAGIC, vec![0; HEADER_LEN])?,
            pending: Vec::new(),
            base_timestamp: options.delete_horizon_ms,
            max_timestamp: NO_TIMESTAMP,
            last_offset: None,
            count: 0,
            options,
        })
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far. With a codec that is an estimate: it holds some input back.
    pub fn size(&self) -> usize {
        self.sink.buffered() + self.pending.len()
    }

    /// Bytes of the batch that the codec has given out.
    pub(super) fn compressed_size(&self) -> usize {
        self.sink.buffered()
    }

    /// Appends a record at the next offset.
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<(), BuildError> {
        self.push_at(self.next_offset(), record)
    }

    /// Appends a record at a later offset, leaving a gap as compaction does.
    pub fn push_at(&mut self, offset: Offset, record: &NewRecord<'_>) -> Result<(), BuildError> {
        let headers_len = record.headers.iter().map(encoded_len).sum::<usize>();
        let count = record.headers.len();
        self.begin(offset, record.timestamp, record.key, record.value, count, headers_len)?;
        for header in record.headers {
            varint::put_i64(&mut self.pending, header.key.len() as i64);
            self.pending.extend_from_slice(header.key);
            put_bytes(&mut self.pending, header.value);
        }
        self.settle()
    }

    /// Appends a record read from another batch at the next offset.
    pub fn copy(&mut self, record: &Record<'_>) -> Result<(), BuildError> {
        self.copy_at(self.next_offset(), record)
    }

    /// Appends a record read from another batch at an offset of its own.
    pub fn copy_at(&mut self, offset: Offset, record: &Record<'_>) -> Result<(), BuildError> {
        let headers = record.headers.encoded();
        let count = record.headers.len();
        self.begin(offset, record.timestamp, record.key, record.value, count, headers.len())?;
        self.pending.extend_from_slice(headers);
        self.settle()
    }

    /// Gives the batch the offsets up to `last` though it has no records for them, as compaction leaves it: what
    /// follows in the producer's sequence is counted from there.
    pub fn cover_through(&mut self, last: Offset) {
        self.last_offset = self.last_offset.max(Some(last));
    }

    /// Ends the batch: its bytes, with the right CRC. One without records is only a header.
    pub fn finish(mut self) -> Result<Vec<u8>, BuildError> {
        let last_offset_delta = match self.last_offset {
            Some(last) => self.delta(last)?,
            None => 0,
        };
        // A batch without records has no payload, not even an empty compressed one.
        let mut bytes = if self.count == 0 {
            vec![0; HEADER_LEN]
        } else {
            self.sink.write(&self.pending)?;
            self.sink.finish()?
        };
        let size = bytes.len();
        let batch_length =
            i32::try_from(size - LOG_OVERHEAD).map_err(|_| BuildError::BatchTooLarge { size })?;
        let options = &self.options;
        let timestamp_type = match options.append_time {
            Some(_) => TimestampType::LogAppendTime,
            None => TimestampType::CreateTime,
        };
        let codec = if self.count == 0 { Codec::None } else { options.compression.codec };
        let header = BatchHeader {
            base_offset: options.base_offset,
            batch_length,
            leader_epoch: options.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::new(codec, timestamp_type)
                .with_transactional(options.transactional)
                .with_control(options.control)
                .with_delete_horizon(options.delete_horizon_ms.is_some()),
            last_offset_delta,
            base_timestamp: self.base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: options.append_time.unwrap_or(self.max_timestamp),
            producer_id: options.producer.id,
            producer_epoch: options.producer.epoch,
            base_sequence: options.producer.base_sequence,
            record_count: self.count,
        };
        if let Some(place) = bytes.first_chunk_mut() {
            *place = header.to_bytes();
        }
        reset_crc(&mut bytes);
        Ok(bytes)
    }

    fn next_offset(&self) -> Offset {
        self.last_offset.map_or(self.options.base_offset, |last| last + 1)
    }

    fn delta(&self, offset: Offset) -> Result<i32, BuildError> {
        let base = self.options.base_offset;
        i32::try_from(offset - base).map_err(|_| BuildError::OffsetTooFar { offset, base })
    }

    /// Writes a record up to its headers, of which `headers_len` bytes must follow.
    fn begin(
        &mut self,
        offset: Offset,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        header_count: usize,
        headers_len: usize,
    ) -> Result<(), BuildError> {
        if let Some(last) = self.last_offset.filter(|last| offset <= *last) {
            return Err(BuildError::OffsetNotRising { offset, last });
        }
        let offset_delta = i64::from(self.delta(offset)?);
        let base_timestamp = self.base_timestamp.unwrap_or(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let size = 1
            + varint::len(timestamp_delta)
            + varint::len(offset_delta)
            + bytes_len(key)
            + bytes_len(value)
            + varint::len(header_count as i64)
            + headers_len;
        let body = i32::try_from(size).map_err(|_| BuildError::RecordTooLarge { size })?;

        let out = &mut self.pending;
        out.reserve(size + varint::MAX_LEN_32);
        varint::put_i32(out, body);
        out.push(0);
        varint::put_i64(out, timestamp_delta);
        varint::put_i64(out, offset_delta);
        put_bytes(out, key);
        put_bytes(out, value);
        varint::put_i64(out, header_count as i64);

        self.base_timestamp = Some(base_timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset = Some(offset);
        self.count += 1;
        Ok(())
    }

    fn settle(&mut self) -> Result<(), BuildError> {
        if self.pending.len() >= PENDING_MAX {
            self.sink.write(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        Some(bytes) => varint::len(bytes.len() as i64) + bytes.len(),
        None => varint::len(-1),
    }
}

fn encoded_len(header: &Header<'_>) -> usize {
    bytes_len(Some(header.key)) + bytes_len(header.value)
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put_i64(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::put_i32(out, -1),
    }
}
