//! The batches of one partition, in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::batch::{Batch, next_sequence};
use crate::cluster::Leadership;
use crate::ids::TopicPartition;
use crate::record::Producer;

/// A leader that was elected less than this ago may not have heard of it yet.
const NEWLY_ELECTED: Duration = Duration::from_secs(1);
/// The first pause before such a leader is asked again; it doubles.
const NEWLY_ELECTED_PAUSE: Duration = Duration::from_millis(5);

/// The batches of one partition that are not acknowledged.
///
/// Order is kept: batches leave by rising id, and once one came back none overtakes it. Batches that came back
/// go out one at a time.
#[derive(Debug)]
pub(super) struct Queue<T> {
    pub(super) at: TopicPartition,
    /// By rising id; only the last takes more records.
    pub(super) waiting: VecDeque<Batch<T>>,
    /// Ids of the batches that were handed out.
    in_flight: Vec<u64>,
    pub(super) leader: Option<Leadership>,
    leader_since: Option<Instant>,
    /// Refusals by this leader, which does not lead (yet).
    refusals: u32,
    /// Whether somebody tells of the partition's leaders.
    pub(super) is_followed: bool,
    pub(super) last_used: Instant,
    sequence: Sequence,
}

/// An idempotent producer's place in a partition.
#[derive(Debug, Default)]
struct Sequence {
    /// Id, epoch, and the sequence number of the next record.
    next: Option<Producer>,
    /// The broker expects another number than that of the first batch: it refused or lost one before it.
    /// Once nothing is in flight, the batches are numbered anew in the next epoch (KIP-360).
    is_broken: bool,
}

/// When the first batch may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    At(Instant),
    /// When something else has happened.
    Later,
}

/// What lets batches go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) now: Instant,
    pub(super) linger: Duration,
    /// Estimated uncompressed bytes from which a batch is full.
    pub(super) full_bytes: usize,
    /// Batches in flight to one partition.
    pub(super) max_in_flight: usize,
    /// Batches up to this id do not linger.
    pub(super) flush_to: u64,
    /// Somebody waits for memory: nothing lingers.
    pub(super) is_starved: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(at: TopicPartition, now: Instant) -> Queue<T> {
        Queue {
            at,
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            leader: None,
            leader_since: None,
            refusals: 0,
            is_followed: false,
            last_used: now,
            sequence: Sequence::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Another leader: what waits for a pause because of the one before need not.
    pub(super) fn led_by(&mut self, leader: Option<Leadership>, now: Instant) {
        if self.leader == leader {
            return;
        }
        self.leader = leader;
        self.leader_since = Some(now);
        self.refusals = 0;
        if leader.is_some() {
            self.waiting.iter_mut().for_each(|batch| batch.not_before = None);
        }
    }

    /// The batch that takes another record, if there is one with room.
    pub(super) fn open(&mut self, size: usize, full_bytes: usize) -> Option<&mut Batch<T>> {
        let last = self.waiting.back_mut()?;
        let is_fresh = last.attempts == 0 && !last.has_sequence();
        (is_fresh && last.bytes + size <= full_bytes).then_some(last)
    }

    pub(super) fn due(&self, pace: &Pace) -> Due {
        let Some(first) = self.waiting.front() else { return Due::Later };
        let comes_again = first.attempts > 0;
        let alone = comes_again || self.sequence.is_broken;
        if self.leader.is_none()
            || (alone && !self.in_flight.is_empty())
            || self.in_flight.len() >= pace.max_in_flight
        {
            return Due::Later;
        }
        if let Some(not_before) = first.not_before.filter(|not_before| *not_before > pace.now) {
            return Due::At(not_before);
        }
        let lingered = first.created + pace.linger;
        let is_full = self.waiting.len() > 1 || first.bytes >= pace.full_bytes;
        let goes =
            comes_again || is_full || first.id <= pace.flush_to || pace.is_starved || lingered <= pace.now;
        if goes { Due::Now } else { Due::At(lingered) }
    }

    /// Hands out the first batch. With `producer`, it is given its sequence numbers; `None` if it needs them
    /// and there is no producer id.
    pub(super) fn take(&mut self, producer: Option<&mut ProducerId>) -> Option<Batch<T>> {
        if let Some(producer) = producer {
            self.number(producer)?;
        }
        let batch = self.waiting.pop_front()?;
        self.in_flight.push(batch.id);
        Some(batch)
    }

    /// Gives the first batch its sequence numbers.
    fn number(&mut self, id: &mut ProducerId) -> Option<()> {
        if self.sequence.is_broken {
            self.renumber(id);
        }
        let first = self.waiting.front_mut()?;
        if first.has_sequence() {
            return Some(());
        }
        let next = match self.sequence.next {
            Some(next) => next,
            None => {
                let (id, epoch) = id.current?;
                Producer { id, epoch, base_sequence: 0 }
            }
        };
        first.producer = next;
        let base_sequence = next_sequence(next.base_sequence, first.records.len());
        self.sequence.next = Some(Producer { base_sequence, ..next });
        Some(())
    }

    /// Starts the next epoch, or with a new id where there is none left. Nothing is in flight.
    fn renumber(&mut self, id: &mut ProducerId) {
        self.sequence.next = self.sequence.next.and_then(|last| {
            let epoch = last.epoch.checked_add(1)?;
            Some(Producer { id: last.id, epoch, base_sequence: 0 })
        });
        if self.sequence.next.is_none() {
            id.current = None;
        }
        self.sequence.is_broken = false;
        self.waiting.iter_mut().for_each(|batch| batch.producer = Producer::NONE);
    }

    /// A batch that was handed out has come back, whatever became of it.
    pub(super) fn returned(&mut self, id: u64) {
        if let Some(place) = self.in_flight.iter().position(|flying| *flying == id) {
            self.in_flight.swap_remove(place);
        }
    }

    /// Puts batches of one id back in their place.
    pub(super) fn put_back(&mut self, batches: Vec<Batch<T>>) {
        let Some(id) = batches.first().map(|first| first.id) else { return };
        let place = self.waiting.partition_point(|waiting| waiting.id < id);
        for (offset, batch) in batches.into_iter().enumerate() {
            self.waiting.insert(place + offset, batch);
        }
    }

    /// The broker did not expect this sequence number. If no earlier batch can explain that by coming back, the
    /// numbers are wrong.
    pub(super) fn out_of_order(&mut self, id: u64) {
        let earlier = |other: &u64| *other < id;
        let explained =
            self.in_flight.iter().any(earlier) || self.waiting.iter().any(|batch| earlier(&batch.id));
        self.sequence.is_broken |= !explained;
    }

    /// A batch with these numbers is given up, so there is a gap.
    pub(super) fn given_up(&mut self, batch: &Batch<T>) {
        self.sequence.is_broken |= batch.has_sequence();
    }

    /// The leader says that it does not lead. `Some`: it may not have heard yet, so ask again soon.
    pub(super) fn refused_by_leader(&mut self, now: Instant) -> Option<Duration> {
        let since = self.leader_since?;
        let pause = NEWLY_ELECTED_PAUSE.saturating_mul(1_u32.checked_shl(self.refusals)?);
        self.refusals += 1;
        (now.saturating_duration_since(since) < NEWLY_ELECTED).then_some(pause)
    }
}

/// The id that the brokers gave an idempotent producer, with its first epoch.
#[derive(Debug, Default)]
pub(super) struct ProducerId {
    pub(super) current: Option<(i64, i16)>,
}
