//! What goes by itself, with Apache's broker and with ours: offsets that have lasted long enough, and
//! groups that nothing is left of.

use std::time::Duration;

use client::connection::Connection;
use client::wire::ErrorCode;
use client::wire::messages::create_topics_request::CreatableTopic;
use client::wire::messages::leave_group_request::MemberIdentity;
use client::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use client::wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use client::wire::messages::{
    CreateTopicsRequest, DescribeGroupsRequest, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE};
use integration::member::now_ms;

use super::records::{blocking, join, sync, until_coordinated};
use super::{ask, connect};

const SETTINGS: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "2"),
    ("offsets.topic.replication.factor", "1"),
    ("offsets.retention.minutes", "1"),
    ("offsets.retention.check.interval.ms", "200"),
];

/// Longer ago than offsets last.
const LONG_AGO_MS: i64 = 61_000;

#[tokio::test(flavor = "multi_thread")]
async fn apaches_offsets_expire() {
    let cluster = blocking(|| ApacheCluster::start(1, SETTINGS)).await;
    expire(&connect(&cluster.address(1)).await).await;
    blocking(move || drop(cluster)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_offsets_expire_and_classic_ones_do_not() {
    let cluster = blocking(|| Cluster::start(1, SETTINGS)).await;
    let connection = connect(&cluster.address(1)).await;
    expire(&connection).await;
    leave_classic_offsets(&connection).await;
    blocking(move || drop(cluster)).await;
}

async fn expire(connection: &Connection) {
    create_topics(connection).await;
    for group in ["simple", "gone", "live"] {
        until_coordinated(connection, group).await;
    }

    // By the time of the commit.
    let now = now_ms();
    commit(connection, &Commit { group: "simple", at: &[("t", 0, 5)], time_ms: now - LONG_AGO_MS, ..AT_V1 })
        .await;
    commit(connection, &Commit { group: "simple", at: &[("t", 1, 6)], time_ms: now, ..AT_V1 }).await;
    until_offsets(connection, "simple", &[("t", 1, 6)]).await;

    // With the last offset goes the group.
    commit(connection, &Commit { group: "gone", at: &[("t", 0, 5)], time_ms: now - LONG_AGO_MS, ..AT_V1 })
        .await;
    until_offsets(connection, "gone", &[]).await;
    until_state(connection, "gone", "Dead").await;

    // What the members subscribe to stays as long as they do.
    let joined = join(connection, "live", None, "").await;
    let joined = join(connection, "live", None, &joined.member_id).await;
    sync(connection, "live", None, &joined).await;
    let lasts = Commit {
        group: "live",
        generation: joined.generation_id,
        member: &joined.member_id,
        at: &[("t", 0, 7), ("u", 0, 8)],
        retention_ms: 300,
        ..AT_V2
    };
    commit(connection, &lasts).await;
    until_offsets(connection, "live", &[("t", 0, 7)]).await;
    let member = MemberIdentity { member_id: joined.member_id.clone(), ..MemberIdentity::default() };
    let leave = LeaveGroupRequest { group_id: "live".into(), members: vec![member], ..Default::default() };
    assert_eq!(ask(connection, 5, &leave).await.error_code, 0);
    until_offsets(connection, "live", &[]).await;
    until_state(connection, "live", "Dead").await;
    assert_eq!(offsets(connection, "simple").await, seen(&[("t", 1, 6)]));
}

async fn leave_classic_offsets(connection: &Connection) {
    // One that a classic consumer wrote over, beside one that expires.
    until_coordinated(connection, "classic").await;
    let both = Commit { group: "classic", at: &[("t", 0, 5), ("t", 1, 5)], retention_ms: 1_500, ..AT_V2 };
    commit(connection, &both).await;
    commit(connection, &Commit { group: "classic", at: &[("t", 0, 9)], version: 0, ..AT_V1 }).await;
    until_offsets(connection, "classic", &[("t", 0, 9)]).await;

    // A member that comes, commits nothing and goes takes nothing along.
    until_coordinated(connection, "visited").await;
    commit(connection, &Commit { group: "visited", at: &[("t", 0, 4)], version: 0, ..AT_V1 }).await;
    let joined = join(connection, "visited", None, "").await;
    let joined = join(connection, "visited", None, &joined.member_id).await;
    assert_eq!(joined.error_code, 0);
    until_state(connection, "visited", "CompletingRebalance").await;
    let member = MemberIdentity { member_id: joined.member_id.clone(), ..MemberIdentity::default() };
    let leave = LeaveGroupRequest { group_id: "visited".into(), members: vec![member], ..Default::default() };
    assert_eq!(ask(connection, 5, &leave).await.error_code, 0);
    until_state(connection, "visited", "Dead").await;
    assert_eq!(offsets(connection, "visited").await, seen(&[("t", 0, 4)]));
    assert_eq!(offsets(connection, "classic").await, seen(&[("t", 0, 9)]));
}

/// One request.
struct Commit<'a> {
    version: i16,
    group: &'a str,
    generation: i32,
    member: &'a str,
    at: &'a [(&'a str, i32, i64)],
    /// Until version 1.
    time_ms: i64,
    /// From version 2 to 4.
    retention_ms: i64,
}

