//! What can become of an operation.

use std::time::Duration;

use zookeeper_client::Error;

use super::config::InvalidConnectString;
use super::node::SessionId;
use crate::ids::ZkVersion;

/// Why an operation did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZkError {
    #[error("ZooKeeper has no node {path}")]
    NoNode { path: String },
    #[error("ZooKeeper has a node {path} already")]
    NodeExists { path: String },
    /// The data version is not the expected one.
    #[error("{path} was changed in ZooKeeper by somebody else")]
    BadVersion { path: String },
    #[error("{path} has children in ZooKeeper")]
    NotEmpty { path: String },
    /// Another controller was elected, or an outsider wrote `/controller_epoch`.
    #[error("/controller_epoch in ZooKeeper is no longer at version {expected}")]
    Fenced { expected: ZkVersion },
    #[error("ZooKeeper refuses access to {path}")]
    NoAuth { path: String },
    /// The connection was lost before the answer: the write may have been done or not. It may even be done
    /// later, by a server that was stopped (ARCHITECTURE.md, "Committed offsets", Stamp): a write that must not be
    /// names a version. See [`Session::settle`](super::Session::settle).
    #[error("it is not known whether the {operation} of {path} reached ZooKeeper: {cause}")]
    Ambiguous { operation: &'static str, path: String, cause: String },
    /// There was no connection in time; nothing was sent.
    #[error("no connection to ZooKeeper ({hosts}) within {} ms", waited.as_millis())]
    Unavailable { hosts: String, waited: Duration },
    /// The server ended the session, and with it every ephemeral node of it.
    #[error("ZooKeeper has ended the session {session}")]
    SessionExpired { session: SessionId },
    /// The session was closed on this side.
    #[error("the ZooKeeper session {session} is closed")]
    Closed { session: SessionId },
    #[error("ZooKeeper refuses the credentials")]
    AuthFailed,
    /// The server would answer by dropping the connection.
    #[error("the {operation} of {path} would take {bytes} bytes, more than the {limit} that ZooKeeper takes")]
    TooLarge { operation: &'static str, path: String, bytes: usize, limit: usize },
    /// More watched paths than can be taken along to another server.
    #[error("cannot watch {path}: the watched paths would take more than {limit} bytes")]
    TooManyWatches { path: String, limit: usize },
    #[error(transparent)]
    InvalidConnectString(#[from] InvalidConnectString),
    /// Any other definite answer.
    #[error("ZooKeeper refuses the {operation} of {path}: {reason}")]
    Refused { operation: &'static str, path: String, reason: String },
}

impl ZkError {
    /// The session is gone: whoever needs one must make another.
    pub fn is_session_over(&self) -> bool {
        matches!(self, ZkError::SessionExpired { .. } | ZkError::Closed { .. } | ZkError::AuthFailed)
    }

    /// Nothing is known to be wrong with the request; it may succeed when ZooKeeper is back.
    pub fn is_connection_trouble(&self) -> bool {
        matches!(self, ZkError::Ambiguous { .. } | ZkError::Unavailable { .. })
    }

    /// `Ok(None)` instead of [`ZkError::NoNode`].
    pub fn absent_is_none<T>(result: Result<T, ZkError>) -> Result<Option<T>, ZkError> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(ZkError::NoNode { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why a multi did nothing, or may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct MultiError {
    /// The operation that failed, counted from 0. `None`: the request as a whole.
    pub index: Option<usize>,
    #[source]
    pub error: ZkError,
}

impl From<ZkError> for MultiError {
    fn from(error: ZkError) -> MultiError {
        MultiError { index: None, error }
    }
}

/// A failure as the crate reports it, in our classes.
pub(super) enum Failure {
    /// A definite answer.
    Answer(ZkError),
    /// No answer: a write may have been done, a read can be repeated.
    NoAnswer(String),
}

impl Failure {
    pub(super) fn of(error: Error, operation: &'static str, path: &str) -> Failure {
        let path = || path.to_owned();
        match error {
            Error::NoNode => Failure::Answer(ZkError::NoNode { path: path() }),
            Error::NodeExists => Failure::Answer(ZkError::NodeExists { path: path() }),
            Error::BadVersion => Failure::Answer(ZkError::BadVersion { path: path() }),
            Error::NotEmpty => Failure::Answer(ZkError::NotEmpty { path: path() }),
            Error::NoAuth => Failure::Answer(ZkError::NoAuth { path: path() }),
            Error::AuthFailed => Failure::Answer(ZkError::AuthFailed),
            // The client says "expired" and "closed" of itself, also when it only gave up; the
            // session's state, which the server decides, tells what the next operation gets.
            Error::ConnectionLoss
            | Error::Custom(_)
            | Error::Timeout
            | Error::UnexpectedError(_)
            | Error::UnmarshalError { .. }
            | Error::SessionExpired
            | Error::SessionMoved
            | Error::ClientClosed => Failure::NoAnswer(error.to_string()),
            other => Failure::Answer(ZkError::Refused { operation, path: path(), reason: other.to_string() }),
        }
    }

    /// What a write makes of it.
    pub(super) fn of_write(self, operation: &'static str, path: &str) -> ZkError {
        match self {
            Failure::Answer(error) => error,
            Failure::NoAnswer(cause) => ZkError::Ambiguous { operation, path: path.to_owned(), cause },
        }
    }
}
