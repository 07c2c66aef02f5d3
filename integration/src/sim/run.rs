//! One run: machines, ZooKeeper, network and clients on one thread, in the order of one agenda.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Instant;

use broker::log::disk::SimulatedDisk;
use broker::partition::Reader;
use client::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition, Uuid};
use client::znode::partition::{PartitionState, state_path};
use client::znode::topic::{self, PartitionAssignment, TopicAssignment};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::clients::{Acts, Around, Clients, DRAIN, Wake};
use super::counts::Counts;
use super::faults::Fault;
use super::groups::Groups;
use super::message::{MS, Message, Place, SECOND, Tick, Time};
use super::network::Network;
use super::operator::Operator;
use super::process::{Ground, Out, Process, clock};
use super::promises::Promises;
use super::trace::Trace;
use super::zookeeper::ZooKeeper;
use super::{Run, Settings};

pub(super) const TOPIC: &str = "t";
const SESSION_TIMEOUT: Time = 3 * SECOND;
const LOOK_EVERY: Time = 100 * MS;

#[derive(Debug)]
pub(super) enum Event {
    Message {
        from: Place,
        to: Place,
        start: u64,
        message: Message,
    },
    Tick {
        broker: BrokerId,
        start: u64,
        tick: Tick,
    },
    Client(Wake),
    /// Time passes for a member of a group.
    Member(usize),
    Fault,
    Undo(Fault),
    Look,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) disk: SimulatedDisk,
    /// Counts its boots.
    pub(super) boot: u64,
    pub(super) process: Option<Process>,
    /// Counts the starts of its process: what was meant for an earlier one is lost.
    pub(super) start: u64,
    pub(super) paused: bool,
    pub(super) stalled: Vec<Event>,
    pub(super) skew_ms: i64,
    pub(super) disk_fails: bool,
    /// Requests that were on their way when it lost power, and to whom.
    pub(super) ghosts: Vec<(BrokerId, Message)>,
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Simulation {
    pub(super) settings: Settings,
    pub(super) seed: u64,
    pub(super) base: Instant,
    pub(super) now: Time,
    pub(super) agenda: BTreeMap<(Time, u64), Box<Event>>,
    pub(super) entries: u64,
    pub(super) ids: u64,
    pub(super) random: StdRng,
    pub(super) machines: BTreeMap<BrokerId, Machine>,
    pub(super) network: Network,
    pub(super) zookeeper: ZooKeeper,
    pub(super) clients: Clients,
    pub(super) groups: Option<Groups>,
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) operator: Operator,
    pub(super) promises: Promises,
    pub(super) counts: Counts,
    pub(super) trace: Trace,
    pub(super) active: Vec<Fault>,
    /// Records are synced before they are acknowledged.
    pub(super) flushes: bool,
    pub(super) healed_at: Option<Time>,
    pub(super) recovered_at: Option<Time>,
    pub(super) faults: u64,
}

impl Simulation {
    pub(super) fn new(seed: u64, settings: Settings) -> Simulation {
        let mut random = StdRng::seed_from_u64(seed);
        let ids: Vec<BrokerId> = (1..=settings.brokers).map(BrokerId).collect();
        let partitions: Vec<TopicPartition> =
            (0..settings.partitions).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
        let mut zookeeper = ZooKeeper::new(SESSION_TIMEOUT);
        zookeeper.put(topic::path(TOPIC), assignment(&ids, &partitions, 5).encode());
        let groups = settings.groups.then(|| Groups::new(seed));
        if let Some(groups) = &groups {
            let node = assignment(&ids, &groups.partitions, 6);
            zookeeper.put(topic::path(broker::group::TOPIC), node.encode());
        }
        let machine = || Machine {
            disk: SimulatedDisk::new(),
            boot: 0,
            process: None,
            start: 0,
            paused: false,
            stalled: Vec::new(),
            skew_ms: 0,
            disk_fails: false,
            ghosts: Vec::new(),
        };
        let machines = ids.iter().map(|id| (*id, machine())).collect();
        let operator = Operator::default();
        let gap = random.random_range(60 * MS..160 * MS);
        let flushes = settings.flush_before_ack || random.random_range(0..4) == 0;
        let clients = Clients::new(&partitions, &operator.partition, settings.producers, gap);
        Simulation {
            seed,
            base: Instant::now(),
            now: 0,
            agenda: BTreeMap::new(),
            entries: 0,
            ids: 0,
            random,
            machines,
            network: Network::default(),
            zookeeper,
            clients,
            groups,
            partitions,
            operator,
            promises: Promises::default(),
            counts: Counts::default(),
            trace: Trace::new(settings.transcript),
            active: Vec::new(),
            flushes,
            healed_at: None,
            recovered_at: None,
            faults: 0,
            settings,
        }
    }

