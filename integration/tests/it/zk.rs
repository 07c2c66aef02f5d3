//! The ZooKeeper session against a real server, and a network that misbehaves.

use std::process::Command;
use std::time::{Duration, Instant};

use client::ids::{BrokerId, ControllerEpoch, ZkVersion};
use client::zk::{
    CreateMode, Election, Op, OpResult, RegisterError, Session, SessionState, Settled, Watch, WatchEvent,
    WatchPool, ZkConfig, ZkError,
};
use client::znode::companion::Companion;
use client::znode::{broker, controller, directories};
use integration::process;
use integration::proxy::{Proxy, Weather};
use integration::zookeeper::with_zookeeper;

fn config(connect: &str, session_ms: u64) -> ZkConfig {
    ZkConfig::new(connect).with_timeout(Duration::from_millis(session_ms))
}

async fn state(session: &Session, wanted: impl FnMut(&SessionState) -> bool) -> SessionState {
    *session.states().wait_for(wanted).await.expect("the session is held")
}

fn no_node(path: &str) -> ZkError {
    ZkError::NoNode { path: path.into() }
}

fn bad_version(path: &str) -> ZkError {
    ZkError::BadVersion { path: path.into() }
}

#[test]
fn reads_and_writes_below_a_chroot_that_it_creates() {
    with_zookeeper(|server| async move {
        let zk = Session::connect(config(&format!("{}/a/b", server.connect_string()), 6_000)).await.unwrap();
        let outside = Session::connect(config(&server.connect_string(), 6_000)).await.unwrap();
        assert_eq!(outside.children("/a").await.unwrap(), ["b"]);

        zk.create_directories(&directories::AT_START).await.unwrap();
        zk.create_directories(&directories::AT_START).await.unwrap();
        assert_eq!(
            outside.children("/a/b").await.unwrap().join(" "),
            "admin brokers config consumers isr_change_notification latest_producer_id_block log_dir_event_notification"
        );

        assert_eq!(zk.get("/x").await, Err(no_node("/x")));
        assert_eq!(zk.get_if_exists("/x").await, Ok(None));
        zk.create("/x", "one", CreateMode::Persistent).await.unwrap();
        let exists = zk.create("/x", "one", CreateMode::Persistent).await;
        assert_eq!(exists, Err(ZkError::NodeExists { path: "/x".into() }));
        assert_eq!(zk.set("/x", "two", Some(ZkVersion(0))).await.unwrap().version, ZkVersion(1));
        assert_eq!(zk.set("/x", "three", Some(ZkVersion(0))).await, Err(bad_version("/x")));
        assert_eq!(zk.set("/x", "three", None).await.unwrap().version, ZkVersion(2));
        assert_eq!(zk.set_settled("/x", "four", ZkVersion(2)).await.unwrap().version, ZkVersion(3));
        assert_eq!(zk.get("/x").await.unwrap().data, b"four");
        assert_eq!(zk.delete("/x", Some(ZkVersion(9))).await, Err(bad_version("/x")));

        let first = zk.create("/config/changes/config_change_", "a", CreateMode::PersistentSequential).await;
        assert_eq!(first.unwrap(), "/config/changes/config_change_0000000000");

        zk.set_or_create("/consumers/g/offsets/t/0", "5").await.unwrap();
        zk.set_or_create("/consumers/g/offsets/t/0", "6").await.unwrap();
        let offset = zk.get("/consumers/g/offsets/t/0").await.unwrap();
        assert_eq!((offset.data.as_slice(), offset.version()), (b"6".as_slice(), ZkVersion(1)));
        assert_eq!(
            zk.delete("/consumers/g", None).await,
            Err(ZkError::NotEmpty { path: "/consumers/g".into() })
        );
        zk.delete_recursive("/consumers/g").await.unwrap();
        assert_eq!(zk.children("/consumers").await.unwrap(), [""; 0]);

        // More than a request may hold is refused here, and the connection lives on.
        let huge = zk.create("/huge", vec![b'x'; 1 << 20], CreateMode::Persistent).await;
        assert!(matches!(huge, Err(ZkError::TooLarge { .. })), "{huge:?}");
        zk.create("/large", vec![b'x'; 800 << 10], CreateMode::Persistent).await.unwrap();
        assert_eq!(zk.state(), SessionState::Connected { generation: 1 });

        let refused = zk.get("no-slash").await;
        assert!(matches!(refused, Err(ZkError::Refused { .. })), "{refused:?}");
    });
}

