//! What machines lost together with their power, and what may be gone for good by that.
//!
//! A record that was acknowledged may be lost only if power was lost by the machine of every replica that counts for
//! its partition (the in-sync set, and those listed as eligible), the last one before any other was in sync again;
//! never what all of them kept. And of those in sync when somebody leads again, nobody may have kept more.
//! Whatever is lost otherwise breaks a promise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use broker::log::disk::SimulatedDisk;
use broker::log::{Disk, Log, LogDirs, LogDirsOptions};
use client::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use client::znode::eligible_replicas::{self, EligibleReplicas};
use client::znode::partition::state_path;
use client::znode::unclean_stop::{UNCLEAN_STOPS, UncleanStop};
use rand::Rng;

use super::process::{Process, topic_config};
use super::run::Simulation;

/// The offsets that a replica's log lacks since its machine lost power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail {
    from: Offset,
    to: Offset,
}

/// A replica whose machine lost power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hit {
    /// How far its log still is what it was, or has become again.
    kept: Offset,
    /// Where its log ends instead, if what had been cut off it came back: that was not synced either.
    stray: Option<Offset>,
}

/// What every replica that counts has lost.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// All kept what is before.
    from: Offset,
    /// The newest at that time: what was stored later is not meant.
    epoch: LeaderEpoch,
    /// Somebody leads since, and has what there is left.
    is_settled: bool,
}

/// Of one partition.
#[derive(Debug, Default)]
pub(super) struct Losses {
    tails: BTreeMap<BrokerId, Tail>,
    /// Since they were last found to be in sync.
    hit: BTreeMap<BrokerId, Hit>,
    /// What the next leader has to hold: as much as any other that was in sync kept.
    owed: BTreeMap<BrokerId, Offset>,
    gaps: Vec<Gap>,
}

impl Losses {
    /// A machine lost power: the replica's log ended at `before`, ends at `after` now, and is the same up to `kept`.
    pub(super) fn cut(&mut self, broker: BrokerId, before: Offset, kept: Offset, after: Offset) {
        // What is the same as before may have come back then already.
        let was_cut = self.hit.get(&broker).filter(|hit| hit.stray.is_some());
        let kept = was_cut.map_or(kept, |hit| hit.kept.min(kept));
        self.hit.insert(broker, Hit { kept, stray: (after > kept).then_some(after) });
        if kept < before {
            let tail = self.tails.entry(broker).or_insert(Tail { from: kept, to: before });
            *tail = Tail { from: tail.from.min(kept), to: tail.to.max(before) };
        }
    }

    /// The replica's log reaches so far again.
    pub(super) fn reaches(&mut self, broker: BrokerId, end: Offset) {
        if let Some(hit) = self.hit.get_mut(&broker) {
            match hit.stray {
                // A leader cuts off what came back.
                Some(stray) if end < stray => *hit = Hit { kept: hit.kept.min(end), stray: None },
                // It appends only what continues the leader's log.
                Some(stray) if end > stray => *hit = Hit { kept: end, stray: None },
                Some(_) => return,
                None => hit.kept = hit.kept.max(end),
            }
        }
        if let Some(tail) = self.tails.get_mut(&broker) {
            tail.from = tail.from.max(end);
        }
        self.tails.retain(|_, tail| tail.from < tail.to);
    }

    /// The replica is in sync anew.
    pub(super) fn is_whole(&mut self, broker: BrokerId) {
        self.tails.remove(&broker);
        self.hit.remove(&broker);
    }

    /// Whether a loss of power is why the replica lacks what ends at `end`.
    pub(super) fn explains(&self, broker: BrokerId, end: Offset) -> bool {
        self.tails.get(&broker).is_some_and(|tail| tail.to >= end)
    }

    /// If all that count lost power: up to where all of them kept everything.
    pub(super) fn weigh(&mut self, counting: &BTreeSet<BrokerId>, epoch: LeaderEpoch) -> Option<Offset> {
        let kept: Option<Vec<Offset>> =
            counting.iter().map(|id| self.hit.get(id).map(|hit| hit.kept)).collect();
        let from = kept?.into_iter().min()?;
        for tail in self.tails.values_mut() {
            tail.to = tail.to.min(from);
        }
        self.tails.retain(|_, tail| tail.from < tail.to);
        self.gaps.push(Gap { from, epoch, is_settled: false });
        Some(from)
    }

