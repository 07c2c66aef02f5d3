//! Keeps work within a rate of bytes.

use std::time::{Duration, Instant};

/// Shorter pauses are saved up: a thread cannot sleep exactly.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// Bytes done so far, as the time they should have taken.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    due: Option<Instant>,
}

impl Throttle {
    /// Notes that `bytes` were done at `now`, and says how long to pause for the work not to go faster than
    /// `bytes_per_second`. Time without work is not saved up.
    pub(super) fn done(&mut self, bytes: usize, bytes_per_second: f64, now: Instant) -> Duration {
        let start = self.due.filter(|due| *due > now).unwrap_or(now);
        let seconds = bytes as f64 / bytes_per_second;
        // More than a day of debt is not believed: the rate is 0, or will be changed before.
        let cost =
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).min(Duration::from_secs(86_400));
        let due = start + cost;
        self.due = Some(due);
        Some(due.duration_since(now)).filter(|pause| *pause >= SHORTEST_PAUSE).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_add_up_to_the_rate() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        let mut now = start;
        for _ in 0..1000 {
            now += throttle.done(1_000, 100_000.0, now);
        }
        let took = now - start;
        assert!(took > Duration::from_millis(9_970) && took <= Duration::from_secs(10), "{took:?}");
        assert_eq!(throttle.done(1_000_000_000, f64::MAX, now + SHORTEST_PAUSE), Duration::ZERO);
        let later = now + Duration::from_secs(60);
        assert_eq!(throttle.done(5_000, 100_000.0, later), Duration::from_millis(50), "rest is not saved up");
        assert_eq!(throttle.done(1, 0.0, later + Duration::from_secs(1)), Duration::from_secs(86_400));
    }
}
