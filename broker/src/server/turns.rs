//! Whose turn it is to pass the budget: the one that waits longest has half of the time, and the one
//! that needs least the other half.
//!
//! By time and not by number, since most of those that need least are done at once, and a silent one is
//! borne for a while: of a thousand small frames each would wait for another silent one.
//!
//! Pure: time is an argument.

use std::time::{Duration, Instant};

use super::pace::{PATIENCE, patience_to_pass};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    LeastNeeded,
    LongestWaiting,
}

/// How the time was shared while anybody waited.
#[derive(Debug, Default)]
pub(super) struct Turns {
    current: Option<(Turn, Instant)>,
    /// What one of the two kinds has had more than the other; zero for the other.
    least_needed: Duration,
    longest_waiting: Duration,
}

impl Turns {
    pub(super) fn next(&self) -> Turn {
        if self.least_needed <= self.longest_waiting { Turn::LeastNeeded } else { Turn::LongestWaiting }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.current = Some((self.next(), now));
    }

    /// The one that passed the budget does so no more.
    pub(super) fn end(&mut self, now: Instant) {
        let Some((turn, began)) = self.current.take() else { return };
        // In turn where no time passes.
        let took = now.saturating_duration_since(began).max(Duration::from_nanos(1));
        match turn {
            Turn::LeastNeeded => self.least_needed += took,
            Turn::LongestWaiting => self.longest_waiting += took,
        }
        let both = self.least_needed.min(self.longest_waiting);
        for had in [&mut self.least_needed, &mut self.longest_waiting] {
            // Who had the longest turn of all for itself does not pay for it with more than another.
            *had = (*had - both).min(patience_to_pass(PATIENCE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(turns: &mut Turns, now: &mut Instant, took: Duration) -> Turn {
        let turn = turns.next();
        turns.begin(*now);
        *now += took;
        turns.end(*now);
        turn
    }

    #[test]
    fn both_kinds_have_as_much_time() {
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        let millis = Duration::from_millis;
        assert_eq!(after(&mut turns, &mut now, millis(1)), Turn::LeastNeeded);
        assert_eq!(after(&mut turns, &mut now, millis(301)), Turn::LongestWaiting);
        for _ in 0..301 {
            assert_eq!(after(&mut turns, &mut now, millis(1)), Turn::LeastNeeded);
        }
        assert_eq!(after(&mut turns, &mut now, millis(0)), Turn::LongestWaiting);
    }

    #[test]
    fn where_no_time_passes_they_take_turns() {
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(after(&mut turns, &mut now, Duration::ZERO), Turn::LeastNeeded);
            assert_eq!(after(&mut turns, &mut now, Duration::ZERO), Turn::LongestWaiting);
        }
    }

    #[test]
    fn a_very_long_turn_is_soon_made_up_for() {
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        assert_eq!(after(&mut turns, &mut now, PATIENCE * 1000), Turn::LeastNeeded);
        assert_eq!(after(&mut turns, &mut now, PATIENCE / 4), Turn::LongestWaiting);
        assert_eq!(turns.next(), Turn::LeastNeeded);
    }
}