    /// Somebody is elected where nobody led, and these were in sync.
    pub(super) fn elected(&mut self, in_sync: &[BrokerId]) {
        self.owed = in_sync.iter().filter_map(|id| Some((*id, self.hit.get(id)?.kept))).collect();
    }

    /// Whether what ends at `end`, stored in that epoch at the latest, may be gone.
    pub(super) fn may_be_gone(&self, end: Offset, epoch: LeaderEpoch) -> bool {
        self.gaps.iter().any(|gap| epoch <= gap.epoch && end > gap.from)
    }

    /// Whether it is known what is left.
    pub(super) fn is_settled(&self) -> bool {
        self.gaps.iter().all(|gap| gap.is_settled)
    }

    /// A replica leads from now on with a log that has what is in doubt up to `until`, and that log is what counts. If
    /// that ends the doubt about what is left: how much it owes, since others in sync kept it.
    pub(super) fn settle(&mut self, leader: BrokerId, epoch: LeaderEpoch, until: Offset) -> Option<Offset> {
        let open = |gap: &Gap| !gap.is_settled && gap.epoch < epoch;
        if !self.gaps.iter().any(open) {
            if self.is_settled() {
                self.is_whole(leader);
            }
            return None;
        }
        let stray = self.hit.get(&leader).filter(|hit| hit.stray.is_some());
        let left = stray.map_or(until, |hit| hit.kept.min(until));
        for gap in self.gaps.iter_mut().filter(|gap| open(gap)) {
            *gap = Gap { from: gap.from.max(left), is_settled: true, ..*gap };
        }
        self.is_whole(leader);
        // What it kept itself is no more than this, or of another history.
        let others = std::mem::take(&mut self.owed).into_iter().filter(|(id, _)| *id != leader);
        Some(others.map(|(_, kept)| kept).max().unwrap_or(Offset(0)))
    }
}

/// Up to where two logs are the same: what one leader wrote at one offset is one record.
fn common(one: &Log, other: &Log) -> Offset {
    let end = one.end_offset().min(other.end_offset());
    let differs = |offset: &i64| one.epoch_of(Offset(*offset)) != other.epoch_of(Offset(*offset));
    Offset((0..end.0).find(differs).unwrap_or(end.0))
}

/// What a broker would find on the disk.
fn logs(disk: &SimulatedDisk) -> BTreeMap<TopicPartition, Log> {
    let options = LogDirsOptions {
        disk: Disk::Simulated(disk.copy()),
        paths: vec![PathBuf::from("/data")],
        recovery_threads: 1,
        delete_delay_ms: 0,
    };
    let Ok(dirs) = LogDirs::open(options, Arc::new(|_, _| {})) else { return BTreeMap::new() };
    let found = dirs.load(&|_| topic_config(false).log, 0, 0).unwrap_or_default();
    found.into_iter().filter_map(|partition| Some((partition.clone(), dirs.take(&partition)?))).collect()
}

impl Simulation {
    /// These machines lose power at once.
    pub(super) fn lose_power(&mut self, ids: &[BrokerId]) {
        for id in ids {
            let Some(machine) = self.machines.get(id) else { continue };
            let ghosts = machine.process.as_ref().map(Process::open_fetches).unwrap_or_default();
            self.kill(*id);
            let Simulation { machines, random, promises, counts, .. } = self;
            let Some(machine) = machines.get_mut(id) else { continue };
            machine.boot += 1;
            machine.ghosts = ghosts;
            let before = logs(&machine.disk);
            // All or nothing of what was not synced: where the disk keeps a later segment and loses an
            // earlier one, a log has a gap that nothing tells from compaction's.
            let reached = random.random();
            machine.disk.power_cut(|| reached);
            let after = logs(&machine.disk);
            for (partition, before) in before {
                let after = after.get(&partition);
                let end = after.map_or(Offset(0), Log::end_offset);
                let kept = after.map_or(Offset(0), |after| common(&before, after));
                counts.add_if(kept < before.end_offset(), "end of a log lost with the power");
                counts.add_if(kept < end, "what was cut off came back");
                promises.lost_power(&partition, |losses| losses.cut(*id, before.end_offset(), kept, end));
            }
        }
        for partition in self.partitions_now().cloned().collect::<Vec<_>>() {
            let counting = self.counting(&partition);
            let Some(gone) = self.promises.weigh_losses(&partition, &counting) else { continue };
            self.counts.add("all that count lost power");
            self.counts.add_if(gone > 0, "acknowledged records lost by all that count");
            if gone > 0 && self.flushes {
                self.promises.broke(format!(
                    "{partition}: {gone} acknowledged batches were on no disk, and are synced before that"
                ));
            }
        }
    }

