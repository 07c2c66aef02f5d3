//! What a cluster promises, checked against what it does.

use std::collections::{BTreeMap, BTreeSet};

use broker::partition::Status;
use client::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use client::record::{BatchHeader, batches};
use client::znode::partition::PartitionState;

use super::losses::Losses;
use super::message::Stored;

/// A batch, by its producer's numbering; one that nobody numbered by its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Batch {
    pub producer: i64,
    pub sequence: i32,
    pub records: i32,
}

impl Batch {
    pub(super) fn of(header: &BatchHeader) -> Batch {
        let (producer, records) = (header.producer_id, header.record_count);
        let sequence = if producer < 0 { header.crc.cast_signed() } else { header.base_sequence };
        Batch { producer, sequence, records }
    }
}

/// What is known for good of one partition.
#[derive(Debug, Default)]
struct Facts {
    /// By base offset: batches that were acknowledged, or that a consumer has seen.
    batches: BTreeMap<Offset, Batch>,
    acknowledged: BTreeMap<Offset, Batch>,
    offsets: BTreeMap<(i64, i32), Offset>,
    ackers: BTreeMap<LeaderEpoch, BrokerId>,
    newest_epoch: LeaderEpoch,
    /// As written with the newest state.
    in_sync: Vec<BrokerId>,
    leader: Option<BrokerId>,
    losses: Losses,
    /// What may be gone, until somebody leads again.
    doubtful: Doubtful,
    /// The newest epoch when acknowledged batches were last found to be gone.
    excused_until: Option<LeaderEpoch>,
    /// Producers of acknowledged batches that are gone.
    bereft: BTreeSet<i64>,
}

/// By base offset.
#[derive(Debug, Default)]
struct Doubtful {
    batches: BTreeMap<Offset, Batch>,
    acknowledged: BTreeMap<Offset, Batch>,
}

pub(super) fn end_of(base: Offset, batch: &Batch) -> Offset {
    base + i64::from(batch.records)
}

/// Batches as a log has them, by base offset.
pub(super) fn held(log: &[u8]) -> BTreeMap<Offset, Batch> {
    let headers = batches(log).filter_map(|batch| batch.header().copied());
    headers.map(|header| (header.base_offset, Batch::of(&header))).collect()
}

impl Facts {
    /// All that count lost what is after `from`.
    fn doubt(&mut self, from: Offset) -> usize {
        let is_gone = |base: &Offset, batch: &mut Batch| end_of(*base, batch) > from;
        self.doubtful.batches.extend(self.batches.extract_if(.., is_gone));
        for batch in self.doubtful.batches.values() {
            self.offsets.remove(&(batch.producer, batch.sequence));
        }
        let acknowledged: Vec<_> = self.acknowledged.extract_if(.., is_gone).collect();
        let count = acknowledged.len();
        self.doubtful.acknowledged.extend(acknowledged);
        count
    }

    /// Up to where a log that ends at `end` has all that is in doubt. It may be long and yet another's: who was not in
    /// sync may hold what was lost in an earlier epoch.
    fn agree_until(&self, held: &BTreeMap<Offset, Batch>, end: Offset) -> Offset {
        let lacking = self.doubtful.batches.iter().find(|(base, batch)| held.get(base) != Some(batch));
        lacking.map_or(end, |(base, _)| end.min(*base))
    }

    /// A replica begins to lead: how many acknowledged batches it owes and lacks. One whose log cannot be read gives
    /// nothing to anybody: the next leader tells.
    fn led_by(&mut self, broker: BrokerId, now: &Status, log: &dyn Fn() -> Option<Vec<u8>>) -> usize {
        let held = match self.losses.is_settled() {
            true => BTreeMap::new(),
            false => match log() {
                Some(log) => held(&log),
                None => return 0,
            },
        };
        let until = self.agree_until(&held, now.end);
        let owed = self.losses.settle(broker, now.epoch, until);
        owed.map_or(0, |owed| self.settle(&held, owed))
    }

