//! What goes wrong.

use client::ids::BrokerId;
use rand::Rng;
use rand::rngs::StdRng;

use super::message::{MS, SECOND, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fault {
    /// The process dies; what it wrote stays in the page cache.
    Kill(BrokerId),
    KillAll,
    /// The machine loses power: what was never synced is lost, or all of it kept by chance.
    PowerCut(BrokerId),
    /// Two at once.
    PowerCuts(BrokerId, BrokerId),
    /// All at once.
    Blackout,
    /// SIGSTOP, perhaps for longer than the session.
    Pause(BrokerId),
    /// Controlled shutdown and start.
    Bounce(BrokerId),
    Cut(BrokerId, BrokerId),
    OneWay(BrokerId, BrokerId),
    /// From all other brokers, not from ZooKeeper.
    Isolate(BrokerId),
    FromZooKeeper(BrokerId),
    /// It is heard by ZooKeeper, and hears nothing.
    DeafToZooKeeper(BrokerId),
    FromClients(BrokerId),
    ZooKeeperDown,
    Expire(BrokerId),
    Slow(BrokerId),
    Lossy,
    Doubling,
    LateWatches,
    ClockJump(BrokerId),
    /// Writes go so far and no further.
    DiskFull(BrokerId),
    /// Writes, or syncs, fail with EIO.
    DiskFails(BrokerId),
    /// The server this broker is connected to is behind the others.
    LaggingZooKeeper(BrokerId),
}

/// Every kind, as it is counted.
pub const KINDS: [&str; 23] = [
    "fault: kill",
    "fault: kill all",
    "fault: power cut",
    "fault: pause",
    "fault: bounce",
    "fault: cut between brokers",
    "fault: cut one way",
    "fault: isolated from brokers",
    "fault: cut from zookeeper",
    "fault: deaf to zookeeper",
    "fault: cut from clients",
    "fault: zookeeper down",
    "fault: session expired",
    "fault: slow links",
    "fault: messages lost",
    "fault: requests doubled",
    "fault: late watches",
    "fault: clock jump",
    "fault: disk full",
    "fault: disk fails",
    "fault: zookeeper lags",
    "fault: two power cuts",
    "fault: blackout",
];

/// Who may be struck.
#[derive(Debug)]
pub(super) struct Targets<'a> {
    pub brokers: &'a [BrokerId],
    pub controller: Option<BrokerId>,
    pub leader: Option<BrokerId>,
}

impl Fault {
    pub(super) fn kind(self) -> &'static str {
        let index = match self {
            Fault::Kill(_) => 0,
            Fault::KillAll => 1,
            Fault::PowerCut(_) => 2,
            Fault::Pause(_) => 3,
            Fault::Bounce(_) => 4,
            Fault::Cut(..) => 5,
            Fault::OneWay(..) => 6,
            Fault::Isolate(_) => 7,
            Fault::FromZooKeeper(_) => 8,
            Fault::DeafToZooKeeper(_) => 9,
            Fault::FromClients(_) => 10,
            Fault::ZooKeeperDown => 11,
            Fault::Expire(_) => 12,
            Fault::Slow(_) => 13,
            Fault::Lossy => 14,
            Fault::Doubling => 15,
            Fault::LateWatches => 16,
            Fault::ClockJump(_) => 17,
            Fault::DiskFull(_) => 18,
            Fault::DiskFails(_) => 19,
            Fault::LaggingZooKeeper(_) => 20,
            Fault::PowerCuts(..) => 21,
            Fault::Blackout => 22,
        };
        KINDS.get(index).copied().unwrap_or("fault")
    }

    /// `None`: nobody to strike.
    pub(super) fn draw(random: &mut StdRng, targets: &Targets<'_>) -> Option<Fault> {
        let any = |random: &mut StdRng| {
            let index = random.random_range(0..targets.brokers.len().max(1));
            targets.brokers.get(index).copied()
        };
        let aimed = |random: &mut StdRng| match random.random_range(0..4) {
            0 => targets.controller.or(targets.leader),
            1 => targets.leader,
            _ => any(random),
        };
        let target = aimed(random)?;
        let other = any(random)?;
        Some(match random.random_range(0..33) {
            0..4 => Fault::Kill(target),
            4 => Fault::KillAll,
            5..8 => Fault::PowerCut(target),
            8..10 => Fault::Pause(target),
            10 => Fault::Bounce(target),
            11..13 if other != target => Fault::Cut(target, other),
            13 if other != target => Fault::OneWay(target, other),
            14..16 => Fault::Isolate(target),
            16 => Fault::FromZooKeeper(target),
            17 => Fault::DeafToZooKeeper(target),
            18 => Fault::FromClients(target),
            19 => Fault::ZooKeeperDown,
            20 => Fault::Expire(target),
            21 => Fault::Slow(target),
            22 => Fault::Lossy,
            23 => Fault::Doubling,
            24 => Fault::LateWatches,
            25 => Fault::ClockJump(target),
            26 => Fault::DiskFull(target),
            27 => Fault::DiskFails(target),
            28..30 => Fault::LaggingZooKeeper(target),
            30..32 if other != target => Fault::PowerCuts(target, other),
            32 => Fault::Blackout,
            _ => Fault::Isolate(target),
        })
    }

    /// How long it lasts.
    pub(super) fn lasts(self, random: &mut StdRng) -> Time {
        match self {
            // Longer or shorter than a session.
            Fault::PowerCut(_) => random.random_range(50 * MS..7 * SECOND),
            Fault::Kill(_) | Fault::KillAll => random.random_range(50 * MS..4 * SECOND),
            Fault::Expire(_) | Fault::Bounce(_) => SECOND,
            _ => random.random_range(200 * MS..6 * SECOND),
        }
    }
}
