//! A connection against a listener in this process that speaks the broker's side byte by byte.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use std::time::Duration;

use bytes::Bytes;
use client::connection::{CloseCause, Connection, ConnectionError, ConnectionOptions};
use client::wire::messages::api_versions_response::ApiVersion;
use client::wire::messages::*;
use client::wire::{ApiKey, ErrorCode, Message, Records, Str, frame};
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The broker's side of one connection.
struct Peer {
    stream: TcpStream,
}

/// A request as the peer sees it.
struct Asked {
    header: RequestHeader,
    key: ApiKey,
    body: client::wire::Reader,
}

async fn connect(options: ConnectionOptions) -> (Connection, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (connection, accepted) =
        tokio::join!(Connection::connect(address, "tester", options), listener.accept());
    (connection.unwrap(), Peer { stream: accepted.unwrap().0 })
}

impl Peer {
    async fn asked(&mut self) -> Asked {
        let length = self.stream.read_i32().await.unwrap();
        let mut bytes = vec![0; length as usize];
        self.stream.read_exact(&mut bytes).await.unwrap();
        let (header, key, body) = frame::parse_request(bytes.into()).unwrap();
        Asked { header, key, body }
    }

    async fn answer(&mut self, asked: &Asked, response: &impl Message) {
        let header = &asked.header;
        let frame =
            frame::encode_response(asked.key, header.request_api_version, header.correlation_id, response);
        self.stream.write_all(&frame.unwrap().into_bytes().unwrap()).await.unwrap();
    }
}

fn heartbeat(group: &str) -> HeartbeatRequest {
    HeartbeatRequest { group_id: Str::from(group), ..Default::default() }
}

fn heard(throttle_time_ms: i32) -> HeartbeatResponse {
    HeartbeatResponse { throttle_time_ms, ..Default::default() }
}

#[tokio::test]
async fn pipelines_requests_and_matches_their_responses() {
    let (connection, mut peer) = connect(ConnectionOptions::default()).await;
    let broker = async {
        let mut asked = Vec::new();
        for _ in 0..3 {
            asked.push(peer.asked().await);
        }
        for (index, asked) in asked.iter_mut().enumerate() {
            let request = HeartbeatRequest::decode(&mut asked.body, 4).unwrap();
            assert_eq!(request.group_id, format!("group-{index}"));
            assert_eq!(asked.header.client_id.as_deref(), Some("tester"));
            assert_eq!(asked.header.correlation_id, index as i32);
        }
        for (index, asked) in asked.iter().enumerate() {
            peer.answer(asked, &heard(index as i32)).await;
        }
    };
    let [first, second, third] = ["group-0", "group-1", "group-2"].map(heartbeat);
    let (first, second, third, ()) = tokio::join!(
        connection.send(&first, 4),
        connection.send(&second, 4),
        connection.send(&third, 4),
        broker
    );
    assert_eq!([first.unwrap(), second.unwrap(), third.unwrap()], [heard(0), heard(1), heard(2)]);
}

#[tokio::test]
async fn every_waiter_learns_that_the_peer_is_gone() {
    let (connection, mut peer) = connect(ConnectionOptions::default()).await;
    let request = heartbeat("g");
    let broker = async {
        peer.asked().await;
        peer.asked().await;
        drop(peer);
    };
    let (first, second, closed, ()) =
        tokio::join!(connection.send(&request, 0), connection.send(&request, 0), connection.closed(), broker);
    for error in [first.unwrap_err(), second.unwrap_err(), closed] {
        assert!(
            matches!(&error, ConnectionError::Closed { cause, .. } if matches!(**cause, CloseCause::Peer)),
            "{error:?}"
        );
    }
    assert!(connection.is_closed());
    let late = connection.send(&request, 0).await.unwrap_err();
    assert!(matches!(late, ConnectionError::Closed { .. }), "{late:?}");
}

