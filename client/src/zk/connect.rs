//! Opening a session.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::attachment::{Attach, Attachment};
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
        let (hosts, chroot) = (hosts.to_owned(), chroot.to_owned());
        let deadline = Instant::now() + config.connection_timeout;
        if !chroot.is_empty() {
            create_chroot(&config, &hosts, &chroot, deadline).await?;
        }
        let connect = format!("{hosts}{chroot}");
        let first = attach_new(&config, &hosts, &connect, Attach::Detached, deadline).await?;
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
    attach: Attach,
    deadline: Instant,
) -> Result<Attachment, ZkError> {
    let started = Instant::now();
    let unavailable = || ZkError::Unavailable { hosts: hosts.to_owned(), waited: started.elapsed() };
    let mut failures = 0;
    loop {
        match timeout_at(deadline, Attachment::connect(config, connect, None, attach)).await {
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

/// Makes the chroot on a session of its own, outside of it.
async fn create_chroot(
    config: &ZkConfig,
    hosts: &str,
    chroot: &str,
    deadline: Instant,
) -> Result<(), ZkError> {
    let attachment = attach_new(config, hosts, hosts, Attach::Closing, deadline).await?;
    let made = timeout_at(deadline, make_path(&attachment.client, chroot)).await;
    attachment.close(config.operation_timeout).await;
    match made {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::of(error, "creation", chroot).of_write("creation", chroot)),
        Err(_) => Err(ZkError::Unavailable { hosts: hosts.to_owned(), waited: config.connection_timeout }),
    }
}

async fn make_path(client: &Client, path: &str) -> Result<(), Error> {
    if client.check_stat(path).await?.is_some() {
        return Ok(());
    }
    tracing::info!(path, "creating the chroot in ZooKeeper");
    client.mkdir(path, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await
}
