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

/// How likely a broker is to answer soon; the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Promise {
    /// Its connection is open, and no request on it has waited for long.
    Good,
    /// There is no connection.
    Unknown,
    /// It answers in the order it was asked, and owes an answer since then: it holds a request, or is stopped.
    Overdue(Reverse<Instant>),
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
                Ok(Some((_, Ok(answer)))) => return Ok(answer),
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
        let now = Instant::now();
        known.sort_by_cached_key(|address| match self.open(address) {
            None => Promise::Unknown,
            Some(connection) => match connection.unanswered_since() {
                Some(since) if since + PATIENCE <= now => Promise::Overdue(Reverse(since)),
                Some(_) | None => Promise::Good,
            },
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
        let overdue = |ago: u64| Promise::Overdue(Reverse(now - Duration::from_secs(ago)));
        let mut promises = [overdue(5), Promise::Unknown, overdue(2), Promise::Good];
        promises.sort();
        assert_eq!(promises, [Promise::Good, Promise::Unknown, overdue(2), overdue(5)]);
    }
}
