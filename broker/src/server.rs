//! The network server: listeners, and one task per connection.
//!
//! A connection carries one request at a time, in order: the next frame is read when the answer
//! to the last has left. The server knows frames and sockets; what a request means is
//! [`crate::api`]'s. It never interprets a body and never answers on its own: what cannot be
//! served closes the connection.

mod accept;
mod admission;
mod budget;
mod close;
mod connection;
mod incoming;
mod ledger;
mod outgoing;
mod pace;
mod turns;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::{Reply, Request};
use accept::Acceptor;
use admission::Admission;
use budget::Budget;

/// Frames kept in memory at once if `queued.max.request.bytes` sets no limit. Kafka has none then;
/// here a crowd of large requests waits instead of exhausting the memory.
const DEFAULT_FRAME_BUDGET: usize = 512 << 20;

/// Answers a request. Called by the connection's task, once at a time per connection.
pub type Answer = dyn Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync;

/// The limits of all listeners together. The names in brackets are Kafka's properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// The largest frame that is read (`socket.request.max.bytes`).
    pub request_max_bytes: usize,
    /// Bytes of all frames in memory (`queued.max.request.bytes`); `None`: half a gigabyte.
    pub queued_max_request_bytes: Option<usize>,
    /// Connections of all listeners (`max.connections`). More wait in the backlog.
    pub max_connections: usize,
    /// Connections from one address (`max.connections.per.ip`). More are closed at once.
    pub max_connections_per_ip: usize,
    /// The same for chosen addresses (`max.connections.per.ip.overrides`).
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// The listener on which brokers talk. If there is another one too, clients that fill
    /// `max.connections` cannot keep brokers out of it.
    pub inter_broker_listener: Option<Arc<str>>,
    /// A connection silent for so long is closed (`connections.max.idle.ms`); `None`: never.
    pub max_idle: Option<Duration>,
    /// `socket.send.buffer.bytes`; `None`: the system's.
    pub send_buffer_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`; `None`: the system's.
    pub receive_buffer_bytes: Option<usize>,
    /// `socket.listen.backlog.size`
    pub backlog: i32,
}

impl Default for ServerOptions {
    /// Kafka's defaults.
    fn default() -> Self {
        ServerOptions {
            request_max_bytes: 100 << 20,
            queued_max_request_bytes: None,
            max_connections: i32::MAX as usize,
            max_connections_per_ip: i32::MAX as usize,
            max_connections_per_ip_overrides: BTreeMap::new(),
            inter_broker_listener: None,
            max_idle: Some(Duration::from_secs(600)),
            send_buffer_bytes: Some(100 << 10),
            receive_buffer_bytes: Some(100 << 10),
            backlog: 50,
        }
    }
}

/// Why a listener cannot be opened.
#[derive(Debug, Error)]
#[error(
    "cannot listen on {address} (listener {listener}): {source}; is the address this machine's and free?"
)]
pub struct BindError {
    pub listener: Arc<str>,
    pub address: SocketAddr,
    pub source: io::Error,
}

/// Listeners that are open but not served yet: clients that connect wait.
#[derive(Debug)]
pub struct Bound {
    listeners: Vec<(Arc<str>, TcpListener)>,
    options: ServerOptions,
}

impl Bound {
    /// Opens all listeners, given by name with the address to bind.
    pub fn bind(
        listeners: &BTreeMap<Arc<str>, SocketAddr>,
        options: ServerOptions,
    ) -> Result<Bound, BindError> {
        let open = |(listener, address): (&Arc<str>, &SocketAddr)| match listen(*address, &options) {
            Ok(socket) => Ok((Arc::clone(listener), socket)),
            Err(source) => Err(BindError { listener: Arc::clone(listener), address: *address, source }),
        };
        let listeners = listeners.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Bound { listeners, options })
    }

    /// Where each listener is bound: port 0 has become a real port.
    pub fn addresses(&self) -> io::Result<BTreeMap<Arc<str>, SocketAddr>> {
        self.listeners.iter().map(|(name, socket)| Ok((Arc::clone(name), socket.local_addr()?))).collect()
    }

    /// Starts to accept and to answer.
    pub fn serve(self, answer: Arc<Answer>) -> Server {
        let Bound { listeners, options } = self;
        let (shutdown, told) = watch::channel(None);
        let several = listeners.len() > 1;
        let options = Arc::new(options);
        let budget = Budget::new(options.queued_max_request_bytes.unwrap_or(DEFAULT_FRAME_BUDGET));
        let admission = Admission::new(&options);
        let acceptors = listeners
            .into_iter()
            .map(|(listener, socket)| {
                let exempt = several && options.inter_broker_listener.as_ref() == Some(&listener);
                let acceptor = Acceptor {
                    listener,
                    socket,
                    exempt,
                    options: Arc::clone(&options),
                    admission: admission.clone(),
                    budget: budget.clone(),
                    answer: Arc::clone(&answer),
                    shutdown: told.clone(),
                };
                tokio::spawn(acceptor.run())
            })
            .collect();
        Server { acceptors, shutdown }
    }
}

/// A running server. Dropping it closes all listeners and connections at once.
#[derive(Debug)]
pub struct Server {
    acceptors: Vec<JoinHandle<()>>,
    /// When set, nothing new is begun, and what is still running then is cut off.
    shutdown: watch::Sender<Option<Instant>>,
}

impl Server {
    /// Stops accepting, lets requests in flight finish for at most `grace`, closes everything.
    pub async fn shutdown(mut self, grace: Duration) {
        self.shutdown.send_replace(Some(Instant::now() + grace));
        for acceptor in std::mem::take(&mut self.acceptors) {
            if let Err(error) = acceptor.await
                && error.is_panic()
            {
                tracing::error!(%error, "an accept loop panicked; this is a bug");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
    }
}

fn listen(address: SocketAddr, options: &ServerOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Set before listening, so that the window scale of accepted connections fits it.
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog.max(1))?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests;