/// Kafka's directories have no data, and Kafka tells that from empty data.
#[test]
fn directories_have_no_data() {
    with_zookeeper(|server| async move {
        let connect = format!("{}/chroot", server.connect_string());
        let zk = Session::connect(config(&connect, 6_000)).await.unwrap();
        zk.create_directories(&directories::AT_START).await.unwrap();
        zk.create("/empty", "", CreateMode::Persistent).await.unwrap();
        let shown = |path: &str| {
            let mut shell = Command::new("java");
            shell.args(["-cp", "/usr/share/java/*", "org.apache.zookeeper.ZooKeeperMain", "-server"]);
            shell.args([&server.connect_string(), "get", path]);
            let output = process::succeed(&mut shell, b"", Duration::from_secs(60));
            output.lines().last().unwrap_or_default().to_owned()
        };
        assert_eq!(shown("/chroot"), "null");
        assert_eq!(shown("/chroot/config"), "null");
        assert_eq!(shown("/chroot/latest_producer_id_block"), "null");
        assert_eq!(shown("/chroot/empty"), "");
        assert_eq!(zk.get("/latest_producer_id_block").await.unwrap().data, b"");
    });
}

#[test]
fn many_requests_go_out_in_order_and_come_back_in_order() {
    with_zookeeper(|server| async move {
        let zk = Session::connect(config(&server.connect_string(), 6_000)).await.unwrap();
        let paths: Vec<String> = (0..1_200).map(|n| format!("/t/{n}")).collect();
        let parent_first =
            std::iter::once(Op::create("/t", "")).chain(paths.iter().map(|p| Op::create(p, p.as_str())));
        let created = zk.write_many(parent_first.collect()).await;
        assert!(created.iter().all(Result::is_ok), "{:?}", created.iter().find(|result| result.is_err()));

        let mut asked = paths.clone();
        asked.insert(7, "/none".into());
        let nodes = zk.get_many(&asked).await.unwrap();
        let data: Vec<Option<String>> =
            nodes.into_iter().map(|node| node.map(|node| String::from_utf8(node.data).unwrap())).collect();
        let expected: Vec<Option<String>> =
            asked.iter().map(|path| (path != "/none").then(|| path.clone())).collect();
        assert_eq!(data, expected);

        // All or none, and the culprit is named.
        let multi =
            |version| vec![Op::set("/t/0", "new", None), Op::set("/t/1", "new", Some(ZkVersion(version)))];
        let failed = zk.multi(multi(5)).await.unwrap_err();
        assert_eq!((failed.index, failed.error), (Some(1), bad_version("/t/1")));
        assert_eq!(zk.get("/t/0").await.unwrap().data, b"/t/0");
        assert_eq!(zk.multi(multi(0)).await.unwrap().len(), 2);
        assert_eq!(zk.get("/t/0").await.unwrap().data, b"new");
    });
}

