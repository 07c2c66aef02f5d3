//! What the answers of brokers mean for a partition. Pure.

use std::time::Instant;

use bytes::Bytes;

use super::super::chunk::{Aborted, Chunk};
use super::super::record::{Isolation, Position};
use super::options::FetchOptions;
use super::partitions::{Check, Fresh, Partitions, Sent, Trouble};
use crate::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use crate::wire::messages::fetch_response::PartitionData;
use crate::wire::messages::offset_for_leader_epoch_response::EpochEndOffset;
use crate::wire::{ErrorCode, Records};

/// When an answer came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// In 0..1, for the length of pauses.
    pub(super) chance: f64,
}

impl Partitions {
    /// A partition's part of an answer to a fetch. True: who leads it is to be looked up again.
    pub(super) fn fetched(
        &mut self,
        id: &TopicPartition,
        sent: &Sent,
        from: BrokerId,
        data: PartitionData,
        options: &FetchOptions,
        at: Moment,
    ) -> bool {
        let Some(slot) = self.current(id, sent) else { return false };
        let from_leader = from == sent.leader.broker;
        match ErrorCode::from_code(data.error_code) {
            ErrorCode::None if data.preferred_read_replica >= 0 && from_leader => {
                let replica = BrokerId(data.preferred_read_replica);
                slot.preferred = Some((replica, at.now + options.preferred_replica_age));
                slot.succeed();
                false
            }
            ErrorCode::None => {
                slot.succeed();
                self.take_records(id, sent, data, options);
                false
            }
            // A follower need not have as much as the leader, and may keep less.
            ErrorCode::OffsetOutOfRange if !from_leader => {
                slot.preferred = None;
                false
            }
            ErrorCode::OffsetOutOfRange => {
                self.rest(id, Trouble::OutOfRange);
                false
            }
            error if is_passing(error) => {
                slot.preferred = None;
                slot.fail(at.now, at.chance, options);
                true
            }
            error => {
                self.rest(id, Trouble::Refused(error));
                false
            }
        }
    }

    fn take_records(
        &mut self,
        id: &TopicPartition,
        sent: &Sent,
        data: PartitionData,
        options: &FetchOptions,
    ) {
        let bytes = match data.records {
            Some(Records::Memory(bytes)) => bytes,
            // What is decoded from the wire is in memory.
            Some(Records::File(_)) | None => Bytes::new(),
        };
        let aborted = data.aborted_transactions.unwrap_or_default();
        let aborted = aborted.into_iter().map(|transaction| Aborted {
            first_offset: Offset(transaction.first_offset),
            producer_id: transaction.producer_id,
        });
        let end = Offset(match options.isolation {
            Isolation::ReadCommitted if data.last_stable_offset >= 0 => data.last_stable_offset,
            _ => data.high_watermark,
        });
        if let Some(slot) = self.slots.get_mut(id) {
            slot.end = Some(end);
            slot.empty_answers += u64::from(bytes.is_empty());
        }
        if bytes.is_empty() {
            return;
        }
        match Chunk::new(bytes, sent.position, aborted.collect(), options.max_partition_bytes) {
            Ok(chunk) => self.add(id, Fresh { chunk, end }),
            Err(cause) => self.rest(id, Trouble::Corrupt(cause)),
        }
    }

    /// The end of a position's epoch in the leader's log. True: who leads is to be looked up again.
    pub(super) fn checked(
        &mut self,
        check: &Check,
        answer: &EpochEndOffset,
        options: &FetchOptions,
        at: Moment,
    ) -> bool {
        let Some(slot) =
            self.current(&check.id, &check.sent()).filter(|slot| slot.leader == Some(check.leader))
        else {
            return false;
        };
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {
                let known = answer.end_offset >= 0 && answer.leader_epoch >= 0;
                if !known
                    && check.leader.epoch != LeaderEpoch::NONE
                    && check.leader.epoch < check.position.epoch
                {
                    // It led before that epoch: somebody else does since, and has what was read.
                    slot.fail(at.now, at.chance, options);
                    return true;
                }
                slot.succeed();
                if known && check.position.offset.0 <= answer.end_offset {
                    slot.unchecked = false;
                } else {
                    let diverged = known
                        .then(|| Position::new(Offset(answer.end_offset), LeaderEpoch(answer.leader_epoch)));
                    self.rest(&check.id, Trouble::Truncated(diverged));
                }
                false
            }
            error if is_passing(error) => {
                slot.fail(at.now, at.chance, options);
                true
            }
            error => {
                self.rest(&check.id, Trouble::Refused(error));
                false
            }
        }
    }

    /// The leader is too old to compare epochs in a way that says when it does not lead.
    pub(super) fn uncheckable(&mut self, check: &Check) {
        if let Some(slot) = self.current(&check.id, &check.sent()) {
            slot.unchecked = false;
        }
    }

    /// No answer came.
    pub(super) fn unanswered(
        &mut self,
        id: &TopicPartition,
        sent: &Sent,
        options: &FetchOptions,
        at: Moment,
    ) {
        // Another leader need not suffer for it.
        if let Some(slot) = self.current(id, sent).filter(|slot| slot.leader == Some(sent.leader)) {
            slot.preferred = None;
            slot.fail(at.now, at.chance, options);
        }
    }
}

/// Whether the same request may succeed later, or with another broker.
fn is_passing(error: ErrorCode) -> bool {
    // What goes wrong in a broker need not go wrong again.
    error == ErrorCode::UnknownServerError || (error.is_retriable() && error != ErrorCode::CorruptMessage)
}
