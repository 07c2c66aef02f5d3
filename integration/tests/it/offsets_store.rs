//! The store of committed offsets on a real ZooKeeper: what a coordinator writes, what stops it, what it
//! makes of what others wrote.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::group::CommittedOffset;
use broker::group::replay::LoggedOffset;
use broker::offsets::{
    Coordinated, Late, NewCommit, OffsetError, OffsetKey, OffsetStore, OffsetStoreParts, PartitionOffsets,
    Retention,
};
use client::ids::{BrokerId, ControllerEpoch, LeaderEpoch, Offset, TopicPartition};
use client::zk::{Session, ZkConfig};
use client::znode::partition::{LeaderRecovery, PartitionState, state_path};
use integration::proxy::{Proxy, Weather};
use integration::wait::until_holds;
use integration::zookeeper::{ZooKeeper, with_zookeeper};
use tokio::task::JoinHandle;

mod lagging;
mod late;
mod stray;

const ME: BrokerId = BrokerId(1);
const OTHER: BrokerId = BrokerId(2);
const EPOCH: LeaderEpoch = LeaderEpoch(5);
const TOPIC: &str = "__consumer_offsets";
const PATIENCE: Duration = Duration::from_secs(20);

/// More than a sign of life: a request, or the answer to it.
const A_REQUEST: usize = 50;

/// A coordinator of every group, and a session beside it.
struct Bench {
    zk: Session,
    store: OffsetStore,
    offsets: Arc<PartitionOffsets>,
    log_end: Arc<AtomicI64>,
    tombstones: Arc<Mutex<Vec<OffsetKey>>>,
}

impl Bench {
    /// `connect`: where the coordinator finds ZooKeeper.
    async fn start(server: &ZooKeeper, connect: &str, patience: Duration) -> Bench {
        let zk = Session::connect(config(&server.connect_string())).await.expect("ZooKeeper answers");
        zk.ensure("/consumers").await.expect("a node can be made");
        elect(&zk, ME, EPOCH).await;
        let store = OffsetStore::new(OffsetStoreParts { me: ME, zk: config(connect), patience });
        let log_end = Arc::new(AtomicI64::new(0));
        let tombstones = Arc::new(Mutex::default());
        let offsets = open(&store, EPOCH, &log_end, &tombstones);
        Bench { zk, store, offsets, log_end, tombstones }
    }

    async fn commit(&self, group: &str, partition: i32, offset: i64) -> Result<(), OffsetError> {
        commit(&self.offsets, group, partition, offset).await
    }

    async fn fetch(&self, group: &str, partition: i32) -> Result<Option<CommittedOffset>, OffsetError> {
        let mut found = self.offsets.fetch(&group.into(), &[at(partition)]).await?;
        found.remove(0)
    }

    async fn text(&self, path: &str) -> Option<String> {
        let node = self.zk.get_if_exists(path).await.expect("ZooKeeper answers")?;
        Some(String::from_utf8(node.data).expect("it is text"))
    }

    fn reopen(&self, epoch: LeaderEpoch) -> Arc<PartitionOffsets> {
        open(&self.store, epoch, &self.log_end, &self.tombstones)
    }

    fn deleted(&self) -> Vec<OffsetKey> {
        std::mem::take(&mut *self.tombstones.lock().expect("nobody panicked"))
    }
}

fn config(connect: &str) -> ZkConfig {
    ZkConfig::new(connect).with_timeout(Duration::from_secs(8))
}

fn open(
    store: &OffsetStore,
    epoch: LeaderEpoch,
    log_end: &Arc<AtomicI64>,
    tombstones: &Arc<Mutex<Vec<OffsetKey>>>,
) -> Arc<PartitionOffsets> {
    store.open(coordinated(epoch, log_end, tombstones))
}

