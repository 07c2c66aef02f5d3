//! How long records of a partition are not acknowledged when its leader goes, by the way it goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use client::admin::{Admin, AdminOptions, Bootstrap, NewTopic, Placement};
use client::ids::BrokerId;
use rustix::process::Signal;

use super::timeline::{Question, TimeOfDay, Timeline};
use crate::cluster::{Cluster, PATIENCE};
use crate::foreign::read_topic;
use crate::gaps::{Client, Gaps};
use crate::load::{Account, Load};
use crate::observer::Observer;
use crate::percentile::percentile;
use crate::wait;
use crate::zookeeper::ZooKeeper;

const TOPIC: &str = "t";
/// Its records are counted.
const COUNTED: &str = "counted";
const PARTITIONS: usize = 6;

/// How often, and in which circumstances.
#[derive(Debug, Clone)]
pub struct Trials {
    /// Of each kind.
    pub count: usize,
    /// `zookeeper.session.timeout.ms`
    pub session_ms: u32,
    /// Whether leaders are stopped as well, which takes a session's time each.
    pub sleep: bool,
    pub whose: Whose,
    /// Where the brokers' logs go afterwards.
    pub logs: Option<PathBuf>,
}

/// Whose producer measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Whose {
    Librdkafka,
    /// Ours, asking brokers.
    Ottla,
    /// Ours, watching ZooKeeper.
    OttlaZookeeper,
}

/// What happens to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    KillLeader,
    KillController,
    Shutdown,
    ShutdownController,
    Sleep,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Fate::KillLeader => "kill -9 of a leader",
            Fate::KillController => "kill -9 of the controller, a leader too",
            Fate::Shutdown => "controlled shutdown of a leader",
            Fate::ShutdownController => "controlled shutdown of the controller, a leader too",
            Fate::Sleep => "SIGSTOP of a leader, to the others as if its host vanished",
        }
    }
}

/// Three brokers and a ZooKeeper on this machine, 6 partitions of three replicas, `min.insync.replicas=2`, and a
/// producer with its own settings, acks=all and idempotence, that sends a record to each partition every 2 ms. Prints a
/// line for each kind: of the partition that waited longest, the median and worst of all trials; then each of them, and
/// what was done when in the worst. Where a broker is stopped for longer than its session, also from when its
/// registration was gone, and what became of records beside.
pub fn run(trials: &Trials) {
    let mut cluster = start(trials);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let client = match trials.whose {
        Whose::Librdkafka => Client::Librdkafka(cluster.bootstrap()),
        Whose::Ottla => Client::OverBrokers(cluster.bootstrap()),
        Whose::OttlaZookeeper => Client::OverZooKeeper(cluster.zookeeper.connect_string()),
    };
    let gaps = Gaps::start(client, TOPIC, PARTITIONS);
    let mut fates = vec![Fate::KillLeader, Fate::KillController, Fate::Shutdown, Fate::ShutdownController];
    fates.extend(trials.sleep.then_some(Fate::Sleep));
    for fate in fates {
        let load = (fate == Fate::Sleep).then(|| Load::start(&cluster.bootstrap(), COUNTED, 500));
        let suffered: Vec<Suffered> =
            (0..trials.count).map(|_| suffer(fate, &mut cluster, &observer, &gaps)).collect();
        let longest: Vec<Duration> = suffered.iter().map(|one| one.longest).collect();
        println!("{}: longest gap {}", fate.name(), told(&longest));
        println!("  each: {} ms", longest.iter().map(in_ms).collect::<Vec<_>>().join(", "));
        if let Some(worst) = suffered.iter().max_by_key(|one| one.longest) {
            println!("  the worst: {}", worst.timeline);
        }
        let unregistered: Vec<Duration> = suffered.iter().filter_map(|one| one.unregistered).collect();
        if !unregistered.is_empty() {
            println!("  from the end of its registration: {}", told(&unregistered));
        }
        if let Some(load) = load {
            println!("  {}", account(&cluster, load));
        }
    }
    if let Some(folder) = &trials.logs {
        keep_logs(&cluster, folder);
    }
}

fn keep_logs(cluster: &Cluster, folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder can be made");
    for id in cluster.ids() {
        std::fs::write(folder.join(format!("broker-{id}.log")), cluster.log(id))
            .expect("a file can be written");
    }
}

fn in_ms(time: &Duration) -> String {
    time.as_millis().to_string()
}

fn told(times: &[Duration]) -> String {
    let ms = |percent| percentile(times, percent).as_millis();
    format!("{} ms in the median, {} ms at the worst of {}", ms(50), ms(100), times.len())
}

/// What became of the records of a load.
fn account(cluster: &Cluster, load: Load) -> String {
    let outcome = load.finish();
    let stored = read_topic(&cluster.bootstrap(), COUNTED).into_iter().map(|record| record.value);
    let account = Account::of(&outcome.acknowledged, outcome.failed, stored);
    format!("records beside: {account}")
}