    /// Who has to hold what was acknowledged: those in sync, and those listed as eligible.
    fn counting(&self, partition: &TopicPartition) -> BTreeSet<BrokerId> {
        let Some(state) = self.state(partition) else { return BTreeSet::new() };
        state.isr.into_iter().chain(self.eligible(partition)).collect()
    }

    fn eligible(&self, partition: &TopicPartition) -> Vec<BrokerId> {
        let version = self.zookeeper.version(&state_path(&partition.topic, partition.partition));
        let list = self.zookeeper.data(&eligible_replicas::path(partition));
        let list = list.and_then(|data| EligibleReplicas::decode(data).ok());
        let current = list.filter(|list| Some(list.state_version) == version);
        current.map(|list| list.replicas).unwrap_or_default()
    }

    /// Brokers of whose last stop a controller knows, or will.
    fn told_of_stops(&self) -> BTreeSet<BrokerId> {
        let stops = self.zookeeper.names_under(UNCLEAN_STOPS).into_iter();
        stops.filter_map(|name| Some(UncleanStop::named(&name)?.broker)).collect()
    }

    /// Which of the rare ways a leader was found by.
    pub(super) fn count_election(&mut self, partition: &TopicPartition, leader: BrokerId, isr: &[BrokerId]) {
        let told = self.told_of_stops();
        let before = self.promises.in_sync(partition);
        let passed_over = before.iter().any(|id| told.contains(id) && !isr.contains(id));
        let all_lost = !before.is_empty() && before.iter().all(|id| told.contains(id));
        self.counts.add_if(passed_over && !all_lost, "ineligible replica passed over");
        if all_lost && leader != BrokerId::NONE && self.promises.led_by(partition) == BrokerId::NONE {
            let first = before.first().copied();
            self.counts.add("furthest log chosen");
            self.counts.add_if(first != Some(leader), "furthest log chosen, not the first in sync");
            self.counts.add_if(!before.contains(&leader), "furthest log chosen outside the in-sync set");
        }
    }

