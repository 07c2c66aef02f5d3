//! Sends a response: bytes by vectored writes, ranges of log files by `sendfile`, so that
//! records go from the page cache to the socket without passing through this process.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Buf, Bytes};
use client::wire::{Encoded, FileSlice, Segment};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::close::CloseReason;

/// Byte segments given to one system call.
const MAX_SLICES: usize = 64;

/// Bytes given to one `sendfile`: it reads the disk on a miss of the page cache, and other
/// connections share the thread.
const MAX_SENDFILE: usize = 1 << 20;

/// Sends all of a response. The peer must take something of it every `max_idle`.
pub(super) async fn send(
    socket: &TcpStream,
    response: Encoded,
    max_idle: Option<Duration>,
) -> Result<(), CloseReason> {
    let mut segments: VecDeque<Segment> =
        response.segments.into_iter().filter(|segment| len(segment) > 0).collect();
    while let Some(first) = segments.front_mut() {
        match first {
            Segment::File(slice) => {
                let sent = within(max_idle, send_file(socket, slice)).await?;
                if sent == 0 {
                    return Err(CloseReason::TruncatedFile { missing: slice.len });
                }
                slice.position += sent as u64;
                slice.len -= sent;
                if slice.len == 0 {
                    segments.pop_front();
                }
            }
            Segment::Bytes(_) => {
                let sent = within(max_idle, send_bytes(socket, &segments)).await?;
                advance(&mut segments, sent);
            }
        }
    }
    Ok(())
}

fn len(segment: &Segment) -> usize {
    match segment {
        Segment::Bytes(bytes) => bytes.len(),
        Segment::File(slice) => slice.len,
    }
}

async fn within(
    max_idle: Option<Duration>,
    progress: impl Future<Output = io::Result<usize>>,
) -> Result<usize, CloseReason> {
    match max_idle {
        Some(limit) => Ok(timeout(limit, progress).await.map_err(|_| CloseReason::Idle(limit))??),
        None => Ok(progress.await?),
    }
}

/// Sends part of a file range; 0 if the file has ended.
async fn send_file(socket: &TcpStream, slice: &FileSlice) -> io::Result<usize> {
    let count = slice.len.min(MAX_SENDFILE);
    socket
        .async_io(Interest::WRITABLE, || {
            let mut position = slice.position;
            Ok(rustix::io::retry_on_intr(|| {
                rustix::fs::sendfile(socket, &*slice.file, Some(&mut position), count)
            })?)
        })
        .await
}

/// Sends part of the byte segments at the front.
async fn send_bytes(socket: &TcpStream, segments: &VecDeque<Segment>) -> io::Result<usize> {
    let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(segments.len().min(MAX_SLICES));
    slices.extend(segments.iter().map_while(bytes_of).take(MAX_SLICES).map(|bytes| IoSlice::new(bytes)));
    // Heads of file ranges wait in the kernel for what follows, instead of making small packets.
    let flags = if slices.len() < segments.len() {
        SendFlags::MORE | SendFlags::NOSIGNAL
    } else {
        SendFlags::NOSIGNAL
    };
    socket
        .async_io(Interest::WRITABLE, || {
            let mut space: [MaybeUninit<u8>; 0] = [];
            let mut control = SendAncillaryBuffer::new(&mut space);
            Ok(rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &slices, &mut control, flags))?)
        })
        .await
}

fn bytes_of(segment: &Segment) -> Option<&Bytes> {
    match segment {
        Segment::Bytes(bytes) => Some(bytes),
        Segment::File(_) => None,
    }
}

/// Removes `sent` bytes from the front.
fn advance(segments: &mut VecDeque<Segment>, mut sent: usize) {
    while let Some(Segment::Bytes(bytes)) = segments.front_mut() {
        if sent < bytes.len() {
            bytes.advance(sent);
            return;
        }
        sent -= bytes.len();
        segments.pop_front();
    }
}
