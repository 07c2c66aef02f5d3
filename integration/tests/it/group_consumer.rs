//! Our group consumer: with Apache's brokers, with ours, and beside other clients in one group.

mod coming_and_going;
mod ours;
pub(crate) mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use client::admin::{Admin, AdminOptions, NewTopic, Placement};
use client::cluster::Bootstrap;
use client::consumer::assignor::Assignor;
use client::consumer::group::{AutoOffsetReset, GroupConsumer, GroupConsumerBuilder, OffsetAndMetadata};
use client::ids::{LeaderEpoch, Offset, TopicPartition};
use integration::apache_cluster::ApacheCluster;
use integration::foreign;
use integration::runtime::run;
use reader::{Heard, Reader};

const WAIT: Duration = Duration::from_secs(30);

pub(crate) fn member(bootstrap: &str, group: &str) -> GroupConsumerBuilder {
    GroupConsumer::builder()
        .bootstrap_servers(bootstrap)
        .group_id(group.to_owned())
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .with(|options| {
            options.session_timeout = Duration::from_secs(6);
            options.heartbeat_interval = Duration::from_millis(300);
            options.auto_commit = Some(Duration::from_millis(200));
        })
}

fn create(bootstrap: &str, topic: &str, partitions: i32, replicas: i16) {
    run(async {
        let admin = Admin::new(Bootstrap::resolve(bootstrap).await.expect("known"), AdminOptions::default());
        let placement =
            Placement::Counts { partitions: Some(partitions), replication_factor: Some(replicas) };
        let new = NewTopic { name: topic.to_owned(), placement, configs: BTreeMap::new() };
        admin.create_topic(&new).await.expect("the topic can be made");
    });
}

fn values(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{n:06}")).collect()
}

fn set(ids: impl IntoIterator<Item = i32>) -> BTreeSet<i32> {
    ids.into_iter().collect()
}

fn apache() -> ApacheCluster {
    ApacheCluster::start(
        1,
        &[("group.initial.rebalance.delay.ms", "0"), ("offsets.topic.num.partitions", "5")],
    )
}

/// Everything once through a member's life on one Apache broker: it reads, commits, another member joins and
/// dies, positions hold.
#[test]
fn apache_brokers_take_our_members() {
    let cluster = apache();
    let bootstrap = cluster.bootstrap();
    create(&bootstrap, "t", 4, 1);
    foreign::produce_with_rdkafka(&bootstrap, "t", &values(0..400));

    let first = Reader::start(member(&bootstrap, "g"), "t");
    first.wait_for("400 records", |saw| saw.records.len() == 400);
    assert_eq!(first.assigned(), set(0..4));

    let second = Reader::start(member(&bootstrap, "g"), "t");
    second.wait_for("two partitions for the second", |saw| saw.assigned.len() == 2);
    first.wait_for("two partitions for the first", |saw| saw.assigned.len() == 2);
    assert!(first.assigned().is_disjoint(&second.assigned()));
    assert_eq!(
        first.saw(|saw| saw.heard.clone())[..2],
        [Heard::Assigned(set(0..4)), Heard::Revoked(set(0..4))]
    );

    foreign::produce_with_rdkafka(&bootstrap, "t", &values(400..800));
    let all = |first: &Reader, second: &Reader| {
        first.saw(|saw| saw.records.len()) + second.saw(|saw| saw.records.len())
    };
    integration::wait::until("800 records", WAIT, || (all(&first, &second) >= 800).then_some(()));

    // One dies: after its session the other has everything, and reads nothing that was committed again.
    second.wait_for("a commit by time", |saw| saw.records.len() > 1);
    first.wait_for("a stable group", |saw| saw.assigned.len() == 2);
    let second = second.die();
    first.wait_for("all partitions", |saw| saw.assigned.len() == 4);
    let first = first.finish();
    let mut read: Vec<String> = first.values();
    read.extend(second.values());
    read.sort();
    read.dedup();
    assert_eq!(read, values(0..800));
    for offsets in first.by_partition().values() {
        assert!(offsets.is_sorted_by(|a, b| a < b), "nothing twice, nothing out of order: {offsets:?}");
    }
}

/// What a consumer can do beside polling, on Apache's broker.
#[test]
fn positions_commits_and_offsets_are_the_users() {
    let cluster = apache();
    let bootstrap = cluster.bootstrap();
    create(&bootstrap, "t", 1, 1);
    positions_are_the_users(&bootstrap, || {});
}

