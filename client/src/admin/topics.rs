//! Topics: which there are, where their partitions are, and how they come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Admin, AdminError, Target};
use crate::ids::{BrokerId, Uuid};
use crate::wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use crate::wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use crate::wire::messages::delete_topics_request::DeleteTopicState;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use crate::wire::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest, MetadataResponse,
};
use crate::wire::{ErrorCode, Str};

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicListing {
    pub name: String,
    /// [`Uuid::ZERO`]: none is known.
    pub id: Uuid,
    /// Kafka keeps it for itself.
    pub is_internal: bool,
}

/// A topic with its partitions, by rising number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    pub name: String,
    pub id: Uuid,
    pub partitions: Vec<PartitionDescription>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    pub partition: i32,
    /// `None`: nobody leads it, or a broker that is not there.
    pub leader: Option<BrokerId>,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
}

/// Topics, and the brokers that were there to serve them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribedTopics {
    pub topics: Vec<TopicDescription>,
    pub live_brokers: BTreeSet<BrokerId>,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    pub placement: Placement,
    pub configs: BTreeMap<String, String>,
}

/// Where the partitions of a new topic go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// `None`: the broker's default.
    Counts { partitions: Option<i32>, replication_factor: Option<i16> },
    /// Replicas by partition number.
    Replicas(BTreeMap<i32, Vec<BrokerId>>),
}

/// Partitions to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartitions {
    pub topic: String,
    /// How many there are to be then.
    pub total: i32,
    /// The replicas of each new one; `None`: the controller places them.
    pub replicas: Option<Vec<Vec<BrokerId>>>,
}

/// "Take the broker's default", for both counts.
const BROKER_DEFAULT: i8 = -1;

impl Admin {
    /// All topics, sorted by name.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, AdminError> {
        let response = self.metadata("listTopics", None).await?;
        let mut topics: Vec<TopicListing> = response.topics.into_iter().map(listing).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// The named topics, in this order. One that does not exist is an error.
    pub async fn describe_topics(&self, names: &[String]) -> Result<DescribedTopics, AdminError> {
        let asked = names
            .iter()
            .map(|name| MetadataRequestTopic { name: Some(Str::from(name.as_str())), topic_id: Uuid::ZERO });
        let response = self.metadata("describeTopics", Some(asked.collect())).await?;
        let mut described = describe(response)?;
        let order: BTreeMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
        described.topics.sort_by_key(|topic| order.get(topic.name.as_str()).copied());
        Ok(described)
    }

    /// The topic with this id.
    pub async fn describe_topic_by_id(&self, id: Uuid) -> Result<DescribedTopics, AdminError> {
        let asked = MetadataRequestTopic { name: None, topic_id: id };
        describe(self.metadata("describeTopicsWithIds", Some(vec![asked])).await?)
    }

    async fn metadata(
        &self,
        call: &'static str,
        topics: Option<Vec<MetadataRequestTopic>>,
    ) -> Result<MetadataResponse, AdminError> {
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let response = self.call(call, Target::AnyBroker, |_| request.clone(), |_| ErrorCode::None).await?;
        self.learn(&response);
        Ok(response)
    }

    pub async fn create_topic(&self, new: &NewTopic) -> Result<(), AdminError> {
        check_name(&new.name)?;
        let request = |remaining| CreateTopicsRequest {
            topics: vec![creatable(new)],
            timeout_ms: millis(remaining),
            validate_only: false,
        };
        let moved = |response: &CreateTopicsResponse| {
            not_controller(response.topics.iter().map(|topic| topic.error_code))
        };
        let response = self.call("createTopics", Target::Controller, request, moved).await?;
        let mut results = response.topics.iter();
        results.try_for_each(|topic| AdminError::check(topic.error_code, topic.error_message.as_deref()))
    }

    /// Every topic is tried; the first refusal is the error.
    pub async fn create_partitions(&self, new: &[NewPartitions]) -> Result<(), AdminError> {
        new.iter().try_for_each(|new| check_name(&new.topic))?;
        let request = |remaining| CreatePartitionsRequest {
            topics: new.iter().map(partitions_of).collect(),
            timeout_ms: millis(remaining),
            validate_only: false,
        };
        let moved = |response: &CreatePartitionsResponse| {
            not_controller(response.results.iter().map(|topic| topic.error_code))
        };
        let response = self.call("createPartitions", Target::Controller, request, moved).await?;
        let mut results = response.results.iter();
        results.try_for_each(|topic| AdminError::check(topic.error_code, topic.error_message.as_deref()))
    }