#[tokio::test]
async fn an_unanswered_request_ends_the_connection_for_all() {
    let options = ConnectionOptions { request_timeout: Duration::from_secs(60), ..Default::default() };
    let (connection, mut peer) = connect(options).await;
    let request = heartbeat("g");
    let broker = async {
        peer.asked().await;
        peer.asked().await;
        // Nothing more comes: the client closes.
        assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0);
    };
    let (patient, impatient, ()) = tokio::join!(
        connection.send(&request, 0),
        connection.send_within(&request, 0, Duration::from_millis(20)),
        broker
    );
    let impatient = impatient.unwrap_err();
    assert!(
        matches!(impatient, ConnectionError::RequestTimeout { api: ApiKey::Heartbeat, .. }),
        "{impatient:?}"
    );
    let ConnectionError::Closed { cause, .. } = patient.unwrap_err() else { panic!("not closed") };
    assert!(matches!(*cause, CloseCause::RequestTimeout { api: ApiKey::Heartbeat, .. }), "{cause:?}");
}

#[tokio::test]
async fn waits_its_turn_when_enough_is_in_flight() {
    let options = ConnectionOptions { max_in_flight: 1, ..Default::default() };
    let (connection, mut peer) = connect(options).await;
    let request = heartbeat("g");
    let first = connection.send(&request, 0);
    tokio::pin!(first);
    assert!(first.as_mut().now_or_never().is_none());
    let refused = connection.send_within(&request, 0, Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(refused, ConnectionError::RequestTimeout { .. }), "{refused:?}");

    // The first one is not harmed by it, and the refused one was never sent: no correlation id is missing.
    let broker = async {
        for id in 0..2 {
            let asked = peer.asked().await;
            assert_eq!(asked.header.correlation_id, id);
            peer.answer(&asked, &heard(0)).await;
        }
    };
    let client = async {
        first.await.unwrap();
        connection.send(&request, 0).await.unwrap();
    };
    tokio::join!(client, broker);
}

#[tokio::test]
async fn a_dropped_request_leaves_the_others_their_responses() {
    let (connection, mut peer) = connect(ConnectionOptions::default()).await;
    let request = heartbeat("g");
    assert!(connection.send(&request, 1).now_or_never().is_none());
    let broker = async {
        for throttle_time_ms in [1, 2] {
            let asked = peer.asked().await;
            peer.answer(&asked, &heard(throttle_time_ms)).await;
        }
    };
    let (second, ()) = tokio::join!(connection.send(&request, 1), broker);
    assert_eq!(second.unwrap(), heard(2));
}

#[tokio::test]
async fn a_response_out_of_order_ends_the_connection() {
    let (connection, mut peer) = connect(ConnectionOptions::default()).await;
    let request = heartbeat("g");
    let broker = async {
        let mut asked = peer.asked().await;
        asked.header.correlation_id = 7;
        peer.answer(&asked, &heard(0)).await;
    };
    let (answer, ()) = tokio::join!(connection.send(&request, 0), broker);
    let ConnectionError::Closed { cause, .. } = answer.unwrap_err() else { panic!("not closed") };
    assert!(matches!(*cause, CloseCause::WrongResponse { got: 7, expected: Some(0) }), "{cause:?}");
}

#[tokio::test]
async fn a_response_beyond_the_limit_ends_the_connection_before_its_body() {
    let options = ConnectionOptions { max_response_bytes: 1000, ..Default::default() };
    for announced in [1001, i32::MAX, 3, 0, -1] {
        let (connection, mut peer) = connect(options.clone()).await;
        let request = heartbeat("g");
        let broker = async {
            peer.asked().await;
            peer.stream.write_i32(announced).await.unwrap();
        };
        let (answer, ()) = tokio::join!(connection.send(&request, 0), broker);
        let ConnectionError::Closed { cause, .. } = answer.unwrap_err() else { panic!("not closed") };
        assert!(
            matches!(*cause, CloseCause::ResponseLength { length, limit: 1000 } if length == announced),
            "{cause:?}"
        );
    }
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let (connection, mut peer) = connect(ConnectionOptions::default()).await;
    let records: Bytes = (0..3_000_000u32).map(|n| n as u8).collect();
    let produce = ProduceRequest {
        topic_data: vec![produce_request::TopicProduceData {
            name: Str::from("t"),
            partition_data: vec![produce_request::PartitionProduceData {
                index: 0,
                records: Some(Records::Memory(records.clone())),
            }],
        }],
        ..Default::default()
    };
    let asked_again = SaslAuthenticateRequest { auth_bytes: records.clone() };
    let broker = async {
        let mut asked = peer.asked().await;
        assert_eq!(ProduceRequest::decode(&mut asked.body, 9).unwrap(), produce);
        let asked = peer.asked().await;
        let response = SaslAuthenticateResponse { auth_bytes: records.clone(), ..Default::default() };
        peer.answer(&asked, &response).await;
    };
    let (sent, answer, ()) =
        tokio::join!(connection.send_no_reply(&produce, 9), connection.send(&asked_again, 2), broker);
    sent.unwrap();
    assert_eq!(answer.unwrap().auth_bytes, records);
}

