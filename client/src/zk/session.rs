//! The session itself: who may use it, when, and how long they wait.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use zookeeper_client::{Error, SessionInfo};

use super::attachment::{Attach, Attachment};
use super::config::ZkConfig;
use super::error::ZkError;
use super::node::SessionId;
use super::watch::WatchBudget;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// A new generation means that the connection was replaced and its watches lost.
    Connected { generation: u64 },
    /// ZooKeeper cannot be reached. The session, and its ephemeral nodes, may live or not.
    Disconnected,
    /// The server said so. Make another session.
    Expired,
    /// Closed on this side.
    Closed,
}

impl SessionState {
    /// Neither will change any more.
    pub fn is_over(self) -> bool {
        matches!(self, SessionState::Expired | SessionState::Closed)
    }
}

/// A session with ZooKeeper, cheap to clone.
///
/// When the last clone is dropped without [`close`](Session::close), the connection is cut, and
/// ephemeral nodes stay until the server misses the session, as after a crash.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) shared: Arc<Shared>,
    _supervision: Arc<Supervision>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ZkConfig,
    /// The hosts of the connect string.
    pub(super) hosts: String,
    /// Hosts and chroot.
    pub(super) connect: String,
    pub(super) chroot: String,
    pub(super) info: SessionInfo,
    pub(super) id: SessionId,
    /// As settled with the server.
    pub(super) timeout: Duration,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) state: watch::Sender<SessionState>,
    permits: Semaphore,
    pub(super) budget: Arc<WatchBudget>,
}

/// The session's connection, or why there is none.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Attached(Arc<Attachment>),
    Away,
    Expired,
    Closed,
}

/// Ends with the last clone of a session.
#[derive(Debug)]
struct Supervision {
    shared: Arc<Shared>,
    supervisor: AbortHandle,
}

impl Drop for Supervision {
    fn drop(&mut self) {
        self.supervisor.abort();
        self.shared.leave(Phase::Closed, SessionState::Closed);
    }
}

/// What became of one request.
pub(super) enum Outcome<R, E> {
    Answered(Result<R, E>),
    /// It never left.
    Unsent(ZkError),
    /// It left, and there was no answer in time.
    Silent {
        waited: Duration,
    },
}

/// Sends a request when it is called, and gives its answer when awaited.
pub(super) type Send<T, R, E> = for<'a> fn(&'a Attachment, &'a T) -> BoxFuture<'a, Result<R, E>>;

impl Shared {
    pub(super) fn new(
        config: ZkConfig,
        connect: String,
        hosts: String,
        chroot: String,
        first: Attachment,
    ) -> Shared {
        let info = first.client.session().clone();
        Shared {
            id: SessionId(info.id().0),
            timeout: first.client.session_timeout(),
            permits: Semaphore::new(config.max_in_flight.max(1)),
            budget: WatchBudget::new(chroot.len()),
            phase: watch::Sender::new(Phase::Attached(Arc::new(first))),
            state: watch::Sender::new(SessionState::Connected { generation: 1 }),
            config,
            hosts,
            connect,
            chroot,
            info,
        }
    }

    /// Publishes that there is no connection (any more), then cuts the one there was.
    pub(super) fn leave(&self, phase: Phase, state: SessionState) {
        let before = self.phase.send_replace(phase);
        self.state.send_replace(state);
        if let Phase::Attached(attachment) = before {
            attachment.kill();
        }
    }

    /// The connection, as soon as there is one.
    async fn attached(&self, deadline: Instant) -> Result<Arc<Attachment>, ZkError> {
        let started = Instant::now();
        let mut phases = self.phase.subscribe();
        let usable = phases.wait_for(|phase| match phase {
            Phase::Attached(attachment) => attachment.gate.is_open(),
            Phase::Away => false,
            Phase::Expired | Phase::Closed => true,
        });
        match timeout_at(deadline, usable).await {
            Ok(Ok(phase)) => match &*phase {
                Phase::Attached(attachment) => Ok(Arc::clone(attachment)),
                Phase::Expired => Err(ZkError::SessionExpired { session: self.id }),
                Phase::Away | Phase::Closed => Err(ZkError::Closed { session: self.id }),
            },
            Ok(Err(_)) => Err(ZkError::Closed { session: self.id }),
            Err(_) => Err(self.unavailable(started.elapsed())),
        }
    }

    pub(super) fn unavailable(&self, waited: Duration) -> ZkError {
        ZkError::Unavailable { hosts: self.hosts.clone(), waited }
    }

