//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// Asks `condition` every 20 ms until it yields a value; panics after `limit`, saying `what` did not happen.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