    pub(super) fn run(mut self) -> Run {
        for id in self.machines.keys().copied().collect::<Vec<_>>() {
            self.start(id);
        }
        for wake in self.clients.first_wakes() {
            self.at(SECOND, Event::Client(wake));
        }
        for member in self.groups.iter().flat_map(Groups::first_wakes).collect::<Vec<_>>() {
            self.at(SECOND, Event::Member(member));
        }
        self.at(4 * SECOND, Event::Fault);
        self.at(LOOK_EVERY, Event::Look);
        while let Some(((time, _), event)) = self.agenda.pop_first() {
            self.now = time;
            self.happen(*event);
            if self.recovered_at.is_some() || !self.promises.broken.is_empty() {
                break;
            }
            if self.healed_at.is_some_and(|at| time > at + DRAIN) {
                let unfinished =
                    self.what_is_missing().unwrap_or_else(|| "a batch is not acknowledged".to_owned());
                self.promises.broke(format!(
                    "not whole again {} s after everything healed: {unfinished}",
                    DRAIN / SECOND
                ));
                break;
            }
        }
        if self.promises.broken.is_empty() {
            self.check_replicas();
            self.check_groups();
        }
        self.counts.add_if(self.recovered_at.is_some(), "whole again at the end");
        self.counts.add_if(self.flushes, "synced before acknowledging");
        self.trace.mix(&[self.random.random()]);
        Run {
            seed: self.seed,
            hash: self.trace.finish(),
            acknowledged: self.promises.acknowledged,
            faults: self.faults,
            seconds: self.now / SECOND,
            recovery_ms: self.recovered_at.zip(self.healed_at).map(|(at, healed)| (at - healed) / MS),
            counts: self.counts,
            broken: self.promises.broken,
            transcript: self.trace.into_lines(),
        }
    }

