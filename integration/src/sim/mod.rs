//! A cluster in one thread, from one number: the real controller, partitions, logs and fences, with
//! a model ZooKeeper, network, disk and clock around them.
//!
//! The same seed gives the same run, so that a failure can be looked at as often as one likes. What
//! the model writes once more is what the shells do: sockets, tasks, timers. It decides nothing
//! about replication: every decision is a call into `controller` or `broker`.

mod clients;
mod counts;
mod digest;
mod ending;
mod faults;
mod groups;
mod injection;
mod losses;
mod message;
mod network;
mod operator;
mod process;
mod promises;
mod reign;
mod run;
mod trace;
mod verdict;
mod zookeeper;

use std::fmt;

pub use counts::Counts;
pub use faults::KINDS as FAULTS;

/// A run with less proves little.
const SECONDS_LEAST: u64 = 60;
const ACKNOWLEDGEMENTS_LEAST: u64 = 1_000;
const FAULTS_LEAST: u64 = 5;

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Three or more; every partition has three replicas, of which two have to be in sync.
    pub brokers: i32,
    pub partitions: i32,
    pub producers: usize,
    /// How long things go wrong, in simulated seconds; longer if too little was acknowledged.
    pub seconds: u64,
    pub acknowledgements: u64,
    /// Every run syncs records before it acknowledges them (`flush.before.ack`); otherwise one in four does.
    pub flush_before_ack: bool,
    /// Whether there are consumer groups.
    pub groups: bool,
    /// Keeps the end of what happened as text.
    pub transcript: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            brokers: 4,
            partitions: 3,
            producers: 3,
            seconds: SECONDS_LEAST,
            acknowledgements: ACKNOWLEDGEMENTS_LEAST,
            flush_before_ack: false,
            groups: true,
            transcript: false,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    pub seed: u64,
    /// Of every message that arrived with what it said, every tick, wake and fault, every state written and every change
    /// of a replica's epoch, role and offsets, each with its time, and of what chance would have said next: runs that
    /// differ in any of it differ here, but for chance of one in 2^64. The same in every process.
    pub hash: u64,
    pub acknowledged: u64,
    pub faults: u64,
    /// Simulated.
    pub seconds: u64,
    /// From the end of all faults until the cluster was whole; `None` if it never was.
    pub recovery_ms: Option<u64>,
    pub counts: Counts,
    /// The promises that were broken; the run ends with the first.
    pub broken: Vec<String>,
    pub transcript: Vec<String>,
}

impl Run {
    /// Why the run is no proof: promises were broken, or too little was done or went wrong. `None`: it is one.
    pub fn failure(&self) -> Option<String> {
        if let Some(broken) = self.broken.first() {
            return Some(format!("BROKEN: {broken}"));
        }
        let enough = [
            ("simulated seconds", self.seconds, SECONDS_LEAST),
            ("acknowledgements", self.acknowledged, ACKNOWLEDGEMENTS_LEAST),
            ("faults", self.faults, FAULTS_LEAST),
        ];
        let lacking = enough.into_iter().find(|(_, seen, least)| seen < least);
        lacking.map(|(what, seen, least)| format!("TOO LITTLE: {seen} {what}, where {least} are the least"))
    }
}

/// Runs a cluster.
pub fn run(seed: u64, settings: Settings) -> Run {
    run::Simulation::new(seed, settings).run()
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} s, {} acknowledged, {} faults, trace {:016x}",
            self.seed, self.seconds, self.acknowledged, self.faults, self.hash
        )?;
        match self.failure() {
            Some(failure) if self.broken.is_empty() => write!(f, "\n  {failure}"),
            _ => self.broken.iter().try_for_each(|broken| write!(f, "\n  BROKEN: {broken}")),
        }
    }
}
