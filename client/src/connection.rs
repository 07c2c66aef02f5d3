//! A connection to a broker: requests go out as they come, responses are matched in order.
//!
//! A broker answers in the order it was asked, so a response that is not the next one, a request that
//! gets no answer in time, and any error of the socket end the connection, and with it every request that
//! still waits. Nothing is retried here: only the caller knows whether a request may be sent twice.

#![deny(clippy::indexing_slicing)]

mod driver;
mod error;
mod peer_versions;
mod silence;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::{ApiKey, DecodeError, Encoded, ErrorCode, Message, Request, Str, frame};
pub use error::{CloseCause, ConnectionError};
pub use peer_versions::PeerVersions;
pub use silence::notice_silence;

/// Limits of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// For resolving the name and the TCP handshake together.
    pub connect_timeout: Duration,
    /// From the call to the response. A request that waits longer ends the connection, as in Kafka's
    /// own client: the responses behind it would wait as well.
    pub request_timeout: Duration,
    /// Requests sent and not answered; further ones wait for their turn.
    pub max_in_flight: usize,
    /// A longer response ends the connection. Memory is taken as its bytes arrive, not as announced.
    pub max_response_bytes: usize,
    /// The connection ends if the peer's machine gives no sign of itself for this long, however long an
    /// answer may take; at least 3 s. A process that is busy or stopped does not count as silent. `None`:
    /// the system's own patience, of minutes or hours.
    pub max_silence: Option<Duration>,
}

impl Default for ConnectionOptions {
    fn default() -> ConnectionOptions {
        ConnectionOptions {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            max_in_flight: 100,
            max_response_bytes: 100 * 1024 * 1024,
            max_silence: None,
        }
    }
}

/// A connection to a broker. Clones share it; it closes with the last of them.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    _driver: Arc<AbortOnDrop>,
}

#[derive(Debug)]
struct Shared {
    address: Arc<str>,
    client_id: Str,
    options: ConnectionOptions,
    in_flight: Arc<Semaphore>,
    state: Mutex<State>,
    closed: watch::Sender<Option<Arc<CloseCause>>>,
    peer_versions: OnceCell<PeerVersions>,
}

#[derive(Debug)]
struct State {
    /// `None` once the connection is closed.
    queue: Option<mpsc::UnboundedSender<Outgoing>>,
    /// In the order of the requests, which is the order of the responses.
    waiting: VecDeque<Waiting>,
    next_correlation_id: i32,
}

#[derive(Debug)]
struct Outgoing {
    frame: Encoded,
    /// For a request without response.
    written: Option<Written>,
}

/// Told once the socket has taken the bytes.
#[derive(Debug)]
struct Written {
    told: Outcome<()>,
    _permit: OwnedSemaphorePermit,
}

type Outcome<T> = oneshot::Sender<Result<T, Arc<CloseCause>>>;

#[derive(Debug)]
struct Waiting {
    correlation_id: i32,
    since: Instant,
    response: Outcome<Bytes>,
    /// The request counts as in flight until its response came, even if nobody waits for it any more.
    _permit: OwnedSemaphorePermit,
}

/// The right to send a request.
struct Turn {
    permit: OwnedSemaphorePermit,
    deadline: Deadline,
}

/// By when a request must be done.
struct Deadline {
    api: ApiKey,
    within: Duration,
    at: Instant,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects to `address`, written `host:port`; every address of the host is tried.
    pub async fn connect(
        address: impl Into<Arc<str>>,
        client_id: impl Into<Str>,
        options: ConnectionOptions,
    ) -> Result<Connection, ConnectionError> {
        let address = address.into();
        let within = options.connect_timeout;
        let stream = match timeout(within, TcpStream::connect(&*address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(cause)) => return Err(ConnectionError::Connect { address, cause }),
            Err(_) => return Err(ConnectionError::ConnectTimeout { address, after: within }),
        };
        Connection::over(stream, address, client_id, options)
    }

