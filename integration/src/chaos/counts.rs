//! What a run has come to so far, counted by everybody who takes part.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use broker::clock::Now;

use crate::checker::Event;

#[derive(Debug)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) given_up: AtomicU64,
    pub(super) consumed: AtomicU64,
    pub(super) committed: AtomicU64,
    /// What clients complained about, without those records that were given up.
    pub(super) errors: AtomicU64,
    acknowledgements: Mutex<BTreeMap<i32, Vec<Instant>>>,
    /// The next offset after what each group was given.
    read: Mutex<BTreeMap<(String, i32), i64>>,
    complaints: Mutex<BTreeMap<String, u64>>,
    remarks: Mutex<Vec<String>>,
}

/// Kinds of complaints that are kept.
const COMPLAINTS_MAX: usize = 200;

/// Lines of a client's log that are kept.
const REMARKS_MAX: usize = 100_000;

impl Counts {
    pub(super) fn new() -> Counts {
        Counts {
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            consumed: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            acknowledgements: Mutex::default(),
            read: Mutex::default(),
            complaints: Mutex::default(),
            remarks: Mutex::default(),
        }
    }

    pub(super) fn acknowledge(&self, partition: i32) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        let mut all = self.acknowledgements.lock().unwrap_or_else(PoisonError::into_inner);
        let times = all.entry(partition).or_default();
        let now = Instant::now();
        // A batch's records are acknowledged together; their first and last times are enough.
        match times.as_slice() {
            [.., before, last] if now - *before < Duration::from_millis(2) => {
                let _ = last;
                times.pop();
                times.push(now);
            }
            _ => times.push(now),
        }
    }

    pub(super) fn read(&self, group: &str, partition: i32, offset: i64) {
        self.consumed.fetch_add(1, Ordering::Relaxed);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let next = read.entry((String::from(group), partition)).or_default();
        *next = (*next).max(offset + 1);
    }

    /// Where groups were not given everything before these ends.
    pub(super) fn behind(&self, groups: &[&str], ends: &BTreeMap<i32, i64>) -> Vec<Event> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let all =
            groups.iter().flat_map(|group| ends.iter().map(move |(partition, end)| (group, partition, end)));
        let behind = all.filter_map(|(group, partition, end)| {
            let group = String::from(*group);
            let next = read.get(&(group.clone(), *partition)).copied().unwrap_or(0);
            (next < *end).then_some(Event::Behind { group, partition: *partition, next, end: *end })
        });
        behind.collect()
    }

    pub(super) fn complain(&self, who: &str, what: &impl std::fmt::Display) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!("{who}: {what}");
        if complaints.len() < COMPLAINTS_MAX || complaints.contains_key(&text) {
            *complaints.entry(text).or_default() += 1;
        }
    }

    /// A line of a client's log, with the time at which it came.
    pub(super) fn remark(&self, line: &str) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        if remarks.len() < REMARKS_MAX {
            remarks.push(format!("{} {line}\n", Now::read().unix_ms));
        }
    }

    pub(super) fn remarks(&self) -> String {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).concat()
    }

    /// What was complained about, and how often.
    pub(super) fn complaints(&self) -> String {
        let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.iter().map(|(text, count)| format!("{count:>7} {text}\n")).collect()
    }

    /// The longest time between two acknowledgements of one partition that overlaps the given time.
    pub(super) fn longest_gap(&self, from: Instant, to: Instant) -> Option<(i32, Duration)> {
        let all = self.acknowledgements.lock().unwrap_or_else(PoisonError::into_inner);
        let gaps = all.iter().filter_map(|(partition, times)| {
            let first = times.partition_point(|at| *at < from).saturating_sub(1);
            let times = times.get(first..)?;
            let last = times.partition_point(|at| *at < to);
            let times = times.get(..times.len().min(last + 1))?;
            // Still without an acknowledgement: it lasts until now.
            let open = times.last().filter(|at| **at < to).map(|at| to - *at);
            let gaps = times.windows(2).filter_map(|pair| Some(*pair.last()? - *pair.first()?));
            Some((*partition, gaps.chain(open).max()?))
        });
        gaps.max_by_key(|(_, gap)| *gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_was_given_nothing_is_behind_and_one_at_the_ends_is_not() {
        let counts = Counts::new();
        counts.read("read", 0, 4);
        let behind = counts.behind(&["read", "stuck"], &BTreeMap::from([(0, 5), (1, 0)]));
        let stuck = Event::Behind { group: String::from("stuck"), partition: 0, next: 0, end: 5 };
        assert_eq!(behind, [stuck]);
    }
}
