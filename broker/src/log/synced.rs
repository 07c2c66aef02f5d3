//! What of a log the disk may hold already.

use std::sync::atomic::{AtomicUsize, Ordering};

use client::ids::Offset;

/// How far syncs reached.
#[derive(Debug)]
pub(super) struct Synced {
    /// Nothing from here on was ever synced.
    until: Offset,
    /// Begun, and their outcome is not known here: they take along what is appended meanwhile.
    under_way: AtomicUsize,
}

impl Synced {
    /// Of a log that was found to end at `end`: whoever stopped before may have synced all of it.
    pub(super) fn up_to(end: Offset) -> Synced {
        Synced { until: end, under_way: AtomicUsize::new(0) }
    }

    pub(super) fn begins(&self) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
    }

    /// A sync has ended, with or without success, and the log ends at `end` now.
    pub(super) fn ended(&mut self, end: Offset) {
        let under_way = self.under_way.get_mut();
        *under_way = under_way.saturating_sub(1);
        self.until = self.until.max(end);
    }

    /// Whether a loss of power may bring back what is cut off from `offset` on.
    pub(super) fn may_hold(&self, offset: Offset) -> bool {
        offset < self.until || self.under_way.load(Ordering::Acquire) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_sync_may_have_reached_may_come_back() {
        let mut synced = Synced::up_to(Offset(5));
        assert!(synced.may_hold(Offset(4)) && !synced.may_hold(Offset(5)), "found at the start");
        synced.begins();
        synced.begins();
        assert!(synced.may_hold(Offset(9)), "it may be on its way");
        synced.ended(Offset(8));
        assert!(synced.may_hold(Offset(9)), "the other one is");
        synced.ended(Offset(7));
        assert!(synced.may_hold(Offset(7)) && !synced.may_hold(Offset(8)));
    }
}
