//! Reading the keys of the dirty part.

use client::ids::Offset;
use client::record::compression::DEFAULT_DECOMPRESSED_MAX_BYTES;
use client::record::legacy::{LegacyError, for_each_message};
use client::record::{AnyBatch, payload, records};

use super::cleaning::CleaningLimits;
use super::offset_map::OffsetMap;
use crate::log::error::UnreadableRecords;

/// The newest offset of each key below an offset; records from there on are not to be judged.
#[derive(Debug)]
pub(super) struct NewestOffsets {
    pub(super) map: OffsetMap,
    pub(super) end: Offset,
}

impl NewestOffsets {
    pub(super) fn new(limits: &CleaningLimits, start: Offset) -> NewestOffsets {
        let map = OffsetMap::new(limits.dedupe_bytes, limits.load_factor, limits.secret);
        NewestOffsets { map, end: start }
    }
}

/// Whether a batch's keys were noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    All,
    /// None of them was: a key's older offset must stay known until the batch with its newer one is taken too.
    NoRoom,
}

/// Notes the offsets of a batch's keys, from `start` on. A batch for which there is no room is taken all the same if it
/// is the first, or compaction would never come past it.
pub(super) fn put_keys(
    map: &mut OffsetMap,
    batch: &AnyBatch<'_>,
    start: Offset,
) -> Result<Put, UnreadableRecords> {
    let records_at_most =
        batch.header().map_or(1, |header| usize::try_from(header.record_count).unwrap_or(0));
    if !map.is_empty() && map.room() < records_at_most {
        return Ok(Put::NoRoom);
    }
    let mut put = |key: Option<&[u8]>, offset: Offset| {
        if let Some(key) = key.filter(|_| offset >= start) {
            map.put(key, offset);
        }
    };
    let Some(header) = batch.header() else {
        for_each_message::<LegacyError>(batch, DEFAULT_DECOMPRESSED_MAX_BYTES, |message| {
            put(message.key, message.offset);
            Ok(())
        })?;
        return Ok(Put::All);
    };
    let bytes = payload(batch, DEFAULT_DECOMPRESSED_MAX_BYTES)?;
    for record in records(header, &bytes) {
        let record = record?;
        put(record.key, record.offset);
    }
    Ok(Put::All)
}
