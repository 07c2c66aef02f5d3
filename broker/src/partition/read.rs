//! What fetchers and those who ask for offsets get from a partition.

use bytes::Bytes;
use client::ids::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};
use client::wire::Records;

use super::epochs::{Divergence, EpochEnd, divergence};
use super::{CaughtUp, Inner, Partition, PartitionError, Role};
use crate::clock::Now;
use crate::log::producer_state::ProducerState;
use crate::log::{AbortedTxn, Log};

/// On whose behalf records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Consumer {
        read_committed: bool,
        /// False: an in-sync or lagging follower serves too (KIP-392).
        leader_only: bool,
    },
    Replica {
        id: BrokerId,
        /// The registration under which it asks, −1 if it does not say (KIP-903).
        registration: BrokerEpoch,
        log_start: Offset,
        /// True when the request arrives; false when a parked one is read again, since the
        /// follower's position was recorded on arrival.
        record_position: bool,
    },
    /// The leader itself, of a topic that it keeps its own state in: up to the log's end.
    Coordinator,
}

/// One partition's part of a Fetch request.
#[derive(Debug, Clone, Copy)]
pub struct ReadArgs {
    pub reader: Reader,
    pub offset: Offset,
    pub current_leader_epoch: Option<LeaderEpoch>,
    pub last_fetched_epoch: Option<LeaderEpoch>,
    pub max_bytes: usize,
    /// Whether the first batch is returned whole even if it is larger than `max_bytes`.
    pub at_least_one: bool,
}

/// What was read. The offsets are those from before the read.
#[derive(Debug, Clone)]
pub struct Read {
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start: Offset,
    pub log_end: Offset,
    /// Batches as they lie in the file; empty if there are none yet, or on divergence. Cut at
    /// `max_bytes`, in the middle of a batch.
    pub records: Records,
    /// The size of the first batch; larger than the records if they were cut within it.
    pub first_batch_len: usize,
    /// What else the reader may see lies in later segments: waiting brings no more from this place.
    pub in_older_segment: bool,
    /// For a reader of committed data: the aborted transactions it has to skip.
    pub aborted: Option<Vec<AbortedTxn>>,
    /// The fetcher's log differs from ours: it has to truncate (KIP-595).
    pub diverging: Option<EpochEnd>,
}

impl Read {
    fn nothing_of(log: &Log) -> Read {
        Read {
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
            log_start: log.start_offset(),
            log_end: log.end_offset(),
            records: Records::Memory(Bytes::new()),
            first_batch_len: 0,
            in_older_segment: false,
            aborted: None,
            diverging: None,
        }
    }
}

/// On whose behalf offsets are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Consumer {
        read_committed: bool,
    },
    Replica,
    /// Replica id −2: any replica answers, up to its log's end.
    Debugger,
    /// A controller that compares logs: alike, but with the epoch of the log's last record.
    Comparer,
}

