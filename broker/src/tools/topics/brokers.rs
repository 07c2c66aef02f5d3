//! The actions over `--bootstrap-server` (`TopicCommand.java` of Kafka 3.9).

use std::collections::BTreeMap;

use client::admin::{
    Admin, AdminError, AdminOptions, Bootstrap, ConfigEntry, DescribedTopics, NewPartitions, NewTopic,
    PartitionDescription, Placement, Reassignment, TopicDescription, TopicListing,
};
use client::ids::{TopicPartition, Uuid};
use client::wire::ErrorCode;

use super::description::{self, Move, Partition, Report, Topic};
use super::json::{self, Listed};
use super::options::{Action, Arguments};
use super::request::{TopicRequest, warn_of_collisions};
use super::selection::{ensure_found, select};
use super::{Dialect, Failed, Stop, topic_id};
use crate::tools::client_config::{self, KAFKA_EXCEPTION, NO_CLIENT};
use crate::tools::console::Console;
use crate::tools::failure::Exception;
use crate::tools::hash_order;

const DIALECT: Dialect = Dialect::Brokers;

pub(super) async fn run(arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let admin = connect(arguments).await?;
    let done = match arguments.action {
        Action::Create => create(&admin, arguments, console).await,
        Action::List => list(&admin, arguments, console).await,
        Action::Describe => describe(&admin, arguments, console).await,
        Action::Alter => alter(&admin, arguments, console).await,
        Action::Delete => delete(&admin, arguments).await,
    };
    done.map_err(|failed| Stop::Failed(Failed { is_json: arguments.is_json, ..failed }))
}

async fn connect(arguments: &Arguments) -> Result<Admin, Stop> {
    let options = match arguments.early_value("command-config")? {
        Some(path) => client_config::load(path).map_err(Stop::Crash)?,
        None => AdminOptions::default(),
    };
    let servers = arguments.early_value("bootstrap-server")?.unwrap_or_default();
    let bootstrap = Bootstrap::resolve(servers).await.map_err(|error| {
        let class = "org.apache.kafka.common.config.ConfigException";
        Stop::Crash(Exception::new(KAFKA_EXCEPTION, NO_CLIENT).caused_by(class, error.to_string()))
    })?;
    Ok(Admin::new(bootstrap, options))
}

impl From<AdminError> for Failed {
    fn from(error: AdminError) -> Failed {
        let hint = error.cause().map(|cause| format!("The last thing that went wrong: {cause}"));
        Failed { hint, ..Failed::new(error.to_string()) }
    }
}

