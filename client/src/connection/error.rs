//! Why a request got no response.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::wire::{ApiKey, DecodeError, EncodeError, ErrorCode};

/// Why a request got no response.
///
/// After [`Closed`](ConnectionError::Closed), [`RequestTimeout`](ConnectionError::RequestTimeout) and
/// [`Decode`](ConnectionError::Decode) the broker may or may not have done what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("cannot connect to {address}: {cause}")]
    Connect { address: Arc<str>, cause: io::Error },
    #[error("cannot connect to {address}: no answer within {after:?}")]
    ConnectTimeout { address: Arc<str>, after: Duration },
    #[error("the connection to {address} is closed: {cause}")]
    Closed { address: Arc<str>, cause: Arc<CloseCause> },
    #[error("{address} did not answer {api} within {after:?}")]
    RequestTimeout { address: Arc<str>, api: ApiKey, after: Duration },
    #[error("cannot write {api} version {version}: {cause}")]
    Encode { api: ApiKey, version: i16, cause: EncodeError },
    #[error("cannot read what {address} answered to {api} version {version}: {cause}")]
    Decode { address: Arc<str>, api: ApiKey, version: i16, cause: DecodeError },
    #[error("{address} speaks no version of {api} that we know (it offers {theirs:?})")]
    NoCommonVersion { address: Arc<str>, api: ApiKey, theirs: Option<(i16, i16)> },
    #[error("{address} does not tell which versions it speaks: {error}")]
    VersionsRefused { address: Arc<str>, error: ErrorCode },
}

impl ConnectionError {
    /// Whether the same may succeed later without anybody's help.
    pub fn is_retriable(&self) -> bool {
        !matches!(self, ConnectionError::NoCommonVersion { .. } | ConnectionError::Encode { .. })
    }
}

/// What ended a connection.
#[derive(Debug, thiserror::Error)]
pub enum CloseCause {
    #[error("the peer closed it")]
    Peer,
    #[error(transparent)]
    Io(io::Error),
    #[error("{api} was not answered within {after:?}")]
    RequestTimeout { api: ApiKey, after: Duration },
    #[error("a response announces {length} bytes; the limit is {limit}")]
    ResponseLength { length: i32, limit: usize },
    #[error("response {got} came, but the next one should be {expected:?}")]
    WrongResponse { got: i32, expected: Option<i32> },
}
