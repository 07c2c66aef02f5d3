//! Who may lead when every member of the ISR lost the end of its log with its machine (after KIP-966).
//!
//! Kafka then elects the first member that is back, and the others cut off what it lacks. Here the replicas
//! that may hold more are waited for, all that are there are asked how far their logs reach, and the
//! furthest leads: of two logs of members the one with the later epoch, and within an epoch the longer one,
//! holds all that the other has of what was committed.
//!
//! Not so of one that was away meanwhile: a leader commits what it has from earlier epochs without writing anything
//! in its own, so a log may end in a later epoch with what was overtaken. Members had all that was committed, and what
//! they have left is the beginning of it. So whoever is outside leads only with a longer log: one that is no longer and
//! ends in a later epoch parted from theirs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use client::ids::{BrokerId, TopicPartition, ZkVersion};
use client::znode::commit::LogEnd;

use crate::cluster::{Leadership, Recovery};
use crate::election;

/// How far a replica's log reaches, as far as its broker was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Asked,
    /// `None`: the broker has no log of it, or none that it can read.
    Told(Option<LogEnd>),
}

/// Replicas outside the ISR that count where its members lose the ends of their logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    /// They hold whatever was acknowledged with acks=all.
    pub eligible: Vec<BrokerId>,
    /// They may: until the leader has heard of the state it acknowledges nothing without them. And those that were
    /// eligible and lost something themselves: that may be less than what the others lost.
    pub uncertain: Vec<BrokerId>,
    /// Whether fewer than `min.insync.replicas` are in sync: then nothing is acknowledged with acks=all, whatever the
    /// leader has heard.
    pub is_short: bool,
    /// Whether ZooKeeper keeps it. While enough members are in sync it is for the moment only, until the leader has
    /// answered; it is kept if that takes long.
    pub is_kept: bool,
}

/// Why a state changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The leader asks for it, and acts by it.
    Leader,
    /// A leader is elected, or a replica is gone.
    Controller,
    /// Members of the ISR lost the ends of their logs. Controllers change often when machines stop: the next one is
    /// to know it.
    Stop,
}

static NOBODY: Outside =
    Outside { eligible: Vec::new(), uncertain: Vec::new(), is_short: false, is_kept: false };

impl Outside {
    pub fn is_empty(&self) -> bool {
        self.eligible.is_empty() && self.uncertain.is_empty()
    }

    pub fn all(&self) -> impl Iterator<Item = BrokerId> {
        self.eligible.iter().chain(&self.uncertain).copied()
    }

    /// Leaves out who is none of these.
    pub fn retain(&mut self, replicas: &[BrokerId]) {
        self.eligible.retain(|id| replicas.contains(id));
        self.uncertain.retain(|id| replicas.contains(id));
        self.is_kept &= !self.is_empty();
    }
}

/// What is known of one partition's replicas beyond its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Members of the ISR that lost the ends of their logs.
    losers: BTreeSet<BrokerId>,
    outside: Outside,
    /// The version of the state that `outside` belongs to.
    version: ZkVersion,
    /// Whether ZooKeeper has a node with `outside`, or an older one.
    noted: bool,
    reaches: BTreeMap<BrokerId, Reach>,
}

/// What is to be done for a partition that needs a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Kafka's rule, without those who lost records.
    Usual,
    /// These have to say how far their logs reach.
    Ask(Vec<BrokerId>),
    /// These were asked and have not answered yet.
    Listen(Vec<BrokerId>),
    /// These may hold more than any that is there. With `any` one of them will do.
    Wait {
        replicas: Vec<BrokerId>,
        any: bool,
    },
    Elect(Leadership),
}

/// How much may be lost for the sake of having a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Haste {
    /// Nothing: whoever may hold more is waited for.
    None,
    /// What those hold who are not there (`unclean.leader.election.enable`).
    Unclean,
    /// An operator asks for a leader at once, from what is known now.
    Forced,
}

impl Record {
    pub fn losers(&self) -> &BTreeSet<BrokerId> {
        &self.losers
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.losers.is_empty() && self.outside.is_empty() && !self.noted
    }

    /// As ZooKeeper has it. It counts only for the version of the state that it names.
    pub fn load(&mut self, outside: Outside, version: ZkVersion) {
        *self = Record { outside, version, noted: true, ..Record::default() };
    }

    /// The next controller is to know the list as well. `false`: it will, or there is none.
    pub fn keep(&mut self) -> bool {
        let is_new = self.is_unkept();
        self.outside.is_kept |= is_new;
        is_new
    }

    /// Another controller took this broker out of the ISR and did not come to say more. What ZooKeeper keeps for the
    /// same state says all.
    pub fn departed(&mut self, broker: BrokerId, version: ZkVersion) {
        if self.version != version {
            (self.outside, self.version) = (Outside::default(), version);
        }
        if !self.outside.is_kept && !self.outside.uncertain.contains(&broker) {
            self.outside.uncertain.push(broker);
        }
    }

