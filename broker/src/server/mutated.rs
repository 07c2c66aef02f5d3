//! Requests damaged at random, thrown at a running server: nothing panics, and others are served.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use client::ids::Uuid;
use client::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use client::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use client::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use client::wire::messages::{FetchRequest, ListOffsetsRequest, ProduceRequest, RequestHeader};
use client::wire::{ApiKey, Message, Reader, Records, RequestBody, Str, Writer, versions};
use futures::FutureExt;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::api::dispatch;
use crate::api::testing::{Layout, OneBroker, batch};

const ATTACKERS: u64 = 16;
const CONNECTIONS_EACH: usize = 500;
const FRAMES_EACH: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_requests_neither_panic_nor_disturb() {
    let broker = OneBroker::start();
    broker.assign(&Layout { leaders: &[1, 1], ..Layout::default() }).await;
    let panics = Arc::new(AtomicUsize::new(0));
    let served = Arc::new(AtomicUsize::new(0));
    let answer: Arc<Answer> = {
        let (panics, served, context) =
            (Arc::clone(&panics), Arc::clone(&served), Arc::clone(&broker.context));
        Arc::new(move |request| {
            let (panics, served) = (Arc::clone(&panics), Arc::clone(&served));
            let answer = AssertUnwindSafe(dispatch(Arc::clone(&context), request)).catch_unwind();
            async move {
                served.fetch_add(1, Ordering::Relaxed);
                answer.await.unwrap_or_else(|_| {
                    panics.fetch_add(1, Ordering::Relaxed);
                    Reply::NoResponse
                })
            }
            .boxed()
        })
    };
    let name: Arc<str> = "PLAINTEXT".into();
    let any = "127.0.0.1:0".parse().expect("an address");
    // Parked requests do not hold the test up.
    let options = ServerOptions { max_idle: Some(Duration::from_millis(500)), ..ServerOptions::default() };
    let bound = Bound::bind(&BTreeMap::from([(Arc::clone(&name), any)]), options).expect("a free port");
    let address = bound.addresses().expect("bound")[&name];
    let _server = bound.serve(answer);

    let frames = Arc::new(valid_frames());
    let over = Arc::new(AtomicBool::new(false));
    let bystander = tokio::spawn(ask_all_along(address, Arc::clone(&over)));
    let attackers = (0..ATTACKERS).map(|seed| tokio::spawn(attack(address, Arc::clone(&frames), seed)));
    for attacker in join_all(attackers).await {
        attacker.expect("attacked to the end");
    }
    over.store(true, Ordering::Relaxed);
    assert!(bystander.await.expect("answered all along") > 0);
    assert_eq!(panics.load(Ordering::Relaxed), 0);
    let (reached, sent) =
        (served.load(Ordering::Relaxed), CONNECTIONS_EACH * FRAMES_EACH * ATTACKERS as usize);
    println!("{reached} of {sent} damaged requests got past frame and header");
    assert!(reached > sent / 20, "the damage is too great to test anything: {reached} of {sent}");
}

/// Sends damaged frames on one connection after the other.
async fn attack(address: SocketAddr, frames: Arc<Vec<Vec<u8>>>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..CONNECTIONS_EACH {
        let mut socket = TcpStream::connect(address).await.expect("the server listens");
        for _ in 0..FRAMES_EACH {
            let body = mutated(&frames, &mut random);
            let frame = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
            if socket.write_all(&frame).await.is_err() {
                break;
            }
        }
        let _ = socket.shutdown().await;
        let mut answers = Vec::new();
        // However it ends, it ends.
        let _ = socket.read_to_end(&mut answers).await;
    }
}

/// Asks for the versions on one connection; the number of answers.
async fn ask_all_along(address: SocketAddr, over: Arc<AtomicBool>) -> usize {
    let mut answers = 0;
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    while !over.load(Ordering::Relaxed) {
        socket.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]).await.expect("open");
        let length = socket.read_u32().await.expect("an answer");
        let mut answer = vec![0; length as usize];
        socket.read_exact(&mut answer).await.expect("a whole answer");
        answers += 1;
    }
    answers
}

/// A request of each API and version, those of the data plane with something in them.
fn valid_frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for claimed in versions::claimed() {
        for version in claimed.min..=claimed.max {
            if let Some(body) = body(claimed.key, version) {
                let header = RequestHeader {
                    request_api_key: claimed.key as i16,
                    request_api_version: version,
                    correlation_id: 1,
                    client_id: Some(Str::from("damaged")),
                };
                let mut writer = Writer::new();
                header.encode(&mut writer, claimed.key.request_header_version(version)).expect("encodes");
                body.encode(&mut writer, version).expect("encodes");
                frames.push(writer.finish().into_bytes().expect("in memory").to_vec());
            }
        }
    }
    assert!(frames.len() > 90, "{}", frames.len());
    frames
}

fn body(key: ApiKey, version: i16) -> Option<RequestBody> {
    let t = Str::from("t");
    Some(match key {
        ApiKey::Produce => RequestBody::Produce(ProduceRequest {
            acks: 1,
            topic_data: vec![TopicProduceData {
                name: t,
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(Records::Memory(batch(&["some", "more"], 1))),
                }],
            }],
            ..ProduceRequest::default()
        }),
        ApiKey::Fetch => RequestBody::Fetch(FetchRequest {
            max_bytes: 1 << 20,
            topics: vec![FetchTopic {
                topic: t,
                topic_id: Uuid([7; 16]),
                partitions: vec![
                    FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() };
                    2
                ],
            }],
            ..FetchRequest::default()
        }),
        ApiKey::ListOffsets => RequestBody::ListOffsets(ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic { name: t, partitions: vec![ListOffsetsPartition::default(); 2] }],
            ..ListOffsetsRequest::default()
        }),
        // Zeros are a valid body of most others: empty lists, empty texts.
        other => RequestBody::decode(other, version, &mut Reader::new(vec![0; 64])).ok()?,
    })
}

fn mutated(frames: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut frame = frames[random.random_range(0..frames.len())].clone();
    // Mostly behind key and version, so that it is a request at least.
    let from = if random.random_bool(0.9) { 8.min(frame.len() - 1) } else { 0 };
    match random.random_range(0..4) {
        0 => {
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(from..frame.len());
                frame[at] ^= 1 << random.random_range(0..8);
            }
        }
        1 => frame.truncate(random.random_range(from..frame.len()).max(1)),
        2 => {
            let at = random.random_range(from..frame.len());
            let noise: Vec<u8> = (0..random.random_range(1..9)).map(|_| random.random()).collect();
            frame.splice(at..at, noise);
        }
        _ => {
            let other = &frames[random.random_range(0..frames.len())];
            let at = random.random_range(from..frame.len());
            frame.truncate(at.max(1));
            frame.extend_from_slice(&other[random.random_range(0..other.len())..]);
        }
    }
    frame
}