fn coordinated(
    epoch: LeaderEpoch,
    log_end: &Arc<AtomicI64>,
    tombstones: &Arc<Mutex<Vec<OffsetKey>>>,
) -> Coordinated {
    let (log_end, tombstones) = (Arc::clone(log_end), Arc::clone(tombstones));
    let end = Arc::clone(&log_end);
    Coordinated {
        partition: TopicPartition::new(TOPIC, 0),
        epoch,
        late: Late::Withdrawn,
        log_end: Arc::new(move || Offset(end.load(Ordering::SeqCst))),
        tombstones: Arc::new(move |keys| {
            log_end.fetch_add(keys.len() as i64, Ordering::SeqCst);
            tombstones.lock().expect("nobody panicked").extend(keys);
            Box::pin(std::future::ready(Ok(())))
        }),
        has_group: Arc::new(|group| group != "of another partition"),
    }
}

async fn elect(zk: &Session, leader: BrokerId, leader_epoch: LeaderEpoch) {
    let state = PartitionState {
        leader,
        leader_epoch,
        isr: vec![leader],
        recovery: LeaderRecovery::Recovered,
        controller_epoch: ControllerEpoch(1),
    };
    zk.set_or_create(&state_path(TOPIC, 0), state.encode()).await.expect("the state can be written");
}

async fn commit(
    offsets: &PartitionOffsets,
    group: &str,
    partition: i32,
    offset: i64,
) -> Result<(), OffsetError> {
    offsets.commit(&group.into(), vec![(at(partition), new(offset))]).await.remove(0)
}

fn new(offset: i64) -> NewCommit {
    NewCommit { offset, leader_epoch: 3, metadata: "m".into(), commit_time_ms: None, expire_time_ms: None }
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// A coordinator without a network that misbehaves.
fn with_bench<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F) {
    with_zookeeper(|server| async move {
        let bench = Bench::start(&server, &server.connect_string(), PATIENCE).await;
        test(bench).await;
    });
}

#[test]
fn a_commit_is_plain_text_with_a_sibling_that_counts_while_it_repeats_it() {
    with_bench(|bench| async move {
        bench.log_end.store(12, Ordering::SeqCst);
        assert_eq!(bench.fetch("g", 0).await, Ok(None));
        bench.commit("g", 0, 77).await.unwrap();
        assert_eq!(bench.text("/consumers/g/offsets/t/0").await.as_deref(), Some("77"));
        let beside =
            r#"{"version":1,"offset":77,"leader_epoch":3,"metadata":"m","log_epoch":5,"log_end":12}"#;
        assert_eq!(bench.text("/consumers/g/commits/t/0").await.as_deref(), Some(beside));
        let written = bench.zk.get("/consumers/g/offsets/t/0").await.unwrap().stat.mtime_ms;
        let committed = CommittedOffset {
            offset: 77,
            leader_epoch: 3,
            metadata: "m".into(),
            commit_time_ms: written,
            expire_time_ms: None,
        };
        assert_eq!(bench.fetch("g", 0).await, Ok(Some(committed)));

        // A classic consumer goes on from there: its offset counts, ours beside it does not.
        bench.zk.set("/consumers/g/offsets/t/0", "80", None).await.unwrap();
        let found = bench.fetch("g", 0).await.unwrap().unwrap();
        assert_eq!((found.offset, found.leader_epoch, &*found.metadata), (80, -1, ""));
        bench.commit("g", 0, 81).await.unwrap();
        let found = bench.fetch("g", 0).await.unwrap().unwrap();
        assert_eq!((found.offset, found.leader_epoch, &*found.metadata), (81, 3, "m"));

        // Its tree may vanish under us, and its groups are read but not ours.
        bench.zk.delete_recursive("/consumers/g").await.unwrap();
        bench.commit("g", 0, 82).await.unwrap();
        assert_eq!(bench.fetch("g", 0).await.unwrap().unwrap().offset, 82);
        bench.zk.set_or_create("/consumers/classic/offsets/t/1", "5").await.unwrap();
        bench.zk.set_or_create("/consumers/classic/offsets/u/0", "many").await.unwrap();
        assert_eq!(bench.fetch("classic", 1).await.unwrap().unwrap().offset, 5);
        let all = bench.offsets.fetch_all(&"classic".into()).await.unwrap();
        let names: Vec<_> =
            all.iter().map(|(partition, found)| (partition.to_string(), found.is_ok())).collect();
        assert_eq!(names, [("t-1".into(), true), ("u-0".into(), false)]);
        assert_eq!(bench.offsets.groups(), ["g".into()]);
    });
}