impl Asker {
    fn needs_leader(self) -> bool {
        match self {
            Asker::Consumer { .. } | Asker::Replica => true,
            Asker::Debugger | Asker::Comparer => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    /// −1
    Latest,
    /// −2; also −4, since nothing is stored elsewhere.
    Earliest,
    /// −3
    MaxTimestamp,
    /// The first record with this timestamp or a later one.
    At(i64),
}

/// One partition's part of a ListOffsets request.
#[derive(Debug, Clone, Copy)]
pub struct ListOffset {
    pub asker: Asker,
    pub current_leader_epoch: Option<LeaderEpoch>,
    pub query: OffsetQuery,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// −1 where the question was not about time.
    pub timestamp: i64,
    pub offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Partition {
    /// Reads batches; for a replica also records how far it is, which may move the high
    /// watermark and propose its return into the in-sync set.
    pub fn read(&self, args: &ReadArgs, now: Now) -> Result<Read, PartitionError> {
        match args.reader {
            Reader::Replica { id, registration, log_start, record_position: true } => {
                let mut proposed = None;
                let read = self.change(now, |inner, moment| {
                    let read = inner.read(args)?;
                    if read.diverging.is_none() {
                        let (leader, _) = inner.leading()?;
                        let proposal =
                            leader.follower_fetched((id, registration), args.offset, log_start, moment);
                        proposed = proposal.map(|proposal| (inner.topic_id, proposal));
                    }
                    Ok(read)
                })?;
                if let Some((topic_id, proposal)) = proposed {
                    self.propose(topic_id, Some(proposal));
                }
                Ok(read)
            }
            Reader::Replica { .. } | Reader::Coordinator | Reader::Consumer { .. } => {
                self.observe(now, |inner| inner.read(args))
            }
        }
    }

    /// Who leads, this broker, and which in-sync followers could serve a consumer from `offset` on.
    /// `None` if this broker does not lead.
    pub fn in_sync_followers_with(&self, offset: Offset) -> Option<(BrokerId, Vec<CaughtUp>)> {
        let inner = self.lock();
        let Role::Leader(leader) = &inner.role else { return None };
        Some((self.around.me, leader.in_sync_with(offset).collect()))
    }

    /// What a read says beside records.
    pub fn offsets(&self, current_leader_epoch: Option<LeaderEpoch>) -> Result<Read, PartitionError> {
        let inner = self.lock();
        inner.check_epoch(current_leader_epoch)?;
        Ok(Read::nothing_of(inner.log()?))
    }

    /// `None`: no record is as late as that.
    pub fn list_offset(&self, ask: &ListOffset, now: Now) -> Result<Option<FoundOffset>, PartitionError> {
        self.observe(now, |inner| inner.list_offset(ask))
    }

    /// ListOffsets version 0: at most `max` offsets, newest first, of segments not newer than
    /// `timestamp` (or −1, −2).
    pub fn legacy_offsets(
        &self,
        asker: Asker,
        timestamp: i64,
        max: usize,
        now: Now,
    ) -> Result<Vec<Offset>, PartitionError> {
        self.observe(now, |inner| {
            inner.check_leads(asker.needs_leader())?;
            let log = inner.log()?;
            let bound = match asker {
                Asker::Consumer { .. } => log.high_watermark(),
                Asker::Replica | Asker::Debugger | Asker::Comparer => log.end_offset(),
            };
            Ok(log.legacy_offsets_before(timestamp, max, bound, now.unix_ms)?)
        })
    }

    /// Where `epoch`, or the largest one before it, ends in this log. `None`: not known here.
    pub fn offset_for_leader_epoch(
        &self,
        current_leader_epoch: Option<LeaderEpoch>,
        epoch: LeaderEpoch,
        now: Now,
    ) -> Result<Option<EpochEnd>, PartitionError> {
        self.observe(now, |inner| {
            inner.check_epoch(current_leader_epoch)?;
            inner.check_leads(true)?;
            inner.epoch_end(epoch)
        })
    }

    /// The producers that this replica remembers, by id.
    pub fn producers(&self) -> Result<Vec<(i64, ProducerState)>, PartitionError> {
        let inner = self.lock();
        Ok(inner.log()?.producers().iter().map(|(id, state)| (id, state.clone())).collect())
    }

    /// DeleteRecords: raises the log's start to `before` (`None`: to the high watermark).
    /// The offset asked for, once resolved; it is done when [`super::Status::low_watermark`] has
    /// reached it.
    pub fn delete_records(&self, before: Option<Offset>, now: Now) -> Result<Offset, PartitionError> {
        self.change(now, |inner, _| {
            let deletes = inner.config.log.cleanup_policy_delete;
            let (leader, log) = inner.leading()?;
            if !deletes {
                return Err(PartitionError::DeletionNotAllowed);
            }
            let (start, end) = (log.start_offset(), log.high_watermark());
            let before = before.unwrap_or(end);
            if before.0 < 0 || before > end {
                return Err(PartitionError::OffsetOutOfRange { offset: before, start, end });
            }
            if before > start {
                log.advance_start_offset(before)?;
                leader.start_moved(log.start_offset());
            }
            Ok(before)
        })
    }

    /// Like [`Partition::change`] for what changes nothing, so that nobody has to be told; but a
    /// read can be what finds a directory broken.
    fn observe<T>(
        &self,
        now: Now,
        look: impl FnOnce(&Inner) -> Result<T, PartitionError>,
    ) -> Result<T, PartitionError> {
        let outcome = look(&self.lock());
        match outcome {
            Err(PartitionError::Log(error)) => self.change(now, |_, _| Err(error.into())),
            outcome => outcome,
        }
    }
}

impl Inner {
    fn check_leads(&self, needed: bool) -> Result<(), PartitionError> {
        match self.role {
            Role::Offline => Err(PartitionError::Offline),
            Role::Leader(_) => Ok(()),
            Role::Follower(_) | Role::Idle if needed => Err(PartitionError::NotLeader),
            Role::Follower(_) | Role::Idle => Ok(()),
        }
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Result<Option<EpochEnd>, PartitionError> {
        Ok(self.log()?.end_offset_for_epoch(epoch).map(|(epoch, end)| EpochEnd { epoch, end }))
    }

    fn read(&self, args: &ReadArgs) -> Result<Read, PartitionError> {
        self.check_epoch(args.current_leader_epoch)?;
        self.check_leads(match args.reader {
            Reader::Consumer { leader_only, .. } => leader_only,
            Reader::Replica { .. } | Reader::Coordinator => true,
        })?;
        let log = self.log()?;
        self.check_replica(args)?;
        let mut read = Read::nothing_of(log);
        if let Some(last_fetched) = args.last_fetched_epoch {
            let out_of_range = PartitionError::OffsetOutOfRange {
                offset: args.offset,
                start: read.log_start,
                end: read.log_end,
            };
            match divergence(last_fetched, args.offset, self.epoch_end(last_fetched)?) {
                Divergence::OutOfRange => return Err(out_of_range),
                _ if args.offset < read.log_start => return Err(out_of_range),
                Divergence::At(found) => {
                    read.diverging = Some(found);
                    return Ok(read);
                }
                Divergence::None => {}
            }
        }
        let bound = match args.reader {
            Reader::Consumer { read_committed: false, .. } => read.high_watermark,
            Reader::Consumer { read_committed: true, .. } => read.last_stable_offset,
            Reader::Replica { .. } | Reader::Coordinator => read.log_end,
        };
        let slice = log.read(args.offset, args.max_bytes, bound, args.at_least_one)?;
        if let Reader::Consumer { read_committed: true, .. } = args.reader {
            read.aborted = Some(log.aborted_transactions(args.offset, &slice)?);
        }
        read.first_batch_len = slice.first_batch_len;
        read.in_older_segment = slice.in_older_segment;
        read.records = slice.records;
        Ok(read)
    }

    fn check_replica(&self, args: &ReadArgs) -> Result<(), PartitionError> {
        match (args.reader, &self.role) {
            (Reader::Replica { id, .. }, Role::Leader(leader)) if !leader.is_follower(id) => {
                let knows_epoch = args.current_leader_epoch.is_some();
                Err(PartitionError::NotReplica { replica: id, knows_epoch })
            }
            _ => Ok(()),
        }
    }

    fn list_offset(&self, ask: &ListOffset) -> Result<Option<FoundOffset>, PartitionError> {
        self.check_epoch(ask.current_leader_epoch)?;
        self.check_leads(ask.asker.needs_leader())?;
        let log = self.log()?;
        let bound = match ask.asker {
            Asker::Consumer { read_committed: false } => log.high_watermark(),
            Asker::Consumer { read_committed: true } => log.last_stable_offset(),
            Asker::Replica | Asker::Debugger | Asker::Comparer => log.end_offset(),
        };
        match ask.query {
            OffsetQuery::Earliest => {
                let start = log.start_offset();
                Ok(Some(FoundOffset { timestamp: -1, offset: start, leader_epoch: log.epoch_of(start) }))
            }
            OffsetQuery::Latest => {
                self.check_committed_known(ask.asker)?;
                let leader_epoch = match ask.asker {
                    // Who took the lead and wrote nothing has an epoch without a record, and no more than others.
                    Asker::Comparer => log.epoch_of(bound + -1).or_else(|| log.latest_epoch()),
                    _ => Some(self.leader_epoch),
                };
                Ok(Some(FoundOffset { timestamp: -1, offset: bound, leader_epoch }))
            }
            OffsetQuery::MaxTimestamp | OffsetQuery::At(_) => {
                let found = match ask.query {
                    OffsetQuery::At(timestamp) => log.offset_for_timestamp(timestamp)?,
                    _ => log.offset_of_max_timestamp()?,
                };
                match found.filter(|found| found.offset < bound) {
                    Some(found) => Ok(Some(FoundOffset {
                        timestamp: found.timestamp,
                        offset: found.offset,
                        leader_epoch: log.epoch_of(found.offset),
                    })),
                    None => self.check_committed_known(ask.asker).map(|()| None),
                }
            }
        }
    }

    /// A new leader knows what is committed only once its watermark has reached the start of its
    /// epoch; until then consumers must not be told of an end that may seem to move back.
    fn check_committed_known(&self, asker: Asker) -> Result<(), PartitionError> {
        let (Asker::Consumer { .. }, Role::Leader(leader)) = (asker, &self.role) else { return Ok(()) };
        let (high_watermark, epoch_start) = (leader.high_watermark(), leader.epoch_start());
        if high_watermark < epoch_start {
            return Err(PartitionError::OffsetNotAvailable { high_watermark, epoch_start });
        }
        Ok(())
    }
}
