//! `--delete` and `--delete-offsets`.

use std::collections::BTreeMap;

use client::admin::{Admin, AdminError};
use client::ids::TopicPartition;
use client::wire::ErrorCode;

use super::brokers::chosen_groups;
use super::options::Arguments;
use super::reset::{parse_partitions, partitions_of};
use super::{Stop, json, tables};
use crate::tools::console::Console;
use crate::tools::failure::Exception;
use crate::tools::hash_order;
use crate::tools::java_exception::{self, execution};

pub(super) async fn groups(admin: &Admin, arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let mut groups = chosen_groups(admin, arguments).await?;
    hash_order::sort(&mut groups, hash_order::DEFAULT_CAPACITY, |group| group);
    groups.dedup();
    let mut results: Vec<(String, Option<Exception>)> = Vec::with_capacity(groups.len());
    match admin.delete_groups(&groups).await {
        Ok(mut found) => {
            for group in groups {
                let error = found.remove(&group).and_then(Result::err);
                results.push((group, error.as_ref().map(execution)));
            }
        }
        Err(error) => results.extend(groups.into_iter().map(|group| (group, Some(execution(&error))))),
    }
    match arguments.is_json {
        true => json::print_deleted_groups(&results, console),
        false => tell_of_groups(&results, console),
    }
    Ok(())
}

fn tell_of_groups(results: &[(String, Option<Exception>)], console: &mut Console) {
    let gone = results.iter().filter(|(_, error)| error.is_none()).map(|(group, _)| group.as_str());
    let gone: Vec<&str> = gone.collect();
    if gone.len() == results.len() {
        let gone = gone.join(", ");
        console.line(format!("Deletion of requested consumer groups ('{gone}') was successful."));
        return;
    }
    console.line("\nError: Deletion of some consumer groups failed:");
    for (group, error) in results {
        if let Some(error) = error {
            console.line(format!("* Group '{group}' could not be deleted due to: {error}"));
        }
    }
    if !gone.is_empty() {
        // The quotes are where Kafka's tool puts them.
        let gone = gone.join("'");
        console.line(format!("\nThese consumer groups were deleted successfully: '{gone}', '"));
    }
}

pub(super) async fn offsets(admin: &Admin, arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let group = arguments.options.value("group")?.unwrap_or_default();
    let topics = arguments.options.values("topic");
    let mut partitions = Vec::new();
    let mut results: BTreeMap<TopicPartition, Option<String>> = BTreeMap::new();
    for topic in topics.iter().filter(|topic| topic.contains(':')) {
        partitions.extend(parse_partitions(topic)?);
    }
    for topic in topics.iter().filter(|topic| !topic.contains(':')) {
        match admin.describe_topics(std::slice::from_ref(topic)).await {
            Ok(described) => partitions.extend(partitions_of(described)),
            Err(error) => {
                let unknown = TopicPartition::new(topic.as_str(), -1);
                results.insert(unknown, Some(java_exception::of(&error).to_string()));
            }
        }
    }
    let outcome = admin.delete_group_offsets(group, &partitions).await;
    let mut overall = ErrorCode::None;
    for partition in &partitions {
        let error = match &outcome {
            Ok(found) => match found.get(partition) {
                Some(Ok(())) | None => None,
                Some(Err(code)) => {
                    Some((*code, Exception::new(java_exception::class(*code), code.message())))
                }
            },
            Err(error) => Some((code_of(error), java_exception::of(error))),
        };
        if let (Some((code, _)), ErrorCode::None) = (&error, overall) {
            overall = *code;
        }
        results.insert(partition.clone(), error.map(|(_, exception)| exception.to_string()));
    }
    if let (Err(error), true) = (&outcome, partitions.is_empty()) {
        overall = code_of(error);
    }
    let mut results: Vec<(TopicPartition, Option<String>)> = results.into_iter().collect();
    results.sort_by_key(|(partition, _)| format!("{}{}", partition.topic, partition.partition));
    if arguments.is_json {
        json::print_deleted_offsets(group, overall, &results, console);
        return Ok(());
    }
    match complaint(overall, group) {
        None => {
            let topics = topics.join(", ");
            console.line(format!("Request succeed for deleting offsets with topic {topics} group {group}"));
        }
        Some(complaint) => console.line(format!("\nError: {complaint}")),
    }
    tables::print_deleted_offsets(&results, console);
    Ok(())
}

fn code_of(error: &AdminError) -> ErrorCode {
    match error {
        AdminError::NoBroker { .. } | AdminError::TimedOut { .. } => ErrorCode::RequestTimedOut,
        AdminError::Refused { code, .. } => *code,
        AdminError::UnrepresentableName { .. } => ErrorCode::InvalidTopicException,
        AdminError::Unsupported(_) => ErrorCode::UnsupportedVersion,
    }
}

/// What the tool says of the request as a whole.
fn complaint(code: ErrorCode, group: &str) -> Option<String> {
    let complaint = match code {
        ErrorCode::None => return None,
        ErrorCode::InvalidGroupId => format!("'{group}' is not valid."),
        ErrorCode::GroupIdNotFound => format!("'{group}' does not exist."),
        ErrorCode::GroupAuthorizationFailed => format!("Access to '{group}' is not authorized."),
        ErrorCode::NonEmptyGroup => {
            format!("Deleting offsets of a consumer group '{group}' is forbidden if the group is not empty.")
        }
        ErrorCode::GroupSubscribedToTopic
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::UnknownTopicOrPartition => {
            "Encounter some partition level error, see the follow-up details:".to_owned()
        }
        other => format!("Encounter some unknown error: {}", other.name()),
    };
    Some(complaint)
}
