//! Writes message sets of formats 0 and 1 (magic 0: before 0.10; magic 1: KIP-32).

use super::attributes::{Attributes, TimestampType};
use super::builder::BuildError;
use super::compression::{Compression, CompressionError, Compressor};
use super::entry::{MESSAGE_OVERHEAD_V0, MESSAGE_OVERHEAD_V1};
use super::{Codec, LOG_OVERHEAD, NO_TIMESTAMP};
use crate::ids::Offset;

/// Inner messages wait here until the codec gets them in one piece.
const PENDING_MAX: usize = 32 << 10;

/// The formats before record batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageFormat {
    /// Magic 0: no timestamps; offsets inside a compressed message are absolute.
    V0,
    /// Magic 1: timestamps; offsets inside a compressed message count from its first.
    V1,
}

impl MessageFormat {
    pub fn magic(self) -> i8 {
        match self {
            MessageFormat::V0 => 0,
            MessageFormat::V1 => 1,
        }
    }

    fn overhead(self) -> usize {
        match self {
            MessageFormat::V0 => MESSAGE_OVERHEAD_V0,
            MessageFormat::V1 => MESSAGE_OVERHEAD_V1,
        }
    }
}

/// One message set being written: a message per record or, with a codec, one message around all.
#[derive(Debug)]
pub struct MessageSetBuilder {
    format: MessageFormat,
    codec: Codec,
    /// Set: the messages have the LogAppendTime type and this time (format 1 only).
    append_time: Option<i64>,
    /// Of the wrapper's value; `None` without a codec.
    compressor: Option<Compressor>,
    /// Messages the compressor has not got yet; without a codec, the set.
    pending: Vec<u8>,
    base_offset: Option<Offset>,
    last_offset: Option<Offset>,
    max_timestamp: i64,
}

impl MessageSetBuilder {
    /// zstd came after these formats; message sets with it exist nowhere and cannot be built.
    pub fn new(
        format: MessageFormat,
        compression: Compression,
        append_time: Option<i64>,
    ) -> Result<MessageSetBuilder, BuildError> {
        let compressor = match compression.codec {
            Codec::None => None,
            Codec::Zstd => return Err(BuildError::Compression(no_zstd())),
            _ => Some(Compressor::new(compression, format.magic(), Vec::new())?),
        };
        Ok(MessageSetBuilder {
            format,
            codec: compression.codec,
            append_time: append_time.filter(|_| format == MessageFormat::V1),
            compressor,
            pending: Vec::new(),
            base_offset: None,
            last_offset: None,
            max_timestamp: NO_TIMESTAMP,
        })
    }

    /// Bytes so far. With a codec that is an estimate: it holds some input back.
    pub fn size(&self) -> usize {
        self.pending.len() + self.compressor.as_ref().map_or(0, Compressor::buffered)
    }

    pub fn push(
        &mut self,
        offset: Offset,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), BuildError> {
        if let Some(last) = self.last_offset.filter(|last| offset <= *last) {
            return Err(BuildError::OffsetNotRising { offset, last });
        }
        let base = *self.base_offset.get_or_insert(offset);
        let timestamp = self.append_time.unwrap_or(timestamp);
        let written_offset = match (&self.compressor, self.format) {
            (Some(_), MessageFormat::V1) => Offset(offset - base),
            _ => offset,
        };
        let attributes = self.attributes(Codec::None);
        put_message(&mut self.pending, self.format, written_offset, attributes, timestamp, key, value)?;
        self.last_offset = Some(offset);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        if let Some(compressor) = self.compressor.as_mut().filter(|_| self.pending.len() >= PENDING_MAX) {
            compressor.write(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }

    /// The set's bytes; none without records.
    pub fn finish(self) -> Result<Vec<u8>, BuildError> {
        let Some(last_offset) = self.last_offset else {
            return Ok(Vec::new());
        };
        let attributes = self.attributes(self.codec);
        let Some(mut compressor) = self.compressor else {
            return Ok(self.pending);
        };
        compressor.write(&self.pending)?;
        let payload = compressor.finish()?;
        let mut wrapper = Vec::with_capacity(LOG_OVERHEAD + self.format.overhead() + payload.len());
        let timestamp = self.max_timestamp;
        put_message(&mut wrapper, self.format, last_offset, attributes, timestamp, None, Some(&payload))?;
        Ok(wrapper)
    }

    fn attributes(&self, codec: Codec) -> u8 {
        let timestamp_type = match self.append_time {
            Some(_) => TimestampType::LogAppendTime,
            None => TimestampType::CreateTime,
        };
        Attributes::new(codec, timestamp_type).0 as u8
    }
}

fn no_zstd() -> CompressionError {
    CompressionError::Compress {
        codec: Codec::Zstd,
        source: std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            "message formats 0 and 1 do not know it",
        ),
    }
}

fn put_message(
    out: &mut Vec<u8>,
    format: MessageFormat,
    offset: Offset,
    attributes: u8,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(), BuildError> {
    let size = format.overhead() + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    let size_field = i32::try_from(size).map_err(|_| BuildError::RecordTooLarge { size })?;
    out.reserve(LOG_OVERHEAD + size);
    out.extend_from_slice(&offset.0.to_be_bytes());
    out.extend_from_slice(&size_field.to_be_bytes());
    let crc_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let checked_from = out.len();
    out.push(format.magic().cast_unsigned());
    out.push(attributes);
    if format == MessageFormat::V1 {
        out.extend_from_slice(&timestamp.to_be_bytes());
    }
    put_bytes(out, key);
    put_bytes(out, value);
    let crc = crc32fast::hash(out.get(checked_from..).unwrap_or_default());
    if let Some(field) = out.get_mut(crc_at..).and_then(|tail| tail.first_chunk_mut()) {
        *field = crc.to_be_bytes();
    }
    Ok(())
}

/// The length fits: the whole message's does.
fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
            out.extend_from_slice(bytes);
        }
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}
