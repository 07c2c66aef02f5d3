//! Entries of a log or of a records field: batches of magic 2, messages of magic 0 and 1.
//!
//! All start with an offset and a size and have their magic at the same place, so that a walk needs
//! no records. The offset of a message of magic 0 or 1 is that of its last (mostly only) record.

use std::ops::Deref;

use thiserror::Error;

use super::NO_TIMESTAMP;
use super::attributes::{Attributes, TimestampType};
use super::batch::{BatchError, BatchHeader, HEADER_LEN, LOG_OVERHEAD, MAGIC_AT, compute_crc};
use super::endian::{i8_at, i32_at, i64_at, u32_at};
use crate::ids::{LeaderEpoch, Offset};

/// Bytes that must be there to tell what an entry is.
pub const HEADER_UP_TO_MAGIC: usize = MAGIC_AT + 1;
/// Bytes of a message of magic 0 without key and value, as its size field counts them.
pub const MESSAGE_OVERHEAD_V0: usize = 14;
/// The same for magic 1, which has a timestamp.
pub const MESSAGE_OVERHEAD_V1: usize = 22;

const MESSAGE_CRC_AT: usize = 12;
const MESSAGE_CHECKED_FROM: usize = 16;
const MESSAGE_ATTRIBUTES_AT: usize = 17;
const MESSAGE_TIMESTAMP_AT: usize = 18;

/// The bytes at an entry's place cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EntryError {
    #[error("{found} bytes are too few for the head of a record batch")]
    HeadTruncated { found: usize },
    #[error("record size {size} is less than the minimum record overhead ({minimum})")]
    SizeTooSmall { size: i32, minimum: usize },
    #[error("invalid magic found in record: {magic}")]
    UnknownMagic { magic: i8 },
}

/// What all entries have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    /// Of the first record for magic 2, of the last one for magic 0 and 1.
    pub offset: Offset,
    /// Bytes of the whole entry, the first twelve included.
    pub size: usize,
    pub magic: i8,
}

impl EntryHeader {
    /// Reads an entry's first 17 bytes; more may follow.
    pub fn parse(bytes: &[u8]) -> Result<EntryHeader, EntryError> {
        let truncated = EntryError::HeadTruncated { found: bytes.len() };
        let offset = Offset(i64_at(bytes, 0).ok_or(truncated)?);
        let size = i32_at(bytes, 8).ok_or(truncated)?;
        // Kafka judges the size before it looks whether the magic has arrived.
        let too_small = |minimum| EntryError::SizeTooSmall { size, minimum };
        let payload = usize::try_from(size).map_err(|_| too_small(MESSAGE_OVERHEAD_V0))?;
        if payload < MESSAGE_OVERHEAD_V0 {
            return Err(too_small(MESSAGE_OVERHEAD_V0));
        }
        let magic = i8_at(bytes, MAGIC_AT).ok_or(truncated)?;
        let minimum = match magic {
            0 => MESSAGE_OVERHEAD_V0,
            1 => MESSAGE_OVERHEAD_V1,
            2 => HEADER_LEN - LOG_OVERHEAD,
            magic => return Err(EntryError::UnknownMagic { magic }),
        };
        if payload < minimum {
            return Err(too_small(minimum));
        }
        Ok(EntryHeader { offset, size: LOG_OVERHEAD + payload, magic })
    }
}

/// What a log needs to know of an entry, whatever its format; read from its first bytes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSummary {
    entry: EntryHeader,
    attributes: Attributes,
    max_timestamp: i64,
    /// Only for magic 2.
    header: Option<BatchHeader>,
}

impl BatchSummary {
    /// Reads the summary of the entry that `bytes` start with. [`HEADER_LEN`] bytes are always
    /// enough; a shorter entry must be there whole.
    pub fn parse(bytes: &[u8]) -> Result<BatchSummary, BatchError> {
        let entry = EntryHeader::parse(bytes)?;
        if entry.magic == 2 {
            let header = BatchHeader::parse(bytes)?;
            return Ok(BatchSummary {
                entry,
                attributes: header.attributes,
                max_timestamp: header.max_timestamp,
                header: Some(header),
            });
        }
        let truncated = || BatchError::Truncated {
            needed: MESSAGE_TIMESTAMP_AT + if entry.magic == 0 { 0 } else { 8 },
            found: bytes.len(),
        };
        let attributes = i8_at(bytes, MESSAGE_ATTRIBUTES_AT).ok_or_else(truncated)?;
        let max_timestamp = match entry.magic {
            0 => NO_TIMESTAMP,
            _ => i64_at(bytes, MESSAGE_TIMESTAMP_AT).ok_or_else(truncated)?,
        };
        let attributes = Attributes(i16::from(attributes) & if entry.magic == 0 { 0x07 } else { 0x0f });
        Ok(BatchSummary { entry, attributes, max_timestamp, header: None })
    }

