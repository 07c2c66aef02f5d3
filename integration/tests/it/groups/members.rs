//! Members of stock clients while their coordinator is killed under load: their groups go on in the
//! same generation, nobody calls back, every record is read, and no committed offset goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use client::wire::ErrorCode;
use client::wire::messages::create_topics_request::CreatableTopic;
use client::wire::messages::{
    CreateTopicsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest,
};
use integration::cluster::{Cluster, PATIENCE};
use integration::load::{Load, Outcome};
use integration::member::{Library, Member};
use integration::observer::Observer;
use integration::wait;

use super::ask_once;

const TOPIC: &str = "t";
const PARTITIONS: usize = 4;
const PER_SECOND: u32 = 200;

#[test]
fn stock_clients_do_not_notice_that_their_coordinator_dies() {
    // All groups have one coordinator, since there is one partition of `__consumer_offsets`.
    let mut cluster =
        Cluster::start(3, &[("offsets.topic.num.partitions", "1"), ("min.insync.replicas", "2")]);
    let zookeeper = cluster.zookeeper.connect_string();
    let observer = Observer::connect(&zookeeper);
    create_topic(&cluster);
    let groups: Vec<Group> = [Library::Java, Library::Confluent, Library::KafkaPython]
        .map(|library| Group::start(library, &cluster.bootstrap(), cluster.folder()))
        .into();
    let load = Load::start(&cluster.bootstrap(), TOPIC, PER_SECOND);
    let offsets = Offsets::watch(&zookeeper, groups.iter().map(Group::name).collect());
    for group in &groups {
        group.wait_until_shared(&cluster);
    }
    let before: Vec<Seen> = groups.iter().map(|group| group.seen(&cluster)).collect();
    assert!(before.iter().all(|seen| seen.members.len() == 2), "{before:?}");

    // The coordinator, which leads a partition of the topic too, and a leader after it.
    for round in 1..=2 {
        let coordinator = coordinator(&cluster, &groups[0].name());
        let states = observer.states(TOPIC, PARTITIONS).expect("the topic is there");
        let leaders: BTreeSet<i32> = states.iter().map(|state| state.leader).collect();
        let victim = match round {
            1 => coordinator,
            _ => *leaders.iter().find(|id| **id != coordinator).expect("several brokers lead"),
        };
        assert!(leaders.contains(&victim), "broker {victim} leads nothing: {leaders:?}");
        load.wait_for_more(200, PATIENCE);
        cluster.kill(victim);
        wait::until("leadership moves", PATIENCE, || {
            let states = observer.states(TOPIC, PARTITIONS)?;
            states.iter().all(|state| state.leader > 0 && state.leader != victim).then_some(())
        });
        load.wait_for_more(200, PATIENCE);
        for (group, before) in groups.iter().zip(&before) {
            assert_eq!(&group.seen(&cluster), before, "{}", group.output());
        }
        cluster.start_broker(victim);
        wait::until("all are in sync", PATIENCE, || {
            let mut states = observer.states(TOPIC, PARTITIONS)?;
            states.extend(observer.states("__consumer_offsets", 1)?);
            states.iter().all(|state| state.isr.len() == 3).then_some(())
        });
    }

    let outcome = load.finish();
    assert_eq!(outcome.failed, 0, "the producer gave up on some records");
    for group in &groups {
        group.wait_until_read(&outcome);
        offsets.wait_until_committed(&group.name(), outcome.acknowledged.len());
    }
    for (group, before) in groups.iter().zip(&before) {
        assert_eq!(&group.seen(&cluster), before, "{}", group.output());
        group.assert_read_once();
    }
    offsets.assert_forward_only();
    println!("{} values, read once by each of {} groups", outcome.acknowledged.len(), groups.len());
}

/// Two members of one library.
struct Group {
    library: Library,
    members: [Member; 2],
}

/// What must outlive a coordinator.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    generation: i32,
    members: BTreeSet<String>,
    owners: [BTreeSet<i64>; 2],
    /// Callbacks of each member.
    rebalances: [usize; 2],
}

impl Group {
    fn start(library: Library, bootstrap: &str, folder: &Path) -> Group {
        let name = format!("{library:?}");
        let members = [1, 2].map(|number| {
            Member::start(library, bootstrap, &name, TOPIC, folder, &format!("{name}-{number}"))
        });
        Group { library, members }
    }

    fn name(&self) -> String {
        format!("{:?}", self.library)
    }

    fn owners(&self) -> [BTreeSet<i64>; 2] {
        self.members.each_ref().map(Member::partitions)
    }

    /// Until both members have a part, and each partition one owner.
    fn wait_until_shared(&self, cluster: &Cluster) {
        let what = format!("{} shares its partitions", self.name());
        wait::until(&what, PATIENCE, || {
            let [one, other] = self.owners();
            let shared = !one.is_empty() && !other.is_empty() && one.is_disjoint(&other);
            let stable = || described(cluster, &self.name()).is_some_and(|(state, _)| state == "Stable");
            (shared && one.len() + other.len() == PARTITIONS && stable()).then_some(())
        });
    }

    fn seen(&self, cluster: &Cluster) -> Seen {
        let (name, patience) = (self.name(), PATIENCE);
        let (generation, members) = wait::until(&format!("{name} is coordinated"), patience, || {
            let (state, members) = described(cluster, &name)?;
            assert_eq!(state, "Stable", "{}", self.output());
            Some((generation(cluster, &name, members.first()?)?, members))
        });
        let rebalances = self.members.each_ref().map(Member::rebalances);
        Seen { generation, members, owners: self.owners(), rebalances }
    }