    /// Sends the items in order, without waiting for the answer of one before the next, and gives
    /// the outcomes in the same order. None is sent twice.
    pub(super) async fn pipeline<T, R, E>(&self, items: &[T], send: Send<T, R, E>) -> Vec<Outcome<R, E>> {
        let patience = self.config.operation_timeout;
        let mut outcomes = Vec::with_capacity(items.len());
        while outcomes.len() < items.len() {
            let attachment = match self.attached(Instant::now() + patience).await {
                Ok(attachment) => attachment,
                Err(error) => {
                    outcomes.resize_with(items.len(), || Outcome::Unsent(error.clone()));
                    break;
                }
            };
            let mut unsent = items.iter().skip(outcomes.len());
            let mut next = unsent.next();
            let mut answers = FuturesOrdered::new();
            let mut permit = self.permits.acquire().boxed();
            let mut deadline = Instant::now() + patience;
            loop {
                // What is not sent on this connection waits for the next one.
                let item = if attachment.gate.is_open() && self.is_connected() { next } else { None };
                let Some(item) = item else {
                    match answers.next().await {
                        Some(outcome) => outcomes.push(outcome),
                        None => break,
                    }
                    continue;
                };
                tokio::select! {
                    biased;
                    permitted = &mut permit => {
                        let Ok(permitted) = permitted else {
                            // Closed for good: `attached` says so in the next round.
                            next = None;
                            continue;
                        };
                        let answer = send(&attachment, item);
                        answers.push_back(async move {
                            let outcome = match timeout_at(deadline, answer).await {
                                Ok(answer) => Outcome::Answered(answer),
                                Err(_) => Outcome::Silent { waited: patience },
                            };
                            drop(permitted);
                            outcome
                        });
                        next = unsent.next();
                        permit = self.permits.acquire().boxed();
                        deadline = Instant::now() + patience;
                    }
                    Some(outcome) = answers.next(), if !answers.is_empty() => {
                        outcomes.push(outcome);
                        deadline = Instant::now() + patience;
                    }
                    () = sleep_until(deadline), if answers.is_empty() => {
                        // Others keep every place in flight; no answer of ours will free one.
                        outcomes.push(Outcome::Unsent(self.unavailable(patience)));
                        next = unsent.next();
                        deadline = Instant::now() + patience;
                    }
                }
            }
        }
        outcomes
    }

    fn is_connected(&self) -> bool {
        matches!(*self.state.borrow(), SessionState::Connected { .. })
    }
}

impl Session {
    pub(super) fn supervised(shared: Arc<Shared>, supervisor: AbortHandle) -> Session {
        let supervision = Supervision { shared: Arc::clone(&shared), supervisor };
        Session { shared, _supervision: Arc::new(supervision) }
    }

    pub fn id(&self) -> SessionId {
        self.shared.id
    }

    /// The session timeout that the server settled on.
    pub fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    /// The path below which everything is, or nothing.
    pub fn chroot(&self) -> &str {
        &self.shared.chroot
    }

    pub fn state(&self) -> SessionState {
        *self.shared.state.borrow()
    }

    /// Follows the state. Only the latest is kept: a short loss of the connection may go unseen,
    /// a new generation does not.
    pub fn states(&self) -> watch::Receiver<SessionState> {
        self.shared.state.subscribe()
    }

    /// Returns when the session is over, by the server's word or closed here.
    pub async fn over(&self) -> SessionState {
        let mut states = self.states();
        match states.wait_for(|state| state.is_over()).await {
            Ok(state) => *state,
            Err(_) => SessionState::Closed,
        }
    }

    /// Ends the session on the server, so that its ephemeral nodes vanish at once. Operations in
    /// flight are waited for, for as long as an operation may take.
    ///
    /// `false`: the server could not be reached, and will end the session when it has missed it for
    /// the session timeout.
    pub async fn close(&self) -> bool {
        let shared = &self.shared;
        let patience = shared.config.operation_timeout.min(shared.timeout);
        let all = u32::try_from(shared.config.max_in_flight.max(1)).unwrap_or(u32::MAX);
        // A timeout here leaves operations behind; they get an unknown outcome.
        let _in_flight = timeout(patience, shared.permits.acquire_many(all)).await;
        shared.permits.close();
        self._supervision.supervisor.abort();
        if self.state().is_over() {
            return true;
        }
        shared.leave(Phase::Closed, SessionState::Closed);
        // Every client so far was detached, so that the session could outlive it. One that is not
        // takes the session along when it goes.
        let info = Some(shared.info.clone());
        let last = Attachment::connect(&shared.config, &shared.connect, info, Attach::Closing);
        match timeout(patience, last).await {
            Ok(Ok(last)) => last.close(patience).await,
            Ok(Err(Error::SessionExpired)) => true,
            Ok(Err(_)) | Err(_) => false,
        }
    }
}
