//! What groups go through: ZooKeeper that does not answer, sessions that end, a coordinator that wakes up
//! deposed, their own topic deleted, more members than anybody should have.

use std::time::{Duration, Instant};

use client::wire::ErrorCode;
use client::wire::messages::leave_group_request::MemberIdentity;
use client::wire::messages::{
    DeleteGroupsRequest, DeleteTopicsRequest, DescribeGroupsRequest, LeaveGroupRequest,
};
use integration::cluster::{PATIENCE, SESSION_TIMEOUT_MS};
use integration::wait;
use rustix::process::Signal;

use super::crowd::Crowd;
use super::records::try_join;
use super::view::Stage;
use super::{ask_once, connect};

#[test]
fn groups_outlive_zookeepers_silence_and_deposed_coordinators() {
    let mut stage = Stage::set_with(&[("offsets.commit.timeout.ms", "1000")]);
    let crowd = Crowd::start(&stage.cluster, &names("g", 20));
    crowd.wait_for_more("commits", 5, |saw| saw.commits);

    // Members need ZooKeeper for commits alone.
    stage.cluster.zookeeper.pause();
    crowd.wait_for_more("commits put off", 1, |saw| saw.put_off);
    crowd.wait_for_more("beats", 2, |saw| saw.beats);
    stage.cluster.zookeeper.resume();
    crowd.wait_for_more("commits", 5, |saw| saw.commits);

    // What was under way is in doubt.
    stage.cluster.zookeeper.restart();
    crowd.wait_for_more("commits", 5, |saw| saw.commits);

    // As it wakes up it may find that sessions are over.
    let paused = Instant::now();
    stage.cluster.zookeeper.pause();
    wait::until("sessions are over", PATIENCE, || {
        (paused.elapsed() > Duration::from_millis(u64::from(SESSION_TIMEOUT_MS) * 3 / 2)).then_some(())
    });
    stage.cluster.zookeeper.resume();
    stage.look_anew();
    crowd.wait_for_more("commits", 5, |saw| saw.commits);

    // A coordinator that stands still loses its session and its lead, and does not know when it goes on.
    let coordinator = stage.coordinator();
    stage.cluster.signal(coordinator, Signal::STOP);
    stage.wait_until_led_without(coordinator);
    crowd.wait_for_more("commits", 5, |saw| saw.commits);
    stage.cluster.signal(coordinator, Signal::CONT);
    stage.wait_until_in_sync();
    crowd.wait_for_more("commits", 5, |saw| saw.commits);

    for (group, saw) in crowd.finish() {
        assert_eq!((saw.joins, saw.surprises), (1, Vec::new()), "{group}");
    }
}

#[test]
fn commits_to_the_log_outlive_coordinators() {
    outlive_coordinators("kafka");
}

#[test]
fn commits_to_both_outlive_coordinators() {
    outlive_coordinators("both");
}

fn outlive_coordinators(storage: &str) {
    let mut stage = Stage::set_with(&[("offsets.storage", storage)]);
    let crowd = Crowd::start(&stage.cluster, &names("g", 20));
    crowd.wait_for_more("commits", 5, |saw| saw.commits);
    for _ in 0..2 {
        let coordinator = stage.kill_coordinator();
        crowd.wait_for_more("commits", 5, |saw| saw.commits);
        stage.revive(coordinator);
    }
    for (group, saw) in crowd.finish() {
        assert_eq!((saw.joins, saw.surprises), (1, Vec::new()), "{group}");
    }
}

