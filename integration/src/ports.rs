//! Ports on loopback for the processes a test starts.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below Linux's range for outgoing connections, so that no client's socket takes a port
/// between its choice here and its use (or while a killed broker is away).
const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port nobody listens on, given out once by this process. Processes start at different places of the range.
pub fn free_port() -> u16 {
    let span = LAST - FIRST;
    let start = (std::process::id() % u32::from(span)) as u16;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start.wrapping_mul(13) % span + step) % span;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {LAST}")
}