#[test]
fn a_removal_never_meets_a_later_registration() {
    with_zookeeper(|server| async move {
        let connect = server.connect_string();
        let session = || async { Session::connect(config(&connect, 6_000)).await.unwrap() };
        let (id, by, companion) = (BrokerId(1), BrokerId(2), Companion::default());
        let other = session().await;
        other.create_directories(&directories::AT_START).await.unwrap();
        assert_eq!(other.marked_registration(id).await, Ok(None));
        let epoch_of = async || other.exists(&broker::path(id)).await.unwrap().map(|stat| stat.czxid);

        // Registered again in another session by the same process, as after a mistake.
        let first = session().await;
        let registered = first.register_broker(id, b"{}", None, Some(&companion)).await.unwrap();
        let marked = other.marked_registration(id).await.unwrap().expect("it has a companion");
        assert_eq!((marked.epoch, &marked.companion), (registered.epoch, &companion));
        let second = session().await;
        let again = second.register_broker(id, b"{}", Some(first.id()), Some(&companion)).await.unwrap();
        assert_eq!(other.remove_registration(&marked, by, None).await, Ok(false));
        assert_eq!(epoch_of().await, Some(again.epoch.0));

        // Removed, and by a second one who read it at the same time.
        let marked = other.marked_registration(id).await.unwrap().expect("it has a companion");
        assert_eq!(other.remove_registration(&marked, by, None).await, Ok(true));
        assert_eq!(epoch_of().await, None);
        assert_eq!(second.removed_by(id).await, Ok(Some(by)));
        let spent = second.register_broker(id, b"{}", None, Some(&companion)).await;
        assert_eq!(spent, Err(RegisterError::Spent { id, session: second.id() }));
        let third = session().await;
        let mended = Companion { removals: 1, ..companion.clone() };
        let again = third.register_broker(id, b"{}", Some(second.id()), Some(&mended)).await.unwrap();
        assert_eq!(other.remove_registration(&marked, by, None).await, Ok(false));
        assert_eq!(epoch_of().await, Some(again.epoch.0));

        // The session ended, and a broker of Kafka's took the id.
        let marked = other.marked_registration(id).await.unwrap().expect("it has a companion");
        assert_eq!(marked.companion.removals, 1);
        assert!(third.close().await);
        let apache = session().await;
        let registered = apache.register_broker(id, b"{}", None, None).await.unwrap();
        assert_eq!(other.remove_registration(&marked, by, None).await, Ok(false));
        assert_eq!(other.marked_registration(id).await, Ok(None));
        assert_eq!(epoch_of().await, Some(registered.epoch.0));
    });
}

#[test]
fn a_removal_is_fenced_and_takes_the_controllership_along() {
    with_zookeeper(|server| async move {
        let connect = server.connect_string();
        let session = || async { Session::connect(config(&connect, 6_000)).await.unwrap() };
        let (one, two, companion) = (BrokerId(1), BrokerId(2), Companion::default());
        let (first, second) = (session().await, session().await);
        first.create_directories(&directories::AT_START).await.unwrap();
        first.register_broker(one, b"{}", None, Some(&companion)).await.unwrap();
        second.register_broker(two, b"{}", None, Some(&companion)).await.unwrap();
        let Election::Won { epoch_version, .. } = first.elect_controller(one, 1).await.unwrap() else {
            panic!("nobody else stands");
        };

        // Read while it was controller, and another election came before the removal.
        let controller = second.marked_registration(one).await.unwrap().expect("it has a companion");
        first.delete_own_controller().await.unwrap();
        first.elect_controller(one, 2).await.unwrap();
        assert_eq!(second.remove_registration(&controller, two, None).await, Ok(false));
        // And the removals of the reign before that are fenced.
        let marked = first.marked_registration(two).await.unwrap().expect("it has a companion");
        let fenced = first.remove_registration(&marked, one, Some(epoch_version)).await;
        assert_eq!(fenced, Err(ZkError::Fenced { expected: epoch_version }));
        assert!(first.exists(&broker::path(two)).await.unwrap().is_some());

        let controller = second.marked_registration(one).await.unwrap().expect("it has a companion");
        assert_eq!(second.remove_registration(&controller, two, None).await, Ok(true));
        assert_eq!(second.exists(&broker::path(one)).await, Ok(None));
        assert_eq!(second.exists(controller::PATH).await, Ok(None));
    });
}