const AT_V1: Commit<'_> =
    Commit { version: 1, group: "", generation: -1, member: "", at: &[], time_ms: -1, retention_ms: -1 };

const AT_V2: Commit<'_> = Commit { version: 2, ..AT_V1 };

async fn commit(connection: &Connection, commit: &Commit<'_>) {
    let one = |(topic, partition, offset): &(&str, i32, i64)| OffsetCommitRequestTopic {
        name: (*topic).into(),
        partitions: vec![OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            commit_timestamp: commit.time_ms,
            ..OffsetCommitRequestPartition::default()
        }],
    };
    let request = OffsetCommitRequest {
        group_id: commit.group.into(),
        generation_id_or_member_epoch: commit.generation,
        member_id: commit.member.into(),
        retention_time_ms: commit.retention_ms,
        topics: commit.at.iter().map(one).collect(),
        ..OffsetCommitRequest::default()
    };
    let started = std::time::Instant::now();
    loop {
        let response = ask(connection, commit.version, &request).await;
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        let codes: Vec<i16> = partitions.map(|one| one.error_code).collect();
        // Apache's coordinator says so in its first moments, also of groups that it describes; clients ask again.
        let is_too_early = codes.contains(&ErrorCode::CoordinatorNotAvailable.code());
        if !is_too_early || started.elapsed() > PATIENCE {
            assert_eq!(codes, vec![0; commit.at.len()], "{}", commit.group);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn seen(offsets: &[(&str, i32, i64)]) -> Vec<(String, i32, i64)> {
    offsets.iter().map(|(topic, partition, offset)| ((*topic).to_owned(), *partition, *offset)).collect()
}

async fn offsets(connection: &Connection, group: &str) -> Vec<(String, i32, i64)> {
    let topic = |name: &str| OffsetFetchRequestTopic { name: name.into(), partition_indexes: vec![0, 1] };
    let request = OffsetFetchRequest {
        group_id: group.into(),
        topics: Some(vec![topic("t"), topic("u")]),
        ..OffsetFetchRequest::default()
    };
    let response = ask(connection, 7, &request).await;
    assert_eq!(response.error_code, 0, "{group}");
    let all = response.topics.iter().flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partitions.iter().map(move |one| (name.clone(), one.partition_index, one.committed_offset))
    });
    all.filter(|(_, _, offset)| *offset >= 0).collect()
}

async fn until_offsets(connection: &Connection, group: &str, expected: &[(&str, i32, i64)]) {
    let started = std::time::Instant::now();
    loop {
        let found = offsets(connection, group).await;
        if found == seen(expected) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{group} has {found:?} and should have {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_state(connection: &Connection, group: &str, expected: &str) {
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..DescribeGroupsRequest::default() };
    let started = std::time::Instant::now();
    loop {
        let described = ask(connection, 5, &request).await.groups.remove(0);
        if &*described.group_state == expected {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{group} is {} and should be {expected}",
            described.group_state
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn create_topics(connection: &Connection) {
    let topic = |name: &str| CreatableTopic {
        name: name.into(),
        num_partitions: 2,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic("t"), topic("u")],
        timeout_ms: 30_000,
        ..CreateTopicsRequest::default()
    };
    let created = ask(connection, 7, &request).await;
    assert!(created.topics.iter().all(|topic| topic.error_code == 0), "{created:?}");
}
