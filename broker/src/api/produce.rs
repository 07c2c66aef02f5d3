//! Produce: appends records to the logs this broker leads, and answers when as many replicas have
//! them as the producer asked for.
//!
//! Nothing is appended before all of the request was looked at; then each partition succeeds or
//! fails for itself.

mod append;
mod respond;
mod roles;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::record::validate::{look, look_message};
use client::wire::messages::{ProduceRequest, ProduceResponse};
use client::wire::{ErrorCode, Records, Str};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::sleep_until;

use super::{Context, Request};
use crate::blocking::off_the_runtime;
use crate::partition::RequiredAcks;
use append::{Item, Rejection, Stored};

/// The only client that may write to the topics brokers keep for themselves.
const ADMIN_CLIENT: &str = "__admin_client";

/// Requests with more bytes of records than this are validated and appended off the runtime's
/// threads, which serve other connections.
const APPENDED_INLINE_MAX: usize = 64 << 10;

/// What became of a partition's records.
type Outcome = Result<Stored, Rejection>;

/// A response, which is not sent if the producer asked for none.
#[derive(Debug)]
pub(super) struct Produced {
    pub(super) response: ProduceResponse,
    /// acks=0.
    pub(super) unanswered: bool,
    /// With acks=0 a failure can only be told by closing the connection.
    pub(super) first_error: Option<ErrorCode>,
}

/// A field that Kafka cannot deal with either: records are null.
#[derive(Debug)]
pub(super) struct NullRecords;

pub(super) async fn answer(
    context: &Arc<Context>,
    request: &Request,
    body: ProduceRequest,
) -> Result<Produced, NullRecords> {
    let (acks_on_wire, timeout_ms, transactional_id) = (body.acks, body.timeout_ms, body.transactional_id);
    let deadline =
        tokio::time::Instant::now() + Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let mut asked = BTreeMap::new();
    for topic in body.topic_data {
        for partition in topic.partition_data {
            let records = match partition.records {
                Some(Records::Memory(records)) => records,
                Some(Records::File(_)) | None => return Err(NullRecords),
            };
            // The last one of a partition counts.
            asked.insert((topic.name.clone(), partition.index), records);
        }
    }
    let mut outcomes = match refuse_all(&asked, transactional_id.as_ref()) {
        Some(rejection) => asked.into_keys().map(|partition| (partition, Err(rejection.clone()))).collect(),
        None => {
            let acks = RequiredAcks::from_wire(acks_on_wire);
            roles::known(context, asked.keys(), deadline).await;
            append_all(context, request, asked, acks, transactional_id.is_some()).await
        }
    };
    match acks_on_wire {
        0 => store_in_background(&mut outcomes),
        _ => wait_until_stored(&mut outcomes, deadline).await,
    }
    Ok(Produced {
        first_error: outcomes
            .values()
            .find_map(|outcome| outcome.as_ref().err().map(|rejection| rejection.code)),
        unanswered: acks_on_wire == 0,
        response: respond::response(context, &context.metadata.snapshot(), request, outcomes),
    })
}

/// What is wrong with the request as a whole, before any partition is looked at.
fn refuse_all(asked: &BTreeMap<(Str, i32), Bytes>, transactional_id: Option<&Str>) -> Option<Rejection> {
    let mut transactional = false;
    for records in asked.values() {
        match look(records) {
            Ok(seen) => transactional |= seen.transactional,
            Err(error) => {
                return Some(Rejection {
                    message: Some(look_message(&error)),
                    ..ErrorCode::CorruptMessage.into()
                });
            }
        }
    }
    (transactional && transactional_id.is_none())
        .then(|| ErrorCode::TransactionalIdAuthorizationFailed.into())
}

async fn append_all(
    context: &Arc<Context>,
    request: &Request,
    asked: BTreeMap<(Str, i32), Bytes>,
    acks: Option<RequiredAcks>,
    transactional: bool,
) -> BTreeMap<(Str, i32), Outcome> {
    let bytes: usize = asked.values().map(Bytes::len).sum();
    let items: Vec<Item> =
        asked.into_iter().map(|((topic, partition), records)| Item { topic, partition, records }).collect();
    let terms = append::Terms {
        version: request.version,
        acks,
        transactional,
        may_write_internal: request.client_id.as_deref() == Some(ADMIN_CLIENT),
    };
    if bytes <= APPENDED_INLINE_MAX {
        return append::all(context, items, &terms);
    }
    let context = Arc::clone(context);
    off_the_runtime(move || append::all(&context, items, &terms)).await
}

/// Nobody waits for these, but consumers see them only once they are on disk, where that is asked for.
fn store_in_background(outcomes: &mut BTreeMap<(Str, i32), Outcome>) {
    let stored = outcomes.values_mut().filter_map(|outcome| outcome.as_mut().ok());
    for acks in stored.filter_map(|stored| stored.acks.take()) {
        if acks.partition.flushes_before_ack() {
            tokio::spawn(async move {
                // A disk that fails takes the partition offline, and that is told there.
                acks.partition.wait_for_flush(acks.required).await.ok();
            });
        }
    }
}

/// Waits until every record is stored as the producer wants it, or until `deadline`.
async fn wait_until_stored(outcomes: &mut BTreeMap<(Str, i32), Outcome>, deadline: tokio::time::Instant) {
    let mut waiting: FuturesUnordered<_> = outcomes
        .values_mut()
        .filter_map(|outcome| outcome.as_mut().ok())
        .filter_map(|stored| stored.acks.take().map(|acks| (stored, acks)))
        .map(|(stored, acks)| async move {
            // Counts until it is known better.
            stored.error = ErrorCode::RequestTimedOut;
            stored.error = match acks.partition.wait_for(acks.acks, acks.epoch, acks.required).await {
                Ok(()) => ErrorCode::None,
                Err(error) => error.code(),
            };
        })
        .collect();
    let timeout = sleep_until(deadline);
    tokio::pin!(timeout);
    loop {
        tokio::select! {
            biased;
            done = waiting.next() => if done.is_none() { return },
            () = &mut timeout => return,
        }
    }
}

#[cfg(test)]
mod tests;
