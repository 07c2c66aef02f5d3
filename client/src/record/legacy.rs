//! Reads messages of formats 0 and 1, alone or compressed within a wrapper message.
//!
//! A wrapper's offset is that of its last message. The offsets inside are absolute in format 0 and
//! count from the first message in format 1, so that there the end must be known before the start.
//! The inside is read twice rather than kept.

use thiserror::Error;

use super::attributes::{Codec, TimestampType, UnknownCodec};
use super::compression::CompressionError;
use super::endian::{i8_at, i64_at, u32_at};
use super::entry::{AnyBatch, MESSAGE_OVERHEAD_V0};
use super::stream::{ByteStream, StreamError};
use super::{LOG_OVERHEAD, NO_TIMESTAMP};
use crate::ids::Offset;

/// Positions within a message, after offset and size.
const MAGIC_AT: usize = 4;
const ATTRIBUTES_AT: usize = 5;
const TIMESTAMP_AT: usize = 6;

/// Why messages cannot be read.
#[derive(Debug, Error)]
pub enum LegacyError {
    #[error("a batch of format 2 is no message")]
    NotLegacy,
    #[error("the parts of a message go past its end")]
    PartsTooLong,
    #[error(transparent)]
    UnknownCodec(#[from] UnknownCodec),
    #[error("a message set of format {magic} cannot be compressed with zstd")]
    Zstd { magic: i8 },
    #[error(transparent)]
    Compression(#[from] CompressionError),
    #[error("a compressed message set (magic = {magic}) has no value")]
    NoPayload { magic: i8 },
    #[error("a compressed message set holds no messages")]
    Empty,
    #[error("compressed message magic {inner} does not match wrapper magic {wrapper}")]
    InnerMagic { wrapper: i8, inner: i8 },
    #[error("inner messages must not be compressed")]
    InnerCompressed,
    #[error("inner message size {size} is less than the minimum record overhead ({minimum})")]
    InnerSize { size: i32, minimum: usize },
    #[error("an inner message is corrupt (stored crc = {stored}, computed crc = {computed})")]
    InnerCrc { stored: u32, computed: u32 },
    #[error("wrapper offset {wrapper} is less than the last inner message offset {last_inner} and not zero")]
    WrapperOffset { wrapper: Offset, last_inner: i64 },
}

/// One message, out of its wrapper if it was in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub offset: Offset,
    /// [`NO_TIMESTAMP`] in format 0; the wrapper's where that has the append time.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// Calls `each` with the messages of one entry of magic 0 or 1, in order; stops at the first error.
/// Checksums of messages inside a wrapper are checked, that of the entry is not. No more than
/// `limit` bytes are decompressed.
pub fn for_each_message<E: From<LegacyError>>(
    entry: &AnyBatch<'_>,
    limit: usize,
    mut each: impl FnMut(Message<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let wrapper = Parts::of_entry(entry)?;
    let codec = wrapper.codec()?;
    if codec == Codec::None {
        return each(wrapper.message(entry.entry_offset(), None));
    }
    let set = CompressedSet::open(entry, &wrapper, codec, limit)?;
    let append_time = match entry.timestamp_type() {
        TimestampType::LogAppendTime => Some(entry.max_timestamp()),
        TimestampType::CreateTime => None,
    };
    let mut inner = set.inner()?;
    let mut buffer = Vec::new();
    while let Some(offset) = inner.next(&mut buffer)? {
        let parts = Parts::parse(&buffer)?;
        if parts.codec_id() != 0 {
            return Err(LegacyError::InnerCompressed.into());
        }
        check_crc(&buffer)?;
        each(parts.message(set.base_offset + offset, append_time))?;
    }
    Ok(())
}

/// The offset of an entry's first message.
pub fn first_offset(entry: &AnyBatch<'_>, limit: usize) -> Result<Offset, LegacyError> {
    if let Some(offset) = entry.base_offset() {
        return Ok(offset);
    }
    let wrapper = Parts::of_entry(entry)?;
    let set = CompressedSet::open(entry, &wrapper, wrapper.codec()?, limit)?;
    Ok(set.base_offset + set.first_inner)
}

/// The fields of a message, from its checksum on.
struct Parts<'a> {
    attributes: i8,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    magic: i8,
}

impl<'a> Parts<'a> {
    fn of_entry(entry: &AnyBatch<'a>) -> Result<Parts<'a>, LegacyError> {
        if entry.header().is_some() {
            return Err(LegacyError::NotLegacy);
        }
        Self::parse(entry.bytes().get(LOG_OVERHEAD..).unwrap_or_default())
    }

    /// Bytes behind the value are let pass, as in Kafka.
    fn parse(message: &'a [u8]) -> Result<Parts<'a>, LegacyError> {
        Self::read(message).ok_or(LegacyError::PartsTooLong)
    }

    fn read(message: &'a [u8]) -> Option<Parts<'a>> {
        let magic = i8_at(message, MAGIC_AT)?;
        let attributes = i8_at(message, ATTRIBUTES_AT)?;
        let (timestamp, mut rest) = match magic {
            0 => (NO_TIMESTAMP, message.get(TIMESTAMP_AT..)?),
            _ => (i64_at(message, TIMESTAMP_AT)?, message.get(TIMESTAMP_AT + 8..)?),
        };
        let key = take_bytes(&mut rest)?;
        let value = take_bytes(&mut rest)?;
        Some(Parts { attributes, timestamp, key, value, magic })
    }

    fn codec_id(&self) -> u8 {
        super::Attributes(i16::from(self.attributes)).codec_id()
    }

    fn codec(&self) -> Result<Codec, LegacyError> {
        match Codec::from_id(self.codec_id())? {
            Codec::Zstd => Err(LegacyError::Zstd { magic: self.magic }),
            codec => Ok(codec),
        }
    }

    fn message(&self, offset: Offset, append_time: Option<i64>) -> Message<'a> {
        let timestamp = append_time.unwrap_or(self.timestamp);
        Message { offset, timestamp, key: self.key, value: self.value }
    }
}

/// A length and as many bytes; a negative length is null, whichever it is.
fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (len, rest) = bytes.split_first_chunk()?;
    let Ok(len) = usize::try_from(i32::from_be_bytes(*len)) else {
        *bytes = rest;
        return Some(None);
    };
    let (taken, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some(Some(taken))
}

fn check_crc(message: &[u8]) -> Result<(), LegacyError> {
    let stored = u32_at(message, 0).ok_or(LegacyError::PartsTooLong)?;
    let computed = crc32fast::hash(message.get(MAGIC_AT..).unwrap_or_default());
    if stored == computed { Ok(()) } else { Err(LegacyError::InnerCrc { stored, computed }) }
}

/// The inside of a wrapper, and what its offsets are counted from.
struct CompressedSet<'a> {
    codec: Codec,
    magic: i8,
    payload: &'a [u8],
    limit: usize,
    first_inner: i64,
    base_offset: Offset,
}

impl<'a> CompressedSet<'a> {
    fn open(
        entry: &AnyBatch<'_>,
        wrapper: &Parts<'a>,
        codec: Codec,
        limit: usize,
    ) -> Result<CompressedSet<'a>, LegacyError> {
        let magic = wrapper.magic;
        let payload = wrapper.value.ok_or(LegacyError::NoPayload { magic })?;
        let mut set = CompressedSet { codec, magic, payload, limit, first_inner: 0, base_offset: Offset(0) };
        let mut inner = set.inner()?;
        set.first_inner = inner.skip()?.ok_or(LegacyError::Empty)?;
        let mut last_inner = set.first_inner;
        while let Some(offset) = inner.skip()? {
            last_inner = offset;
        }
        // Some producers leave the wrapper's offset 0.
        let wrapper = entry.entry_offset();
        if magic == 1 && wrapper != Offset(0) {
            if wrapper.0 < last_inner {
                return Err(LegacyError::WrapperOffset { wrapper, last_inner });
            }
            set.base_offset = Offset(wrapper.0.wrapping_sub(last_inner));
        }
        Ok(set)
    }

    fn inner(&self) -> Result<InnerMessages<'a>, LegacyError> {
        let bytes = ByteStream::new(self.codec, self.payload, self.magic, self.limit)?;
        Ok(InnerMessages { bytes, magic: self.magic })
    }
}

/// The messages within a wrapper. The last one may be cut off, and is left out then.
struct InnerMessages<'a> {
    bytes: ByteStream<'a>,
    magic: i8,
}