    pub(super) fn at(&mut self, time: Time, event: Event) {
        self.entries += 1;
        self.agenda.insert((time.max(self.now), self.entries), Box::new(event));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Message { from, to: Place::Broker(id), start, message } => {
                let Some(machine) = self.machines.get_mut(&id) else { return };
                if machine.start != start || machine.process.is_none() {
                    return;
                }
                let accepts = from == Place::ZooKeeper
                    || machine.process.as_ref().is_some_and(|process| process.registration() > 0);
                if machine.paused || !accepts {
                    let to = Place::Broker(id);
                    machine.stalled.push(Event::Message { from, to, start, message });
                    return;
                }
                self.trace.note(self.now, &[1, place_code(from), place_code(Place::Broker(id))], || {
                    format!("{from:?} -> {id}: {}", message.shown())
                });
                message.hash(&mut self.trace);
                self.with(id, |process, out| process.take(from, message, out));
            }
            Event::Message { from, to: Place::ZooKeeper, message, .. } => self.ask_zookeeper(from, message),
            Event::Message { from, to: Place::Clients, message, .. } => {
                self.trace.note(self.now, &[3, place_code(from)], || {
                    format!("{from:?} -> clients: {}", message.shown())
                });
                message.hash(&mut self.trace);
                let message = match message {
                    Message::GroupAnswered { id, answer } => return self.member_told(id, *answer),
                    message => message,
                };
                let mut acknowledged = None;
                let acts = self.with_clients(|clients, promises, around| match message {
                    Message::Produced { id, epoch, result } => {
                        let answered = clients.produced(id, epoch, result, promises, around);
                        acknowledged = answered.acknowledged.clone();
                        answered
                    }
                    Message::Consumed { id, epoch, result } => {
                        clients.consumed(id, epoch, &result, promises);
                        Acts::default()
                    }
                    _ => Acts::default(),
                });
                self.carry_out(acts);
                if let Some(partition) = acknowledged {
                    self.check_in_sync(&partition);
                }
            }
            Event::Tick { broker, start, tick } => {
                let Some(machine) = self.machines.get_mut(&broker) else { return };
                if machine.start != start || machine.process.is_none() {
                    return;
                }
                if machine.paused {
                    machine.stalled.push(Event::Tick { broker, start, tick });
                    return;
                }
                self.trace.note(self.now, &[4, place_code(Place::Broker(broker))], || {
                    format!("{broker}: tick {tick:?}")
                });
                tick.hash(&mut self.trace);
                self.with(broker, |process, out| process.tick(tick, out));
            }
            Event::Client(wake) => {
                (self.now, wake).hash(&mut self.trace);
                let acts = self.with_clients(|clients, _, around| clients.wake(wake, around));
                self.carry_out(acts);
            }
            Event::Member(member) => self.member_passes(member),
            Event::Fault => self.strike(),
            Event::Undo(fault) => self.undo(fault),
            Event::Look => self.look(),
        }
    }

    /// Lets a process do something, and sends what it sends.
    pub(super) fn with(&mut self, id: BrokerId, deed: impl FnOnce(&mut Process, &mut Out<'_>)) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let Some(process) = &mut machine.process else { return };
        let clock = clock(self.base, self.now, machine.skew_ms);
        machine.disk.set_now(clock.unix_ms);
        let mut out = Out::new(self.now, clock, &mut self.ids, &mut self.counts);
        deed(process, &mut out);
        let disk_fails = machine.disk_fails;
        let mut stalled = Vec::new();
        let (sent, ticks, notes) = (out.sent, out.ticks, out.notes);
        for verdict in out.verdicts {
            if let Some(what) = verdict.rarity() {
                self.counts.add(what);
            }
            if let Some(breach) = verdict.breach(id) {
                self.promises.broke(breach);
            }
        }
        for (partition, status) in process.roles().take_changed() {
            (id, &partition, status.epoch, status.leading_since, status.offline).hash(&mut self.trace);
            (status.log_start, status.high_watermark, status.last_stable_offset, status.end)
                .hash(&mut self.trace);
            if !(self.operator.is_leaving() && partition == self.operator.partition) {
                let log = || {
                    let log = process.roles().log_of(&partition, Reader::Coordinator, clock);
                    // Only a disk that fails is a reason.
                    log.or_else(|| (!disk_fails).then(Vec::new))
                };
                self.promises.observe(id, machine.start, &partition, status, &log);
            }
        }
        let (start, has_left, disk_failed) = (machine.start, process.has_left, process.has_lost_its_disk());
        if process.registration() > 0 && !machine.stalled.is_empty() {
            stalled = std::mem::take(&mut machine.stalled);
        }
        self.send_all(Place::Broker(id), sent);
        for note in notes {
            self.judge(id, note);
        }
        for (time, tick) in ticks {
            self.at(time, Event::Tick { broker: id, start, tick });
        }
        // The connections that waited to be accepted.
        for event in stalled {
            self.at(self.now, event);
        }
        if disk_failed {
            if !disk_fails {
                self.promises.broke(format!("{id} gives up a disk that does not fail"));
            }
            self.disk_failed(id);
        } else if has_left {
            self.stop_cleanly(id);
        }
    }

    pub(super) fn send_all(&mut self, from: Place, sent: Vec<(Place, Message)>) {
        for (to, message) in sent {
            self.send(from, to, message);
        }
    }

    pub(super) fn send(&mut self, from: Place, to: Place, message: Message) {
        let start = match to {
            Place::Broker(id) => self.machines.get(&id).map_or(0, |machine| machine.start),
            Place::ZooKeeper | Place::Clients => 0,
        };
        let Simulation { network, random, counts, now, .. } = self;
        let (first, second) = network.arrivals(*now, from, to, &message, random, counts);
        if let Some(time) = first {
            let again = second.map(|time| (time, message.clone()));
            self.at(time, Event::Message { from, to, start, message });
            if let Some((time, message)) = again {
                self.at(time, Event::Message { from, to, start, message });
            }
        }
    }

    fn ask_zookeeper(&mut self, from: Place, message: Message) {
        let (Place::Broker(broker), Message::Zk { session, id, op }) = (from, message) else { return };
        if self.zookeeper.down {
            return;
        }
        self.trace.note(self.now, &[2, place_code(from), session], || {
            format!("{broker} -> zookeeper: {}", op.shown())
        });
        (id, &op).hash(&mut self.trace);
        let reply = self.zookeeper.answer(broker, session, id, op, self.now);
        self.send(Place::ZooKeeper, from, Message::ZkReply { id, reply });
        self.tell_of_changes();
    }

    pub(super) fn tell_of_changes(&mut self) {
        for (holder, session, watch) in self.zookeeper.take_fired() {
            self.send(Place::ZooKeeper, Place::Broker(holder), Message::WatchFired { session, watch });
        }
        for (path, data) in self.zookeeper.take_written() {
            self.state_written(&path, &data);
        }
    }

    /// Who joins an ISR has to hold everything that was acknowledged.
    fn state_written(&mut self, path: &str, data: &[u8]) {
        if !path.ends_with("/state") {
            return;
        }
        let Some(partition) =
            self.partitions_now().find(|p| state_path(&p.topic, p.partition) == path).cloned()
        else {
            return;
        };
        let Ok(state) = PartitionState::decode(data) else { return };
        self.trace.note(self.now, &[5, state.leader_epoch.0 as u64], || {
            format!("{partition}: leader {} epoch {} isr {:?}", state.leader, state.leader_epoch, state.isr)
        });
        (path, data, self.zookeeper.version(path)).hash(&mut self.trace);
        self.counts.add("state written");
        self.counts.add_if(state.isr.len() == 1, "only one in sync");
        self.counts.add_if(state.leader == BrokerId::NONE, "no leader to be had");
        self.count_election(&partition, state.leader, &state.isr);
        let joined = self.promises.written(&partition, &state);
        for member in joined {
            if let Some(held) = self.end_of(member, &partition) {
                self.promises.joins(&partition, member, held);
            }
        }
        self.check_in_sync(&partition);
    }

    /// Who is in sync holds everything that was acknowledged, but for what it lost with its power.
    fn check_in_sync(&mut self, partition: &TopicPartition) {
        for member in self.promises.in_sync(partition).to_vec() {
            if let Some(held) = self.end_of(member, partition) {
                self.promises.is_held(partition, member, held);
            }
        }
    }

    fn end_of(&self, id: BrokerId, partition: &TopicPartition) -> Option<Offset> {
        let status = self.machines.get(&id)?.process.as_ref()?.roles().get(partition)?.status();
        (status.epoch != LeaderEpoch::NONE && !status.offline).then_some(status.end)
    }

    fn with_clients(
        &mut self,
        deed: impl FnOnce(&mut Clients, &mut Promises, &mut Around<'_>) -> Acts,
    ) -> Acts {
        let Simulation { clients, promises, machines, ids, random, now, .. } = self;
        let leader = |partition: &TopicPartition, by: u64| leader_known(machines, partition, by);
        let timestamp_ms = 1_700_000_000_000 + i64::try_from(*now / MS).unwrap_or(0);
        let mut around = Around { now: *now, ids, random, leader: &leader, timestamp_ms };
        deed(clients, promises, &mut around)
    }

    fn carry_out(&mut self, acts: Acts) {
        for (to, message) in acts.sent {
            self.send(Place::Clients, Place::Broker(to), message);
        }
        for (time, wake) in acts.wakes {
            self.at(time, Event::Client(wake));
        }
    }

    pub(super) fn start(&mut self, id: BrokerId) {
        let seed = self.random.random();
        let Some(machine) = self.machines.get_mut(&id) else { return };
        if machine.process.is_some() || machine.disk_fails {
            return;
        }
        machine.start += 1;
        machine.paused = false;
        machine.stalled.clear();
        let clock = clock(self.base, self.now, machine.skew_ms);
        let mut out = Out::new(self.now, clock, &mut self.ids, &mut self.counts);
        let Machine { disk, boot, .. } = &*machine;
        let ground = Ground { disk, boot: boot.to_string(), flushes: self.flushes, seed };
        machine.process = Process::start(id, ground, &mut out);
        let (sent, ticks) = (out.sent, out.ticks);
        let start = machine.start;
        if machine.process.as_ref().is_none_or(Process::has_lost_its_disk) {
            self.promises.broke(format!("{id} does not start on what its disk holds"));
        }
        self.trace.note(self.now, &[6, place_code(Place::Broker(id))], || format!("{id} starts"));
        self.send_all(Place::Broker(id), sent);
        for (time, tick) in ticks {
            self.at(time, Event::Tick { broker: id, start, tick });
        }
    }

    fn stop_cleanly(&mut self, id: BrokerId) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let Some(process) = machine.process.take() else { return };
        let clock = clock(self.base, self.now, machine.skew_ms);
        let mut out = Out::new(self.now, clock, &mut self.ids, &mut self.counts);
        process.stop(&mut out);
        out.counts.add("stopped cleanly");
        let sent = out.sent;
        self.send_all(Place::Broker(id), sent);
        self.at(self.now + SECOND / 2, Event::Undo(Fault::Kill(id)));
    }

    fn look(&mut self) {
        self.at(self.now + LOOK_EVERY, Event::Look);
        self.zookeeper.expire(self.now);
        self.zookeeper.catch_up(self.now);
        self.tell_of_changes();
        self.operate();
        self.count_waits();
        let end = self.settings.seconds * SECOND;
        match self.healed_at {
            None if self.now >= end && self.promises.acknowledged >= self.settings.acknowledgements => {
                self.heal()
            }
            None if self.now >= 3 * end => self.heal(),
            None => {}
            Some(at) => {
                if self.now > at + 2 * SECOND {
                    self.clients.draining = true;
                }
                if self.clients.draining && self.clients.are_done() && self.what_is_missing().is_none() {
                    self.recovered_at = Some(self.now);
                }
            }
        }
    }

    fn heal(&mut self) {
        self.trace.note(self.now, &[9], || "everything heals".to_owned());
        self.healed_at = Some(self.now);
        self.network.heal();
        for fault in std::mem::take(&mut self.active) {
            self.reconnect(fault);
        }
        if self.zookeeper.down {
            self.zookeeper.come_back(self.now);
        }
        for id in self.machines.keys().copied().collect::<Vec<_>>() {
            self.resume(id);
            self.zookeeper.let_lag(id, None);
            self.mend_disk(id);
        }
    }

    pub(super) fn state(&self, partition: &TopicPartition) -> Option<PartitionState> {
        let path = state_path(&partition.topic, partition.partition);
        PartitionState::decode(self.zookeeper.data(&path)?).ok()
    }

    /// The log of a replica below its high watermark.
    pub(super) fn log_of(&self, id: BrokerId, partition: &TopicPartition) -> Option<Vec<u8>> {
        let machine = self.machines.get(&id)?;
        let reader = Reader::Consumer { read_committed: false, leader_only: false };
        let clock = clock(self.base, self.now, machine.skew_ms);
        machine.process.as_ref()?.roles().log_of(partition, reader, clock)
    }
}