#[test]
fn every_group_id_has_a_place() {
    with_bench(|bench| async move {
        let ids = [
            "",
            ".",
            "..",
            "a/b",
            "/",
            "x\u{1}",
            "\u{7f}",
            "\u{1f600}",
            "\u{e000}",
            "%2F",
            "sp ace",
            "\u{fc}",
        ];
        for (offset, id) in (1i64..).zip(ids) {
            bench.commit(id, 0, offset).await.unwrap();
        }
        let next = bench.reopen(EPOCH);
        next.loaded().await.unwrap();
        for (offset, id) in (1i64..).zip(ids) {
            let found = next.fetch(&id.into(), &[at(0)]).await.unwrap().remove(0).unwrap();
            assert_eq!(found.map(|found| found.offset), Some(offset), "{id:?}");
        }
        let expected: BTreeSet<Arc<str>> = ids.into_iter().map(Arc::from).collect();
        assert_eq!(next.groups().into_iter().collect::<BTreeSet<_>>(), expected);
        assert_eq!(
            bench.zk.children("/consumers").await.unwrap(),
            ["%2F", "sp ace", "\u{fc}"],
            "what ZooKeeper takes stands as it is"
        );
    });
}

#[test]
fn whoever_was_deposed_without_hearing_of_it_commits_nothing() {
    with_bench(|bench| async move {
        bench.commit("g", 0, 5).await.unwrap();
        // The in-sync set changes: another version, and it goes on.
        elect(&bench.zk, ME, EPOCH).await;
        bench.commit("g", 0, 6).await.unwrap();

        elect(&bench.zk, OTHER, LeaderEpoch(6)).await;
        assert_eq!(bench.commit("g", 0, 7).await, Err(OffsetError::NotCoordinator));
        assert_eq!(bench.text("/consumers/g/offsets/t/0").await.as_deref(), Some("6"));
        // It does not come back by itself, whatever is elected.
        elect(&bench.zk, ME, LeaderEpoch(7)).await;
        assert_eq!(bench.commit("g", 0, 8).await, Err(OffsetError::NotCoordinator));
        assert_eq!(bench.fetch("g", 0).await, Err(OffsetError::NotCoordinator));

        let next = bench.reopen(LeaderEpoch(7));
        next.loaded().await.unwrap();
        commit(&next, "g", 0, 9).await.unwrap();
        // The same leader at a newer epoch: the controller's word comes soon.
        elect(&bench.zk, ME, LeaderEpoch(8)).await;
        assert_eq!(commit(&next, "g", 0, 10).await, Err(OffsetError::Loading));
        assert_eq!(bench.text("/consumers/g/offsets/t/0").await.as_deref(), Some("9"));
        next.close();
        assert_eq!(commit(&next, "g", 0, 11).await, Err(OffsetError::NotCoordinator));
    });
}

/// Has the connection lose what follows, commits, and returns when something was lost.
async fn commit_into(
    weather: Weather,
    proxy: &Proxy,
    bench: &Bench,
    offset: i64,
) -> JoinHandle<Vec<Result<(), OffsetError>>> {
    let mut lost = proxy.lost();
    let before = *lost.borrow_and_update();
    proxy.set(weather);
    let committing = tokio::spawn(bench.offsets.commit(&"g".into(), vec![(at(0), new(offset))]));
    lost.wait_for(|lost| *lost >= before + A_REQUEST).await.expect("the proxy runs");
    committing
}

fn better(proxy: &Proxy) {
    proxy.set(Weather::Fair);
    proxy.cut();
}

