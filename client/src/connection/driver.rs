//! Moves a connection's bytes: queued frames to the socket, responses to who waits for them.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{CloseCause, Outgoing, Shared};
use crate::wire::{Encoded, Segment};

/// What is read or written at once when messages are small, and what a response takes before its first
/// byte came.
const BUFFER: usize = 64 * 1024;
/// The smallest response: a correlation id.
const MIN_RESPONSE: usize = 4;

/// Runs until the connection ends, then tells everybody why.
pub(super) async fn run(
    mut stream: TcpStream,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
    shared: Arc<Shared>,
) {
    let mut closed = shared.closed.subscribe();
    let (reading, writing) = stream.split();
    let cause = tokio::select! {
        cause = read_responses(reading, &shared) => cause,
        cause = write_requests(writing, outgoing) => cause,
        _ = closed.wait_for(Option::is_some) => return,
    };
    shared.close(cause);
}

async fn read_responses(socket: impl AsyncRead + Unpin, shared: &Shared) -> CloseCause {
    let mut socket = BufReader::with_capacity(BUFFER, socket);
    loop {
        let frame = match read_frame(&mut socket, shared.options.max_response_bytes).await {
            Ok(frame) => frame,
            Err(cause) => return cause,
        };
        let Some(id) = frame.first_chunk().map(|id| i32::from_be_bytes(*id)) else {
            return CloseCause::ResponseLength { length: 0, limit: shared.options.max_response_bytes };
        };
        let waiting = {
            let mut state = shared.state();
            match state.waiting.front() {
                Some(next) if next.correlation_id == id => state.waiting.pop_front(),
                next => {
                    let expected = next.map(|next| next.correlation_id);
                    return CloseCause::WrongResponse { got: id, expected };
                }
            }
        };
        if let Some(waiting) = waiting {
            let _ = waiting.response.send(Ok(frame));
        }
    }
}

/// A frame without its length. Its buffer grows with what has arrived, at most to twice that.
async fn read_frame(socket: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<Bytes, CloseCause> {
    let announced = socket.read_i32().await.map_err(end_or_error)?;
    let length = match usize::try_from(announced) {
        Ok(length) if (MIN_RESPONSE..=limit).contains(&length) => length,
        _ => return Err(CloseCause::ResponseLength { length: announced, limit }),
    };
    let mut frame = BytesMut::with_capacity(length.min(BUFFER));
    let mut rest = socket.take(length as u64);
    while frame.len() < length {
        if frame.len() == frame.capacity() {
            frame.reserve((length - frame.len()).min(frame.len()));
        }
        if rest.read_buf(&mut frame).await.map_err(end_or_error)? == 0 {
            return Err(CloseCause::Peer);
        }
    }
    Ok(frame.freeze())
}

async fn write_requests(
    socket: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
) -> CloseCause {
    let mut socket = BufWriter::with_capacity(BUFFER, socket);
    let mut written = Vec::new();
    while let Some(next) = outgoing.recv().await {
        let mut next = Some(next);
        // What has queued up meanwhile goes out together.
        while let Some(Outgoing { frame, written: ask }) = next {
            if let Err(cause) = write_frame(&mut socket, frame).await {
                return end_or_error(cause);
            }
            written.extend(ask);
            next = outgoing.try_recv().ok();
        }
        if let Err(cause) = socket.flush().await {
            return end_or_error(cause);
        }
        for written in written.drain(..) {
            // Who asked may have gone: nothing to tell then.
            let _ = written.told.send(Ok(()));
        }
    }
    CloseCause::Peer
}

async fn write_frame(socket: &mut (impl AsyncWrite + Unpin), frame: Encoded) -> io::Result<()> {
    for segment in frame.segments {
        match segment {
            Segment::Bytes(bytes) => socket.write_all(&bytes).await?,
            Segment::File(slice) => {
                let bytes = tokio::task::spawn_blocking(move || slice.read()).await??;
                socket.write_all(&bytes).await?;
            }
        }
    }
    Ok(())
}

fn end_or_error(cause: io::Error) -> CloseCause {
    match cause.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            CloseCause::Peer
        }
        _ => CloseCause::Io(cause),
    }
}
