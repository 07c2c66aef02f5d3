//! The follower's side of a partition: whom it follows in which epoch, and what it does with
//! what the leader answers.
//!
//! Pure: it decides; the caller cuts and appends to the log. The high watermark is the lower of
//! the leader's and the own log's end, and moves back only when the log is cut.

use client::ids::{BrokerId, LeaderEpoch, Offset};

/// The role of a broker that follows a partition's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    leader: BrokerId,
    epoch: LeaderEpoch,
}

/// How a follower goes on when its position is outside the leader's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reposition {
    /// The leader's log ends before ours: drop what it does not have.
    TruncateTo(Offset),
    /// The leader no longer has what would come next: drop everything, begin at its start.
    StartOver(Offset),
    /// The leader has our position after all: fetch on from our end.
    Continue,
}

/// Both ends of the leader's log, as ListOffsets tells them to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderOffsets {
    pub start: Offset,
    pub end: Offset,
}

impl Follower {
    pub fn new(leader: BrokerId, epoch: LeaderEpoch) -> Follower {
        Follower { leader, epoch }
    }

    pub fn leader(&self) -> BrokerId {
        self.leader
    }

    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }
}

/// The watermark of a follower whose log ends at `end` and whose leader announces `leaders`.
/// It does not fall while the log is not cut: a new leader may announce less at first.
pub fn high_watermark(present: Offset, leaders: Offset, end: Offset) -> Offset {
    let high_watermark = present.max(leaders.min(end));
    assert!(high_watermark <= end, "high watermark {high_watermark} is beyond the log's end {end}");
    high_watermark
}

/// Decides after the leader called our position out of range (Kafka's
/// `AbstractFetcherThread.fetchOffsetAndTruncate`).
pub fn reposition(own_end: Offset, leader: LeaderOffsets) -> Reposition {
    if leader.end < own_end {
        Reposition::TruncateTo(leader.end)
    } else if leader.start > own_end {
        Reposition::StartOver(leader.start)
    } else {
        Reposition::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositions_by_the_leaders_ends() {
        let leader = LeaderOffsets { start: Offset(10), end: Offset(20) };
        assert_eq!(reposition(Offset(25), leader), Reposition::TruncateTo(Offset(20)));
        assert_eq!(reposition(Offset(5), leader), Reposition::StartOver(Offset(10)));
        for within in [10, 15, 20] {
            assert_eq!(reposition(Offset(within), leader), Reposition::Continue);
        }
    }

    #[test]
    fn the_watermark_is_bounded_by_both_logs_and_does_not_fall() {
        assert_eq!(high_watermark(Offset(0), Offset(9), Offset(5)), Offset(5));
        assert_eq!(high_watermark(Offset(0), Offset(3), Offset(5)), Offset(3));
        assert_eq!(high_watermark(Offset(4), Offset(3), Offset(5)), Offset(4));
    }
}
