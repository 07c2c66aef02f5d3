//! Controllers on a real ZooKeeper, with brokers that only listen.

mod apache;
mod deaths;
mod member;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use client::ids::{BrokerId, LeaderEpoch, ZkVersion};
use client::wire::messages::{ControlledShutdownRequest, ElectLeadersRequest};
use client::zk::{Session, SessionState};
use client::znode::partition::{self, PartitionState};
use client::znode::{admin, controller as controller_znode, topic};
use controller::topics::{self, ConfigGuard, NewTopic};
use integration::proxy::{Proxy, Weather};
use integration::zookeeper::with_zookeeper as with_server;

use member::{Known, Member, Told};

/// Runs a test that wants to know of its server only where it is.
fn with_zookeeper<F: Future<Output = ()>>(test: impl FnOnce(String) -> F) {
    with_server(|server| async move {
        test(server.connect_string()).await;
        drop(server);
    });
}

/// Members 1 to `count`; the first is the controller.
async fn members(connect: &str, count: i32) -> Vec<Member> {
    let mut members = Vec::new();
    for id in 1..=count {
        members.push(next_member(connect, id).await);
    }
    assert!(members[0].is_active());
    members
}

/// Member `id` after all before it, when the controller has told it of them: so the first is the controller, and knows
/// them all.
async fn next_member(connect: &str, id: i32) -> Member {
    let member = Member::start(connect, id).await;
    member
        .hears("of all brokers", |heard| {
            let names_all = |(_, told): &(Instant, Told)| match told {
                Told::Metadata(update) => update.live_brokers.iter().map(|b| b.id).eq(1..=id),
                _ => false,
            };
            heard.iter().any(names_all).then_some(())
        })
        .await;
    member
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
        // Then it leaves the ISRs of what it followed. Either way each is written once.
        members[1].learns_of_epoch("t", partitions - 2, 1).await;
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
        // Who has just started denies the topics that the first request leaves out.
        let first = |heard: &Vec<(Instant, Told)>| {
            heard.iter().find_map(|(_, told)| match told {
                Told::Metadata(update) if update.controller_epoch == 2 => Some(update.topic_states.len()),
                _ => None,
            })
        };
        assert_eq!(members[1].hears("of the second reign", first).await, 1);
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

#[test]
fn a_controller_that_stops_has_told_what_it_decided() {
    with_zookeeper(|connect| async move {
        let members = members(&connect, 3).await;
        create(&members[0].session, "t", 30, &[1, 2, 3]).await;
        for member in &members {
            member.learns("t", 29, known(3, 0, &[3, 1, 2])).await;
        }
        let leave = ControlledShutdownRequest { broker_id: 1, broker_epoch: members[0].epoch.0 };
        let answer = members[0].controller.controlled_shutdown(leave).await;
        assert_eq!((answer.error_code, answer.remaining_partitions.len()), (0, 0));
        members[0].controller.shutdown().await;
        // Its session lives on, so that there is no other controller to tell of it.
        for member in &members[1..] {
            member.learns("t", 27, known(2, 1, &[2, 3])).await;
            member.learns("t", 29, known(3, 1, &[3, 2])).await;
            assert!(!member.is_active());
        }
    });
}

#[test]
fn a_zookeeper_that_restarts_in_the_middle_loses_and_repeats_no_election() {
    with_server(|mut server| async move {
        let mut members = members(&server.connect_string(), 3).await;
        let zk = members[0].session.clone();
        let partitions = 2_000;
        create(&zk, "t", partitions, &[2, 3, 1]).await;
        members[0].learns("t", partitions - 1, known(3, 0, &[3, 1, 2])).await;

        // The server goes when the first of the elections can be seen.
        let mut elected = zk.get_watch(&partition::state_path("t", 0)).await.expect("it is there").1;
        let dead = members.remove(1);
        dead.leave().await;
        elected.changed().await;
        server.kill();
        let restarting = tokio::task::spawn_blocking(move || {
            server.restart();
            server
        });
        let server = restarting.await.expect("the server starts again");
        for partition in 0..partitions {
            members[1].learns_of_epoch("t", partition, 1).await;
            let (state, version) = state(&zk, "t", partition).await;
            assert_eq!((state.leader_epoch, version), (LeaderEpoch(1), ZkVersion(1)), "t-{partition}");
            assert!(!state.isr.contains(&BrokerId(2)));
        }
        drop(server);
    });
}

#[test]
fn what_happens_while_the_controller_is_cut_off_is_seen_when_it_is_back() {
    with_server(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let first = next_member(&proxy.connect_string(), 1).await;
        let second = next_member(&server.connect_string(), 2).await;
        create(&second.session, "before", 1, &[1, 2]).await;
        second.learns("before", 0, known(1, 0, &[1, 2])).await;

        proxy.set(Weather::Refusing);
        proxy.cut();
        create(&second.session, "meanwhile", 1, &[2, 1]).await;
        let more = [(1, vec![BrokerId(2)])].into();
        topics::add_partitions(&second.session, "before", &more).await.expect("the topic is there");
        proxy.set(Weather::Fair);
        second.learns("meanwhile", 0, known(2, 0, &[2, 1])).await;
        second.learns("before", 1, known(2, 0, &[2])).await;
        assert_eq!(first.controller.epoch().map(|epoch| epoch.0), Some(1), "the session went on");
    });
}

