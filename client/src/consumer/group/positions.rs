//! What a consumer reads, and how far its user has got. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::consumer::{ConsumerRecord, OffsetSpec, Position, Records};
use crate::ids::TopicPartition;

/// The assigned partitions.
#[derive(Debug, Default)]
pub(super) struct Positions {
    slots: BTreeMap<TopicPartition, Slot>,
    /// Fetched and not given to the user yet, in the order in which it came.
    ready: VecDeque<Batch>,
}

#[derive(Debug)]
struct Slot {
    /// Of the next record that the user gets. `None`: `wanted` says how to find it.
    position: Option<Position>,
    wanted: Wanted,
    paused: bool,
    /// It failed, and is tried again with the next poll.
    troubled: bool,
}

/// Where a partition without a position begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Where the group left off.
    Committed,
    /// At one of its ends, or at a time.
    At(OffsetSpec),
}

#[derive(Debug)]
struct Batch {
    partition: TopicPartition,
    records: VecDeque<ConsumerRecord>,
    /// Behind the batch.
    next: Position,
}

impl Positions {
    pub(super) fn add(&mut self, partition: TopicPartition, wanted: Wanted) {
        let slot = Slot { position: None, wanted, paused: false, troubled: false };
        self.slots.entry(partition).or_insert(slot);
    }

    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        self.slots.remove(partition);
        self.forget_ready(partition);
    }

    pub(super) fn assigned(&self) -> BTreeSet<TopicPartition> {
        self.slots.keys().cloned().collect()
    }

    pub(super) fn contains(&self, partition: &TopicPartition) -> bool {
        self.slots.contains_key(partition)
    }

    pub(super) fn position(&self, partition: &TopicPartition) -> Option<Position> {
        self.slots.get(partition)?.position
    }

    /// How far the user has got, where that is known.
    pub(super) fn known(&self) -> BTreeMap<TopicPartition, Position> {
        let known =
            self.slots.iter().filter_map(|(partition, slot)| Some((partition.clone(), slot.position?)));
        known.collect()
    }

    /// The partitions whose place must be found first.
    pub(super) fn unplaced(&self) -> BTreeMap<TopicPartition, Wanted> {
        let unplaced = self.slots.iter().filter(|(_, slot)| slot.position.is_none());
        unplaced.map(|(partition, slot)| (partition.clone(), slot.wanted)).collect()
    }

    /// The place was found, if it is still wanted.
    pub(super) fn place(&mut self, partition: &TopicPartition, wanted: Wanted, position: Position) -> bool {
        match self.slots.get_mut(partition) {
            Some(slot) if slot.position.is_none() && slot.wanted == wanted => {
                slot.position = Some(position);
                true
            }
            _ => false,
        }
    }

    /// Goes on elsewhere.
    pub(super) fn seek(&mut self, partition: &TopicPartition, position: Position) -> bool {
        self.forget_ready(partition);
        let Some(slot) = self.slots.get_mut(partition) else { return false };
        slot.position = Some(position);
        slot.troubled = false;
        true
    }

    /// Goes on where `wanted` says, once that is found.
    pub(super) fn seek_to(&mut self, partition: &TopicPartition, wanted: Wanted) -> bool {
        self.forget_ready(partition);
        let Some(slot) = self.slots.get_mut(partition) else { return false };
        slot.position = None;
        slot.wanted = wanted;
        slot.troubled = false;
        true
    }

    /// False: the partition is not assigned.
    pub(super) fn pause(&mut self, partition: &TopicPartition, paused: bool) -> bool {
        self.slots.get_mut(partition).map(|slot| slot.paused = paused).is_some()
    }

    pub(super) fn paused(&self) -> BTreeSet<TopicPartition> {
        let paused = self.slots.iter().filter(|(_, slot)| slot.paused);
        paused.map(|(partition, _)| partition.clone()).collect()
    }

    pub(super) fn is_paused(&self, partition: &TopicPartition) -> bool {
        self.slots.get(partition).is_some_and(|slot| slot.paused)
    }

    /// The user was told of trouble with it.
    pub(super) fn failed(&mut self, partition: &TopicPartition) {
        if let Some(slot) = self.slots.get_mut(partition) {
            slot.troubled = true;
        }
    }

    /// What is to be tried again.
    pub(super) fn take_troubled(&mut self) -> Vec<TopicPartition> {
        let slots = self.slots.iter_mut();
        let troubled =
            slots.filter_map(|(partition, slot)| std::mem::take(&mut slot.troubled).then_some(partition));
        troubled.cloned().collect()
    }

    /// Takes what was fetched; of a partition that is not read any more, nothing.
    pub(super) fn fetched(&mut self, records: Records) {
        let Records { partition, records, next, .. } = records;
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let Some(position) = slot.position else { return };
        let records: VecDeque<ConsumerRecord> =
            records.into_iter().filter(|record| record.offset >= position.offset).collect();
        let waits = self.ready.iter().any(|batch| batch.partition == partition);
        if records.is_empty() && !waits {
            slot.position = Some(next);
        } else {
            self.ready.push_back(Batch { partition, records, next });
        }
    }

    /// Records for the user, who thereby has got behind them.
    pub(super) fn deliver(&mut self, most: usize) -> Vec<ConsumerRecord> {
        let mut delivered = Vec::new();
        let mut at = 0;
        while delivered.len() < most
            && let Some(batch) = self.ready.get_mut(at)
        {
            let Some(slot) = self.slots.get_mut(&batch.partition).filter(|slot| !slot.paused) else {
                at += 1;
                continue;
            };
            let room = most - delivered.len();
            let taken = batch.records.drain(..room.min(batch.records.len()));
            delivered.extend(taken);
            if batch.records.is_empty() {
                slot.position = Some(batch.next);
                self.ready.remove(at);
            } else if let Some(last) = delivered.last() {
                slot.position = Some(Position::new(last.offset + 1, last.leader_epoch));
            }
        }
        delivered
    }

    /// Whether so many records wait that no more need be taken.
    pub(super) fn is_full(&self, most: usize) -> bool {
        let waiting = self.ready.iter().filter(|batch| !self.is_paused(&batch.partition));
        waiting.map(|batch| batch.records.len()).sum::<usize>() >= most
    }

    fn forget_ready(&mut self, partition: &TopicPartition) {
        self.ready.retain(|batch| batch.partition != *partition);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::{LeaderEpoch, Offset};
    use crate::record::TimestampType;

    fn partition(id: i32) -> TopicPartition {
        TopicPartition::new("t", id)
    }

    fn at(offset: i64) -> Position {
        Position::new(Offset(offset), LeaderEpoch(3))
    }

    fn batch(id: i32, offsets: &[i64], next: i64) -> Records {
        let record = |offset: &i64| ConsumerRecord {
            topic: "t".into(),
            partition: id,
            offset: Offset(*offset),
            leader_epoch: LeaderEpoch(3),
            timestamp_type: TimestampType::CreateTime,
            timestamp_ms: 0,
            key: None,
            value: Some(Bytes::new()),
            headers: Vec::new(),
        };
        Records {
            partition: partition(id),
            records: offsets.iter().map(record).collect(),
            next: at(next),
            end: Offset(next),
        }
    }

    fn reading(ids: &[i32]) -> Positions {
        let mut positions = Positions::default();
        for id in ids {
            positions.add(partition(*id), Wanted::Committed);
            assert!(positions.place(&partition(*id), Wanted::Committed, at(0)));
        }
        positions
    }

    fn offsets(records: Vec<ConsumerRecord>) -> Vec<(i32, i64)> {
        records.iter().map(|record| (record.partition, record.offset.0)).collect()
    }

    #[test]
    fn the_position_follows_what_was_delivered() {
        let mut positions = reading(&[0]);
        positions.fetched(batch(0, &[0, 1, 5], 9));
        assert_eq!(positions.position(&partition(0)), Some(at(0)));
        assert_eq!(offsets(positions.deliver(2)), [(0, 0), (0, 1)]);
        assert_eq!(positions.position(&partition(0)), Some(at(2)));
        assert_eq!(offsets(positions.deliver(2)), [(0, 5)]);
        assert_eq!(positions.position(&partition(0)), Some(at(9)), "behind what is no record");
        positions.fetched(batch(0, &[], 12));
        assert_eq!(positions.position(&partition(0)), Some(at(12)));
    }

    #[test]
    fn paused_partitions_keep_theirs_and_the_others_go_on() {
        let mut positions = reading(&[0, 1]);
        positions.fetched(batch(0, &[0], 1));
        positions.fetched(batch(1, &[0], 1));
        positions.pause(&partition(0), true);
        assert_eq!(offsets(positions.deliver(9)), [(1, 0)]);
        assert!(!positions.is_full(1));
        positions.pause(&partition(0), false);
        assert_eq!(offsets(positions.deliver(9)), [(0, 0)]);
    }

    #[test]
    fn what_was_sought_or_taken_away_is_not_delivered() {
        let mut positions = reading(&[0, 1]);
        positions.fetched(batch(0, &[0, 1], 2));
        positions.fetched(batch(1, &[0], 1));
        positions.seek(&partition(0), at(1));
        positions.remove(&partition(1));
        assert_eq!(offsets(positions.deliver(9)), []);
        positions.fetched(batch(0, &[0, 1], 2));
        positions.fetched(batch(1, &[1], 2));
        assert_eq!(offsets(positions.deliver(9)), [(0, 1)]);
        assert_eq!(positions.known(), [(partition(0), at(2))].into());
    }

    #[test]
    fn a_place_that_is_not_wanted_any_more_is_not_taken() {
        let mut positions = Positions::default();
        positions.add(partition(0), Wanted::Committed);
        positions.seek_to(&partition(0), Wanted::At(OffsetSpec::Earliest));
        assert!(!positions.place(&partition(0), Wanted::Committed, at(4)));
        assert_eq!(positions.unplaced(), [(partition(0), Wanted::At(OffsetSpec::Earliest))].into());
        positions.seek(&partition(0), at(7));
        assert!(!positions.place(&partition(0), Wanted::At(OffsetSpec::Earliest), at(0)));
        assert_eq!(positions.position(&partition(0)), Some(at(7)));
    }
}
