//! Fetch: records for consumers and followers.
//!
//! The request's session says which partitions to read. They are read at once; if that yields too
//! little, the request parks on the partitions' watches until something it waits for happens, and
//! is read a second and last time. Records stay in their files: the response carries file ranges.

mod closest;
mod down_convert;
mod park;
mod read;
mod respond;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::ids::{BrokerEpoch, BrokerId, Offset};
use client::wire::messages::fetch_request::FetchTopic;
use client::wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use client::wire::messages::{FetchRequest, FetchResponse};
use client::wire::{ErrorCode, Str};
use tokio::time::Instant;

use self::closest::Closest;
use super::{Context, Request};
use crate::clock::Now;
use crate::fetch_session::{Ask, PartitionRef, SessionError, SessionRequest, TopicRef};

/// From this version on topics have ids instead of names.
const FIRST_WITH_TOPIC_IDS: i16 = 13;

/// What holds for all partitions of a request.
#[derive(Debug, Clone, Copy)]
struct Terms {
    version: i16,
    /// Who it is, and under which registration, −1 if it does not say. `None`: a consumer.
    follower: Option<(BrokerId, BrokerEpoch)>,
    read_committed: bool,
    /// Of the whole response; negative values are refused partition by partition.
    max_bytes: i64,
    min_bytes: i64,
    max_wait: Duration,
}

impl Terms {
    fn of(body: &FetchRequest, version: i16, fetch_max_bytes: usize) -> Result<Terms, ErrorCode> {
        let (replica, registration) = match version >= 15 {
            true => (body.replica_state.replica_id, body.replica_state.replica_epoch),
            false => (body.replica_id, -1),
        };
        let read_committed = match body.isolation_level {
            0 => false,
            1 => true,
            _ => return Err(ErrorCode::UnknownServerError),
        };
        let max_bytes = i64::from(body.max_bytes).min(i64::try_from(fetch_max_bytes).unwrap_or(i64::MAX));
        Ok(Terms {
            version,
            follower: (replica >= 0).then_some((BrokerId(replica), BrokerEpoch(registration))),
            read_committed,
            max_bytes,
            min_bytes: i64::from(body.min_bytes).min(max_bytes),
            max_wait: Duration::from_millis(u64::try_from(body.max_wait_ms).unwrap_or(0)),
        })
    }

    /// Clients up to version 2 cannot take more than they asked for, and can take half a batch.
    fn limits_are_hard(&self) -> bool {
        self.version <= 2
    }

    /// Consumers of older versions do not expect to be served by followers (KIP-392).
    fn leader_only(&self) -> bool {
        self.follower.is_some() || self.version <= 10
    }
}

pub(super) async fn answer(context: &Context, request: &Request, body: FetchRequest) -> FetchResponse {
    let terms = match Terms::of(&body, request.version, context.config.network.fetch_bytes_max) {
        Ok(terms) => terms,
        Err(error) => return whole_error(&body, request.version, error),
    };
    let sessions = &context.fetch_sessions;
    let scope = match sessions.open(session_request(&body, &terms), Now::read().monotonic) {
        Ok(scope) => scope,
        Err(error) => return session_error(error),
    };
    let closest = closest(context, request, &terms, body);

    let targets = read::targets(context, &scope.partitions);
    let deadline = Instant::now() + terms.max_wait;
    let mut outcomes = read::all(&targets, &terms, closest.as_ref(), read::Pass::First, Now::read());
    if park::is_worth_waiting(&targets, &outcomes, &terms) {
        // What the first pass read may be old by the time it is sent.
        park::until_ready(&targets, &outcomes, &terms, deadline).await;
        outcomes = read::all(&targets, &terms, closest.as_ref(), read::Pass::Second, Now::read());
    }

    let cluster = context.metadata.snapshot();
    let answers = down_convert::where_needed(&targets, outcomes, &terms).await;
    let answers = respond::partitions(&cluster, &targets, answers, &terms);
    let news: Vec<_> = answers.iter().map(|answer| (answer.target, respond::news(&answer.data))).collect();
    match sessions.conclude(&scope, &news, Now::read().monotonic, rand::random()) {
        Ok(conclusion) => respond::response(&cluster, &request.listener, answers, &conclusion, &terms),
        Err(error) => session_error(error),
    }
}

/// `None` where the leader serves every consumer, and for followers.
fn closest(context: &Context, request: &Request, terms: &Terms, body: FetchRequest) -> Option<Closest> {
    let may_choose =
        context.config.replication.serves_by_rack && terms.follower.is_none() && !terms.leader_only();
    may_choose.then(|| Closest::to(body.rack_id, &request.listener, &context.metadata.snapshot()))?
}

fn session_request(body: &FetchRequest, terms: &Terms) -> SessionRequest {
    let by_topic_id = terms.version >= FIRST_WITH_TOPIC_IDS;
    let reference = |name: &Str, id| match by_topic_id {
        true => TopicRef::Id(id),
        false => TopicRef::Name(Arc::from(&**name)),
    };
    let asks = |topic: &FetchTopic| {
        let reference = reference(&topic.topic, topic.topic_id);
        let asks = topic.partitions.iter().map(move |asked| {
            let ask = Ask {
                fetch_offset: Offset(asked.fetch_offset),
                max_bytes: asked.partition_max_bytes,
                current_leader_epoch: asked.current_leader_epoch,
                last_fetched_epoch: asked.last_fetched_epoch,
                log_start_offset: asked.log_start_offset,
            };
            (PartitionRef { topic: reference.clone(), partition: asked.partition }, ask)
        });
        asks.collect::<Vec<_>>()
    };
    let forgotten = body.forgotten_topics_data.iter().flat_map(|topic| {
        let reference = reference(&topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |&partition| PartitionRef { topic: reference.clone(), partition })
    });
    SessionRequest {
        id: body.session_id,
        epoch: body.session_epoch,
        by_topic_id,
        from_follower: terms.follower.is_some(),
        partitions: body.topics.iter().flat_map(asks).collect(),
        forgotten: forgotten.collect(),
    }
}

impl From<SessionError> for ErrorCode {
    fn from(error: SessionError) -> ErrorCode {
        match error {
            SessionError::NotFound { .. } => ErrorCode::FetchSessionIdNotFound,
            SessionError::Epoch { .. } => ErrorCode::InvalidFetchSessionEpoch,
            SessionError::TopicIds { .. } => ErrorCode::FetchSessionTopicIdError,
        }
    }
}

fn session_error(error: SessionError) -> FetchResponse {
    tracing::debug!(%error, "fetch refused");
    FetchResponse { error_code: ErrorCode::from(error).code(), ..FetchResponse::default() }
}

/// The request makes no sense as a whole. Clients that know no top-level error, or no topic ids,
/// find it in each partition too.
fn whole_error(body: &FetchRequest, version: i16, error: ErrorCode) -> FetchResponse {
    let mut response =
        FetchResponse { error_code: error.code(), session_id: body.session_id, ..FetchResponse::default() };
    if version >= FIRST_WITH_TOPIC_IDS {
        return response;
    }
    let mut topics: BTreeMap<&Str, Vec<PartitionData>> = BTreeMap::new();
    for topic in &body.topics {
        let failed = topic.partitions.iter().map(|asked| respond::failed(asked.partition, error));
        topics.entry(&topic.topic).or_default().extend(failed);
    }
    let responses = topics.into_iter().map(|(topic, partitions)| FetchableTopicResponse {
        topic: topic.clone(),
        partitions,
        ..FetchableTopicResponse::default()
    });
    response.responses = responses.collect();
    response
}

#[cfg(test)]
mod tests;
