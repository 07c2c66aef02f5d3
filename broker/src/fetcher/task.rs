//! The loop of one fetcher.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::connection::{Connection, ConnectionError};
use client::ids::BrokerId;
use client::wire::ErrorCode;
use client::wire::messages::FetchResponse;
use thiserror::Error;
use tokio::time::sleep_until;

use super::Common;
use super::backoff::backoff;
use super::following::{Following, Wanted};
use super::request;
use crate::cluster_view::Endpoint;
use crate::peer;
use client::fetch_session::{FetchSession, NextFetch};

/// A leader's partitions come to a new one together.
const GATHERING: Duration = Duration::from_millis(5);
const BETWEEN_INTERRUPTIONS: Duration = Duration::from_millis(100);

/// Fetches from one broker until its handle is dropped.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) common: Arc<Common>,
    pub(super) leader: BrokerId,
    pub(super) following: Arc<Following>,
    pub(super) session: FetchSession,
    client_id: String,
    link: Option<(Endpoint, Connection)>,
    failures: u32,
}

/// Why a round came to nothing.
#[derive(Debug, Error)]
enum RoundError {
    #[error("broker {0} is not in the cluster's metadata")]
    UnknownBroker(BrokerId),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("the leader answered {}", .0.name())]
    Refused(ErrorCode),
}

/// When a fetch that is under way since before a partition was added gives way to one with it in it: at `now` but for
/// what comes along with it, and not over and over.
fn interruption(now: Instant, last: Option<Instant>) -> Instant {
    let soon = now + GATHERING;
    last.map_or(soon, |last| soon.max(last + BETWEEN_INTERRUPTIONS))
}

impl Task {
    pub(super) fn new(
        common: Arc<Common>,
        leader: BrokerId,
        index: usize,
        following: Arc<Following>,
    ) -> Task {
        let client_id = format!("broker-{}-fetcher-{index}", common.me);
        let session = FetchSession::default();
        Task { common, leader, following, session, client_id, link: None, failures: 0 }
    }

    pub(super) async fn run(mut self) {
        let following = Arc::clone(&self.following);
        let mut interrupted_at = None;
        loop {
            let known = following.additions();
            let now = Instant::now();
            let Wanted { asks, next_at } =
                following.wanted(self.common.config.fetch_partition_bytes_max, now);
            if asks.is_empty() {
                self.idle(next_at).await;
                continue;
            }
            let next = self.session.next(asks);
            let wait_max = next_at.map_or(Duration::MAX, |at| at.saturating_duration_since(now));
            let added = async {
                following.added_since(known).await;
                sleep_until(interruption(Instant::now(), interrupted_at).into()).await;
            };
            let fetched = tokio::select! {
                biased;
                fetched = self.fetch(&next, wait_max) => fetched,
                () = added => {
                    // The leader may hold the request for long, and its other partitions, whose producers wait for
                    // this follower, would wait as well.
                    interrupted_at = Some(Instant::now());
                    self.session.doubtful();
                    self.link = None;
                    continue;
                }
            };
            match fetched {
                Ok((connection, response)) => {
                    self.failures = 0;
                    self.take(&connection, response).await;
                }
                Err(error) => self.failed(&error).await,
            }
        }
    }

    /// Waits for something to fetch.
    async fn idle(&self, next_at: Option<Instant>) {
        match next_at {
            None => self.following.changed().await,
            Some(at) => {
                let _ = tokio::time::timeout_at(at.into(), self.following.changed()).await;
            }
        }
    }

    /// The leader holds the request no longer than `wait_max` either.
    async fn fetch(
        &mut self,
        next: &NextFetch,
        wait_max: Duration,
    ) -> Result<(Connection, FetchResponse), RoundError> {
        let connection = self.connected().await?;
        let Common { me, fence, config, .. } = &*self.common;
        let wait = config.fetch_wait_max.min(wait_max);
        let (request, version) = request::fetch(next, *me, fence.registration(), config, wait);
        let within = config.socket_timeout + config.fetch_wait_max;
        let response = connection.send_within(&request, version, within).await?;
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {
                self.session.answered(response.session_id);
                Ok((connection, response))
            }
            error => Err(RoundError::Refused(error)),
        }
    }

    /// The connection in use, or a new one to where the broker is now.
    async fn connected(&mut self) -> Result<Connection, RoundError> {
        let endpoint = self.common.view.endpoint(self.leader);
        let endpoint = endpoint.ok_or(RoundError::UnknownBroker(self.leader))?;
        match &self.link {
            Some((at, connection)) if *at == endpoint => Ok(connection.clone()),
            _ => {
                self.session.doubtful();
                let timeout = self.common.config.socket_timeout;
                let connection = peer::connect(&endpoint, &self.client_id, timeout).await?;
                self.link = Some((endpoint, connection.clone()));
                Ok(connection)
            }
        }
    }

    async fn failed(&mut self, error: &RoundError) {
        match error {
            RoundError::Refused(ErrorCode::FetchSessionIdNotFound) => self.session.lost(),
            RoundError::Refused(_) => self.session.doubtful(),
            RoundError::UnknownBroker(_) | RoundError::Connection(_) => {
                self.session.doubtful();
                self.link = None;
            }
        }
        self.failures = self.failures.saturating_add(1);
        let wait = backoff(self.failures, self.common.config.fetch_backoff);
        if self.failures == 1 {
            tracing::info!(leader = %self.leader, %error, "fetching failed; trying again");
        } else {
            tracing::debug!(leader = %self.leader, %error, failures = self.failures, "fetching failed again");
        }
        // Being told to follow it, or where it is, is as good a sign as any that it can be reached now.
        let mut view = self.common.view.clone();
        let located = async {
            match error {
                RoundError::UnknownBroker(leader) => view.knows(*leader).await,
                RoundError::Connection(_) | RoundError::Refused(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.following.changed() => {}
            () = located => {}
        }
    }
}