/// A consumer with partitions of its own choice in the group `h`, and then one that subscribes; `meanwhile`
/// happens after its commits.
fn positions_are_the_users(bootstrap: &str, meanwhile: impl FnOnce()) {
    foreign::produce_with_rdkafka(bootstrap, "t", &values(0..10));
    let partition = TopicPartition::new("t", 0);
    run(async {
        let mut consumer = member(bootstrap, "h").commit_by_hand().connect().await.expect("it is there");
        consumer.assign([partition.clone()]).expect("nothing is subscribed to");
        let mut read = 0;
        while read < 10 {
            read += consumer.poll(WAIT).await.expect("records").len();
        }
        assert_eq!(consumer.position(&partition).map(|p| p.offset), Some(Offset(10)));
        assert_eq!(consumer.committed([partition.clone()]).await.expect("an answer"), BTreeMap::new());

        consumer.commit().await.expect("a commit");
        let at = OffsetAndMetadata {
            offset: Offset(7),
            leader_epoch: LeaderEpoch(0),
            metadata: "seven".to_owned(),
        };
        consumer.commit_offsets([(partition.clone(), at.clone())].into()).await.expect("a commit");
        tokio::task::block_in_place(meanwhile);
        let committed = consumer.committed([partition.clone()]).await.expect("an answer");
        assert_eq!(committed, [(partition.clone(), at)].into());

        consumer.seek(&partition, Offset(4)).expect("assigned");
        assert_eq!(consumer.poll(WAIT).await.expect("records").first().map(|r| r.offset), Some(Offset(4)));
        consumer.seek_to_beginning([&partition]).expect("assigned");
        assert_eq!(consumer.poll(WAIT).await.expect("records").first().map(|r| r.offset), Some(Offset(0)));
        consumer.pause([&partition]).expect("assigned");
        consumer.seek_to_end([&partition]).expect("assigned");
        assert_eq!(consumer.poll(Duration::from_millis(500)).await.expect("none"), []);
        foreign::produce_with_kcat(bootstrap, "t", &values(10..11), &[]);
        assert_eq!(consumer.poll(Duration::from_millis(500)).await.expect("none"), []);
        consumer.resume([&partition]).expect("assigned");
        assert_eq!(consumer.poll(WAIT).await.expect("records").first().map(|r| r.offset), Some(Offset(10)));

        let begin = consumer.beginning_offsets([partition.clone()]).await.expect("an answer");
        let end = consumer.end_offsets([partition.clone()]).await.expect("an answer");
        let since = consumer.offsets_for_times([(partition.clone(), 0)]).await.expect("an answer");
        let late = consumer.offsets_for_times([(partition.clone(), i64::MAX)]).await.expect("an answer");
        let offset = |listed: &BTreeMap<TopicPartition, Option<client::consumer::ListedOffset>>| {
            listed[&partition].map(|listed| listed.offset.0)
        };
        assert_eq!(
            (offset(&begin), offset(&end), offset(&since), offset(&late)),
            (Some(0), Some(11), Some(0), None)
        );
        consumer.close().await.expect("nothing to commit");

        // Another consumer of the group begins where the commit says.
        let mut consumer = member(bootstrap, "h").commit_by_hand().connect().await.expect("it is there");
        consumer.subscribe_where(|topic| topic == "t").expect("a group");
        let first = consumer.poll(WAIT).await.expect("records");
        assert_eq!(first.first().map(|r| r.offset), Some(Offset(7)));
        consumer.unsubscribe().await;
        assert_eq!(consumer.assignment(), BTreeSet::new());
        consumer.close().await.expect("nothing to commit");
    });
}

/// A member joins a cooperative group: what stays with the first member is never taken from it.
#[test]
fn a_cooperative_rebalance_leaves_other_partitions_alone() {
    let cluster = apache();
    let bootstrap = cluster.bootstrap();
    create(&bootstrap, "t", 4, 1);
    let cooperative = || member(&bootstrap, "c").assignors([Assignor::CooperativeSticky]);
    let first = Reader::start(cooperative(), "t");
    first.wait_for("all partitions", |saw| saw.assigned.len() == 4);
    let second = Reader::start(cooperative(), "t");
    second.wait_for("two partitions", |saw| saw.assigned.len() == 2);
    let (kept, moved) = (first.assigned(), second.assigned());
    assert_eq!(&kept | &moved, set(0..4));
    // It heard of nothing but what moved.
    assert_eq!(
        first.saw(|saw| saw
            .heard
            .iter()
            .filter(|heard| !matches!(heard, Heard::Assigned(p) if p.is_empty()))
            .cloned()
            .collect::<Vec<_>>()),
        [Heard::Assigned(set(0..4)), Heard::Revoked(moved)]
    );
    second.finish();
    first.wait_for("all partitions again", |saw| saw.assigned.len() == 4);
    first.finish();
}

/// A static member that comes back within its session finds its partitions, and nobody noticed.
#[test]
fn a_static_member_restarts_without_a_rebalance() {
    let cluster = apache();
    let bootstrap = cluster.bootstrap();
    create(&bootstrap, "t", 4, 1);
    let fixed = |name: &'static str| {
        member(&bootstrap, "s").group_instance_id(name).with(|o| o.session_timeout = Duration::from_secs(30))
    };
    let (one, two) = (Reader::start(fixed("one"), "t"), Reader::start(fixed("two"), "t"));
    one.wait_for("two partitions", |saw| saw.assigned.len() == 2);
    two.wait_for("two partitions", |saw| saw.assigned.len() == 2);
    let (had, generation, heard) = (two.assigned(), one.saw(|s| s.generation), one.saw(|s| s.heard.clone()));
    two.finish();
    let two = Reader::start(fixed("two"), "t");
    two.wait_for("its partitions", |saw| saw.assigned == had);
    assert_eq!(two.saw(|saw| saw.generation), generation);
    assert_eq!((one.saw(|s| s.generation), one.saw(|s| s.heard.clone())), (generation, heard));
    // A second consumer of that name takes its place, and the first is told.
    let usurper = Reader::start(fixed("two"), "t");
    usurper.wait_for("its partitions", |saw| saw.assigned == had);
    two.wait_for("to be fenced", |saw| saw.heard.contains(&Heard::Lost(had.clone())));
    two.die();
    usurper.die();
    one.die();
}