impl InnerMessages<'_> {
    /// Fills `message` with the next message from its checksum on; the offset is as written.
    fn next(&mut self, message: &mut Vec<u8>) -> Result<Option<i64>, LegacyError> {
        let Some((offset, size)) = self.next_head()? else {
            return Ok(None);
        };
        message.clear();
        if until_end(self.bytes.take(size, message))?.is_none() {
            return Ok(None);
        }
        let inner = i8_at(message, MAGIC_AT).ok_or(LegacyError::PartsTooLong)?;
        if inner != self.magic {
            return Err(LegacyError::InnerMagic { wrapper: self.magic, inner });
        }
        Ok(Some(offset))
    }

    /// The same without the message.
    fn skip(&mut self) -> Result<Option<i64>, LegacyError> {
        let Some((offset, size)) = self.next_head()? else {
            return Ok(None);
        };
        Ok(until_end(self.bytes.skip(size))?.map(|()| offset))
    }

    /// Offset and size.
    fn next_head(&mut self) -> Result<Option<(i64, usize)>, LegacyError> {
        let Some(offset) = until_end(self.bytes.array())? else {
            return Ok(None);
        };
        let Some(size) = until_end(self.bytes.array())? else {
            return Ok(None);
        };
        let (offset, size) = (i64::from_be_bytes(offset), i32::from_be_bytes(size));
        let minimum = MESSAGE_OVERHEAD_V0;
        match usize::try_from(size) {
            Ok(size) if size >= minimum => Ok(Some((offset, size))),
            _ => Err(LegacyError::InnerSize { size, minimum }),
        }
    }
}

/// Tells the end of the payload from trouble with it.
fn until_end<T>(result: Result<T, StreamError>) -> Result<Option<T>, LegacyError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StreamError::Compression(error)) => Err(error.into()),
        Err(StreamError::Ended | StreamError::LongNumber) => Ok(None),
    }
}