/// Who leads, and in which epoch, by the metadata of the broker that the number chooses.
pub(super) fn leader_known(
    machines: &BTreeMap<BrokerId, Machine>,
    partition: &TopicPartition,
    by: u64,
) -> Option<(BrokerId, LeaderEpoch)> {
    let running: Vec<&Process> = machines
        .values()
        .filter(|machine| !machine.paused)
        .filter_map(|machine| machine.process.as_ref())
        .collect();
    let chosen = running.get(usize::try_from(by % running.len().max(1) as u64).unwrap_or(0))?;
    let cluster = chosen.cache().snapshot();
    let known = cluster.partition(&partition.topic, partition.partition)?;
    Some((known.leader?, known.leader_epoch))
}

fn assignment(ids: &[BrokerId], partitions: &[TopicPartition], id: u8) -> TopicAssignment {
    let replicas = |partition: i32| {
        let first = usize::try_from(partition).unwrap_or(0);
        let chosen: Vec<BrokerId> = ids.iter().cycle().skip(first).take(3).copied().collect();
        debug_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 3, "three brokers at least");
        PartitionAssignment::of(chosen)
    };
    let partitions = partitions.iter().map(|p| (p.partition, replicas(p.partition))).collect();
    TopicAssignment { topic_id: Some(Uuid([id; 16])), partitions }
}

fn place_code(place: Place) -> u64 {
    match place {
        Place::Broker(id) => 10 + u64::try_from(id.0).unwrap_or(0),
        Place::ZooKeeper => 1,
        Place::Clients => 2,
    }
}
