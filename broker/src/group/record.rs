//! The records of `__consumer_offsets`, in all versions Kafka ever wrote: group metadata 0–3,
//! offsets 0–3, and version 4 of both, which later brokers write and 3.9 reads. We write what
//! protocol 3.9 writes.
//!
//! Decoding borrows from the bytes given, which should therefore be the record's own and not a
//! slice of a larger buffer. Bytes that follow a key or value are ignored, as Kafka does.

use bytes::Bytes;
use client::record::{BatchBuilder, BatchOptions, BuildError, Compression, NewRecord, Producer};
use client::wire::messages::{GroupMetadataKey, OffsetCommitKey, OffsetCommitValue};
use client::wire::{DecodeError, EncodeError, Message, Reader, Str, Writer};

pub use client::wire::messages::GroupMetadataValue;
pub use client::wire::messages::group_metadata_value::MemberMetadata;

use super::CommittedOffset;

/// The version of a key names what it is the key of.
const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;

const GROUP_VALUE: i16 = 3;
const OFFSET_VALUE: i16 = 3;
/// The only version with an expiry time, and without a leader epoch.
const EXPIRING_OFFSET_VALUE: i16 = 1;
const VALUE_MAX: i16 = 4;

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Group { group: Str },
    Offset { group: Str, topic: Str, partition: i32 },
}

/// Why a record means nothing to us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("a key of version {version}, which no broker up to 3.9 writes")]
    UnknownKey { version: i16 },
    #[error("a value of version {version}, which no broker up to 3.9 writes")]
    UnknownValue { version: i16 },
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why a batch of records cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl Key {
    pub fn decode(bytes: Bytes) -> Result<Key, RecordError> {
        let mut reader = Reader::new(bytes);
        match reader.i16()? {
            version @ 0..=OFFSET_KEY => {
                let OffsetCommitKey { group, topic, partition } =
                    OffsetCommitKey::decode(&mut reader, version)?;
                Ok(Key::Offset { group, topic, partition })
            }
            GROUP_KEY => Ok(Key::Group { group: GroupMetadataKey::decode(&mut reader, GROUP_KEY)?.group }),
            version => Err(RecordError::UnknownKey { version }),
        }
    }

    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        match self {
            Key::Group { group } => versioned(GROUP_KEY, &GroupMetadataKey { group: group.clone() }),
            Key::Offset { group, topic, partition } => {
                let key =
                    OffsetCommitKey { group: group.clone(), topic: topic.clone(), partition: *partition };
                versioned(OFFSET_KEY, &key)
            }
        }
    }
}

/// The value that goes with [`Key::Group`].
pub fn decode_group(bytes: Bytes) -> Result<GroupMetadataValue, RecordError> {
    decode_value(bytes).map(|(_, value)| value)
}

/// The value that goes with [`Key::Group`], in version 3.
pub fn encode_group(value: &GroupMetadataValue) -> Result<Bytes, EncodeError> {
    versioned(GROUP_VALUE, value)
}

/// The value that goes with [`Key::Offset`].
pub fn decode_offset(bytes: Bytes) -> Result<CommittedOffset, RecordError> {
    let (version, value): (_, OffsetCommitValue) = decode_value(bytes)?;
    let expires = version == EXPIRING_OFFSET_VALUE && value.expire_timestamp != -1;
    Ok(CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata,
        commit_time_ms: value.commit_timestamp,
        expire_time_ms: expires.then_some(value.expire_timestamp),
    })
}

/// The value that goes with [`Key::Offset`]: in version 3, or in version 1 if it has an expiry time,
/// which loses the leader epoch.
pub fn encode_offset(offset: &CommittedOffset) -> Result<Bytes, EncodeError> {
    let value = OffsetCommitValue {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.clone(),
        commit_timestamp: offset.commit_time_ms,
        expire_timestamp: offset.expire_time_ms.unwrap_or(-1),
    };
    let version = if offset.expire_time_ms.is_some() { EXPIRING_OFFSET_VALUE } else { OFFSET_VALUE };
    versioned(version, &value)
}

/// A key, and its value or `None` for a tombstone, as they go into a batch.
pub type Encoded = (Bytes, Option<Bytes>);

/// A group's present state, or the end of it.
pub fn group_record(group: &Str, value: Option<&GroupMetadataValue>) -> Result<Encoded, EncodeError> {
    let key = Key::Group { group: group.clone() };
    Ok((key.encode()?, value.map(encode_group).transpose()?))
}

/// A committed offset, or the end of it.
pub fn offset_record(
    group: &Str,
    topic: &Str,
    partition: i32,
    offset: Option<&CommittedOffset>,
) -> Result<Encoded, EncodeError> {
    let key = Key::Offset { group: group.clone(), topic: topic.clone(), partition };
    Ok((key.encode()?, offset.map(encode_offset).transpose()?))
}

/// What a batch holds: Kafka numbers those of commits, though nobody wrote them idempotently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Commits,
    /// Groups and tombstones.
    Groups,
}

/// One batch of records as a coordinator appends it, its offsets and leader epoch not yet set.
pub fn batch(
    records: &[Encoded],
    content: Content,
    compression: Compression,
    now_ms: i64,
) -> Result<Vec<u8>, WriteError> {
    let producer = match content {
        Content::Groups => Producer::NONE,
        Content::Commits => Producer { base_sequence: 0, ..Producer::NONE },
    };
    let mut batch = BatchBuilder::new(BatchOptions { compression, producer, ..BatchOptions::default() })?;
    for (key, value) in records {
        batch.push(&NewRecord {
            timestamp: now_ms,
            key: Some(key),
            value: value.as_deref(),
            headers: &[],
        })?;
    }
    Ok(batch.finish()?)
}

fn versioned<M: Message>(version: i16, message: &M) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version)?;
    writer.finish().into_bytes().map_err(EncodeError::File)
}

fn decode_value<M: Message>(bytes: Bytes) -> Result<(i16, M), RecordError> {
    let mut reader = Reader::new(bytes);
    match reader.i16()? {
        version @ 0..=VALUE_MAX => Ok((version, M::decode(&mut reader, version)?)),
        version => Err(RecordError::UnknownValue { version }),
    }
}

#[cfg(test)]
mod tests;
