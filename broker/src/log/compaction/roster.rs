//! Which logs are being compacted, and which could not be: what several cleaners must agree on.

use std::collections::{BTreeMap, BTreeSet};

use client::ids::TopicPartition;

use super::cleanable::Cleanable;

/// First pause after a log could not be compacted; it doubles with each failure.
const FIRST_RETRY_MS: i64 = 60_000;
/// Longest pause. What damages a log does not heal, but a replica made anew or a log cut or retained past it does.
const LAST_RETRY_MS: i64 = 60 * 60_000;

/// The logs that cleaners have in hand or have to leave alone for a while.
#[derive(Debug, Default)]
pub struct Roster {
    in_progress: BTreeSet<TopicPartition>,
    failed: BTreeMap<TopicPartition, Failed>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    retry_at_ms: i64,
}

impl Roster {
    /// Whether a log may be compacted now.
    pub fn is_free(&self, partition: &TopicPartition, now_ms: i64) -> bool {
        let failed = self.failed.get(partition);
        !self.in_progress.contains(partition) && failed.is_none_or(|failed| failed.retry_at_ms <= now_ms)
    }

    /// Takes the dirtiest of the logs for which compaction is due.
    pub fn take_dirtiest(&mut self, logs: Vec<(TopicPartition, Cleanable)>) -> Option<TopicPartition> {
        let free = logs.into_iter().filter(|(partition, _)| !self.in_progress.contains(partition));
        let due = free.filter(|(_, cleanable)| cleanable.is_due());
        let (partition, _) = due.max_by(|(_, a), (_, b)| a.dirty_ratio().total_cmp(&b.dirty_ratio()))?;
        self.in_progress.insert(partition.clone());
        Some(partition)
    }

    /// Gives a log back.
    pub fn done(&mut self, partition: &TopicPartition) {
        self.in_progress.remove(partition);
        self.failed.remove(partition);
    }

    /// Gives a log back that could not be compacted, though nothing is wrong with it.
    pub fn put_off(&mut self, partition: &TopicPartition) {
        self.in_progress.remove(partition);
    }

    /// Gives a log back that cannot be compacted; says for how long it is left alone.
    pub fn failed(&mut self, partition: &TopicPartition, now_ms: i64) -> i64 {
        self.in_progress.remove(partition);
        let failed = self.failed.entry(partition.clone()).or_insert(Failed { times: 0, retry_at_ms: 0 });
        let pause_ms = FIRST_RETRY_MS.saturating_mul(1 << failed.times.min(16)).min(LAST_RETRY_MS);
        *failed =
            Failed { times: failed.times.saturating_add(1), retry_at_ms: now_ms.saturating_add(pause_ms) };
        pause_ms
    }

    /// Logs that could not be compacted when it was last tried.
    pub fn uncleanable(&self) -> impl ExactSizeIterator<Item = &TopicPartition> {
        self.failed.keys()
    }

    /// Forgets failures of logs that are gone.
    pub fn retain(&mut self, is_there: impl Fn(&TopicPartition) -> bool) {
        self.failed.retain(|partition, _| is_there(partition));
    }
}

#[cfg(test)]
mod tests {
    use client::ids::Offset;

    use super::*;

    fn log(topic: &str, clean_bytes: u64, dirty_bytes: u64, is_overdue: bool) -> (TopicPartition, Cleanable) {
        let dirty = Offset(0)..Offset(1);
        let cleanable = Cleanable { dirty, clean_bytes, dirty_bytes, is_overdue, min_dirty_ratio: 0.5 };
        (TopicPartition::new(topic, 0), cleanable)
    }

    fn check(logs: &[(TopicPartition, Cleanable)], expected: &[&str]) {
        let mut roster = Roster::default();
        let taken = std::iter::from_fn(|| roster.take_dirtiest(logs.to_vec()));
        let taken: Vec<String> = taken.map(|partition| partition.topic.to_string()).collect();
        assert_eq!(taken, expected);
    }

    #[test]
    fn the_dirtiest_comes_first_and_the_cleaner_ones_not_at_all() {
        check(&[], &[]);
        check(&[log("even", 50, 50, false), log("empty", 0, 0, true), log("clean", 9, 0, true)], &[]);
        check(
            &[log("dirty", 40, 60, false), log("dirtier", 0, 1, false), log("promised", 99, 1, true)],
            &["dirtier", "dirty", "promised"],
        );
    }

    #[test]
    fn failures_are_tried_again_at_growing_intervals() {
        let mut roster = Roster::default();
        let a = TopicPartition::new("a", 0);
        let pauses: Vec<i64> = (0..9).map(|_| roster.failed(&a, 0) / 60_000).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(!roster.is_free(&a, LAST_RETRY_MS - 1));
        assert!(roster.is_free(&a, LAST_RETRY_MS));
        assert_eq!(roster.uncleanable().len(), 1);
        assert_eq!(roster.take_dirtiest(vec![log("a", 0, 1, false)]), Some(a.clone()));
        assert!(!roster.is_free(&a, i64::MAX));
        roster.done(&a);
        assert!(roster.is_free(&a, 0));
        assert_eq!(roster.failed(&a, 0), FIRST_RETRY_MS);
    }
}
