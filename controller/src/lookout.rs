//! Keeps an eye on one broker's process by a connection of its own, and removes its registration
//! when the process is dead, so that nobody has to wait for its session to end. What then follows is
//! what follows the end of a session.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::connection::notice_silence;
use client::ids::{BrokerId, ZkVersion};
use client::zk::{Marked, Session, ZkError};
use client::znode::broker::{self, Endpoint, Registration};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::suspicion::{Next, Sight, Suspicion};
use crate::vital;

/// An address that does not answer within this time says nothing.
const ANSWER: Duration = Duration::from_secs(1);
/// After this long without any sign of the other machine a connection is taken for lost. That it
/// came back without the process shows only in new ones.
const SILENCE: Duration = Duration::from_secs(10);
/// Before ZooKeeper is asked again, where it could not be.
const PAUSE: Duration = Duration::from_secs(1);

/// Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Lookout {
    task: AbortHandle,
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Who looks, and what its writes depend on.
#[derive(Debug, Clone)]
pub(crate) struct Watchman {
    pub(crate) session: Session,
    pub(crate) me: BrokerId,
    /// The version of `/controller_epoch` in whose reign this is; `None` for brokers that look after
    /// the controller.
    pub(crate) fence: Option<ZkVersion>,
}

impl Lookout {
    /// Over a broker as it is registered now. `address` is where brokers reach it.
    pub(crate) fn over(watchman: Watchman, id: BrokerId, address: Arc<str>) -> Lookout {
        let looking = async move { watchman.look_out(id, &address).await };
        Lookout { task: vital::spawn("lookout", looking).abort_handle() }
    }

    /// Over the broker that is controller, as it is registered now; `listener` is the one that
    /// brokers talk on.
    pub(crate) fn over_controller(watchman: Watchman, id: BrokerId, listener: Arc<str>) -> Lookout {
        let looking = async move {
            match watchman.address(id, &listener).await {
                Ok(Some(address)) => watchman.look_out(id, &address).await,
                Ok(None) => {}
                Err(error) => tracing::debug!(broker = %id, %error, "nobody looks after the controller"),
            }
        };
        Lookout { task: vital::spawn("lookout", looking).abort_handle() }
    }
}

impl Watchman {
    async fn address(&self, id: BrokerId, listener: &str) -> Result<Option<String>, ZkError> {
        let node = self.session.get_if_exists(&broker::path(id)).await?;
        // A registration that cannot be read is reported by the controller.
        let registration = node.and_then(|node| Registration::decode(&node.data).ok());
        let endpoints = registration.map(|registration| registration.endpoints).unwrap_or_default();
        Ok(endpoints.iter().find(|endpoint| endpoint.listener == listener).map(Endpoint::address))
    }

    /// Until the broker's registration is gone, or there is nothing to look after.
    async fn look_out(&self, id: BrokerId, address: &str) {
        let Some(mut marked) = self.marked(id).await else { return };
        let mut suspicion = Suspicion::new(marked.companion.removals, Instant::now());
        loop {
            let (sight, stream) = try_to_connect(address).await;
            match suspicion.saw(sight, Instant::now()) {
                Next::Hold => {
                    let since = Instant::now();
                    if let Some(stream) = stream {
                        until_it_ends(&stream).await;
                    }
                    sleep(suspicion.parted(since.elapsed())).await;
                }
                Next::LookAgain(pause) => sleep(pause).await,
                Next::Dead => {
                    if self.remove(&marked, address).await {
                        return;
                    }
                    // Somebody was faster, or something about it changed.
                    match self.marked(id).await {
                        Some(now) if now.epoch == marked.epoch => marked = now,
                        Some(_) | None => return,
                    }
                }
            }
        }
    }

    /// `None`: there is no such registration, or it is left to its session.
    async fn marked(&self, id: BrokerId) -> Option<Marked> {
        loop {
            match self.session.marked_registration(id).await {
                Ok(marked) => return marked,
                Err(error) if error.is_connection_trouble() => sleep(PAUSE).await,
                Err(error) => {
                    tracing::debug!(broker = %id, %error, "nobody looks after this broker");
                    return None;
                }
            }
        }
    }

    /// `false`: it is not known to be gone.
    async fn remove(&self, marked: &Marked, address: &str) -> bool {
        match self.session.remove_registration(marked, self.me, self.fence).await {
            Ok(true) => {
                tracing::warn!(
                    broker = %marked.id, epoch = %marked.epoch, address,
                    "a broker's process is gone: its connection ended, and nobody listens at its address any more. \
                     Its registration is removed without waiting for its session to end"
                );
                true
            }
            Ok(false) => false,
            Err(error) if error.is_connection_trouble() => {
                sleep(PAUSE).await;
                false
            }
            Err(error) => {
                tracing::warn!(broker = %marked.id, %error, "the registration of a dead broker is left to its session");
                true
            }
        }
    }
}

async fn try_to_connect(address: &str) -> (Sight, Option<TcpStream>) {
    let Ok(Ok(addresses)) = timeout(ANSWER, lookup_host(address)).await else {
        return (Sight::Nothing, None);
    };
    let mut sight = Sight::Nothing;
    for (index, address) in addresses.enumerate() {
        let attempt = timeout(ANSWER, TcpStream::connect(address)).await;
        match attempt {
            Ok(Ok(stream)) if !is_with_itself(&stream) => return (Sight::Connected, Some(stream)),
            Ok(Err(error)) if error.kind() != ErrorKind::ConnectionRefused => return (Sight::Nothing, None),
            Err(_) => return (Sight::Nothing, None),
            Ok(Ok(_) | Err(_)) if index == 0 => sight = Sight::Refused,
            Ok(Ok(_) | Err(_)) => {}
        }
    }
    (sight, None)
}

/// A connection to a port of this machine where nobody listens may get that very port as its own.
fn is_with_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(own), Ok(peer)) if own == peer)
}

/// A broker says nothing to who asks nothing.
async fn until_it_ends(stream: &TcpStream) {
    // Without it, a machine that came up again is noticed by its refusals only when asked.
    notice_silence(stream, SILENCE).ok();
    let mut bytes = [0; 64];
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
