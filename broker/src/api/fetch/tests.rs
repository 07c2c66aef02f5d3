use client::ids::Uuid;
use client::record::batches;
use client::wire::Request as _;
use client::wire::messages::fetch_request::{FetchPartition, ForgottenTopic, ReplicaState};
use client::wire::messages::fetch_response;
use futures::FutureExt;

mod contention;

use super::*;
use crate::api::testing::{Layout, OneBroker, batch, produce};

const ID: Uuid = Uuid([7; 16]);
const UNLIMITED: i32 = 1 << 20;

/// A consumer's request for partitions of topic `t`, by number and offset.
fn consumer(partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions.iter().map(|(partition, fetch_offset)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: UNLIMITED,
        ..FetchPartition::default()
    });
    let topic = FetchTopic { topic: Str::from("t"), topic_id: ID, partitions: partitions.collect() };
    FetchRequest { max_bytes: UNLIMITED, min_bytes: 1, topics: vec![topic], ..FetchRequest::default() }
}

fn follower(partitions: &[(i32, i64)]) -> FetchRequest {
    let mut request = consumer(partitions);
    request.replica_state = ReplicaState { replica_id: 2, ..ReplicaState::default() };
    request
}

fn waiting(mut request: FetchRequest, min_bytes: i32) -> FetchRequest {
    (request.max_wait_ms, request.min_bytes) = (500, min_bytes);
    request
}

/// One line a partition: number, error (if any), high watermark, and the batches as `base+bytes`.
fn shown(response: &FetchResponse) -> Vec<String> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(line).collect()
}

fn line(data: &PartitionData) -> String {
    let mut line = data.partition_index.to_string();
    match ErrorCode::from_code(data.error_code) {
        ErrorCode::None => {}
        error => line += &format!(" {}", error.name()),
    }
    line += &format!(" hw {}", data.high_watermark);
    match &data.records {
        None => line += " null",
        Some(records) => {
            let bytes = records.to_bytes().expect("readable");
            let mut walk = batches(&bytes);
            for batch in walk.by_ref() {
                line += &format!(" {}+{}", batch.entry_offset(), batch.size());
            }
            let rest = bytes.len() - walk.position();
            if rest > 0 {
                line += &format!(" torn {rest}");
            }
        }
    }
    line
}

/// Three batches of one, two and one records on partition 0, one of one record on partition 1.
async fn filled() -> OneBroker {
    let broker = OneBroker::start();
    broker.assign(&Layout { leaders: &[1, 1, 1], ..Layout::default() }).await;
    for values in [&["a"][..], &["b", "c"], &["d"]] {
        produce(&broker, "t", 0, batch(values, 1)).await;
    }
    produce(&broker, "t", 1, batch(&["x"], 1)).await;
    broker
}

#[tokio::test]
async fn batches_come_as_they_are_from_the_one_that_holds_the_offset() {
    let broker = filled().await;
    let one = batch(&["a"], 1).len();
    let two = batch(&["b", "c"], 1).len();
    for version in [4, 8, 12, 13, 17] {
        for (offset, expected) in [
            (0, format!("0 hw 4 0+{one} 1+{two} 3+{one}")),
            (2, format!("0 hw 4 1+{two} 3+{one}")),
            (3, format!("0 hw 4 3+{one}")),
            (4, "0 hw 4".to_owned()),
            (5, "0 OFFSET_OUT_OF_RANGE hw -1".to_owned()),
            (-1, "0 OFFSET_OUT_OF_RANGE hw -1".to_owned()),
        ] {
            let response = broker.call(version, &consumer(&[(0, offset)])).await;
            assert_eq!(shown(&response), [expected], "offset {offset}, version {version}");
        }
    }
}

#[tokio::test]
async fn records_are_sent_from_their_file() {
    let broker = filled().await;
    let reply = broker.send(17, &consumer(&[(0, 0)])).await;
    let crate::api::Reply::Response(encoded) = reply else { panic!("{reply:?}") };
    let files = encoded.segments.iter().filter(|segment| matches!(segment, client::wire::Segment::File(_)));
    assert_eq!(files.count(), 1);
}