async fn create(admin: &Admin, arguments: &Arguments, console: &mut Console) -> Result<(), Failed> {
    let request = TopicRequest::read(DIALECT, arguments, console)?;
    warn_of_collisions(&request.topic, console);
    let replication_factor = match request.replication_factor.map(i16::try_from) {
        None => None,
        Some(Ok(factor @ 1..)) => Some(factor),
        Some(_) => {
            let most = i16::MAX;
            return Err(Failed::new(format!(
                "The replication factor must be between 1 and {most} inclusive"
            )));
        }
    };
    if request.partitions.is_some_and(|partitions| partitions < 1) {
        return Err(Failed::new("The partitions must be greater than 0"));
    }
    let placement = match request.replicas.filter(|replicas| !replicas.is_empty()) {
        Some(replicas) => Placement::Replicas(replicas),
        None => Placement::Counts { partitions: request.partitions, replication_factor },
    };
    console.show();
    let new = NewTopic { name: request.topic, placement, configs: request.configs };
    match admin.create_topic(&new).await {
        Ok(()) => {
            admin.wait_until_served(&new.name, 1).await;
            console.line(format!("Created topic {}.", new.name));
        }
        Err(AdminError::Refused { code: ErrorCode::TopicAlreadyExists, .. })
            if arguments.has("if-not-exists") => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn list(admin: &Admin, arguments: &Arguments, console: &mut Console) -> Result<(), Failed> {
    let all = admin.list_topics().await?;
    let ids: BTreeMap<String, Uuid> = all.iter().map(|topic| (topic.name.clone(), topic.id)).collect();
    let names = select(names(all), arguments)?;
    if arguments.is_json {
        let listed = names.into_iter().map(|name| {
            let id = ids.get(&name).copied().filter(|id| !id.is_zero());
            Listed { name, id, is_marked_for_deletion: false }
        });
        json::print_list(&listed.collect::<Vec<_>>(), console);
    } else {
        console.line(names.join("\n"));
    }
    Ok(())
}

async fn alter(admin: &Admin, arguments: &Arguments, console: &mut Console) -> Result<(), Failed> {
    let request = TopicRequest::read(DIALECT, arguments, console)?;
    let topics = select(names(admin.list_topics().await?), arguments)?;
    ensure_found(DIALECT, &topics, arguments)?;
    if topics.is_empty() {
        return Ok(());
    }
    let total = request.partitions.unwrap_or_default();
    let mut new = Vec::with_capacity(topics.len());
    match request.replicas.filter(|replicas| !replicas.is_empty()) {
        None => new.extend(topics.into_iter().map(|topic| NewPartitions { topic, total, replicas: None })),
        Some(replicas) => {
            // The assignment begins with the partitions there are.
            for TopicDescription { name, partitions, .. } in admin.describe_topics(&topics).await?.topics {
                let added = replicas.values().skip(partitions.len()).cloned().collect();
                new.push(NewPartitions { topic: name, total, replicas: Some(added) });
            }
        }
    }
    admin.create_partitions(&new).await?;
    for topic in &new {
        admin.wait_until_served(&topic.topic, usize::try_from(topic.total).unwrap_or(0)).await;
    }
    Ok(())
}

async fn delete(admin: &Admin, arguments: &Arguments) -> Result<(), Failed> {
    let topics = select(names(admin.list_topics().await?), arguments)?;
    ensure_found(DIALECT, &topics, arguments)?;
    admin.delete_topics(&topics).await?;
    for topic in &topics {
        admin.wait_until_gone(topic).await;
    }
    Ok(())
}

async fn describe(admin: &Admin, arguments: &Arguments, console: &mut Console) -> Result<(), Failed> {
    let described = described_topics(admin, arguments).await?;
    let names: Vec<String> = described.topics.iter().map(|topic| topic.name.clone()).collect();
    let mut configs = admin.topic_configs(&names).await?;
    let reassignments = reassignments(admin, &described).await?;
    let report = Report::new(arguments, described.live_brokers);
    let mut topics: Vec<Topic> = described
        .topics
        .into_iter()
        .map(|topic| {
            let configs = configs.remove(&topic.name).unwrap_or_default();
            assemble(topic, configs, &reassignments)
        })
        .collect();
    if arguments.is_json {
        json::print_descriptions(&report, &topics, console);
        return Ok(());
    }
    let count = topics.len();
    hash_order::sort(&mut topics, count, |topic| &topic.name);
    for topic in &topics {
        description::print(DIALECT, &report, topic, console);
    }
    Ok(())
}

/// Those chosen by `--topic-id`, or else by `--topic`.
async fn described_topics(admin: &Admin, arguments: &Arguments) -> Result<DescribedTopics, Failed> {
    let id = arguments.value("topic-id")?.map(topic_id::parse).transpose()?;
    let Some(id) = id.filter(|id| !id.is_zero()) else {
        let topics = select(names(admin.list_topics().await?), arguments)?;
        ensure_found(DIALECT, &topics, arguments)?;
        if topics.is_empty() {
            return Ok(DescribedTopics::default());
        }
        return Ok(admin.describe_topics(&topics).await?);
    };
    let is_hidden = |topic: &TopicListing| topic.is_internal && arguments.has("exclude-internal");
    let is_there = admin.list_topics().await?.iter().any(|topic| topic.id == id && !is_hidden(topic));
    match is_there {
        true => Ok(admin.describe_topic_by_id(id).await?),
        false if arguments.has("if-exists") => Ok(DescribedTopics::default()),
        false => Err(Failed::new(format!("TopicId '{id}' does not exist as expected"))),
    }
}

/// None from a cluster that does not tell, or not to us.
async fn reassignments(
    admin: &Admin,
    described: &DescribedTopics,
) -> Result<BTreeMap<TopicPartition, Reassignment>, Failed> {
    let partitions = described.topics.iter().flat_map(|topic| {
        let of_topic =
            |partition: &PartitionDescription| TopicPartition::new(topic.name.as_str(), partition.partition);
        topic.partitions.iter().map(of_topic)
    });
    match admin.reassignments(&partitions.collect::<Vec<_>>()).await {
        Ok(reassignments) => Ok(reassignments),
        Err(
            AdminError::Unsupported(_)
            | AdminError::Refused {
                code: ErrorCode::ClusterAuthorizationFailed | ErrorCode::UnsupportedVersion,
                ..
            },
        ) => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

fn names(topics: Vec<TopicListing>) -> Vec<String> {
    topics.into_iter().map(|topic| topic.name).collect()
}

fn assemble(
    topic: TopicDescription,
    configs: Vec<ConfigEntry>,
    reassignments: &BTreeMap<TopicPartition, Reassignment>,
) -> Topic {
    let partition = |partition: PartitionDescription| {
        let place = TopicPartition::new(topic.name.as_str(), partition.partition);
        Partition {
            number: partition.partition,
            leader: partition.leader,
            replicas: partition.replicas,
            isr: partition.isr,
            move_: reassignments.get(&place).map(|reassignment| Move {
                adding: reassignment.adding.clone(),
                removing: reassignment.removing.clone(),
                replication_factor: reassignment.replicas.len().saturating_sub(reassignment.adding.len()),
            }),
        }
    };
    let partitions: Vec<Partition> = topic.partitions.into_iter().map(partition).collect();
    let min_isr = configs.iter().find(|entry| entry.name == "min.insync.replicas");
    let min_isr = min_isr.and_then(|entry| entry.value.as_deref()).and_then(|value| value.parse().ok());
    let mut set: Vec<ConfigEntry> = configs;
    hash_order::sort(&mut set, hash_order::DEFAULT_CAPACITY, |entry| &entry.name);
    set.retain(|entry| !entry.is_default);
    let shown = |entry: ConfigEntry| (entry.name, entry.value.unwrap_or_else(|| "null".to_owned()));
    Topic {
        id: Some(topic.id).filter(|id| !id.is_zero()),
        replication_factor: partitions.first().map_or(0, Partition::replication_factor),
        name: topic.name,
        configs: set.into_iter().map(shown).collect(),
        min_isr,
        is_marked_for_deletion: false,
        partitions,
    }
}
