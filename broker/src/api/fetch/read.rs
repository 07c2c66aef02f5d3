//! Reading the partitions of a request, within its limits.

use std::sync::Arc;

use bytes::Bytes;
use client::ids::{BrokerId, LeaderEpoch, Offset};
use client::wire::{ErrorCode, Records};

use super::Terms;
use super::closest::Closest;
use crate::api::{Context, lookup};
use crate::clock::Now;
use crate::fetch_session::{Ask, PartitionRef, TopicRef};
use crate::partition::{Partition, PartitionError, Read, ReadArgs, Reader};

/// A partition of the request, as far as it was found.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) asked: PartitionRef,
    pub(super) ask: Ask,
    pub(super) found: Found,
}

#[derive(Debug)]
pub(super) enum Found {
    /// Nobody may read it, whatever the log holds.
    Refused(ErrorCode),
    /// It exists, but not here.
    Elsewhere {
        topic: Arc<str>,
        error: ErrorCode,
    },
    Here {
        partition: Arc<Partition>,
    },
}

impl Target {
    /// `None`: the topic's id is not known.
    pub(super) fn topic(&self) -> Option<&Arc<str>> {
        match (&self.found, &self.asked.topic) {
            (Found::Here { partition }, _) => Some(&partition.id().topic),
            (Found::Elsewhere { topic, .. }, _) => Some(topic),
            (Found::Refused(_), TopicRef::Name(name)) => Some(name),
            (Found::Refused(_), TopicRef::Id(_)) => None,
        }
    }
}

/// What came of a target.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Before reading.
    Refused(ErrorCode),
    Failed(ErrorCode),
    Read(Read),
    /// Another replica should be read; the offsets are those of this one.
    Redirected {
        to: BrokerId,
        offsets: Read,
    },
}

/// Which time a request's partitions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// On arrival: what a follower asks for tells how far it is.
    First,
    /// After parking; the follower's position was recorded before.
    Second,
}

/// Looks up what the request names, in its order.
pub(super) fn targets(context: &Context, partitions: &[(PartitionRef, Ask)]) -> Vec<Target> {
    let cluster = context.metadata.snapshot();
    let found = |asked: &PartitionRef| {
        let topic = match &asked.topic {
            TopicRef::Name(name) => name,
            TopicRef::Id(id) => match cluster.topic_name(*id) {
                Some(name) => name,
                None => return Found::Refused(ErrorCode::UnknownTopicId),
            },
        };
        if cluster.partition(topic, asked.partition).is_none() {
            return Found::Refused(ErrorCode::UnknownTopicOrPartition);
        }
        match lookup::hosted(context, &cluster, topic, asked.partition) {
            Ok(partition) => match &asked.topic {
                TopicRef::Id(id) if !partition.topic_id().is_zero() && partition.topic_id() != *id => {
                    Found::Elsewhere { topic: Arc::clone(topic), error: ErrorCode::InconsistentTopicId }
                }
                _ => Found::Here { partition },
            },
            Err(error) => Found::Elsewhere { topic: Arc::clone(topic), error },
        }
    };
    let target =
        |(asked, ask): &(PartitionRef, Ask)| Target { found: found(asked), asked: asked.clone(), ask: *ask };
    partitions.iter().map(target).collect()
}

/// Reads all targets in order until the response is full. An outcome for each.
pub(super) fn all(
    targets: &[Target],
    terms: &Terms,
    closest: Option<&Closest>,
    pass: Pass,
    now: Now,
) -> Vec<Outcome> {
    let mut left = terms.max_bytes;
    // The first batch of all is sent however large it is, so that every fetcher gets on.
    let mut at_least_one = !terms.limits_are_hard();
    let mut outcomes = Vec::with_capacity(targets.len());
    for target in targets {
        let outcome = match &target.found {
            Found::Refused(error) => Outcome::Refused(*error),
            Found::Elsewhere { error, .. } => Outcome::Failed(*error),
            Found::Here { partition } => 'here: {
                if let Some(to) = closest.and_then(|closest| closest.replica(partition, &target.ask)) {
                    break 'here redirected(partition, &target.ask, terms, to);
                }
                let limit = i64::from(target.ask.max_bytes).min(left);
                match one(partition, &target.ask, terms, pass, limit, at_least_one, now) {
                    Ok(read) => {
                        let bytes = read.records.len();
                        at_least_one &= bytes == 0;
                        left = left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
                        Outcome::Read(read)
                    }
                    Err(error) => Outcome::Failed(error),
                }
            }
        };
        if !matches!(outcome, Outcome::Refused(_)) {
            // A negative limit of the request hits the first partition only, as in Kafka.
            left = left.max(0);
        }
        outcomes.push(outcome);
    }
    outcomes
}

fn redirected(partition: &Partition, ask: &Ask, terms: &Terms, to: BrokerId) -> Outcome {
    match partition.offsets(known_epoch(ask.current_leader_epoch)) {
        Ok(offsets) => Outcome::Redirected { to, offsets },
        Err(error) => Outcome::Failed(code(&error, terms)),
    }
}

fn one(
    partition: &Partition,
    ask: &Ask,
    terms: &Terms,
    pass: Pass,
    limit: i64,
    at_least_one: bool,
    now: Now,
) -> Result<Read, ErrorCode> {
    let max_bytes = usize::try_from(limit).map_err(|_| ErrorCode::UnknownServerError)?;
    let args = args(ask, terms, pass, max_bytes, at_least_one);
    let mut read = partition.read(&args, now).map_err(|error| code(&error, terms))?;
    if !terms.limits_are_hard() && read.records.len() < read.first_batch_len {
        // Part of a batch is of no use to those who may ask again with a higher limit.
        read.records = Records::Memory(Bytes::new());
    }
    Ok(read)
}

/// How many bytes there are for a parked target, up to its own limit. `None`: there will not be more, since the log
/// went on in another segment.
pub(super) fn available(partition: &Partition, ask: &Ask, terms: &Terms) -> Result<Option<usize>, ErrorCode> {
    let max_bytes = usize::try_from(ask.max_bytes).unwrap_or(0);
    let args = args(ask, terms, Pass::Second, max_bytes, false);
    let read = partition.read(&args, Now::read()).map_err(|error| code(&error, terms))?;
    Ok((!read.in_older_segment).then_some(read.records.len()))
}

fn args(ask: &Ask, terms: &Terms, pass: Pass, max_bytes: usize, at_least_one: bool) -> ReadArgs {
    let reader = match terms.follower {
        Some((id, registration)) => Reader::Replica {
            id,
            registration,
            log_start: Offset(ask.log_start_offset),
            record_position: pass == Pass::First,
        },
        None => Reader::Consumer { read_committed: terms.read_committed, leader_only: terms.leader_only() },
    };
    ReadArgs {
        reader,
        offset: ask.fetch_offset,
        current_leader_epoch: known_epoch(ask.current_leader_epoch),
        last_fetched_epoch: known_epoch(ask.last_fetched_epoch),
        max_bytes,
        at_least_one,
    }
}

/// Unlike the other APIs, Fetch takes any negative epoch for none.
fn known_epoch(on_wire: i32) -> Option<LeaderEpoch> {
    (on_wire >= 0).then_some(LeaderEpoch(on_wire))
}

fn code(error: &PartitionError, terms: &Terms) -> ErrorCode {
    match error.code() {
        // Older clients would not ask for a new leader (`FetchResponse.java`).
        ErrorCode::KafkaStorageError if terms.version <= 5 => ErrorCode::NotLeaderOrFollower,
        code => code,
    }
}
