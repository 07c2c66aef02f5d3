//! A planned fault becomes what is done to whom, and what will undo it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::arena::{Arena, ArenaError, End, Node, Weather};
use super::load::TOPIC;
use super::plan::Planned;
use super::scenario::{Kind, Role};
use super::stop::{self, Company};
use super::view::Seen;
use crate::checker::Recorder;

/// One thing done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Deed {
    Cut(End, End),
    Weather(Node, Weather),
    Kill(Node),
    /// SIGTERM, and waits for the end.
    Terminate(Node),
    Pause(Node),
    FillDisk(i32),
    SlowDisk(i32, Duration),
    ShiftClock(i32, i64),
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Cut(from, to) => write!(f, "{from} -x-> {to}"),
            Deed::Weather(node, weather) => write!(f, "link of {node}: {weather:?}"),
            Deed::Kill(node) => write!(f, "SIGKILL {node}"),
            Deed::Terminate(node) => write!(f, "SIGTERM {node}"),
            Deed::Pause(node) => write!(f, "SIGSTOP {node}"),
            Deed::FillDisk(broker) => write!(f, "disk of broker-{broker} full"),
            Deed::SlowDisk(broker, delay) => {
                write!(f, "writes of broker-{broker} + {} ms", delay.as_millis())
            }
            Deed::ShiftClock(broker, seconds) => write!(f, "clock of broker-{broker} {seconds:+} s"),
        }
    }
}

/// A fault that has struck.
#[derive(Debug)]
pub(super) struct Struck {
    pub(super) name: &'static str,
    pub(super) role: Role,
    deeds: Vec<Deed>,
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if self.role != Role::Random {
            write!(f, ":{}", self.role)?;
        }
        let deeds: Vec<String> = self.deeds.iter().map(Deed::to_string).collect();
        write!(f, " [{}]", deeds.join(", "))
    }
}

/// Who is up to what at the moment, so that two faults do not get hold of one process, link or disk.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeSet<(What, Node)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Process,
    Link,
    Disk,
    Clock,
}

impl Deed {
    /// What only one fault may have at a time.
    fn takes(&self) -> Option<(What, Node)> {
        match self {
            Deed::Cut(..) => None,
            Deed::Weather(node, _) => Some((What::Link, *node)),
            Deed::Kill(node) | Deed::Terminate(node) | Deed::Pause(node) => Some((What::Process, *node)),
            Deed::FillDisk(broker) => Some((What::Process, Node::Broker(*broker))),
            Deed::SlowDisk(broker, _) => Some((What::Disk, Node::Broker(*broker))),
            Deed::ShiftClock(broker, _) => Some((What::Clock, Node::Broker(*broker))),
        }
    }

    fn commit(&self, arena: &mut dyn Arena, company: Company, recorder: &Recorder) -> Result<(), ArenaError> {
        match *self {
            Deed::Cut(from, to) => arena.cut(from, to),
            Deed::Weather(node, weather) => arena.weather(node, weather),
            Deed::Kill(node) => arena.kill(node),
            Deed::Terminate(node) => {
                stop::stop(arena, node, company.limit())?.iter().for_each(|event| recorder.record(event));
                Ok(())
            }
            Deed::Pause(node) => arena.pause(node),
            Deed::FillDisk(broker) => arena.fill_disk(broker),
            Deed::SlowDisk(broker, delay) => arena.slow_disk(broker, delay),
            Deed::ShiftClock(broker, seconds) => arena.shift_clock(broker, seconds),
        }
    }

