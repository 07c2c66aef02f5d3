//! The one place where the data plane reads the time; everything below is told it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time of an event, by both clocks: lag is measured on the one that never jumps, records
/// and files are stamped with the other.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub monotonic: Instant,
    /// Milliseconds since 1970.
    pub unix_ms: i64,
}

impl Now {
    pub fn read() -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { monotonic: Instant::now(), unix_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX) }
    }
}
