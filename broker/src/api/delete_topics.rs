//! DeleteTopics, on the controller's broker: asks the controller, and waits until the topics are
//! gone from this broker's metadata.

use client::ids::Uuid;
use client::wire::messages::delete_topics_request::DeleteTopicState;
use client::wire::messages::delete_topics_response::DeletableTopicResult;
use client::wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use client::wire::{ErrorCode, Str};
use controller::topics::{self, TopicError};

use super::failure::Failure;
use super::waiting::wait_until;
use crate::admin::Admin;
use crate::metadata::ClusterMetadata;

/// From this version on topics may be named by id.
const BY_ID: i16 = 6;

/// From this version on there is a code of its own for "deletion is turned off".
const TELLS_DISABLED: i16 = 3;

pub(super) async fn answer(admin: &Admin, version: i16, body: &DeleteTopicsRequest) -> DeleteTopicsResponse {
    let asked = asked(version, body);
    if let Some(code) = refusal(admin, version, &asked) {
        return response(asked.iter().map(|topic| result(topic.name.clone(), topic.topic_id, code)));
    }
    let cluster = admin.metadata.snapshot();
    let mut outcomes = Vec::with_capacity(asked.len());
    for topic in &asked {
        let (name, code) = resolve(&cluster, topic);
        let code = match (&name, code) {
            (Some(name), ErrorCode::None) => delete(admin, name).await,
            (_, code) => code,
        };
        outcomes.push((name, topic.topic_id, code));
    }
    let started = |(name, _, code): &(Option<Str>, Uuid, ErrorCode)| match code {
        ErrorCode::None => name.clone(),
        _ => None,
    };
    let waited_for: Vec<Str> = outcomes.iter().filter_map(started).collect();
    let cluster = wait_until(&admin.metadata, body.timeout_ms, |cluster| {
        waited_for.iter().all(|name| cluster.topic(name).is_none())
    })
    .await;
    let settle = |(name, id, code): (Option<Str>, Uuid, ErrorCode)| {
        let is_gone = body.timeout_ms > 0 && name.as_deref().is_none_or(|name| cluster.topic(name).is_none());
        let is_late = code == ErrorCode::None && !is_gone;
        result(name, id, if is_late { ErrorCode::RequestTimedOut } else { code })
    };
    response(outcomes.into_iter().map(settle))
}

/// What speaks against the whole request.
fn refusal(admin: &Admin, version: i16, asked: &[DeleteTopicState]) -> Option<ErrorCode> {
    if !admin.controller.is_active() {
        return Some(ErrorCode::NotController);
    }
    if !admin.config.broker().topics.deletion_enabled {
        let told = version >= TELLS_DISABLED;
        return Some(if told { ErrorCode::TopicDeletionDisabled } else { ErrorCode::InvalidRequest });
    }
    let is_ambiguous = |topic: &DeleteTopicState| topic.name.is_some() && !topic.topic_id.is_zero();
    asked.iter().any(is_ambiguous).then_some(ErrorCode::InvalidRequest)
}

fn asked(version: i16, body: &DeleteTopicsRequest) -> Vec<DeleteTopicState> {
    if version >= BY_ID {
        return body.topics.clone();
    }
    let by_name = |name: &Str| DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO };
    body.topic_names.iter().map(by_name).collect()
}

/// The topic's name, and what is wrong with the question. Kafka has no better word for a topic
/// named neither by name nor by id than "not authorized".
fn resolve(cluster: &ClusterMetadata, topic: &DeleteTopicState) -> (Option<Str>, ErrorCode) {
    match &topic.name {
        Some(name) if cluster.topic(name).is_some() => (Some(name.clone()), ErrorCode::None),
        Some(name) => (Some(name.clone()), ErrorCode::UnknownTopicOrPartition),
        None if topic.topic_id.is_zero() => (None, ErrorCode::TopicAuthorizationFailed),
        None => match cluster.topic_name(topic.topic_id) {
            Some(name) => (Some(Str::from(&**name)), ErrorCode::None),
            None => (None, ErrorCode::UnknownTopicId),
        },
    }
}

async fn delete(admin: &Admin, name: &str) -> ErrorCode {
    let Some(session) = admin.session() else { return ErrorCode::NotController };
    match topics::request_deletion(&session, name).await {
        Ok(()) => ErrorCode::None,
        Err(error @ TopicError::Unknown { .. }) => {
            tracing::info!(topic = name, %error, "not deleted");
            ErrorCode::UnknownTopicOrPartition
        }
        Err(error) => Failure::from(error).code,
    }
}

fn result(name: Option<Str>, topic_id: Uuid, code: ErrorCode) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code: code.code(), error_message: None }
}

fn response(results: impl Iterator<Item = DeletableTopicResult>) -> DeleteTopicsResponse {
    DeleteTopicsResponse { responses: results.collect(), ..DeleteTopicsResponse::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::admin_testing::{T_ID, admin_with, cluster, through_the_wire};

    fn state(name: Option<&str>, topic_id: Uuid) -> DeleteTopicState {
        DeleteTopicState { name: name.map(Str::from), topic_id }
    }

    #[tokio::test]
    async fn only_the_controller_deletes() {
        let unknown = Uuid([9; 16]);
        for version in 0..=6 {
            let body = DeleteTopicsRequest {
                topics: vec![state(Some("t"), Uuid::ZERO), state(None, unknown)],
                topic_names: vec![Str::from("t"), Str::from("t")],
                timeout_ms: 1000,
            };
            let response = through_the_wire(&answer(&admin_with(&[]), version, &body).await, version);
            let found: Vec<_> = response
                .responses
                .iter()
                .map(|one| (one.name.as_deref(), one.topic_id, one.error_code))
                .collect();
            let second = if version >= 6 { (None, unknown, 41) } else { (Some("t"), Uuid::ZERO, 41) };
            assert_eq!(found, [(Some("t"), Uuid::ZERO, 41), second], "v{version}");
        }
    }

    #[test]
    fn topics_are_found_by_name_or_id() {
        let cluster = cluster().snapshot();
        for (asked, name, code) in [
            (state(Some("t"), Uuid::ZERO), Some("t"), ErrorCode::None),
            (state(None, T_ID), Some("t"), ErrorCode::None),
            (state(Some("nope"), Uuid::ZERO), Some("nope"), ErrorCode::UnknownTopicOrPartition),
            (state(None, Uuid([9; 16])), None, ErrorCode::UnknownTopicId),
            (state(None, Uuid::ZERO), None, ErrorCode::TopicAuthorizationFailed),
        ] {
            assert_eq!(resolve(&cluster, &asked), (name.map(Str::from), code));
        }
    }
}