#[test]
fn groups_whose_topic_is_deleted_begin_anew_where_they_were() {
    let stage = Stage::set();
    let crowd = Crowd::start(&stage.cluster, &names("g", 5));
    crowd.wait_for_more("commits", 5, |saw| saw.commits);
    let request = DeleteTopicsRequest {
        topic_names: vec!["__consumer_offsets".into()],
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    // The controller alone does it.
    let deleted = |id: &i32| {
        let answer = ask_once(&stage.cluster.address(*id), 5, &request).expect("the broker answers");
        answer.responses.iter().all(|topic| topic.error_code == 0)
    };
    assert!(stage.cluster.ids().iter().any(deleted), "nobody deletes the topic");
    crowd.wait_for_more("joins", 1, |saw| saw.joins);
    crowd.wait_for_more("commits", 5, |saw| saw.commits);
    for (group, saw) in crowd.finish() {
        let expected = ErrorCode::UnknownMemberId.name();
        assert!(saw.surprises.iter().all(|one| one.ends_with(expected)), "{group}: {:?}", saw.surprises);
    }
}

/// The group stays until all of it can go.
#[test]
fn a_deletion_that_zookeeper_did_not_answer_is_repeated() {
    let stage = Stage::set_with(&[("offsets.commit.timeout.ms", "1000")]);
    let crowd = Crowd::start(&stage.cluster, &["g".to_owned()]);
    crowd.wait_for_more("commits", 1, |saw| saw.commits);
    crowd.finish();
    let coordinator = stage.cluster.address(stage.coordinator());
    let described = || {
        let request = DescribeGroupsRequest { groups: vec!["g".into()], ..DescribeGroupsRequest::default() };
        ask_once(&coordinator, 5, &request).expect("the broker answers").groups.remove(0)
    };
    let member_id = described().members.remove(0).member_id;
    let member = MemberIdentity { member_id, ..MemberIdentity::default() };
    let leave = LeaveGroupRequest { group_id: "g".into(), members: vec![member], ..Default::default() };
    assert_eq!(ask_once(&coordinator, 5, &leave).expect("the broker answers").error_code, 0);

    let delete = || {
        let request = DeleteGroupsRequest { groups_names: vec!["g".into()] };
        let answer = ask_once(&coordinator, 2, &request).expect("the broker answers");
        ErrorCode::from_code(answer.results[0].error_code)
    };
    stage.cluster.zookeeper.pause();
    assert_eq!(delete(), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(&*described().group_state, "Empty");
    stage.cluster.zookeeper.resume();
    wait::until("the group is deleted", PATIENCE, || match delete() {
        ErrorCode::None => Some(()),
        ErrorCode::CoordinatorLoadInProgress => None,
        other => panic!("the deletion is refused: {other:?}"),
    });
    assert_eq!(&*described().group_state, "Dead");
    // Folders go after their offsets, and only if ZooKeeper answers in time.
    let topics = stage.observer.children("/consumers/g/offsets");
    let left =
        topics.iter().flat_map(|topic| stage.observer.children(&format!("/consumers/g/offsets/{topic}")));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

/// Ids given out to members that never come: as many as a group keeps, and more.
#[test]
fn a_storm_of_new_members_leaves_the_others_in_peace() {
    const JOINS: usize = 12_000;
    const KEPT: usize = 10_000;
    let stage = Stage::set();
    let crowd = Crowd::start(&stage.cluster, &["storm".to_owned(), "other".to_owned()]);
    crowd.wait_for_more("commits", 2, |saw| saw.commits);
    let coordinator = stage.cluster.address(stage.coordinator());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let codes: Vec<ErrorCode> = runtime.block_on(async {
        let connections: Vec<_> = (0..16)
            .map(|_| async {
                let connection = connect(&coordinator).await;
                let mut codes = Vec::new();
                for join in 0..JOINS / 16 {
                    let id = if join % 10 == 0 { "unheard of" } else { "" };
                    let joined = try_join(&connection, "storm", None, id).await.expect("the broker answers");
                    codes.push(ErrorCode::from_code(joined.error_code));
                }
                codes
            })
            .collect();
        futures::future::join_all(connections).await.into_iter().flatten().collect()
    });
    let count = |wanted: ErrorCode| codes.iter().filter(|code| **code == wanted).count();
    assert_eq!(count(ErrorCode::UnknownMemberId), JOINS / 10);
    assert_eq!(count(ErrorCode::MemberIdRequired), KEPT);
    assert_eq!(count(ErrorCode::GroupMaxSizeReached), JOINS - JOINS / 10 - KEPT);
    crowd.wait_for_more("commits", 5, |saw| saw.commits);
    for (group, saw) in crowd.finish() {
        assert_eq!((saw.joins, saw.surprises), (1, Vec::new()), "{group}");
    }
}

/// The benchmark asserts that all are in one generation.
#[test]
fn a_thousand_members_rebalance() {
    println!("{}", integration::bench::rebalance::run(1_000, 2));
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}
