//! Cuts frames from a connection: a length of four bytes, then as many bytes.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use client::wire::frame::FrameError;
use client::wire::{ApiKey, versions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

use super::budget::{Budget, Held};
use super::close::CloseReason;

/// Read ahead per connection: takes a small request, length and all, in one system call.
const READ_AHEAD: usize = 4 << 10;

/// Memory reserved for a frame before its bytes arrive. It is not charged to the budget: most
/// requests are no larger, and neither the controller nor followers nor those who only ask may have
/// to wait until large frames, which a few slow peers can hold up for long, are complete.
const FIRST_RESERVE: usize = 16 << 10;

/// Memory that a larger frame is charged for at once, if it is as large: what most producers send at
/// most. Frames that take less at a time are many before all is taken, and then none goes on.
const FIRST_CHARGE: usize = 1 << 20;

/// A frame once begun must go on: its memory is not lent to a peer that is gone.
const STALL_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Incoming {
    socket: BufReader<OwnedReadHalf>,
    budget: Budget,
    max_bytes: usize,
    max_idle: Option<Duration>,
}

impl Incoming {
    pub(super) fn new(
        socket: OwnedReadHalf,
        budget: Budget,
        max_bytes: usize,
        max_idle: Option<Duration>,
    ) -> Incoming {
        Incoming { socket: BufReader::with_capacity(READ_AHEAD, socket), budget, max_bytes, max_idle }
    }

    /// Waits for the first byte of a frame. May be dropped and called again without loss.
    pub(super) async fn ready(&mut self) -> Result<(), CloseReason> {
        let filled = match self.max_idle {
            Some(limit) => {
                timeout(limit, self.socket.fill_buf()).await.map_err(|_| CloseReason::Idle(limit))?
            }
            None => self.socket.fill_buf().await,
        };
        if filled?.is_empty() { Err(CloseReason::ByPeer) } else { Ok(()) }
    }

    /// Reads one frame, without its length.
    pub(super) async fn frame(&mut self) -> Result<Bytes, CloseReason> {
        let announced = self.length().await?;
        let limit = self.stall_limit();
        let mut held = Held::default();
        let mut frame = Vec::new();
        let mut charged = FIRST_RESERVE;
        let mut api_checked = false;
        while frame.len() < announced {
            let received = frame.len();
            let come = Come { limit, received, announced };
            if received == frame.capacity() {
                let target =
                    (frame.capacity() * 2).clamp(FIRST_RESERVE, announced.max(FIRST_RESERVE)).min(announced);
                if target > charged {
                    // Who has nothing to send needs no memory.
                    come.before(&held, async { Ok(self.socket.fill_buf().await?.len()) }).await?;
                    let charge = target.max(FIRST_CHARGE).min(announced);
                    tokio::select! {
                        biased;
                        taken = timeout(limit, self.budget.take(&mut held, charge - charged, announced - received)) => {
                            taken.map_err(|_| CloseReason::NoMemory { waited: limit, got: received, announced })?;
                        }
                        // Nobody waits on behalf of a peer that is gone.
                        error = broken(self.socket.get_ref()) => return Err(error),
                    }
                    charged = charge;
                }
                frame.reserve_exact(target - received);
            }
            let room = (frame.capacity() - received).min(announced - received);
            let mut rest = (&mut frame).limit(room);
            let got = come.before(&held, self.socket.read_buf(&mut rest)).await?;
            held.received(got);
            if !api_checked && let Some(&[high, low]) = frame.first_chunk() {
                let key = ApiKey::try_from(i16::from_be_bytes([high, low])).map_err(FrameError::from)?;
                check_api_size(key, announced)?;
                api_checked = true;
            }
        }
        Ok(held.into_frame(frame))
    }

    async fn length(&mut self) -> Result<usize, CloseReason> {
        let limit = self.stall_limit();
        let mut length = [0; 4];
        let read = timeout(limit, self.socket.read_exact(&mut length)).await;
        match read.map_err(|_| stalled(limit, 0, length.len()))? {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(CloseReason::WithinFrame { got: 0, announced: length.len() });
            }
            Err(error) => return Err(error.into()),
        }
        let announced = i32::from_be_bytes(length);
        match usize::try_from(announced) {
            Ok(bytes) if bytes > 0 && bytes <= self.max_bytes => Ok(bytes),
            _ => Err(CloseReason::FrameSize { announced, max: self.max_bytes }),
        }
    }

    fn stall_limit(&self) -> Duration {
        self.max_idle.map_or(STALL_LIMIT, |limit| limit.min(STALL_LIMIT))
    }
}

