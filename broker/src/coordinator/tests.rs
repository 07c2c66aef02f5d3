//! Groups over the wire's messages, on one broker that leads a partition of `__consumer_offsets`.

use std::sync::Arc;

use bytes::Bytes;
use client::wire::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use client::wire::messages::join_group_request::JoinGroupRequestProtocol;
use client::wire::messages::leave_group_request::MemberIdentity;
use client::wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use client::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use client::wire::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FetchRequest, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetFetchRequest, OffsetFetchResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use client::wire::{ErrorCode, MAX_STRING, Str};
use futures::FutureExt;

use crate::api::testing::{Layout, ME, OneBroker};
use crate::group::{self, CommittedOffset, record};

const OTHER: i32 = 2;

fn layout(leader: &[i32], epoch: i32) -> Layout<'_> {
    Layout {
        topic: group::TOPIC,
        leaders: leader,
        replicas: &[ME, OTHER],
        isr: &[ME],
        epoch,
        ..Layout::default()
    }
}

async fn coordinator() -> OneBroker {
    let broker = OneBroker::start();
    broker.assign(&layout(&[ME], 0)).await;
    loaded(&broker).await;
    broker
}

/// Waits until the one partition is loaded, or is given up.
async fn loaded(broker: &OneBroker) {
    let leads = broker.partition(group::TOPIC, 0).status().is_leader();
    while broker.context.coordinator.led("g").is_ok() != leads {
        tokio::task::yield_now().await;
    }
}

fn join(member_id: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"meta") };
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    }
}

/// Joins as clients do: twice.
async fn join_twice(broker: &OneBroker) -> JoinGroupResponse {
    let first = broker.call(9, &join("")).await;
    assert_eq!(first.error_code, ErrorCode::MemberIdRequired.code());
    broker.call(9, &join(&first.member_id)).await
}

async fn sync(broker: &OneBroker, joined: &JoinGroupResponse) -> SyncGroupResponse {
    let assignment = |member_id: &Str| SyncGroupRequestAssignment {
        member_id: member_id.clone(),
        assignment: Bytes::from(format!("for {member_id}")),
    };
    let request = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: joined.members.iter().map(|member| assignment(&member.member_id)).collect(),
        ..SyncGroupRequest::default()
    };
    broker.call(5, &request).await
}

async fn heartbeat(broker: &OneBroker, member_id: &str, generation_id: i32) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        ..HeartbeatRequest::default()
    };
    ErrorCode::from_code(broker.call(4, &request).await.error_code)
}

async fn state(broker: &OneBroker) -> String {
    let request = DescribeGroupsRequest { groups: vec!["g".into()], ..DescribeGroupsRequest::default() };
    broker.call(5, &request).await.groups[0].group_state.to_string()
}

#[tokio::test]
async fn a_group_lives_and_is_deleted() {
    let broker = coordinator().await;
    assert_eq!(state(&broker).await, "Dead");
    let joined = join_twice(&broker).await;
    assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 1, 1));
    assert!(joined.member_id.starts_with("tests-"), "{}", joined.member_id);
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(state(&broker).await, "CompletingRebalance");
    let synced = sync(&broker, &joined).await;
    assert_eq!(synced.assignment, format!("for {}", joined.member_id));
    assert_eq!(heartbeat(&broker, &joined.member_id, 1).await, ErrorCode::None);
    assert_eq!(heartbeat(&broker, &joined.member_id, 2).await, ErrorCode::IllegalGeneration);

    let listed = broker.call(5, &ListGroupsRequest::default()).await;
    let [group] = &listed.groups[..] else { panic!("{listed:?}") };
    let seen = (&*group.group_id, &*group.protocol_type, &*group.group_state, &*group.group_type);
    assert_eq!(seen, ("g", "consumer", "Stable", "classic"));
    for (states, types, count) in
        [("stable", "", 1), ("Empty", "", 0), ("nonsense", "", 0), ("", "CLASSIC", 1), ("", "consumer", 0)]
    {
        let filter = |name: &str| if name.is_empty() { Vec::new() } else { vec![Str::from(name)] };
        let request = ListGroupsRequest { states_filter: filter(states), types_filter: filter(types) };
        assert_eq!(broker.call(5, &request).await.groups.len(), count, "{states} {types}");
    }

    let delete = DeleteGroupsRequest { groups_names: vec!["g".into(), "none".into(), "g".into()] };
    let codes = |response: client::wire::messages::DeleteGroupsResponse| {
        response.results.iter().map(|one| (one.group_id.to_string(), one.error_code)).collect::<Vec<_>>()
    };
    let expected = [("g".to_owned(), 68), ("none".to_owned(), 69)];
    assert_eq!(codes(broker.call(2, &delete).await), expected);
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![MemberIdentity { member_id: joined.member_id, ..MemberIdentity::default() }],
        ..LeaveGroupRequest::default()
    };
    let left = broker.call(5, &leave).await;
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    assert_eq!(state(&broker).await, "Empty");
    let expected = [("g".to_owned(), 0), ("none".to_owned(), 69)];
    assert_eq!(codes(broker.call(2, &delete).await), expected);
    assert_eq!(state(&broker).await, "Dead");
}