#[test]
fn a_controller_whose_session_expired_writes_and_tells_nothing_more() {
    with_server(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let first = next_member(&proxy.connect_string(), 1).await;
        let second = next_member(&server.connect_string(), 2).await;
        create(&second.session, "t", 1, &[1, 2]).await;
        second.learns("t", 0, known(1, 0, &[1, 2])).await;

        // Cut off for longer than the session lives; the other sees it go, and takes over.
        proxy.set(Weather::Refusing);
        proxy.cut();
        second.learns("t", 0, known(2, 2, &[2])).await;
        assert!(first.is_active(), "it cannot know yet");
        proxy.set(Weather::Fair);
        first.session.over().await;
        let mut epochs = first.controller.watch_epoch();
        epochs.wait_for(Option::is_none).await.expect("the candidate goes on");
        create(&second.session, "u", 1, &[2]).await;
        second.learns("u", 0, known(2, 0, &[2])).await;
        let (state, version) = state(&second.session, "t", 0).await;
        assert_eq!((state.controller_epoch.0, version), (2, ZkVersion(2)));
    });
}

#[test]
fn writes_whose_answers_are_lost_are_found_to_be_done() {
    with_server(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let first = next_member(&proxy.connect_string(), 1).await;
        let second = next_member(&server.connect_string(), 2).await;
        let third = next_member(&server.connect_string(), 3).await;
        let zk = &second.session;
        let partitions = 500;
        create(zk, "t", partitions, &[3, 2]).await;
        third.learns("t", partitions - 1, known(2, 0, &[2, 3])).await;
        // Answered when the controller has nothing else to do: the next thing it does is to write.
        first.controller.elect_leaders(ElectLeadersRequest::default()).await;

        proxy.set(Weather::AnswersLost);
        let leave = ControlledShutdownRequest { broker_id: 3, broker_epoch: third.epoch.0 };
        let relieved = first.controller.controlled_shutdown(leave);
        let restored = async {
            let mut written = zk.get_watch(&partition::state_path("t", 0)).await.expect("it is there").1;
            let mut states = first.session.states();
            tokio::select! {
                _ = written.changed() => {}
                away = states.wait_for(|state| *state == SessionState::Disconnected) => drop(away),
            }
            proxy.set(Weather::Fair);
            proxy.cut();
        };
        let (answer, ()) = tokio::join!(relieved, restored);
        assert_eq!((answer.error_code, answer.remaining_partitions.len()), (0, 0));
        for partition in 0..partitions {
            let (state, version) = state(zk, "t", partition).await;
            assert_eq!((state.leader_epoch, version), (LeaderEpoch(1), ZkVersion(1)), "t-{partition}");
            assert_eq!(state.isr, [BrokerId(2)]);
        }
    });
}
