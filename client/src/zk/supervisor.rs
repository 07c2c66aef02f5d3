//! Keeps a session attached: replaces a connection that does not come back by itself, and asks the
//! server, and only the server, whether the session still lives.

use std::sync::Arc;
use std::time::Duration;

use futures::future::Either;
use tokio::time::{Instant, sleep, timeout};
use zookeeper_client::{Client, Error, MultiWriteError};

use super::attachment::{Attach, Attachment};
use super::connect::pause;
use super::session::{Phase, SessionState, Shared};

/// How long the client may try to reconnect by itself before it is replaced. Its own pauses double
/// without a bound.
const OWN_RECONNECT: Duration = Duration::from_secs(1);

/// Runs until the session is over.
pub(super) async fn supervise(shared: Arc<Shared>) {
    let mut generation = 1;
    loop {
        let attached = match &*shared.phase.borrow() {
            Phase::Attached(attachment) => Arc::clone(attachment),
            Phase::Away | Phase::Expired | Phase::Closed => return,
        };
        serve(&shared, &attached, generation).await;
        drop(attached);
        shared.leave(Phase::Away, SessionState::Disconnected);
        let Some(fresh) = reattach(&shared).await else { return };
        generation += 1;
        tracing::info!(session = %shared.id, generation, "took the ZooKeeper session up again");
        shared.phase.send_replace(Phase::Attached(Arc::new(fresh)));
        shared.state.send_replace(SessionState::Connected { generation });
    }
}

/// Returns when the connection must be replaced.
async fn serve(shared: &Shared, attached: &Attachment, generation: u64) {
    let mut states = attached.client.state_watcher();
    let mut state = attached.client.state();
    let mut lost = std::pin::pin!(Arc::clone(&attached.gate).closed());
    let mut away_since: Option<Instant> = None;
    loop {
        match state {
            zookeeper_client::SessionState::SyncConnected => {
                if away_since.take().is_some() {
                    tracing::info!(session = %shared.id, "reconnected to ZooKeeper");
                }
                shared.state.send_if_modified(|state| {
                    let connected = SessionState::Connected { generation };
                    std::mem::replace(state, connected) != connected
                });
            }
            zookeeper_client::SessionState::Disconnected => {
                if away_since.is_none() {
                    tracing::warn!(session = %shared.id, hosts = shared.hosts, "lost the connection to ZooKeeper");
                    away_since = Some(Instant::now());
                }
                shared.state.send_replace(SessionState::Disconnected);
            }
            // The client gave up by itself; what the server thinks is asked next.
            _ => return,
        }
        let patience = match away_since {
            Some(since) => Either::Left(tokio::time::sleep_until(since + OWN_RECONNECT)),
            None => Either::Right(std::future::pending()),
        };
        tokio::select! {
            changed = states.changed() => state = changed,
            () = patience => return,
            () = &mut lost => return,
        }
    }
}

/// A fresh connection of the same session, or `None` when the server has ended it.
async fn reattach(shared: &Shared) -> Option<Attachment> {
    let mut failures = 0;
    loop {
        let info = Some(shared.info.clone());
        match Attachment::connect(&shared.config, &shared.connect, info, Attach::Detached).await {
            Ok(fresh) if barrier(shared, &fresh.client).await => return Some(fresh),
            Ok(fresh) => fresh.kill(),
            Err(Error::SessionExpired) => {
                tracing::warn!(session = %shared.id, "ZooKeeper has ended the session");
                shared.leave(Phase::Expired, SessionState::Expired);
                return None;
            }
            Err(error) => {
                tracing::debug!(session = %shared.id, %error, failures, "ZooKeeper is still out of reach");
            }
        }
        sleep(pause(failures)).await;
        failures += 1;
    }
}

/// Makes what follows on this connection see all that was acknowledged before.
///
/// A fresh client does not know how far the session had read, and may meet a server that lags.
/// A multi is a write, even one that only checks: it passes through the leader, and this server
/// answers it when it has caught up so far.
async fn barrier(shared: &Shared, client: &Client) -> bool {
    const ANY_VERSION: i32 = -1;
    let mut multi = client.new_multi_writer();
    if multi.add_check_version("/", ANY_VERSION).is_err() {
        return false;
    }
    match timeout(shared.config.operation_timeout, multi.commit()).await {
        // A chroot that was deleted fails the check; the answer orders what follows all the same.
        Ok(Ok(_) | Err(MultiWriteError::OperationFailed { .. })) => true,
        Ok(Err(MultiWriteError::RequestFailed { .. })) | Err(_) => false,
    }
}
