//! What a process serves: appends that wait for replicas, fetches that wait for records, reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::partition::follower::LeaderOffsets;
use broker::partition::{
    Asker, ListOffset, OffsetQuery, Partition, PartitionError, Read, ReadArgs, Reader, RequiredAcks,
};
use bytes::Bytes;
use client::fetch_session::Ask;
use client::ids::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicPartition};
use client::wire::messages::fetch_response::{EpochEndOffset, PartitionData};
use client::wire::{ErrorCode, Records};

use super::fetching::Fetching;
use super::{MS, Message, Out, Place, Process, REQUEST_TIMEOUT, Roles, Tick, Time};
use crate::sim::message::Stored;
use crate::sim::verdict::{Api, Question, Verdict};

/// How long a fetch waits for records (`replica.fetch.wait.max.ms`).
pub(super) const FETCH_WAIT: Time = 500 * MS;
/// What one fetch takes of a partition.
const READ_BYTES: usize = 1 << 20;

/// A follower's fetch that found nothing.
#[derive(Debug)]
struct Parked {
    from: Place,
    follower: (BrokerId, BrokerEpoch),
    asks: BTreeMap<TopicPartition, Ask>,
    /// The epochs in which the wait began.
    epochs: BTreeMap<TopicPartition, LeaderEpoch>,
}

/// An append that waits until it is replicated.
#[derive(Debug)]
struct Waiting {
    from: Place,
    id: u64,
    partition: Arc<Partition>,
    epoch: LeaderEpoch,
    required: Offset,
    base: Offset,
    until: Time,
}

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Serving {
    parked: BTreeMap<u64, Parked>,
    waiting: Vec<Waiting>,
    /// Somebody began to wait since the last look.
    is_new: bool,
    pub(super) fetching: Fetching,
}

impl Serving {
    /// Answers whoever has waited for what is there now, or long enough.
    pub(super) fn wake(&mut self, roles: &Roles, anything_changed: bool, out: &mut Out<'_>) {
        let is_due = self.waiting.iter().any(|waiting| waiting.until <= out.now);
        if !(anything_changed || is_due || std::mem::take(&mut self.is_new)) {
            return;
        }
        self.is_new = false;
        self.waiting.retain(|waiting| {
            let verdict = match waiting.partition.status().acks(waiting.epoch, waiting.required) {
                None if out.now < waiting.until => return true,
                None => Err(ErrorCode::RequestTimedOut),
                Some(verdict) => verdict.map_err(|error| error.code()),
            };
            let result = verdict.map(|()| Stored { base: waiting.base, epoch: waiting.epoch });
            out.sent.push((waiting.from, Message::Produced { id: waiting.id, epoch: waiting.epoch, result }));
            false
        });
        let is_ready = |parked: &Parked| {
            parked.asks.iter().any(|(id, ask)| {
                let Some(partition) = roles.get(id) else { return true };
                let status = partition.status();
                let same_epoch = parked.epochs.get(id) == Some(&status.epoch);
                status.offline || !status.is_leader() || !same_epoch || status.end != ask.offset
            })
        };
        let ready: Vec<u64> =
            self.parked.iter().filter(|(_, parked)| is_ready(parked)).map(|(id, _)| *id).collect();
        for id in ready {
            self.deadline(id, roles, out);
        }
    }

    /// A parked fetch is answered with what there is.
    pub(super) fn deadline(&mut self, id: u64, roles: &Roles, out: &mut Out<'_>) {
        let Some(parked) = self.parked.remove(&id) else { return };
        let parts = parked.asks.iter().map(|(partition, ask)| {
            let data = part(&read(roles, partition, ask, parked.follower, false, out));
            (partition.clone(), data)
        });
        let parts = parts.collect();
        out.send(parked.from, Message::Fetched { id, parts });
    }
}

impl Process {
    pub(super) fn serve_fetch(
        &mut self,
        from: Place,
        id: u64,
        follower: (BrokerId, BrokerEpoch),
        asks: BTreeMap<TopicPartition, Ask>,
        out: &mut Out<'_>,
    ) {
        let reads: Vec<(TopicPartition, Result<Read, PartitionError>)> = asks
            .iter()
            .map(|(id, ask)| (id.clone(), read(&self.roles, id, ask, follower, true, out)))
            .collect();
        let is_empty = |read: &Result<Read, PartitionError>| matches!(read, Ok(read) if read.diverging.is_none() && read.records.is_empty());
        if !reads.iter().all(|(_, read)| is_empty(read)) {
            let parts = reads.iter().map(|(id, read)| (id.clone(), part(read))).collect();
            out.send(from, Message::Fetched { id, parts });
            return;
        }
        let epoch = |id: &TopicPartition| self.roles.get(id).map(|partition| partition.status().epoch);
        let epochs = asks.keys().filter_map(|id| Some((id.clone(), epoch(id)?))).collect();
        self.serving.is_new = true;
        self.serving.parked.insert(id, Parked { from, follower, asks, epochs });
        out.after(FETCH_WAIT, Tick::Parked(id));
    }

    pub(super) fn serve_ends(
        &mut self,
        from: Place,
        id: u64,
        partition: &TopicPartition,
        epoch: LeaderEpoch,
        out: &mut Out<'_>,
    ) {
        let asked = named(Api::ListOffsets, from, partition, epoch);
        let mut end = |query| -> Result<Offset, ErrorCode> {
            let ask = ListOffset { asker: Asker::Replica, current_leader_epoch: Some(epoch), query };
            let found = self.roles.find_offset(partition, &ask, out.clock);
            note(&self.roles, asked.clone(), &found, out);
            Ok(found?.offset)
        };
        let found = end(OffsetQuery::Latest)
            .and_then(|last| Ok(LeaderOffsets { start: end(OffsetQuery::Earliest)?, end: last }));
        out.send(from, Message::EndsFound { id, found });
    }

