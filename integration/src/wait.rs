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

/// Asks an asynchronous `condition` every 20 ms until it holds; panics after `limit`, saying `what` did not happen.
pub async fn until_holds(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
