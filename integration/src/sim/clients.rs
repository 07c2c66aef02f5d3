//! Producers with sequence numbers and acks=all, which repeat a batch until it is acknowledged, and
//! consumers that read below the high watermark.

use bytes::Bytes;
use client::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use client::record::{BatchBuilder, BatchOptions, NewRecord, Producer as Numbering};
use client::wire::ErrorCode;
use rand::Rng;
use rand::rngs::StdRng;

use super::message::{MS, Message, SECOND, Stored, Time};
use super::promises::{Batch, Promises};

/// Without an answer for so long, a batch is sent again.
const PATIENCE: Time = 1_200 * MS;
const RETRY: Time = 60 * MS;
const READ_EVERY: Time = 400 * MS;
/// After one batch in so many a producer has nothing to send for seconds.
const IDLE_ONCE_IN: u32 = 100;

/// How far the ids of a producer are apart that had to begin anew.
const RENEWAL: i64 = 10_000;

/// What wakes a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wake {
    Produce(usize),
    /// The request was not answered.
    Overdue(usize, u64),
    Consume(usize),
}

#[derive(Debug)]
struct Open {
    request: u64,
    batch: Bytes,
    name: Batch,
    to: BrokerId,
}

#[derive(Debug)]
struct Producer {
    id: i64,
    partition: TopicPartition,
    next_sequence: i32,
    open: Option<Open>,
    /// Its topic is not there.
    is_idle: bool,
}

#[derive(Debug)]
struct Consumer {
    partition: TopicPartition,
    position: Offset,
    /// Of the newest record it was given.
    last_epoch: LeaderEpoch,
    request: u64,
    /// Every other time it names the epoch of its metadata; clients of before KIP-320 name none.
    names_epoch: bool,
}

#[derive(Debug)]
pub(super) struct Clients {
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    /// Nobody makes new batches any more.
    pub draining: bool,
    /// The longest pause between two batches.
    gap: Time,
}

/// What the clients do next.
#[derive(Debug, Default)]
pub(super) struct Acts {
    pub sent: Vec<(BrokerId, Message)>,
    pub wakes: Vec<(Time, Wake)>,
    /// Where a batch was acknowledged just now.
    pub acknowledged: Option<TopicPartition>,
}

/// Who leads, and in which epoch, by the metadata of the broker that the number chooses.
type FindLeader<'a> = dyn Fn(&TopicPartition, u64) -> Option<(BrokerId, LeaderEpoch)> + 'a;

/// What a client needs of the world at a wake.
pub(super) struct Around<'a> {
    pub now: Time,
    pub ids: &'a mut u64,
    pub random: &'a mut StdRng,
    pub leader: &'a FindLeader<'a>,
    pub timestamp_ms: i64,
}

impl Producer {
    /// Numbers its batches anew, the open one first: what it counted on is gone. A further answer to the request that
    /// told it so is not about that one.
    fn begin_anew(&mut self, request: u64, timestamp_ms: i64) {
        self.id += RENEWAL;
        self.next_sequence = 0;
        let Some(open) = &mut self.open else { return };
        open.request = request;
        open.name = Batch { producer: self.id, sequence: 0, ..open.name };
        self.next_sequence = open.name.records;
        if let Some(batch) = build(open.name, timestamp_ms) {
            open.batch = batch;
        }
    }
}

impl Clients {
    pub(super) fn new(
        partitions: &[TopicPartition],
        fleeting: &TopicPartition,
        producers: usize,
        gap: Time,
    ) -> Clients {
        let of = |index: usize| partitions.get(index % partitions.len().max(1)).cloned();
        let producer = |index| {
            let id = 1_000 + i64::try_from(index).unwrap_or(0);
            Some(Producer { id, partition: of(index)?, next_sequence: 0, open: None, is_idle: false })
        };
        let partition = fleeting.clone();
        let idle = Producer { id: 5_000, partition, next_sequence: 0, open: None, is_idle: true };
        let consumer = |partition: &TopicPartition| Consumer {
            partition: partition.clone(),
            position: Offset(0),
            last_epoch: LeaderEpoch::NONE,
            request: 0,
            names_epoch: false,
        };
        Clients {
            producers: (0..producers).filter_map(producer).chain([idle]).collect(),
            consumers: partitions.iter().map(consumer).collect(),
            draining: false,
            gap,
        }
    }

    pub(super) fn first_wakes(&self) -> Vec<Wake> {
        let produce = (0..self.producers.len()).map(Wake::Produce);
        produce.chain((0..self.consumers.len()).map(Wake::Consume)).collect()
    }

    /// Whether every batch was acknowledged.
    pub(super) fn are_done(&self) -> bool {
        self.producers.iter().all(|producer| producer.open.is_none())
    }

    /// The partition's producer is a new one from now on.
    pub(super) fn begin_anew(&mut self, partition: &TopicPartition) -> Option<Wake> {
        let index = self.producers.iter().position(|producer| producer.partition == *partition)?;
        let producer = self.producers.get_mut(index)?;
        let (id, partition) = (producer.id % RENEWAL + 1, partition.clone());
        *producer = Producer { id, partition, next_sequence: 0, open: None, is_idle: false };
        Some(Wake::Produce(index))
    }

    /// The partition's producer ends.
    pub(super) fn give_up(&mut self, partition: &TopicPartition) {
        for producer in self.producers.iter_mut().filter(|producer| producer.partition == *partition) {
            producer.open = None;
            producer.is_idle = true;
        }
    }

    /// Whether the id is one of the partition's producer, or was.
    pub(super) fn is_of(&self, partition: &TopicPartition, id: i64) -> bool {
        let producer = self.producers.iter().find(|producer| producer.partition == *partition);
        producer.is_some_and(|producer| producer.id % RENEWAL == id % RENEWAL)
    }

