//! Which transactions the batches of a log belong to, while they are walked in order: data of aborted ones goes, and
//! a marker may go once none of its data is left (Kafka's `CleanedTransactionMetadata`).

use std::collections::{BTreeMap, BTreeSet};

use client::ids::Offset;
use client::record::{AnyBatch, BatchSummary};

use crate::log::producer_state::{TxnMarker, marker_of};
use crate::log::txn_index::AbortedTxn;

#[derive(Clone, Debug)]
pub(super) struct Transactions {
    /// Those still to come, the next one last.
    coming: Vec<AbortedTxn>,
    /// By producer.
    aborted: BTreeMap<i64, Ongoing>,
    /// Producers with data that will be committed.
    committed: BTreeSet<i64>,
}

#[derive(Clone, Debug)]
struct Ongoing {
    txn: AbortedTxn,
    /// Some of its data is still in the log.
    has_data: bool,
}

/// What is known of a marker when the walk has come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// None of its transaction's data was met.
    pub(super) is_needless: bool,
    /// What the `.txnindex` has to go on saying, since data of an aborted transaction was met.
    pub(super) aborted: Option<AbortedTxn>,
}

impl Transactions {
    /// `aborted` are the aborted transactions whose markers lie in the part to be walked, or behind it.
    pub(super) fn new(mut aborted: Vec<AbortedTxn>) -> Transactions {
        aborted.sort_by_key(|txn| std::cmp::Reverse(txn.first_offset));
        Transactions { coming: aborted, aborted: BTreeMap::new(), committed: BTreeSet::new() }
    }

    /// Walks over a batch of data; true if it was aborted.
    pub(super) fn data(&mut self, batch: &BatchSummary) -> bool {
        self.come_to(batch.last_offset());
        let Some(header) = batch.header().filter(|header| header.attributes.is_transactional()) else {
            return false;
        };
        match self.aborted.get_mut(&header.producer_id) {
            Some(ongoing) => ongoing.has_data = true,
            None => {
                self.committed.insert(header.producer_id);
                return false;
            }
        }
        true
    }

    /// Walks over a control batch.
    pub(super) fn control(&mut self, batch: &AnyBatch<'_>) -> Marker {
        self.come_to(batch.last_offset());
        let kept = Marker { is_needless: false, aborted: None };
        let needless = Marker { is_needless: true, aborted: None };
        let Some(header) = batch.header() else { return kept };
        if header.record_count == 0 {
            return needless;
        }
        match marker_of(batch).map(|end| end.marker) {
            Some(TxnMarker::Abort) => match self.aborted.remove(&header.producer_id) {
                Some(Ongoing { txn, has_data: true }) => Marker { aborted: Some(txn), ..kept },
                _ => needless,
            },
            Some(TxnMarker::Commit) if self.committed.remove(&header.producer_id) => kept,
            Some(TxnMarker::Commit) => needless,
            None => kept,
        }
    }

    fn come_to(&mut self, offset: Offset) {
        while let Some(txn) = self.coming.pop_if(|txn| txn.first_offset <= offset) {
            self.aborted.insert(txn.producer_id, Ongoing { txn, has_data: false });
        }
    }
}