    pub fn magic(&self) -> i8 {
        self.entry.magic
    }

    /// Bytes of the whole entry.
    pub fn size(&self) -> usize {
        self.entry.size
    }

    /// The offset the entry starts with: of the first record for magic 2, else of the last one.
    pub fn entry_offset(&self) -> Offset {
        self.entry.offset
    }

    /// The offset of the first record. `None` for a compressed message set: only its inside tells
    /// (see [`legacy`](super::legacy)).
    pub fn base_offset(&self) -> Option<Offset> {
        (self.header.is_some() || !self.attributes.is_compressed()).then_some(self.entry.offset)
    }

    pub fn last_offset(&self) -> Offset {
        self.header.map_or(self.entry.offset, |header| header.last_offset())
    }

    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// The greatest timestamp of the records; [`NO_TIMESTAMP`] in format 0.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    pub fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// The epoch of the leader that appended the entry; none before magic 2.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.header.map_or(LeaderEpoch::NONE, |header| header.leader_epoch)
    }

    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// The whole header, for magic 2.
    pub fn header(&self) -> Option<&BatchHeader> {
        self.header.as_ref()
    }
}

/// One whole entry with its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AnyBatch<'a> {
    summary: BatchSummary,
    bytes: &'a [u8],
}

impl<'a> AnyBatch<'a> {
    /// The entry that `bytes` start with; the rest is not looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<AnyBatch<'a>, BatchError> {
        let size = EntryHeader::parse(bytes)?.size;
        let bytes = bytes.get(..size).ok_or(BatchError::Truncated { needed: size, found: bytes.len() })?;
        Ok(AnyBatch { summary: BatchSummary::parse(bytes)?, bytes })
    }

    pub fn summary(&self) -> &BatchSummary {
        &self.summary
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Compares the stored checksum with the bytes.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let (stored, computed) = if self.summary.header.is_some() {
            (self.summary.header.map(|header| header.crc), compute_crc(self.bytes))
        } else {
            let checked = self.bytes.get(MESSAGE_CHECKED_FROM..);
            (u32_at(self.bytes, MESSAGE_CRC_AT), checked.map(crc32fast::hash))
        };
        match (stored, computed) {
            (Some(stored), Some(computed)) if stored == computed => Ok(()),
            (Some(stored), Some(computed)) => Err(BatchError::Crc { stored, computed }),
            _ => Err(BatchError::Truncated { needed: self.summary.size(), found: self.bytes.len() }),
        }
    }

    /// What follows the header of a batch of magic 2: its records, compressed or not.
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.summary.header.and_then(|_| self.bytes.get(HEADER_LEN..))
    }
}

impl Deref for AnyBatch<'_> {
    type Target = BatchSummary;

    fn deref(&self) -> &BatchSummary {
        &self.summary
    }
}

impl std::fmt::Debug for AnyBatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.summary.fmt(f)
    }
}

/// How a run of entries ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// With the last byte.
    Clean,
    /// In the middle of an entry, as after a crash or at the cut of a fetch. `needed` is the size of
    /// that entry, or what is needed to tell it.
    Torn { position: usize, needed: usize },
    /// With bytes that no entry starts with.
    Corrupt { position: usize, error: EntryError },
}

/// Walks the whole entries of a byte slice. Checksums are not looked at.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    rest: &'a [u8],
    position: usize,
    stopped: Option<Tail>,
}

/// The entries of `bytes`, in order. The walk ends before the first that is not whole;
/// [`Batches::tail`] then says why.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes, position: 0, stopped: None }
}

impl<'a> Batches<'a> {
    /// Bytes of the entries walked over so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How the bytes end, once the walk is over; before that, `Clean`.
    pub fn tail(&self) -> Tail {
        self.stopped.unwrap_or(Tail::Clean)
    }