    fn undo(&self, arena: &mut dyn Arena) -> Result<(), ArenaError> {
        match *self {
            Deed::Cut(from, to) => arena.heal(from, to),
            Deed::Weather(node, _) => arena.weather(node, Weather::Fair),
            Deed::Kill(node) | Deed::Terminate(node) => arena.start(node),
            // It may have ended by itself; that is told elsewhere.
            Deed::Pause(node) if !arena.is_running(node) => arena.start(node),
            Deed::Pause(node) => arena.resume(node),
            Deed::FillDisk(broker) => {
                arena.free_disk(broker)?;
                // Kafka's rule: a broker without a log directory that works ends; and one that has lost
                // its only one is of no use until it is started again.
                let node = Node::Broker(broker);
                if arena.is_running(node) {
                    arena.kill(node)?;
                }
                arena.start(node)
            }
            Deed::SlowDisk(broker, _) => arena.slow_disk(broker, Duration::ZERO),
            Deed::ShiftClock(broker, _) => arena.shift_clock(broker, 0),
        }
    }
}

impl Struck {
    /// The brokers whose processes it ends, now or when it is undone.
    pub(super) fn ends(&self) -> impl Iterator<Item = i32> {
        self.deeds.iter().filter_map(|deed| match deed {
            Deed::Kill(Node::Broker(id)) | Deed::Terminate(Node::Broker(id)) | Deed::FillDisk(id) => {
                Some(*id)
            }
            _ => None,
        })
    }

    /// Whether it is this fault's to start the node again.
    pub(super) fn holds_down(&self, node: Node) -> bool {
        self.deeds.iter().any(|deed| matches!(deed, Deed::Kill(of) | Deed::Terminate(of) if *of == node))
    }

    /// Whether this fault explains that the node ended.
    pub(super) fn may_end(&self, node: Node) -> bool {
        self.deeds.iter().any(|deed| matches!(deed, Deed::FillDisk(broker) if Node::Broker(*broker) == node))
    }

    pub(super) fn undo(&self, arena: &mut dyn Arena, taken: &mut Taken) -> Result<(), ArenaError> {
        for deed in &self.deeds {
            deed.undo(arena)?;
            if let Some(what) = deed.takes() {
                taken.0.remove(&what);
            }
        }
        Ok(())
    }
}

/// Does what was planned, to whoever it concerns now. `None`: whoever that is has trouble enough.
pub(super) fn strike(
    planned: &Planned,
    arena: &mut dyn Arena,
    taken: &mut Taken,
    seen: Option<&Seen>,
    company: Company,
    recorder: &Recorder,
) -> Result<Option<Struck>, ArenaError> {
    let deeds = deeds(planned, arena, seen);
    if deeds.iter().filter_map(Deed::takes).any(|what| taken.0.contains(&what)) {
        return Ok(None);
    }
    for deed in &deeds {
        deed.commit(arena, company, recorder)?;
    }
    taken.0.extend(deeds.iter().filter_map(Deed::takes));
    Ok(Some(Struck { name: planned.kind.name(), role: planned.role, deeds }))
}

