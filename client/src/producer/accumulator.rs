//! What is to be sent and not acknowledged yet: gathered into batches, bounded in memory, in order for each
//! partition. It knows neither clock nor network: time, chance and the brokers' answers are arguments.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::error::AttemptError;
use super::queue::{Due, Pace, ProducerId, Queue};
use super::record::ProducerRecord;
use crate::cluster::{Backoff, Leadership};
use crate::ids::{BrokerId, TopicPartition};
use crate::record::HEADER_LEN;
use crate::wire::ErrorCode;

/// The settings that matter here.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) batch_size: usize,
    pub(super) linger: Duration,
    pub(super) buffer_memory: usize,
    pub(super) max_request_size: usize,
    pub(super) delivery_timeout: Duration,
    pub(super) retries: u32,
    pub(super) retry_backoff: Backoff,
    /// Requests in flight to one broker.
    pub(super) max_in_flight: usize,
    pub(super) is_idempotent: bool,
    pub(super) is_compressing: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Accumulator<T> {
    limits: Limits,
    queues: Vec<Queue<T>>,
    places: HashMap<TopicPartition, usize>,
    /// Queues with batches that wait.
    active: BTreeSet<usize>,
    /// Where the next round over the queues begins, so that all get their turn.
    turn: usize,
    /// Partitions whose leaders somebody should begin to tell.
    unfollowed: Vec<TopicPartition>,
    used: usize,
    is_starved: bool,
    last_id: u64,
    /// How many batches of each id are not settled.
    unsettled: BTreeMap<u64, u32>,
    flush_to: u64,
    is_closing: bool,
    producer_id: ProducerId,
    /// Compressed by uncompressed size, as far as seen.
    ratios: HashMap<Arc<str>, f64>,
}

/// What became of a record that was offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered<T> {
    Taken {
        /// The next round should come early because of it.
        wakes: bool,
    },
    /// There is no memory at present.
    Full(ProducerRecord, T),
    Closed,
}

/// Whether a broker can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// This many more requests.
    Open(usize),
    /// There is no connection.
    Missing,
    /// There is none, and one is on its way, or was refused just before.
    Awaited,
}

/// What is to be done now.
#[derive(Debug)]
pub(super) struct Drained<T> {
    /// At most one request a broker.
    pub(super) requests: BTreeMap<BrokerId, Vec<Batch<T>>>,
    /// Brokers to connect to.
    pub(super) missing: BTreeSet<BrokerId>,
    /// Batches wait for a producer id.
    pub(super) needs_producer_id: bool,
    /// When to look again if nothing happens before.
    pub(super) next: Option<Instant>,
}

impl<T> Accumulator<T> {
    pub(super) fn new(limits: Limits) -> Accumulator<T> {
        Accumulator {
            limits,
            queues: Vec::new(),
            places: HashMap::new(),
            active: BTreeSet::new(),
            turn: 0,
            unfollowed: Vec::new(),
            used: 0,
            is_starved: false,
            last_id: 0,
            unsettled: BTreeMap::new(),
            flush_to: 0,
            is_closing: false,
            producer_id: ProducerId::default(),
            ratios: HashMap::new(),
        }
    }

    /// Takes a record, unless it gives it back.
    pub(super) fn append(
        &mut self,
        at: &TopicPartition,
        record: ProducerRecord,
        ticket: T,
        now: Instant,
    ) -> Offered<T> {
        if self.is_closing {
            return Offered::Closed;
        }
        let size = record.size_max();
        if self.used.saturating_add(size) > self.limits.buffer_memory {
            self.is_starved = true;
            return Offered::Full(record, ticket);
        }
        self.is_starved = false;
        let full_bytes = self.full_bytes(&at.topic);
        let place = self.place(at, now);
        let Some(queue) = self.queues.get_mut(place) else { return Offered::Full(record, ticket) };
        self.used += size;
        queue.last_used = now;
        if !queue.is_followed {
            queue.is_followed = true;
            self.unfollowed.push(at.clone());
        }
        if let Some(open) = queue.open(size, full_bytes) {
            open.push(record, ticket);
            return Offered::Taken { wakes: open.bytes >= full_bytes };
        }
        self.last_id += 1;
        let mut batch = Batch::new(at.clone(), self.last_id, now);
        batch.push(record, ticket);
        queue.waiting.push_back(batch);
        self.unsettled.insert(self.last_id, 1);
        self.active.insert(place);
        Offered::Taken { wakes: true }
    }

