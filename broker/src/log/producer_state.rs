//! What a partition knows of its idempotent and transactional producers (KIP-98), kept by [`ProducerStates`].
//!
//! Deciding is pure: [`ProducerStates::check`] says what a batch is, [`ProducerStates::update`] applies one that
//! was appended. Writing and reading the `.snapshot` files is done by `producer_snapshot`.

use std::collections::{BTreeMap, VecDeque};

use client::ids::Offset;
use client::record::record::records;
use client::record::{AnyBatch, BatchHeader, NO_SEQUENCE};

use super::txn_index::AbortedTxn;

/// Batches of a producer that are remembered, so that a retry of any of them is recognised.
const REMEMBERED_BATCHES: usize = 5;

/// A batch of a producer that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducedBatch {
    pub last_sequence: i32,
    pub last_offset: Offset,
    pub offset_delta: i32,
    pub timestamp: i64,
}

impl ProducedBatch {
    pub fn first_offset(&self) -> Offset {
        self.last_offset + -i64::from(self.offset_delta)
    }

    fn first_sequence(&self) -> i32 {
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }
}

/// One producer's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    pub epoch: i16,
    /// Oldest first; empty when only markers were seen.
    pub batches: VecDeque<ProducedBatch>,
    /// Timestamp of the last batch or marker.
    pub last_timestamp: i64,
    /// −1 until a marker was seen.
    pub coordinator_epoch: i32,
    /// Where the transaction that is open now began.
    pub open_txn: Option<Offset>,
}

impl ProducerState {
    fn new(epoch: i16) -> ProducerState {
        ProducerState {
            epoch,
            batches: VecDeque::new(),
            last_timestamp: -1,
            coordinator_epoch: -1,
            open_txn: None,
        }
    }

    /// −1 when no batch is known.
    pub fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    fn last_offset(&self) -> Option<Offset> {
        self.batches.back().map(|batch| batch.last_offset)
    }

    fn expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.open_txn.is_none() && now_ms.saturating_sub(self.last_timestamp) >= expiration_ms
    }
}

/// What the leader does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceCheck {
    Accept,
    /// It is in the log already.
    Duplicate(ProducedBatch),
    /// The producer's sequence has a gap or went back.
    OutOfOrder {
        expected: i32,
        /// Where its newest batch ends, if one is known.
        last_offset: Option<Offset>,
    },
    /// A newer instance of the producer has written already.
    StaleEpoch {
        current: i16,
    },
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnMarker {
    Abort,
    Commit,
}

/// A transaction that has its marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompletedTxn {
    pub(super) producer_id: i64,
    pub(super) first_offset: Offset,
    pub(super) last_offset: Offset,
    pub(super) aborted: bool,
}

/// The marker that a control batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndOfTxn {
    pub(crate) marker: TxnMarker,
    pub(super) coordinator_epoch: i32,
}

