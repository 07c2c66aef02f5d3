//! When a coordinator may tell what it has read.

use client::ids::{LeaderEpoch, Offset};

use crate::partition::Status;

/// What a coordinator read when it took over: its log up to an offset, in one term of leadership.
///
/// The end of that log is what its predecessor wrote last and may be nobody else's. If it was told to members, and
/// this broker then lost it, the next coordinator would give the same generation to others, and offsets would go
/// back. So it is told when the high watermark has passed it: what every replica in sync has, a later leader has too.
///
/// Kafka's classic coordinator reads to the log's end as well and tells of it at once
/// (`GroupMetadataManager.doLoadGroupsAndOffsets`); that of KIP-848 gives only offsets below the high watermark.
///
/// Who is in sync and does not fetch is waited for until it leaves the ISR (`replica.lag.time.max.ms`, or the end of
/// its session). While fewer are in sync than `min.insync.replicas` the high watermark stands still, and what is
/// beyond it is not told; nor could a generation or an offset be stored then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// The first epoch of the term.
    pub since: LeaderEpoch,
    /// After the last record that was read.
    pub end: Offset,
}

/// What a partition's facts say of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Every replica in sync has it.
    Replicated,
    /// Some may lack its end.
    Awaited,
    /// The term is over.
    Lost,
}

impl Loaded {
    pub fn standing(self, status: &Status) -> Standing {
        if !status.leads_since(self.since) {
            Standing::Lost
        } else if status.high_watermark < self.end {
            Standing::Awaited
        } else {
            Standing::Replicated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_stands_once_the_high_watermark_has_passed_it_in_the_same_term() {
        let loaded = Loaded { since: LeaderEpoch(3), end: Offset(10) };
        let status = |leading_since: Option<i32>, high_watermark| Status {
            epoch: LeaderEpoch(5),
            leading_since: leading_since.map(LeaderEpoch),
            high_watermark: Offset(high_watermark),
            end: Offset(12),
            ..Status::UNASSIGNED
        };
        for (status, standing) in [
            (status(Some(3), 9), Standing::Awaited),
            (status(Some(3), 10), Standing::Replicated),
            (status(Some(3), 12), Standing::Replicated),
            (status(Some(4), 12), Standing::Lost),
            (status(None, 9), Standing::Lost),
            (Status { offline: true, ..status(Some(3), 12) }, Standing::Lost),
        ] {
            assert_eq!(loaded.standing(&status), standing, "{status:?}");
        }
    }
}
