//! A broker among hostile peers: crowds of connections, readers that do not read, frames that never end,
//! requests damaged at random. It must not panic, must not grow without bound, and must go on serving
//! those who behave.
//!
//! Not thrown at it are requests that it would be right to obey, whatever they do to the others: those
//! of a controller, and those that create topics. That they are decoded safely is tested in `client`.

mod answered;
mod attack;
mod crowd;
mod frames;
mod memory;
mod witness;

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use broker::log::disk::raise_open_file_limit;
use client::connection::{Connection, ConnectionOptions};
use client::wire::messages::CreateTopicsRequest;
use client::wire::messages::create_topics_request::CreatableTopic;

use crate::cluster::Cluster;
use crate::runtime;
pub use answered::Abandoned;
use answered::answered;
use attack::Attack;
use crowd::Crowd;
use memory::Memory;
use witness::{Testimony, Witness};

/// Where those who behave write, and from where they read.
const WITNESSED: &str = "witnessed";

/// Full of data for those who read slowly.
const DATA: &str = "data";

/// The largest frame (`socket.request.max.bytes`), and what all unfinished frames together may take
/// (`queued.max.request.bytes`).
const FRAME_BUDGET: u32 = 16 << 20;

/// What a broker may grow by beyond its budget for frames, whatever is thrown at it.
const ALLOWANCE: u64 = 256 << 20;

/// Growth for each open connection: buffers, tasks, what the allocator keeps.
const ALLOWANCE_PER_CONNECTION: u64 = 32 << 10;

/// Nobody who behaves waits longer for a small request, even on a machine with much else to do.
const PATIENCE_SMALL: Duration = Duration::from_secs(5);

/// A large request may have to wait until slow senders are given up for it.
const PATIENCE_LARGE: Duration = Duration::from_secs(10);

/// How often the crowd asks: silence for `connections.max.idle.ms` would end its connections.
const NOW_AND_THEN: Duration = Duration::from_secs(60);

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Connections that stay open and ask now and then.
    pub connections: usize,
    /// Damaged requests.
    pub frames: usize,
    pub seed: u64,
}

/// What was seen.
#[derive(Debug)]
pub struct Report {
    scale: Scale,
    phases: Vec<Phase>,
    attack: Attack,
    small: Testimony,
    large: Testimony,
    before: Memory,
    after: Memory,
    panics: Vec<String>,
    has_ended: bool,
}

/// The broker's memory after one kind of hostility.
#[derive(Debug)]
struct Phase {
    what: String,
    took: Duration,
    resident: u64,
}