/// The first commit's request gets lost, and it is only known later that it was. Meanwhile a newer value
/// must not overtake it.
#[test]
fn a_newer_offset_waits_for_the_older_ones_fate() {
    with_zookeeper(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let bench = Bench::start(&server, &proxy.connect_string(), PATIENCE).await;
        bench.commit("g", 0, 1).await.unwrap();
        for round in 0..20 {
            let (older, newer) = (10 * round + 2, 10 * round + 3);
            let weather = if round % 2 == 0 { Weather::Silent } else { Weather::AnswersLost };
            let first = commit_into(weather, &proxy, &bench, older).await;
            let second = tokio::spawn(bench.offsets.commit(&"g".into(), vec![(at(0), new(newer))]));
            better(&proxy);
            assert_eq!(first.await.unwrap(), [Ok(())], "round {round}");
            assert_eq!(second.await.unwrap(), [Ok(())], "round {round}");
            // Whoever sent the older one again would do so by now.
            bench.commit("h", 0, newer).await.unwrap();
            assert_eq!(
                bench.text("/consumers/g/offsets/t/0").await,
                Some(newer.to_string()),
                "round {round}"
            );
        }
    });
}

#[test]
fn without_zookeeper_commits_and_reads_are_put_off() {
    with_zookeeper(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let bench = Bench::start(&server, &proxy.connect_string(), Duration::from_millis(500)).await;
        until_holds("ZooKeeper is back", PATIENCE, async || bench.commit("g", 0, 1).await == Ok(())).await;
        proxy.set(Weather::Refusing);
        proxy.cut();
        assert_eq!(bench.commit("g", 0, 2).await, Err(OffsetError::Loading));
        assert_eq!(bench.fetch("g", 0).await, Err(OffsetError::Loading));
        assert_eq!(bench.offsets.delete(&"g".into(), &[at(0)]).await, Err(OffsetError::Loading));
        proxy.set(Weather::Fair);
        until_holds("ZooKeeper is back", PATIENCE, async || bench.commit("g", 0, 3).await == Ok(())).await;
        assert_eq!(bench.fetch("g", 0).await.unwrap().unwrap().offset, 3);
    });
}

#[test]
fn many_commits_at_once_are_one_after_the_other_for_each_key() {
    with_bench(|bench| async move {
        assert_eq!(bench.fetch("g0", 0).await, Ok(None));
        let commits: Vec<_> = (0..2_000i64)
            .map(|n| {
                let group: Arc<str> = format!("g{}", n % 50).into();
                let ten = (0..10).map(|partition| (at(partition), new(n))).collect();
                tokio::spawn(bench.offsets.commit(&group, ten))
            })
            .collect();
        for one in commits {
            assert_eq!(one.await.unwrap(), vec![Ok(()); 10]);
        }
        for group in 0..50 {
            let all = bench.offsets.fetch_all(&format!("g{group}").into()).await.unwrap();
            let found: Vec<_> = all.into_iter().map(|(_, found)| found.unwrap().offset).collect();
            assert_eq!(found, [1950 + group; 10]);
        }
    });
}

/// One odd name must not spoil what is read together with it, nor the connection.
#[test]
fn what_has_no_place_has_no_offset() {
    with_bench(|bench| async move {
        bench.commit("g", 0, 5).await.unwrap();
        let odd = ["", ".", "a/b", "..", "x\u{1}", &"x".repeat(2_000_000)];
        let mut asked: Vec<TopicPartition> = odd.iter().map(|name| TopicPartition::new(*name, 0)).collect();
        asked.insert(3, at(0));
        let found = bench.offsets.fetch(&"g".into(), &asked).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|one| one.unwrap().map(|found| found.offset)).collect();
        assert_eq!(found, [None, None, None, Some(5), None, None, None]);

        let long = "x".repeat(2_000_000);
        assert_eq!(bench.fetch(&long, 0).await, Ok(None));
        assert_eq!(bench.offsets.fetch_all(&long.as_str().into()).await, Ok(vec![]));
        let key = OffsetKey::new(long.as_str(), "t", 0);
        assert_eq!(bench.commit(&long, 0, 1).await, Err(OffsetError::NoPlace { key }));
        assert_eq!(bench.offsets.delete_group(&long.as_str().into()).await, Ok(()));
        // As long as it may be, and of characters that take three times their place.
        let long = "/".repeat(57_600);
        bench.commit(&long, 0, 6).await.unwrap_err();
        let long: Arc<str> = "x".repeat(57_600).into();
        let ten = (0..10).map(|partition| (at(partition), new(7))).collect();
        assert_eq!(bench.offsets.commit(&long, ten).await, [const { Ok(()) }; 10]);
        assert_eq!(bench.offsets.delete_group(&long).await, Ok(()));
        assert_eq!(bench.offsets.fetch_all(&long).await, Ok(vec![]));
        assert_eq!(bench.deleted().len(), 10);
        assert_eq!(bench.fetch("g", 0).await.unwrap().unwrap().offset, 5);
    });
}

