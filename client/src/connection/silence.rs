//! Connections over which nothing comes any more.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Between the questions whether the peer's machine is still there; systems count in whole seconds.
const EVERY: Duration = Duration::from_secs(1);

/// Ends the connection with an error when the peer's machine has acknowledged nothing for `limit`, be it
/// data or, where there is none, the system's own questions. Left to itself, a connection over a network
/// that was cut sends again at doubled intervals, so that it stays mute after the network is whole for as
/// long as it was cut.
pub fn notice_silence(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let questions = 2;
    let quiet = limit.saturating_sub(EVERY * questions).max(EVERY);
    let keepalive = TcpKeepalive::new().with_time(quiet).with_interval(EVERY).with_retries(questions);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limit))?;
    Ok(())
}
