//! One connection: read a frame, answer it, and again.

use std::any::Any;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::wire::{ApiKey, frame};
use futures::FutureExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::budget::Budget;
use super::close::CloseReason;
use super::incoming::Incoming;
use super::{Answer, ServerOptions, outgoing};
use crate::api::{Reply, Request};

pub(super) struct Connection {
    pub(super) listener: Arc<str>,
    pub(super) peer: SocketAddr,
    pub(super) options: Arc<ServerOptions>,
    pub(super) budget: Budget,
    pub(super) answer: Arc<Answer>,
    pub(super) shutdown: watch::Receiver<Option<Instant>>,
}

impl Connection {
    /// Serves the connection to its end.
    pub(super) async fn run(mut self, socket: TcpStream) {
        let reason = match self.serve(socket).await {
            Ok(never) => match never {},
            Err(reason) => reason,
        };
        tracing::debug!(peer = %self.peer, listener = %self.listener, %reason, "connection closed");
    }

    async fn serve(&mut self, socket: TcpStream) -> Result<std::convert::Infallible, CloseReason> {
        let max_idle = self.options.max_idle;
        let (read, write) = socket.into_split();
        let mut incoming = Incoming::new(read, self.budget.clone(), self.options.request_max_bytes, max_idle);
        loop {
            tokio::select! {
                biased;
                _ = self.shutdown.wait_for(Option::is_some) => return Err(CloseReason::Shutdown),
                ready = incoming.ready() => ready?,
            }
            let frame = tokio::select! {
                biased;
                _ = self.shutdown.wait_for(Option::is_some) => return Err(CloseReason::Shutdown),
                frame = incoming.frame() => frame?,
            };
            match self.answer(frame, max_idle).await? {
                Reply::Response(response) => outgoing::send(write.as_ref(), response, max_idle).await?,
                Reply::NoResponse => {}
                Reply::Close { why } => return Err(CloseReason::Refused(why)),
            }
        }
    }

    /// Has the request answered. A request parked for longer than the idle limit is given up:
    /// its connection has been silent for as long (as Kafka does).
    async fn answer(&mut self, frame: Bytes, max_idle: Option<Duration>) -> Result<Reply, CloseReason> {
        let (header, key, body) = frame::parse_request(frame)?;
        let version = header.request_api_version;
        let request = Request {
            listener: Arc::clone(&self.listener),
            peer: self.peer,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            key,
            version,
            body,
        };
        let answer = AssertUnwindSafe((self.answer)(request)).catch_unwind();
        let answered = tokio::select! {
            biased;
            answered = limited(max_idle, answer) => answered?,
            // What a Fetch waits for will not come from a broker that stops, so it does not hold
            // the stop up. Other requests are finished.
            _ = self.shutdown.wait_for(Option::is_some), if key == ApiKey::Fetch => {
                return Err(CloseReason::Shutdown);
            }
        };
        answered.map_err(|panic| {
            let message = panic_message(panic.as_ref());
            tracing::error!(peer = %self.peer, ?key, version, message, "a request handler panicked; this is a bug");
            CloseReason::Panicked
        })
    }
}

async fn limited<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Result<T, CloseReason> {
    match limit {
        Some(limit) => timeout(limit, work).await.map_err(|_| CloseReason::Idle(limit)),
        None => Ok(work.await),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}
