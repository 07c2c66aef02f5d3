//! ZooKeeper while a broker starts.
//!
//! Once it has answered, what it does not answer is asked again until it does, in a new session where the old one is
//! over, as Kafka's client does (`ZooKeeperClient`): ZooKeeper is often at its slowest when brokers come back after a
//! disturbance, and a broker that gave up would have to be started again by somebody.

use std::future::Future;
use std::time::Duration;

use client::zk::{Session, ZkConfig, ZkError};
use futures::future::BoxFuture;
use tokio::time::sleep;

use super::BrokerError;

const RETRY: Duration = Duration::from_secs(1);

/// The session of the start, and who may end the wait for it.
pub(super) struct Ensemble<'a> {
    zk: ZkConfig,
    session: Session,
    stop: &'a mut BoxFuture<'static, ()>,
}

impl<'a> Ensemble<'a> {
    /// The first connection is waited for as long as `zookeeper.connection.timeout.ms` says.
    pub(super) async fn join(
        zk: ZkConfig,
        stop: &'a mut BoxFuture<'static, ()>,
    ) -> Result<Ensemble<'a>, BrokerError> {
        tracing::info!(connect = zk.connect, "connecting to ZooKeeper");
        let session = tokio::select! {
            session = Session::connect(zk.clone()) => session?,
            () = &mut *stop => return Err(BrokerError::StoppedEarly),
        };
        Ok(Ensemble { zk, session, stop })
    }

    /// Takes a step, again and again while ZooKeeper is away. A step may have been done without an answer: it has to
    /// bear repetition, also in another session.
    pub(super) async fn step<T, F>(&mut self, step: impl Fn(Session) -> F) -> Result<T, BrokerError>
    where
        F: Future<Output = Result<T, BrokerError>>,
    {
        loop {
            let done = tokio::select! {
                done = step(self.session.clone()) => done,
                () = &mut *self.stop => return Err(self.stopped().await),
            };
            let error = match done {
                Err(error) if error.is_zookeeper_away() => error,
                done => return done,
            };
            tracing::warn!(%error, "the start waits for ZooKeeper; trying again in {} s", RETRY.as_secs());
            let again = self.renew();
            tokio::select! {
                renewed = again => if let Some(session) = renewed? { self.session = session },
                () = &mut *self.stop => return Err(self.stopped().await),
            }
        }
    }

    /// The session to go on with.
    pub(super) fn into_session(self) -> Session {
        self.session
    }

    /// Another session after a pause, if the present one is over and there is one to be had.
    fn renew(&self) -> impl Future<Output = Result<Option<Session>, ZkError>> + use<> {
        let (zk, is_over) = (self.zk.clone(), self.session.state().is_over());
        async move {
            sleep(RETRY).await;
            if !is_over {
                return Ok(None);
            }
            match Session::connect(zk).await {
                Ok(session) => Ok(Some(session)),
                Err(error) if error.is_connection_trouble() => Ok(None),
                Err(error) => Err(error),
            }
        }
    }

    /// A registration that may have been made goes with the session.
    async fn stopped(&mut self) -> BrokerError {
        self.session.close().await;
        BrokerError::StoppedEarly
    }
}

impl BrokerError {
    /// ZooKeeper did not answer, or not in time for the session.
    fn is_zookeeper_away(&self) -> bool {
        self.zookeeper().is_some_and(|error| {
            error.is_connection_trouble()
                || matches!(error, ZkError::SessionExpired { .. } | ZkError::Closed { .. })
        })
    }
}