    /// What that log has is there for good again, the rest is gone. How many acknowledged batches that are gone end at
    /// `owed` or before.
    fn settle(&mut self, held: &BTreeMap<Offset, Batch>, owed: Offset) -> usize {
        let mut missing = 0;
        let Doubtful { batches, acknowledged } = std::mem::take(&mut self.doubtful);
        for (base, batch) in batches.into_iter().filter(|(base, batch)| held.get(base) == Some(batch)) {
            self.batches.insert(base, batch);
            self.offsets.insert((batch.producer, batch.sequence), base);
        }
        for (base, batch) in acknowledged {
            match held.get(&base) == Some(&batch) {
                true => drop(self.acknowledged.insert(base, batch)),
                false => {
                    missing += usize::from(end_of(base, &batch) <= owed);
                    self.bereft.insert(batch.producer);
                }
            }
        }
        missing
    }
}

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Promises {
    facts: BTreeMap<TopicPartition, Facts>,
    /// By broker and the number of its start.
    seen: BTreeMap<(BrokerId, u64, TopicPartition), Status>,
    pub broken: Vec<String>,
    pub acknowledged: u64,
}

impl Promises {
    fn breach(&mut self, what: String) {
        if self.broken.len() < 20 {
            self.broken.push(what);
        }
    }

    /// A producer was told that its batch is stored.
    pub(super) fn acknowledged(
        &mut self,
        partition: &TopicPartition,
        from: BrokerId,
        stored: Stored,
        batch: Batch,
    ) {
        self.acknowledged += 1;
        self.stored(partition, from, stored, batch);
    }

    /// A leader takes a batch for replicated: it lets go on who waits for it, or tells of what it read.
    pub(super) fn stored(
        &mut self,
        partition: &TopicPartition,
        from: BrokerId,
        stored: Stored,
        batch: Batch,
    ) {
        let facts = self.facts.entry(partition.clone()).or_default();
        let acker = *facts.ackers.entry(stored.epoch).or_insert(from);
        match facts.losses.may_be_gone(end_of(stored.base, &batch), stored.epoch) {
            true if facts.losses.is_settled() => drop(facts.bereft.insert(batch.producer)),
            true => drop(facts.doubtful.acknowledged.insert(stored.base, batch)),
            false => drop(facts.acknowledged.insert(stored.base, batch)),
        }
        if acker != from {
            let epoch = stored.epoch;
            self.breach(format!("{partition}: both {acker} and {from} acknowledged in epoch {epoch}"));
        }
        self.learn(partition, stored.base, batch, stored.epoch, "acknowledged");
    }

    /// A consumer that asked for what is at `from` was given these bytes. Gives where they end, and the epoch of the last.
    pub(super) fn read(
        &mut self,
        partition: &TopicPartition,
        from: Offset,
        bytes: &[u8],
    ) -> Option<(Offset, LeaderEpoch)> {
        let mut next = None;
        let found: Vec<_> = batches(bytes).filter_map(|batch| batch.header().copied()).collect();
        for header in found {
            let (base, batch) = (header.base_offset, Batch::of(&header));
            let end = base + i64::from(header.last_offset_delta) + 1;
            // The first may begin before: a batch is read whole. Nothing is compacted or deleted here.
            let follows = match next {
                None => base <= from && from < end,
                Some((before, _)) => base == before,
            };
            if !follows {
                let expected = next.map_or(from, |(before, _)| before);
                self.breach(format!(
                    "{partition}: a consumer at {expected} was given what is at {base} to {end}"
                ));
            }
            self.learn(partition, base, batch, header.leader_epoch, "consumed");
            next = Some((end, header.leader_epoch));
        }
        next
    }

    /// A consumer that has read everything up to an offset, the last of it of that epoch, was told by a replica in epoch
    /// `by` that the log does not reach so far.
    pub(super) fn refused(
        &mut self,
        partition: &TopicPartition,
        (end, epoch): (Offset, LeaderEpoch),
        by: LeaderEpoch,
    ) {
        let is_excused = self.facts.get(partition).is_some_and(|facts| facts.losses.may_be_gone(end, epoch));
        // A leader of the past, that does not know of its successor, may lack what that one has.
        if self.is_newest(partition, by) && !is_excused {
            self.breach(format!(
                "{partition}: the leader of epoch {by} denied a consumer offset {end}, up to which it had read in epoch \
                 {epoch}"
            ));
        }
    }

