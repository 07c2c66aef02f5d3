use client::ids::{BrokerId, LeaderEpoch, Offset, Uuid, ZkVersion};
use client::record::{BatchOptions, Compression, MessageFormat, MessageSetBuilder, Producer};
use client::wire::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use client::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use client::wire::messages::produce_response::PartitionProduceResponse;
use client::wire::messages::{FetchRequest, ProduceRequest};
use futures::FutureExt;

use super::*;
use crate::api::Reply;
use crate::api::testing::{Layout, OneBroker, batch, batch_with};
use crate::clock::Now;
use crate::partition::LeaderAndIsr;
use crate::partition::leader::Assignment;

fn produce(acks: i16, records: &[(&str, i32, Bytes)]) -> ProduceRequest {
    let topic = |(name, index, records): &(&str, i32, Bytes)| TopicProduceData {
        name: Str::from(*name),
        partition_data: vec![PartitionProduceData {
            index: *index,
            records: Some(Records::Memory(records.clone())),
        }],
    };
    ProduceRequest {
        acks,
        timeout_ms: 0,
        topic_data: records.iter().map(topic).collect(),
        ..ProduceRequest::default()
    }
}

/// The answers about the partitions, by topic and number.
fn answers(response: ProduceResponse) -> Vec<(String, PartitionProduceResponse)> {
    let topics = response.responses.into_iter();
    topics
        .flat_map(|topic| topic.partition_responses.into_iter().map(move |one| (topic.name.to_string(), one)))
        .collect()
}

/// What one batch is answered with.
async fn one(broker: &OneBroker, version: i16, acks: i16, records: Bytes) -> PartitionProduceResponse {
    let response = broker.call(version, &produce(acks, &[("t", 0, records)])).await;
    let mut answers = answers(response);
    assert_eq!(answers.len(), 1);
    answers.remove(0).1
}

fn stored(base_offset: i64) -> PartitionProduceResponse {
    PartitionProduceResponse {
        base_offset,
        log_append_time_ms: -1,
        log_start_offset: 0,
        ..PartitionProduceResponse::default()
    }
}

fn refused(error: ErrorCode, log_start_offset: i64) -> PartitionProduceResponse {
    PartitionProduceResponse {
        error_code: error.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset,
        ..PartitionProduceResponse::default()
    }
}

#[tokio::test]
async fn offsets_go_on_over_batches_and_versions() {
    let broker = OneBroker::start();
    broker.assign(&Layout::default()).await;
    for (version, acks, expected) in [(3, 1, 0), (8, -1, 2), (9, 1, 4), (10, -1, 6), (11, -1, 8)] {
        let mut expected = stored(expected);
        if version < 5 {
            expected.log_start_offset = -1;
        }
        assert_eq!(one(&broker, version, acks, batch(&["a", "b"], 1)).await, expected, "version {version}");
    }
    let status = broker.partition("t", 0).status();
    assert_eq!((status.end, status.high_watermark), (Offset(10), Offset(10)));
}

#[tokio::test]
async fn old_message_sets_become_batches() {
    let broker = OneBroker::start();
    broker.assign(&Layout::default()).await;
    for (version, format) in [(0, MessageFormat::V0), (1, MessageFormat::V0), (2, MessageFormat::V1)] {
        let mut set = MessageSetBuilder::new(format, Compression::NONE, None).expect("a set");
        for offset in 0..3 {
            set.push(Offset(offset), 1000, None, Some(b"v")).expect("a message");
        }
        let bytes = Bytes::from(set.finish().expect("a set"));
        let torn = bytes.slice(..bytes.len() - 1);
        let answer = one(&broker, version, 1, torn).await;
        let base = i64::from(version) * 2;
        assert_eq!((answer.error_code, answer.base_offset), (0, base), "the last message is cut off");
        let answer = one(&broker, version, 1, bytes.slice(..5)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, -1), "nothing whole");
    }
    assert_eq!(broker.partition("t", 0).status().end, Offset(6));
}

