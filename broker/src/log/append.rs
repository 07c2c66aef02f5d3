//! Appending: by the leader, which gives batches their offsets, and by a follower, which takes them as they are.

use client::ids::{LeaderEpoch, Offset};
use client::record::batch;
use client::record::{AnyBatch, BatchHeader, NO_TIMESTAMP, Tail, TimestampType, batches};

use super::error::LogError;
use super::log::Log;
use super::producer_state::{ProducedBatch, SequenceCheck, marker_of};
use super::segment::Incoming;

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// For the produce response: −1 on a topic that keeps the producers' timestamps.
    pub log_append_time_ms: i64,
    pub log_start_offset: Offset,
    /// Bytes written.
    pub bytes: usize,
    /// Offsets taken.
    pub records: i64,
    /// The batch was in the log already; nothing was written.
    pub duplicate: bool,
}

impl Log {
    /// Appends batches that were validated: whole, of magic 2, with right checksums. They are given the next offsets
    /// and `epoch`, in place.
    ///
    /// A batch that its producer sent before is answered with the place it has in the log.
    pub fn append_as_leader(
        &mut self,
        bytes: &mut [u8],
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        self.home.check_online()?;
        let appended = self.try_append_as_leader(bytes, epoch, now_ms);
        self.home.note(appended)
    }

    /// Appends batches fetched from the leader, verbatim. An incomplete one at the end, where the fetch was cut, is
    /// left out. Offsets may skip (compaction), but not go back.
    pub fn append_as_follower(&mut self, bytes: &[u8], now_ms: i64) -> Result<Appended, LogError> {
        self.home.check_online()?;
        let appended = self.try_append_as_follower(bytes, now_ms);
        self.home.note(appended)
    }

    fn try_append_as_leader(
        &mut self,
        bytes: &mut [u8],
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        let first_offset = self.end;
        let mut next_offset = first_offset;
        let mut max_timestamp = NO_TIMESTAMP;
        let mut position = 0;
        while let Some(rest) = bytes.get_mut(position..).filter(|rest| !rest.is_empty()) {
            let header =
                BatchHeader::parse(rest).map_err(|problem| LogError::Corrupt { position, problem })?;
            self.check_size(header.size())?;
            match self.producers.states.check(&header) {
                SequenceCheck::Accept => {}
                SequenceCheck::Duplicate(known) => return Ok(self.duplicate(&known)),
                SequenceCheck::StaleEpoch { current } => {
                    return Err(LogError::StaleProducerEpoch {
                        partition: self.partition.clone(),
                        producer_id: header.producer_id,
                        epoch: header.producer_epoch,
                        current,
                    });
                }
                SequenceCheck::OutOfOrder { expected, last_offset } => {
                    return Err(LogError::OutOfOrderSequence {
                        partition: self.partition.clone(),
                        producer_id: header.producer_id,
                        offset: next_offset,
                        found: header.base_sequence,
                        expected,
                        last_offset,
                    });
                }
            }
            batch::assign(rest, next_offset, epoch)
                .map_err(|problem| LogError::Corrupt { position, problem })?;
            next_offset = next_offset + i64::from(header.last_offset_delta) + 1;
            max_timestamp = max_timestamp.max(header.max_timestamp);
            position += header.size();
        }
        self.check_total(bytes.len())?;
        let last_offset = next_offset + -1;
        let incoming = Incoming { bytes: bytes.len() as u64, max_timestamp, last_offset };
        self.write(bytes, incoming, Some(first_offset), now_ms)?;
        let stamped = self.config.message_timestamp_type == TimestampType::LogAppendTime;
        let log_append_time_ms = if stamped { now_ms } else { NO_TIMESTAMP };
        Ok(self.appended(first_offset, last_offset, bytes.len(), log_append_time_ms))
    }