    /// `epoch`: in which it was there.
    fn learn(
        &mut self,
        partition: &TopicPartition,
        base: Offset,
        batch: Batch,
        epoch: LeaderEpoch,
        how: &str,
    ) {
        let facts = self.facts.entry(partition.clone()).or_default();
        if facts.losses.may_be_gone(end_of(base, &batch), epoch) {
            if !facts.losses.is_settled() {
                facts.doubtful.batches.insert(base, batch);
            }
            return;
        }
        let known = *facts.batches.entry(base).or_insert(batch);
        let place = match batch.producer {
            // What nobody numbered may be there twice.
            ..0 => base,
            _ => *facts.offsets.entry((batch.producer, batch.sequence)).or_insert(base),
        };
        if known != batch {
            self.breach(format!("{partition}: {how} at offset {base}: {batch:?}, where there was {known:?}"));
        }
        if place != base {
            self.breach(format!("{partition}: {how} twice: {batch:?}, at offsets {place} and {base}"));
        }
    }

    /// Where the newest acknowledged batch ends.
    pub(super) fn acknowledged_end(&self, partition: &TopicPartition) -> Offset {
        let facts = self.facts.get(partition);
        let last = facts.and_then(|facts| facts.acknowledged.last_key_value());
        last.map_or(Offset(0), |(base, batch)| end_of(*base, batch))
    }

