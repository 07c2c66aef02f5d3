//! How long to wait before the next attempt.

use std::time::Duration;

/// The first retries come soon: most failures are a leader that has not heard of its role yet.
const FIRST: Duration = Duration::from_millis(5);

/// Doubles from 5 ms up to the configured back-off; `failures` counts those in a row.
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
        let waits: Vec<u128> = [1, 2, 3, 5, 6, u32::MAX].map(|n| backoff(n, most).as_millis()).into();
        assert_eq!(waits, [5, 10, 20, 80, 100, 100]);
    }
}