#[tokio::test]
async fn a_group_goes_on_after_a_change_of_leader_and_back() {
    let broker = coordinator().await;
    let joined = join_twice(&broker).await;
    let synced = sync(&broker, &joined).await;
    broker.assign(&layout(&[OTHER], 1)).await;
    loaded(&broker).await;
    assert_eq!(heartbeat(&broker, &joined.member_id, 1).await, ErrorCode::NotCoordinator);
    assert_eq!(broker.call(9, &join("")).await.error_code, ErrorCode::NotCoordinator.code());
    assert_eq!(sync(&broker, &joined).await.error_code, ErrorCode::NotCoordinator.code());
    broker.assign(&layout(&[ME], 2)).await;
    loaded(&broker).await;
    assert_eq!(heartbeat(&broker, &joined.member_id, 1).await, ErrorCode::None);
    assert_eq!(state(&broker).await, "Stable");
    assert_eq!(sync(&broker, &joined).await, synced);
}

#[tokio::test]
async fn who_waits_when_the_lead_is_lost_is_told_so() {
    let broker = coordinator().await;
    let joined = join_twice(&broker).await;
    sync(&broker, &joined).await;
    let mut old = join("");
    old.protocols[0].metadata = Bytes::from_static(b"second");
    let (parked, ()) = tokio::join!(broker.call(3, &old), async {
        while state(&broker).await != "PreparingRebalance" {
            tokio::task::yield_now().await;
        }
        broker.assign(&layout(&[OTHER], 1)).await;
    });
    assert_eq!(parked.error_code, ErrorCode::NotCoordinator.code());
}

#[tokio::test]
async fn followers_come_and_go_without_a_rebalance() {
    let broker = coordinator().await;
    let joined = join_twice(&broker).await;
    let synced = sync(&broker, &joined).await;
    broker.assign(&layout(&[ME], 1)).await;
    assert_eq!(heartbeat(&broker, &joined.member_id, 1).await, ErrorCode::None);
    assert_eq!(sync(&broker, &joined).await, synced);
}

