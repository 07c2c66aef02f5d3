//! Peers that only take up room.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use client::wire::frame::encode_request;
use client::wire::messages::FetchRequest;
use client::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::answered::{Abandoned, PATIENCE, answered};
use super::{DATA, FRAME_BUDGET};

/// Connections opened or asked at a time.
const AT_A_TIME: usize = 100;

const MIB: i32 = 1 << 20;

/// `ApiVersions` version 0 by a client without a name.
const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];

/// The first bytes of a Produce request, so that a large frame is believed.
const PRODUCE: [u8; 4] = [0, 0, 0, 9];

#[derive(Debug)]
pub(super) struct Crowd {
    address: SocketAddr,
    asking: Vec<TcpStream>,
    silent: Vec<TcpStream>,
}

impl Crowd {
    /// Opens so many connections, each of which asks something.
    pub(super) async fn gather(address: SocketAddr, count: usize) -> Result<Crowd, Abandoned> {
        let asking = stream::iter(0..count)
            .map(async |_| {
                let mut socket = connect(address).await?;
                ask(&mut socket).await?;
                Ok(socket)
            })
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await?;
        Ok(Crowd { address, asking, silent: Vec::new() })
    }

    /// All who asked at first ask again, on the same connections.
    pub(super) async fn ask_all(&mut self) -> Result<(), Abandoned> {
        stream::iter(&mut self.asking).map(Ok).try_for_each_concurrent(AT_A_TIME, ask).await
    }

    /// Connections that fetch all they can, twice, and read nothing of it.
    pub(super) async fn read_slowly(&mut self, count: usize) -> Result<(), Abandoned> {
        let fetch = fetch();
        for _ in 0..count {
            let socket = TcpSocket::new_v4().expect("a socket can be made");
            socket.set_recv_buffer_size(4 << 10).expect("the buffer can be small");
            let mut socket = answered("who connects to read slowly", socket.connect(self.address)).await?;
            answered("who reads slowly", socket.write_all(&[&fetch[..], &fetch[..]].concat())).await?;
            self.silent.push(socket);
        }
        Ok(())
    }

    /// Connections that announce as much as a frame may have, and send next to nothing.
    pub(super) async fn announce(&mut self, count: usize) -> Result<(), Abandoned> {
        self.begin(count, FRAME_BUDGET as i32, &PRODUCE).await
    }

    /// Connections that send most of a frame.
    pub(super) async fn trickle(&mut self, count: usize) -> Result<(), Abandoned> {
        let most = [&PRODUCE[..], &vec![0; (MIB / 8 * 7) as usize]].concat();
        self.begin(count, MIB, &most).await
    }

    async fn begin(&mut self, count: usize, announced: i32, bytes: &[u8]) -> Result<(), Abandoned> {
        for _ in 0..count {
            let mut socket = connect(self.address).await?;
            answered("who begins a frame", socket.write_all(&announced.to_be_bytes())).await?;
            // What the broker does not read yet waits in the socket, as far as there is room.
            let _ = timeout(Duration::from_millis(5), socket.write_all(bytes)).await;
            self.silent.push(socket);
        }
        Ok(())
    }

    /// Sends lengths that no frame has; each must end its connection. How many there were.
    pub(super) async fn oversize(&self) -> Result<usize, Abandoned> {
        let lengths = [i32::MAX, i32::MIN, -1, 0, FRAME_BUDGET as i32 + 1];
        for length in lengths {
            let whom = format!("a frame of {length} bytes");
            let mut socket = connect(self.address).await?;
            answered(&whom, socket.write_all(&length.to_be_bytes())).await?;
            match timeout(PATIENCE, socket.read_u8()).await {
                Ok(Err(_)) => {}
                Ok(Ok(_)) => {
                    return Err(Abandoned::Refusal {
                        whom,
                        why: String::from("it was answered, not refused"),
                    });
                }
                Err(_) => return Err(Abandoned::Silence { whom, waited: PATIENCE }),
            }
        }
        Ok(lengths.len())
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Abandoned> {
    answered("who connects", TcpStream::connect(address)).await
}

async fn ask(socket: &mut TcpStream) -> Result<(), Abandoned> {
    let asked = async {
        socket.write_all(&QUESTION).await?;
        let length = socket.read_u32().await?;
        tokio::io::copy(&mut socket.take(length.into()), &mut tokio::io::sink()).await
    };
    answered("one of the crowd", asked).await.map(drop)
}

/// Of all that [`DATA`] has, with its length.
fn fetch() -> Bytes {
    let partition = FetchPartition { partition_max_bytes: 100 * MIB, ..FetchPartition::default() };
    let topic = FetchTopic { topic: DATA.into(), partitions: vec![partition], ..FetchTopic::default() };
    let body = FetchRequest {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 100 * MIB,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    encode_request(11, 1, None, &body).expect("encodes").into_bytes().expect("in memory")
}
