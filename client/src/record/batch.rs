//! The header of a record batch, magic 2 (KIP-98), and what is patched in it in place.

use thiserror::Error;

use super::attributes::{Attributes, Codec, TimestampType, UnknownCodec};
use super::endian::{i8_at, i16_at, i32_at, i64_at, put_i16, put_i32, put_i64, put_u32, u32_at};
use super::entry::EntryError;
use super::{NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP};
use crate::ids::{LeaderEpoch, Offset};

pub use super::entry::{AnyBatch, BatchSummary, Batches, EntryHeader, Tail, batches};

/// The newest and present record format.
pub const MAGIC: i8 = 2;
/// Bytes of a batch before its records.
pub const HEADER_LEN: usize = 61;
/// Bytes of any entry of a log before those that its size field counts: the offset and that field.
pub const LOG_OVERHEAD: usize = 12;
/// Position of the magic byte, the same in all formats, so that it can be told which one follows.
pub const MAGIC_AT: usize = 16;
/// Most records a batch can hold: offset deltas are 32 bits.
pub const MAX_RECORDS: usize = i32::MAX as usize;

const LENGTH_AT: usize = 8;
const LEADER_EPOCH_AT: usize = 12;
const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const RECORD_COUNT_AT: usize = 57;

/// Why bytes are not a usable batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    #[error("a record batch takes {needed} bytes, but only {found} are there")]
    Truncated { needed: usize, found: usize },
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("expected a batch of record format 2, found format {magic}")]
    NotV2 { magic: i8 },
    #[error("record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    Crc { stored: u32, computed: u32 },
    #[error(transparent)]
    Codec(#[from] UnknownCodec),
}

/// The header of a batch of magic 2, field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes of the batch after this field.
    pub batch_length: i32,
    /// Set by the leader; not under the CRC.
    pub leader_epoch: LeaderEpoch,
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    /// What record timestamps are counted from; the delete horizon where the attributes say so.
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header. `bytes` may hold less than the whole batch, and more.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let entry = EntryHeader::parse(bytes)?;
        if entry.magic != MAGIC {
            return Err(BatchError::NotV2 { magic: entry.magic });
        }
        Self::read(bytes).ok_or(BatchError::Truncated { needed: HEADER_LEN, found: bytes.len() })
    }

    fn read(bytes: &[u8]) -> Option<BatchHeader> {
        let header = bytes.get(..HEADER_LEN)?;
        Some(BatchHeader {
            base_offset: Offset(i64_at(header, 0)?),
            batch_length: i32_at(header, LENGTH_AT)?,
            leader_epoch: LeaderEpoch(i32_at(header, LEADER_EPOCH_AT)?),
            magic: i8_at(header, MAGIC_AT)?,
            crc: u32_at(header, CRC_AT)?,
            attributes: Attributes(i16_at(header, ATTRIBUTES_AT)?),
            last_offset_delta: i32_at(header, LAST_OFFSET_DELTA_AT)?,
            base_timestamp: i64_at(header, BASE_TIMESTAMP_AT)?,
            max_timestamp: i64_at(header, MAX_TIMESTAMP_AT)?,
            producer_id: i64_at(header, PRODUCER_ID_AT)?,
            producer_epoch: i16_at(header, PRODUCER_EPOCH_AT)?,
            base_sequence: i32_at(header, BASE_SEQUENCE_AT)?,
            record_count: i32_at(header, RECORD_COUNT_AT)?,
        })
    }

    /// The 61 bytes of this header, with the fields as they are (the CRC too).
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        let written = put_i64(&mut header, 0, self.base_offset.0)
            && put_i32(&mut header, LENGTH_AT, self.batch_length)
            && put_i32(&mut header, LEADER_EPOCH_AT, self.leader_epoch.0)
            && put_u32(&mut header, CRC_AT, self.crc)
            && put_i16(&mut header, ATTRIBUTES_AT, self.attributes.0)
            && put_i32(&mut header, LAST_OFFSET_DELTA_AT, self.last_offset_delta)
            && put_i64(&mut header, BASE_TIMESTAMP_AT, self.base_timestamp)
            && put_i64(&mut header, MAX_TIMESTAMP_AT, self.max_timestamp)
            && put_i64(&mut header, PRODUCER_ID_AT, self.producer_id)
            && put_i16(&mut header, PRODUCER_EPOCH_AT, self.producer_epoch)
            && put_i32(&mut header, BASE_SEQUENCE_AT, self.base_sequence)
            && put_i32(&mut header, RECORD_COUNT_AT, self.record_count);
        debug_assert!(written, "all fields lie within the header");
        if let Some(magic) = header.get_mut(MAGIC_AT) {
            *magic = self.magic.cast_unsigned();
        }
        header
    }

    /// The batch that is left when compaction took all records of this one: a header, whole, with the place, the
    /// producer and the greatest timestamp of before (Kafka's `DefaultRecordBatch.writeEmptyHeader`).
    pub fn emptied(&self) -> [u8; HEADER_LEN] {
        let attributes = Attributes::new(Codec::None, self.attributes.timestamp_type())
            .with_transactional(self.attributes.is_transactional())
            .with_control(self.attributes.is_control());
        let header = BatchHeader {
            batch_length: (HEADER_LEN - LOG_OVERHEAD) as i32,
            attributes,
            base_timestamp: NO_TIMESTAMP,
            record_count: 0,
            ..*self
        };
        let mut bytes = header.to_bytes();
        reset_crc(&mut bytes);
        bytes
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// The offset of the last record the batch was written with, whether or not compaction kept it.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// The sequence number of the last record; sequences wrap from 2³¹−1 to 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
        }
    }

    /// The time before which tombstones and markers of this batch may not be compacted away.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