/// How much of a frame has come.
struct Come {
    limit: Duration,
    received: usize,
    announced: usize,
}

impl Come {
    /// What `read` gets, which is something, before the frame is given up.
    async fn before(
        &self,
        held: &Held,
        read: impl Future<Output = std::io::Result<usize>>,
    ) -> Result<usize, CloseReason> {
        let &Come { limit, received: got, announced } = self;
        let read = tokio::select! {
            biased;
            read = timeout(limit, read) => read.map_err(|_| stalled(limit, got, announced))??,
            () = held.given_up() => return Err(CloseReason::TooSlow { got, announced }),
        };
        if read == 0 { Err(CloseReason::WithinFrame { got, announced }) } else { Ok(read) }
    }
}

/// Completes when the connection is reset.
async fn broken(socket: &OwnedReadHalf) -> CloseReason {
    let socket: &TcpStream = socket.as_ref();
    // Readiness may be reported in vain.
    let error = || socket.take_error()?.ok_or_else(|| ErrorKind::WouldBlock.into());
    match socket.async_io(Interest::ERROR, error).await {
        Ok(error) | Err(error) => error.into(),
    }
}

/// Most requests are small, and their decoded form is many times larger than they are.
fn check_api_size(key: ApiKey, announced: usize) -> Result<(), CloseReason> {
    match versions::max_request_bytes(key) {
        Some(max) if announced > max => Err(CloseReason::ApiFrameSize { announced, key, max }),
        _ => Ok(()),
    }
}

fn stalled(waited: Duration, got: usize, announced: usize) -> CloseReason {
    CloseReason::Stalled { waited, got, announced }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::net::tcp::OwnedWriteHalf;

    use super::*;

    /// A connection, while larger frames have taken all memory there is.
    struct Short {
        incoming: Incoming,
        peer: TcpStream,
        _write: OwnedWriteHalf,
        _taken: [Held; 2],
    }

    impl Short {
        async fn of_memory() -> Short {
            let budget = Budget::new(1);
            let [mut all, mut overdraft] = [Held::default(), Held::default()];
            budget.take(&mut all, 1, 1).await;
            budget.take(&mut overdraft, 1, 1).await;
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let peer = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
            let (read, _write) = listener.accept().await.expect("a peer").0.into_split();
            let incoming = Incoming::new(read, budget, 1 << 20, None);
            Short { incoming, peer, _write, _taken: [all, overdraft] }
        }
    }

    #[tokio::test]
    async fn small_frames_pass_while_large_ones_hold_the_whole_budget() {
        let mut short = Short::of_memory().await;

        let small = [&[0, 18][..], &[7; FIRST_RESERVE - 2]].concat();
        short.peer.write_u32(small.len() as u32).await.expect("open");
        short.peer.write_all(&small).await.expect("open");
        assert_eq!(short.incoming.frame().await.expect("whole"), small);

        short.peer.write_u32(small.len() as u32 + 1).await.expect("open");
        short.peer.write_all(&[0; 100]).await.expect("open");
        let produce = [&[0, 0][..], &[7; FIRST_RESERVE - 101]].concat();
        short.peer.write_all(&produce).await.expect("open");
        short.incoming.ready().await.expect("open");
        assert!(short.incoming.frame().now_or_never().is_none(), "a larger one waits");
    }

    #[tokio::test]
    async fn who_gets_no_memory_is_not_said_to_have_stalled() {
        let mut short = Short::of_memory().await;
        short.incoming.max_idle = Some(Duration::from_millis(50));
        short.peer.write_u32(1 << 20).await.expect("open");
        short.peer.write_all(&[0; 2 * FIRST_RESERVE]).await.expect("open");
        let end = short.incoming.frame().await;
        assert!(matches!(end, Err(CloseReason::NoMemory { .. })), "{end:?}");
    }

    #[tokio::test]
    async fn nobody_waits_for_memory_on_behalf_of_a_peer_that_is_gone() {
        let mut short = Short::of_memory().await;
        short.peer.write_u32(1 << 20).await.expect("open");
        short.peer.write_all(&[0; 2 * FIRST_RESERVE]).await.expect("open");
        let frame = short.incoming.frame();
        tokio::pin!(frame);
        assert!(timeout(Duration::from_millis(50), &mut frame).await.is_err(), "it waits");

        short.peer.set_zero_linger().expect("a socket");
        drop(short.peer);
        let end = frame.await;
        assert!(matches!(end, Err(CloseReason::Io(_) | CloseReason::ByPeer)), "{end:?}");
    }
}
