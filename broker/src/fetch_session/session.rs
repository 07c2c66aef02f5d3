//! One session: its partitions in the order they are read, and what was last said of each.

use std::collections::{BTreeMap, HashMap};

use super::{Answer, Ask, INITIAL_EPOCH, PartitionRef, SessionError};

/// The watermark of a partition nothing was said about yet, or whose last answer was an error:
/// differs from any real one, so the next answer is sent.
const NOT_SAID: i64 = -1;

#[derive(Debug)]
pub(super) struct Session {
    id: i32,
    by_topic_id: bool,
    /// The epoch the next request must carry.
    epoch: i32,
    /// By turn; a partition that had records gets a new turn, behind all others.
    partitions: BTreeMap<u64, Remembered>,
    turns: HashMap<PartitionRef, u64>,
    next_turn: u64,
}

#[derive(Debug)]
struct Remembered {
    partition: PartitionRef,
    ask: Ask,
    high_watermark: i64,
    log_start_offset: i64,
}

impl Session {
    pub(super) fn new(id: i32, by_topic_id: bool) -> Session {
        Session {
            id,
            by_topic_id,
            epoch: after(INITIAL_EPOCH),
            partitions: BTreeMap::new(),
            turns: HashMap::new(),
            next_turn: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Checks that a request may use this session now.
    pub(super) fn expect(&self, epoch: i32, by_topic_id: bool) -> Result<(), SessionError> {
        self.expect_epoch(epoch)?;
        if by_topic_id != self.by_topic_id {
            return Err(SessionError::TopicIds { id: self.id });
        }
        Ok(())
    }

    pub(super) fn expect_epoch(&self, epoch: i32) -> Result<(), SessionError> {
        if epoch != self.epoch {
            return Err(SessionError::Epoch { id: self.id, expected: self.epoch, got: epoch });
        }
        Ok(())
    }

    /// Moves to the epoch of the next request and returns it.
    pub(super) fn advance_epoch(&mut self) -> i32 {
        self.epoch = after(self.epoch);
        self.epoch
    }

    /// Takes over what a request lists. Partitions already known keep their turn and what was said.
    pub(super) fn update(&mut self, listed: &[(PartitionRef, Ask)], forgotten: &[PartitionRef]) {
        for (partition, ask) in listed {
            match self.turns.get(partition).and_then(|turn| self.partitions.get_mut(turn)) {
                Some(known) => known.ask = *ask,
                None => self.push(Remembered {
                    partition: partition.clone(),
                    ask: *ask,
                    high_watermark: NOT_SAID,
                    log_start_offset: NOT_SAID,
                }),
            }
        }
        for partition in forgotten {
            if let Some(turn) = self.turns.remove(partition) {
                self.partitions.remove(&turn);
            }
        }
    }

    /// Adds a partition with the answer that was given with the request that made the session.
    pub(super) fn add_answered(&mut self, partition: &PartitionRef, ask: Ask, answer: Answer) {
        self.push(Remembered {
            partition: partition.clone(),
            ask,
            high_watermark: if answer.is_error { NOT_SAID } else { answer.high_watermark },
            log_start_offset: answer.log_start_offset,
        });
    }

    /// The partitions to read, in order.
    pub(super) fn partitions(&self) -> Vec<(PartitionRef, Ask)> {
        self.partitions.values().map(|known| (known.partition.clone(), known.ask)).collect()
    }

    /// Takes note of an answer; true if it says anything new.
    pub(super) fn answer(&mut self, partition: &PartitionRef, answer: Answer) -> bool {
        let Some(&turn) = self.turns.get(partition) else { return true };
        let Some(known) = self.partitions.get_mut(&turn) else { return true };
        let changed = known.high_watermark != answer.high_watermark
            || known.log_start_offset != answer.log_start_offset;
        // An error is repeated with every response, and what follows it is news.
        known.high_watermark = if answer.is_error { NOT_SAID } else { answer.high_watermark };
        known.log_start_offset = answer.log_start_offset;
        if answer.has_records
            && let Some(known) = self.partitions.remove(&turn)
        {
            self.push(known);
        }
        changed || answer.has_records || answer.is_error || answer.redirects
    }

    fn push(&mut self, known: Remembered) {
        self.turns.insert(known.partition.clone(), self.next_turn);
        self.partitions.insert(self.next_turn, known);
        self.next_turn += 1;
    }
}

/// Epochs of running sessions are 1 to 2^31−1, then 1 again: 0 and −1 have meanings of their own.
fn after(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
impl Session {
    pub(super) fn set_epoch(&mut self, epoch: i32) {
        self.epoch = epoch;
    }
}
