//! Where two logs part, found from their leader epoch histories (KIP-101, KIP-279, KIP-595).
//!
//! A history is a list of (epoch, first offset). An epoch's end is where the next one begins.
//! Pure: histories are asked by the caller, this decides what their answers mean.

use client::ids::{LeaderEpoch, Offset};

/// The largest epoch not above one asked for, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    pub epoch: LeaderEpoch,
    pub end: Offset,
}

/// The leader's finding about a fetch that says which epoch the fetcher's last record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divergence {
    /// The fetcher's log is a prefix of ours, as far as its last epoch tells.
    None,
    /// The fetcher has to drop records; this tells it which.
    At(EpochEnd),
    /// Our history does not reach back to that epoch: the fetcher has to ask for our offsets.
    OutOfRange,
}

/// `ours` is our own history's answer for `last_fetched`.
pub fn divergence(last_fetched: LeaderEpoch, fetch_offset: Offset, ours: Option<EpochEnd>) -> Divergence {
    match ours {
        None => Divergence::OutOfRange,
        Some(found) if found.epoch < last_fetched || found.end < fetch_offset => Divergence::At(found),
        Some(_) => Divergence::None,
    }
}

/// What a follower does about its leader's finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// The end of the log afterwards; never beyond its present end.
    pub to: Offset,
    /// False: the histories have no epoch in common yet. Ask again with the epoch that is last
    /// once the log is cut.
    pub complete: bool,
}

