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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::admin_testing::{admin_with, through_the_wire};

    #[tokio::test]
    async fn only_the_controller_creates() {
        let topic = |name: &str| CreatableTopic { name: Str::from(name), ..CreatableTopic::default() };
        let body =
            CreateTopicsRequest { topics: vec![topic("a"), topic("a")], ..CreateTopicsRequest::default() };
        let response = answer(&admin_with(&[]), &body).await;
        for version in 0..=7 {
            let seen = through_the_wire(&response, version);
            let topics: Vec<_> = seen
                .topics
                .iter()
                .map(|t| {
                    (
                        &*t.name,
                        t.error_code,
                        t.error_message.as_deref(),
                        t.num_partitions,
                        t.replication_factor,
                    )
                })
                .collect();
            assert_eq!(topics, [("a", 41, Some(""), -1, -1); 2], "v{version}");
            assert_eq!(seen.topics[0].configs, Some(Vec::new()), "v{version}");
        }
    }

    #[test]
    fn names_that_are_refused_before_all_else() {
        let why = |name, repeated| {
            check_name(name, repeated).map_err(|failure| (failure.code.code(), failure.message))
        };
        let prohibited = String::from("Creation of internal topic __cluster_metadata is prohibited.");
        assert_eq!(why("t", false), Ok(()));
        assert_eq!(why("t", true), Err((42, Some(String::from("Found multiple entries for this topic.")))));
        assert_eq!(why("__cluster_metadata", true), Err((42, Some(prohibited.clone()))));
        assert_eq!(why("__cluster_metadata", false), Err((42, Some(prohibited))));
    }

    #[test]
    fn results_have_what_their_version_has() {
        let topic = CreatableTopic { name: Str::from("t"), ..CreatableTopic::default() };
        let created = |late| Created {
            id: Uuid([7; 16]),
            replicas: [(0, vec![]), (1, vec![])].into(),
            overrides: [(String::from("retention.ms"), String::from("6"))].into(),
            late,
        };
        for version in 0..=7 {
            let shown = |outcome: Outcome| {
                let one =
                    through_the_wire(&response(vec![result(&Layers::default(), &topic, outcome)]), version);
                let one = one.topics[0].clone();
                let configs = one.configs.unwrap_or_default();
                let retention = configs
                    .iter()
                    .find(|config| &*config.name == "retention.ms")
                    .map(|c| (c.value.clone(), c.config_source));
                (
                    one.error_code,
                    one.error_message,
                    one.num_partitions,
                    one.replication_factor,
                    one.topic_id,
                    configs.len(),
                    retention,
                )
            };
            let id = if version >= 7 { Uuid([7; 16]) } else { Uuid::ZERO };
            // Versions without a text, and without the reply's details, decode to defaults.
            let no_text = (version == 0).then(|| Str::from(""));
            let retention = (version >= 5).then(|| (Some(Str::from("6")), 1));
            let (partitions, factor, configs) = if version >= 5 { (2, 0, 36) } else { (-1, -1, 0) };
            assert_eq!(
                shown(Ok(created(false))),
                (0, no_text.clone(), partitions, factor, id, configs, retention),
                "v{version}"
            );
            assert_eq!(shown(Ok(created(true))), (7, no_text, -1, -1, id, 0, None), "v{version}");
            let text = Some(Str::from(if version == 0 { "" } else { "why" }));
            let failed = Err(Failure::new(ErrorCode::InvalidConfig, "why"));
            assert_eq!(shown(failed), (40, text, -1, -1, Uuid::ZERO, 0, None), "v{version}");
        }
    }
}
