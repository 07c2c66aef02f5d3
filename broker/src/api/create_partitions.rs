//! CreatePartitions, on the controller's broker.

use std::collections::BTreeSet;

use client::ids::BrokerId;
use client::wire::ErrorCode;
use client::wire::messages::create_partitions_request::CreatePartitionsTopic;
use client::wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use client::wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use client::zk::Session;
use client::znode::admin as admin_znode;
use client::znode::topic::PartitionAssignment;
use controller::placement::{self, Replicas};
use controller::topics::{self, TopicError};

use super::failure::Failure;
use super::topic_creation::{all_led, count_names};
use super::waiting::wait_until;
use crate::admin::Admin;

/// The numbers of all partitions the topic has then.
type Outcome = Result<Vec<i32>, Failure>;

pub(super) async fn answer(admin: &Admin, body: &CreatePartitionsRequest) -> CreatePartitionsResponse {
    let counts = count_names(body.topics.iter().map(|topic| &*topic.name));
    let is_repeated =
        |topic: &CreatePartitionsTopic| counts.get(&*topic.name).is_some_and(|&count| count > 1);
    let mut outcomes: Vec<(&CreatePartitionsTopic, Outcome)> = Vec::with_capacity(counts.len());
    for topic in &body.topics {
        let outcome = if !admin.controller.is_active() {
            Err(Failure::silent(ErrorCode::NotController))
        } else if is_repeated(topic) {
            Err(Failure::new(ErrorCode::InvalidRequest, "Duplicate topic in request."))
        } else {
            add(admin, topic, body.validate_only).await
        };
        outcomes.push((topic, outcome));
    }
    let mut answered = BTreeSet::new();
    outcomes.retain(|(topic, _)| answered.insert(topic.name.clone()));
    if !body.validate_only {
        wait(admin, body.timeout_ms, &mut outcomes).await;
    }
    // What succeeded or failed here comes first, what was asked twice last, as in Kafka.
    outcomes.sort_by_key(|(topic, _)| is_repeated(topic));
    CreatePartitionsResponse {
        results: outcomes.into_iter().map(|(topic, outcome)| result(topic, outcome)).collect(),
        ..CreatePartitionsResponse::default()
    }
}

async fn add(admin: &Admin, topic: &CreatePartitionsTopic, validate_only: bool) -> Outcome {
    let session = admin.session().ok_or_else(|| Failure::silent(ErrorCode::NotController))?;
    let name = &*topic.name;
    if session.exists(&admin_znode::delete_topic_path(name)).await?.is_some() {
        return Err(Failure::new(ErrorCode::InvalidTopicException, "The topic is queued for deletion."));
    }
    let existing = existing(&session, name).await?;
    let added = plan(&session, &existing, topic).await?;
    if !validate_only {
        topics::add_partitions(&session, name, &added).await?;
    }
    Ok(existing.keys().chain(added.keys()).copied().collect())
}

async fn existing(session: &Session, name: &str) -> Result<Replicas, Failure> {
    let assignment = topics::assignment(session, name).await?;
    let partitions = assignment.map(|assignment| assignment.partitions).unwrap_or_default();
    if partitions.is_empty() {
        return Err(TopicError::Unknown { topic: String::from(name) }.into());
    }
    if partitions.values().any(PartitionAssignment::is_being_reassigned) {
        return Err(TopicError::BeingReassigned { topic: String::from(name) }.into());
    }
    Ok(partitions.into_iter().map(|(number, partition)| (number, partition.replicas)).collect())
}

/// The new partitions' replicas: placed, or given by hand and checked.
async fn plan(
    session: &Session,
    existing: &Replicas,
    topic: &CreatePartitionsTopic,
) -> Result<Replicas, Failure> {
    let candidates = topics::candidates(session).await?;
    let added = match &topic.assignments {
        None => placement::place_more(&candidates, existing, topic.count)?,
        Some(given) => {
            let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
            let given: Vec<Vec<BrokerId>> = given.iter().map(|one| ids(&one.broker_ids)).collect();
            let brokers = candidates.iter().map(|candidate| candidate.id).collect();
            placement::check_more(existing, topic.count, &given, &brokers)?
        }
    };
    Ok(added)
}

async fn wait(admin: &Admin, timeout_ms: i32, outcomes: &mut [(&CreatePartitionsTopic, Outcome)]) {
    let is_led = |cluster: &_, topic: &CreatePartitionsTopic, outcome: &Outcome| match outcome {
        Ok(partitions) => all_led(cluster, &topic.name, partitions),
        Err(_) => true,
    };
    let cluster = wait_until(&admin.metadata, timeout_ms, |cluster| {
        outcomes.iter().all(|(topic, outcome)| is_led(cluster, topic, outcome))
    })
    .await;
    for (topic, outcome) in outcomes {
        if outcome.is_ok() && !(timeout_ms > 0 && is_led(&cluster, topic, outcome)) {
            *outcome = Err(Failure::silent(ErrorCode::RequestTimedOut));
        }
    }
}

fn result(topic: &CreatePartitionsTopic, outcome: Outcome) -> CreatePartitionsTopicResult {
    let failure = outcome.err().unwrap_or_else(|| Failure::silent(ErrorCode::None));
    CreatePartitionsTopicResult {
        name: topic.name.clone(),
        error_code: failure.code.code(),
        error_message: failure.wire_message(),
    }
}

#[cfg(test)]
mod tests {
    use client::wire::Str;

    use super::*;
    use crate::api::admin_testing::{admin_with, through_the_wire};

    #[tokio::test]
    async fn only_the_controller_adds_partitions() {
        let topic = |name: &str| CreatePartitionsTopic { name: Str::from(name), count: 3, assignments: None };
        let body = CreatePartitionsRequest {
            topics: vec![topic("a"), topic("b"), topic("a")],
            ..CreatePartitionsRequest::default()
        };
        let response = answer(&admin_with(&[]), &body).await;
        for version in 0..=3 {
            let seen = through_the_wire(&response, version);
            let found: Vec<_> = seen
                .results
                .iter()
                .map(|one| (&*one.name, one.error_code, one.error_message.as_deref()))
                .collect();
            assert_eq!(found, [("b", 41, None), ("a", 41, None)], "v{version}");
        }
    }
}