#[test]
fn brokers_register_once_per_session() {
    with_zookeeper(|server| async move {
        let connect = server.connect_string();
        let first = Session::connect(config(&connect, 6_000)).await.unwrap();
        first.create_directories(&directories::AT_START).await.unwrap();
        let json = |host: &str| {
            format!(
                r#"{{"features":{{}},"listener_security_protocol_map":{{"PLAINTEXT":"PLAINTEXT"}},"endpoints":["PLAINTEXT://{host}:9092"],"jmx_port":-1,"port":9092,"host":"{host}","version":5,"timestamp":"1"}}"#
            )
        };
        let id = BrokerId(1);
        let registered = first.register_broker(id, json("h1").as_bytes(), None, None).await.unwrap();
        let node = first.get(&broker::path(id)).await.unwrap();
        assert_eq!((node.stat.czxid, node.stat.version.0), (registered.epoch.0, 1));
        assert_eq!(node.stat.czxid, node.stat.mzxid);
        assert_eq!(node.stat.ephemeral_owner, Some(first.id()));
        assert_eq!(node.data, json("h1").as_bytes());
        // The same session again: it is ours.
        assert_eq!(first.register_broker(id, json("h1").as_bytes(), None, None).await, Ok(registered));

        // Another session finds it taken, and is told by whom.
        let second = Session::connect(config(&connect, 6_000)).await.unwrap();
        let taken = second.register_broker(id, json("h2").as_bytes(), None, None).await.unwrap_err();
        let expected = RegisterError::Taken {
            id,
            owner: Some(first.id()),
            endpoints: "PLAINTEXT://h1:9092".into(),
            registered_ms: node.stat.ctime_ms,
        };
        assert_eq!(taken, expected);

        // Our own previous session's registration is replaced, with a new epoch.
        let again = second.register_broker(id, json("h2").as_bytes(), Some(first.id()), None).await.unwrap();
        assert!(again.epoch > registered.epoch);
        assert_eq!(second.get(&broker::path(id)).await.unwrap().stat.ephemeral_owner, Some(second.id()));

        // Closing makes it vanish before it returns.
        assert!(second.close().await);
        assert_eq!(first.exists(&broker::path(id)).await, Ok(None));
        assert_eq!(second.state(), SessionState::Closed);
        let closed = second.get("/brokers").await;
        assert_eq!(closed, Err(ZkError::Closed { session: second.id() }));
    });
}