#[tokio::test]
async fn an_unreadable_response_is_told_apart_and_the_connection_stays() {
    let (connection, mut peer) = connect(ConnectionOptions::default()).await;
    let request = heartbeat("g");
    let broker = async {
        let mut asked = peer.asked().await;
        // In the form of another version, which is shorter.
        asked.header.request_api_version = 0;
        peer.answer(&asked, &heard(0)).await;
        let asked = peer.asked().await;
        peer.answer(&asked, &heard(0)).await;
    };
    let client = async { (connection.send(&request, 4).await, connection.send(&request, 4).await) };
    let ((broken, whole), ()) = tokio::join!(client, broker);
    let broken = broken.unwrap_err();
    assert!(
        matches!(broken, ConnectionError::Decode { api: ApiKey::Heartbeat, version: 4, .. }),
        "{broken:?}"
    );
    assert_eq!(whole.unwrap(), heard(0));
}

#[tokio::test]
async fn negotiates_with_a_broker_that_knows_older_versions_only() {
    let (connection, mut peer) = connect(ConnectionOptions::default()).await;
    let own = ApiVersion { api_key: ApiKey::ApiVersions as i16, min_version: 0, max_version: 2 };
    let refusal = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![own.clone()],
        ..Default::default()
    };
    let heartbeats = ApiVersion { api_key: ApiKey::Heartbeat as i16, min_version: 0, max_version: 1 };
    let too_new = ApiVersion { api_key: ApiKey::Fetch as i16, min_version: 100, max_version: 101 };
    let versions = ApiVersionsResponse { api_keys: vec![own, heartbeats, too_new], ..Default::default() };
    let broker = async {
        let mut asked = peer.asked().await;
        assert_eq!(asked.header.request_api_version, ApiKey::ApiVersions.max_version());
        asked.header.request_api_version = 0;
        peer.answer(&asked, &refusal).await;
        let asked = peer.asked().await;
        assert_eq!(asked.header.request_api_version, 2);
        peer.answer(&asked, &versions).await;
        let asked = peer.asked().await;
        assert_eq!((asked.key, asked.header.request_api_version), (ApiKey::Heartbeat, 1));
        peer.answer(&asked, &heard(5)).await;
    };
    let request = heartbeat("g");
    let (answer, ()) = tokio::join!(connection.send_negotiated(&request), broker);
    assert_eq!(answer.unwrap(), heard(5));

    let unknown = connection.send_negotiated(&FetchRequest::default()).await.unwrap_err();
    assert!(
        matches!(
            unknown,
            ConnectionError::NoCommonVersion { api: ApiKey::Fetch, theirs: Some((100, 101)), .. }
        ),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn nobody_listening_is_an_error_that_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Connection::connect(address.as_str(), "tester", ConnectionOptions::default()).await;
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with(&format!("cannot connect to {address}: ")), "{text}");
}

#[tokio::test]
async fn closes_with_the_last_clone() {
    let (connection, mut peer) = connect(ConnectionOptions::default()).await;
    let clone = connection.clone();
    drop(connection);
    assert!(!clone.is_closed());
    drop(clone);
    assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0);
}