    pub(super) fn wake(&mut self, wake: Wake, around: &mut Around<'_>) -> Acts {
        let mut acts = Acts::default();
        match wake {
            Wake::Produce(index) => self.produce(index, around, &mut acts),
            Wake::Overdue(index, request) => {
                let open = self.producers.get(index).and_then(|producer| producer.open.as_ref());
                if open.is_some_and(|open| open.request == request) {
                    self.produce(index, around, &mut acts);
                }
            }
            Wake::Consume(index) => {
                acts.wakes.push((around.now + READ_EVERY, wake));
                let Some(consumer) = self.consumers.get_mut(index) else { return acts };
                *around.ids += 1;
                let (id, partition) = (*around.ids, consumer.partition.clone());
                if let Some((leader, epoch)) = (around.leader)(&partition, around.random.random()) {
                    consumer.request = id;
                    consumer.names_epoch = !consumer.names_epoch;
                    let (offset, epoch) = (consumer.position, consumer.names_epoch.then_some(epoch));
                    acts.sent.push((leader, Message::Consume { id, partition, offset, epoch }));
                }
            }
        }
        acts
    }

    fn produce(&mut self, index: usize, around: &mut Around<'_>, acts: &mut Acts) {
        let Some(producer) = self.producers.get_mut(index) else { return };
        if producer.open.is_none() {
            if self.draining || producer.is_idle {
                return;
            }
            let records = around.random.random_range(1..4);
            let name = Batch { producer: producer.id, sequence: producer.next_sequence, records };
            let Some(batch) = build(name, around.timestamp_ms) else { return };
            producer.next_sequence += records;
            producer.open = Some(Open { request: 0, batch, name, to: BrokerId::NONE });
        }
        let Some(open) = &mut producer.open else { return };
        *around.ids += 1;
        open.request = *around.ids;
        acts.wakes.push((around.now + PATIENCE, Wake::Overdue(index, open.request)));
        if let Some((leader, _)) = (around.leader)(&producer.partition, around.random.random()) {
            open.to = leader;
            let (partition, batch) = (producer.partition.clone(), open.batch.clone());
            acts.sent.push((leader, Message::Produce { id: open.request, partition, batch }));
        }
    }

    pub(super) fn produced(
        &mut self,
        id: u64,
        epoch: LeaderEpoch,
        result: Result<Stored, ErrorCode>,
        promises: &mut Promises,
        around: &mut Around<'_>,
    ) -> Acts {
        let mut acts = Acts::default();
        let of_request = |producer: &Producer| producer.open.as_ref().is_some_and(|open| open.request == id);
        let Some(index) = self.producers.iter().position(of_request) else { return acts };
        let Some(producer) = self.producers.get_mut(index) else { return acts };
        match result {
            Ok(stored) => {
                if let Some(open) = producer.open.take() {
                    promises.acknowledged(&producer.partition, open.to, stored, open.name);
                    acts.acknowledged = Some(producer.partition.clone());
                }
                let pause = match around.random.random_range(0..IDLE_ONCE_IN) {
                    0 => around.random.random_range(2 * SECOND..9 * SECOND),
                    _ => around.random.random_range(self.gap / 4..self.gap),
                };
                acts.wakes.push((around.now + pause, Wake::Produce(index)));
            }
            Err(error) => {
                let partition = &producer.partition;
                // A leader of the past, that does not know of its successor, may say so too.
                let lacks =
                    error == ErrorCode::OutOfOrderSequenceNumber && promises.is_newest(partition, epoch);
                let mut request = id;
                if lacks && promises.has_lost_of(partition, producer.id) {
                    *around.ids += 1;
                    request = *around.ids;
                    producer.begin_anew(request, around.timestamp_ms);
                } else if lacks {
                    promises.broke(format!(
                        "{partition}: the leader does not know the batch before {:?}, which was acknowledged",
                        producer.open.as_ref().map(|open| open.name)
                    ));
                }
                acts.wakes.push((around.now + RETRY, Wake::Overdue(index, request)));
            }
        }
        acts
    }

    /// `epoch`: in which the replica that answers was.
    pub(super) fn consumed(
        &mut self,
        id: u64,
        epoch: LeaderEpoch,
        result: &Result<Bytes, ErrorCode>,
        promises: &mut Promises,
    ) {
        let Some(consumer) = self.consumers.iter_mut().find(|consumer| consumer.request == id) else {
            return;
        };
        let bytes = match result {
            Ok(bytes) => bytes,
            // What it had read is gone.
            Err(ErrorCode::OffsetOutOfRange) => {
                let read_to = (consumer.position, consumer.last_epoch);
                promises.refused(&consumer.partition, read_to, epoch);
                (consumer.position, consumer.last_epoch) = (Offset(0), LeaderEpoch::NONE);
                return;
            }
            Err(_) => return,
        };
        if let Some(read_to) = promises.read(&consumer.partition, consumer.position, bytes) {
            (consumer.position, consumer.last_epoch) = read_to;
        }
    }
}

pub(super) fn build(name: Batch, timestamp: i64) -> Option<Bytes> {
    let producer = Numbering { id: name.producer, epoch: 0, base_sequence: name.sequence };
    let options = BatchOptions { producer, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options).ok()?;
    for n in 0..name.records {
        let value = (name.sequence + n).to_be_bytes();
        let record = NewRecord { timestamp, value: Some(&value), ..NewRecord::default() };
        builder.push(&record).ok()?;
    }
    builder.finish().ok().map(Bytes::from)
}

/// How long the clients may take to be done once everything works. Where acknowledged batches are gone, a producer hears
/// of it when its leader has led for 5 s, and preferred leaders are elected meanwhile.
pub(super) const DRAIN: Time = 30 * SECOND;
