//! Idempotent producers: what they send is in the log once, whatever dies meanwhile.

mod answers;
mod asker;
mod controller;
mod load;
mod restart;

use std::time::{SystemTime, UNIX_EPOCH};

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_millis() as i64
}