fn start(trials: &Trials) -> Cluster {
    let session = trials.session_ms.to_string();
    let settings = [
        ("zookeeper.session.timeout.ms", session.as_str()),
        ("min.insync.replicas", "2"),
        // A broker that is back leads again soon.
        ("leader.imbalance.check.interval.seconds", "1"),
        ("leader.imbalance.per.broker.percentage", "0"),
    ];
    let properties = |_, _| settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    // A session lasts up to 20 ticks.
    let cluster = Cluster::start_on(ZooKeeper::with_tick(1_000), "", 3, properties);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    for topic in [TOPIC, COUNTED] {
        runtime.block_on(create(&cluster, topic));
    }
    cluster
}

async fn create(cluster: &Cluster, topic: &str) {
    let bootstrap = Bootstrap::resolve(&cluster.bootstrap()).await.expect("addresses are addresses");
    let admin = Admin::new(bootstrap, AdminOptions::default());
    // Each broker prefers to lead two.
    let replicas = |p: i32| (0..3).map(|r| BrokerId((p + r) % 3 + 1)).collect();
    let placement = Placement::Replicas((0..PARTITIONS as i32).map(|p| (p, replicas(p))).collect());
    let new = NewTopic { name: topic.into(), placement, configs: BTreeMap::new() };
    admin.create_topic(&new).await.expect("the topic can be created");
}

/// What one trial came to.
#[derive(Debug, Clone, Copy)]
struct Suffered {
    /// Without an acknowledgement.
    longest: Duration,
    /// From when the broker's registration was gone until each partition had an acknowledgement.
    unregistered: Option<Duration>,
    /// Of the partition that waited longest.
    timeline: Timeline,
}

fn suffer(fate: Fate, cluster: &mut Cluster, observer: &Observer, gaps: &Gaps) -> Suffered {
    let controller = settle(cluster, observer);
    let others = || cluster.ids().into_iter().find(|id| *id != controller).expect("there are three");
    let victim = match fate {
        Fate::KillController | Fate::ShutdownController => controller,
        Fate::KillLeader | Fate::Shutdown | Fate::Sleep => others(),
    };
    gaps.wait_for_all(PATIENCE);
    // The cluster and clients have clocks that tick once a second: each trial meets them at another moment.
    std::thread::sleep(Duration::from_millis(rand::random_range(0..1_000)));
    gaps.reset();
    let began = TimeOfDay::of(SystemTime::now());
    match fate {
        Fate::KillLeader | Fate::KillController => cluster.kill(victim),
        Fate::Shutdown | Fate::ShutdownController => drop(cluster.terminate(victim)),
        Fate::Sleep => cluster.signal(victim, Signal::STOP),
    }
    let gone = (fate == Fate::Sleep).then(|| {
        wait::until("its session ends", PATIENCE * 3, || {
            (!observer.registered().contains_key(&victim)).then_some(())
        });
        Instant::now()
    });
    if matches!(fate, Fate::KillLeader | Fate::KillController) {
        // What the dead broker acknowledged may be heard of late, and would pass for an acknowledgement of another's.
        wait::until("others lead what it led", PATIENCE, || {
            let states = observer.states(TOPIC, PARTITIONS)?;
            states.iter().all(|state| state.leader != victim && state.leader >= 0).then_some(())
        });
    }
    // librdkafka waits a minute for the answers of a broker that sleeps.
    gaps.wait_for_all(PATIENCE * 3);
    let unregistered = gone.map(|gone| gone.elapsed());
    let (partition, longest) =
        gaps.longest().into_iter().enumerate().max_by_key(|(_, gap)| *gap).unwrap_or_default();
    let acknowledged = gaps.ended().get(partition).copied().flatten().map(TimeOfDay::of);
    let question = Question { began, victim, topic: TOPIC, partition, acknowledged };
    let logs: Vec<String> = cluster.ids().into_iter().map(|id| cluster.log(id)).collect();
    let timeline = Timeline::read(logs.iter().map(String::as_str), &question);
    match fate {
        Fate::Sleep => cluster.signal(victim, Signal::CONT),
        _ => cluster.start_broker(victim),
    }
    Suffered { longest, unregistered, timeline }
}

/// Waits until all is as it should be, and has been for a moment. Gives the controller.
fn settle(cluster: &Cluster, observer: &Observer) -> i32 {
    let mut since: Option<Instant> = None;
    wait::until("every broker leads what it prefers to", PATIENCE, || {
        let states = observer.states(TOPIC, PARTITIONS)?;
        let fine = (0i32..).zip(&states).all(|(p, state)| state.leader == p % 3 + 1 && state.isr.len() == 3);
        if !fine || observer.registered().len() < cluster.ids().len() {
            since = None;
        } else if since.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(1) {
            return observer.controller();
        }
        None
    })
}
