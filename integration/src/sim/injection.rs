//! How things go wrong in a run, and how they heal.

use std::collections::BTreeSet;
use std::hash::Hash;

use broker::log::disk;
use client::ids::BrokerId;
use rand::Rng;

use super::faults::{Fault, Targets};
use super::message::{MS, Place, SECOND};
use super::run::{Event, Simulation};

impl Simulation {
    pub(super) fn strike(&mut self) {
        let next = self.now + self.random.random_range(300 * MS..3 * SECOND);
        if self.now >= self.settings.seconds * SECOND {
            return;
        }
        self.at(next, Event::Fault);
        let brokers: Vec<BrokerId> = self.machines.keys().copied().collect();
        let of_groups = self.groups.iter().flat_map(|groups| &groups.partitions);
        let partitions: Vec<_> = self.partitions.iter().chain(of_groups).cloned().collect();
        let index = self.random.random_range(0..partitions.len().max(1));
        let leader = partitions.get(index).and_then(|p| self.state(p)).map(|state| state.leader);
        let targets = Targets {
            brokers: &brokers,
            controller: self.zookeeper.controller(),
            leader: leader.filter(|id| *id != BrokerId::NONE),
        };
        let Some(fault) = Fault::draw(&mut self.random, &targets) else { return };
        let lasts = fault.lasts(&mut self.random);
        self.faults += 1;
        self.counts.add(fault.kind());
        fault.hash(&mut self.trace);
        self.trace.note(self.now, &[7, lasts], || format!("FAULT {fault:?} for {} ms", lasts / MS));
        self.active.push(fault);
        self.inject(fault);
        self.at(self.now + lasts, Event::Undo(fault));
    }

    fn others(&self, id: BrokerId) -> Vec<BrokerId> {
        self.machines.keys().copied().filter(|other| *other != id).collect()
    }

    fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(id) => self.kill(id),
            Fault::KillAll => {
                for id in self.machines.keys().copied().collect::<Vec<_>>() {
                    self.kill(id);
                }
            }
            Fault::PowerCut(id) => self.lose_power(&[id]),
            Fault::PowerCuts(one, other) => self.cut_power(&[one, other]),
            Fault::Blackout => self.cut_power(&self.machines.keys().copied().collect::<Vec<_>>()),
            Fault::Pause(id) => {
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.paused = true;
                }
            }
            Fault::Bounce(id) => self.with(id, |process, out| process.leave(out)),
            Fault::Expire(id) => {
                if !self.zookeeper.down {
                    self.zookeeper.expire_sessions_of(id);
                    self.tell_of_changes();
                }
            }
            Fault::ZooKeeperDown => self.zookeeper.down = true,
            Fault::Slow(id) => drop(self.network.slow.insert(Place::Broker(id))),
            Fault::Lossy => self.network.lossy = 15,
            Fault::Doubling => self.network.doubling = 20,
            Fault::LateWatches => self.network.late_watches = true,
            Fault::ClockJump(id) => {
                let jump = self.random.random_range(-3_600_000..3_600_000);
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.skew_ms = jump;
                }
            }
            Fault::DiskFull(id) => {
                let room = self.random.random_range(0..4_000);
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.disk.set_room(Some(room));
                    machine.disk_fails = true;
                }
            }
            Fault::DiskFails(id) => {
                let everything = || "/".to_owned();
                let failure = match self.random.random() {
                    true => disk::Fault::Write(everything()),
                    false => disk::Fault::Sync(everything()),
                };
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.disk.inject(failure);
                    machine.disk_fails = true;
                }
            }
            Fault::LaggingZooKeeper(id) => {
                let lag = self.random.random_range(10 * MS..1_500 * MS);
                self.zookeeper.let_lag(id, Some(lag));
            }
            _ => {
                for (from, to) in self.links(fault) {
                    self.network.cut(from, to);
                }
            }
        }
    }

    /// Of several machines; each comes back in its own time.
    fn cut_power(&mut self, ids: &[BrokerId]) {
        self.lose_power(ids);
        for fault in ids.iter().map(|id| Fault::PowerCut(*id)) {
            let lasts = fault.lasts(&mut self.random);
            self.active.push(fault);
            self.at(self.now + lasts, Event::Undo(fault));
        }
    }

    /// Which directions a fault cuts.
    fn links(&self, fault: Fault) -> Vec<(Place, Place)> {
        let both = |a: Place, b: Place| [(a, b), (b, a)];
        match fault {
            Fault::Cut(a, b) => both(Place::Broker(a), Place::Broker(b)).into(),
            Fault::OneWay(a, b) => vec![(Place::Broker(a), Place::Broker(b))],
            Fault::Isolate(id) => {
                let others = self.others(id).into_iter();
                others.flat_map(|other| both(Place::Broker(id), Place::Broker(other))).collect()
            }
            Fault::FromZooKeeper(id) => both(Place::Broker(id), Place::ZooKeeper).into(),
            Fault::DeafToZooKeeper(id) => vec![(Place::ZooKeeper, Place::Broker(id))],
            Fault::FromClients(id) => both(Place::Broker(id), Place::Clients).into(),
            _ => Vec::new(),
        }
    }

    pub(super) fn kill(&mut self, id: BrokerId) {
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.process = None;
            machine.stalled.clear();
            machine.paused = false;
        }
    }

    pub(super) fn undo(&mut self, fault: Fault) {
        self.active.retain(|active| *active != fault);
        fault.hash(&mut self.trace);
        self.trace.note(self.now, &[8], || format!("HEAL {fault:?}"));
        match fault {
            Fault::Kill(id) => self.start(id),
            Fault::PowerCut(id) => {
                self.be_taken_for_dead(id);
                self.start(id);
                self.come_back_badly(id);
            }
            Fault::KillAll => {
                for id in self.machines.keys().copied().collect::<Vec<_>>() {
                    self.start(id);
                }
            }
            Fault::Pause(id) => self.resume(id),
            Fault::ZooKeeperDown => {
                if self.zookeeper.down {
                    self.zookeeper.come_back(self.now);
                }
            }
            Fault::Slow(id) => drop(self.network.slow.remove(&Place::Broker(id))),
            Fault::Lossy => self.network.lossy = 0,
            Fault::Doubling => self.network.doubling = 0,
            Fault::LateWatches => self.network.late_watches = false,
            Fault::ClockJump(id) => {
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.skew_ms = 0;
                }
            }
            Fault::DiskFull(id) | Fault::DiskFails(id) => self.mend_disk(id),
            Fault::LaggingZooKeeper(id) => self.zookeeper.let_lag(id, None),
            Fault::Bounce(_) | Fault::Expire(_) | Fault::PowerCuts(..) | Fault::Blackout => {}
            _ => {
                for (from, to) in self.links(fault) {
                    self.network.mend(from, to);
                }
                self.reconnect(fault);
            }
        }
    }

    /// What ZooKeeper sent through a cut is lost, and with it the connection, be the cut ever so short.
    pub(super) fn reconnect(&mut self, fault: Fault) {
        let (Fault::FromZooKeeper(id) | Fault::DeafToZooKeeper(id)) = fault else { return };
        if let Some(process) = self.machines.get_mut(&id).and_then(|machine| machine.process.as_mut()) {
            process.doubt_zookeeper();
        }
    }

    /// While a machine boots nobody listens there: others may see that its broker is gone, and remove its
    /// registration (`controller::lookout`).
    fn be_taken_for_dead(&mut self, id: BrokerId) {
        let is_dead = self.machines.get(&id).is_some_and(|machine| machine.process.is_none());
        if is_dead && !self.zookeeper.down && self.random.random() {
            self.zookeeper.expire_sessions_of(id);
            self.tell_of_changes();
        }
    }

    /// What the machine sent before it lost power arrives only now, and some of its links are not up yet.
    fn come_back_badly(&mut self, id: BrokerId) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let mut leaders = BTreeSet::new();
        for (leader, message) in std::mem::take(&mut machine.ghosts) {
            leaders.insert(leader);
            let (from, to) = (Place::Broker(id), Place::Broker(leader));
            let start = self.machines.get(&leader).map_or(0, |machine| machine.start);
            for _ in 0..3 {
                self.counts.add("request of a former life");
                let time = self.now + self.random.random_range(5 * MS..1_500 * MS);
                self.at(time, Event::Message { from, to, start, message: message.clone() });
            }
        }
        if self.healed_at.is_some() {
            return;
        }
        for leader in leaders {
            if self.random.random() {
                let fault = Fault::Cut(id, leader);
                self.active.push(fault);
                self.inject(fault);
                let lasts = self.random.random_range(100 * MS..2 * SECOND);
                self.at(self.now + lasts, Event::Undo(fault));
            }
        }
    }

    /// A broker stops when its only disk fails.
    pub(super) fn disk_failed(&mut self, id: BrokerId) {
        self.counts.add("stopped since its disk failed");
        self.trace.note(self.now, &[10], || format!("{id} stops: its disk failed"));
        self.kill(id);
    }

    /// Somebody sees to the disk and starts the broker.
    pub(super) fn mend_disk(&mut self, id: BrokerId) {
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.disk.heal();
            machine.disk.set_room(None);
            machine.disk_fails = false;
        }
        self.start(id);
    }

    pub(super) fn resume(&mut self, id: BrokerId) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.paused = false;
        for event in std::mem::take(&mut machine.stalled) {
            self.at(self.now, event);
        }
    }
}