    /// Nothing is promised of the partition any more: its topic goes.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.facts.remove(partition);
        self.seen.retain(|(_, _, seen), _| seen != partition);
    }

    /// The controller has written a state. Gives those who joined the leader only since: a leader that was not in sync
    /// was chosen for what it has left, and says what that is when it begins.
    pub(super) fn written(&mut self, partition: &TopicPartition, state: &PartitionState) -> Vec<BrokerId> {
        let facts = self.facts.entry(partition.clone()).or_default();
        facts.newest_epoch = facts.newest_epoch.max(state.leader_epoch);
        let was_led = facts.leader.replace(state.leader).is_some_and(|leader| leader != BrokerId::NONE);
        let before = std::mem::replace(&mut facts.in_sync, state.isr.clone());
        if !was_led && state.leader != BrokerId::NONE {
            facts.losses.elected(&before);
        }
        state.isr.iter().copied().filter(|id| !before.contains(id) && *id != state.leader).collect()
    }

    pub(super) fn in_sync(&self, partition: &TopicPartition) -> &[BrokerId] {
        self.facts.get(partition).map_or(&[], |facts| &facts.in_sync)
    }

    /// As written with the newest state.
    pub(super) fn led_by(&self, partition: &TopicPartition) -> BrokerId {
        self.facts.get(partition).and_then(|facts| facts.leader).unwrap_or(BrokerId::NONE)
    }

    /// `broker`, whose log ends at `end`, is in sync anew: it has no excuse.
    pub(super) fn joins(&mut self, partition: &TopicPartition, broker: BrokerId, end: Offset) {
        if let Some(facts) = self.facts.get_mut(partition) {
            facts.losses.is_whole(broker);
        }
        self.is_held(partition, broker, end);
    }

    /// The log of `broker`, which is in sync, ends at `end`.
    pub(super) fn is_held(&mut self, partition: &TopicPartition, broker: BrokerId, end: Offset) {
        let needed = self.acknowledged_end(partition);
        let Some(facts) = self.facts.get(partition) else { return };
        if end < needed && !facts.losses.explains(broker, needed) {
            let (in_sync, epoch) = (facts.in_sync.clone(), facts.newest_epoch);
            self.breach(format!(
                "{partition}: {broker} is in the in-sync set {in_sync:?} of epoch {epoch}, but its log ends at {end}, \
                 and what ends at {needed} was acknowledged"
            ));
        }
    }

    /// Notes what replicas of the partition lost.
    pub(super) fn lost_power(&mut self, partition: &TopicPartition, note: impl FnOnce(&mut Losses)) {
        if let Some(facts) = self.facts.get_mut(partition) {
            note(&mut facts.losses);
        }
    }

    /// After machines lost power: how many acknowledged batches may be gone by that. `None`: somebody who counts
    /// has lost nothing.
    pub(super) fn weigh_losses(
        &mut self,
        partition: &TopicPartition,
        counting: &BTreeSet<BrokerId>,
    ) -> Option<usize> {
        let facts = self.facts.get_mut(partition)?;
        let from = facts.losses.weigh(counting, facts.newest_epoch)?;
        let gone = facts.doubt(from);
        // Some were in doubt as soon as they were acknowledged, if their epoch was when power was lost before.
        if !facts.doubtful.acknowledged.is_empty() {
            facts.excused_until = Some(facts.newest_epoch);
        }
        Some(gone)
    }

    /// Whether the batch was acknowledged at that place, and has to be there.
    pub(super) fn is_owed(&self, partition: &TopicPartition, base: Offset, batch: &Batch) -> bool {
        self.facts.get(partition).is_some_and(|facts| facts.acknowledged.get(&base) == Some(batch))
    }

    /// Acknowledged batches of epochs until this one may be gone.
    pub(super) fn excused_until(&self, partition: &TopicPartition) -> LeaderEpoch {
        self.facts.get(partition).and_then(|facts| facts.excused_until).unwrap_or(LeaderEpoch::NONE)
    }

    /// Whether acknowledged batches of that producer are gone, and may be.
    pub(super) fn has_lost_of(&self, partition: &TopicPartition, producer: i64) -> bool {
        self.facts.get(partition).is_some_and(|facts| facts.bereft.contains(&producer))
    }

    /// Whether no later epoch was written.
    pub(super) fn is_newest(&self, partition: &TopicPartition, epoch: LeaderEpoch) -> bool {
        self.facts.get(partition).is_none_or(|facts| facts.newest_epoch <= epoch)
    }

    /// The facts of a partition on a broker, after something happened there. `log`: what it holds there, as a leader.
    pub(super) fn observe(
        &mut self,
        broker: BrokerId,
        start: u64,
        partition: &TopicPartition,
        now: Status,
        log: &dyn Fn() -> Option<Vec<u8>>,
    ) {
        let key = (broker, start, partition.clone());
        let before = self.seen.insert(key, now);
        if before == Some(now) || now.offline {
            return;
        }
        if now.high_watermark > now.end || now.high_watermark < now.log_start {
            self.breach(format!("{partition} on {broker}: the watermark is outside the log: {now:?}"));
        }
        let led = before.is_some_and(|before| before.is_leader() && before.epoch == now.epoch);
        if let Some(before) = before
            && now.epoch == before.epoch
            && led
            && now.is_leader()
            && now.high_watermark < before.high_watermark
        {
            self.breach(format!("{partition} on {broker}: the watermark fell from {before:?} to {now:?}"));
        }
        if before.is_some_and(|before| now.epoch < before.epoch) {
            self.breach(format!("{partition} on {broker}: the epoch fell from {before:?} to {now:?}"));
        }
        let newest = self.is_newest(partition, now.epoch);
        if now.epoch != LeaderEpoch::NONE
            && let Some(facts) = self.facts.get_mut(partition)
        {
            facts.losses.reaches(broker, now.end);
            let begins = now.is_leader() && !led && newest;
            let missing = if begins { facts.led_by(broker, &now, log) } else { 0 };
            let is_in_sync = facts.in_sync.contains(&broker);
            if missing > 0 {
                self.breach(format!(
                    "{partition}: {broker} leads in epoch {} with a log that ends at {}, but another that was in sync \
                     kept {missing} acknowledged batches more",
                    now.epoch, now.end
                ));
            }
            if is_in_sync {
                self.is_held(partition, broker, now.end);
            }
        }
        if now.is_leader() && !led && newest && now.end < self.acknowledged_end(partition) {
            let end = self.acknowledged_end(partition);
            self.breach(format!(
                "{partition}: {broker} leads in epoch {} with a log that ends at {}, but what ends at {end} was acknowledged",
                now.epoch, now.end
            ));
        }
    }

    /// At the end: the log of a replica, up to its high watermark.
    pub(super) fn holds(&mut self, partition: &TopicPartition, broker: BrokerId, log: &[u8]) {
        let Some(facts) = self.facts.get(partition) else { return };
        let mut expected = facts.acknowledged.clone();
        let mut twice = Vec::new();
        let mut seen: BTreeMap<(i64, i32), Offset> = BTreeMap::new();
        for batch in batches(log) {
            let Some(header) = batch.header() else { continue };
            expected.remove(&header.base_offset);
            let name = (header.producer_id, header.base_sequence);
            if name.0 >= 0
                && let Some(first) = seen.insert(name, header.base_offset)
            {
                twice.push(format!("{name:?} at {first} and {}", header.base_offset));
            }
        }
        if !twice.is_empty() {
            self.breach(format!("{partition} on {broker}: batches are there twice: {}", twice.join(", ")));
        }
        if let Some((base, batch)) = expected.first_key_value() {
            self.breach(format!(
                "{partition} on {broker}: {} acknowledged batches are lost, the first {batch:?} at offset {base}",
                expected.len()
            ));
        }
        self.read(partition, Offset(0), log);
    }

    pub(super) fn broke(&mut self, what: String) {
        self.breach(what);
    }
}

