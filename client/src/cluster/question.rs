//! What any broker can answer, asked of as many as it takes.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::seq::SliceRandom;
use tokio::time::{Instant, timeout};

use super::links::Links;
use super::{ClusterError, ClusterOptions};
use crate::connection::{Connection, ConnectionError};

/// How long the first broker is waited for before another is asked as well. Each further one doubles the time, so that
/// brokers which are all slow are not flooded with what they cannot answer anyway.
const PATIENCE: Duration = Duration::from_millis(200);
/// Up to this.
const LONGEST_PATIENCE: Duration = Duration::from_secs(1);
/// Longer than a broker holds what it is asked for records that are to come.
const HELD: Duration = Duration::from_secs(1);

/// How likely a broker is to answer soon; the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Promise {
    /// Its connection is open, and no request on it has waited for long.
    Good,
    /// There is no connection.
    Unknown,
    /// It answers in the order it was asked, and owes an answer since then: it may hold a request.
    Holding(Reverse<Instant>),
    /// It answered the last question. If that is asked again so soon, what it said was wrong: a broker that is cut off
    /// from the others goes on saying so, and has the time to be the first.
    Heard,
    /// As those that hold a request, but for longer than that takes: it may be stopped.
    Overdue(Reverse<Instant>),
}

impl Promise {
    fn of(connection: Option<&Connection>, now: Instant) -> Promise {
        let Some(connection) = connection else { return Promise::Unknown };
        match connection.unanswered_since() {
            Some(since) if since + HELD <= now => Promise::Overdue(Reverse(since)),
            Some(since) if since + PATIENCE <= now => Promise::Holding(Reverse(since)),
            Some(_) | None => Promise::Good,
        }
    }
}

impl Links {
    /// The first answer that comes. A broker whose process is stopped keeps its connections, and new ones are made
    /// without it; one whose host vanished keeps them for minutes; and behind records that wait for replicas a
    /// question waits too. So a broker that does not answer soon goes on being waited for while others are asked.
    ///
    /// The question must do no harm if several answer it. It is given up once every known address has failed and no
    /// broker owes an answer: with an error that repeating will not help against if there was one, so that nobody
    /// repeats it in vain.
    pub(super) async fn answer_of_any<T, F>(
        &self,
        options: &ClusterOptions,
        question: impl Fn(Connection) -> F,
    ) -> Result<T, ClusterError>
    where
        F: Future<Output = Result<T, ConnectionError>>,
    {
        let ask = |address: Arc<str>| async {
            let answer: Result<T, ConnectionError> =
                async { question(self.shared(&address, options).await?).await }.await;
            (address, answer)
        };
        let mut untried = self.by_promise();
        let mut asked: FuturesUnordered<_> = untried.pop_front().map(ask).into_iter().collect();
        let mut failed = VecDeque::new();
        let mut last = None;
        let mut hopeless = None;
        loop {
            let doublings = asked.len().saturating_sub(1).min(4);
            let patience = (PATIENCE * (1 << doublings)).min(LONGEST_PATIENCE);
            let next = match timeout(patience, asked.next()).await {
                Ok(None) => break,
                Ok(Some((address, Ok(answer)))) => {
                    self.note_answered(address);
                    return Ok(answer);
                }
                // One of another version, for example; others may answer still.
                Ok(Some((_, Err(error)))) if !error.is_retriable() => {
                    hopeless = Some(error);
                    untried.pop_front()
                }
                Ok(Some((address, Err(error)))) => {
                    last = Some(Box::new(error));
                    failed.push_back(address);
                    untried.pop_front()
                }
                // One that could not be reached may be back while another is still silent.
                Err(_) => untried.pop_front().or_else(|| failed.pop_front()),
            };
            asked.extend(next.map(ask));
        }
        if let Some(error) = hopeless {
            return Err(error.into());
        }
        self.doubted.notify_one();
        Err(ClusterError::NoBroker { cause: last })
    }

    /// Every known address, then those to begin with, the most promising first; among equals chance decides.
    fn by_promise(&self) -> VecDeque<Arc<str>> {
        let (mut known, mut first) = self.addresses();
        known.shuffle(&mut rand::rng());
        first.shuffle(&mut rand::rng());
        known.append(&mut first);
        let (now, heard) = (Instant::now(), self.last_answered());
        known.sort_by_cached_key(|address| match heard.as_ref() == Some(address) {
            true => Promise::Heard,
            false => Promise::of(self.open(address).as_ref(), now),
        });
        known.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_owes_an_answer_for_longest_is_asked_last() {
        let now = Instant::now();
        let since = |ago: u64| Reverse(now - Duration::from_secs(ago));
        let (long, longer) = (Promise::Overdue(since(2)), Promise::Overdue(since(5)));
        let holding = Promise::Holding(since(1));
        let mut promises = [longer, Promise::Heard, Promise::Unknown, long, holding, Promise::Good];
        promises.sort();
        assert_eq!(promises, [Promise::Good, Promise::Unknown, holding, Promise::Heard, long, longer]);
    }

    #[test]
    fn another_is_asked_before_who_answered_last() {
        let addresses = ["a:1", "b:2", "c:3"].map(Arc::from);
        let links = Links::new(addresses.to_vec());
        for heard in addresses {
            links.note_answered(Arc::clone(&heard));
            assert_eq!(links.by_promise().back(), Some(&heard));
        }
    }
}
