//! The bytes of `<offset>.snapshot`: producers as they were up to an offset (Kafka's `ProducerStateManager.java`).
//!
//! Version 1 (i16), CRC-32C of all that follows it (u32), count (i32), then 46 bytes for each producer. Only
//! the last batch of a producer is kept.

use std::collections::VecDeque;

use client::ids::Offset;
use thiserror::Error;

use super::producer_state::{ProducedBatch, ProducerState, ProducerStates};

const VERSION: i16 = 1;
const ENTRY_LEN: usize = 46;
const CHECKED_FROM: usize = 6;

/// Why a snapshot cannot be used. An older one, or the log itself, stands in for it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum SnapshotError {
    #[error("its version is {found}, only {VERSION} is known")]
    UnknownVersion { found: i16 },
    #[error("its checksum is {stored:#x}, its content has {computed:#x}")]
    WrongChecksum { stored: u32, computed: u32 },
    #[error("it ends too early")]
    Truncated,
}

pub(super) fn encode(states: &ProducerStates) -> Vec<u8> {
    let producers = states.iter();
    let mut body = Vec::with_capacity(4 + producers.len() * ENTRY_LEN);
    body.extend_from_slice(&i32::try_from(producers.len()).unwrap_or(i32::MAX).to_be_bytes());
    for (producer_id, state) in producers {
        let none =
            ProducedBatch { last_sequence: -1, last_offset: Offset(-1), offset_delta: 0, timestamp: -1 };
        let last = state.batches.back().copied().unwrap_or(none);
        body.extend_from_slice(&producer_id.to_be_bytes());
        body.extend_from_slice(&state.epoch.to_be_bytes());
        body.extend_from_slice(&last.last_sequence.to_be_bytes());
        body.extend_from_slice(&last.last_offset.0.to_be_bytes());
        body.extend_from_slice(&last.offset_delta.to_be_bytes());
        body.extend_from_slice(&state.last_timestamp.to_be_bytes());
        body.extend_from_slice(&state.coordinator_epoch.to_be_bytes());
        body.extend_from_slice(&state.open_txn.map_or(-1, |first| first.0).to_be_bytes());
    }
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<(i64, ProducerState)>, SnapshotError> {
    let mut head = Fields(bytes);
    let version = i16::from_be_bytes(head.take()?);
    if version != VERSION {
        return Err(SnapshotError::UnknownVersion { found: version });
    }
    let stored = u32::from_be_bytes(head.take()?);
    let computed = crc32c::crc32c(bytes.get(CHECKED_FROM..).unwrap_or_default());
    if stored != computed {
        return Err(SnapshotError::WrongChecksum { stored, computed });
    }
    let count = usize::try_from(i32::from_be_bytes(head.take()?)).map_err(|_| SnapshotError::Truncated)?;
    if head.0.len() / ENTRY_LEN < count {
        return Err(SnapshotError::Truncated);
    }
    head.0.chunks_exact(ENTRY_LEN).take(count).map(|entry| decode_entry(Fields(entry))).collect()
}

fn decode_entry(mut fields: Fields<'_>) -> Result<(i64, ProducerState), SnapshotError> {
    let producer_id = i64::from_be_bytes(fields.take()?);
    let epoch = i16::from_be_bytes(fields.take()?);
    let last_sequence = i32::from_be_bytes(fields.take()?);
    let last_offset = Offset(i64::from_be_bytes(fields.take()?));
    let offset_delta = i32::from_be_bytes(fields.take()?);
    let timestamp = i64::from_be_bytes(fields.take()?);
    let coordinator_epoch = i32::from_be_bytes(fields.take()?);
    let open_txn = Offset(i64::from_be_bytes(fields.take()?));
    let last = ProducedBatch { last_sequence, last_offset, offset_delta, timestamp };
    let state = ProducerState {
        epoch,
        batches: VecDeque::from_iter((last_offset.0 >= 0).then_some(last)),
        last_timestamp: timestamp,
        coordinator_epoch,
        open_txn: (open_txn.0 >= 0).then_some(open_txn),
    };
    Ok((producer_id, state))
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(SnapshotError::Truncated)?;
        self.0 = rest;
        Ok(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_snapshot_is_kafkas() {
        let bytes = encode(&ProducerStates::default());
        assert_eq!(bytes, [0, 1, 0x48, 0x67, 0x4b, 0xc7, 0, 0, 0, 0]);
        assert_eq!(decode(&bytes), Ok(vec![]));
    }

    #[test]
    fn round_trips_and_notices_any_damage() {
        let batch =
            ProducedBatch { last_sequence: 9, last_offset: Offset(40), offset_delta: 3, timestamp: 1_000 };
        let idempotent = ProducerState {
            epoch: 2,
            batches: VecDeque::from([batch]),
            last_timestamp: 1_000,
            coordinator_epoch: -1,
            open_txn: None,
        };
        let transactional = ProducerState {
            epoch: 0,
            batches: VecDeque::new(),
            last_timestamp: 2_000,
            coordinator_epoch: 7,
            open_txn: Some(Offset(41)),
        };
        let mut states = ProducerStates::default();
        states.restore(5, idempotent.clone());
        states.restore(6, transactional.clone());
        let bytes = encode(&states);
        assert_eq!(bytes.len(), 10 + 2 * ENTRY_LEN);
        assert_eq!(decode(&bytes), Ok(vec![(5, idempotent), (6, transactional)]));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }
}
