//! What a batch of magic 2 holds, decompressed where it is compressed.

use std::borrow::Cow;

use thiserror::Error;

use super::attributes::{Codec, UnknownCodec};
use super::batch::MAGIC;
use super::compression::{CompressionError, decompress};
use super::entry::AnyBatch;

/// Why a batch cannot be opened.
#[derive(Debug, Error)]
pub enum PayloadError {
    #[error("a message of format {magic} has no record payload; read it as a message set")]
    NotV2 { magic: i8 },
    #[error(transparent)]
    Codec(#[from] UnknownCodec),
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// The bytes that [`records`](super::records) walks: borrowed where the batch is not compressed,
/// otherwise at most `limit` bytes.
pub fn payload<'a>(batch: &AnyBatch<'a>, limit: usize) -> Result<Cow<'a, [u8]>, PayloadError> {
    let stored = batch.payload().ok_or(PayloadError::NotV2 { magic: batch.magic() })?;
    match batch.attributes().codec()? {
        Codec::None => Ok(Cow::Borrowed(stored)),
        // Compaction leaves batches without records, and without a payload to decompress.
        _ if stored.is_empty() => Ok(Cow::Borrowed(stored)),
        codec => Ok(Cow::Owned(decompress(codec, stored, MAGIC, limit)?)),
    }
}