#[cfg(test)]
mod tests {
    use client::ids::ControllerEpoch;
    use client::znode::partition::LeaderRecovery;

    use super::*;

    const ONE: BrokerId = BrokerId(1);
    const TWO: BrokerId = BrokerId(2);
    const THREE: BrokerId = BrokerId(3);

    fn write(promises: &mut Promises, leader: BrokerId, epoch: i32, isr: &[BrokerId]) -> Vec<BrokerId> {
        let state = PartitionState {
            leader,
            leader_epoch: LeaderEpoch(epoch),
            isr: isr.to_vec(),
            recovery: LeaderRecovery::Recovered,
            controller_epoch: ControllerEpoch(1),
        };
        promises.written(&TopicPartition::new("t", 0), &state)
    }

    #[test]
    fn a_leader_chosen_outside_the_in_sync_set_has_an_excuse_until_it_begins() {
        let mut promises = Promises::default();
        assert_eq!(write(&mut promises, ONE, 0, &[ONE]), []);
        assert_eq!(write(&mut promises, BrokerId::NONE, 1, &[ONE]), []);
        assert_eq!(write(&mut promises, TWO, 2, &[TWO]), []);
        assert_eq!(write(&mut promises, TWO, 2, &[TWO, ONE]), [ONE]);
    }

    /// Three batches of two records each, from `base` on, of one producer and epoch 0.
    fn three_batches(base: i64) -> Vec<Vec<u8>> {
        let name = |sequence| Batch { producer: 7, sequence, records: 2 };
        let built = [0, 2, 4].map(|sequence| crate::sim::clients::build(name(sequence), 0).unwrap().to_vec());
        let mut at = Offset(base);
        let mut placed = built.to_vec();
        for batch in &mut placed {
            client::record::batch::assign(batch, at, LeaderEpoch(0)).unwrap();
            at = at + 2;
        }
        placed
    }

    #[test]
    fn a_consumer_is_passed_over_no_batch() {
        let partition = TopicPartition::new("t", 0);
        let given = |from, batches: &[&[u8]]| {
            let mut promises = Promises::default();
            let read_to = promises.read(&partition, Offset(from), &batches.concat());
            (read_to, promises.broken.len())
        };
        let [one, two, three] = <[Vec<u8>; 3]>::try_from(three_batches(10)).unwrap();
        let read_to = Some((Offset(16), LeaderEpoch(0)));
        assert_eq!(given(10, &[&one, &two, &three]), (read_to, 0));
        assert_eq!(given(13, &[&two, &three]), (read_to, 0), "in the middle of a batch");
        assert_eq!(given(10, &[&two, &three]), (read_to, 1), "it begins beyond");
        assert_eq!(given(12, &[&one, &two, &three]), (read_to, 1), "it begins before");
        assert_eq!(given(10, &[&one, &three]), (read_to, 1), "one is missing between");
    }