#[tokio::test]
async fn what_was_decided_in_a_former_term_is_not_written_in_the_next() {
    let broker = coordinator().await;
    let former = broker.context.coordinator.led("g").expect("this broker leads");
    broker.assign(&layout(&[OTHER], 1)).await;
    broker.assign(&layout(&[ME], 2)).await;
    loaded(&broker).await;
    let append = |led: &super::Led| {
        let record = record::group_record(&"g".into(), None).expect("a tombstone");
        led.append(&[record], record::Content::Groups).map(drop)
    };
    assert_eq!(append(&former), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(append(&broker.context.coordinator.led("g").expect("it leads again")), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_term_is_taken_up_once_however_many_look() {
    const PARTITIONS: usize = 50;
    let broker = OneBroker::start();
    let coordinator = &broker.context.coordinator;
    // Each term that was taken up holds on to the coordinator.
    let before = Arc::strong_count(coordinator);
    let look = |coordinator: Arc<super::Coordinator>| async move {
        while coordinator.all_led().len() < PARTITIONS {
            coordinator.look_again();
            tokio::task::yield_now().await;
        }
    };
    let looking: Vec<_> = (0..4).map(|_| tokio::spawn(look(Arc::clone(coordinator)))).collect();
    broker.assign(&layout(&[ME; PARTITIONS], 0)).await;
    for one in looking {
        one.await.expect("no panic");
    }
    assert_eq!(Arc::strong_count(coordinator), before + PARTITIONS);
}

/// Who joined by it all the same would leave its leader without an answer too.
#[tokio::test]
async fn a_member_whose_id_no_answer_could_hold_does_not_join() {
    let broker = coordinator().await;
    for version in [1, 3, 4, 9] {
        let refused = broker.call_as(&"c".repeat(MAX_STRING), version, &join("")).await;
        assert_eq!((refused.error_code, &*refused.member_id), (-1, ""), "version {version}");
    }
    let described =
        broker.call(5, &DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() }).await;
    assert_eq!(described.groups[0].group_state, "Dead");

    let longest = "c".repeat(MAX_STRING - "-00000000-0000-4000-8000-000000000000".len());
    let asked = broker.call_as(&longest, 9, &join("")).await;
    assert_eq!(asked.error_code, ErrorCode::MemberIdRequired.code());
    let joined = broker.call_as(&longest, 9, &join(&asked.member_id)).await;
    assert_eq!((joined.error_code, joined.leader), (0, asked.member_id));
}

/// Sooner deadlines come again and again, as with each rebalance; what they replace is not kept.
#[tokio::test]
async fn a_group_has_one_timer() {
    let broker = coordinator().await;
    for session_timeout_ms in [30_000, 20_000, 10_000, 40_000] {
        let asked = JoinGroupRequest { session_timeout_ms, ..join("") };
        let answer = broker.call(9, &asked).await;
        assert_eq!(answer.error_code, ErrorCode::MemberIdRequired.code());
    }
    let led = broker.context.coordinator.led("g").expect("it is loaded");
    assert_eq!(led.timers.count(), 1);
}

/// This broker and another are in sync.
fn both(leader: &[i32], epoch: i32) -> Layout<'_> {
    Layout { isr: &[ME, OTHER], ..layout(leader, epoch) }
}

/// Leads again, with a generation and an offset in its log that the other broker lacks.
async fn ahead_of_the_other(min_insync_replicas: usize) -> (OneBroker, JoinGroupResponse) {
    let broker = OneBroker::with_topic_config(|config| config.min_insync_replicas = min_insync_replicas);
    broker.assign(&both(&[ME], 0)).await;
    loaded(&broker).await;
    let joined = join_twice(&broker).await;
    let mut syncing = Box::pin(sync(&broker, &joined));
    assert!(syncing.as_mut().now_or_never().is_none(), "the generation is not replicated");
    let committed = CommittedOffset {
        offset: COMMITTED,
        leader_epoch: -1,
        metadata: Str::new(),
        commit_time_ms: 0,
        expire_time_ms: None,
    };
    let record = record::offset_record(&"g".into(), &"t".into(), 0, Some(&committed)).expect("a record");
    let led = broker.context.coordinator.led("g").expect("it is loaded");
    led.append(&[record], record::Content::Commits).expect("this broker leads");
    broker.assign(&both(&[OTHER], 1)).await;
    assert_eq!(syncing.await.error_code, ErrorCode::NotCoordinator.code());
    loaded(&broker).await;
    broker.assign(&both(&[ME], 2)).await;
    let status = broker.partition(group::TOPIC, 0).status();
    assert!(status.high_watermark < status.end, "{status:?}");
    all_is_done_that_can_be().await;
    (broker, joined)
}

/// A paused clock goes on only when nothing else does, threads that read logs included.
async fn all_is_done_that_can_be() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}