    /// Every topic is tried; the first refusal is the error.
    pub async fn delete_topics(&self, names: &[String]) -> Result<(), AdminError> {
        if names.is_empty() {
            return Ok(());
        }
        let named = |name: &String| Str::from(name.as_str());
        let state = |name: &String| DeleteTopicState { name: Some(named(name)), topic_id: Uuid::ZERO };
        let request = |remaining| DeleteTopicsRequest {
            topics: names.iter().map(state).collect(),
            // The same for brokers that only know the versions before topic ids.
            topic_names: names.iter().map(named).collect(),
            timeout_ms: millis(remaining),
        };
        let moved = |response: &DeleteTopicsResponse| {
            not_controller(response.responses.iter().map(|topic| topic.error_code))
        };
        let response = self.call("deleteTopics", Target::Controller, request, moved).await?;
        let mut results = response.responses.iter();
        results.try_for_each(|topic| AdminError::check(topic.error_code, topic.error_message.as_deref()))
    }
}

/// What is left of a call's time, for the broker.
pub(super) fn millis(remaining: Duration) -> i32 {
    i32::try_from(remaining.as_millis()).unwrap_or(i32::MAX)
}

fn check_name(name: &str) -> Result<(), AdminError> {
    match name {
        "" => Err(AdminError::UnrepresentableName { name: name.to_owned() }),
        _ => Ok(()),
    }
}

/// One topic's "not the controller" is all topics'.
fn not_controller(mut codes: impl Iterator<Item = i16>) -> ErrorCode {
    match codes.any(|code| code == ErrorCode::NotController.code()) {
        true => ErrorCode::NotController,
        false => ErrorCode::None,
    }
}

fn listing(topic: MetadataResponseTopic) -> TopicListing {
    let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
    TopicListing { name, id: topic.topic_id, is_internal: topic.is_internal }
}

fn describe(response: MetadataResponse) -> Result<DescribedTopics, AdminError> {
    let live: BTreeSet<BrokerId> = response.brokers.iter().map(|broker| BrokerId(broker.node_id)).collect();
    let mut topics = Vec::with_capacity(response.topics.len());
    for topic in response.topics {
        AdminError::check(topic.error_code, None)?;
        let mut partitions: Vec<PartitionDescription> =
            topic.partitions.into_iter().map(|partition| describe_partition(partition, &live)).collect();
        partitions.sort_by_key(|partition| partition.partition);
        let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
        topics.push(TopicDescription { name, id: topic.topic_id, partitions });
    }
    Ok(DescribedTopics { topics, live_brokers: live })
}

fn describe_partition(
    partition: MetadataResponsePartition,
    live: &BTreeSet<BrokerId>,
) -> PartitionDescription {
    let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    PartitionDescription {
        partition: partition.partition_index,
        leader: Some(BrokerId(partition.leader_id)).filter(|leader| live.contains(leader)),
        replicas: ids(partition.replica_nodes),
        isr: ids(partition.isr_nodes),
    }
}

fn creatable(new: &NewTopic) -> CreatableTopic {
    let (partitions, factor, replicas) = match &new.placement {
        Placement::Counts { partitions, replication_factor } => (*partitions, *replication_factor, None),
        Placement::Replicas(replicas) => (None, None, Some(replicas)),
    };
    let assignments = replicas.into_iter().flatten().map(|(&partition_index, ids)| {
        CreatableReplicaAssignment { partition_index, broker_ids: ids.iter().map(|id| id.0).collect() }
    });
    let configs = new.configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: Str::from(name.as_str()),
        value: Some(Str::from(value.as_str())),
    });
    CreatableTopic {
        name: Str::from(new.name.as_str()),
        num_partitions: partitions.unwrap_or(i32::from(BROKER_DEFAULT)),
        replication_factor: factor.unwrap_or(i16::from(BROKER_DEFAULT)),
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}

fn partitions_of(new: &NewPartitions) -> CreatePartitionsTopic {
    let assignment =
        |ids: &Vec<BrokerId>| CreatePartitionsAssignment { broker_ids: ids.iter().map(|id| id.0).collect() };
    CreatePartitionsTopic {
        name: Str::from(new.topic.as_str()),
        count: new.total,
        assignments: new.replicas.as_ref().map(|replicas| replicas.iter().map(assignment).collect()),
    }
}
