//! A payload read piece by piece while it is decompressed, so that checking it takes one small
//! buffer however much it grows.

use thiserror::Error;

use super::attributes::Codec;
use super::batch::{BatchHeader, MAGIC};
use super::compression::{CompressionError, Decompressor};
use super::record::{Record, RecordError, append_time};
use super::varint::{self, VarintError};
use crate::ids::Offset;

const WINDOW: usize = 16 << 10;

/// Why a stream gave no more.
#[derive(Debug, Error)]
pub(super) enum StreamError {
    #[error("the payload ends early")]
    Ended,
    #[error("a variable-length number goes on past its greatest length")]
    LongNumber,
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl From<VarintError> for StreamError {
    fn from(error: VarintError) -> StreamError {
        match error {
            VarintError::Truncated => StreamError::Ended,
            VarintError::TooLong => StreamError::LongNumber,
        }
    }
}

/// Why records cannot be read off a compressed payload.
#[derive(Debug, Error)]
pub enum RecordStreamError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl From<StreamError> for RecordStreamError {
    fn from(error: StreamError) -> RecordStreamError {
        match error {
            StreamError::Ended => RecordError::Truncated.into(),
            StreamError::LongNumber => RecordError::LongNumber.into(),
            StreamError::Compression(error) => error.into(),
        }
    }
}

/// The decompressed bytes of a payload, taken from the front.
#[derive(Debug)]
pub(super) struct ByteStream<'a> {
    source: Decompressor<'a>,
    window: Vec<u8>,
    at: usize,
    end: usize,
    /// Bytes of the stream before the window.
    passed: u64,
}

impl<'a> ByteStream<'a> {
    pub(super) fn new(
        codec: Codec,
        payload: &'a [u8],
        magic: i8,
        limit: usize,
    ) -> Result<ByteStream<'a>, CompressionError> {
        let source = Decompressor::new(codec, payload, magic, limit)?;
        Ok(ByteStream { source, window: vec![0; WINDOW], at: 0, end: 0, passed: 0 })
    }

    /// Bytes taken so far.
    pub(super) fn position(&self) -> u64 {
        self.passed + self.at as u64
    }

    pub(super) fn at_end(&mut self) -> Result<bool, StreamError> {
        Ok(self.at == self.end && !self.refill()?)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, StreamError> {
        if self.at == self.end && !self.refill()? {
            return Err(StreamError::Ended);
        }
        let byte = self.window.get(self.at).copied().ok_or(StreamError::Ended)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<i32, StreamError> {
        varint::read_i32(|| self.byte())
    }

    #[inline]
    pub(super) fn varlong(&mut self) -> Result<i64, StreamError> {
        varint::read_i64(|| self.byte())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StreamError> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, mut count: usize) -> Result<(), StreamError> {
        loop {
            let step = count.min(self.end - self.at);
            self.at += step;
            count -= step;
            if count == 0 {
                return Ok(());
            }
            if !self.refill()? {
                return Err(StreamError::Ended);
            }
        }
    }

    /// Appends the next `count` bytes to `out`, which grows only as they come.
    pub(super) fn take(&mut self, mut count: usize, out: &mut Vec<u8>) -> Result<(), StreamError> {
        loop {
            let step = count.min(self.end - self.at);
            out.extend_from_slice(self.window.get(self.at..self.at + step).unwrap_or_default());
            self.at += step;
            count -= step;
            if count == 0 {
                return Ok(());
            }
            if !self.refill()? {
                return Err(StreamError::Ended);
            }
        }
    }

    /// Replaces the window, all of which was taken; false at the end.
    fn refill(&mut self) -> Result<bool, CompressionError> {
        self.passed += self.end as u64;
        (self.at, self.end) = (0, 0);
        self.end = self.source.read(&mut self.window)?;
        Ok(self.end > 0)
    }
}

/// What can be told of a record without keeping its key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) timestamp: i64,
    pub(super) offset_delta: i32,
    /// Negative: no key.
    pub(super) key_len: i32,
    pub(super) value_len: i32,
}

/// The records of a compressed batch of magic 2, off a stream.
#[derive(Debug)]
pub(super) struct RecordStream<'a> {
    bytes: ByteStream<'a>,
    left: i32,
    base_offset: Offset,
    base_timestamp: i64,
    append_time: Option<i64>,
}

impl<'a> RecordStream<'a> {
    pub(super) fn new(
        header: &BatchHeader,
        codec: Codec,
        payload: &'a [u8],
        limit: usize,
    ) -> Result<RecordStream<'a>, RecordStreamError> {
        let count = header.record_count;
        if count < 0 {
            return Err(RecordError::NegativeCount { count }.into());
        }
        Ok(RecordStream {
            bytes: ByteStream::new(codec, payload, MAGIC, limit)?,
            left: count,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time: append_time(header),
        })
    }

    /// The next record's head. `None` once all were read and the payload is at its end, too.
    pub(super) fn next_head(&mut self) -> Result<Option<RecordHead>, RecordStreamError> {
        let Some(size) = self.next_size()? else {
            return Ok(None);
        };
        let start = self.bytes.position();
        let _attributes = self.bytes.byte()?;
        let timestamp_delta = self.bytes.varlong()?;
        let offset_delta = self.bytes.varint()?;
        let key_len = self.skip_sized()?;
        let value_len = self.skip_sized()?;
        self.skip_headers()?;
        // Kafka lets a wrong size pass here, and its consumers stop at that record ever after.
        let taken = self.bytes.position() - start;
        if u64::try_from(size) != Ok(taken) {
            return Err(RecordError::SizeMismatch { size }.into());
        }
        let timestamp = self.append_time.unwrap_or(self.base_timestamp.wrapping_add(timestamp_delta));
        Ok(Some(RecordHead { timestamp, offset_delta, key_len, value_len }))
    }

    /// The next record with its key and value, which `buffer` is filled with.
    pub(super) fn next_record<'b>(
        &mut self,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Option<Record<'b>>, RecordStreamError> {
        let Some(size) = self.next_size()? else {
            return Ok(None);
        };
        let len = usize::try_from(size).map_err(|_| RecordError::SizeMismatch { size })?;
        buffer.clear();
        self.bytes.take(len, buffer)?;
        Ok(Some(Record::parse(buffer, size, self.base_offset, self.base_timestamp, self.append_time)?))
    }

    fn next_size(&mut self) -> Result<Option<i32>, RecordStreamError> {
        if self.left == 0 {
            return if self.bytes.at_end()? {
                Ok(None)
            } else {
                Err(RecordError::TrailingBytes { left: 1 }.into())
            };
        }
        self.left -= 1;
        Ok(Some(self.bytes.varint()?))
    }

    fn skip_sized(&mut self) -> Result<i32, RecordStreamError> {
        let len = self.bytes.varint()?;
        self.bytes.skip(usize::try_from(len).unwrap_or(0))?;
        Ok(len)
    }

    fn skip_headers(&mut self) -> Result<(), RecordStreamError> {
        let count = self.bytes.varint()?;
        if count < 0 {
            return Err(RecordError::HeaderCount { count }.into());
        }
        for _ in 0..count {
            if self.skip_sized()? < 0 {
                return Err(RecordError::HeaderWithoutKey.into());
            }
            self.skip_sized()?;
        }
        Ok(())
    }
}
