//! Signals that ask a tool to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, caught from now on.
pub(super) struct Interrupts {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Interrupts {
    /// Must be called within a runtime of tokio. A signal that cannot be caught ends the process, as ever.
    pub(super) fn new() -> Interrupts {
        Interrupts {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    /// Completes with the exit code by which Java tells of the signal.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            () = next_of(&mut self.interrupt) => 130,
            () = next_of(&mut self.terminate) => 143,
        }
    }
}

async fn next_of(signal: &mut Option<Signal>) {
    let came = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if came.is_none() {
        std::future::pending().await
    }
}
