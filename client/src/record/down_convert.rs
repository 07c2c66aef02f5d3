//! Stored batches as old consumers read them: Fetch versions 0 and 1 get messages of format 0,
//! versions 2 and 3 of format 1.
//!
//! Headers, producer fields and control batches have no place in these formats. What is returned is
//! at least as long as the stored bytes, since Kafka commits to a length before it converts more than
//! the first batch: it ends in a message cut off, or in the head of one that never was.

use thiserror::Error;

use super::attributes::{Codec, TimestampType};
use super::builder::BuildError;
use super::entry::{AnyBatch, batches};
use super::legacy::{LegacyError, for_each_message};
use super::message_set::{MessageFormat, MessageSetBuilder};
use super::payload::PayloadError;
use super::record::{RecordError, records};
use super::stream::{RecordStream, RecordStreamError};
use super::{HEADER_LEN, LOG_OVERHEAD};
use crate::ids::Offset;

/// Why the first batch cannot be given in an old format.
#[derive(Debug, Error)]
pub enum DownConvertError {
    #[error("a zstd batch cannot be converted to message format {magic}; the consumer must fetch version 10")]
    Zstd { magic: i8 },
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Legacy(#[from] LegacyError),
    #[error("the messages cannot be written: {0}")]
    Build(#[from] BuildError),
}

impl From<RecordStreamError> for DownConvertError {
    fn from(error: RecordStreamError) -> DownConvertError {
        match error {
            RecordStreamError::Record(error) => error.into(),
            RecordStreamError::Compression(error) => PayloadError::Compression(error).into(),
        }
    }
}

/// The records field for `stored`, a slice of a log that may end within a batch. Uncompressed records
/// before `fetch_offset` are left out. No batch decompresses to more than `limit` bytes.
///
/// A batch behind the first that cannot be converted ends the conversion; a consumer that comes for
/// it gets the error then.
pub fn down_convert(
    stored: &[u8],
    format: MessageFormat,
    fetch_offset: Offset,
    limit: usize,
) -> Result<Vec<u8>, DownConvertError> {
    let mut walk = batches(stored);
    let Some(first) = walk.next() else {
        return Ok(Vec::new());
    };
    let mut out = convert(&first, format, fetch_offset, limit)?;
    let committed = stored.len().max(out.len());
    for batch in walk {
        if out.len() >= committed {
            break;
        }
        let Ok(converted) = convert(&batch, format, fetch_offset, limit) else {
            break;
        };
        out.extend_from_slice(&converted);
    }
    out.truncate(committed);
    pad(&mut out, committed);
    Ok(out)
}

/// Fills up with an entry too long to be whole, which consumers take for one cut off.
fn pad(out: &mut Vec<u8>, committed: usize) {
    let missing = committed - out.len();
    if missing == 0 {
        return;
    }
    let claimed = i32::try_from((missing + 1).max(HEADER_LEN)).unwrap_or(i32::MAX);
    let mut head = [0xff; LOG_OVERHEAD];
    if let Some(size) = head.last_chunk_mut() {
        *size = claimed.to_be_bytes();
    }
    out.extend_from_slice(head.get(..missing).unwrap_or(&head));
    out.resize(committed, 0);
}

fn convert(
    batch: &AnyBatch<'_>,
    format: MessageFormat,
    fetch_offset: Offset,
    limit: usize,
) -> Result<Vec<u8>, DownConvertError> {
    if batch.is_control() {
        return Ok(Vec::new());
    }
    if batch.magic() <= format.magic() {
        return Ok(batch.bytes().to_vec());
    }
    let codec = batch.attributes().codec().map_err(PayloadError::Codec)?;
    if codec == Codec::Zstd {
        return Err(DownConvertError::Zstd { magic: format.magic() });
    }
    let append_time = match batch.timestamp_type() {
        TimestampType::CreateTime => None,
        TimestampType::LogAppendTime => Some(batch.max_timestamp()),
    };
    let mut set = MessageSetBuilder::new(format, codec.into(), append_time)?;
    let (Some(header), Some(payload)) = (batch.header(), batch.payload()) else {
        for_each_message(batch, limit, |message| {
            if codec != Codec::None || message.offset >= fetch_offset {
                set.push(message.offset, message.timestamp, message.key, message.value)?;
            }
            Ok::<(), DownConvertError>(())
        })?;
        return Ok(set.finish()?);
    };
    if codec == Codec::None || payload.is_empty() {
        for record in records(header, payload) {
            let record = record?;
            if record.offset >= fetch_offset {
                set.push(record.offset, record.timestamp, record.key, record.value)?;
            }
        }
    } else {
        let mut stream = RecordStream::new(header, codec, payload, limit)?;
        let mut buffer = Vec::new();
        while let Some(record) = stream.next_record(&mut buffer)? {
            set.push(record.offset, record.timestamp, record.key, record.value)?;
        }
    }
    Ok(set.finish()?)
}
