//! A server over loopback, spoken to in raw bytes.

use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use client::wire::{ApiKey, Encoded, FileSlice, Segment};
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::*;
use crate::api::dispatch;
use crate::api::testing::OneBroker;

mod parked;

/// Short enough for a test, long enough for a loaded machine to answer within.
const SHORT: Duration = Duration::from_millis(300);

fn start(options: ServerOptions, answer: Arc<Answer>) -> (SocketAddr, Server) {
    let name: Arc<str> = "PLAINTEXT".into();
    let any = "127.0.0.1:0".parse().expect("an address");
    let bound = Bound::bind(&BTreeMap::from([(Arc::clone(&name), any)]), options).expect("a free port");
    let address = bound.addresses().expect("bound")[&name];
    (address, bound.serve(answer))
}

fn real() -> Arc<Answer> {
    let broker = OneBroker::start();
    Arc::new(move |request| dispatch(Arc::clone(&broker.context), request).boxed())
}

/// Answers each request with the same segments.
fn always(segments: Vec<Segment>) -> Arc<Answer> {
    Arc::new(move |_| std::future::ready(Reply::Response(encoded(segments.clone()))).boxed())
}

fn encoded(segments: Vec<Segment>) -> Encoded {
    let len = segments.iter().map(|segment| match segment {
        Segment::Bytes(bytes) => bytes.len(),
        Segment::File(slice) => slice.len,
    });
    Encoded { len: len.sum(), segments }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex");
    digits.chunks(2).map(value).collect()
}

/// A frame: the length, then the bytes.
fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

/// ApiVersions v0 without a client id.
fn api_versions(correlation_id: u8) -> Vec<u8> {
    framed(&[0, 18, 0, 0, 0, 0, 0, correlation_id, 0xff, 0xff])
}

async fn receive(socket: &mut TcpStream) -> Vec<u8> {
    let length = socket.read_u32().await.expect("a response");
    let mut bytes = vec![0; length as usize];
    socket.read_exact(&mut bytes).await.expect("a whole response");
    bytes
}

/// The connection is closed, without a byte of answer.
async fn expect_close(socket: &mut TcpStream, what: &str) {
    let mut rest = Vec::new();
    // A close with bytes unread by the server is a reset.
    let ended = socket.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{what}: answered {rest:?} ({ended:?})");
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the server listens")
}