/// The CRC-32C a batch of magic 2 should carry; `None` if `batch` is shorter than what comes before
/// the checked part.
pub(super) fn compute_crc(batch: &[u8]) -> Option<u32> {
    batch.get(ATTRIBUTES_AT..).map(crc32c::crc32c)
}

/// Splits one whole batch of magic 2 off `bytes`, which may be longer.
fn whole_batch(bytes: &mut [u8]) -> Result<(&mut [u8], BatchHeader), BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let found = bytes.len();
    let needed = header.size();
    let batch = bytes.get_mut(..needed).ok_or(BatchError::Truncated { needed, found })?;
    Ok((batch, header))
}

/// Gives the batch at the front of `bytes` its place in the log. Neither field is under the CRC.
pub fn assign(bytes: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) -> Result<(), BatchError> {
    let (batch, _) = whole_batch(bytes)?;
    let written = put_i64(batch, 0, base_offset.0) && put_i32(batch, LEADER_EPOCH_AT, leader_epoch.0);
    debug_assert!(written, "a parsed batch has a whole header");
    Ok(())
}

/// Sets what the timestamps of the batch at the front of `bytes` mean and the greatest of them,
/// and the CRC anew. Says whether anything changed.
///
/// As in Kafka's `DefaultRecordBatch.setMaxTimestamp`, a batch that has both already stays as it
/// is, and one that does not loses the attribute bits that mean nothing.
pub fn set_max_timestamp(
    bytes: &mut [u8],
    timestamp_type: TimestampType,
    max_timestamp: i64,
) -> Result<bool, BatchError> {
    let (batch, header) = whole_batch(bytes)?;
    if header.attributes.timestamp_type() == timestamp_type && header.max_timestamp == max_timestamp {
        return Ok(false);
    }
    let attributes = header.attributes.known_bits().with_timestamp_type(timestamp_type);
    let written =
        put_i16(batch, ATTRIBUTES_AT, attributes.0) && put_i64(batch, MAX_TIMESTAMP_AT, max_timestamp);
    debug_assert!(written, "a parsed batch has a whole header");
    reset_crc(batch);
    Ok(true)
}

/// Writes the right CRC into one whole batch.
pub(super) fn reset_crc(batch: &mut [u8]) {
    if let Some(crc) = compute_crc(batch) {
        let written = put_u32(batch, CRC_AT, crc);
        debug_assert!(written, "the CRC lies before the part it covers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(7),
            batch_length: 49,
            leader_epoch: LeaderEpoch(3),
            magic: MAGIC,
            crc: 0,
            attributes: Attributes(0x7f10),
            last_offset_delta: 4,
            base_timestamp: 1_000,
            max_timestamp: 2_000,
            producer_id: 9,
            producer_epoch: 1,
            base_sequence: i32::MAX - 1,
            record_count: 0,
        }
    }

    fn batch() -> Vec<u8> {
        let mut bytes = header().to_bytes().to_vec();
        reset_crc(&mut bytes);
        bytes
    }

    #[test]
    fn header_round_trips_and_derives_its_ends() {
        let parsed = BatchHeader::parse(&header().to_bytes()).unwrap();
        assert_eq!(parsed, header());
        assert_eq!(parsed.size(), 61);
        assert_eq!(parsed.last_offset(), Offset(11));
        assert_eq!(parsed.last_sequence(), 2, "sequences wrap past 2^31-1");
    }

    #[test]
    fn assigning_an_offset_keeps_the_crc_right() {
        let mut bytes = batch();
        assign(&mut bytes, Offset(1_000), LeaderEpoch(12)).unwrap();
        let batch = AnyBatch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        assert_eq!(batch.base_offset(), Some(Offset(1_000)));
        assert_eq!(batch.leader_epoch(), LeaderEpoch(12));
        assert_eq!(batch.last_offset(), Offset(1_004));
    }

    #[test]
    fn patching_timestamps_renews_the_crc_and_drops_unknown_bits() {
        let mut bytes = batch();
        assert_eq!(set_max_timestamp(&mut bytes, TimestampType::CreateTime, 2_000), Ok(false));
        assert_eq!(bytes, batch());
        assert_eq!(set_max_timestamp(&mut bytes, TimestampType::LogAppendTime, 5_000), Ok(true));
        let patched = AnyBatch::parse(&bytes).unwrap();
        patched.check_crc().unwrap();
        assert_eq!(patched.attributes(), Attributes(0x0018));
        assert_eq!(patched.max_timestamp(), 5_000);
    }

    #[test]
    fn an_emptied_batch_keeps_its_place_and_its_producer() {
        let full = BatchHeader { attributes: Attributes(0x75), record_count: 5, ..header() };
        let bytes = full.emptied();
        let batch = AnyBatch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        let expected = BatchHeader {
            attributes: Attributes(0x30),
            base_timestamp: -1,
            record_count: 0,
            crc: batch.header().unwrap().crc,
            ..full
        };
        assert_eq!(batch.header(), Some(&expected));
    }

    #[test]
    fn a_batch_cut_anywhere_is_an_error() {
        for len in 0..HEADER_LEN {
            let mut cut = batch();
            cut.truncate(len);
            assert!(BatchHeader::parse(&cut).is_err(), "{len} bytes");
            assert!(assign(&mut cut, Offset(1), LeaderEpoch(1)).is_err(), "{len} bytes");
        }
    }
}
