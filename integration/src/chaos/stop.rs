//! A broker is told to stop, and what became of it is a fact of the history.

use std::time::{Duration, Instant};

use super::arena::{Arena, ArenaError, Node, Stop};
use crate::checker::{Event, ORDERLY};

/// Whether other faults are in force while a broker stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Alone,
    AmongFaults,
}

impl Company {
    /// How long the broker may take. It asks the controller `controlled.shutdown.max.retries` times, 3, with
    /// `controlled.shutdown.retry.backoff.ms` of 5 s in between, which is 10 s if some partition cannot be moved; the
    /// rest is slack for a busy machine. A controller that it cannot reach, or that is stopped or gone, may keep each
    /// question for `controller.socket.timeout.ms` of 30 s, which makes 100 s, and ending its connections and a session
    /// with a ZooKeeper that does not answer take a few more.
    pub(super) fn limit(self) -> Duration {
        match self {
            Company::Alone => Duration::from_secs(30),
            Company::AmongFaults => Duration::from_secs(130),
        }
    }
}

/// Stops a node; one that does not within `limit` is killed. `None`: it had ended before, by itself.
pub(super) fn stop(arena: &mut dyn Arena, node: Node, limit: Duration) -> Result<Option<Event>, ArenaError> {
    let began = Instant::now();
    let stop = arena.terminate(node, limit)?;
    let took = began.elapsed();
    if stop == Stop::Late {
        arena.kill(node)?;
    }
    Ok(event(node, stop, took, limit))
}

fn event(node: Node, stop: Stop, took: Duration, limit: Duration) -> Option<Event> {
    let how = match stop {
        Stop::Orderly => String::from(ORDERLY),
        Stop::Otherwise(how) => how,
        Stop::Late => String::from("it ran on, and was killed"),
        Stop::Before => return None,
    };
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    // The last look at it may have been late itself.
    let took = if how == ORDERLY { took.min(limit) } else { took };
    Some(Event::Stopped { node: node.to_string(), took_us: micros(took), limit_us: micros(limit), how })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{Entry, History, judge_cluster};

    /// Whether the rule of ends is broken by it.
    fn is_convicted(stop: Stop) -> bool {
        let limit = Company::Alone.limit();
        let event = event(Node::Broker(1), stop, limit / 2, limit).expect("it was told to stop");
        let verdict = judge_cluster(&History { entries: vec![Entry { at_us: 1, event }] });
        verdict.broken().contains(&"brokers end when they are told to, and never by themselves")
    }

    #[test]
    fn who_does_not_stop_or_ends_badly_is_convicted() {
        assert!(!is_convicted(Stop::Orderly));
        assert!(is_convicted(Stop::Otherwise(String::from("exit status: 1"))));
        assert!(is_convicted(Stop::Late));
    }
}
