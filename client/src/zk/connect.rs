//! Opening a session.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use zookeeper_client::Error;

use super::attachment::{Attach, Attachment};
use super::bare;
use super::config::{ZkConfig, split_chroot};
use super::error::{Failure, ZkError};
use super::session::{Session, Shared};
use super::supervisor;

/// Pauses between two rounds of tries, the last one repeated.
pub(super) const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// The pause after so many failed rounds.
pub(super) fn pause(failures: usize) -> Duration {
    PAUSES.get(failures).or(PAUSES.last()).copied().unwrap_or_default()
}

impl Session {
    /// Opens a new session, and creates the chroot first if it is missing.
    pub async fn connect(config: ZkConfig) -> Result<Session, ZkError> {
        let (hosts, chroot) = split_chroot(&config.connect)?;
        let deadline = Instant::now() + config.connection_timeout;
        if !chroot.is_empty() {
            bare::create(hosts, "", &[chroot], config.session_timeout, deadline).await?;
        }
        Session::open(config, deadline).await
    }

    /// Opens a new session and writes nothing: below a chroot that is missing, every node is.
    pub async fn connect_only(config: ZkConfig) -> Result<Session, ZkError> {
        let deadline = Instant::now() + config.connection_timeout;
        Session::open(config, deadline).await
    }

    async fn open(config: ZkConfig, deadline: Instant) -> Result<Session, ZkError> {
        let (hosts, chroot) = split_chroot(&config.connect)?;
        let (hosts, chroot) = (hosts.to_owned(), chroot.to_owned());
        let connect = format!("{hosts}{chroot}");
        let first = attach_new(&config, &hosts, &connect, deadline).await?;
        let shared = Arc::new(Shared::new(config, connect, hosts, chroot, first));
        tracing::info!(
            session = %shared.id,
            timeout_ms = shared.timeout.as_millis(),
            hosts = shared.hosts,
            chroot = shared.chroot,
            "opened a ZooKeeper session"
        );
        let supervisor = tokio::spawn(supervisor::supervise(Arc::clone(&shared))).abort_handle();
        Ok(Session::supervised(shared, supervisor))
    }
}

/// Tries until the deadline.
async fn attach_new(
    config: &ZkConfig,
    hosts: &str,
    connect: &str,
    deadline: Instant,
) -> Result<Attachment, ZkError> {
    let started = Instant::now();
    let unavailable = || ZkError::Unavailable { hosts: hosts.to_owned(), waited: started.elapsed() };
    let mut failures = 0;
    loop {
        match timeout_at(deadline, Attachment::connect(config, connect, None, Attach::Detached)).await {
            Err(_) => return Err(unavailable()),
            Ok(Ok(attachment)) => return Ok(attachment),
            Ok(Err(Error::AuthFailed)) => return Err(ZkError::AuthFailed),
            Ok(Err(error @ Error::BadArguments(_))) => {
                return Err(Failure::of(error, "connection", connect).of_write("connection", connect));
            }
            Ok(Err(error)) => {
                let wait = pause(failures);
                failures += 1;
                if Instant::now() + wait >= deadline {
                    return Err(unavailable());
                }
                tracing::debug!(hosts, %error, "no ZooKeeper yet, trying again");
                sleep(wait).await;
            }
        }
    }
}
