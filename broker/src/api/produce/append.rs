//! The leader's part of a Produce request: check, convert where a rule asks for it, append.

use std::sync::Arc;

use bytes::Bytes;
use client::ids::{LeaderEpoch, Offset};
use client::record::validate::{Origin, ProduceRules, check_format, validate};
use client::record::{Refusal, RefusedRecord};
use client::wire::{ErrorCode, Str};

use crate::api::{Context, lookup};
use crate::clock::Now;
use crate::metadata::ClusterMetadata;
use crate::partition::{Partition, PartitionError, RequiredAcks};

/// The records for one partition.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) topic: Str,
    pub(super) partition: i32,
    pub(super) records: Bytes,
}

/// What holds for all partitions of a request.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) version: i16,
    /// `None`: a number that means nothing.
    pub(super) acks: Option<RequiredAcks>,
    pub(super) transactional: bool,
    pub(super) may_write_internal: bool,
}

/// Records that are in the leader's log.
#[derive(Debug)]
pub(super) struct Stored {
    /// None, unless the wait for the other replicas failed.
    pub(super) error: ErrorCode,
    pub(super) base_offset: i64,
    pub(super) log_append_time_ms: i64,
    pub(super) log_start_offset: i64,
    /// What the producer waits for; nothing if there was nothing to append.
    pub(super) acks: Option<Acks>,
}

#[derive(Debug)]
pub(super) struct Acks {
    pub(super) partition: Arc<Partition>,
    pub(super) acks: RequiredAcks,
    pub(super) epoch: LeaderEpoch,
    pub(super) required: Offset,
}

/// Records that were not appended, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) code: ErrorCode,
    pub(super) message: Option<String>,
    pub(super) records: Vec<RefusedRecord>,
    pub(super) log_start_offset: i64,
}

impl From<ErrorCode> for Rejection {
    fn from(code: ErrorCode) -> Rejection {
        Rejection { code, message: None, records: Vec::new(), log_start_offset: -1 }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Rejection {
        Rejection {
            message: refusal.error_message(),
            records: refusal.record_errors().to_vec(),
            ..refusal.error_code().into()
        }
    }
}

/// Appends what may be appended. The outcomes by topic and partition.
pub(super) fn all(
    context: &Context,
    items: Vec<Item>,
    terms: &Terms,
) -> std::collections::BTreeMap<(Str, i32), super::Outcome> {
    let cluster = context.metadata.snapshot();
    let now = Now::read();
    let outcome = |item: Item| {
        let stored = one(context, &cluster, &item, terms, now);
        if let Err(rejection) = &stored {
            tracing::debug!(topic = %item.topic, partition = item.partition, code = rejection.code.name(), "records refused");
        }
        ((item.topic, item.partition), stored)
    };
    items.into_iter().map(outcome).collect()
}

fn one(
    context: &Context,
    cluster: &ClusterMetadata,
    item: &Item,
    terms: &Terms,
    now: Now,
) -> Result<Stored, Rejection> {
    if cluster.partition(&item.topic, item.partition).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition.into());
    }
    check_format(&item.records, terms.version)?;
    let Some(acks) = terms.acks else { return Err(ErrorCode::InvalidRequiredAcks.into()) };
    if lookup::INTERNAL_TOPICS.contains(&&*item.topic) && !terms.may_write_internal {
        return Err(ErrorCode::InvalidTopicException.into());
    }
    if terms.transactional && is_transactional(&item.records) {
        return Err(unverified());
    }
    let partition = lookup::hosted(context, cluster, &item.topic, item.partition)?;
    let status = partition.status();
    if status.offline {
        return Err(ErrorCode::KafkaStorageError.into());
    }
    if !status.is_leader() {
        return Err(ErrorCode::NotLeaderOrFollower.into());
    }
    append(partition, &item.records, acks, now)
        .map_err(|rejection| with_log_start(rejection, status.log_start))
}

fn append(
    partition: Arc<Partition>,
    records: &[u8],
    acks: RequiredAcks,
    now: Now,
) -> Result<Stored, Rejection> {
    let config = partition.config();
    let rules = ProduceRules {
        partition: partition.id(),
        origin: Origin::Client,
        max_message_bytes: usize::try_from(config.log.max_message_bytes).unwrap_or(0),
        segment_bytes: usize::try_from(config.log.segment_bytes).unwrap_or(0),
        compacted: config.log.cleanup_policy_compact,
        timestamp_type: config.log.message_timestamp_type,
        before_max_ms: config.message_timestamp_before_max_ms,
        after_max_ms: config.message_timestamp_after_max_ms,
        compression: config.compression,
        decompressed_max_bytes: DECOMPRESSED_MAX,
    };
    let mut validated = validate(records, &rules, now.unix_ms)?;
    if validated.batch.is_empty() {
        // An old producer sent no complete message: nothing to append, and nothing wrong.
        return Ok(Stored {
            error: ErrorCode::None,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: partition.status().log_start.0,
            acks: None,
        });
    }
    let append = partition
        .append_as_leader(&mut validated.batch, acks, now)
        .map_err(|error| refused(&partition, &error))?;
    Ok(Stored {
        error: ErrorCode::None,
        base_offset: append.appended.first_offset.0,
        log_append_time_ms: append.appended.log_append_time_ms,
        log_start_offset: append.log_start.0,
        acks: Some(Acks { partition, acks, epoch: append.epoch, required: append.required }),
    })
}

/// A batch may not decompress to more than this. Kafka has no limit; here a batch of a megabyte
/// must not become one of a terabyte. The largest frame holds no more uncompressed.
const DECOMPRESSED_MAX: usize = 100 << 20;

fn refused(partition: &Partition, error: &PartitionError) -> Rejection {
    let code = error.code();
    if code == ErrorCode::UnknownServerError {
        tracing::error!(partition = %partition.id(), %error, "an append failed unexpectedly");
    }
    code.into()
}

/// Errors that Kafka finds in the log itself come with the log's start.
fn with_log_start(rejection: Rejection, log_start: Offset) -> Rejection {
    let found_in_log = matches!(
        rejection.code,
        ErrorCode::InvalidRecord
            | ErrorCode::InvalidTimestamp
            | ErrorCode::UnknownServerError
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::InvalidProducerEpoch
    );
    Rejection { log_start_offset: if found_in_log { log_start.0 } else { -1 }, ..rejection }
}

fn is_transactional(records: &[u8]) -> bool {
    client::record::validate::look(records).is_ok_and(|seen| seen.transactional)
}

/// A transactional batch is only taken when the transaction's coordinator confirms that the
/// partition belongs to the transaction (KIP-890), and no broker is a coordinator yet.
fn unverified() -> Rejection {
    let why = ErrorCode::CoordinatorNotAvailable.name();
    let message =
        format!("Unable to verify the partition has been added to the transaction. Underlying error: {why}");
    Rejection { message: Some(message), ..ErrorCode::NotEnoughReplicas.into() }
}
