//! What is said while nothing happens.

use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

/// How long nothing is said.
const SILENCE: Duration = Duration::from_secs(2);

/// Does it, and calls `tell` once if that takes long.
pub(super) async fn told<F: Future>(doing: F, tell: impl FnOnce()) -> F::Output {
    let mut doing = pin!(doing);
    match timeout(SILENCE, doing.as_mut()).await {
        Ok(done) => done,
        Err(_) => {
            tell();
            doing.await
        }
    }
}

/// The same, telling a person at a terminal that the cluster is waited for. Output that goes to a program stays
/// exactly Kafka's.
pub(super) async fn shown<F: Future>(doing: F) -> F::Output {
    told(doing, || {
        let mut err = std::io::stderr();
        if err.is_terminal() {
            let _ = err.write_all(b"Waiting for the cluster to answer; Ctrl-C ends the tool.\n");
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_takes_long_is_told() {
        for (ms, expected) in [(1_000, false), (3_000, true)] {
            let is_told = Cell::new(false);
            told(tokio::time::sleep(Duration::from_millis(ms)), || is_told.set(true)).await;
            assert_eq!(is_told.get(), expected, "{ms} ms");
        }
    }
}
