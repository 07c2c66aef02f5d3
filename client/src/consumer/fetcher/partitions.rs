//! What a fetcher knows of its partitions: where each is read, from whom, what lies ready. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::super::chunk::{Chunk, CorruptRecords};
use super::super::record::Position;
use super::options::FetchOptions;
use crate::cluster::Leadership;
use crate::fetch_session::Ask;
use crate::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition, Uuid};
use crate::wire::ErrorCode;

/// Answers of one partition that may lie here.
const CHUNKS_MAX: usize = 2;

/// The partitions of a fetcher.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    pub(super) slots: BTreeMap<TopicPartition, Slot>,
    /// Those with something to take, the longest waiting first.
    ready: VecDeque<TopicPartition>,
    /// Bytes of all chunks.
    buffered: usize,
    last_generation: u64,
}

#[derive(Debug)]
pub(super) struct Slot {
    /// A new one with every place it is sent to: answers for an older one are void.
    pub(super) generation: u64,
    /// Where the next records to hand out begin.
    pub(super) position: Position,
    /// Where the next fetch begins.
    pub(super) fetch_at: Position,
    pub(super) leader: Option<Leadership>,
    /// A replica that is closer than the leader, and until when to believe it.
    pub(super) preferred: Option<(BrokerId, Instant)>,
    /// Whether the leader's log must first be compared with what was read (KIP-320).
    pub(super) unchecked: bool,
    paused: bool,
    pub(super) retry_at: Option<Instant>,
    pub(super) failures: u32,
    chunks: VecDeque<Fresh>,
    /// To be told after the chunks. While there is one, and after it was told, nothing is fetched.
    trouble: Option<Trouble>,
    resting: bool,
    queued: bool,
    /// The partition's end for this consumer, as last told.
    pub(super) end: Option<Offset>,
    /// Answers without records.
    pub(super) empty_answers: u64,
}

/// A chunk, and the partition's end when it was fetched.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) chunk: Chunk,
    pub(super) end: Offset,
}

/// Why a partition rests.
#[derive(Debug)]
pub(super) enum Trouble {
    OutOfRange,
    Truncated(Option<Position>),
    Corrupt(CorruptRecords),
    Refused(ErrorCode),
}

/// What lies ready, taken out.
#[derive(Debug)]
pub(super) enum Taken {
    Chunk { id: TopicPartition, generation: u64, fresh: Fresh },
    Trouble { id: TopicPartition, position: Position, trouble: Trouble },
}

/// What to ask a broker next.
#[derive(Debug)]
pub(super) enum Plan {
    /// No partition is read from it any more.
    Leave,
    /// Nothing, until something changes or that time has come.
    Rest {
        until: Option<Instant>,
    },
    /// Where the epochs of these positions end.
    Check(Vec<Check>),
    Fetch(Round),
}

#[derive(Debug, Clone)]
pub(super) struct Check {
    pub(super) id: TopicPartition,
    pub(super) generation: u64,
    pub(super) leader: Leadership,
    pub(super) position: Position,
}

/// One request for records.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) asks: BTreeMap<TopicPartition, Ask>,
    pub(super) sent: BTreeMap<TopicPartition, Sent>,
    /// Other partitions would be asked for if what they have were taken.
    pub(super) held_back: bool,
}

/// What a partition was like when it was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) generation: u64,
    pub(super) leader: Leadership,
    pub(super) position: Position,
}

impl Check {
    pub(super) fn sent(&self) -> Sent {
        Sent { generation: self.generation, leader: self.leader, position: self.position }
    }
}

impl Partitions {
    /// Begins to read a partition, or goes on at another place. Tells whether it is new.
    pub(super) fn assign(&mut self, id: &TopicPartition, position: Position) -> bool {
        if self.seek(id, position) {
            return false;
        }
        self.last_generation += 1;
        let slot = Slot {
            generation: self.last_generation,
            position,
            fetch_at: position,
            leader: None,
            preferred: None,
            unchecked: position.epoch != LeaderEpoch::NONE,
            paused: false,
            retry_at: None,
            failures: 0,
            chunks: VecDeque::new(),
            trouble: None,
            resting: false,
            queued: false,
            end: None,
            empty_answers: 0,
        };
        self.slots.insert(id.clone(), slot);
        true
    }