    pub(super) fn serve_produce(
        &mut self,
        from: Place,
        id: u64,
        partition: &TopicPartition,
        batch: &Bytes,
        out: &mut Out<'_>,
    ) {
        let Some(partition) = self.roles.get(partition) else {
            let result = Err(ErrorCode::NotLeaderOrFollower);
            out.send(from, Message::Produced { id, epoch: LeaderEpoch::NONE, result });
            return;
        };
        let mut batch = batch.to_vec();
        match partition.append_as_leader(&mut batch, RequiredAcks::All, out.clock) {
            Ok(append) => {
                out.counts.add_if(append.appended.duplicate, "batch recognised as sent before");
                self.serving.is_new = true;
                self.serving.waiting.push(Waiting {
                    from,
                    id,
                    partition,
                    epoch: append.epoch,
                    required: append.required,
                    base: append.appended.first_offset,
                    until: out.now + REQUEST_TIMEOUT,
                });
            }
            Err(error) => {
                out.counts.add_if(
                    matches!(error, PartitionError::NotEnoughReplicas { .. }),
                    "append refused: too few in sync",
                );
                let epoch = partition.status().epoch;
                out.send(from, Message::Produced { id, epoch, result: Err(error.code()) });
            }
        }
    }

    pub(super) fn serve_consume(
        &mut self,
        from: Place,
        id: u64,
        partition: &TopicPartition,
        (offset, epoch): (Offset, Option<LeaderEpoch>),
        out: &mut Out<'_>,
    ) {
        let hosted = self.roles.get(partition);
        let read = || -> Result<Bytes, ErrorCode> {
            let partition = hosted.as_ref().ok_or(ErrorCode::NotLeaderOrFollower)?;
            let reader = Reader::Consumer { read_committed: false, leader_only: true };
            let args = ReadArgs {
                reader,
                offset,
                current_leader_epoch: epoch,
                last_fetched_epoch: None,
                max_bytes: READ_BYTES,
                at_least_one: true,
            };
            let read = partition.read(&args, out.clock).map_err(|error| error.code())?;
            Ok(memory(&read.records))
        };
        let result = read();
        if let Some(epoch) = epoch {
            let asked = |api| named(api, from, partition, epoch);
            note(&self.roles, asked(Api::Fetch), &result, out);
            let asker = Asker::Consumer { read_committed: false };
            let ask = ListOffset { asker, current_leader_epoch: Some(epoch), query: OffsetQuery::Latest };
            let end = self.roles.find_offset(partition, &ask, out.clock);
            note(&self.roles, asked(Api::ListOffsets), &end, out);
            let hosted = hosted.as_ref().ok_or(ErrorCode::NotLeaderOrFollower);
            let end = hosted.and_then(|partition| {
                let end = partition.offset_for_leader_epoch(Some(epoch), epoch, out.clock);
                end.map_err(|error| error.code())
            });
            note(&self.roles, asked(Api::OffsetForLeaderEpoch), &end, out);
        }
        let epoch = hosted.map_or(LeaderEpoch::NONE, |partition| partition.status().epoch);
        out.send(from, Message::Consumed { id, epoch, result });
    }
}

fn named(api: Api, asker: Place, partition: &TopicPartition, named: LeaderEpoch) -> Question {
    Question { api, asker, partition: partition.clone(), named }
}

/// Notes how a question was answered, just after it was.
fn note<T>(roles: &Roles, question: Question, answer: &Result<T, ErrorCode>, out: &mut Out<'_>) {
    let status = roles.get(&question.partition).map(|partition| partition.status());
    let error = answer.as_ref().err().copied().unwrap_or(ErrorCode::None);
    out.verdicts.push(Verdict { question, status, error });
}

fn read(
    roles: &Roles,
    id: &TopicPartition,
    ask: &Ask,
    (id_of_follower, registration): (BrokerId, BrokerEpoch),
    record_position: bool,
    out: &mut Out<'_>,
) -> Result<Read, PartitionError> {
    let args = ReadArgs {
        reader: Reader::Replica {
            id: id_of_follower,
            registration,
            log_start: ask.log_start,
            record_position,
        },
        offset: ask.offset,
        current_leader_epoch: Some(ask.leader_epoch),
        last_fetched_epoch: Some(ask.last_fetched_epoch).filter(|epoch| *epoch != LeaderEpoch::NONE),
        max_bytes: READ_BYTES,
        at_least_one: true,
    };
    let partition = roles.get(id).ok_or(PartitionError::NotLeader);
    let read = partition.and_then(|partition| partition.read(&args, out.clock));
    let asked = named(Api::Fetch, Place::Broker(id_of_follower), id, ask.leader_epoch);
    note(roles, asked, &read.as_ref().map_err(PartitionError::code), out);
    read
}

fn part(read: &Result<Read, PartitionError>) -> PartitionData {
    match read {
        Ok(read) => {
            let diverging =
                read.diverging.map(|found| EpochEndOffset { epoch: found.epoch.0, end_offset: found.end.0 });
            PartitionData {
                high_watermark: read.high_watermark.0,
                log_start_offset: read.log_start.0,
                diverging_epoch: diverging.unwrap_or_default(),
                records: Some(Records::Memory(memory(&read.records))),
                ..PartitionData::default()
            }
        }
        Err(error) => PartitionData { error_code: error.code().code(), ..PartitionData::default() },
    }
}

/// A simulated disk gives records in memory.
pub(in crate::sim) fn memory(records: &Records) -> Bytes {
    match records {
        Records::Memory(bytes) => bytes.clone(),
        Records::File(_) => Bytes::new(),
    }
}