    fn is_unkept(&self) -> bool {
        !self.outside.is_empty() && !self.outside.is_kept
    }

    /// The broker came back, and its log may lack its end. Whether that changes what ZooKeeper has.
    pub fn lost_tail(&mut self, broker: BrokerId, isr: &[BrokerId]) -> bool {
        if isr.contains(&broker) {
            self.losers.insert(broker);
        }
        self.reaches.remove(&broker);
        let Outside { eligible, uncertain, .. } = &mut self.outside;
        let Some(place) = eligible.iter().position(|&id| id == broker) else { return false };
        eligible.remove(place);
        uncertain.push(broker);
        true
    }

    /// The leader acts by the present state: what it acknowledges from now on, those outside lack. Whether that
    /// changes what ZooKeeper has.
    pub fn leader_heard(&mut self) -> bool {
        if self.outside.is_short {
            return false;
        }
        !std::mem::take(&mut self.outside.uncertain).is_empty() && self.outside.is_kept
    }

    /// What the broker said is no longer so: it is gone, or another run of it is there.
    pub fn forget_reach(&mut self, broker: BrokerId) {
        self.reaches.remove(&broker);
    }

    pub fn asked(&mut self, brokers: &[BrokerId]) {
        self.reaches.extend(brokers.iter().map(|&id| (id, Reach::Asked)));
    }

    /// Takes an answer. `false`: nobody waits for it.
    pub fn told(&mut self, broker: BrokerId, end: Option<LogEnd>) -> bool {
        match self.reaches.get_mut(&broker) {
            Some(reach) => {
                *reach = Reach::Told(end);
                true
            }
            None => false,
        }
    }

    /// Who counts once the state has gone from `before` to `after`. While fewer than `min_insync` are in sync nothing
    /// is acknowledged with acks=all, and who leaves has all that was; with enough of them, those outside fall
    /// behind as soon as the leader knows that it need not wait for them.
    pub fn outside_after(
        &self,
        before: &Leadership,
        after: &Leadership,
        min_insync: usize,
        cause: Cause,
    ) -> Outside {
        let is_short = after.isr.len() < min_insync;
        // An unclean election begins anew.
        let is_unclean = after.recovery == Recovery::Recovering && before.recovery == Recovery::Recovered;
        if is_unclean || cause == Cause::Leader && !is_short {
            return Outside::default();
        }
        let known = self.outside(before);
        let uncertain = match cause {
            Cause::Leader if !known.is_short => &[][..],
            Cause::Leader | Cause::Controller | Cause::Stop => &known.uncertain,
        };
        let is_out = |id: &BrokerId| !after.isr.contains(id);
        let members = || before.isr.iter().chain(&known.eligible).copied().filter(is_out);
        let eligible: BTreeSet<BrokerId> = match is_short {
            true => members().filter(|id| !self.losers.contains(id)).collect(),
            false => BTreeSet::new(),
        };
        let others = members().chain(uncertain.iter().copied().filter(is_out));
        let uncertain: BTreeSet<BrokerId> = others.filter(|id| !eligible.contains(id)).collect();
        let is_anybody = !eligible.is_empty() || !uncertain.is_empty();
        let was_kept = known.is_kept && !known.uncertain.is_empty();
        Outside {
            eligible: eligible.into_iter().collect(),
            uncertain: uncertain.into_iter().collect(),
            is_short,
            is_kept: is_anybody && (is_short || was_kept || cause == Cause::Stop),
        }
    }

    /// A state was written, with the list of those who count now.
    pub fn written(&mut self, state: &Leadership, outside: Outside) {
        self.read(state);
        self.version = state.partition_epoch;
        self.noted = outside.is_kept;
        self.outside = outside;
    }

    /// A state was read that somebody else wrote.
    pub fn read(&mut self, state: &Leadership) {
        if self.version != state.partition_epoch {
            self.outside = Outside::default();
        }
        if state.leader == BrokerId::NONE {
            self.losers.retain(|id| state.isr.contains(id));
        } else {
            self.losers.clear();
            self.reaches.clear();
        }
    }

    /// Whether ZooKeeper has a list, this one or an older one.
    pub fn is_noted(&self) -> bool {
        self.noted
    }

    /// Whether ZooKeeper has a list since it was written anew.
    pub fn note(&mut self, is_there: bool) {
        self.noted = is_there;
        self.outside.is_kept = is_there && !self.outside.is_empty();
    }

    /// ZooKeeper has a list that somebody else left.
    pub fn found(&mut self) {
        self.noted = true;
        self.outside.is_kept = false;
    }

    /// Those that count for this state.
    pub fn outside(&self, state: &Leadership) -> &Outside {
        if self.version == state.partition_epoch { &self.outside } else { &NOBODY }
    }