/// What is answered to who joins, syncs, asks for offsets and lists groups.
async fn codes(broker: &OneBroker, joined: &JoinGroupResponse) -> [ErrorCode; 4] {
    [
        broker.call(9, &join("")).await.error_code,
        sync(broker, joined).await.error_code,
        offsets(broker).await.error_code,
        broker.call(5, &ListGroupsRequest::default()).await.error_code,
    ]
    .map(ErrorCode::from_code)
}

/// The offset of t-0.
async fn offsets(broker: &OneBroker) -> OffsetFetchResponse {
    let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] };
    let request = OffsetFetchRequest {
        group_id: "g".into(),
        topics: Some(vec![topic]),
        ..OffsetFetchRequest::default()
    };
    broker.call(7, &request).await
}

const COMMITTED: i64 = 17;
const LOADING: [ErrorCode; 4] = [
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::RebalanceInProgress,
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::CoordinatorLoadInProgress,
];

/// The other broker's fetch, which says that it has all before `offset`.
fn fetch_of_other(offset: i64) -> FetchRequest {
    let partition =
        FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    FetchRequest {
        replica_state: ReplicaState { replica_id: OTHER, replica_epoch: -1 },
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic_id: Layout::default().id,
            partitions: vec![partition],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_loaded_is_told_when_all_in_sync_have_it() {
    let (broker, joined) = ahead_of_the_other(1).await;
    let end = broker.partition(group::TOPIC, 0).status().end.0;
    assert_eq!(codes(&broker, &joined).await, LOADING);
    // Who is a member need not leave for it.
    assert_eq!(heartbeat(&broker, &joined.member_id, 1).await, ErrorCode::None);
    broker.call(17, &fetch_of_other(end - 1)).await;
    all_is_done_that_can_be().await;
    assert_eq!(codes(&broker, &joined).await, LOADING);

    broker.call(17, &fetch_of_other(end)).await;
    all_is_done_that_can_be().await;
    assert_eq!(sync(&broker, &joined).await.assignment, format!("for {}", joined.member_id));
    assert_eq!(offsets(&broker).await.topics[0].partitions[0].committed_offset, COMMITTED);
    let served = [ErrorCode::MemberIdRequired, ErrorCode::None, ErrorCode::None, ErrorCode::None];
    assert_eq!(codes(&broker, &joined).await, served);
}

#[tokio::test(start_paused = true)]
async fn what_was_loaded_is_told_when_who_lacks_it_is_no_longer_in_sync() {
    let (broker, joined) = ahead_of_the_other(1).await;
    assert_eq!(codes(&broker, &joined).await, LOADING);
    broker.assign(&layout(&[ME], 3)).await;
    all_is_done_that_can_be().await;
    assert_eq!(sync(&broker, &joined).await.assignment, format!("for {}", joined.member_id));
}

#[tokio::test(start_paused = true)]
async fn what_was_loaded_is_not_told_while_fewer_than_the_least_are_in_sync() {
    let (broker, joined) = ahead_of_the_other(2).await;
    broker.assign(&layout(&[ME], 3)).await;
    all_is_done_that_can_be().await;
    assert_eq!(codes(&broker, &joined).await, LOADING);
    broker.assign(&both(&[ME], 4)).await;
    broker.call(17, &fetch_of_other(broker.partition(group::TOPIC, 0).status().end.0)).await;
    all_is_done_that_can_be().await;
    assert_eq!(sync(&broker, &joined).await.assignment, format!("for {}", joined.member_id));
}

#[tokio::test(start_paused = true)]
async fn what_was_loaded_is_never_told_when_the_lead_is_lost_before() {
    let (broker, joined) = ahead_of_the_other(1).await;
    assert_eq!(codes(&broker, &joined).await, LOADING);
    let waiting = Arc::strong_count(&broker.context.coordinator);
    broker.assign(&both(&[OTHER], 3)).await;
    all_is_done_that_can_be().await;
    assert_eq!(codes(&broker, &joined).await[..3], [ErrorCode::NotCoordinator; 3]);
    assert_eq!(Arc::strong_count(&broker.context.coordinator), waiting - 1, "nobody waits any more");
}
