//! CreateTopics, on the controller's broker.

use client::ids::Uuid;
use client::wire::messages::create_topics_request::CreatableTopic;
use client::wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use client::wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use client::wire::{ErrorCode, Str};
use client::znode::topic_name::CLUSTER_METADATA;

use super::failure::Failure;
use super::topic_creation::{self, Created, Wanted, all_led, count_names};
use super::waiting::wait_until;
use crate::admin::Admin;
use crate::config::Layers;
use crate::config::topic;

/// What became of one entry of the request.
type Outcome = Result<Created, Failure>;

pub(super) async fn answer(admin: &Admin, body: &CreateTopicsRequest) -> CreateTopicsResponse {
    if !admin.controller.is_active() {
        let refuse = |topic: &CreatableTopic| CreatableTopicResult {
            name: topic.name.clone(),
            error_code: ErrorCode::NotController.code(),
            ..CreatableTopicResult::default()
        };
        return response(body.topics.iter().map(refuse).collect());
    }
    let outcomes = create_all(admin, body).await;
    let outcomes = wait(admin, body, outcomes).await;
    let layers = &admin.config.broker().layers;
    let results = body.topics.iter().zip(outcomes).map(|(topic, outcome)| result(layers, topic, outcome));
    response(results.collect())
}

async fn create_all(admin: &Admin, body: &CreateTopicsRequest) -> Vec<Outcome> {
    let counts = count_names(body.topics.iter().map(|topic| &*topic.name));
    let mut outcomes = Vec::with_capacity(body.topics.len());
    // One after the other: a topic may collide with one before it.
    for topic in &body.topics {
        let is_repeated = counts.get(&*topic.name).is_some_and(|&count| count > 1);
        let outcome = match check_name(&topic.name, is_repeated) {
            Ok(()) => create_one(admin, topic, body.validate_only).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &outcome {
            tracing::info!(
                topic = &*topic.name,
                code = failure.code.name(),
                why = failure.message,
                "not created"
            );
        }
        outcomes.push(outcome);
    }
    outcomes
}

fn check_name(name: &str, is_repeated: bool) -> Result<(), Failure> {
    if name == CLUSTER_METADATA {
        let message = format!("Creation of internal topic {CLUSTER_METADATA} is prohibited.");
        return Err(Failure::new(ErrorCode::InvalidRequest, message));
    }
    if is_repeated {
        return Err(Failure::new(ErrorCode::InvalidRequest, "Found multiple entries for this topic."));
    }
    Ok(())
}

async fn create_one(admin: &Admin, topic: &CreatableTopic, validate_only: bool) -> Outcome {
    topic_creation::check_unknown(&admin.metadata.snapshot(), &topic.name)?;
    let wanted = Wanted::read(topic)?;
    let session = admin.session().ok_or_else(|| Failure::silent(ErrorCode::NotController))?;
    topic_creation::create(admin, &session, wanted, validate_only).await
}

/// A topic is created when all its partitions have a leader; one that has none in time is created
/// all the same, but its maker is told so.
async fn wait(admin: &Admin, body: &CreateTopicsRequest, outcomes: Vec<Outcome>) -> Vec<Outcome> {
    if body.validate_only {
        return outcomes;
    }
    let is_led = |cluster: &_, topic: &CreatableTopic, outcome: &Outcome| match outcome {
        Ok(created) => all_led(cluster, &topic.name, created.replicas.keys()),
        Err(_) => true,
    };
    let all = || body.topics.iter().zip(&outcomes);
    let cluster = wait_until(&admin.metadata, body.timeout_ms, |cluster| {
        all().all(|(topic, outcome)| is_led(cluster, topic, outcome))
    })
    .await;
    // Whoever does not wait cannot know.
    let in_time = |topic, outcome: &Outcome| body.timeout_ms > 0 && is_led(&cluster, topic, outcome);
    let timely: Vec<bool> = all().map(|(topic, outcome)| in_time(topic, outcome)).collect();
    let settle = |(outcome, in_time): (Outcome, bool)| match outcome {
        Ok(created) if !in_time => Ok(Created { late: true, ..created }),
        outcome => outcome,
    };
    outcomes.into_iter().zip(timely).map(settle).collect()
}

fn result(layers: &Layers, topic: &CreatableTopic, outcome: Outcome) -> CreatableTopicResult {
    let failed = |id: Uuid, failure: &Failure| CreatableTopicResult {
        name: topic.name.clone(),
        topic_id: id,
        error_code: failure.code.code(),
        error_message: failure.wire_message(),
        ..CreatableTopicResult::default()
    };
    match outcome {
        Ok(created) if created.late => failed(created.id, &Failure::silent(ErrorCode::RequestTimedOut)),
        Ok(created) => CreatableTopicResult {
            name: topic.name.clone(),
            topic_id: created.id,
            error_code: ErrorCode::None.code(),
            error_message: None,
            num_partitions: i32::try_from(created.replicas.len()).unwrap_or(i32::MAX),
            replication_factor: created
                .replicas
                .values()
                .next()
                .map_or(-1, |replicas| i16::try_from(replicas.len()).unwrap_or(i16::MAX)),
            configs: Some(configs(layers, &created)),
            ..CreatableTopicResult::default()
        },
        Err(failure) => failed(Uuid::ZERO, &failure),
    }
}

fn configs(layers: &Layers, created: &Created) -> Vec<CreatableTopicConfigs> {
    let values = topic::describe(layers, &created.overrides);
    let one = |value: topic::TopicValue| CreatableTopicConfigs {
        name: Str::from(value.name),
        value: Some(Str::from(value.value.to_string())),
        read_only: false,
        config_source: value.source().wire_code(),
        is_sensitive: false,
    };
    values.into_iter().map(one).collect()
}

fn response(topics: Vec<CreatableTopicResult>) -> CreateTopicsResponse {
    CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }
}