/// Ten times as much as ZooKeeper takes in one request.
#[test]
fn a_large_commit_is_many_multis() {
    with_bench(|bench| async move {
        assert_eq!(bench.fetch("g", 0).await, Ok(None));
        let text = "\u{fc}\u{1}".repeat(1_000);
        let commits = (0..1_000).map(|partition| {
            let commit = NewCommit { metadata: text.as_str().into(), ..new(partition.into()) };
            (at(partition), commit)
        });
        let group: Arc<str> = "g".into();
        let done = bench.offsets.commit(&group, commits.collect()).await;
        assert_eq!(done.iter().find(|one| one.is_err()), None);
        let all = bench.offsets.fetch_all(&group).await.unwrap();
        assert_eq!(all.len(), 1_000);
        for (partition, found) in all {
            let found = found.unwrap();
            assert_eq!((found.offset, &*found.metadata), (partition.partition.into(), text.as_str()));
        }
        let huge = NewCommit { metadata: "x".repeat(500_000).into(), ..new(1) };
        let key = OffsetKey::new("g", "t", 0);
        assert_eq!(
            bench.offsets.commit(&group, vec![(at(0), huge)]).await,
            [Err(OffsetError::TooLarge { key })]
        );
    });
}

#[test]
fn the_log_speaks_where_zookeeper_does_not_know_better() {
    with_bench(|bench| async move {
        bench.log_end.store(20, Ordering::SeqCst);
        bench.commit("g", 0, 100).await.unwrap();
        bench.commit("g", 1, 100).await.unwrap();
        bench.commit("g", 2, 100).await.unwrap();
        bench.commit("g", 6, 100).await.unwrap();
        bench.zk.set_or_create("/consumers/g/offsets/t/4", "100").await.unwrap();
        bench.zk.set_or_create("/consumers/g/offsets/t/5", "100").await.unwrap();
        let now = bench.zk.get("/consumers/g/offsets/t/4").await.unwrap().stat.mtime_ms;
        bench.log_end.store(30, Ordering::SeqCst);
        elect(&bench.zk, ME, LeaderEpoch(6)).await;

        let next = bench.reopen(LeaderEpoch(6));
        let record = |log_offset, time_ms, offset: Option<i64>| LoggedOffset {
            log_epoch: EPOCH,
            log_offset: Offset(log_offset),
            time_ms,
            value: offset.map(|offset| CommittedOffset {
                offset,
                leader_epoch: 9,
                metadata: "log".into(),
                commit_time_ms: time_ms,
                expire_time_ms: None,
            }),
        };
        let ages = i64::MAX;
        next.import(OffsetKey::new("g", "t", 0), record(5, ages, Some(1)));
        next.import(OffsetKey::new("g", "t", 1), record(20, 1, Some(2)));
        next.import(OffsetKey::new("g", "t", 2), record(21, 1, Some(3)));
        next.import(OffsetKey::new("g", "t", 2), record(22, 1, None));
        next.import(OffsetKey::new("g", "t", 3), record(1, 1, Some(4)));
        next.import(OffsetKey::new("g", "t", 4), record(25, now - 1, Some(5)));
        next.import(OffsetKey::new("g", "t", 5), record(25, now + 1000, Some(6)));
        let later = LoggedOffset { log_epoch: LeaderEpoch(6), ..record(15, 1, Some(7)) };
        next.import(OffsetKey::new("g", "t", 6), later);
        next.import(OffsetKey::new("h", "t", 0), record(2, 1, None));
        next.loaded().await.unwrap();

        let all = next.fetch_all(&"g".into()).await.unwrap();
        let found: Vec<_> = all
            .into_iter()
            .map(|(partition, found)| (partition.partition, found.unwrap()))
            .map(|(partition, found)| (partition, found.offset, found.metadata))
            .collect();
        let expected =
            [(0, 100, "m"), (1, 2, "log"), (3, 4, "log"), (4, 100, ""), (5, 6, "log"), (6, 7, "log")];
        assert_eq!(found, expected.map(|(partition, offset, said)| (partition, offset, said.into())));
        assert_eq!(
            next.fetch(&"g".into(), &[at(3)]).await.unwrap().remove(0).unwrap().unwrap().commit_time_ms,
            1
        );
        assert_eq!(bench.deleted(), []);

        // A second coordinator finds the same log, and nothing to do: not even newer commits suffer.
        commit(&next, "g", 1, 50).await.unwrap();
        elect(&bench.zk, ME, LeaderEpoch(7)).await;
        let last = bench.reopen(LeaderEpoch(7));
        last.import(OffsetKey::new("g", "t", 1), record(20, ages, Some(2)));
        last.loaded().await.unwrap();
        assert_eq!(last.fetch(&"g".into(), &[at(1)]).await.unwrap().remove(0).unwrap().unwrap().offset, 50);
    });
}