    /// Which partitions wait for replicas that may hold more.
    pub(super) fn count_waits(&mut self) {
        let told = self.told_of_stops();
        if told.is_empty() {
            return;
        }
        let registered = self.zookeeper.registrations();
        for partition in self.partitions_now().cloned().collect::<Vec<_>>() {
            let in_sync = self.promises.in_sync(&partition);
            let waits = self.promises.led_by(&partition) == BrokerId::NONE
                && !in_sync.is_empty()
                && in_sync.iter().all(|id| told.contains(id));
            let is_there = |id: &BrokerId| registered.contains_key(id);
            if !waits || !in_sync.iter().any(is_there) {
                continue;
            }
            let all_are_there = in_sync.iter().all(is_there);
            let eligible = self.eligible(&partition);
            self.counts.add_if(eligible.is_empty() && !all_are_there, "waited for all members");
            self.counts.add_if(
                !eligible.is_empty() && !eligible.iter().any(is_there),
                "waited for an eligible replica",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: BrokerId = BrokerId(1);
    const TWO: BrokerId = BrokerId(2);

    #[test]
    fn what_all_that_count_lost_may_be_gone_and_nothing_else() {
        let both = BTreeSet::from([ONE, TWO]);
        let epoch = LeaderEpoch(4);
        let mut losses = Losses::default();
        losses.cut(ONE, Offset(100), Offset(80), Offset(80));
        assert_eq!(losses.weigh(&both, epoch), None, "the other has it");
        losses.reaches(ONE, Offset(90));
        assert!(losses.explains(ONE, Offset(95)) && !losses.explains(TWO, Offset(95)));
        losses.cut(TWO, Offset(100), Offset(95), Offset(95));
        assert_eq!(losses.weigh(&both, epoch), Some(Offset(90)));
        assert!(losses.may_be_gone(Offset(91), epoch) && !losses.may_be_gone(Offset(90), epoch));
        assert!(!losses.may_be_gone(Offset(91), LeaderEpoch(5)), "that was stored since");
        losses.elected(&[ONE, TWO]);
        assert_eq!(losses.settle(ONE, epoch, Offset(98)), None, "it led before");
        let settled = losses.settle(ONE, LeaderEpoch(5), Offset(90));
        assert_eq!(settled, Some(Offset(95)), "the second kept more");
        assert!(losses.may_be_gone(Offset(91), epoch) && losses.is_settled());
        assert_eq!(losses.weigh(&both, LeaderEpoch(5)), None, "the first leads, and lost nothing since");
    }

    #[test]
    fn whoever_leads_owes_nothing_for_what_it_kept_itself() {
        let mut losses = Losses::default();
        losses.cut(ONE, Offset(0), Offset(0), Offset(0));
        losses.cut(TWO, Offset(118), Offset(118), Offset(118));
        assert_eq!(losses.weigh(&BTreeSet::from([ONE]), LeaderEpoch(7)), Some(Offset(0)));
        // It was elected from outside the in-sync set, and what it has is of a history before.
        losses.elected(&[TWO]);
        assert_eq!(losses.settle(TWO, LeaderEpoch(11), Offset(0)), Some(Offset(0)));
    }

    #[test]
    fn a_replica_that_is_in_sync_again_counts_as_whole() {
        let mut losses = Losses::default();
        losses.cut(ONE, Offset(100), Offset(80), Offset(80));
        losses.reaches(ONE, Offset(100));
        assert!(!losses.explains(ONE, Offset(95)), "it has caught up");
        losses.is_whole(ONE);
        losses.cut(TWO, Offset(100), Offset(70), Offset(70));
        assert_eq!(losses.weigh(&BTreeSet::from([ONE, TWO]), LeaderEpoch(4)), None);
    }

    #[test]
    fn what_had_been_cut_off_and_came_back_is_nothing_kept() {
        let mut losses = Losses::default();
        losses.cut(ONE, Offset(100), Offset(40), Offset(120));
        losses.reaches(ONE, Offset(120));
        assert_eq!(losses.weigh(&BTreeSet::from([ONE]), LeaderEpoch(4)), Some(Offset(40)));
        assert_eq!(losses.settle(ONE, LeaderEpoch(5), Offset(120)), Some(Offset(0)));
        assert!(
            losses.may_be_gone(Offset(41), LeaderEpoch(4)) && !losses.may_be_gone(Offset(40), LeaderEpoch(4))
        );
        losses.cut(TWO, Offset(100), Offset(40), Offset(120));
        losses.reaches(TWO, Offset(40));
        losses.reaches(TWO, Offset(90));
        assert_eq!(losses.weigh(&BTreeSet::from([TWO]), LeaderEpoch(5)), Some(Offset(90)));
    }

    #[test]
    fn what_came_back_once_is_nothing_kept_the_second_time() {
        let mut losses = Losses::default();
        losses.cut(ONE, Offset(100), Offset(40), Offset(120));
        losses.cut(ONE, Offset(120), Offset(120), Offset(120));
        losses.cut(TWO, Offset(100), Offset(40), Offset(120));
        losses.reaches(TWO, Offset(121));
        losses.cut(TWO, Offset(121), Offset(121), Offset(121));
        assert_eq!(
            losses.weigh(&BTreeSet::from([TWO]), LeaderEpoch(4)),
            Some(Offset(121)),
            "a leader mended it"
        );
        assert_eq!(losses.weigh(&BTreeSet::from([ONE]), LeaderEpoch(4)), Some(Offset(40)));
    }

    #[test]
    fn who_leads_where_nothing_is_in_doubt_counts_as_whole() {
        let mut losses = Losses::default();
        losses.cut(ONE, Offset(100), Offset(80), Offset(80));
        losses.cut(TWO, Offset(100), Offset(80), Offset(80));
        assert_eq!(losses.settle(ONE, LeaderEpoch(5), Offset(80)), None);
        assert_eq!(losses.weigh(&BTreeSet::from([ONE, TWO]), LeaderEpoch(5)), None);
    }
}
