//! The session with ZooKeeper that all of this broker's coordinators share for offsets: what one
//! writes in it, it reads in it. It has nothing ephemeral; the broker's membership has a session of its
//! own, which a flood of commits must not hold up.

use std::time::Duration;

use client::zk::{Session, SessionState, ZkConfig};
use tokio::sync::watch;
use tokio::time::sleep;

use super::fence::Attached;

/// Pause before a new session is tried for again.
const RETRY: Duration = Duration::from_secs(1);

/// A session that is connected right now.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) session: Session,
    pub(super) on: Attached,
}

/// Publishes the connected session, or `None`, until it is aborted. A session that the server has
/// ended is replaced.
pub(super) async fn keep(config: ZkConfig, links: watch::Sender<Option<Link>>) {
    loop {
        match Session::connect_only(config.clone()).await {
            Ok(session) => {
                follow(&session, &links).await;
                tracing::warn!(session = %session.id(), "the ZooKeeper session for offsets is over; opening another");
            }
            Err(error) => {
                tracing::warn!(%error, "no ZooKeeper session for offsets; trying again in {} s", RETRY.as_secs());
                sleep(RETRY).await;
            }
        }
    }
}

async fn follow(session: &Session, links: &watch::Sender<Option<Link>>) {
    let mut states = session.states();
    loop {
        let state = *states.borrow_and_update();
        let link = match state {
            SessionState::Connected { generation } => {
                let on = Attached { session: session.id().0, generation };
                Some(Link { session: session.clone(), on })
            }
            SessionState::Disconnected | SessionState::Expired | SessionState::Closed => None,
        };
        links.send_replace(link);
        if state.is_over() || states.changed().await.is_err() {
            return;
        }
    }
}
