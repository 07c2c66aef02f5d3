//! When groups have to be looked at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::Led;
use super::cell::Cell;
use crate::clock::Now;

/// The deadlines of a partition's groups. A group that was heard of meanwhile is looked at in vain
/// and scheduled anew, which is cheaper than to move its deadline with each sign of life.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: Mutex<Due>,
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Due {
    cells: BTreeMap<(Instant, u64), Arc<Cell>>,
    /// Tells cells with the same deadline apart.
    next: u64,
}

impl Timers {
    pub(super) fn add(&self, deadline: Instant, cell: Arc<Cell>) {
        let mut due = self.lock();
        let number = due.next;
        due.next += 1;
        let is_first = due.cells.first_key_value().is_none_or(|((first, _), _)| deadline < *first);
        due.cells.insert((deadline, number), cell);
        drop(due);
        if is_first {
            self.earlier.notify_one();
        }
    }

    fn next(&self) -> Option<Instant> {
        self.lock().cells.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    fn take_due(&self, now: Instant) -> Vec<Arc<Cell>> {
        let mut due = self.lock();
        let later = due.cells.split_off(&(now, u64::MAX));
        std::mem::replace(&mut due.cells, later).into_values().collect()
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
            for cell in self.timers.take_due(now.monotonic) {
                cell.expire(self, now);
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