/// Decides on `leader`'s answer, where `own` is the follower's own history's answer for
/// `leader.epoch` and `own_end` its log's end. An answer without epoch or offset (−1) tells
/// nothing, so everything that is not known to be replicated goes: up to `high_watermark`.
pub fn truncation(
    leader: EpochEnd,
    own: Option<EpochEnd>,
    own_end: Offset,
    high_watermark: Offset,
) -> Truncation {
    let (to, complete) = match own {
        _ if leader.end.0 < 0 => (high_watermark, true),
        _ if leader.epoch.0 < 0 => (leader.end, true),
        None => (leader.end, true),
        Some(own) if own.epoch == leader.epoch => (own.end.min(leader.end), true),
        Some(own) => (own.end, false),
    };
    let to = if crate::mutants::lacks("truncate-off-by-one") { to + 1 } else { to };
    Truncation { to: to.min(own_end), complete }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A log as the epoch of each of its records; offsets are indexes.
    type Epochs = Vec<i32>;

    /// Kafka's `LeaderEpochFileCache.endOffsetFor`, over a model log.
    fn end_for(log: &Epochs, epoch: LeaderEpoch) -> Option<EpochEnd> {
        let newest = *log.last()?;
        if epoch.0 < 0 || epoch.0 > newest {
            return None;
        }
        let end = log.iter().position(|e| *e > epoch.0).unwrap_or(log.len());
        let found = log[..end].last().copied().unwrap_or(epoch.0);
        Some(EpochEnd { epoch: LeaderEpoch(found), end: Offset(end as i64) })
    }

    fn latest(log: &Epochs) -> LeaderEpoch {
        log.last().map_or(LeaderEpoch::NONE, |e| LeaderEpoch(*e))
    }

    /// Fetches until the leader finds nothing to complain about; the follower's log then.
    fn settle(mut follower: Epochs, leader: &Epochs) -> Epochs {
        for _ in 0..100 {
            let (last, end) = (latest(&follower), Offset(follower.len() as i64));
            if last == LeaderEpoch::NONE {
                return follower;
            }
            let Divergence::At(found) = divergence(last, end, end_for(leader, last)) else {
                return follower;
            };
            let cut = truncation(found, end_for(&follower, found.epoch), end, Offset(0));
            assert!(cut.to <= end);
            assert!(cut.to < end, "a divergence that cuts nothing repeats for ever");
            follower.truncate(cut.to.0 as usize);
        }
        panic!("never settled");
    }

    /// Histories as the protocol makes them: at each step one of three logs leads a new epoch,
    /// appends, and the others may copy some of it after dropping what differs.
    fn histories() -> impl Strategy<Value = (Epochs, Epochs)> {
        let step = (0..3usize, 0..4usize, proptest::collection::vec(0..8usize, 3));
        proptest::collection::vec(step, 1..8).prop_map(|steps| {
            let mut logs = vec![Epochs::new(); 3];
            for (epoch, (leader, records, copied)) in steps.into_iter().enumerate() {
                let lead = logs[leader].clone();
                logs[leader].extend(std::iter::repeat_n(epoch as i32, records));
                let leading = logs[leader].clone();
                for (id, most) in copied.into_iter().enumerate() {
                    if id != leader && most > 0 {
                        let common = common_prefix(&logs[id], &leading);
                        let take = leading.len().min(common + most);
                        logs[id] = leading[..take].to_vec();
                    }
                }
                drop(lead);
            }
            // Whoever leads now has recorded an epoch newer than all others'.
            let mut leader = logs[0].clone();
            leader.push(1000);
            (logs[1].clone(), leader)
        })
    }

    fn common_prefix(a: &Epochs, b: &Epochs) -> usize {
        a.iter().zip(b).take_while(|(x, y)| x == y).count()
    }

    proptest! {
        #[test]
        fn settling_leaves_exactly_the_common_prefix((follower, leader) in histories()) {
            let common = common_prefix(&follower, &leader);
            prop_assert_eq!(settle(follower.clone(), &leader), leader[..common].to_vec());
        }
    }

    fn end(epoch: i32, end: i64) -> EpochEnd {
        EpochEnd { epoch: LeaderEpoch(epoch), end: Offset(end) }
    }

    #[test]
    fn a_log_without_the_leaders_epoch_is_cut_step_by_step() {
        let follower: Epochs = vec![0, 0, 1, 1, 3, 3];
        let leader: Epochs = vec![0, 0, 1, 1, 2, 2, 4];
        let found = end_for(&leader, LeaderEpoch(3)).expect("asked below the newest");
        assert_eq!(found, end(2, 6));
        let cut = truncation(found, end_for(&follower, found.epoch), Offset(6), Offset(0));
        assert_eq!(cut, Truncation { to: Offset(4), complete: false });
        assert_eq!(settle(follower, &leader), vec![0, 0, 1, 1]);
    }

    #[test]
    fn an_answer_without_offset_cuts_to_the_high_watermark() {
        let cut = truncation(end(-1, -1), None, Offset(10), Offset(7));
        assert_eq!(cut, Truncation { to: Offset(7), complete: true });
        let cut = truncation(end(-1, 8), Some(end(2, 10)), Offset(10), Offset(7));
        assert_eq!(cut, Truncation { to: Offset(8), complete: true });
    }

    #[test]
    fn a_log_is_never_extended() {
        let cut = truncation(end(3, 50), Some(end(3, 10)), Offset(10), Offset(5));
        assert_eq!(cut, Truncation { to: Offset(10), complete: true });
        let cut = truncation(end(3, 50), None, Offset(10), Offset(5));
        assert_eq!(cut, Truncation { to: Offset(10), complete: true });
    }

    #[test]
    fn an_epoch_the_leader_has_no_history_of_is_out_of_range() {
        assert_eq!(divergence(LeaderEpoch(5), Offset(3), None), Divergence::OutOfRange);
        assert_eq!(divergence(LeaderEpoch(5), Offset(3), Some(end(5, 3))), Divergence::None);
        assert_eq!(divergence(LeaderEpoch(5), Offset(4), Some(end(5, 3))), Divergence::At(end(5, 3)));
        assert_eq!(divergence(LeaderEpoch(5), Offset(3), Some(end(4, 3))), Divergence::At(end(4, 3)));
    }
}