/// Starts a broker, is hostile to it, and tells how it bore that. Progress goes to stderr, and so do the broker's last
/// words when it is silent for long.
pub fn run(scale: Scale) -> Result<Report, Abandoned> {
    // Two sockets a connection are in this process and its child, each with a limit of files.
    raise_open_file_limit().expect("the soft limit of files can be raised to the hard one");
    let properties = [
        ("auto.create.topics.enable", "false"),
        ("offsets.topic.replication.factor", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("socket.request.max.bytes", &FRAME_BUDGET.to_string()),
        ("queued.max.request.bytes", &FRAME_BUDGET.to_string()),
    ];
    let mut cluster = Cluster::start(1, &properties);
    let mut report = runtime::run(be_hostile(&cluster, scale)).inspect_err(|_| cluster.tell_last_words())?;
    report.has_ended = cluster.has_exited(1);
    let log = cluster.log(1);
    report.panics = log.lines().filter(|line| line.contains("panic")).take(5).map(String::from).collect();
    Ok(report)
}

async fn be_hostile(cluster: &Cluster, scale: Scale) -> Result<Report, Abandoned> {
    let address: SocketAddr = cluster.address(1).parse().expect("an address");
    create_topics(&cluster.address(1)).await?;
    witness::fill(&cluster.address(1), DATA).await?;
    let small = Witness::start(&cluster.address(1), 0, 100).await?;
    let large = Witness::start(&cluster.address(1), 1, 128 << 10).await?;
    let pid = cluster.pid(1);
    let before = Memory::of(pid);
    let mut phases = Vec::new();
    let mut phase = |what: String, since: Instant| {
        let phase = Phase { what, took: since.elapsed(), resident: Memory::of(pid).resident };
        eprintln!("{phase}");
        phases.push(phase);
    };

    let since = Instant::now();
    let mut crowd = Crowd::gather(address, scale.connections).await?;
    phase(format!("{} connections that ask now and then", scale.connections), since);
    let part = scale.connections.div_ceil(10);
    let since = Instant::now();
    crowd.read_slowly(part).await?;
    phase(format!("{part} that fetch all there is and read none of it"), since);
    let since = Instant::now();
    crowd.announce(part).await?;
    phase(format!("{part} that announce 16 MiB and go silent"), since);
    let since = Instant::now();
    crowd.trickle(part).await?;
    phase(format!("{part} that send most of 1 MiB and go silent"), since);
    let since = Instant::now();
    let refused = crowd.oversize().await?;
    phase(format!("{refused} frames of impossible lengths, refused"), since);
    let since = Instant::now();
    let attack = attack::attack(address, scale.frames, scale.seed);
    tokio::pin!(attack);
    let attack = loop {
        tokio::select! {
            attack = &mut attack => break attack?,
            () = tokio::time::sleep(NOW_AND_THEN) => crowd.ask_all().await?,
        }
    };
    phase(format!("{} damaged requests", scale.frames), since);
    let since = Instant::now();
    crowd.ask_all().await?;
    phase(format!("{} connections answered once more", scale.connections), since);
    drop(crowd);

    Ok(Report {
        scale,
        attack,
        small: small.finish().await?,
        large: large.finish().await?,
        before,
        after: Memory::of(pid),
        phases,
        panics: Vec::new(),
        has_ended: false,
    })
}

async fn create_topics(address: &str) -> Result<(), Abandoned> {
    let connecting = Connection::connect(address.to_owned(), "hostility", ConnectionOptions::default());
    let connection = answered("who connects first", connecting).await?;
    let topic = |name: &'static str, num_partitions| CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic(WITNESSED, 2), topic(DATA, 1), topic(frames::TARGET, 2)],
        timeout_ms: 30_000,
        ..Default::default()
    };
    let created = answered("who makes topics", connection.send(&request, 7)).await?;
    assert!(created.topics.iter().all(|topic| topic.error_code == 0), "{created:?}");
    Ok(())
}

impl Report {
    /// What was not as it must be.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.has_ended {
            failures.push(String::from("the broker has ended"));
        }
        failures.extend(self.panics.iter().map(|line| format!("the broker panicked: {line}")));
        let may_grow =
            ALLOWANCE + u64::from(FRAME_BUDGET) + ALLOWANCE_PER_CONNECTION * self.scale.connections as u64;
        let grown = self.after.peak.saturating_sub(self.before.resident);
        if grown > may_grow {
            failures.push(format!("it grew by {} MiB, more than {} MiB", grown >> 20, may_grow >> 20));
        }
        for (what, testimony, patience) in
            [("small", &self.small, PATIENCE_SMALL), ("large", &self.large, PATIENCE_LARGE)]
        {
            failures.extend(
                testimony.complaints(patience).map(|complaint| format!("{what} records: {complaint}")),
            );
        }
        failures.extend(self.attack.complaints());
        failures
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7.1} s  {:>5} MiB  {}", self.took.as_secs_f64(), self.resident >> 20, self.what)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "   took   memory  of the broker after, {} MiB before", self.before.resident >> 20)?;
        for phase in &self.phases {
            writeln!(f, "{phase}")?;
        }
        writeln!(f, "{}", self.attack)?;
        writeln!(f, "small records meanwhile: {}", self.small)?;
        writeln!(f, "large records meanwhile: {}", self.large)?;
        writeln!(
            f,
            "memory at its highest {} MiB, at the end {} MiB",
            self.after.peak >> 20,
            self.after.resident >> 20
        )?;
        match self.failures().as_slice() {
            [] => write!(f, "nothing is wrong"),
            failures => write!(f, "WRONG:\n  {}", failures.join("\n  ")),
        }
    }
}
