//! Damaged requests, one after the other, on connections that the broker is free to close.

use std::fmt;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answered::{Abandoned, PATIENCE};
use super::frames;

const ATTACKERS: usize = 64;

/// Some requests are answered late (a Fetch that waits) or never (acks=0); it is not worth waiting for.
const SILENCE: Duration = Duration::from_millis(20);

/// How often it is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What became of the damaged requests.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Attack {
    answered: usize,
    closed: usize,
    silent: usize,
    not_let_in: usize,
}

/// How far it is.
#[derive(Debug, Default)]
struct Progress {
    sent: AtomicUsize,
    /// Of those, how many were answered or closed the connection.
    heard: AtomicUsize,
}

/// Ends early when nothing at all is heard of the broker for a while.
pub(super) async fn attack(address: SocketAddr, count: usize, seed: u64) -> Result<Attack, Abandoned> {
    let frames: Arc<[Vec<u8>]> = frames::valid().into();
    let progress = Arc::new(Progress::default());
    let attackers = (0..ATTACKERS).map(|attacker| {
        let seed = seed.wrapping_mul(ATTACKERS as u64).wrapping_add(attacker as u64);
        tokio::spawn(throw(
            address,
            Arc::clone(&frames),
            seed,
            count.div_ceil(ATTACKERS),
            Arc::clone(&progress),
        ))
    });
    let attackers = join_all(attackers.collect::<Vec<_>>());
    tokio::pin!(attackers);
    let (started, mut every) = (Instant::now(), tokio::time::interval(TOLD_EVERY));
    every.tick().await;
    let mut ear = Ear { heard: 0, at: started };
    loop {
        tokio::select! {
            all = &mut attackers => {
                let mut sum = Attack::default();
                for one in all {
                    sum += one.expect("attacked to the end");
                }
                return Ok(sum);
            }
            _ = every.tick() => {
                let sent = progress.sent.load(Ordering::Relaxed);
                eprintln!("{sent} of {count} damaged requests after {} s", started.elapsed().as_secs());
                ear.listen(progress.heard.load(Ordering::Relaxed), Instant::now())?;
            }
        }
    }
}

/// What was heard of the broker when there was something new.
#[derive(Debug)]
struct Ear {
    heard: usize,
    at: Instant,
}

impl Ear {
    fn listen(&mut self, heard: usize, now: Instant) -> Result<(), Abandoned> {
        let waited = now.saturating_duration_since(self.at);
        if heard > self.heard {
            *self = Ear { heard, at: now };
        } else if waited >= PATIENCE {
            return Err(Abandoned::Silence { whom: String::from("any damaged request"), waited });
        }
        Ok(())
    }
}

async fn throw(
    address: SocketAddr,
    frames: Arc<[Vec<u8>]>,
    seed: u64,
    count: usize,
    progress: Arc<Progress>,
) -> Attack {
    let mut random = StdRng::seed_from_u64(seed);
    let mut seen = Attack::default();
    let mut open = None;
    for _ in 0..count {
        let body = frames::damaged(&frames, &mut random);
        let mut socket = match open.take() {
            Some(socket) => socket,
            None => match timeout(PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => socket,
                Ok(Err(_)) | Err(_) => {
                    seen.not_let_in += 1;
                    continue;
                }
            },
        };
        progress.sent.fetch_add(1, Ordering::Relaxed);
        let exchanged = timeout(SILENCE, exchange(&mut socket, &body)).await;
        progress.heard.fetch_add(usize::from(exchanged.is_ok()), Ordering::Relaxed);
        match exchanged {
            Ok(Ok(())) => {
                seen.answered += 1;
                open = Some(socket);
                continue;
            }
            Ok(Err(_)) => seen.closed += 1,
            Err(_) => seen.silent += 1,
        }
        // No connection waits for its end on this side, where ports would run out.
        let _ = socket.set_zero_linger();
    }
    seen
}

async fn exchange(socket: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    let frame = [&(body.len() as u32).to_be_bytes()[..], body].concat();
    socket.write_all(&frame).await?;
    let length = socket.read_u32().await?;
    tokio::io::copy(&mut socket.take(length.into()), &mut tokio::io::sink()).await?;
    Ok(())
}

impl Attack {
    fn thrown(&self) -> usize {
        self.answered + self.closed + self.silent
    }

    /// Attacks that prove nothing.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.not_let_in > 0 {
            complaints.push(format!("{} damaged requests found no open door", self.not_let_in));
        }
        if self.answered < self.thrown() / 20 || self.closed < self.thrown() / 20 {
            complaints.push(format!("the damage is too small or too great to test anything: {self}"));
        }
        complaints
    }
}

impl AddAssign for Attack {
    fn add_assign(&mut self, other: Attack) {
        self.answered += other.answered;
        self.closed += other.closed;
        self.silent += other.silent;
        self.not_let_in += other.not_let_in;
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} damaged requests: {} answered, {} closed the connection, {} not answered within {} ms",
            self.thrown(),
            self.answered,
            self.closed,
            self.silent,
            SILENCE.as_millis()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_silence_ends_the_attack() {
        let start = Instant::now();
        let after = |patiences: u32| start + PATIENCE * patiences;
        let mut ear = Ear { heard: 0, at: start };
        assert!(ear.listen(0, after(1) - TOLD_EVERY).is_ok());
        assert!(ear.listen(5, after(1)).is_ok());
        assert!(ear.listen(5, after(2) - TOLD_EVERY).is_ok());
        let silence = ear.listen(5, after(2)).map_err(|abandoned| abandoned.to_string());
        assert_eq!(silence, Err(String::from("the broker did not answer any damaged request for 30 s")));
    }
}