#[test]
fn one_of_many_candidates_wins_and_the_loser_is_fenced() {
    with_zookeeper(|server| async move {
        let connect = server.connect_string();
        let mut sessions = Vec::new();
        for _ in 0..4 {
            sessions.push(Session::connect(config(&connect, 6_000)).await.unwrap());
        }
        let elections = sessions.iter().zip(1..).map(|(zk, id)| zk.elect_controller(BrokerId(id), 7));
        let outcomes: Vec<Election> =
            futures::future::join_all(elections).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<usize> = (0..4).filter(|&i| matches!(outcomes[i], Election::Won { .. })).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        let winner = &sessions[winners[0]];
        let won = Election::Won { epoch: ControllerEpoch(1), epoch_version: ZkVersion(1) };
        assert_eq!(outcomes[winners[0]], won);
        let leader = winner.controller().await.unwrap().unwrap();
        assert_eq!((leader.broker.0, leader.timestamp_ms), (winners[0] as i32 + 1, 7));

        let epoch_version = ZkVersion(1);
        let create = |n| Op::create(format!("/n{n}"), "x");
        let results = winner.fenced_many(vec![create(1), create(1), create(2)], epoch_version).await;
        assert_eq!(
            results,
            [
                Ok(OpResult::Created { path: "/n1".into() }),
                Err(ZkError::NodeExists { path: "/n1".into() }),
                Ok(OpResult::Created { path: "/n2".into() }),
            ]
        );
        let batch = winner.fenced_batch(vec![create(3), create(2)], epoch_version).await.unwrap_err();
        assert_eq!((batch.index, batch.error), (Some(1), ZkError::NodeExists { path: "/n2".into() }));

        // Standing again with the node still ours starts a new term.
        let again = winner.elect_controller(leader.broker, 8).await.unwrap();
        assert_eq!(again, Election::Won { epoch: ControllerEpoch(2), epoch_version: ZkVersion(2) });
        let fenced = winner.fenced(create(4), epoch_version).await;
        assert_eq!(fenced, Err(ZkError::Fenced { expected: epoch_version }));
        assert_eq!(winner.exists("/n4").await, Ok(None));

        // An outsider's write separates epoch and version; the next election goes by the version.
        winner.set(controller::EPOCH_PATH, "2", None).await.unwrap();
        assert_eq!(
            winner.fenced(create(4), ZkVersion(2)).await,
            Err(ZkError::Fenced { expected: ZkVersion(2) })
        );
        winner.delete_own_controller().await.unwrap();
        let other = &sessions[(winners[0] + 1) % 4];
        let next = other.elect_controller(BrokerId(9), 9).await.unwrap();
        assert_eq!(next, Election::Won { epoch: ControllerEpoch(3), epoch_version: ZkVersion(4) });
        let lost = winner.elect_controller(leader.broker, 10).await.unwrap();
        assert!(matches!(lost, Election::Lost { controller: Some(c) } if c.broker == BrokerId(9)));
    });
}

#[test]
fn a_cut_connection_keeps_session_ephemerals_and_watches() {
    with_zookeeper(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let zk = Session::connect(config(&proxy.connect_string(), 6_000)).await.unwrap();
        let other = Session::connect(config(&server.connect_string(), 6_000)).await.unwrap();
        zk.create("/e", "mine", CreateMode::Ephemeral).await.unwrap();
        let (node, watch) = zk.get_watch("/w").await.unwrap();
        assert_eq!(node, None);

        proxy.cut();
        other.create("/w", "now", CreateMode::Persistent).await.unwrap();
        // A short cut is healed by the client itself, and the watch was taken along.
        assert_eq!(watch.await, WatchEvent::Created);
        assert_eq!(zk.get("/w").await.unwrap().data, b"now");
        assert_eq!(zk.state(), SessionState::Connected { generation: 1 });
        assert_eq!(other.get("/e").await.unwrap().stat.ephemeral_owner, Some(zk.id()));
    });
}

#[test]
fn a_longer_outage_replaces_the_connection_and_loses_watches_not_the_session() {
    with_zookeeper(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let quick = ZkConfig {
            operation_timeout: Duration::from_millis(700),
            ..config(&proxy.connect_string(), 10_000)
        };
        let zk = Session::connect(quick).await.unwrap();
        let other = Session::connect(config(&server.connect_string(), 6_000)).await.unwrap();
        zk.create("/e", "mine", CreateMode::Ephemeral).await.unwrap();
        let (_, mut watch) = zk.children_watch("/").await.unwrap();
        let id = zk.id();

        proxy.set(Weather::Refusing);
        proxy.cut();
        state(&zk, |state| *state == SessionState::Disconnected).await;
        // Nothing waits without a bound, and what was not sent is not called unknown.
        let started = Instant::now();
        let unavailable = zk.create("/never", "", CreateMode::Persistent).await;
        assert!(matches!(unavailable, Err(ZkError::Unavailable { .. })), "{unavailable:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        // The watch says so when the old connection is given up, before there is another.
        assert_eq!(watch.changed().await, WatchEvent::Lost);
        assert_eq!(zk.state(), SessionState::Disconnected);

        proxy.set(Weather::Fair);
        let back = state(&zk, |state| matches!(state, SessionState::Connected { .. })).await;
        assert_eq!(back, SessionState::Connected { generation: 2 });
        assert_eq!(zk.id(), id);
        assert_eq!(other.get("/e").await.unwrap().stat.ephemeral_owner, Some(id));
        assert_eq!(zk.exists("/never").await, Ok(None));
        assert!(zk.close().await);
        assert_eq!(other.exists("/e").await, Ok(None));
    });
}

