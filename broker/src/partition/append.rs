//! The leader's append, and the wait until it is replicated.

use std::sync::Arc;

use client::ids::{LeaderEpoch, Offset};

use super::leader::{Leader, Moment};
use super::{Partition, PartitionError};
use crate::clock::Now;
use crate::log::{Appended, LogError};

/// How many replicas a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredAcks {
    None,
    Leader,
    All,
}

impl RequiredAcks {
    /// `None` if `acks` is not 0, 1 or −1.
    pub fn from_wire(acks: i16) -> Option<RequiredAcks> {
        match acks {
            0 => Some(RequiredAcks::None),
            1 => Some(RequiredAcks::Leader),
            -1 => Some(RequiredAcks::All),
            _ => None,
        }
    }
}

/// Records that are in the leader's log.
#[derive(Debug)]
pub struct Append {
    pub appended: Appended,
    pub log_start: Offset,
    /// The epoch they were appended in.
    pub epoch: LeaderEpoch,
    /// The high watermark that means every replica in sync has them.
    pub required: Offset,
}

impl Partition {
    /// Appends validated batches, whose offsets and leader epoch are set here in place. With
    /// [`RequiredAcks::All`] the append is refused while too few replicas are in sync; whoever
    /// asked for it then awaits [`Partition::wait_for`].
    pub fn append_as_leader(
        &self,
        batches: &mut [u8],
        acks: RequiredAcks,
        now: Now,
    ) -> Result<Append, PartitionError> {
        self.append(batches, acks, None, now)
    }

    /// The same, if this broker has led since `term` began, without interruption. Who decides by what
    /// it has read of the log must not write behind what another leader wrote meanwhile.
    pub fn append_in_term(
        &self,
        batches: &mut [u8],
        acks: RequiredAcks,
        term: LeaderEpoch,
        now: Now,
    ) -> Result<Append, PartitionError> {
        self.append(batches, acks, Some(term), now)
    }

    fn append(
        &self,
        batches: &mut [u8],
        acks: RequiredAcks,
        term: Option<LeaderEpoch>,
        now: Now,
    ) -> Result<Append, PartitionError> {
        self.change(now, |inner, moment| {
            let (leader, log) = inner.leading()?;
            if term.is_some_and(|term| term != leader.since()) {
                return Err(PartitionError::NotLeader);
            }
            if acks == RequiredAcks::All && !leader.has_enough_in_sync() {
                return Err(PartitionError::NotEnoughReplicas {
                    in_sync: leader.isr().committed().len(),
                    needed: leader.effective_min_isr(),
                });
            }
            let appended = log
                .append_as_leader(batches, leader.epoch(), now.unix_ms)
                .map_err(|error| refusal(error, leader, moment))?;
            leader.appended(log.end_offset(), moment);
            Ok(Append {
                required: appended.last_offset + 1,
                appended,
                log_start: log.start_offset(),
                epoch: leader.epoch(),
            })
        })
    }

    /// Returns when as many replicas have what was appended as `acks` asks for, or when that can no
    /// longer be known here. The caller sets the time limit.
    pub async fn wait_for(
        self: &Arc<Self>,
        acks: RequiredAcks,
        epoch: LeaderEpoch,
        required: Offset,
    ) -> Result<(), PartitionError> {
        if self.flushes_before_ack() {
            self.wait_for_flush(required).await?;
        }
        match acks {
            RequiredAcks::None | RequiredAcks::Leader => Ok(()),
            RequiredAcks::All => self.wait_for_acks(epoch, required).await,
        }
    }

    /// Returns when every replica in sync has what was appended, or when that can no longer be known here.
    pub async fn wait_for_acks(&self, epoch: LeaderEpoch, required: Offset) -> Result<(), PartitionError> {
        let mut facts = self.status.subscribe();
        loop {
            let verdict = facts.borrow_and_update().acks(epoch, required);
            if let Some(verdict) = verdict {
                return verdict;
            }
            if facts.changed().await.is_err() {
                return Err(PartitionError::NotLeader);
            }
        }
    }
}

/// Why records were not appended. Of two batches on their way the first may be refused by a broker that does not
/// lead yet, or no longer, and the second come to one that does. Kafka calls that out of order, upon which librdkafka
/// numbers anew all that it has in hand, and stores twice what other partitions have stored but not acknowledged yet.
/// It is told what it would have been told a moment before: to come back.
fn refusal(error: LogError, leader: &Leader, at: &Moment<'_>) -> PartitionError {
    match error {
        LogError::OutOfOrderSequence { producer_id, found, expected, last_offset, .. }
            if is_ahead(found, expected) && leader.may_precede(last_offset, at) =>
        {
            PartitionError::EarlierBatchToCome { producer_id, found, expected }
        }
        error => error.into(),
    }
}

/// Sequences begin again at 0 after `i32::MAX`.
fn is_ahead(found: i32, expected: i32) -> bool {
    found.wrapping_sub(expected) & i32::MAX < 1 << 30
}