    fn judge_end(&self) -> Tail {
        if self.rest.is_empty() {
            return Tail::Clean;
        }
        let position = self.position;
        match EntryHeader::parse(self.rest) {
            Ok(entry) => Tail::Torn { position, needed: entry.size },
            Err(EntryError::HeadTruncated { .. }) => Tail::Torn { position, needed: HEADER_UP_TO_MAGIC },
            Err(error) => Tail::Corrupt { position, error },
        }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = AnyBatch<'a>;

    fn next(&mut self) -> Option<AnyBatch<'a>> {
        if self.stopped.is_some() {
            return None;
        }
        let Ok(batch) = AnyBatch::parse(self.rest) else {
            self.stopped = Some(self.judge_end());
            return None;
        };
        self.rest = self.rest.get(batch.size()..).unwrap_or(&[]);
        self.position += batch.size();
        Some(batch)
    }
}

impl std::iter::FusedIterator for Batches<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Codec;

    /// A message of magic 0 or 1 without key and value.
    fn message(offset: i64, magic: u8, attributes: u8) -> Vec<u8> {
        let mut checked = vec![magic, attributes];
        if magic == 1 {
            checked.extend_from_slice(&77_i64.to_be_bytes());
        }
        checked.extend_from_slice(&(-1_i32).to_be_bytes());
        checked.extend_from_slice(&(-1_i32).to_be_bytes());
        let mut entry = offset.to_be_bytes().to_vec();
        entry.extend_from_slice(&(checked.len() as i32 + 4).to_be_bytes());
        entry.extend_from_slice(&crc32fast::hash(&checked).to_be_bytes());
        entry.extend_from_slice(&checked);
        entry
    }

    #[test]
    fn old_messages_are_summed_up() {
        let v0 = message(5, 0, 0x0a);
        let batch = AnyBatch::parse(&v0).unwrap();
        assert_eq!((batch.size(), batch.magic(), batch.max_timestamp()), (26, 0, NO_TIMESTAMP));
        assert_eq!((batch.base_offset(), batch.last_offset()), (None, Offset(5)));
        assert_eq!(batch.attributes().codec(), Ok(Codec::Snappy));
        assert_eq!(batch.timestamp_type(), TimestampType::CreateTime, "format 0 has no such bit");
        batch.check_crc().unwrap();

        let v1 = message(6, 1, 0x08);
        let batch = AnyBatch::parse(&v1).unwrap();
        assert_eq!((batch.size(), batch.magic(), batch.max_timestamp()), (34, 1, 77));
        assert_eq!((batch.base_offset(), batch.last_offset()), (Some(Offset(6)), Offset(6)));
        assert_eq!(batch.timestamp_type(), TimestampType::LogAppendTime);
        batch.check_crc().unwrap();
    }

    #[test]
    fn a_walk_ends_before_the_first_torn_entry() {
        let whole = [message(0, 0, 0), message(1, 1, 0), message(2, 1, 0)].concat();
        let ends = [0, 26, 60, 94];
        for len in 0..=whole.len() {
            let mut walk = batches(&whole[..len]);
            let seen = walk.by_ref().count();
            let fits = ends.iter().filter(|end| **end <= len).count() - 1;
            assert_eq!((seen, walk.position()), (fits, ends[fits]), "{len} bytes");
            let expected = match len - ends[fits] {
                0 => Tail::Clean,
                1..HEADER_UP_TO_MAGIC => Tail::Torn { position: ends[fits], needed: HEADER_UP_TO_MAGIC },
                _ => Tail::Torn { position: ends[fits], needed: ends[fits + 1] - ends[fits] },
            };
            assert_eq!(walk.tail(), expected, "{len} bytes");
        }
    }

    #[test]
    fn a_walk_names_what_cannot_be_an_entry() {
        let mut bytes = message(0, 0, 0);
        bytes.extend_from_slice(&[0; 17]);
        let mut walk = batches(&bytes);
        assert_eq!(walk.by_ref().count(), 1);
        let error = EntryError::SizeTooSmall { size: 0, minimum: 14 };
        assert_eq!(walk.tail(), Tail::Corrupt { position: 26, error });

        let mut walk = {
            bytes[MAGIC_AT] = 3;
            batches(&bytes)
        };
        assert_eq!(walk.next(), None);
        assert_eq!(walk.tail(), Tail::Corrupt { position: 0, error: EntryError::UnknownMagic { magic: 3 } });
    }

    #[test]
    fn every_flipped_bit_under_the_checksum_is_noticed() {
        let good = message(0, 1, 0);
        for bit in MESSAGE_CRC_AT * 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let noticed = AnyBatch::parse(&bad).and_then(|batch| batch.check_crc());
            assert!(noticed.is_err(), "bit {bit}");
        }
    }
}