    /// Over a socket that is connected already. `address` is for error texts.
    pub fn over(
        stream: TcpStream,
        address: impl Into<Arc<str>>,
        client_id: impl Into<Str>,
        options: ConnectionOptions,
    ) -> Result<Connection, ConnectionError> {
        let address = address.into();
        let failed = |cause| ConnectionError::Connect { address: address.clone(), cause };
        stream.set_nodelay(true).map_err(failed)?;
        if let Some(silence) = options.max_silence {
            notice_silence(&stream, silence).map_err(failed)?;
        }
        let (queue, outgoing) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            address,
            client_id: client_id.into(),
            in_flight: Arc::new(Semaphore::new(options.max_in_flight)),
            options,
            state: Mutex::new(State { queue: Some(queue), waiting: VecDeque::new(), next_correlation_id: 0 }),
            closed: watch::Sender::new(None),
            peer_versions: OnceCell::new(),
        });
        let driver = tokio::spawn(driver::run(stream, outgoing, shared.clone()));
        Ok(Connection { shared, _driver: Arc::new(AbortOnDrop(driver.abort_handle())) })
    }

    /// Where it was connected to.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    pub fn is_closed(&self) -> bool {
        self.shared.closed.borrow().is_some()
    }

    /// When the oldest request without its response was sent, if there is one. That of a future which was dropped
    /// counts as well: the responses of later ones come after it.
    pub(crate) fn unanswered_since(&self) -> Option<Instant> {
        self.shared.state().waiting.front().map(|waiting| waiting.since)
    }

    /// Waits until the connection ends, and tells why it did.
    pub async fn closed(&self) -> ConnectionError {
        let mut closed = self.shared.closed.subscribe();
        let cause = match closed.wait_for(Option::is_some).await {
            Ok(cause) => cause.clone(),
            // Cannot be: `self` holds the sender.
            Err(_) => None,
        };
        self.closed_error(cause.unwrap_or_else(|| Arc::new(CloseCause::Peer)))
    }

    /// Sends a request in the given version and waits for the response.
    ///
    /// Requests reach the broker in the order in which these futures were first polled, as long as fewer
    /// than [`max_in_flight`](ConnectionOptions::max_in_flight) wait. A future that is dropped does not
    /// take the request back.
    pub async fn send<R: Request>(&self, request: &R, version: i16) -> Result<R::Response, ConnectionError> {
        self.send_within(request, version, self.shared.options.request_timeout).await
    }

    /// [`send`](Connection::send) with a timeout of its own, for requests that the broker may hold.
    pub async fn send_within<R: Request>(
        &self,
        request: &R,
        version: i16,
        within: Duration,
    ) -> Result<R::Response, ConnectionError> {
        let frame = self.exchange(request, version, within).await?;
        let decode = || {
            let (_, mut body) = frame::parse_response(R::KEY, version, frame)?;
            R::Response::decode(&mut body, version)
        };
        decode().map_err(|cause| self.undecodable(R::KEY, version, cause))
    }

    /// Sends a request that the broker does not answer: Produce with acks 0. Done when the socket has it.
    pub async fn send_no_reply<R: Request>(&self, request: &R, version: i16) -> Result<(), ConnectionError> {
        let turn = self.turn(R::KEY, self.shared.options.request_timeout).await?;
        let (told, outcome) = oneshot::channel();
        let deadline = turn.deadline;
        self.enqueue(request, version, |_, frame, _| Outgoing {
            frame,
            written: Some(Written { told, _permit: turn.permit }),
        })?;
        self.outcome(outcome, deadline).await
    }

    /// Asks the broker, once for the connection, which versions it speaks.
    pub async fn negotiate(&self) -> Result<&PeerVersions, ConnectionError> {
        self.shared.peer_versions.get_or_try_init(|| self.ask_versions()).await
    }

    /// Sends a request in the latest version that both sides know; asks for the broker's at first.
    pub async fn send_negotiated<R: Request>(&self, request: &R) -> Result<R::Response, ConnectionError> {
        let peer = self.negotiate().await?;
        let version = peer.latest(R::KEY).ok_or_else(|| ConnectionError::NoCommonVersion {
            address: self.shared.address.clone(),
            api: R::KEY,
            theirs: peer.range(R::KEY),
        })?;
        self.send(request, version).await
    }

    async fn ask_versions(&self) -> Result<PeerVersions, ConnectionError> {
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static("ottla"),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
        };
        let within = self.shared.options.request_timeout;
        let mut version = ApiKey::ApiVersions.max_version();
        let frame = self.exchange(&request, version, within).await?;
        let mut answer = self.decode_versions(version, frame)?;
        if answer.error_code == ErrorCode::UnsupportedVersion.code() && version > 0 {
            // It told what it speaks in the form of version 0, with ApiVersions alone in it.
            version = PeerVersions::new(&answer).latest(ApiKey::ApiVersions).unwrap_or(0);
            let frame = self.exchange(&request, version, within).await?;
            answer = self.decode_versions(version, frame)?;
        }
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => Ok(PeerVersions::new(&answer)),
            error => Err(ConnectionError::VersionsRefused { address: self.shared.address.clone(), error }),
        }
    }

    /// An answer to an unknown version of ApiVersions has the form of version 0 (KIP-511).
    fn decode_versions(&self, version: i16, frame: Bytes) -> Result<ApiVersionsResponse, ConnectionError> {
        let decode = || {
            let (_, mut body) = frame::parse_response(ApiKey::ApiVersions, version, frame)?;
            let refused = body.clone().i16()? == ErrorCode::UnsupportedVersion.code();
            ApiVersionsResponse::decode(&mut body, if refused { 0 } else { version })
        };
        decode().map_err(|cause| self.undecodable(ApiKey::ApiVersions, version, cause))
    }

    /// Sends a request; the frame of its response, not decoded.
    async fn exchange<R: Request>(
        &self,
        request: &R,
        version: i16,
        within: Duration,
    ) -> Result<Bytes, ConnectionError> {
        let turn = self.turn(R::KEY, within).await?;
        let (response, outcome) = oneshot::channel();
        let deadline = turn.deadline;
        self.enqueue(request, version, |correlation_id, frame, waiting| {
            waiting.push_back(Waiting {
                correlation_id,
                since: Instant::now(),
                response,
                _permit: turn.permit,
            });
            Outgoing { frame, written: None }
        })?;
        self.outcome(outcome, deadline).await
    }

    /// Waits until fewer than the allowed number of requests are in flight.
    async fn turn(&self, api: ApiKey, within: Duration) -> Result<Turn, ConnectionError> {
        let deadline = Deadline { api, within, at: Instant::now() + within };
        match timeout_at(deadline.at, self.shared.in_flight.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn { permit, deadline }),
            Ok(Err(_)) => Err(self.closed().await),
            // Not sent, so nothing is known against the connection.
            Err(_) => Err(self.request_timeout(&deadline)),
        }
    }

    /// Encodes and queues in one step, so that the queue's order is that of the correlation ids.
    fn enqueue<R: Request>(
        &self,
        request: &R,
        version: i16,
        outgoing: impl FnOnce(i32, Encoded, &mut VecDeque<Waiting>) -> Outgoing,
    ) -> Result<(), ConnectionError> {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        let id = state.next_correlation_id;
        let frame = frame::encode_request(version, id, Some(self.shared.client_id.clone()), request)
            .map_err(|cause| ConnectionError::Encode { api: R::KEY, version, cause })?;
        let Some(queue) = &state.queue else {
            return Err(self.closed_error(self.shared.close_cause()));
        };
        state.next_correlation_id = id.checked_add(1).unwrap_or(0);
        let outgoing = outgoing(id, frame, &mut state.waiting);
        // A driver that is gone closes the connection, which reaches the waiting with its cause.
        let _ = queue.send(outgoing);
        Ok(())
    }

    async fn outcome<T>(
        &self,
        outcome: oneshot::Receiver<Result<T, Arc<CloseCause>>>,
        deadline: Deadline,
    ) -> Result<T, ConnectionError> {
        match timeout_at(deadline.at, outcome).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(cause))) => Err(self.closed_error(cause)),
            // The driver has ended and is about to tell why.
            Ok(Err(_)) => Err(self.closed().await),
            Err(_) => {
                self.shared.close(CloseCause::RequestTimeout { api: deadline.api, after: deadline.within });
                Err(self.request_timeout(&deadline))
            }
        }
    }

    fn request_timeout(&self, deadline: &Deadline) -> ConnectionError {
        ConnectionError::RequestTimeout {
            address: self.shared.address.clone(),
            api: deadline.api,
            after: deadline.within,
        }
    }

    fn closed_error(&self, cause: Arc<CloseCause>) -> ConnectionError {
        ConnectionError::Closed { address: self.shared.address.clone(), cause }
    }

    fn undecodable(&self, api: ApiKey, version: i16, cause: DecodeError) -> ConnectionError {
        ConnectionError::Decode { address: self.shared.address.clone(), api, version, cause }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; were it so, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection for everybody. The first cause stands.
    fn close(&self, cause: CloseCause) {
        let cause = Arc::new(cause);
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            if first {
                *closed = Some(cause);
            }
            first
        });
        let cause = self.close_cause();
        self.in_flight.close();
        let waiting = {
            let mut state = self.state();
            state.queue = None;
            std::mem::take(&mut state.waiting)
        };
        for waiting in waiting {
            let _ = waiting.response.send(Err(cause.clone()));
        }
    }

    fn close_cause(&self) -> Arc<CloseCause> {
        let cause = self.closed.borrow().clone();
        cause.unwrap_or_else(|| Arc::new(CloseCause::Peer))
    }
}
