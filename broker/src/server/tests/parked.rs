//! The memory of frames while their requests wait for an answer.

use client::wire::Records;
use client::wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use client::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use client::wire::messages::{FetchRequest, ProduceRequest};

use super::*;
use crate::api::testing::{Layout, batch};

/// Two and a half times what a frame may have before it is charged.
const LARGE: usize = 40 << 10;

/// The charges of two large frames, so that a third has to pass the budget and a fourth waits.
const BUDGET: usize = 52 << 10;

/// Nothing that is parked here goes on by itself while the test runs.
const LONG_MS: i32 = 120_000;

#[tokio::test]
async fn parked_requests_leave_the_memory_for_frames_to_others() {
    for (what, parked) in [("fetches", fetch()), ("produces", produce("replicated", 0, -1))] {
        let (answer, begun) = counted(broker().await);
        let options = ServerOptions { queued_max_request_bytes: Some(BUDGET), ..ServerOptions::default() };
        let (address, _server) = start(options, answer);
        let mut waiting = Vec::new();
        for number in 1..=3 {
            let mut socket = connect(address).await;
            socket.write_all(&parked).await.expect("open");
            begun.subscribe().wait_for(|begun| *begun == number).await.expect("a server");
            waiting.push(socket);
        }
        let mut producer = connect(address).await;
        producer.write_all(&produce("t", 1, 1)).await.expect("open");
        let produced = tokio::time::timeout(30 * SHORT, receive(&mut producer)).await;
        assert!(produced.is_ok(), "a producer waits for memory that parked {what} hold");
        for socket in &mut waiting {
            let answered = socket.read_u8().now_or_never();
            assert!(answered.is_none(), "the {what} are not parked: {answered:?}");
        }
    }
}

/// It leads `t`, and `replicated`, whose other replica never fetches.
async fn broker() -> OneBroker {
    let broker = OneBroker::start();
    broker.assign(&Layout { leaders: &[1, 1], ..Layout::default() }).await;
    let both = [1, 2];
    let replicated = client::ids::Uuid([8; 16]);
    let layout =
        Layout { topic: "replicated", id: replicated, replicas: &both, isr: &both, ..Layout::default() };
    broker.assign(&layout).await;
    broker
}

/// Counts the requests that have come whole.
fn counted(broker: OneBroker) -> (Arc<Answer>, watch::Sender<usize>) {
    let begun = watch::Sender::new(0);
    let count = begun.clone();
    let answer: Arc<Answer> = Arc::new(move |request| {
        let answer = dispatch(Arc::clone(&broker.context), request).boxed();
        count.send_modify(|begun| *begun += 1);
        answer
    });
    (answer, begun)
}

/// Of a partition without records, in a frame that says much besides.
fn fetch() -> Bytes {
    let asked = FetchPartition { partition_max_bytes: 1, ..FetchPartition::default() };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![asked], ..FetchTopic::default() };
    let forgotten = ForgottenTopic {
        topic: "t".into(),
        partitions: vec![1; LARGE / size_of::<i32>()],
        ..ForgottenTopic::default()
    };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: LONG_MS,
        min_bytes: 1,
        max_bytes: 1,
        session_epoch: -1,
        topics: vec![topic],
        forgotten_topics_data: vec![forgotten],
        ..FetchRequest::default()
    };
    frame(11, &request)
}

fn produce(topic: &str, index: i32, acks: i16) -> Bytes {
    let records = Records::Memory(batch(&[&"r".repeat(LARGE)], 0));
    let data = PartitionProduceData { index, records: Some(records) };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data] };
    let request =
        ProduceRequest { acks, timeout_ms: LONG_MS, topic_data: vec![topic], ..ProduceRequest::default() };
    frame(9, &request)
}

fn frame<R: client::wire::Request>(version: i16, request: &R) -> Bytes {
    let encoded = client::wire::frame::encode_request(version, 1, None, request).expect("encodes");
    encoded.into_bytes().expect("in memory")
}