#[test]
fn only_the_server_ends_a_session() {
    with_zookeeper(|mut server| async move {
        let connect = server.connect_string();
        let zk = Session::connect(config(&connect, 3_000)).await.unwrap();
        zk.create("/e", "mine", CreateMode::Ephemeral).await.unwrap();
        // Away for longer than any client of this timeout believes in its session. The server
        // counts from its return.
        server.kill();
        state(&zk, |state| *state == SessionState::Disconnected).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(zk.state(), SessionState::Disconnected);
        server.restart();
        let back = state(&zk, |state| *state != SessionState::Disconnected).await;
        assert!(matches!(back, SessionState::Connected { generation: 2.. }), "{back:?}");
        assert_eq!(zk.get("/e").await.unwrap().stat.ephemeral_owner, Some(zk.id()));
    });
}

#[test]
fn an_expired_session_is_over_and_says_so() {
    with_zookeeper(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let zk = Session::connect(config(&proxy.connect_string(), 2_000)).await.unwrap();
        let other = Session::connect(config(&server.connect_string(), 6_000)).await.unwrap();
        zk.create("/e", "mine", CreateMode::Ephemeral).await.unwrap();
        let (_, gone) = other.get_watch("/e").await.unwrap();
        let (_, watch) = zk.get_watch("/e").await.unwrap();

        proxy.set(Weather::Refusing);
        proxy.cut();
        assert_eq!(gone.await, WatchEvent::Deleted);
        assert_eq!(zk.state(), SessionState::Disconnected);
        proxy.set(Weather::Fair);
        assert_eq!(zk.over().await, SessionState::Expired);
        assert_eq!(watch.await, WatchEvent::Lost);
        let expired = ZkError::SessionExpired { session: zk.id() };
        assert_eq!(zk.get("/e").await, Err(expired.clone()));
        assert_eq!(zk.create("/e", "", CreateMode::Ephemeral).await, Err(expired));
        assert!(zk.close().await);
    });
}

#[test]
fn a_lost_answer_is_unknown_until_it_is_settled() {
    with_zookeeper(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let zk = Session::connect(config(&proxy.connect_string(), 6_000)).await.unwrap();
        let other = Session::connect(config(&server.connect_string(), 6_000)).await.unwrap();
        zk.create("/x", "0", CreateMode::Persistent).await.unwrap();
        let (_, changed) = other.get_watch("/x").await.unwrap();

        // The write arrives, its answer does not.
        proxy.set(Weather::AnswersLost);
        let op = Op::set("/x", "1", Some(ZkVersion(0)));
        let writing = tokio::spawn({
            let (zk, op) = (zk.clone(), op.clone());
            async move { zk.write(op).await }
        });
        assert_eq!(changed.await, WatchEvent::DataChanged);
        proxy.set(Weather::Fair);
        proxy.cut();
        let unknown = writing.await.unwrap();
        assert!(matches!(unknown, Err(ZkError::Ambiguous { .. })), "{unknown:?}");
        let Settled::Applied(Some(stat)) = zk.settle(&op).await.unwrap() else { panic!("it was applied") };
        assert_eq!(stat.version, ZkVersion(1));

        // The write does not arrive; the connection is found dead by its silence.
        proxy.set(Weather::Silent);
        let op = Op::set("/x", "2", Some(ZkVersion(1)));
        let unknown = zk.write(op.clone()).await;
        assert!(matches!(unknown, Err(ZkError::Ambiguous { .. })), "{unknown:?}");
        proxy.set(Weather::Fair);
        assert_eq!(zk.settle(&op).await, Ok(Settled::NotApplied));

        // An election settles itself, whether its answer comes before the cut or not.
        let (_, created) = other.get_watch(controller::PATH).await.unwrap();
        let electing = tokio::spawn({
            let zk = zk.clone();
            async move { zk.elect_controller(BrokerId(5), 1).await }
        });
        assert_eq!(created.await, WatchEvent::Created);
        proxy.cut();
        let won = Election::Won { epoch: ControllerEpoch(1), epoch_version: ZkVersion(1) };
        assert_eq!(electing.await.unwrap(), Ok(won));
    });
}