    /// The batches that wait for each of a topic's partitions; `None` where nobody leads it.
    pub(super) fn load(&self, topic: &Arc<str>, partitions: i32) -> Vec<Option<u32>> {
        let load = |partition| {
            let place = self.places.get(&TopicPartition { topic: topic.clone(), partition });
            let Some(queue) = place.and_then(|place| self.queues.get(*place)) else { return Some(0) };
            // One that is not followed may well be led.
            let usable = queue.leader.is_some() || !queue.is_followed;
            usable.then_some(u32::try_from(queue.waiting.len()).unwrap_or(u32::MAX))
        };
        (0..partitions).map(load).collect()
    }

    pub(super) fn led_by(&mut self, at: &TopicPartition, leader: Option<Leadership>, now: Instant) {
        if let Some(queue) = self.queue(at) {
            queue.led_by(leader, now);
        }
    }

    pub(super) fn leader(&mut self, at: &TopicPartition) -> Option<Leadership> {
        self.queue(at).and_then(|queue| queue.leader)
    }

    /// The partitions whose leaders somebody should begin to tell.
    pub(super) fn take_unfollowed(&mut self) -> Vec<TopicPartition> {
        std::mem::take(&mut self.unfollowed)
    }

    /// Whether a partition was unused for so long; then nobody needs to tell its leaders any more.
    pub(super) fn unfollow_if_idle(&mut self, at: &TopicPartition, idle: Duration, now: Instant) -> bool {
        let Some(queue) = self.queue(at) else { return true };
        let is_idle = queue.is_empty() && now.saturating_duration_since(queue.last_used) >= idle;
        if is_idle {
            queue.is_followed = false;
            queue.led_by(None, now);
        }
        is_idle
    }

    /// A broker cannot be reached: notes that on the batches that wait for it. The partitions concerned.
    pub(super) fn unreachable(
        &mut self,
        broker: BrokerId,
        error: &Arc<AttemptError>,
    ) -> Vec<(TopicPartition, Option<Leadership>)> {
        let mut concerned = Vec::new();
        for place in &self.active {
            let Some(queue) = self.queues.get_mut(*place) else { continue };
            if queue.leader.is_some_and(|leader| leader.broker == broker) {
                queue.waiting.iter_mut().for_each(|batch| batch.last_error = Some(error.clone()));
                concerned.push((queue.at.clone(), queue.leader));
            }
        }
        concerned
    }

    /// Hands out what may go now: for each broker at most one request, with at most one batch a partition.
    pub(super) fn drain(&mut self, now: Instant, link: impl Fn(BrokerId) -> Link) -> Drained<T> {
        let mut drained = Drained {
            requests: BTreeMap::new(),
            missing: BTreeSet::new(),
            needs_producer_id: false,
            next: None,
        };
        let mut sizes: BTreeMap<BrokerId, usize> = BTreeMap::new();
        let order: Vec<usize> =
            self.active.range(self.turn..).chain(self.active.range(..self.turn)).copied().collect();
        for place in order {
            let Some(topic) = self.queues.get(place).map(|queue| queue.at.topic.clone()) else { continue };
            let pace = self.pace(&topic, now);
            let Some(queue) = self.queues.get_mut(place) else { continue };
            match queue.due(&pace) {
                Due::Now => {}
                Due::At(at) => {
                    drained.next = Some(drained.next.map_or(at, |next| next.min(at)));
                    continue;
                }
                Due::Later => continue,
            }
            let Some(leader) = queue.leader else { continue };
            match link(leader.broker) {
                Link::Open(0) | Link::Awaited => continue,
                Link::Missing => {
                    drained.missing.insert(leader.broker);
                    continue;
                }
                Link::Open(_) => {}
            }
            let size = sizes.entry(leader.broker).or_default();
            let bytes = queue.waiting.front().map_or(0, |batch| batch.bytes);
            if *size > 0 && *size + bytes > self.limits.max_request_size {
                // The next request takes it, and the next round begins with the first such.
                if drained.next != Some(now) {
                    self.turn = place;
                    drained.next = Some(now);
                }
                continue;
            }
            let numbered = self.limits.is_idempotent.then_some(&mut self.producer_id);
            let Some(batch) = queue.take(numbered) else {
                drained.needs_producer_id = true;
                continue;
            };
            *size += bytes;
            if queue.waiting.is_empty() {
                self.active.remove(&place);
            }
            drained.requests.entry(leader.broker).or_default().push(batch);
        }
        drained
    }