    fn try_append_as_follower(&mut self, bytes: &[u8], now_ms: i64) -> Result<Appended, LogError> {
        let mut walk = batches(bytes);
        let mut first: Option<(Offset, Option<Offset>)> = None;
        let mut last_offset = self.end + -1;
        let mut max_timestamp = NO_TIMESTAMP;
        let mut position = 0;
        for batch in walk.by_ref() {
            batch.check_crc().map_err(|problem| LogError::Corrupt { position, problem })?;
            let base = batch.base_offset();
            let begins = base.unwrap_or(batch.last_offset());
            if first.is_none() && begins < self.end {
                return Err(LogError::NotContinuing { first: begins, end: self.end });
            }
            if begins <= last_offset || batch.last_offset() < begins {
                return Err(LogError::OffsetsNotRising { previous: last_offset, offset: begins });
            }
            first.get_or_insert((begins, base));
            last_offset = batch.last_offset();
            max_timestamp = max_timestamp.max(batch.max_timestamp());
            position += batch.size();
        }
        if let Tail::Corrupt { position, error } = walk.tail() {
            return Err(LogError::Corrupt { position, problem: error.into() });
        }
        let Some((first_offset, known_base)) = first else {
            return Ok(self.appended(self.end, self.end + -1, 0, NO_TIMESTAMP));
        };
        let whole = bytes.get(..position).unwrap_or(bytes);
        self.check_total(whole.len())?;
        let incoming = Incoming { bytes: whole.len() as u64, max_timestamp, last_offset };
        self.write(whole, incoming, known_base, now_ms)?;
        Ok(self.appended(first_offset, last_offset, whole.len(), NO_TIMESTAMP))
    }

    /// Writes whole batches that continue the log. `first_offset` names a segment that may have to be started;
    /// `None` where only the records inside would tell it.
    fn write(
        &mut self,
        bytes: &[u8],
        incoming: Incoming,
        first_offset: Option<Offset>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.note_epochs(bytes)?;
        if self.active().must_roll(&incoming, &self.config, now_ms)? {
            let heuristic = incoming.last_offset + -i64::from(i32::MAX);
            self.roll(Some(first_offset.unwrap_or(heuristic)), now_ms)?;
        }
        self.active_is_dirty();
        let Log { segments, config, .. } = self;
        let mut active = segments.last_entry().expect("a log has a segment at all times");
        active.get_mut().append(bytes, config)?;
        self.end = incoming.last_offset + 1;
        for batch in batches(bytes) {
            self.note_producer(&batch)?;
        }
        self.producers.advance_to(self.end);
        if self.end - self.recovery_point >= self.config.flush_messages {
            self.flush(now_ms)?;
        }
        Ok(())
    }

    fn note_epochs(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        for batch in batches(bytes) {
            match batch.header() {
                Some(header) if header.leader_epoch > LeaderEpoch::NONE => {
                    self.epochs.assign(header.leader_epoch, header.base_offset);
                }
                Some(_) => {}
                // Records of before epochs: what is known of epochs no longer describes the log.
                None => self.epochs.clear()?,
            }
        }
        Ok(())
    }

    fn note_producer(&mut self, batch: &AnyBatch<'_>) -> Result<(), LogError> {
        let Some(header) = batch.header().filter(|header| header.has_producer_id()) else { return Ok(()) };
        let marker = header.attributes.is_control().then(|| marker_of(batch)).flatten();
        if let Some(txn) = self.producers.states.update(header, marker) {
            if let Some(aborted) = self.producers.states.aborted(&txn) {
                self.active_mut().aborted.push(aborted)?;
            }
            self.producers.states.complete(&txn);
        }
        Ok(())
    }

    fn check_size(&self, size: usize) -> Result<(), LogError> {
        let max = usize::try_from(self.config.max_message_bytes).unwrap_or(0);
        if size > max { Err(LogError::MessageTooLarge { size, max }) } else { Ok(()) }
    }

    fn check_total(&self, size: usize) -> Result<(), LogError> {
        let max = usize::try_from(self.config.segment_bytes).unwrap_or(0);
        if size > max { Err(LogError::RecordListTooLarge { size, max }) } else { Ok(()) }
    }

    fn duplicate(&self, known: &ProducedBatch) -> Appended {
        Appended {
            first_offset: known.first_offset(),
            last_offset: known.last_offset,
            log_append_time_ms: known.timestamp,
            log_start_offset: self.start,
            bytes: 0,
            records: 0,
            duplicate: true,
        }
    }

    fn appended(&self, first: Offset, last: Offset, bytes: usize, log_append_time_ms: i64) -> Appended {
        Appended {
            first_offset: first,
            last_offset: last,
            log_append_time_ms,
            log_start_offset: self.start,
            bytes,
            records: last - first + 1,
            duplicate: false,
        }
    }
}
