//! The attempts of one call: how many, until when, and with what pauses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep};

use super::AdminError;
use crate::connection::ConnectionError;

/// `reconnect.backoff.ms` and `retry.backoff.ms`: pauses double from here …
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// … to here (`reconnect.backoff.max.ms`, `retry.backoff.max.ms`).
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Attempts {
    call: &'static str,
    deadline: Instant,
    /// Requests that were sent.
    tries: u32,
    pause: Duration,
    last: Option<ConnectionError>,
}

impl Attempts {
    pub(super) fn begin(call: &'static str, within: Duration) -> Attempts {
        Attempts { call, deadline: Instant::now() + within, tries: 0, pause: FIRST_PAUSE, last: None }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// What is being done from now on, for the error if time runs out.
    pub(super) fn doing(&mut self, call: &'static str) {
        self.call = call;
    }

    /// The request is about to be sent.
    pub(super) fn sending(&mut self) {
        self.tries += 1;
    }

    /// No broker could be reached, or there was no answer.
    pub(super) fn failed(&mut self, cause: Option<ConnectionError>) {
        self.last = cause.or(self.last.take());
    }

    /// Waits a little longer each time; `false` if the time is up before the pause is over.
    pub(super) async fn pause(&mut self) -> bool {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        sleep(pause.min(self.remaining())).await;
        Instant::now() < self.deadline
    }

    pub(super) fn timed_out(self) -> AdminError {
        let cause = self.last.map(Box::new);
        if self.tries == 0 {
            return AdminError::NoBroker { call: self.call, cause };
        }
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        AdminError::TimedOut {
            call: self.call,
            tries: self.tries,
            deadline_ms: now_ms
                .saturating_add(self.deadline.saturating_duration_since(Instant::now()).as_millis()),
            next_try_ms: now_ms.saturating_add(self.pause.as_millis()),
            now_ms,
            cause,
        }
    }
}
