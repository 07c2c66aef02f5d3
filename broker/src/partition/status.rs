//! What those who wait for a partition look at.

use client::ids::{LeaderEpoch, Offset};

use super::PartitionError;

/// A partition's facts at one moment; every change is announced on a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// −1 until the controller has assigned a leader.
    pub epoch: LeaderEpoch,
    /// If this broker leads: the first epoch of its uninterrupted term. What was appended since
    /// then is still in the log.
    pub leading_since: Option<LeaderEpoch>,
    /// The log's directory failed.
    pub offline: bool,
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub end: Offset,
    /// The least log start among the leader and its live followers; the own one elsewhere.
    pub low_watermark: Offset,
    /// Whether as many replicas are, or may be, in sync as acks=all asks for.
    pub may_confirm: bool,
}

impl Status {
    /// Of a replica that was told no role yet.
    pub const UNASSIGNED: Status = Status {
        epoch: LeaderEpoch::NONE,
        leading_since: None,
        offline: false,
        log_start: Offset(0),
        high_watermark: Offset(0),
        last_stable_offset: Offset(0),
        end: Offset(0),
        low_watermark: Offset(0),
        may_confirm: false,
    };

    pub fn is_leader(&self) -> bool {
        self.leading_since.is_some()
    }

    /// Whether the term that began in epoch `since` goes on.
    pub fn leads_since(&self, since: LeaderEpoch) -> bool {
        !self.offline && self.leading_since == Some(since)
    }

    /// The verdict on an append made in `epoch` that ends before `required`; `None`: not yet.
    pub fn acks(&self, epoch: LeaderEpoch, required: Offset) -> Option<Result<(), PartitionError>> {
        if self.offline {
            return Some(Err(PartitionError::Offline));
        }
        if self.leading_since.is_none_or(|since| since > epoch) {
            return Some(Err(PartitionError::NotLeader));
        }
        let reached = if crate::mutants::lacks("ack-early") { self.end } else { self.high_watermark };
        if reached < required {
            return None;
        }
        Some(if self.may_confirm { Ok(()) } else { Err(PartitionError::NotEnoughReplicasAfterAppend) })
    }
}