#[tokio::test]
async fn limits_cut_but_never_starve() {
    let broker = filled().await;
    let one = batch(&["a"], 1).len();
    let both = |limit: i32, max_bytes: i32| {
        let mut request = consumer(&[(2, 0), (0, 0), (1, 0)]);
        for partition in &mut request.topics[0].partitions {
            partition.partition_max_bytes = limit;
        }
        request.max_bytes = max_bytes;
        request
    };
    let one_i32 = i32::try_from(one).expect("small");
    let x = format!("1 hw 1 0+{one}");
    let a = format!("0 hw 4 0+{one}");
    let empty = "2 hw 0".to_owned();
    for (what, version, limit, max_bytes, expected) in [
        ("the first batch is whole whatever the limits", 4, 0, 0, [&empty, &a, "1 hw 1"]),
        ("limits in the middle of a batch", 4, one_i32 - 1, UNLIMITED, [&empty, &a, "1 hw 1"]),
        ("exactly one batch each", 4, one_i32, UNLIMITED, [&empty, &a, &x]),
        ("the sum is limited", 4, one_i32, one_i32 * 2 - 1, [&empty, &a, "1 hw 1"]),
        (
            "negative limits",
            4,
            -1,
            UNLIMITED,
            ["2 UNKNOWN_SERVER_ERROR hw -1", "0 UNKNOWN_SERVER_ERROR hw -1", "1 UNKNOWN_SERVER_ERROR hw -1"],
        ),
    ] {
        let response = broker.call(version, &both(limit, max_bytes)).await;
        assert_eq!(shown(&response), expected, "{what}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let broker = OneBroker::start();
    let layout = Layout { leaders: &[1, 2], replicas: &[1, 2], isr: &[1, 2], epoch: 5, ..Layout::default() };
    broker.assign(&layout).await;
    let mut request = consumer(&[(9, 0), (0, 0), (1, 0)]);
    request.topics[0].partitions[1].current_leader_epoch = 4;
    let shown_at_10 = async |request: &FetchRequest| shown(&broker.call(10, request).await);
    assert_eq!(
        shown_at_10(&request).await,
        [
            "0 FENCED_LEADER_EPOCH hw -1",
            "1 NOT_LEADER_OR_FOLLOWER hw -1",
            "9 UNKNOWN_TOPIC_OR_PARTITION hw -1"
        ],
        "what is refused before reading comes last"
    );
    request.topics[0].partitions[1].current_leader_epoch = 6;
    assert_eq!(shown_at_10(&request).await[0], "0 UNKNOWN_LEADER_EPOCH hw -1");

    // A consumer of version 11 and later reads from followers too.
    assert_eq!(shown(&broker.call(11, &consumer(&[(1, 0)])).await), ["1 hw 0"]);

    // Version 16 tells where the leader is.
    let response = broker.call(17, &follower(&[(1, 0)])).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!(line(data), "1 NOT_LEADER_OR_FOLLOWER hw -1");
    assert_eq!((data.current_leader.leader_id, data.current_leader.leader_epoch), (2, 5));
    assert_eq!(response.node_endpoints.iter().map(|node| node.port).collect::<Vec<_>>(), [9092]);

    let mut other_id = consumer(&[(0, 0)]);
    other_id.topics[0].topic_id = Uuid([8; 16]);
    assert_eq!(shown(&broker.call(13, &other_id).await), ["0 UNKNOWN_TOPIC_ID hw -1"]);

    let mut no_replica = follower(&[(0, 0)]);
    no_replica.replica_state.replica_id = 3;
    assert_eq!(shown(&broker.call(15, &no_replica).await), ["0 NOT_LEADER_OR_FOLLOWER hw -1"]);

    let mut isolation = consumer(&[(0, 0)]);
    isolation.isolation_level = 2;
    let response = broker.call(12, &isolation).await;
    assert_eq!(response.error_code, ErrorCode::UnknownServerError.code());
    assert_eq!(shown(&response), ["0 UNKNOWN_SERVER_ERROR hw -1 null"]);
}

#[tokio::test]
async fn consumers_read_to_the_high_watermark_and_followers_move_it() {
    let broker = OneBroker::start();
    broker.assign(&Layout { replicas: &[1, 2], isr: &[1, 2], ..Layout::default() }).await;
    produce(&broker, "t", 0, batch(&["a"], 1)).await;
    let one = batch(&["a"], 1).len();
    assert_eq!(shown(&broker.call(17, &consumer(&[(0, 0)])).await), ["0 hw 0"]);
    assert_eq!(
        shown(&broker.call(17, &consumer(&[(0, 1)])).await),
        ["0 hw 0"],
        "beyond its bound, in the log"
    );
    assert_eq!(shown(&broker.call(17, &follower(&[(0, 0)])).await), [format!("0 hw 0 0+{one}")]);
    assert_eq!(
        shown(&broker.call(17, &follower(&[(0, 1)])).await),
        ["0 hw 0"],
        "the watermark is from before the read"
    );
    assert_eq!(shown(&broker.call(17, &consumer(&[(0, 0)])).await), [format!("0 hw 1 0+{one}")]);
}

#[tokio::test]
async fn a_fetcher_that_diverges_is_told_where() {
    let broker = OneBroker::start();
    let with_epoch = |epoch| Layout { replicas: &[1, 2], isr: &[1, 2], epoch, ..Layout::default() };
    broker.assign(&with_epoch(0)).await;
    produce(&broker, "t", 0, batch(&["a", "b"], 1)).await;
    broker.assign(&with_epoch(3)).await;
    produce(&broker, "t", 0, batch(&["c"], 1)).await;
    let mut request = waiting(follower(&[(0, 3)]), 1);
    request.topics[0].partitions[0].last_fetched_epoch = 2;
    let response = broker.call(17, &request).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!(line(data), "0 hw 0");
    assert_eq!((data.diverging_epoch.epoch, data.diverging_epoch.end_offset), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_parks_until_there_is_something() {
    let broker = filled().await;
    let one = batch(&["a"], 1).len();
    // Partition 2 is empty, 0 is read to its end.
    let request = waiting(consumer(&[(0, 4), (2, 0)]), 1);
    let parked = broker.call(17, &request);
    tokio::pin!(parked);
    assert!(parked.as_mut().now_or_never().is_none());
    produce(&broker, "t", 1, batch(&["elsewhere"], 1)).await;
    assert!(parked.as_mut().now_or_never().is_none());
    produce(&broker, "t", 2, batch(&["a"], 1)).await;
    assert_eq!(shown(&parked.await), ["0 hw 4".to_owned(), format!("2 hw 1 0+{one}")]);

    let started = tokio::time::Instant::now();
    assert_eq!(shown(&broker.call(17, &request).await).len(), 2, "there is something at once");
    assert_eq!(started.elapsed(), Duration::ZERO);
    let nothing = waiting(consumer(&[(0, 4)]), 1);
    assert_eq!(shown(&broker.call(17, &nothing).await), ["0 hw 4"]);
    assert_eq!(started.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_parked_fetch_adds_up_what_comes() {
    let broker = filled().await;
    let one = i32::try_from(batch(&["a"], 1).len()).expect("small");
    // One batch is there already, three are wanted.
    let request = waiting(consumer(&[(1, 0), (2, 0)]), 3 * one);
    let parked = broker.call(17, &request);
    tokio::pin!(parked);
    assert!(parked.as_mut().now_or_never().is_none());
    produce(&broker, "t", 2, batch(&["a"], 1)).await;
    assert!(parked.as_mut().now_or_never().is_none());
    produce(&broker, "t", 1, batch(&["a"], 1)).await;
    let response = parked.as_mut().now_or_never().expect("three batches are there");
    assert_eq!(shown(&response), [format!("1 hw 2 0+{one} 1+{one}"), format!("2 hw 1 0+{one}")]);
}

#[tokio::test(start_paused = true)]
async fn what_lies_in_an_older_segment_does_not_wait_for_more() {
    let one = batch(&["a"], 1).len();
    let segment_bytes = i32::try_from(one).expect("small");
    let broker = OneBroker::with_topic_config(|config| config.log.segment_bytes = segment_bytes);
    broker.assign(&Layout::default()).await;
    for _ in 0..2 {
        produce(&broker, "t", 0, batch(&["a"], 1)).await;
    }
    let started = tokio::time::Instant::now();
    let from = |offset| waiting(consumer(&[(0, offset)]), 10 * segment_bytes);
    assert_eq!(shown(&broker.call(17, &from(0)).await), [format!("0 hw 2 0+{one}")]);
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(shown(&broker.call(17, &from(1)).await), [format!("0 hw 2 1+{one}")]);
    assert_eq!(started.elapsed(), Duration::from_millis(500), "the open segment may get more");
}

#[tokio::test(start_paused = true)]
async fn errors_do_not_wait_but_unknown_partitions_do() {
    let broker = filled().await;
    let started = tokio::time::Instant::now();
    let mut fenced = waiting(consumer(&[(0, 4), (1, 1)]), 1);
    fenced.topics[0].partitions[1].current_leader_epoch = 9;
    broker.call(17, &fenced).await;
    broker.call(17, &waiting(consumer(&[(8, 0), (9, 0)]), 1)).await;
    broker.call(17, &waiting(consumer(&[]), 1)).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    broker.call(17, &waiting(consumer(&[(0, 4), (9, 0)]), 1)).await;
    assert_eq!(started.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_parked_fetch_ends_when_the_lead_is_lost() {
    let broker = OneBroker::start();
    let layout = Layout { replicas: &[1, 2], isr: &[1, 2], ..Layout::default() };
    broker.assign(&layout).await;
    let request = waiting(follower(&[(0, 0)]), 1);
    let parked = broker.call(17, &request);
    tokio::pin!(parked);
    assert!(parked.as_mut().now_or_never().is_none());
    broker.assign(&Layout { leaders: &[2], epoch: 1, ..layout }).await;
    assert_eq!(shown(&parked.as_mut().now_or_never().expect("woken")), ["0 NOT_LEADER_OR_FOLLOWER hw -1"]);
}

#[tokio::test]
async fn a_session_sends_what_is_new() {
    let broker = filled().await;
    let one = batch(&["a"], 1).len();
    let mut full = consumer(&[(0, 3), (1, 1), (9, 0)]);
    full.session_epoch = 0;
    let response = broker.call(17, &full).await;
    let id = response.session_id;
    assert_ne!(id, 0);
    assert_eq!(
        shown(&response),
        [format!("0 hw 4 3+{one}"), "1 hw 1".to_owned(), "9 UNKNOWN_TOPIC_OR_PARTITION hw -1".to_owned()]
    );
    let next = |epoch, partitions: &[(i32, i64)], forgotten: &[i32]| {
        let mut request = consumer(partitions);
        if partitions.is_empty() {
            request.topics.clear();
        }
        if !forgotten.is_empty() {
            request.forgotten_topics_data =
                vec![ForgottenTopic { topic: Str::default(), topic_id: ID, partitions: forgotten.to_vec() }];
        }
        FetchRequest { session_id: id, session_epoch: epoch, ..request }
    };
    let response = broker.call(17, &next(1, &[(0, 4)], &[9])).await;
    assert_eq!((response.session_id, shown(&response)), (id, vec![]));
    produce(&broker, "t", 1, batch(&["y"], 1)).await;
    assert_eq!(shown(&broker.call(17, &next(2, &[], &[])).await), [format!("1 hw 2 1+{one}")]);
    let refused = broker.call(17, &next(2, &[], &[])).await;
    assert_eq!(refused.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
    assert_eq!((refused.session_id, refused.responses.len()), (0, 0));
    let ended = broker.call(17, &next(-1, &[], &[])).await;
    assert_eq!((ended.error_code, ended.session_id), (0, 0));
    let gone = broker.call(17, &next(3, &[], &[])).await;
    assert_eq!(gone.error_code, ErrorCode::FetchSessionIdNotFound.code());
}

#[tokio::test]
async fn old_clients_get_old_formats_unless_forbidden() {
    let broker = filled().await;
    for (version, magic) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
        let response = broker.call(version, &consumer(&[(0, 1)])).await;
        let data = &response.responses[0].partitions[0];
        let bytes = data.records.as_ref().expect("records").to_bytes().expect("in memory");
        let found: Vec<_> = batches(&bytes).map(|batch| (batch.magic(), batch.entry_offset().0)).collect();
        assert_eq!(found[..3], [(magic, 1), (magic, 2), (magic, 3)], "version {version}");
    }
    let strict = OneBroker::with_topic_config(|config| config.downconversion_enabled = false);
    strict.assign(&Layout::default()).await;
    produce(&strict, "t", 0, batch(&["a"], 1)).await;
    assert_eq!(shown(&strict.call(3, &consumer(&[(0, 0)])).await), ["0 UNSUPPORTED_VERSION hw -1 null"]);
    assert_eq!(shown(&strict.call(4, &consumer(&[(0, 0)])).await).len(), 1);
}

#[tokio::test]
async fn committed_readers_get_a_list_of_aborted_transactions() {
    let broker = filled().await;
    let mut request = consumer(&[(0, 0)]);
    let aborted = |response: FetchResponse| response.responses[0].partitions[0].aborted_transactions.clone();
    assert_eq!(aborted(broker.call(17, &request).await), None);
    request.isolation_level = 1;
    assert_eq!(
        aborted(broker.call(17, &request).await),
        Some(Vec::<fetch_response::AbortedTransaction>::new())
    );
    assert_eq!(FetchRequest::KEY, client::wire::ApiKey::Fetch);
}