fn deeds(planned: &Planned, arena: &dyn Arena, seen: Option<&Seen>) -> Vec<Deed> {
    let dice = planned.dice;
    let brokers = arena.brokers();
    let servers = zookeepers(planned.role, dice, arena);
    let server = servers.first().copied().unwrap_or(1);
    let id = broker(planned.role, dice, &brokers, seen);
    let victim = Node::Broker(id);
    let peers: Vec<End> =
        brokers.iter().filter(|other| **other != id).map(|other| End::Node(Node::Broker(*other))).collect();
    let zookeeper: Vec<End> =
        arena.zookeepers().into_iter().map(|server| End::Node(Node::ZooKeeper(server))).collect();
    // Below, `dice` is divided where several things are drawn from it.
    let share = dice / 16;
    match planned.kind {
        Kind::DisconnectPeers => both_ways(victim, &peers),
        Kind::DisconnectZooKeeper => both_ways(victim, &zookeeper),
        Kind::DisconnectClients => both_ways(victim, &[End::Clients]),
        Kind::Disconnect => vec![Deed::Weather(victim, Weather::Down)],
        Kind::OneWay => {
            let others = match share % 4 {
                0 => peers,
                1 => zookeeper,
                2 => vec![End::Clients],
                _ => [peers, zookeeper, vec![End::Clients]].concat(),
            };
            let hears = (share / 4).is_multiple_of(2);
            let victim = End::Node(victim);
            let one = |other: End| if hears { Deed::Cut(victim, other) } else { Deed::Cut(other, victim) };
            others.into_iter().map(one).collect()
        }
        Kind::Ring => ring(&brokers),
        Kind::Lossy => vec![Deed::Weather(victim, Weather::Lossy((10 + share % 21) as f64 / 100.0))],
        Kind::SlowLink => vec![Deed::Weather(victim, Weather::Narrow(3_000))],
        Kind::Kill => vec![Deed::Kill(victim)],
        Kind::KillAll => brokers.into_iter().map(|id| Deed::Kill(Node::Broker(id))).collect(),
        Kind::Bounce | Kind::RollingRestart => vec![Deed::Terminate(victim)],
        Kind::Pause => vec![Deed::Pause(victim)],
        Kind::ZooKeeperKill | Kind::ZooKeeperRestart => vec![Deed::Kill(Node::ZooKeeper(server))],
        Kind::ZooKeeperPause => vec![Deed::Pause(Node::ZooKeeper(server))],
        Kind::ZooKeeperQuorum => {
            let majority = servers.len() / 2 + 1;
            servers.into_iter().take(majority).map(|server| Deed::Kill(Node::ZooKeeper(server))).collect()
        }
        Kind::DiskFull => vec![Deed::FillDisk(id)],
        Kind::SlowDisk => vec![Deed::SlowDisk(id, Duration::from_millis(20 + share % 281))],
        Kind::ClockJump => vec![Deed::ShiftClock(id, if share.is_multiple_of(2) { 3_600 } else { -3_600 })],
    }
}

fn both_ways(victim: Node, others: &[End]) -> Vec<Deed> {
    let victim = End::Node(victim);
    others.iter().flat_map(|other| [Deed::Cut(victim, *other), Deed::Cut(*other, victim)]).collect()
}

/// Each hears the one before it, and is heard by the one after it.
fn ring(brokers: &[i32]) -> Vec<Deed> {
    let end = |id: &i32| End::Node(Node::Broker(*id));
    let mut deeds = Vec::new();
    for (at, broker) in brokers.iter().enumerate() {
        for (from, other) in brokers.iter().enumerate() {
            if from != at && (from + 1) % brokers.len() != at {
                deeds.push(Deed::Cut(end(other), end(broker)));
            }
        }
    }
    deeds
}

fn broker(role: Role, dice: u64, brokers: &[i32], seen: Option<&Seen>) -> i32 {
    let random = brokers.get((dice % brokers.len().max(1) as u64) as usize).copied().unwrap_or(1);
    let Some(seen) = seen else { return random };
    let led = seen.led(TOPIC);
    let count = |id: &&i32| led.get(*id).copied().unwrap_or(0);
    let coordinator = || {
        let partition = (super::finale::coordinating_partition(), String::from("__consumer_offsets"));
        seen.states.get(&(partition.1, partition.0)).map(|state| state.leader)
    };
    let found = match role {
        Role::Leader => brokers.iter().max_by_key(count).copied(),
        Role::Follower => brokers.iter().min_by_key(count).copied(),
        Role::Controller => seen.controller,
        Role::Coordinator => coordinator(),
        Role::Random => None,
    };
    found.filter(|id| brokers.contains(id)).unwrap_or(random)
}

/// ZooKeeper's servers, the one to strike first.
fn zookeepers(role: Role, dice: u64, arena: &dyn Arena) -> Vec<i32> {
    let mut servers = arena.zookeepers();
    let first = match role {
        Role::Leader => servers.iter().position(|server| arena.is_zookeeper_leader(*server)),
        _ => None,
    };
    let count = servers.len().max(1);
    servers.rotate_left(first.unwrap_or((dice % count as u64) as usize) % count);
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_ring_each_hears_one_neighbour() {
        let end = |id| End::Node(Node::Broker(id));
        let cuts = [Deed::Cut(end(2), end(1)), Deed::Cut(end(3), end(2)), Deed::Cut(end(1), end(3))];
        assert_eq!(ring(&[1, 2, 3]), cuts);
    }
}
