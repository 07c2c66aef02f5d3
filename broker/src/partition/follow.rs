//! What a fetcher does to a follower's log. Each step names the epoch it was asked in, so that a
//! late answer of a former leader changes nothing.

use client::fetch_session::Ask;
use client::ids::{BrokerId, LeaderEpoch, Offset, Uuid};
use client::record::batches;
use client::wire::Records;
use client::wire::messages::fetch_response::PartitionData;
use thiserror::Error;

use super::epochs::{EpochEnd, Truncation, truncation};
use super::follower::{LeaderOffsets, Reposition, high_watermark, reposition};
use super::{Inner, Partition, PartitionError, Role};
use crate::clock::Now;
use crate::log::{Log, LogError};

/// Where a follower goes on fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowPosition {
    pub topic_id: Uuid,
    pub offset: Offset,
    /// The epoch of the last record; −1 if the log is empty and has no history.
    pub last_fetched_epoch: LeaderEpoch,
    pub log_start: Offset,
}

/// A leader's answer to one partition's part of a fetch.
#[derive(Debug, Clone, Copy)]
pub struct Followed<'a> {
    /// The offset that was asked for.
    pub asked: Offset,
    pub records: &'a [u8],
    pub high_watermark: Offset,
    pub log_start: Offset,
}

impl<'a> Followed<'a> {
    /// What is answered to `ask`.
    pub fn of(ask: &Ask, data: &'a PartitionData) -> Followed<'a> {
        let records: &[u8] = match &data.records {
            Some(Records::Memory(bytes)) => bytes,
            // What is decoded from the wire is in memory.
            Some(Records::File(_)) | None => &[],
        };
        Followed {
            asked: ask.offset,
            records,
            high_watermark: Offset(data.high_watermark),
            log_start: Offset(data.log_start_offset),
        }
    }
}

#[derive(Debug, Error)]
pub enum FollowError {
    /// The role, the epoch or the position changed since the fetch was sent; drop the answer.
    #[error("the partition's role or position changed meanwhile")]
    Superseded,
    #[error(transparent)]
    Partition(#[from] PartitionError),
}

impl From<LogError> for FollowError {
    fn from(error: LogError) -> FollowError {
        FollowError::Partition(error.into())
    }
}

impl Partition {
    /// Whom it follows, and in which epoch; `None` if it does not follow.
    pub fn follows(&self) -> Option<(BrokerId, LeaderEpoch)> {
        match &self.lock().role {
            Role::Follower(follower) => Some((follower.leader(), follower.epoch())),
            Role::Leader(_) | Role::Idle | Role::Offline => None,
        }
    }

    /// `None` if the partition no longer follows in `epoch`.
    pub fn follow_position(&self, epoch: LeaderEpoch) -> Option<FollowPosition> {
        let mut inner = self.lock();
        let topic_id = inner.topic_id;
        let log = inner.following(epoch).ok()?;
        Some(FollowPosition {
            topic_id,
            offset: log.end_offset(),
            last_fetched_epoch: log.latest_epoch().unwrap_or(LeaderEpoch::NONE),
            log_start: log.start_offset(),
        })
    }

    /// Appends what the leader sent, as it is, and adopts its watermark and log start.
    pub fn append_as_follower(
        &self,
        epoch: LeaderEpoch,
        answer: &Followed<'_>,
        now: Now,
    ) -> Result<(), FollowError> {
        self.follow(epoch, now, |log| {
            if log.end_offset() != answer.asked {
                return Err(FollowError::Superseded);
            }
            if !answer.records.is_empty() {
                append(log, answer.records, now)?;
            }
            let reached = high_watermark(log.high_watermark(), answer.high_watermark, log.end_offset());
            log.set_high_watermark(reached);
            if answer.log_start > log.start_offset() && answer.log_start <= reached {
                log.advance_start_offset(answer.log_start)?;
            }
            Ok(())
        })
    }

    /// Drops what the leader's history says is not in its log (KIP-595).
    pub fn truncate_as_follower(
        &self,
        epoch: LeaderEpoch,
        leader: EpochEnd,
        now: Now,
    ) -> Result<Truncation, FollowError> {
        let id = self.id().clone();
        self.follow(epoch, now, |log| {
            let own = log.end_offset_for_epoch(leader.epoch).map(|(epoch, end)| EpochEnd { epoch, end });
            let (end, high_watermark) = (log.end_offset(), log.high_watermark());
            let cut = truncation(leader, own, end, high_watermark);
            log.truncate_to(cut.to, now.unix_ms)?;
            if cut.to < high_watermark {
                tracing::warn!(
                    partition = %id, %epoch, %end, to = %cut.to, %high_watermark, ?leader,
                    "truncated below the high watermark: the leader was elected without these records"
                );
            } else if cut.to < end {
                tracing::info!(
                    partition = %id, %epoch, %end, to = %cut.to, ?leader,
                    "truncated what the leader does not have"
                );
            } else {
                tracing::debug!(
                    partition = %id, %epoch, %end, ?leader,
                    "forgot an epoch without records that the leader does not have"
                );
            }
            Ok(cut)
        })
    }

    /// Goes where the leader's log is, after it called our position out of range.
    pub fn reposition(
        &self,
        epoch: LeaderEpoch,
        leader: LeaderOffsets,
        now: Now,
    ) -> Result<Reposition, FollowError> {
        let id = self.id().clone();
        self.follow(epoch, now, |log| {
            let end = log.end_offset();
            let decided = reposition(end, leader);
            match decided {
                Reposition::TruncateTo(to) => {
                    tracing::warn!(partition = %id, %end, %to, "truncated: the leader's log ends before ours");
                    log.truncate_to(to, now.unix_ms)?;
                }
                Reposition::StartOver(at) => {
                    tracing::warn!(
                        partition = %id, %end, %at,
                        "dropped the whole log: the leader no longer has the records after it"
                    );
                    log.truncate_fully_and_start_at(at, now.unix_ms)?;
                }
                Reposition::Continue => {}
            }
            Ok(decided)
        })
    }

    fn follow<T>(
        &self,
        epoch: LeaderEpoch,
        now: Now,
        step: impl FnOnce(&mut Log) -> Result<T, FollowError>,
    ) -> Result<T, FollowError> {
        let outcome = self.change(now, |inner, _| match inner.following(epoch).and_then(step) {
            Ok(done) => Ok(Some(done)),
            Err(FollowError::Partition(error)) => Err(error),
            Err(FollowError::Superseded) => Ok(None),
        })?;
        outcome.ok_or(FollowError::Superseded)
    }
}

/// Appends; an empty log may have to start earlier for it: when the leader's log starts inside a
/// batch, since its records were deleted up to there, that batch is our first and comes whole.
fn append(log: &mut Log, records: &[u8], now: Now) -> Result<(), LogError> {
    let (start, end) = (log.start_offset(), log.end_offset());
    match log.append_as_follower(records, now.unix_ms) {
        Err(LogError::NotContinuing { first, .. })
            if start == end && batches(records).next().is_some_and(|batch| batch.last_offset() >= end) =>
        {
            log.truncate_fully_and_start_at(first, now.unix_ms)?;
            log.append_as_follower(records, now.unix_ms).map(drop)
        }
        appended => appended.map(drop),
    }
}

impl Inner {
    fn following(&mut self, epoch: LeaderEpoch) -> Result<&mut Log, FollowError> {
        match (&self.role, &mut self.log) {
            (Role::Follower(follower), Some(log)) if follower.epoch() == epoch => Ok(log),
            _ => Err(FollowError::Superseded),
        }
    }
}