    /// A batch was acknowledged.
    pub(super) fn succeeded(&mut self, batch: &Batch<T>) {
        if let Some(queue) = self.queue(&batch.at) {
            queue.returned(batch.id);
        }
        self.settled(batch);
    }

    /// A batch cannot be sent at all.
    pub(super) fn abandoned(&mut self, batch: &Batch<T>) {
        if let Some(queue) = self.queue(&batch.at) {
            queue.returned(batch.id);
            queue.given_up(batch);
        }
        self.settled(batch);
    }

    /// A batch was not acknowledged `by` the broker that had it. `None`: it will be sent again. `Some`: it is
    /// given up.
    pub(super) fn failed(
        &mut self,
        by: BrokerId,
        mut batch: Batch<T>,
        error: Arc<AttemptError>,
        now: Instant,
        chance: f64,
    ) -> Option<Batch<T>> {
        let code = match &*error {
            AttemptError::Refused { code, .. } => Some(*code),
            _ => None,
        };
        let (limits, is_idempotent) = (self.limits.clone(), self.limits.is_idempotent);
        let Some(queue) = self.queue(&batch.at) else { return Some(batch) };
        queue.returned(batch.id);
        batch.last_error = Some(error);
        if code == Some(ErrorCode::MessageTooLarge) && batch.records.len() > 1 {
            self.split(batch);
            return None;
        }
        let is_about_sequence = is_idempotent
            && matches!(
                code,
                Some(
                    ErrorCode::OutOfOrderSequenceNumber
                        | ErrorCode::UnknownProducerId
                        | ErrorCode::InvalidProducerEpoch
                )
            );
        if is_about_sequence {
            queue.out_of_order(batch.id);
        }
        let may_help = is_about_sequence || code.is_none_or(ErrorCode::is_retriable);
        let is_late = now >= batch.created + limits.delivery_timeout;
        if !may_help || is_late || batch.attempts >= limits.retries {
            queue.given_up(&batch);
            self.settled(&batch);
            return Some(batch);
        }
        batch.attempts += 1;
        let mut pause = limits.retry_backoff.pause(batch.attempts, chance);
        if queue.leader.is_some_and(|leader| leader.broker != by) {
            // Whoever is known to lead by now has refused nothing yet.
            pause = Duration::ZERO;
        } else if code == Some(ErrorCode::NotLeaderOrFollower)
            && let Some(soon) = queue.refused_by_leader(now)
        {
            pause = pause.min(soon);
        }
        batch.not_before = Some(now + pause);
        self.wait_again(vec![batch]);
        None
    }

    /// Refused as too large: in pieces it may pass. The estimate that let it grow is forgotten.
    fn split(&mut self, mut batch: Batch<T>) {
        self.ratios.insert(batch.at.topic.clone(), 1.0);
        // Pieces go one at a time, as everything that comes again.
        batch.attempts = batch.attempts.max(1);
        let id = batch.id;
        let pieces = batch.split(self.limits.batch_size);
        let more = u32::try_from(pieces.len()).unwrap_or(u32::MAX).saturating_sub(1);
        self.unsettled.entry(id).and_modify(|count| *count = count.saturating_add(more));
        self.wait_again(pieces);
    }

    fn wait_again(&mut self, batches: Vec<Batch<T>>) {
        let Some(at) = batches.first().map(|batch| batch.at.clone()) else { return };
        let Some(place) = self.places.get(&at).copied() else { return };
        if let Some(queue) = self.queues.get_mut(place) {
            queue.put_back(batches);
            self.active.insert(place);
        }
    }

