//! How long to wait before the next attempt.

use std::time::Duration;

/// The first retries come soon: most failures are a leader that has not heard of its role yet.
const FIRST: Duration = Duration::from_millis(20);

/// Doubles from 20 ms up to the configured back-off; `failures` counts those in a row.
pub(super) fn backoff(failures: u32, most: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST.saturating_mul(1 << doublings).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit() {
        let most = Duration::from_millis(100);
        let waits: Vec<u128> = [1, 2, 3, 4, 5, u32::MAX].map(|n| backoff(n, most).as_millis()).into();
        assert_eq!(waits, [20, 40, 80, 100, 100, 100]);
    }
}