#[tokio::test]
async fn each_partition_is_judged_for_itself() {
    let broker = OneBroker::start();
    broker.assign(&Layout { leaders: &[1, 2], replicas: &[1, 2], isr: &[1, 2], ..Layout::default() }).await;
    let good = batch(&["a"], 1);
    let records = [
        ("t", 0, batch(&["overwritten"; 5], 1)),
        ("nowhere", 0, good.clone()),
        ("t", 9, good.clone()),
        ("t", 1, good.clone()),
        ("t", 0, good.clone()),
    ];
    let response = broker.call(10, &produce(1, &records)).await;
    let nodes: Vec<_> =
        response.node_endpoints.iter().map(|node| (node.node_id, &*node.host, node.port)).collect();
    assert_eq!(nodes, [(2, "host2", 9092)]);
    let answers: Vec<_> = answers(response)
        .into_iter()
        .map(|(topic, one)| (topic, one.index, one.error_code, one.base_offset, one.current_leader.leader_id))
        .collect();
    let t = || "t".to_owned();
    assert_eq!(
        answers,
        [
            ("nowhere".to_owned(), 0, ErrorCode::UnknownTopicOrPartition.code(), -1, -1),
            (t(), 0, 0, 0, -1),
            (t(), 1, ErrorCode::NotLeaderOrFollower.code(), -1, 2),
            (t(), 9, ErrorCode::UnknownTopicOrPartition.code(), -1, -1),
        ]
    );
}