/// Only possible if the server has room for another connection, and serves it.
async fn expect_served(address: SocketAddr) {
    let mut socket = connect(address).await;
    socket.write_all(&api_versions(9)).await.expect("open");
    assert_eq!(receive(&mut socket).await[..4], [0, 0, 0, 9]);
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_told_the_known_ones() {
    let (address, _server) = start(ServerOptions::default(), real());
    let mut socket = connect(address).await;
    let fallback = hex("0023 00000001 0012 0000 0004");
    for (what, request) in [
        ("version 5, flexible header", "0012 0005 00000007 0001 61 00"),
        ("version 32767, null client id", "0012 7fff 00000007 ffff 00"),
        ("version -1, header version 1", "0012 ffff 00000007 0000"),
        ("body of a version to come", "0012 0063 00000007 ffff 00 deadbeef"),
    ] {
        socket.write_all(&framed(&hex(request))).await.expect("open");
        assert_eq!(receive(&mut socket).await, [&[0, 0, 0, 7], &fallback[..]].concat(), "{what}");
    }
}

#[tokio::test]
async fn api_versions_lists_what_is_claimed_and_its_epoch() {
    let (address, _server) = start(ServerOptions::default(), real());
    let mut socket = connect(address).await;
    socket.write_all(&framed(&hex("0012 0004 00000001 ffff 00 02 61 02 62 00"))).await.expect("open");
    let response = receive(&mut socket).await;
    let claimed = client::wire::versions::claimed().len() as u8;
    assert_eq!(response[..7], [0, 0, 0, 1, 0, 0, claimed + 1]);
    assert_eq!(response.len(), 7 + 7 * usize::from(claimed) + 4 + 11);
    assert_eq!(response[response.len() - 15..], hex("00000000 01 01 08 0000000000000000"));

    socket.write_all(&framed(&hex("0012 0003 00000002 ffff 00 02 61 02 2e 00"))).await.expect("open");
    assert_eq!(receive(&mut socket).await, hex("00000002 002a 01 00000000 00"), "a name of a dot");
}

#[tokio::test]
async fn what_cannot_be_a_request_closes_the_connection() {
    let options = ServerOptions { request_max_bytes: 64, ..ServerOptions::default() };
    let (address, _server) = start(options, real());
    for (what, bytes) in [
        ("length 0", hex("00000000")),
        ("length -1", hex("ffffffff")),
        ("the least length", hex("80000000")),
        ("one more than the limit, before any of it came", hex("00000041")),
        ("an unknown key, before the rest came", hex("0000000a 03e7")),
        ("a key of KRaft", framed(&hex("0037 0000 00000001 ffff 00 00 00"))),
        ("a key not claimed", framed(&hex("0024 0000 00000001 ffff"))),
        ("a version not known", framed(&hex("0000 000c 00000001 ffff"))),
        ("a negative version", framed(&hex("0003 ffff 00000001 ffff"))),
        ("one byte", framed(&hex("00"))),
        ("a header cut short", framed(&hex("0012 0000 0000"))),
        ("a client id longer than the frame", framed(&hex("0012 0000 00000001 0005 61"))),
        ("a body cut short", framed(&hex("0012 0003 00000001 ffff 00 05 61"))),
        ("a frame cut short", hex("0000000a 0012 0000")),
    ] {
        let mut socket = connect(address).await;
        socket.write_all(&bytes).await.expect("open");
        socket.shutdown().await.expect("open");
        expect_close(&mut socket, what).await;
    }
    let mut socket = connect(address).await;
    let mut largest = api_versions(1);
    largest.resize(4 + 64, 0);
    largest[3] = 64;
    socket.write_all(&largest).await.expect("open");
    assert_eq!(receive(&mut socket).await[..4], [0, 0, 0, 1], "the limit itself, with bytes to ignore");
}

#[tokio::test]
async fn an_api_has_a_frame_limit_of_its_own() {
    let (address, _server) = start(ServerOptions::default(), real());
    let mut socket = connect(address).await;
    socket.write_all(&hex("00200000 0012")).await.expect("open");
    expect_close(&mut socket, "2 MiB of ApiVersions are announced").await;
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte_and_with_the_next() {
    let (address, _server) = start(ServerOptions::default(), real());
    let mut socket = connect(address).await;
    socket.set_nodelay(true).expect("open");
    let two = [api_versions(1), api_versions(2)].concat();
    for byte in &two[..16] {
        socket.write_all(&[*byte]).await.expect("open");
        tokio::task::yield_now().await;
    }
    socket.write_all(&two[16..]).await.expect("open");
    for id in [1, 2] {
        assert_eq!(receive(&mut socket).await[..4], [0, 0, 0, id]);
    }
}

#[tokio::test]
async fn a_request_waits_for_the_one_before_it() {
    let begun = Arc::new(AtomicUsize::new(0));
    let entered = Arc::new(Notify::new());
    let release = Arc::new(Notify::new());
    let answer: Arc<Answer> = {
        let (begun, entered, release) = (Arc::clone(&begun), Arc::clone(&entered), Arc::clone(&release));
        Arc::new(move |request| {
            let parked = begun.fetch_add(1, Ordering::SeqCst) == 0;
            let (entered, release) = (Arc::clone(&entered), Arc::clone(&release));
            async move {
                if parked {
                    entered.notify_one();
                    release.notified().await;
                }
                Reply::Response(encoded(vec![Segment::Bytes(vec![request.correlation_id as u8].into())]))
            }
            .boxed()
        })
    };
    let (address, _server) = start(ServerOptions::default(), answer);
    let mut parked = connect(address).await;
    parked.write_all(&[api_versions(1), api_versions(2), api_versions(3)].concat()).await.expect("open");
    entered.notified().await;
    // Other connections are served meanwhile.
    let mut other = connect(address).await;
    other.write_all(&api_versions(4)).await.expect("open");
    assert_eq!(other.read_u8().await.expect("an answer"), 4);
    assert_eq!(begun.load(Ordering::SeqCst), 2);
    release.notify_one();
    let mut answers = [0; 3];
    parked.read_exact(&mut answers).await.expect("three answers");
    assert_eq!(answers, [1, 2, 3]);
}

/// 8 MiB in a file, each four bytes telling their position.
fn numbered_file() -> (Arc<File>, Bytes) {
    let bytes: Vec<u8> = (0..2u32 << 20).flat_map(u32::to_be_bytes).collect();
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&bytes).expect("written");
    (Arc::new(file), bytes.into())
}

fn slice(file: &Arc<File>, position: u64, len: usize) -> Segment {
    Segment::File(FileSlice { file: Arc::clone(file), position, len })
}

#[tokio::test]
async fn memory_and_files_reach_a_slow_reader_in_order_and_whole() {
    let (file, bytes) = numbered_file();
    let small: Vec<Segment> = (0..200u8).map(|n| Segment::Bytes(vec![n; 3].into())).collect();
    let mut segments = small.clone();
    segments.extend([
        slice(&file, 0, 0),
        slice(&file, 1, 5_000_001),
        Segment::Bytes(bytes.slice(..3_000_000)),
        Segment::Bytes(Bytes::new()),
        slice(&file, 8_000_000, 300_000),
        Segment::Bytes(Bytes::from_static(b"end")),
    ]);
    let expected: Vec<u8> = [
        &(0..200u8).flat_map(|n| [n; 3]).collect::<Vec<u8>>()[..],
        &bytes[1..5_000_002],
        &bytes[..3_000_000],
        &bytes[8_000_000..8_300_000],
        b"end",
    ]
    .concat();
    let options = ServerOptions { send_buffer_bytes: Some(64 << 10), ..ServerOptions::default() };
    let (address, _server) = start(options, always(segments));
    let mut socket = connect(address).await;
    socket.write_all(&[api_versions(1), api_versions(2)].concat()).await.expect("open");
    for _ in 0..2 {
        let mut got = vec![0; expected.len()];
        for piece in got.chunks_mut(100_003) {
            socket.read_exact(piece).await.expect("more");
            tokio::task::yield_now().await;
        }
        assert!(got == expected, "the bytes differ");
    }
}

#[tokio::test]
async fn a_file_shorter_than_its_slice_closes_the_connection() {
    let (file, bytes) = numbered_file();
    let (address, _server) =
        start(ServerOptions::default(), always(vec![slice(&file, 8 << 20, 1), slice(&file, 0, 1)]));
    let mut socket = connect(address).await;
    socket.write_all(&api_versions(1)).await.expect("open");
    expect_close(&mut socket, "nothing of the slice exists").await;

    let (address, _server) = start(ServerOptions::default(), always(vec![slice(&file, (8 << 20) - 10, 20)]));
    let mut socket = connect(address).await;
    socket.write_all(&api_versions(1)).await.expect("open");
    let mut got = Vec::new();
    socket.read_to_end(&mut got).await.expect("a clean close");
    assert_eq!(got, bytes[(8 << 20) - 10..]);
}

#[tokio::test]
async fn peers_that_do_nothing_give_their_place_away() {
    let (file, _) = numbered_file();
    let never: Arc<Answer> = Arc::new(|request| match request.correlation_id {
        9 => std::future::ready(Reply::Response(encoded(vec![Segment::Bytes(
            hex("00000004 00000009").into(),
        )])))
        .boxed(),
        _ => std::future::pending().boxed(),
    });
    let whole = always(vec![Segment::Bytes(hex("00800004 00000009").into()), slice(&file, 0, 8 << 20)]);
    for (what, sent, answer) in [
        ("sends nothing", vec![], real()),
        ("stops within the length", vec![0, 0], real()),
        ("stops within a frame", api_versions(1)[..9].to_vec(), real()),
        ("has a request parked for too long", api_versions(1), never),
        ("does not take its response", api_versions(1), whole),
    ] {
        let options = ServerOptions { max_connections: 1, max_idle: Some(SHORT), ..ServerOptions::default() };
        let (address, _server) = start(options, answer);
        let mut socket = connect(address).await;
        socket.write_all(&sent).await.expect("open");
        let served = tokio::time::timeout(20 * SHORT, expect_served(address)).await;
        assert!(served.is_ok(), "one that {what} keeps its place");
    }
}

#[tokio::test]
async fn more_connections_than_an_address_may_have_are_closed() {
    let options = ServerOptions { max_connections_per_ip: 1, ..ServerOptions::default() };
    let (address, _server) = start(options, real());
    let mut first = connect(address).await;
    first.write_all(&api_versions(1)).await.expect("open");
    receive(&mut first).await;
    let mut second = connect(address).await;
    expect_close(&mut second, "the second").await;
    first.write_all(&api_versions(2)).await.expect("open");
    assert_eq!(receive(&mut first).await[..4], [0, 0, 0, 2]);
}

#[tokio::test]
async fn a_panic_closes_only_its_own_connection() {
    let next = real();
    let answer: Arc<Answer> = Arc::new(move |request| {
        let next = Arc::clone(&next);
        async move {
            assert_ne!(request.correlation_id, 1, "on purpose");
            next(request).await
        }
        .boxed()
    });
    let (address, _server) = start(ServerOptions::default(), answer);
    let mut bystander = connect(address).await;
    let mut victim = connect(address).await;
    victim.write_all(&api_versions(1)).await.expect("open");
    expect_close(&mut victim, "the panic").await;
    bystander.write_all(&api_versions(2)).await.expect("open");
    assert_eq!(receive(&mut bystander).await[..4], [0, 0, 0, 2]);
}

#[tokio::test]
async fn a_refused_request_is_not_answered_and_an_unanswered_one_does_not_close() {
    let answer: Arc<Answer> = Arc::new(|request| {
        let reply = match request.correlation_id {
            1 => Reply::NoResponse,
            2 => Reply::Response(encoded(vec![Segment::Bytes(Bytes::from_static(b"two"))])),
            _ => Reply::Close { why: "on purpose".to_owned() },
        };
        std::future::ready(reply).boxed()
    });
    let (address, _server) = start(ServerOptions::default(), answer);
    let mut socket = connect(address).await;
    socket.write_all(&[api_versions(1), api_versions(2), api_versions(3)].concat()).await.expect("open");
    let mut got = Vec::new();
    socket.read_to_end(&mut got).await.expect("a clean close");
    assert_eq!(got, b"two");
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight_and_cuts_off_what_takes_too_long() {
    let entered = Arc::new(Notify::new());
    let release = Arc::new(Notify::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let answer: Arc<Answer> = {
        let (entered, release, seen) = (Arc::clone(&entered), Arc::clone(&release), Arc::clone(&seen));
        Arc::new(move |request| {
            let (entered, release, seen) = (Arc::clone(&entered), Arc::clone(&release), Arc::clone(&seen));
            async move {
                seen.lock().expect("whole").push((request.key, request.correlation_id));
                entered.notify_one();
                match request.correlation_id {
                    1 => release.notified().await,
                    _ => std::future::pending().await,
                }
                Reply::Response(encoded(vec![Segment::Bytes(Bytes::from_static(b"done"))]))
            }
            .boxed()
        })
    };
    let (address, server) = start(ServerOptions::default(), answer);
    let mut quick = connect(address).await;
    let mut stuck = connect(address).await;
    let mut quiet = connect(address).await;
    quick.write_all(&[api_versions(1), api_versions(7)].concat()).await.expect("open");
    entered.notified().await;
    stuck.write_all(&api_versions(2)).await.expect("open");
    entered.notified().await;

    let shutdown = tokio::spawn(server.shutdown(SHORT));
    expect_close(&mut quiet, "one without a request").await;
    release.notify_one();
    let mut got = Vec::new();
    quick.read_to_end(&mut got).await.expect("a clean close");
    assert_eq!(got, b"done", "the request in flight is answered, the one behind it is not begun");
    expect_close(&mut stuck, "one that takes too long").await;
    shutdown.await.expect("shut down");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    assert_eq!(*seen.lock().expect("whole"), [(ApiKey::ApiVersions, 1), (ApiKey::ApiVersions, 2)]);
}

#[tokio::test]
async fn a_parked_fetch_does_not_hold_the_shutdown_up() {
    let entered = Arc::new(Notify::new());
    let answer: Arc<Answer> = {
        let entered = Arc::clone(&entered);
        Arc::new(move |_| {
            entered.notify_one();
            std::future::pending().boxed()
        })
    };
    let (address, server) = start(ServerOptions::default(), answer);
    let mut socket = connect(address).await;
    socket.write_all(&framed(&hex("0001 0004 00000001 ffff"))).await.expect("open");
    entered.notified().await;
    let an_hour = Duration::from_secs(3600);
    tokio::time::timeout(20 * SHORT, server.shutdown(an_hour)).await.expect("shut down at once");
    expect_close(&mut socket, "the fetch").await;
}
