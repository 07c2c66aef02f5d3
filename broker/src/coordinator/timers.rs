//! When groups have to be looked at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::Led;
use super::cell::Cell;
use crate::clock::Now;

/// The deadlines of a partition's groups, at most one of each. A group that was heard of meanwhile is
/// looked at in vain and scheduled anew, which is cheaper than to move its deadline with each sign of life.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: Mutex<Due>,
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Due {
    cells: BTreeMap<Slot, Arc<Cell>>,
    /// Tells cells with the same deadline apart.
    next: u64,
}

/// A deadline's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    deadline: Instant,
    number: u64,
}

impl Slot {
    pub(super) fn deadline(self) -> Instant {
        self.deadline
    }
}

impl Timers {
    /// The deadline takes the place of an earlier one of the cell, if that has not come yet.
    pub(super) fn set(&self, before: Option<Slot>, deadline: Instant, cell: Arc<Cell>) -> Slot {
        let mut due = self.lock();
        if let Some(before) = before {
            due.cells.remove(&before);
        }
        let slot = Slot { deadline, number: due.next };
        due.next += 1;
        let is_first = due.cells.first_key_value().is_none_or(|(first, _)| deadline < first.deadline);
        due.cells.insert(slot, cell);
        drop(due);
        if is_first {
            self.earlier.notify_one();
        }
        slot
    }

    /// How many deadlines are waited for.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().cells.len()
    }

    fn next(&self) -> Option<Instant> {
        self.lock().cells.first_key_value().map(|(first, _)| first.deadline)
    }

    fn take_due(&self, now: Instant) -> BTreeMap<Slot, Arc<Cell>> {
        let mut due = self.lock();
        let later = due.cells.split_off(&Slot { deadline: now, number: u64::MAX });
        std::mem::replace(&mut due.cells, later)
    }

    fn lock(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Led {
    /// Lets deadlines come about, for ever.
    pub(super) async fn keep_time(self: &Arc<Self>) {
        loop {
            let now = Now::read();
            for (slot, cell) in self.timers.take_due(now.monotonic) {
                cell.expire(self, slot, now);
            }
            let earlier = self.timers.earlier.notified();
            match self.timers.next() {
                Some(next) => tokio::select! {
                    () = sleep_until(next.into()) => {}
                    () = earlier => {}
                },
                None => earlier.await,
            }
        }
    }
}