#[test]
fn what_is_deleted_stays_deleted_and_takes_nothing_newer_along() {
    with_bench(|bench| async move {
        bench.log_end.store(10, Ordering::SeqCst);
        for partition in 0..3 {
            bench.commit("g", partition, 5).await.unwrap();
        }
        bench.offsets.delete(&"g".into(), &[at(0), at(9)]).await.unwrap();
        assert_eq!(bench.deleted(), [OffsetKey::new("g", "t", 0)], "the log is told first");
        assert_eq!(bench.fetch("g", 0).await, Ok(None));
        bench.commit("g", 0, 6).await.unwrap();
        let beside = bench.text("/consumers/g/commits/t/0").await.unwrap();
        assert!(beside.contains(r#""log_end":11"#), "newer than the tombstone: {beside}");

        // By age: never what a classic consumer wrote.
        bench.zk.set("/consumers/g/offsets/t/1", "7", None).await.unwrap();
        let written = bench.zk.get("/consumers/g/offsets/t/1").await.unwrap().stat.mtime_ms;
        let by_commit = |_: &Arc<str>| Retention::SinceCommit { subscribed: BTreeSet::new() };
        assert_eq!(bench.offsets.expire(written, 60_000, by_commit).await, Ok(0));
        assert_eq!(bench.offsets.expire(written + 120_000, 60_000, |_| Retention::Keep).await, Ok(0));
        assert_eq!(bench.offsets.expire(written + 120_000, 60_000, by_commit).await, Ok(2));
        assert_eq!(bench.zk.children("/consumers/g/offsets/t").await.unwrap(), ["1"]);
        bench.deleted();

        // With their topic, with their group: what is empty goes too.
        bench.commit("h", 0, 5).await.unwrap();
        let u = TopicPartition::new("u", 0);
        assert_eq!(bench.offsets.commit(&"h".into(), vec![(u, new(1))]).await, [Ok(())]);
        bench.offsets.delete_topics(&BTreeSet::from([Arc::from("u")])).await.unwrap();
        assert_eq!(bench.deleted(), [OffsetKey::new("h", "u", 0)]);
        assert_eq!(bench.zk.children("/consumers/h/offsets").await.unwrap(), ["t"]);
        bench.offsets.delete_group(&"h".into()).await.unwrap();
        assert_eq!(bench.zk.children("/consumers").await.unwrap(), ["g"]);
        assert_eq!(bench.offsets.groups(), ["g".into()]);
    });
}
