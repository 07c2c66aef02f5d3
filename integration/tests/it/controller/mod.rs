//! Controllers on a real ZooKeeper, with brokers that only listen.

mod apache;
mod member;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use client::ids::{BrokerId, LeaderEpoch, ZkVersion};
use client::wire::messages::ControlledShutdownRequest;
use client::zk::Session;
use client::znode::partition::{self, PartitionState};
use client::znode::{admin, controller as controller_znode, topic};
use controller::topics::{self, ConfigGuard, NewTopic};
use integration::zookeeper::ZooKeeper;

use member::{Known, Member, Told};

/// Runs a test with a server, on a runtime with several threads.
fn with_zookeeper<F: Future<Output = ()>>(test: impl FnOnce(String) -> F) {
    if std::env::var_os("OTTLA_WITHOUT_ZOOKEEPER").is_some() {
        eprintln!("SKIPPED: OTTLA_WITHOUT_ZOOKEEPER is set, and this test needs a ZooKeeper");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let server = ZooKeeper::start();
    let limit = Duration::from_secs(120);
    runtime
        .block_on(async { tokio::time::timeout(limit, test(server.connect_string())).await })
        .expect("a test ends within two minutes");
}

/// Members 1 to `count`; the first is the controller.
async fn members(connect: &str, count: i32) -> Vec<Member> {
    let mut members = Vec::new();
    for id in 1..=count {
        let member = Member::start(connect, id).await;
        let all: Vec<i32> = (1..=id).collect();
        member
            .hears("of all brokers", |heard| {
                heard
                    .iter()
                    .find(|(_, told)| match told {
                        Told::Metadata(update) => {
                            update.live_brokers.iter().map(|b| b.id).eq(all.iter().copied())
                        }
                        _ => false,
                    })
                    .cloned()
            })
            .await;
        members.push(member);
    }
    assert!(members[0].is_active());
    members
}

async fn create(session: &Session, name: &str, partitions: i32, replicas: &[i32]) {
    let turned = |p: i32| {
        let turn = usize::try_from(p).expect("small") % replicas.len();
        let (front, back) = replicas.split_at(turn);
        (p, back.iter().chain(front).map(|&id| BrokerId(id)).collect())
    };
    let new = NewTopic {
        name: name.into(),
        replicas: (0..partitions).map(turned).collect(),
        overrides: BTreeMap::new(),
        id: topics::draw_topic_id(),
        guard: ConfigGuard::Controller,
    };
    topics::create(session, &new).await.expect("the topic is new");
}

async fn state(session: &Session, topic: &str, partition: i32) -> (PartitionState, ZkVersion) {
    let node =
        session.get(&partition::state_path(topic, partition)).await.expect("the partition has a state");
    (PartitionState::decode(&node.data).expect("the controller wrote it"), node.version())
}

fn known(leader: i32, leader_epoch: i32, isr: &[i32]) -> Known {
    Known { leader, leader_epoch, isr: isr.to_vec() }
}

#[test]
fn a_topic_by_znodes_gets_leaders_and_everybody_hears_of_it() {
    with_zookeeper(|connect| async move {
        let members = members(&connect, 3).await;
        let zk = &members[2].session;
        create(zk, "t", 2, &[1, 2, 3]).await;
        for member in &members {
            member.learns("t", 0, known(1, 0, &[1, 2, 3])).await;
            member.learns("t", 1, known(2, 0, &[2, 3, 1])).await;
            let roles = member.hears("its roles", |heard| {
                heard.iter().find_map(|(_, told)| match told {
                    Told::Roles(request) => Some(request.clone()),
                    _ => None,
                })
            });
            let roles = roles.await;
            assert_eq!((roles.controller_id, roles.controller_epoch), (1, 1));
            assert_eq!(roles.broker_epoch, member.epoch.0);
            assert!(roles.topic_states[0].partition_states.iter().all(|state| state.is_new));
        }
        let text = |path: String| async move {
            String::from_utf8(zk.get(&path).await.expect("it is there").data).expect("znodes are text")
        };
        let state = r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2,3]}"#;
        assert_eq!(text(partition::state_path("t", 0)).await, state);
        assert_eq!(text("/feature".into()).await, r#"{"features":{},"version":2,"status":1}"#);
        assert_eq!(text("/config/topics/t".into()).await, r#"{"version":1,"config":{}}"#);

        // The same as a tool of the first days does it: no id, no configuration.
        let old = r#"{"version":1,"partitions":{"0":[3,1]}}"#;
        zk.create(&topic::path("old"), old, client::zk::CreateMode::Persistent).await.expect("new");
        members[1].learns("old", 0, known(3, 0, &[3, 1])).await;
        let id = topics::assignment(zk, "old").await.expect("readable").and_then(|old| old.topic_id);
        let id = id.expect("the controller gives an id");

        // And adds a partition, dropping the id: it is put back.
        let more = r#"{"version":1,"partitions":{"0":[3,1],"1":[1,3]}}"#;
        zk.set(&topic::path("old"), more, None).await.expect("it is there");
        members[1].learns("old", 1, known(1, 0, &[1, 3])).await;
        let now = topics::assignment(zk, "old").await.expect("readable").expect("there");
        assert_eq!((now.topic_id, now.partitions.len()), (Some(id), 2));
    });
}

#[test]
fn leadership_moves_within_a_second_when_a_broker_dies() {
    with_zookeeper(|connect| async move {
        let mut members = members(&connect, 3).await;
        let zk = members[0].session.clone();
        let partitions = 1_000;
        create(&zk, "t", partitions, &[2, 3, 1]).await;
        members[0].learns("t", partitions - 1, known(2, 0, &[2, 3, 1])).await;

        let dead = members.remove(1);
        let mut gone = zk.exists_watch("/brokers/ids/2").await.expect("it is there").1;
        dead.leave().await;
        gone.changed().await;
        let since = Instant::now();
        for partition in [0, partitions - 1] {
            members[1].learns("t", partition, known(3, 1, &[3, 1])).await;
        }
        let moved = since.elapsed();
        println!(
            "leadership of {partitions} partitions moved {} ms after the registration vanished",
            moved.as_millis()
        );
        assert!(moved < Duration::from_secs(3), "{moved:?}");
        // Followed or led: one write for each.
        for partition in 0..partitions {
            let (state, version) = state(&zk, "t", partition).await;
            assert_eq!((state.leader_epoch, version), (LeaderEpoch(1), ZkVersion(1)));
            assert!(!state.isr.contains(&BrokerId(2)));
        }
    });
}

#[test]
fn another_member_takes_over_and_fences_the_first() {
    with_zookeeper(|connect| async move {
        let mut members = members(&connect, 3).await;
        let zk = members[2].session.clone();
        create(&zk, "t", 3, &[1, 2, 3]).await;
        members[2].learns("t", 2, known(3, 0, &[3, 1, 2])).await;
        members.remove(0).leave().await;

        // Two writes for what it led (the new controller finds the leader gone first), one for the rest.
        members[1].learns("t", 0, known(2, 2, &[2, 3])).await;
        members[1].learns("t", 2, known(3, 1, &[3, 2])).await;
        let active = members.iter().find(|member| member.is_active()).expect("one reigns");
        assert_eq!(active.controller.epoch().map(|epoch| epoch.0), Some(2));
        let (state, version) = state(&zk, "t", 0).await;
        assert_eq!((state.controller_epoch.0, version), (2, ZkVersion(2)));
    });
}

#[test]
fn an_outside_write_of_the_epoch_does_not_wedge_the_cluster() {
    with_zookeeper(|connect| async move {
        let members = members(&connect, 2).await;
        let zk = members[1].session.clone();
        zk.set(controller_znode::EPOCH_PATH, "1", None).await.expect("it is there");
        create(&zk, "t", 1, &[1, 2]).await;
        members[1].learns("t", 0, known(1, 0, &[1, 2])).await;
        let (state, _) = state(&zk, "t", 0).await;
        assert_eq!(state.controller_epoch.0, 2);
    });
}

#[test]
fn deleting_the_controller_node_elects_anew() {
    with_zookeeper(|connect| async move {
        let members = members(&connect, 2).await;
        let zk = members[1].session.clone();
        zk.delete(controller_znode::PATH, None).await.expect("it is there");
        let second = |heard: &Vec<(Instant, Told)>| {
            heard.iter().find_map(|(_, told)| match told {
                Told::Metadata(update) if update.controller_epoch == 2 => Some(update.controller_id),
                _ => None,
            })
        };
        let elected = members[1].hears("of the second reign", second).await;
        create(&zk, "t", 1, &[1, 2]).await;
        members[0].learns("t", 0, known(1, 0, &[1, 2])).await;
        let active: Vec<i32> = members.iter().filter(|m| m.is_active()).map(|m| m.id).collect();
        assert_eq!(active, [elected]);
    });
}

#[test]
fn a_deleted_topic_leaves_nothing_behind() {
    with_zookeeper(|connect| async move {
        let members = members(&connect, 2).await;
        let zk = &members[0].session;
        create(zk, "t", 3, &[1, 2]).await;
        members[1].learns("t", 2, known(1, 0, &[1, 2])).await;
        topics::request_deletion(zk, "t").await.expect("the topic is there");
        let deleted = members[1].hears("to delete three replicas", |heard| {
            let stopped = heard.iter().filter_map(|(_, told)| match told {
                Told::Stop(request) => Some(request),
                _ => None,
            });
            let states =
                stopped.flat_map(|request| &request.topic_states).flat_map(|topic| &topic.partition_states);
            (states.filter(|state| state.delete_partition && state.leader_epoch == -2).count() == 3)
                .then_some(())
        });
        deleted.await;
        loop {
            let (stat, mut watch) =
                zk.exists_watch(&admin::delete_topic_path("t")).await.expect("ZooKeeper answers");
            if stat.is_none() {
                break;
            }
            watch.changed().await;
        }
        assert_eq!(topics::names(zk).await, Ok(Vec::new()));
        assert_eq!(zk.exists("/config/topics/t").await, Ok(None));
        // The name is free again.
        create(zk, "t", 1, &[2]).await;
        members[0].learns("t", 0, known(2, 0, &[2])).await;
    });
}

#[test]
fn a_controlled_shutdown_of_a_hundred_partitions_is_quick() {
    with_zookeeper(|connect| async move {
        let members = members(&connect, 3).await;
        let zk = &members[0].session;
        create(zk, "t", 300, &[1, 2, 3]).await;
        members[0].learns("t", 299, known(3, 0, &[3, 1, 2])).await;
        let leave = ControlledShutdownRequest { broker_id: 3, broker_epoch: members[2].epoch.0 };
        let started = Instant::now();
        let answer = members[0].controller.controlled_shutdown(leave).await;
        let answered = started.elapsed();
        assert_eq!((answer.error_code, answer.remaining_partitions.len()), (0, 0));
        let moved = members[0].learns("t", 299, known(1, 1, &[1, 2])).await - started;
        println!(
            "100 leaderships moved after {} ms, answered after {} ms",
            moved.as_millis(),
            answered.as_millis()
        );
        assert!(answered < Duration::from_millis(600), "{answered:?}");
        // Not the controller: Kafka's answer is STALE_CONTROLLER_EPOCH.
        let refused = members[1]
            .controller
            .controlled_shutdown(ControlledShutdownRequest { broker_id: 3, broker_epoch: -1 });
        assert_eq!(refused.await.error_code, 11);
    });
}