/// The producers of a partition, up to an offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerStates {
    producers: BTreeMap<i64, ProducerState>,
    /// First offsets of transactions without a marker.
    open: BTreeMap<Offset, i64>,
    /// Last offsets, by first, of transactions whose marker is not yet below the high watermark.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl ProducerStates {
    /// Judges a batch that a producer sent to the leader. Batches without a producer id are always accepted.
    pub fn check(&self, batch: &BatchHeader) -> SequenceCheck {
        if !batch.has_producer_id() {
            return SequenceCheck::Accept;
        }
        let Some(state) = self.producers.get(&batch.producer_id) else { return SequenceCheck::Accept };
        if batch.producer_epoch < state.epoch {
            return SequenceCheck::StaleEpoch { current: state.epoch };
        }
        if batch.attributes.is_control() {
            return SequenceCheck::Accept;
        }
        if batch.producer_epoch > state.epoch {
            return match batch.base_sequence == 0 || state.epoch < 0 {
                true => SequenceCheck::Accept,
                false => SequenceCheck::OutOfOrder { expected: 0, last_offset: state.last_offset() },
            };
        }
        let same = |known: &&ProducedBatch| {
            known.first_sequence() == batch.base_sequence && known.last_sequence == batch.last_sequence()
        };
        if let Some(known) = state.batches.iter().find(same) {
            return SequenceCheck::Duplicate(*known);
        }
        let expected = match state.last_sequence() {
            NO_SEQUENCE => 0,
            last => last.wrapping_add(1) & i32::MAX,
        };
        match batch.base_sequence == expected {
            true => SequenceCheck::Accept,
            false => SequenceCheck::OutOfOrder { expected, last_offset: state.last_offset() },
        }
    }

    /// Applies a batch that is in the log, with its marker if it is a control batch that has one. Sequences are
    /// not judged: a follower takes what its leader took. Returns the transaction that the marker ended.
    pub(super) fn update(&mut self, batch: &BatchHeader, marker: Option<EndOfTxn>) -> Option<CompletedTxn> {
        if !batch.has_producer_id() {
            return None;
        }
        if batch.attributes.is_control() {
            return marker.and_then(|marker| self.end_txn(batch, marker));
        }
        let state = self.at_epoch(batch.producer_id, batch.producer_epoch);
        if state.batches.len() == REMEMBERED_BATCHES {
            state.batches.pop_front();
        }
        state.batches.push_back(ProducedBatch {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        state.last_timestamp = batch.max_timestamp;
        if batch.attributes.is_transactional() && state.open_txn.is_none() {
            state.open_txn = Some(batch.base_offset);
            self.open.insert(batch.base_offset, batch.producer_id);
        }
        None
    }

    fn end_txn(&mut self, batch: &BatchHeader, marker: EndOfTxn) -> Option<CompletedTxn> {
        let state = self.at_epoch(batch.producer_id, batch.producer_epoch);
        state.last_timestamp = batch.max_timestamp;
        state.coordinator_epoch = marker.coordinator_epoch;
        // A marker without records before it ends no transaction of this partition.
        let first_offset = state.open_txn.take()?;
        Some(CompletedTxn {
            producer_id: batch.producer_id,
            first_offset,
            last_offset: batch.base_offset,
            aborted: marker.marker == TxnMarker::Abort,
        })
    }

    /// Batches of an older epoch are no duplicates any more.
    fn at_epoch(&mut self, producer_id: i64, epoch: i16) -> &mut ProducerState {
        let state = self.producers.entry(producer_id).or_insert_with(|| ProducerState::new(epoch));
        if state.epoch != epoch {
            state.epoch = epoch;
            state.batches.clear();
        }
        state
    }

    /// The last stable offset once `txn` is over: the start of the oldest other open one.
    pub(super) fn last_stable_offset_after(&self, txn: &CompletedTxn) -> Offset {
        let next = self.open.keys().find(|first| **first != txn.first_offset);
        next.copied().unwrap_or(txn.last_offset + 1)
    }

    /// Closes a transaction returned by [`ProducerStates::update`]. It keeps the last stable offset back until
    /// its marker is replicated.
    pub(super) fn complete(&mut self, txn: &CompletedTxn) {
        self.open.remove(&txn.first_offset);
        self.unreplicated.insert(txn.first_offset, txn.last_offset);
    }

    /// The entry that an aborted transaction gets in the `.txnindex`.
    pub(super) fn aborted(&self, txn: &CompletedTxn) -> Option<AbortedTxn> {
        txn.aborted.then(|| AbortedTxn {
            producer_id: txn.producer_id,
            first_offset: txn.first_offset,
            last_offset: txn.last_offset,
            last_stable_offset: self.last_stable_offset_after(txn),
        })
    }

    /// What lies below a high watermark is replicated.
    pub(super) fn replicated_to(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, last| *last >= high_watermark);
    }

    /// The first offset that may belong to an undecided transaction.
    pub(super) fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.open.keys().next();
        let unreplicated = self.unreplicated.keys().next();
        open.into_iter().chain(unreplicated).min().copied()
    }

    /// Forgets producers that have been silent for long and have no open transaction; returns how many.
    pub(super) fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers.retain(|_, state| !state.expired(now_ms, expiration_ms));
        before - self.producers.len()
    }

    /// Records below the log's start are gone, and with them the transactions that ended there.
    pub(super) fn starts_at(&mut self, log_start: Offset) {
        self.unreplicated.retain(|_, last| *last >= log_start);
    }

    /// Takes a producer over from a snapshot.
    pub(super) fn restore(&mut self, producer_id: i64, state: ProducerState) {
        if let Some(first) = state.open_txn {
            self.open.insert(first, producer_id);
        }
        self.producers.insert(producer_id, state);
    }

    pub(super) fn clear(&mut self) {
        *self = ProducerStates::default();
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// All producers by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, &ProducerState)> {
        self.producers.iter().map(|(id, state)| (*id, state))
    }
}

/// Reads the marker that a control batch holds. `None` for a kind that is not the end of a transaction.
pub(crate) fn marker_of(batch: &AnyBatch<'_>) -> Option<EndOfTxn> {
    let record = records(batch.header()?, batch.payload()?).next()?.ok()?;
    let marker = match record.key?.get(2..4)? {
        [0, 0] => TxnMarker::Abort,
        [0, 1] => TxnMarker::Commit,
        _ => return None,
    };
    let coordinator_epoch = record.value?.get(2..)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))?;
    Some(EndOfTxn { marker, coordinator_epoch })
}
