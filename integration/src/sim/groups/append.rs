//! Appends to a group's partition, and what is told of those that fail: `broker::coordinator::append` once more.

use broker::clock::Now;
use broker::group::record::{self, Content, Encoded};
use broker::partition::{Partition, RequiredAcks};
use client::ids::{LeaderEpoch, Offset};
use client::record::{BatchHeader, Compression};
use client::wire::ErrorCode;

use crate::sim::message::Stored;
use crate::sim::promises::Batch;

/// Records that are in the log of this broker.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) stored: Stored,
    pub(super) batch: Batch,
    /// The high watermark that means that they are replicated.
    pub(super) required: Offset,
}

/// Appends one batch in the term that began with that epoch.
pub(super) fn append(
    partition: &Partition,
    since: LeaderEpoch,
    records: &[Encoded],
    content: Content,
    now: Now,
) -> Result<Appended, ErrorCode> {
    let batch = record::batch(records, content, Compression::NONE, now.unix_ms);
    let mut batch = batch.map_err(|_| ErrorCode::UnknownServerError)?;
    let appended = partition.append_in_term(&mut batch, RequiredAcks::All, since, now);
    let appended = appended.map_err(|error| error.code())?;
    let header = BatchHeader::parse(&batch).map_err(|_| ErrorCode::CorruptMessage)?;
    let stored = Stored { base: appended.appended.first_offset, epoch: appended.epoch };
    Ok(Appended { stored, batch: Batch::of(&header), required: appended.required })
}

/// What those are told who commit offsets.
pub(super) fn told_to_committers(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        other => other,
    }
}

/// What members are told when their group's record could not be stored.
pub(super) fn told_to_members(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::RequestTimedOut => ErrorCode::RebalanceInProgress,
        other => told_to_committers(other),
    }
}
