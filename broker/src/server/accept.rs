//! The accept loop of a listener. It never ends before shutdown: what a client or a shortage of
//! file descriptors does to it is waited out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::admission::Admission;
use super::budget::Budget;
use super::connection::Connection;
use super::{Answer, ServerOptions};

/// The first and the longest pause after the system had no file descriptor or memory left.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

pub(super) struct Acceptor {
    pub(super) listener: Arc<str>,
    pub(super) socket: TcpListener,
    /// Not held back by `max.connections`.
    pub(super) exempt: bool,
    pub(super) options: Arc<ServerOptions>,
    pub(super) admission: Admission,
    pub(super) budget: Budget,
    pub(super) answer: Arc<Answer>,
    pub(super) shutdown: watch::Receiver<Option<Instant>>,
}

impl Acceptor {
    pub(super) async fn run(mut self) {
        let mut connections = JoinSet::new();
        let mut shutdown = self.shutdown.clone();
        let mut pause = BACK_OFF.0;
        let mut resume_at = None;
        loop {
            tokio::select! {
                biased;
                _ = shutdown.wait_for(Option::is_some) => break,
                Some(ended) = connections.join_next() => report(ended),
                (slot, accepted) = self.accept(resume_at) => match accepted {
                    Ok((socket, peer)) => {
                        (pause, resume_at) = (BACK_OFF.0, None);
                        self.begin(&mut connections, slot, socket, peer);
                    }
                    Err(error) if is_shortage(&error) => {
                        tracing::warn!(listener = %self.listener, %error, ?pause, "cannot accept connections; pausing");
                        resume_at = Some(Instant::now() + pause);
                        pause = (pause * 2).min(BACK_OFF.1);
                    }
                    // The client gave up before it was accepted, or the network failed it.
                    Err(error) => tracing::debug!(listener = %self.listener, %error, "a connection was not accepted"),
                },
            }
        }
        let deadline = self.shutdown.borrow_and_update().unwrap_or_else(Instant::now);
        drop(self);
        drain(connections, deadline).await;
    }

    /// May be dropped and called again without loss.
    async fn accept(
        &self,
        not_before: Option<Instant>,
    ) -> (Option<OwnedSemaphorePermit>, io::Result<(TcpStream, SocketAddr)>) {
        if let Some(time) = not_before {
            sleep_until(time).await;
        }
        let slot = if self.exempt { None } else { self.admission.slot().await };
        (slot, self.socket.accept().await)
    }

    fn begin(
        &self,
        connections: &mut JoinSet<()>,
        slot: Option<OwnedSemaphorePermit>,
        socket: TcpStream,
        peer: SocketAddr,
    ) {
        let admitted = match self.admission.admit(slot, peer.ip()) {
            Ok(admitted) => admitted,
            Err(limit) => {
                tracing::info!(listener = %self.listener, %peer, limit, "connection refused: too many from its address");
                return;
            }
        };
        if let Err(error) = self.configure(&socket) {
            // The peer is gone already; the connection's first read will say so.
            tracing::debug!(%peer, %error, "socket options could not be set");
        }
        let connection = Connection {
            listener: Arc::clone(&self.listener),
            peer,
            options: Arc::clone(&self.options),
            budget: self.budget.clone(),
            answer: Arc::clone(&self.answer),
            shutdown: self.shutdown.clone(),
        };
        connections.spawn(async move {
            connection.run(socket).await;
            drop(admitted);
        });
    }

    fn configure(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let socket = SockRef::from(socket);
        socket.set_keepalive(true)?;
        match self.options.send_buffer_bytes {
            Some(bytes) => socket.set_send_buffer_size(bytes),
            None => Ok(()),
        }
    }
}

/// Lets connections finish what they are at until the deadline.
async fn drain(mut connections: JoinSet<()>, deadline: Instant) {
    while let Ok(Some(ended)) = timeout_at(deadline, connections.join_next()).await {
        report(ended);
    }
    if !connections.is_empty() {
        tracing::info!(
            connections = connections.len(),
            "connections cut off: their requests outlast the shutdown"
        );
    }
    connections.shutdown().await;
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; this is a bug");
    }
}

/// Whether the system lacks file descriptors or memory, which only time can mend.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}