    pub(super) fn remove(&mut self, id: &TopicPartition) {
        if let Some(slot) = self.slots.remove(id) {
            self.buffered -= slot.buffered();
        }
    }

    /// False: the partition is not read.
    pub(super) fn seek(&mut self, id: &TopicPartition, position: Position) -> bool {
        let Some(slot) = self.slots.get_mut(id) else { return false };
        self.buffered -= slot.buffered();
        self.last_generation += 1;
        slot.generation = self.last_generation;
        slot.go_to(position);
        true
    }

    /// Tries a partition that rests again, at the same place.
    pub(super) fn retry(&mut self, id: &TopicPartition) {
        if let Some(slot) = self.slots.get(id).filter(|slot| slot.resting) {
            self.seek(id, slot.position);
        }
    }

    pub(super) fn pause(&mut self, id: &TopicPartition, paused: bool) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.paused = paused;
        self.enqueue(id);
    }

    pub(super) fn is_paused(&self, id: &TopicPartition) -> bool {
        self.slots.get(id).is_some_and(|slot| slot.paused)
    }

    /// Tells who leads a partition now.
    pub(super) fn lead(&mut self, id: &TopicPartition, leader: Option<Leadership>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.leader == leader {
            return;
        }
        slot.leader = leader;
        slot.preferred = None;
        slot.retry_at = None;
        slot.failures = 0;
        slot.unchecked = slot.fetch_at.epoch != LeaderEpoch::NONE;
    }

    /// The brokers that are read from.
    pub(super) fn brokers(&self, now: Instant) -> impl Iterator<Item = BrokerId> {
        self.slots.values().filter_map(move |slot| slot.source(now))
    }

    /// What to ask this broker next.
    pub(super) fn plan(&self, broker: BrokerId, now: Instant, options: &FetchOptions) -> Plan {
        let mut round = Round::default();
        let mut checks = Vec::new();
        let mut until: Option<Instant> = None;
        let mut any = false;
        let max_bytes = i32::try_from(options.max_partition_bytes).unwrap_or(i32::MAX);
        for (id, slot) in &self.slots {
            let (Some(leader), Some(source)) = (slot.leader, slot.source(now)) else { continue };
            if source != broker {
                continue;
            }
            any = true;
            if slot.resting || slot.paused {
                continue;
            }
            if let Some(at) = slot.retry_at.filter(|at| *at > now) {
                until = Some(until.map_or(at, |until| until.min(at)));
                continue;
            }
            if slot.unchecked {
                let (generation, position) = (slot.generation, slot.fetch_at);
                checks.push(Check { id: id.clone(), generation, leader, position });
                continue;
            }
            let is_enough = match slot.chunks.len() {
                // One that has nothing is not held up by those that are not taken.
                0 => false,
                1..CHUNKS_MAX => self.buffered >= options.max_bytes,
                _ => true,
            };
            if is_enough {
                round.held_back = true;
                continue;
            }
            let position = slot.fetch_at;
            let ask = Ask {
                topic_id: Uuid::ZERO,
                leader_epoch: leader.epoch,
                offset: position.offset,
                last_fetched_epoch: LeaderEpoch::NONE,
                log_start: Offset(-1),
                max_bytes,
            };
            round.asks.insert(id.clone(), ask);
            round.sent.insert(id.clone(), Sent { generation: slot.generation, leader, position });
        }
        match (any, checks.is_empty(), round.asks.is_empty()) {
            (false, _, _) => Plan::Leave,
            (true, false, _) => Plan::Check(checks),
            (true, true, false) => Plan::Fetch(round),
            (true, true, true) => Plan::Rest { until },
        }
    }

    /// The slot that an answer is for, if it still stands where it stood when it was asked for.
    pub(super) fn current(&mut self, id: &TopicPartition, sent: &Sent) -> Option<&mut Slot> {
        self.slots.get_mut(id).filter(|slot| {
            slot.generation == sent.generation && slot.fetch_at == sent.position && !slot.resting
        })
    }

    /// Adds what was fetched. The slot must be [`current`](Partitions::current).
    pub(super) fn add(&mut self, id: &TopicPartition, fresh: Fresh) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        self.buffered += fresh.chunk.len();
        slot.fetch_at = fresh.chunk.end();
        slot.chunks.push_back(fresh);
        self.enqueue(id);
    }

    /// Lets a partition rest, and tells why when what was fetched before is taken.
    pub(super) fn rest(&mut self, id: &TopicPartition, trouble: Trouble) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.resting = true;
        slot.trouble = Some(trouble);
        self.enqueue(id);
    }

    /// Whether [`take`](Partitions::take) may find something.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes out what has been ready for the longest time.
    pub(super) fn take(&mut self) -> Option<Taken> {
        loop {
            let id = self.ready.pop_front()?;
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.queued = false;
            }
            if let Some(taken) = self.take_of(&id) {
                return Some(taken);
            }
        }
    }

    /// Takes out what is ready of one partition.
    pub(super) fn take_of(&mut self, id: &TopicPartition) -> Option<Taken> {
        let slot = self.slots.get_mut(id).filter(|slot| !slot.paused)?;
        let (id, generation, position) = (id.clone(), slot.generation, slot.position);
        if let Some(fresh) = slot.chunks.pop_front() {
            return Some(Taken::Chunk { id, generation, fresh });
        }
        let trouble = slot.trouble.take()?;
        Some(Taken::Trouble { id, position, trouble })
    }

    /// Gives back a chunk that was opened as far as its position. False: what was read of it is void.
    pub(super) fn opened(
        &mut self,
        id: &TopicPartition,
        generation: u64,
        fresh: Fresh,
        error: Option<CorruptRecords>,
    ) -> bool {
        let bytes = fresh.chunk.len();
        let Some(slot) = self.slots.get_mut(id).filter(|slot| slot.generation == generation) else {
            self.buffered -= bytes;
            return false;
        };
        slot.position = fresh.chunk.position();
        if let Some(cause) = error {
            self.buffered -= bytes + slot.buffered();
            slot.chunks.clear();
            slot.fetch_at = slot.position;
            self.rest(id, Trouble::Corrupt(cause));
            return true;
        }
        if fresh.chunk.is_done() {
            self.buffered -= bytes;
        } else {
            slot.chunks.push_front(fresh);
        }
        self.enqueue(id);
        true
    }

    fn enqueue(&mut self, id: &TopicPartition) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let has_something = !slot.chunks.is_empty() || slot.trouble.is_some();
        if has_something && !slot.queued && !slot.paused {
            slot.queued = true;
            self.ready.push_back(id.clone());
        }
    }
}

impl Slot {
    /// Which broker it is read from.
    fn source(&self, now: Instant) -> Option<BrokerId> {
        let leader = self.leader?.broker;
        match self.preferred {
            // Only a leader compares epochs.
            Some((replica, until)) if now < until && !self.unchecked => Some(replica),
            _ => Some(leader),
        }
    }

    fn go_to(&mut self, position: Position) {
        self.position = position;
        self.fetch_at = position;
        self.unchecked = position.epoch != LeaderEpoch::NONE;
        self.retry_at = None;
        self.failures = 0;
        self.chunks.clear();
        self.trouble = None;
        self.resting = false;
    }

    fn buffered(&self) -> usize {
        self.chunks.iter().map(|fresh| fresh.chunk.len()).sum()
    }

    /// Another attempt, after a pause.
    pub(super) fn fail(&mut self, now: Instant, chance: f64, options: &FetchOptions) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + options.retry_backoff.pause(self.failures, chance));
    }

    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }
}

#[cfg(test)]
mod tests;
