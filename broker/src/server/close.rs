//! Why a connection ends.

use std::io;
use std::time::Duration;

use client::wire::ApiKey;
use client::wire::frame::FrameError;
use thiserror::Error;

#[derive(Debug, Error)]
pub(super) enum CloseReason {
    #[error("the peer closed it")]
    ByPeer,
    #[error("the peer closed it within a frame, after {got} of {announced} bytes")]
    WithinFrame { got: usize, announced: usize },
    #[error("a frame of {announced} bytes is announced; 1 to {max} are accepted")]
    FrameSize { announced: i32, max: usize },
    #[error("a {key} request of {announced} bytes is announced; at most {max} are accepted")]
    ApiFrameSize { announced: usize, key: ApiKey, max: usize },
    #[error("the request cannot be read: {0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Refused(String),
    #[error("a request handler panicked")]
    Panicked,
    #[error("nothing was sent or taken for {0:?}")]
    Idle(Duration),
    #[error("a frame was begun and not continued for {waited:?}, after {got} of {announced} bytes")]
    Stalled { waited: Duration, got: usize, announced: usize },
    #[error(
        "a frame came too slowly, {got} of {announced} bytes so far, while others waited for the memory it held"
    )]
    TooSlow { got: usize, announced: usize },
    #[error(
        "there was no memory for a frame for {waited:?}, after {got} of {announced} bytes: other requests hold all of queued.max.request.bytes"
    )]
    NoMemory { waited: Duration, got: usize, announced: usize },
    #[error("the log file ended {missing} bytes before the end of the slice to send")]
    TruncatedFile { missing: usize },
    #[error("the server shuts down")]
    Shutdown,
    #[error(transparent)]
    Io(#[from] io::Error),
}