    #[test]
    fn the_newest_leader_denies_a_consumer_only_what_all_that_count_lost() {
        let partition = TopicPartition::new("t", 0);
        let mut promises = Promises::default();
        write(&mut promises, ONE, 1, &[ONE]);
        let read_to = (Offset(16), LeaderEpoch(1));
        promises.refused(&partition, read_to, LeaderEpoch(0));
        assert_eq!(promises.broken, Vec::<String>::new(), "a leader of before");
        promises.refused(&partition, read_to, LeaderEpoch(1));
        assert_eq!(promises.broken.len(), 1);
        promises.lost_power(&partition, |losses| losses.cut(ONE, Offset(16), Offset(15), Offset(15)));
        promises.weigh_losses(&partition, &BTreeSet::from([ONE]));
        promises.refused(&partition, read_to, LeaderEpoch(1));
        assert_eq!(promises.broken.len(), 1, "it may be gone");
        promises.refused(&partition, (Offset(15), LeaderEpoch(1)), LeaderEpoch(1));
        assert_eq!(promises.broken.len(), 2, "what is before was kept");
    }

    #[test]
    fn what_is_in_doubt_from_its_acknowledgement_on_is_an_excuse_when_power_is_lost_again() {
        let partition = TopicPartition::new("t", 0);
        let mut promises = Promises::default();
        write(&mut promises, ONE, 4, &[ONE]);
        promises.lost_power(&partition, |losses| losses.cut(ONE, Offset(9), Offset(5), Offset(5)));
        let counting = BTreeSet::from([ONE]);
        assert_eq!(promises.weigh_losses(&partition, &counting), Some(0));
        assert_eq!(promises.excused_until(&partition), LeaderEpoch::NONE, "nothing was acknowledged");
        let batch = Batch { producer: 7, sequence: 0, records: 1 };
        promises.acknowledged(&partition, ONE, Stored { base: Offset(5), epoch: LeaderEpoch(4) }, batch);
        promises.lost_power(&partition, |losses| losses.cut(ONE, Offset(6), Offset(5), Offset(5)));
        promises.weigh_losses(&partition, &counting);
        assert_eq!(promises.excused_until(&partition), LeaderEpoch(4));
    }

    /// One and Two are in sync and lose power before an acknowledged batch is on the disk of One; Three holds another
    /// batch in its place, from an earlier epoch, and is chosen.
    fn chosen_for_an_older_log(two_kept: bool) -> Vec<String> {
        let partition = TopicPartition::new("t", 0);
        let [lost, other] = [7, 8].map(|producer| Batch { producer, sequence: 0, records: 1 });
        let log = crate::sim::clients::build(other, 0).unwrap().to_vec();
        let mut promises = Promises::default();
        write(&mut promises, ONE, 4, &[ONE, TWO]);
        promises.acknowledged(&partition, ONE, Stored { base: Offset(0), epoch: LeaderEpoch(4) }, lost);
        let kept = Offset(i64::from(two_kept));
        promises.lost_power(&partition, |losses| losses.cut(ONE, Offset(1), Offset(0), Offset(0)));
        promises.lost_power(&partition, |losses| losses.cut(TWO, Offset(1), kept, kept));
        assert_eq!(promises.weigh_losses(&partition, &BTreeSet::from([ONE, TWO])), Some(1));
        write(&mut promises, BrokerId::NONE, 5, &[ONE, TWO]);
        write(&mut promises, THREE, 6, &[THREE]);
        let leads = Status {
            epoch: LeaderEpoch(6),
            leading_since: Some(LeaderEpoch(6)),
            offline: false,
            log_start: Offset(0),
            high_watermark: Offset(0),
            last_stable_offset: Offset(0),
            end: Offset(1),
            low_watermark: Offset(0),
            may_confirm: true,
        };
        promises.observe(THREE, 1, &partition, leads, &|| Some(log.clone()));
        promises.holds(&partition, THREE, &log);
        assert!(promises.has_lost_of(&partition, lost.producer));
        promises.broken
    }

    #[test]
    fn a_log_of_an_older_epoch_that_is_as_long_holds_nothing_of_what_all_lost() {
        assert_eq!(chosen_for_an_older_log(false), Vec::<String>::new());
    }

    #[test]
    fn what_one_in_sync_kept_is_owed_by_a_log_that_is_as_long() {
        let broken = chosen_for_an_older_log(true);
        assert!(broken.iter().any(|what| what.contains("kept 1 acknowledged batches more")), "{broken:?}");
    }
}
