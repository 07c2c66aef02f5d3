//! A TCP proxy on loopback that can misbehave like a network.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// New connections are closed at once; open ones go on.
    Refusing,
    /// Requests arrive, answers get lost.
    AnswersLost,
    /// Requests arrive, answers wait for other weather.
    AnswersLate,
    /// Nothing arrives; connections stay open.
    Silent,
}

/// Requests that got lost, one behind the other, of all connections.
type Kept = Arc<Mutex<Vec<u8>>>;

/// Forwards connections to one address until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    /// Bytes.
    lost: watch::Sender<usize>,
    kept: Kept,
    /// Counts the cuts.
    cuts: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Must be called within a runtime of tokio.
    pub async fn start(upstream: &str) -> Proxy {
        let upstream: SocketAddr = upstream.parse().expect("the upstream is an address and a port");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let weather = watch::Sender::new(Weather::Fair);
        let (lost, cuts) = (watch::Sender::new(0), watch::Sender::new(0));
        let kept = Kept::default();
        let losses = (lost.clone(), Arc::clone(&kept));
        let accepting =
            tokio::spawn(accept(listener, upstream, weather.subscribe(), losses, cuts.subscribe()));
        Proxy { port, weather, lost, kept, cuts, accepting }
    }

    /// `host:port`.
    pub fn connect_string(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How many bytes got lost so far; follows the number.
    pub fn lost(&self) -> watch::Receiver<usize> {
        self.lost.subscribe()
    }

    /// The requests that got lost since this was asked last.
    pub fn take_lost_requests(&self) -> Vec<u8> {
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Breaks every open connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    weather: watch::Receiver<Weather>,
    losses: (watch::Sender<usize>, Kept),
    cuts: watch::Receiver<u64>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if *weather.borrow() == Weather::Refusing {
            continue;
        }
        let (weather, (lost, kept), mut cuts) = (weather.clone(), losses.clone(), cuts.clone());
        cuts.mark_unchanged();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = pump(from_client, to_server, weather.clone(), Direction::Requests, &lost, Some(&kept)) => {}
                () = pump(from_server, to_client, weather, Direction::Answers, &lost, None) => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Answers,
}

impl Direction {
    fn loses_in(self, weather: Weather) -> bool {
        weather == Weather::Silent || self == Direction::Answers && weather == Weather::AnswersLost
    }

    fn waits_in(self, weather: Weather) -> bool {
        self == Direction::Answers && weather == Weather::AnswersLate
    }
}

/// Forwards until either side ends, as the weather permits.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    direction: Direction,
    lost: &watch::Sender<usize>,
    kept: Option<&Kept>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let Ok(now) = weather.wait_for(|weather| !direction.waits_in(*weather)).await.map(|now| *now) else {
            return;
        };
        if direction.loses_in(now) {
            if let Some(kept) = kept {
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..count]);
            }
            lost.send_modify(|lost| *lost += count);
        } else if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
