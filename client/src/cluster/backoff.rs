//! Pauses that double.

use std::time::Duration;

/// Pauses between attempts: the first, doubling up to the longest, each a fifth shorter or longer
/// by chance so that clients which failed together do not come back together (KIP-580).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// The pause after so many failures in a row; none before the first. `chance` lies in 0..1.
    pub fn pause(&self, failures: u32, chance: f64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let jitter = 0.8 + 0.4 * chance.clamp(0.0, 1.0);
        let longest = self.longest.max(self.first);
        self.first.saturating_mul(factor).min(longest).mul_f64(jitter).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_longest() {
        let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_millis(1_000) };
        let pauses = |chance: f64| [0, 1, 2, 3, 4, 5, 99].map(|n| backoff.pause(n, chance).as_millis());
        assert_eq!(pauses(0.5), [0, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(pauses(0.0), [0, 80, 160, 320, 640, 800, 800]);
        assert_eq!(pauses(1.0), [0, 120, 240, 480, 960, 1_000, 1_000]);
    }
}