    pub fn choose(
        &self,
        assigned: &[BrokerId],
        current: &Leadership,
        online: &BTreeSet<BrokerId>,
        haste: Haste,
    ) -> Choice {
        if self.losers.is_empty() || current.isr.iter().any(|id| !self.losers.contains(id)) {
            return Choice::Usual;
        }
        let candidates = || assigned.iter().copied().filter(|id| online.contains(id));
        if haste < Haste::Forced {
            let unknown: Vec<BrokerId> = candidates().filter(|id| !self.reaches.contains_key(id)).collect();
            if !unknown.is_empty() {
                return Choice::Ask(unknown);
            }
            let silent: Vec<BrokerId> =
                candidates().filter(|id| self.reaches.get(id) == Some(&Reach::Asked)).collect();
            if !silent.is_empty() {
                return Choice::Listen(silent);
            }
        }
        if haste == Haste::None
            && let Some(wait) = self.missing(current, online)
        {
            return wait;
        }
        let end = |id: &BrokerId| match self.reaches.get(id) {
            Some(Reach::Told(end)) => *end,
            Some(Reach::Asked) | None => None,
        };
        // An eligible replica that cannot be asked, on a broker of Kafka's, holds what counts.
        let outside = self.outside(current);
        let holds_all = |id: &BrokerId| end(id).is_none() && outside.eligible.contains(id);
        let counts = |id: &BrokerId| current.isr.contains(id) || outside.eligible.contains(id);
        let inside = candidates().filter(counts).filter_map(|id| end(&id)).max();
        let length = |end: LogEnd| end.offset;
        let is_longer = |id: &BrokerId| end(id).map(length) > inside.map(length);
        let furthest = candidates()
            .filter(|id| counts(id) || inside.is_none() || is_longer(id))
            .enumerate()
            .max_by_key(|(place, id)| (holds_all(id), end(id), current.isr.contains(id), Reverse(*place)));
        match furthest {
            Some((_, leader)) => {
                let is_whole = current.isr.contains(&leader) || outside.all().any(|id| id == leader);
                let recovery = if is_whole { current.recovery } else { Recovery::Recovering };
                Choice::Elect(election::alone(current, leader, recovery))
            }
            None => Choice::Usual,
        }
    }

    /// Who may hold more and is not there.
    fn missing(&self, current: &Leadership, online: &BTreeSet<BrokerId>) -> Option<Choice> {
        let Outside { eligible, uncertain, .. } = self.outside(current);
        if eligible.iter().any(|id| online.contains(id)) {
            return None;
        }
        if !eligible.is_empty() {
            return Some(Choice::Wait { replicas: eligible.clone(), any: true });
        }
        let away: Vec<BrokerId> =
            current.isr.iter().chain(uncertain).copied().filter(|id| !online.contains(id)).collect();
        (!away.is_empty()).then_some(Choice::Wait { replicas: away, any: false })
    }
}

/// The records of those partitions that have something to remember.
#[derive(Debug, Default)]
pub struct Standing {
    records: BTreeMap<TopicPartition, Record>,
}

impl Standing {
    pub fn get(&self, partition: &TopicPartition) -> Option<&Record> {
        self.records.get(partition)
    }

    /// Changes a record, and drops it if nothing is left to remember.
    pub fn change<T>(&mut self, partition: &TopicPartition, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut record = self.records.remove(partition).unwrap_or_default();
        let result = change(&mut record);
        if !record.is_empty() {
            self.records.insert(partition.clone(), record);
        }
        result
    }

    pub fn remove(&mut self, partition: &TopicPartition) -> Option<Record> {
        self.records.remove(partition)
    }

    /// The partitions whose lists nobody else knows.
    pub fn unkept(&self) -> impl Iterator<Item = &TopicPartition> {
        self.records.iter().filter(|(_, record)| record.is_unkept()).map(|(partition, _)| partition)
    }

    /// Whom those lists name.
    pub fn unkept_brokers(&self) -> BTreeSet<BrokerId> {
        let unkept = self.records.values().filter(|record| record.is_unkept());
        unkept.flat_map(|record| record.outside.all()).collect()
    }

    /// What this broker said counts no more.
    pub fn forget_reaches(&mut self, broker: BrokerId) {
        for record in self.records.values_mut() {
            record.forget_reach(broker);
        }
    }

    /// The partitions that wait because this broker lost records.
    pub fn depending_on(&self, broker: BrokerId) -> impl Iterator<Item = &TopicPartition> {
        let waits = move |(_, record): &(&TopicPartition, &Record)| record.losers.contains(&broker);
        self.records.iter().filter(waits).map(|(partition, _)| partition)
    }

    /// Those outside the lead for what they lost.
    pub fn losers(&self, partition: &TopicPartition) -> impl Iterator<Item = BrokerId> {
        self.records.get(partition).into_iter().flat_map(|record| record.losers.iter().copied())
    }
}

#[cfg(test)]
mod tests;
