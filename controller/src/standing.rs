//! Who may lead when every member of the ISR lost the end of its log with its machine (after KIP-966).
//!
//! Kafka then elects the first member that is back, and the others cut off what it lacks. Here the replicas
//! that may hold more are waited for, all that are there are asked how far their logs reach, and the
//! furthest leads: of two logs the one with the later epoch, and within an epoch the longer one,
//! holds all that the other has of what was committed.

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
    /// Whether ZooKeeper keeps it. While enough members are in sync it is for the moment only.
    pub is_kept: bool,
}

static NOBODY: Outside = Outside { eligible: Vec::new(), uncertain: Vec::new(), is_kept: false };

impl Outside {
    pub fn is_empty(&self) -> bool {
        self.eligible.is_empty() && self.uncertain.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = BrokerId> {
        self.eligible.iter().chain(&self.uncertain).copied()
    }

    /// Leaves out who is none of these.
    pub fn retain(&mut self, replicas: &[BrokerId]) {
        self.eligible.retain(|id| replicas.contains(id));
        self.uncertain.retain(|id| replicas.contains(id));
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

    /// The next controller is to know who counts, however many are in sync. Whether that changes what ZooKeeper has.
    pub fn keep(&mut self) -> bool {
        let is_new = !self.outside.is_kept && !self.outside.is_empty();
        self.outside.is_kept |= is_new;
        is_new
    }

    /// The leader acts by the present state: what it acknowledges from now on, those outside lack. Whether that
    /// changes what ZooKeeper has.
    pub fn leader_heard(&mut self) -> bool {
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
    pub fn outside_after(&self, before: &Leadership, after: &Leadership, min_insync: usize) -> Outside {
        if after.recovery == Recovery::Recovering && before.recovery == Recovery::Recovered {
            // An unclean election begins anew.
            return Outside::default();
        }
        let known = self.outside(before);
        let is_out = |id: &BrokerId| !after.isr.contains(id);
        let members = || before.isr.iter().copied();
        let holds_all = |id: &BrokerId| is_out(id) && !self.losers.contains(id);
        let too_few = after.isr.len() < min_insync;
        let eligible: BTreeSet<BrokerId> = match too_few {
            true => members().chain(known.eligible.iter().copied()).filter(holds_all).collect(),
            false => BTreeSet::new(),
        };
        let others = members().chain(known.all()).filter(is_out);
        let uncertain: BTreeSet<BrokerId> = others.filter(|id| !eligible.contains(id)).collect();
        let mut outside = Outside {
            eligible: eligible.into_iter().collect(),
            uncertain: uncertain.into_iter().collect(),
            is_kept: false,
        };
        let was_kept = known.is_kept && !known.uncertain.is_empty();
        outside.is_kept = (too_few || was_kept) && !outside.is_empty();
        outside
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

    /// ZooKeeper has the list as it is now, or none if nobody is in it.
    pub fn note(&mut self) {
        self.noted = !self.outside.is_empty();
        self.outside.is_kept = self.noted;
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
        let furthest = candidates()
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
mod tests {
    use client::ids::{ControllerEpoch, LeaderEpoch, Offset};

    use super::*;

    const ASSIGNED: [BrokerId; 3] = [BrokerId(1), BrokerId(2), BrokerId(3)];

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().map(|&id| BrokerId(id)).collect()
    }

    fn state(leader: i32, isr: &[i32]) -> Leadership {
        Leadership {
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(7),
            isr: ids(isr),
            recovery: Recovery::Recovered,
            partition_epoch: ZkVersion(9),
            controller_epoch: ControllerEpoch(2),
        }
    }

    fn kept(eligible: &[i32], uncertain: &[i32]) -> Outside {
        Outside { eligible: ids(eligible), uncertain: ids(uncertain), is_kept: true }
    }

    fn end(epoch: i32, offset: i64) -> Option<LogEnd> {
        Some(LogEnd { epoch: LeaderEpoch(epoch), offset: Offset(offset) })
    }

    /// Members that lost records, who is eligible, and what was told.
    fn record(losers: &[i32], eligible: &[i32], told: &[(i32, Option<LogEnd>)]) -> Record {
        let mut record = Record::default();
        record.load(kept(eligible, &[]), ZkVersion(9));
        for &loser in losers {
            record.lost_tail(BrokerId(loser), &ids(losers));
        }
        for &(broker, end) in told {
            record.asked(&[BrokerId(broker)]);
            assert!(record.told(BrokerId(broker), end));
        }
        record
    }

    fn choose(record: &Record, isr: &[i32], online: &[i32], haste: Haste) -> Choice {
        record.choose(&ASSIGNED, &state(-1, isr), &ids(online).into_iter().collect(), haste)
    }

    fn elected(leader: i32, recovery: Recovery) -> Choice {
        let next = Leadership { leader_epoch: LeaderEpoch(8), recovery, ..state(leader, &[leader]) };
        Choice::Elect(next)
    }

    fn wait(replicas: &[i32], any: bool) -> Choice {
        Choice::Wait { replicas: ids(replicas), any }
    }

    #[test]
    fn the_furthest_log_leads_once_everybody_that_counts_is_there_and_has_answered() {
        use Recovery::{Recovered, Recovering};
        let (short, long, later) = (end(4, 80), end(4, 100), end(5, 10));
        // Members that lost records, eligible ones, answers; ISR, online; what comes of it.
        type Case<'a> = (&'a [i32], &'a [i32], &'a [(i32, Option<LogEnd>)], &'a [i32], &'a [i32], Choice);
        let table: &[Case] = &[
            (&[], &[], &[], &[1], &[1, 2], Choice::Usual),
            (&[1], &[], &[], &[1, 2], &[1], Choice::Usual),
            (&[1], &[2], &[], &[1], &[1, 2], Choice::Ask(ids(&[1, 2]))),
            (&[1], &[2], &[(1, short)], &[1], &[1, 2], Choice::Ask(ids(&[2]))),
            // The eligible one is away, and may hold what the member lost.
            (&[1], &[2], &[(1, long)], &[1], &[1], wait(&[2], true)),
            (&[1], &[2, 3], &[(1, long), (3, short)], &[1], &[1, 3], elected(1, Recovered)),
            (&[1], &[2], &[(1, short), (2, long)], &[1], &[1, 2], elected(2, Recovered)),
            // It lost nothing after all, or no more than the other lacks.
            (&[1], &[2], &[(1, long), (2, long)], &[1], &[1, 2], elected(1, Recovered)),
            // A longer log of an earlier epoch holds what nobody acknowledged.
            (&[1], &[2], &[(1, later), (2, long)], &[1], &[1, 2], elected(1, Recovered)),
            // Nobody is eligible: whoever is there, as soon as all members are.
            (&[1, 2], &[], &[(1, short)], &[1, 2], &[1], wait(&[2], false)),
            (&[1, 2], &[], &[(1, short), (2, long)], &[1, 2], &[1, 2], elected(2, Recovered)),
            (&[1], &[], &[(1, short)], &[1], &[1], elected(1, Recovered)),
            (&[1], &[], &[(1, short), (3, long)], &[1], &[1, 3], elected(3, Recovering)),
            (&[1], &[], &[(1, None), (3, None)], &[1], &[1, 3], elected(1, Recovered)),
            (&[1], &[2], &[(1, long), (2, None)], &[1], &[1, 2], elected(2, Recovered)),
        ];
        for (losers, eligible, told, isr, online, expected) in table {
            let record = record(losers, eligible, told);
            let case = format!(
                "lost {losers:?}, eligible {eligible:?}, told {told:?}, isr {isr:?}, online {online:?}"
            );
            assert_eq!(&choose(&record, isr, online, Haste::None), expected, "{case}");
        }
    }

    #[test]
    fn haste_gives_up_what_is_away_and_force_what_is_not_known() {
        let mut waiting = record(&[1], &[2], &[(1, end(4, 80))]);
        assert_eq!(choose(&waiting, &[1], &[1], Haste::None), wait(&[2], true));
        assert_eq!(choose(&waiting, &[1], &[1], Haste::Unclean), elected(1, Recovery::Recovered));
        waiting.asked(&ids(&[3]));
        let silent = Choice::Listen(ids(&[3]));
        assert_eq!(choose(&waiting, &[1], &[1, 3], Haste::Unclean), silent);
        assert_eq!(choose(&waiting, &[1], &[1, 3], Haste::Forced), elected(1, Recovery::Recovered));
        let unasked = record(&[1], &[2], &[]);
        assert_eq!(choose(&unasked, &[1], &[1, 3], Haste::Forced), elected(1, Recovery::Recovered));
        assert_eq!(choose(&unasked, &[1], &[], Haste::Forced), Choice::Usual);
    }

    #[test]
    fn a_word_that_belongs_to_another_version_counts_for_nothing() {
        let mut foreign = Record::default();
        foreign.load(kept(&[2], &[3]), ZkVersion(8));
        foreign.lost_tail(BrokerId(1), &ids(&[1]));
        foreign.asked(&ids(&[1]));
        foreign.told(BrokerId(1), end(4, 80));
        assert_eq!(choose(&foreign, &[1], &[1], Haste::None), elected(1, Recovery::Recovered));
    }

    #[test]
    fn who_leaves_while_too_few_are_in_sync_stays_eligible_until_enough_are() {
        let empty = Record::default();
        let with = |eligible: &[i32]| record(&[], eligible, &[]);
        let after = |record: &Record, before: &[i32], after: &[i32]| {
            record.outside_after(&state(1, before), &state(1, after), 2)
        };
        let for_now =
            |uncertain: &[i32]| Outside { uncertain: ids(uncertain), is_kept: false, ..Outside::default() };
        assert_eq!(after(&empty, &[1, 2, 3], &[1, 2]), for_now(&[3]));
        assert_eq!(after(&empty, &[1, 2], &[1]), kept(&[2], &[]));
        assert_eq!(after(&empty, &[1, 2, 3], &[1]), kept(&[2, 3], &[]));
        assert_eq!(after(&with(&[2]), &[1], &[1]), kept(&[2], &[]));
        assert_eq!(after(&with(&[2]), &[1], &[1, 3]), for_now(&[2]));
        assert_eq!(after(&with(&[2]), &[1], &[2]), kept(&[1], &[]));
        assert_eq!(empty.outside_after(&state(1, &[1, 2]), &state(1, &[1]), 1), for_now(&[2]));
        let mut lasting = Record::default();
        lasting.written(&state(-1, &[1, 2]), for_now(&[3]));
        assert!(lasting.keep() && !lasting.keep());
        assert_eq!(after(&lasting, &[1, 2], &[1, 2]), kept(&[], &[3]));
        // One that lost records may have more than others that did, and an unclean election begins anew.
        assert_eq!(after(&record(&[1], &[], &[]), &[1, 2], &[2]), kept(&[], &[1]));
        let unclean = Leadership { recovery: Recovery::Recovering, ..state(3, &[3]) };
        assert_eq!(with(&[2]).outside_after(&state(-1, &[1]), &unclean, 2), Outside::default());
    }

    #[test]
    fn who_may_hold_more_is_waited_for_until_the_leader_goes_on_without() {
        let mut record = Record::default();
        // 3 left while the leader may have been gone; then 2 left, and lost the end of its log.
        let before = state(1, &[1, 2]);
        record.written(&before, record.outside_after(&state(1, &[1, 2, 3]), &before, 2));
        record.written(&state(1, &[1]), record.outside_after(&before, &state(1, &[1]), 2));
        assert_eq!(record.outside, kept(&[2], &[3]));
        assert!(record.lost_tail(BrokerId(2), &ids(&[1])) && !record.lost_tail(BrokerId(2), &ids(&[1])));
        assert_eq!(record.outside, kept(&[], &[3, 2]));
        let mut told = record.clone();
        // Then 1 did so too.
        record.lost_tail(BrokerId(1), &ids(&[1]));
        record.asked(&ids(&[1]));
        record.told(BrokerId(1), end(4, 90));
        assert_eq!(choose(&record, &[1], &[1], Haste::None), wait(&[3, 2], false));
        assert_eq!(choose(&record, &[1], &[1], Haste::Unclean), elected(1, Recovery::Recovered));
        record.asked(&ids(&[2, 3]));
        record.told(BrokerId(2), end(4, 80));
        record.told(BrokerId(3), end(4, 100));
        assert_eq!(choose(&record, &[1], &[1, 3], Haste::None), wait(&[2], false));
        assert_eq!(choose(&record, &[1], &[1, 2, 3], Haste::None), elected(3, Recovery::Recovered));
        // Or 1 was there all the time.
        assert!(told.leader_heard() && !told.leader_heard());
        assert_eq!(told.outside, kept(&[], &[]));
    }

    #[test]
    fn a_record_lasts_as_long_as_something_depends_on_it() {
        let mut standing = Standing::default();
        let partition = TopicPartition::new("t", 0);
        let noted = standing.change(&partition, |record| record.lost_tail(BrokerId(1), &ids(&[1])));
        let waits = |standing: &Standing| standing.depending_on(BrokerId(1)).next().is_some();
        assert!(!noted && waits(&standing));
        standing.change(&partition, |record| record.written(&state(-1, &[1]), Outside::default()));
        assert!(waits(&standing), "it still has no leader");
        standing.change(&partition, |record| record.written(&state(2, &[2]), Outside::default()));
        assert!(!waits(&standing));
        assert_eq!(standing.get(&partition), None);

        standing.change(&partition, |record| record.load(kept(&[2], &[3]), ZkVersion(9)));
        assert!(standing.change(&partition, |record| record.lost_tail(BrokerId(2), &ids(&[1]))));
        assert!(standing.change(&partition, Record::leader_heard));
        assert!(standing.get(&partition).is_some_and(Record::is_noted), "the node has to go");
        standing.change(&partition, Record::note);
        assert_eq!(standing.get(&partition), None);
    }
}