#[tokio::test]
async fn what_must_not_be_stored_is_refused() {
    let broker = OneBroker::with_topic_config(|config| {
        config.log.max_message_bytes = 200;
        config.message_timestamp_before_max_ms = 60_000;
    });
    broker.assign(&Layout::default()).await;
    let fresh = i64::MAX / 2;
    let bad_magic = {
        let mut bytes = batch(&["a"], 1).to_vec();
        bytes[16] = 3;
        Bytes::from(bytes)
    };
    let bad_crc = {
        let mut bytes = batch(&["a"], -1).to_vec();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        Bytes::from(bytes)
    };
    let zstd = BatchOptions {
        compression: Compression { codec: client::record::Codec::Zstd, ..Compression::NONE },
        ..BatchOptions::default()
    };
    let table = [
        (
            "two batches",
            9,
            1,
            [batch(&["a"], -1), batch(&["b"], -1)].concat().into(),
            refused(ErrorCode::InvalidRecord, -1),
        ),
        ("nothing", 9, 1, Bytes::new(), refused(ErrorCode::InvalidRecord, -1)),
        (
            "zstd before version 7",
            6,
            1,
            batch_with(zstd, &["a"], -1),
            refused(ErrorCode::UnsupportedCompressionType, -1),
        ),
        ("a bit flipped", 9, 1, bad_crc, refused(ErrorCode::CorruptMessage, -1)),
        ("too large", 9, 1, batch(&[&"x".repeat(200)], -1), refused(ErrorCode::MessageTooLarge, -1)),
        ("acks that mean nothing", 9, 2, batch(&["a"], -1), refused(ErrorCode::InvalidRequiredAcks, -1)),
    ];
    for (what, version, acks, records, expected) in table {
        assert_eq!(one(&broker, version, acks, records).await, expected, "{what}");
    }
    let unknown = one(&broker, 8, 1, bad_magic).await;
    assert_eq!(unknown.error_code, ErrorCode::CorruptMessage.code());
    assert_eq!(unknown.error_message.as_deref(), Some("Invalid magic found in record: 3"));
    let old = one(&broker, 8, 1, batch(&["a", "b"], 1000)).await;
    assert_eq!((old.error_code, old.log_start_offset), (ErrorCode::InvalidTimestamp.code(), 0));
    assert_eq!(old.record_errors.iter().map(|error| error.batch_index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(
        old.error_message.as_deref(),
        Some("One or more records have been rejected due to invalid timestamp")
    );
    assert_eq!(one(&broker, 9, 1, batch(&["a"], fresh)).await, stored(0), "nothing else was stored");
}

#[tokio::test]
async fn transactional_records_need_a_transaction() {
    let broker = OneBroker::start();
    broker.assign(&Layout { leaders: &[1, 1], ..Layout::default() }).await;
    let options = BatchOptions {
        transactional: true,
        producer: Producer { id: 9, epoch: 0, base_sequence: 0 },
        ..BatchOptions::default()
    };
    let mut request = produce(-1, &[("t", 0, batch_with(options, &["a"], 1)), ("t", 1, batch(&["b"], 1))]);
    let codes = |response| answers(response).into_iter().map(|(_, one)| one.error_code).collect::<Vec<_>>();
    let forbidden = ErrorCode::TransactionalIdAuthorizationFailed.code();
    assert_eq!(codes(broker.call(9, &request).await), [forbidden, forbidden]);
    request.transactional_id = Some(Str::from("tx"));
    assert_eq!(codes(broker.call(9, &request).await), [ErrorCode::NotEnoughReplicas.code(), 0]);
}

#[tokio::test]
async fn a_repeated_batch_is_answered_as_before() {
    let broker = OneBroker::start();
    broker.assign(&Layout::default()).await;
    let of = |base_sequence| BatchOptions {
        producer: Producer { id: 9, epoch: 0, base_sequence },
        ..BatchOptions::default()
    };
    assert_eq!(one(&broker, 9, -1, batch_with(of(0), &["a", "b"], 1)).await, stored(0));
    assert_eq!(one(&broker, 9, -1, batch_with(of(2), &["c"], 1)).await, stored(2));
    // Kafka reports the time stamp of the batch it has, whatever the topic's time stamps are.
    let again = PartitionProduceResponse { log_append_time_ms: 1, ..stored(0) };
    assert_eq!(one(&broker, 9, -1, batch_with(of(0), &["a", "b"], 1)).await, again);
    let gap = one(&broker, 9, -1, batch_with(of(4), &["e"], 1)).await;
    assert_eq!(gap, refused(ErrorCode::OutOfOrderSequenceNumber, 0));
    assert_eq!(broker.partition("t", 0).status().end, Offset(3));
}

#[tokio::test]
async fn a_batch_that_came_before_its_predecessor_is_sent_back_by_a_new_leader() {
    let broker = OneBroker::start();
    let led_by = async |leader, epoch| {
        let layout =
            Layout { leaders: &[leader], replicas: &[1, 2], isr: &[1, 2], epoch, ..Layout::default() };
        broker.assign(&layout).await;
    };
    let sent = async |base_sequence| {
        let producer = Producer { id: 9, epoch: 0, base_sequence };
        let records = batch_with(BatchOptions { producer, ..BatchOptions::default() }, &["a"], 1);
        ErrorCode::from_code(one(&broker, 9, 1, records).await.error_code)
    };
    led_by(1, 0).await;
    assert_eq!(sent(0).await, ErrorCode::None);
    assert_eq!(sent(2).await, ErrorCode::OutOfOrderSequenceNumber, "there was no leader before");
    led_by(2, 1).await;
    assert_eq!(sent(1).await, ErrorCode::NotLeaderOrFollower);
    led_by(1, 2).await;
    assert_eq!(sent(2).await, ErrorCode::NotLeaderOrFollower, "sequence 1 may be on its way to broker 2");
    assert_eq!(sent(1).await, ErrorCode::None);
    assert_eq!(sent(2).await, ErrorCode::None);
    assert_eq!(sent(4).await, ErrorCode::OutOfOrderSequenceNumber, "the producer knows where to send");
    assert_eq!(sent(1).await, ErrorCode::None, "a repeated one is answered as ever");
}

#[tokio::test]
async fn without_acks_there_is_no_answer_and_a_failure_closes() {
    let broker = OneBroker::start();
    broker.assign(&Layout::default()).await;
    let good = broker.send(9, &produce(0, &[("t", 0, batch(&["a"], 1))])).await;
    assert!(matches!(good, Reply::NoResponse), "{good:?}");
    let bad = broker.send(9, &produce(0, &[("t", 0, batch(&["a"], 1)), ("u", 0, batch(&["a"], 1))])).await;
    assert!(matches!(bad, Reply::Close { .. }), "{bad:?}");
    assert_eq!(broker.partition("t", 0).status().end, Offset(2));
}

#[tokio::test]
async fn null_records_close_the_connection() {
    let broker = OneBroker::start();
    let mut request = produce(1, &[("t", 0, Bytes::new())]);
    request.topic_data[0].partition_data[0].records = None;
    let reply = broker.send(9, &request).await;
    assert!(matches!(reply, Reply::Close { .. }), "{reply:?}");
}

/// What a follower of t-0 sends.
fn follower_fetch(offset: i64) -> FetchRequest {
    FetchRequest {
        replica_state: ReplicaState { replica_id: 2, replica_epoch: -1 },
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic_id: Uuid([7; 16]),
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

#[tokio::test(start_paused = true)]
async fn acks_all_waits_for_the_replicas_in_sync() {
    let broker = OneBroker::start();
    broker.assign(&Layout { replicas: &[1, 2], isr: &[1, 2], ..Layout::default() }).await;
    let mut request = produce(-1, &[("t", 0, batch(&["a", "b"], 1))]);

    let timed_out = answers(broker.call(9, &request).await).remove(0).1;
    let expected = PartitionProduceResponse { error_code: ErrorCode::RequestTimedOut.code(), ..stored(0) };
    assert_eq!(timed_out, expected, "the records stay, and their place is told");

    request.timeout_ms = 30_000;
    let waiting = broker.call(9, &request);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    broker.call(17, &follower_fetch(2)).await;
    assert!(waiting.as_mut().now_or_never().is_none(), "the follower has the first batch only");
    broker.call(17, &follower_fetch(4)).await;
    assert_eq!(answers(waiting.await), [("t".to_owned(), stored(2))]);
}

#[tokio::test(start_paused = true)]
async fn acks_all_ends_when_the_lead_is_lost() {
    let broker = OneBroker::start();
    broker.assign(&Layout { replicas: &[1, 2], isr: &[1, 2], ..Layout::default() }).await;
    let mut request = produce(-1, &[("t", 0, batch(&["a"], 1))]);
    request.timeout_ms = 30_000;
    let waiting = broker.call(10, &request);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    broker
        .assign(&Layout { leaders: &[2], replicas: &[1, 2], isr: &[1, 2], epoch: 1, ..Layout::default() })
        .await;
    let answer = answers(waiting.await).remove(0).1;
    assert_eq!(answer.error_code, ErrorCode::NotLeaderOrFollower.code());
    assert_eq!((answer.current_leader.leader_id, answer.current_leader.leader_epoch), (2, 1));
}

#[tokio::test]
async fn a_former_leader_names_its_successor_before_the_metadata_do() {
    let broker = OneBroker::start();
    broker.assign(&Layout { replicas: &[1, 2], isr: &[1, 2], ..Layout::default() }).await;
    let replicas = vec![BrokerId(1), BrokerId(2)];
    let told = LeaderAndIsr {
        leader: BrokerId(2),
        topic_id: Uuid::ZERO,
        assignment: Assignment {
            leader_epoch: LeaderEpoch(1),
            partition_epoch: ZkVersion(1),
            replicas: replicas.clone(),
            isr: replicas,
        },
        is_new: false,
    };
    broker.partition("t", 0).become_follower(&told, Now::read()).expect("it has a log");
    let answer = answers(broker.call(10, &produce(-1, &[("t", 0, batch(&["a"], 1))])).await).remove(0).1;
    assert_eq!(answer.error_code, ErrorCode::NotLeaderOrFollower.code());
    assert_eq!((answer.current_leader.leader_id, answer.current_leader.leader_epoch), (2, 1));
}

#[tokio::test]
async fn records_wait_for_a_role_that_is_to_come() {
    let broker = OneBroker::start();
    let request = |records| ProduceRequest { timeout_ms: 60_000, ..produce(1, &[("t", 0, records)]) };
    let early = request(batch(&["early"], 1));
    let early = broker.call(9, &early);
    tokio::pin!(early);
    assert!((&mut early).now_or_never().is_none(), "the controller said nothing yet");
    broker.assign(&Layout::default()).await;
    assert_eq!(answers(early.await)[0].1, stored(0));

    // Everybody is told of the next leader, this broker is it, and has yet to be told itself.
    broker.assign(&Layout { leaders: &[2], epoch: 1, ..Layout::default() }).await;
    assert_eq!(
        one(&broker, 9, 1, batch(&["refused"], 1)).await.error_code,
        ErrorCode::NotLeaderOrFollower.code()
    );
    broker.announce(&Layout { epoch: 2, ..Layout::default() }).await;
    let next = request(batch(&["next"], 1));
    let next = broker.call(9, &next);
    tokio::pin!(next);
    assert!((&mut next).now_or_never().is_none(), "it is about to lead");
    broker.assign(&Layout { epoch: 2, ..Layout::default() }).await;
    assert_eq!(answers(next.await)[0].1, stored(1));
}

#[tokio::test(start_paused = true)]
async fn records_do_not_wait_forever_for_a_role() {
    let broker = OneBroker::start();
    let request = ProduceRequest { timeout_ms: 600_000, ..produce(1, &[("t", 0, batch(&["a"], 1))]) };
    let answered = answers(broker.call(9, &request).await);
    assert_eq!(answered[0].1.error_code, ErrorCode::UnknownTopicOrPartition.code());
}
