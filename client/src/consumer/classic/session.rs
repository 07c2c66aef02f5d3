//! Sessions of a member: joining in one, and giving nothing when it may be over.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::config::ClassicConfig;
use super::error::ClassicError;
use super::member::Thread;
use super::registry::Registry;
use super::stream::StreamShared;
use super::subscription::Subscription;
use crate::zk::{Session, SessionId, SessionState, ZkConfig};

/// Pause between attempts to register under a name that an ended session still holds.
const TAKEN_PAUSE: Duration = Duration::from_millis(250);

pub(super) fn zk_config(config: &ClassicConfig) -> ZkConfig {
    let zk = ZkConfig::new(config.zookeeper.clone()).with_timeout(config.session_timeout);
    ZkConfig { connection_timeout: config.connection_timeout.unwrap_or(config.session_timeout), ..zk }
}

/// Registers in a new session. `previous`: the one before of this member, which may not be gone yet.
pub(super) async fn join(
    config: &ClassicConfig,
    consumer: &str,
    subscription: &Subscription,
    previous: Option<SessionId>,
) -> Result<Registry, ClassicError> {
    let session = Session::connect_only(zk_config(config)).await?;
    let group = config.group.clone();
    let registry = Registry { session, group, consumer: consumer.to_owned() };
    let deadline = Instant::now() + registry.session.timeout() * 2;
    let registration = subscription.register(now_ms());
    while !registry.register(&registration, previous).await? {
        if Instant::now() >= deadline {
            registry.session.close().await;
            return Err(ClassicError::Taken { group: registry.group, consumer: registry.consumer });
        }
        sleep(TAKEN_PAUSE).await;
    }
    Ok(registry)
}

/// While a session's connection is away, the server may end the session, and others take its partitions.
/// This stops the streams before that can be, as far as a client can know.
#[derive(Debug)]
pub(super) struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Guard {
    pub(super) fn watch(session: &Session, threads: &[Thread]) -> Guard {
        let streams = threads.iter().map(|thread| Arc::clone(&thread.shared)).collect();
        Guard(tokio::spawn(guard(session.states(), session.timeout(), streams)).abort_handle())
    }
}

async fn guard(
    mut states: tokio::sync::watch::Receiver<SessionState>,
    session_timeout: Duration,
    streams: Vec<Arc<StreamShared>>,
) {
    let suspend = |suspended| streams.iter().for_each(|stream| stream.suspend(suspended));
    // The loss was noticed up to two fifths of the timeout after the server last heard of us.
    let patience = session_timeout / 3;
    loop {
        let state = *states.borrow_and_update();
        match state {
            SessionState::Connected { .. } => suspend(false),
            SessionState::Disconnected => {
                if timeout(patience, states.changed()).await.is_err() {
                    suspend(true);
                } else {
                    continue;
                }
            }
            SessionState::Expired | SessionState::Closed => suspend(true),
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What follows the group's name in a member's name, as Kafka makes it.
pub(super) fn generated_id() -> String {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().into_owned();
    format!("{host}-{}-{:08x}", now_ms(), rand::random::<u32>())
}
