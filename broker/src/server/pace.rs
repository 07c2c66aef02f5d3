//! Whether a frame gets on, and how soon it matters that it does not.
//!
//! Pure: time is an argument.

use std::time::{Duration, Instant};

/// A frame gets on if it grows by so many bytes a second, which a client on a poor line reaches.
pub(super) const PACE: u64 = 64 << 10;

/// So far behind that pace may be who keeps a few others waiting,
pub(super) const PATIENCE: Duration = Duration::from_secs(4);

/// and so far who keeps many waiting: a line that works is rarely silent for longer between two packets, unless a round
/// trip takes most of it.
pub(super) const LEAST_PATIENCE: Duration = Duration::from_millis(250);

/// The progress of one frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Until then it has sent as much as [`PACE`] asks for. What came sooner is no credit for later.
    due: Instant,
}

impl Pace {
    pub(super) fn begin(now: Instant) -> Pace {
        Pace { due: now }
    }

    /// So many more bytes have come.
    pub(super) fn received(&mut self, bytes: usize, now: Instant) {
        let nanos = (bytes as u64).saturating_mul(1_000_000_000) / PACE;
        self.due = self.due.checked_add(Duration::from_nanos(nanos)).map_or(now, |due| due.min(now));
    }

    /// How far it is behind.
    pub(super) fn lag(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.due)
    }
}

/// How far a frame may be behind while others wait for so many bytes of a budget. Frames of a whole
/// budget take their turn every so often, so the time that all turns take together hardly grows with
/// the number of those who wait.
pub(super) fn patience(wanted: usize, budget: usize) -> Duration {
    let turns = wanted as f64 / budget.max(1) as f64;
    PATIENCE.div_f64(1.0 + turns).max(LEAST_PATIENCE)
}

/// The same for the frame that passes the budget: only one can, and all who wait need it to get on.
pub(super) fn patience_to_pass(patience: Duration) -> Duration {
    (patience / 4).max(LEAST_PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_is_behind_catches_up_but_nobody_gets_ahead() {
        let start = Instant::now();
        let mut pace = Pace::begin(start);
        assert_eq!(pace.lag(start + 3 * SECOND), 3 * SECOND);
        pace.received(PACE as usize, start + 3 * SECOND);
        assert_eq!(pace.lag(start + 3 * SECOND), 2 * SECOND);
        pace.received(usize::MAX, start + 3 * SECOND);
        assert_eq!(pace.lag(start + 3 * SECOND), Duration::ZERO);
        assert_eq!(pace.lag(start + 4 * SECOND), SECOND, "a frame that came quickly and stopped");
    }

    #[test]
    fn a_poor_line_is_never_behind_and_a_trickle_always() {
        let start = Instant::now();
        let [mut poor, mut trickle] = [Pace::begin(start); 2];
        for packet in 1..=1000 {
            let now = start + packet * Duration::from_millis(100);
            assert!(poor.lag(now) < LEAST_PATIENCE);
            poor.received(PACE as usize / 10, now);
            trickle.received(10, now);
        }
        assert!(trickle.lag(start + 100 * SECOND) > 90 * SECOND);
    }

    #[test]
    fn patience_grows_short_with_what_is_waited_for() {
        assert_eq!(patience(0, 16), PATIENCE);
        assert_eq!(patience(16, 16), PATIENCE / 2);
        assert_eq!(patience(48, 16), PATIENCE / 4);
        assert_eq!(patience(usize::MAX, 16), LEAST_PATIENCE);
        assert_eq!(patience(1, 0), PATIENCE / 2);
    }
}