    fn wait_until_read(&self, outcome: &Outcome) {
        wait::until(&format!("{} reads every value", self.name()), PATIENCE, || {
            let values: BTreeSet<String> = self.members.iter().flat_map(Member::values).collect();
            outcome.acknowledged.is_subset(&values).then_some(())
        });
    }

    /// Nobody rebalanced, so nobody reads again.
    fn assert_read_once(&self) {
        let values: Vec<String> = self.members.iter().flat_map(Member::values).collect();
        let distinct: BTreeSet<&String> = values.iter().collect();
        assert_eq!(distinct.len(), values.len(), "{} read some values again", self.name());
    }

    fn output(&self) -> String {
        let tail = |member: &Member| {
            let said = member.output();
            let lines: Vec<&str> = said.lines().filter(|line| !line.contains("value")).collect();
            lines.join("\n")
        };
        self.members.each_ref().map(tail).join("\n---\n")
    }
}

/// The offsets that groups commit, read from ZooKeeper again and again.
struct Offsets {
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<Vec<String>>>,
    observer: Observer,
}

impl Offsets {
    fn watch(zookeeper: &str, groups: Vec<String>) -> Offsets {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, observer) = (Arc::clone(&stop), Observer::connect(zookeeper));
        let reader = std::thread::spawn(move || {
            let mut last = BTreeMap::new();
            let mut back = Vec::new();
            while !until.load(Ordering::Relaxed) {
                for group in &groups {
                    for (partition, offset) in committed(&observer, group) {
                        let before = last.insert((group.clone(), partition), offset).unwrap_or_default();
                        if offset < before {
                            back.push(format!("{group}, partition {partition}: from {before} to {offset}"));
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(!last.is_empty(), "nobody committed");
            back
        });
        Offsets { stop, reader: Some(reader), observer: Observer::connect(zookeeper) }
    }

    /// Until the group's offsets are those of the topic's end.
    fn wait_until_committed(&self, group: &str, values: usize) {
        wait::until(&format!("{group} commits the end"), PATIENCE, || {
            let sum: i64 = committed(&self.observer, group).values().sum();
            (sum == values as i64).then_some(())
        });
    }

    fn assert_forward_only(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let reader = self.reader.take().expect("it reads until now");
        let back = reader.join().expect("the reader does not panic");
        assert!(back.is_empty(), "committed offsets went back: {back:?}");
    }
}

impl Drop for Offsets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn committed(observer: &Observer, group: &str) -> BTreeMap<usize, i64> {
    let offset = |partition: usize| {
        let node = observer.get(&format!("/consumers/{group}/offsets/{TOPIC}/{partition}"))?;
        let text = String::from_utf8(node.data).expect("an offset is text");
        Some((partition, text.parse().expect("an offset is a number")))
    };
    (0..PARTITIONS).filter_map(offset).collect()
}

fn create_topic(cluster: &Cluster) {
    let topic = CreatableTopic {
        name: TOPIC.into(),
        num_partitions: PARTITIONS as i32,
        replication_factor: 3,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
    wait::until("the topic is made", PATIENCE, || {
        let asked = cluster.ids().into_iter().find_map(|id| {
            let created = ask_once(&cluster.address(id), 7, &request)?;
            let code = ErrorCode::from_code(created.topics.first()?.error_code);
            matches!(code, ErrorCode::None | ErrorCode::TopicAlreadyExists).then_some(())
        });
        asked.filter(|()| {
            let observer = Observer::connect(&cluster.zookeeper.connect_string());
            observer.states(TOPIC, PARTITIONS).is_some()
        })
    });
}

/// The broker that coordinates the group, as a running broker says.
fn coordinator_now(cluster: &Cluster, group: &str) -> Option<i32> {
    let request =
        FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..FindCoordinatorRequest::default() };
    let asked = cluster.ids().into_iter().find(|id| cluster.is_running(*id))?;
    let found = ask_once(&cluster.address(asked), 4, &request)?.coordinators.pop()?;
    (found.error_code == 0 && cluster.is_running(found.node_id)).then_some(found.node_id)
}

fn coordinator(cluster: &Cluster, group: &str) -> i32 {
    wait::until(&format!("{group} has a coordinator"), PATIENCE, || coordinator_now(cluster, group))
}

/// The group's state and its members' ids, once its coordinator has loaded it.
fn described(cluster: &Cluster, group: &str) -> Option<(String, BTreeSet<String>)> {
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..DescribeGroupsRequest::default() };
    let at = coordinator_now(cluster, group)?;
    let described = ask_once(&cluster.address(at), 5, &request)?.groups.pop()?;
    let members = described.members.iter().map(|member| member.member_id.to_string()).collect();
    (described.error_code == 0).then(|| (described.group_state.to_string(), members))
}

/// The only generation whose heartbeats the coordinator takes.
fn generation(cluster: &Cluster, group: &str, member: &str) -> Option<i32> {
    let at = cluster.address(coordinator_now(cluster, group)?);
    (1..20).find(|generation| {
        let beat = HeartbeatRequest {
            group_id: group.into(),
            generation_id: *generation,
            member_id: member.into(),
            group_instance_id: None,
        };
        ask_once(&at, 4, &beat).is_some_and(|answer| answer.error_code == 0)
    })
}