#[test]
fn a_read_survives_a_lost_connection() {
    with_zookeeper(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let zk = Session::connect(config(&proxy.connect_string(), 6_000)).await.unwrap();
        zk.create("/x", "here", CreateMode::Persistent).await.unwrap();
        proxy.set(Weather::Silent);
        let reading = tokio::spawn({
            let zk = zk.clone();
            async move { (zk.get("/x").await, zk.get_many(&["/x".into(), "/y".into()]).await) }
        });
        proxy.cut();
        state(&zk, |state| *state == SessionState::Disconnected).await;
        proxy.set(Weather::Fair);
        let (one, many) = reading.await.unwrap();
        assert_eq!(one.unwrap().data, b"here");
        let many: Vec<bool> = many.unwrap().iter().map(Option::is_some).collect();
        assert_eq!(many, [true, false]);
    });
}

#[test]
fn five_thousand_watches_survive_a_cut_and_an_outage() {
    with_zookeeper(|server| async move {
        const TOPICS: usize = 5_000;
        let proxy = Proxy::start(&server.connect_string()).await;
        let zk =
            Session::connect(ZkConfig { max_in_flight: 100, ..config(&server.connect_string(), 10_000) })
                .await
                .unwrap();
        let paths: Vec<String> =
            (0..TOPICS).map(|n| format!("/brokers/topics/a-topic-with-quite-a-long-name-{n:05}")).collect();
        zk.ensure("/brokers/topics").await.unwrap();
        let write_all = async |ops: Vec<Op>| {
            let writes = ops.into_iter().map(|op| vec![op]).collect();
            for batch in client::zk::batches(writes, 500) {
                zk.multi(batch.concat()).await.unwrap();
            }
        };
        write_all(paths.iter().map(|path| Op::create(path, "0")).collect()).await;

        let pool = WatchPool::new(ZkConfig { max_in_flight: 100, ..config(&proxy.connect_string(), 10_000) });
        let watch_all = async || {
            let reads = futures::future::join_all(paths.iter().map(|path| pool.get_watch(path))).await;
            reads.into_iter().map(|read| read.unwrap().1).collect::<Vec<Watch>>()
        };
        let watches = watch_all().await;
        // 280 KB of paths in sessions of 96 KiB.
        assert_eq!(pool.sessions().await, 3);

        // A cut: the watches are taken along, and nothing that happens meanwhile is missed.
        proxy.cut();
        write_all(paths.iter().map(|path| Op::set(path, "1", None)).collect()).await;
        let events = futures::future::join_all(watches).await;
        assert!(events.iter().all(|event| matches!(event, WatchEvent::DataChanged | WatchEvent::Lost)));

        // An outage: every watch says that it was lost, and reading again arms it again.
        let watches = watch_all().await;
        proxy.set(Weather::Refusing);
        proxy.cut();
        let events = futures::future::join_all(watches).await;
        assert_eq!(events, vec![WatchEvent::Lost; TOPICS]);
        proxy.set(Weather::Fair);
        let watches = watch_all().await;
        write_all(paths.iter().map(|path| Op::set(path, "2", None)).collect()).await;
        let events = futures::future::join_all(watches).await;
        assert_eq!(events, vec![WatchEvent::DataChanged; TOPICS]);
        assert_eq!(pool.sessions().await, 3);
        pool.close().await;
    });
}
