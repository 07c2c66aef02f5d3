//! The records of a batch of magic 2, borrowed from its (decompressed) payload.

use thiserror::Error;

use super::attributes::TimestampType;
use super::batch::BatchHeader;
use super::varint::{self, VarintError};
use crate::ids::Offset;

/// The payload is not what the batch header announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("the batch announces {count} records")]
    NegativeCount { count: i32 },
    #[error("the records end in the middle of one")]
    Truncated,
    #[error("a variable-length number goes on past its greatest length")]
    LongNumber,
    #[error("a record of {size} bytes is announced, but its parts do not fill it exactly")]
    SizeMismatch { size: i32 },
    #[error("a record announces {count} headers")]
    HeaderCount { count: i32 },
    #[error("a record header has no key")]
    HeaderWithoutKey,
    #[error("{left} bytes follow the last record the batch announces")]
    TrailingBytes { left: usize },
}

impl From<VarintError> for RecordError {
    fn from(error: VarintError) -> RecordError {
        match error {
            VarintError::Truncated => RecordError::Truncated,
            VarintError::TooLong => RecordError::LongNumber,
        }
    }
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: Offset,
    /// The batch's append time where the batch has one.
    pub timestamp: i64,
    pub attributes: i8,
    /// Distance to the batch's base offset, as written in the record.
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// A key and value beside the record's own (KIP-82). The key is UTF-8 by convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, already checked, read one by one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    count: usize,
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const NONE: Headers<'static> = Headers { count: 0, rest: &[] };

    /// Headers still to come.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their encoding, without the count.
    pub(super) fn encoded(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `count` headers that must fill `encoded` exactly.
    fn checked(count: i32, encoded: &'a [u8], record_size: i32) -> Result<Headers<'a>, RecordError> {
        let bad_count = RecordError::HeaderCount { count };
        let count = usize::try_from(count).map_err(|_| bad_count)?;
        if count > encoded.len() {
            return Err(bad_count);
        }
        let mut rest = encoded;
        for _ in 0..count {
            take_header(&mut rest)?;
        }
        if !rest.is_empty() {
            return Err(RecordError::SizeMismatch { size: record_size });
        }
        Ok(Headers { count, rest: encoded })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.count = self.count.checked_sub(1)?;
        take_header(&mut self.rest).ok()
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// The records of a payload, which they must fill exactly. The first error is the last item.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    left: i32,
    base_offset: Offset,
    base_timestamp: i64,
    append_time: Option<i64>,
    finished: bool,
}

/// Walks the records of the batch with this header; `payload` is what follows it, decompressed.
pub fn records<'a>(header: &BatchHeader, payload: &'a [u8]) -> Records<'a> {
    Records {
        rest: payload,
        left: header.record_count,
        base_offset: header.base_offset,
        base_timestamp: header.base_timestamp,
        append_time: append_time(header),
        finished: false,
    }
}

/// The timestamp all records of a batch have, if the leader set it.
pub(super) fn append_time(header: &BatchHeader) -> Option<i64> {
    match header.attributes.timestamp_type() {
        TimestampType::CreateTime => None,
        TimestampType::LogAppendTime => Some(header.max_timestamp),
    }
}

impl<'a> Record<'a> {
    /// Reads a record from its bytes after the size field, all of which it must take.
    pub(super) fn parse(
        mut body: &'a [u8],
        size: i32,
        base_offset: Offset,
        base_timestamp: i64,
        append_time: Option<i64>,
    ) -> Result<Record<'a>, RecordError> {
        let (&attributes, after) = body.split_first().ok_or(RecordError::SizeMismatch { size })?;
        body = after;
        // Inside a record, whatever ends early shows that its size is wrong.
        let within = |error: VarintError| match error {
            VarintError::Truncated => RecordError::SizeMismatch { size },
            VarintError::TooLong => RecordError::LongNumber,
        };
        let timestamp_delta = varint::take_i64(&mut body).map_err(within)?;
        let offset_delta = varint::take_i32(&mut body).map_err(within)?;
        let key = take_bytes(&mut body).map_err(|_| RecordError::SizeMismatch { size })?;
        let value = take_bytes(&mut body).map_err(|_| RecordError::SizeMismatch { size })?;
        let header_count = varint::take_i32(&mut body).map_err(within)?;
        Ok(Record {
            offset: base_offset + i64::from(offset_delta),
            timestamp: append_time.unwrap_or(base_timestamp.wrapping_add(timestamp_delta)),
            attributes: attributes.cast_signed(),
            offset_delta,
            key,
            value,
            headers: Headers::checked(header_count, body, size)?,
        })
    }
}

impl<'a> Records<'a> {
    fn take(&mut self) -> Result<Record<'a>, RecordError> {
        let size = varint::take_i32(&mut self.rest)?;
        let body_len = usize::try_from(size).map_err(|_| RecordError::SizeMismatch { size })?;
        let (body, rest) = self.rest.split_at_checked(body_len).ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Record::parse(body, size, self.base_offset, self.base_timestamp, self.append_time)
    }

    fn end(&self) -> Option<RecordError> {
        if self.left < 0 {
            Some(RecordError::NegativeCount { count: self.left })
        } else if !self.rest.is_empty() {
            Some(RecordError::TrailingBytes { left: self.rest.len() })
        } else {
            None
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Result<Record<'a>, RecordError>> {
        if self.finished {
            return None;
        }
        if self.left <= 0 {
            self.finished = true;
            return self.end().map(Err);
        }
        self.left -= 1;
        let record = self.take();
        self.finished = record.is_err();
        Some(record)
    }
}

impl std::iter::FusedIterator for Records<'_> {}

/// A length and as many bytes; a negative length is null, whichever it is.
fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    let Ok(len) = usize::try_from(varint::take_i32(bytes)?) else {
        return Ok(None);
    };
    let (taken, rest) = bytes.split_at_checked(len).ok_or(RecordError::Truncated)?;
    *bytes = rest;
    Ok(Some(taken))
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<Header<'a>, RecordError> {
    let key = take_bytes(bytes)?.ok_or(RecordError::HeaderWithoutKey)?;
    let value = take_bytes(bytes)?;
    Ok(Header { key, value })
}
