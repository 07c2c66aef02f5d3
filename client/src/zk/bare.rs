//! Creates nodes without data.
//!
//! Kafka's directories have no data, which is not the same as empty data: a Kafka controller takes
//! a `/latest_producer_id_block` without data for "no block yet", and fails on an empty one. The
//! crate can only write empty data, so this speaks the few words of ZooKeeper's protocol that are
//! needed, on a short session of its own, as Kafka does for its chroot.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::connect::pause;
use super::error::ZkError;

const DEFAULT_PORT: u16 = 2181;

/// Answers here are a few dozen bytes; an error's path may be in it.
const LARGEST_ANSWER: usize = 64 * 1024;

const CREATE: i32 = 1;
const EXISTS: i32 = 3;
const CLOSE_SESSION: i32 = -11;
const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;
const OK: i32 = 0;

/// Makes sure that the paths are there, in this order, with their parents.
pub(super) async fn create(
    hosts: &str,
    chroot: &str,
    paths: &[&str],
    session_timeout: Duration,
    deadline: Instant,
) -> Result<(), ZkError> {
    let started = Instant::now();
    let mut failures = 0;
    loop {
        for host in hosts.split(',') {
            match timeout_at(deadline, create_at(host.trim(), chroot, paths, session_timeout)).await {
                Err(_) => return Err(unavailable(hosts, started)),
                Ok(Ok(refusal)) => return refusal.map_or(Ok(()), Err),
                // Creating again what is there does no harm.
                Ok(Err(error)) => tracing::debug!(host, %error, "cannot create directories here"),
            }
        }
        let wait = pause(failures);
        failures += 1;
        if Instant::now() + wait >= deadline {
            return Err(unavailable(hosts, started));
        }
        sleep(wait).await;
    }
}

fn unavailable(hosts: &str, started: Instant) -> ZkError {
    ZkError::Unavailable { hosts: hosts.to_owned(), waited: started.elapsed() }
}

/// `Ok(Some(…))`: the server answered, and refuses.
async fn create_at(
    host: &str,
    chroot: &str,
    paths: &[&str],
    session_timeout: Duration,
) -> std::io::Result<Option<ZkError>> {
    let mut talk = Talk::begin(host, session_timeout).await?;
    let mut refusal = None;
    for path in paths {
        let path = format!("{chroot}{path}");
        let code = talk.create_with_parents(&path).await?;
        if code != OK {
            let reason = format!("error {code}");
            refusal = Some(ZkError::Refused { operation: "creation", path, reason });
            break;
        }
    }
    talk.end().await?;
    Ok(refusal)
}

/// A session in lockstep: one request, one answer.
struct Talk {
    stream: TcpStream,
    requests: i32,
}

impl Talk {
    async fn begin(host: &str, session_timeout: Duration) -> std::io::Result<Talk> {
        let address = if has_port(host) { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut talk = Talk { stream, requests: 0 };
        let mut connect = BytesMut::new();
        connect.put_i32(0); // protocol version
        connect.put_i64(0); // last transaction seen
        connect.put_i32(i32::try_from(session_timeout.as_millis()).unwrap_or(i32::MAX));
        connect.put_i64(0); // a new session
        connect.put_i32(16);
        connect.put_bytes(0, 16); // its password
        connect.put_u8(0); // not read-only
        talk.exchange(&connect).await?;
        Ok(talk)
    }

    /// Creates the node unless it is there; where its parent is missing, that first.
    async fn create_with_parents(&mut self, path: &str) -> std::io::Result<i32> {
        // Asked first: who may not create here may still use what is there.
        if self.exists(path).await? == OK {
            return Ok(OK);
        }
        let mut missing = vec![path];
        while let Some(path) = missing.last().copied() {
            match (self.create(path).await?, path.rsplit_once('/')) {
                (OK | NODE_EXISTS, _) => {
                    missing.pop();
                }
                (NO_NODE, Some((parent, _))) if !parent.is_empty() => missing.push(parent),
                (refused, _) => return Ok(refused),
            }
        }
        Ok(OK)
    }

    async fn exists(&mut self, path: &str) -> std::io::Result<i32> {
        let mut body = BytesMut::new();
        put_string(&mut body, path);
        body.put_u8(0); // no watch
        self.request(EXISTS, &body).await
    }

    async fn create(&mut self, path: &str) -> std::io::Result<i32> {
        let mut body = BytesMut::new();
        put_string(&mut body, path);
        body.put_i32(-1); // no data
        body.put_i32(1); // one entry in the access list:
        body.put_i32(31); // every right
        put_string(&mut body, "world");
        put_string(&mut body, "anyone");
        body.put_i32(0); // persistent
        self.request(CREATE, &body).await
    }

    async fn end(mut self) -> std::io::Result<()> {
        self.request(CLOSE_SESSION, &[]).await.map(drop)
    }

    /// The code of the answer.
    async fn request(&mut self, operation: i32, body: &[u8]) -> std::io::Result<i32> {
        self.requests += 1;
        let mut request = BytesMut::new();
        request.put_i32(self.requests);
        request.put_i32(operation);
        request.put_slice(body);
        let mut answer = self.exchange(&request).await?;
        if answer.remaining() < 16 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let (_number, _transaction) = (answer.get_i32(), answer.get_i64());
        Ok(answer.get_i32())
    }

    async fn exchange(&mut self, request: &[u8]) -> std::io::Result<Bytes> {
        let length = i32::try_from(request.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
        self.stream.write_i32(length).await?;
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let length = usize::try_from(self.stream.read_i32().await?).unwrap_or(usize::MAX);
        if length > LARGEST_ANSWER {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        Ok(answer.into())
    }
}

fn put_string(body: &mut BytesMut, text: &str) {
    body.put_i32(i32::try_from(text.len()).unwrap_or(i32::MAX));
    body.put_slice(text.as_bytes());
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}