    /// Takes out what has waited longer than `delivery.timeout.ms`, and tells when the next may have.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<Batch<T>>, Option<Instant>) {
        let timeout = self.limits.delivery_timeout;
        self.take_waiting(|batch| (batch.created + timeout > now).then_some(batch.created + timeout))
    }

    /// Takes out everything that waits; what is in flight comes back by itself.
    pub(super) fn give_up(&mut self) -> Vec<Batch<T>> {
        self.take_waiting(|_| None).0
    }

    /// Takes batches out from the front of the queues, up to the first that is to stay until a time.
    fn take_waiting(
        &mut self,
        stays_until: impl Fn(&Batch<T>) -> Option<Instant>,
    ) -> (Vec<Batch<T>>, Option<Instant>) {
        let (mut taken, mut next) = (Vec::new(), None::<Instant>);
        for place in self.active.iter().copied().collect::<Vec<_>>() {
            let Some(queue) = self.queues.get_mut(place) else { continue };
            while let Some(first) = queue.waiting.front() {
                if let Some(until) = stays_until(first) {
                    next = Some(next.map_or(until, |next| next.min(until)));
                    break;
                }
                let Some(batch) = queue.waiting.pop_front() else { break };
                queue.given_up(&batch);
                taken.push(batch);
            }
            if queue.waiting.is_empty() {
                self.active.remove(&place);
            }
        }
        taken.iter().for_each(|batch| self.settled(batch));
        (taken, next)
    }

    /// From here on, what was taken does not linger. The id of the last batch that this concerns.
    pub(super) fn flush(&mut self) -> u64 {
        self.flush_to = self.flush_to.max(self.last_id);
        self.last_id
    }

    /// Whether every batch up to this id was acknowledged or given up.
    pub(super) fn is_settled(&self, id: u64) -> bool {
        self.unsettled.first_key_value().is_none_or(|(first, _)| *first > id)
    }

    /// Nothing more is taken, and nothing lingers.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
        self.flush_to = u64::MAX;
    }

    /// Closed, and everything was acknowledged or given up.
    pub(super) fn is_done(&self) -> bool {
        self.is_closing && self.unsettled.is_empty()
    }

    pub(super) fn has_producer_id(&mut self, id: i64, epoch: i16) {
        self.producer_id.current = Some((id, epoch));
    }

    /// The brokers know no producer ids.
    pub(super) fn without_idempotence(&mut self) {
        self.limits.is_idempotent = false;
    }

    /// What a batch's compression came to: the next batches are filled accordingly, as Java's producer does.
    pub(super) fn compressed(&mut self, topic: &Arc<str>, uncompressed: usize, compressed: usize) {
        /// How fast the estimate follows when batches get smaller; it grows at once.
        const STEP: f64 = 0.005;
        if !self.limits.is_compressing || uncompressed == 0 {
            return;
        }
        let seen = compressed as f64 / uncompressed as f64;
        let ratio = self.ratios.entry(topic.clone()).or_insert(1.0);
        *ratio = if seen > *ratio { seen } else { (*ratio - STEP).max(seen) };
    }

    /// Bytes of records that are not acknowledged.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used
    }

    fn settled(&mut self, batch: &Batch<T>) {
        self.used = self.used.saturating_sub(batch.memory());
        if let Some(count) = self.unsettled.get_mut(&batch.id) {
            *count -= 1;
            if *count == 0 {
                self.unsettled.remove(&batch.id);
            }
        }
    }

    fn pace(&self, topic: &Arc<str>, now: Instant) -> Pace {
        let limits = &self.limits;
        // With neither sequence numbers nor the loss of what fails, order takes one batch at a time.
        let pipelines = limits.is_idempotent || limits.retries == 0;
        Pace {
            now,
            linger: limits.linger,
            full_bytes: self.full_bytes(topic),
            max_in_flight: if pipelines { limits.max_in_flight } else { 1 },
            flush_to: self.flush_to,
            is_starved: self.is_starved,
        }
    }

    /// Uncompressed bytes that fill a batch of the topic.
    fn full_bytes(&self, topic: &Arc<str>) -> usize {
        /// What the estimate may be off by without a batch becoming too large.
        const MARGIN: f64 = 1.05;
        let limits = &self.limits;
        let ratio = if limits.is_compressing { self.ratios.get(topic) } else { None };
        let full = match ratio {
            Some(ratio) => (limits.batch_size as f64 / (ratio * MARGIN)) as usize,
            None => limits.batch_size,
        };
        // However well it compresses, a batch leaves room for others in the buffer.
        full.min((limits.buffer_memory / 4).max(limits.batch_size)).max(HEADER_LEN + 1)
    }

    fn place(&mut self, at: &TopicPartition, now: Instant) -> usize {
        if let Some(place) = self.places.get(at) {
            return *place;
        }
        let place = self.queues.len();
        self.queues.push(Queue::new(at.clone(), now));
        self.places.insert(at.clone(), place);
        place
    }

    fn queue(&mut self, at: &TopicPartition) -> Option<&mut Queue<T>> {
        let place = self.places.get(at)?;
        self.queues.get_mut(*place)
    }
}

#[cfg(test)]
#[path = "accumulator_tests.rs"]
mod tests;
