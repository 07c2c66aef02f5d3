//! Metadata: brokers, topics, leaders, as this broker heard of them. A topic that does not exist
//! is created here and now, by this broker, controller or not.

use std::collections::BTreeSet;
use std::time::Duration;

use client::ids::{BrokerId, Uuid};
use client::wire::messages::metadata_request::MetadataRequestTopic;
use client::wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use client::wire::messages::{MetadataRequest, MetadataResponse};
use client::wire::{ErrorCode, Str};
use client::znode::topic_name;

use super::authorized::{CLUSTER_OPERATIONS, TOPIC_OPERATIONS};
use super::topic_on_demand::create;
use crate::admin::Admin;
use crate::metadata::{ClusterMetadata, PartitionMetadata, TopicMetadata};

/// From this version on an empty list of topics means none; before, all.
const EMPTY_IS_NONE: i16 = 1;

/// Before this version a client cannot say that topics are not to be created.
const CREATION_OPTIONAL: i16 = 4;

/// From this version on a listener that the leader lacks has a code of its own.
const TELLS_LISTENER: i16 = 6;

/// From this version on topics can be asked for by id, though 10 and 11 have the field.
const BY_ID: i16 = 12;

/// How long a client of a broker that has just started waits for what the controller has to tell it: longer than it
/// wants to, so that it asks another broker. Answered before, it would hear that there are no brokers and
/// no topics, upon which librdkafka parts from all brokers for good, or gives up all records that wait to be sent.
const FIRST_UPDATE: Duration = Duration::from_secs(60);

/// How a version shows partitions.
#[derive(Debug, Clone, Copy)]
struct View<'a> {
    version: i16,
    listener: &'a str,
}

pub(super) async fn answer(
    admin: &Admin,
    version: i16,
    listener: &str,
    body: &MetadataRequest,
) -> MetadataResponse {
    let view = View { version, listener };
    let cluster = admin.metadata.known(FIRST_UPDATE).await;
    let topics = match body.topics.as_deref() {
        None => all_topics(&cluster, view),
        Some([]) if version < EMPTY_IS_NONE => all_topics(&cluster, view),
        Some(asked) => match misuse(version, asked) {
            Some(code) => return refused(asked, code),
            None => some_topics(admin, &cluster, view, asked, body.allow_auto_topic_creation).await,
        },
    };
    let mut response = MetadataResponse {
        brokers: brokers(&cluster, listener),
        cluster_id: Some(Str::from(&*admin.cluster_id)),
        controller_id: cluster.controller().map_or(-1, |id| id.0),
        topics,
        ..MetadataResponse::default()
    };
    if body.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    if body.include_topic_authorized_operations {
        // Nothing is said of ids that belong to no topic.
        for topic in response.topics.iter_mut().filter(|topic| topic.name.is_some()) {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    response
}

/// Versions 10 and 11 have a field for the topic's id that nothing may be in, and all versions
/// before 12 need names. Kafka 3.9 stumbles over a topic with neither name nor id.
fn misuse(version: i16, asked: &[MetadataRequestTopic]) -> Option<ErrorCode> {
    let any = |is: fn(&MetadataRequestTopic) -> bool| asked.iter().any(is);
    if version < BY_ID && any(|topic| topic.name.is_none() || !topic.topic_id.is_zero()) {
        return Some(ErrorCode::InvalidRequest);
    }
    let has_ids = any(|topic| !topic.topic_id.is_zero());
    (!has_ids && any(|topic| topic.name.is_none())).then_some(ErrorCode::UnknownServerError)
}

fn refused(asked: &[MetadataRequestTopic], code: ErrorCode) -> MetadataResponse {
    let topic = |asked: &MetadataRequestTopic| MetadataResponseTopic {
        error_code: code.code(),
        name: Some(asked.name.clone().unwrap_or_default()),
        topic_id: asked.topic_id,
        ..MetadataResponseTopic::default()
    };
    MetadataResponse { topics: asked.iter().map(topic).collect(), ..MetadataResponse::default() }
}

fn brokers(cluster: &ClusterMetadata, listener: &str) -> Vec<MetadataResponseBroker> {
    let reachable = cluster.brokers().values().filter_map(|broker| {
        let endpoint = broker.endpoint(listener)?;
        Some(MetadataResponseBroker {
            node_id: broker.id.0,
            host: Str::from(&*endpoint.host),
            port: endpoint.port,
            rack: broker.rack.as_deref().map(Str::from),
        })
    });
    reachable.collect()
}

fn all_topics(cluster: &ClusterMetadata, view: View<'_>) -> Vec<MetadataResponseTopic> {
    cluster.topics().values().map(|topic| existing(cluster, view, topic)).collect()
}

/// Unknown ids first, then what exists, then what does not.
async fn some_topics(
    admin: &Admin,
    cluster: &ClusterMetadata,
    view: View<'_>,
    asked: &[MetadataRequestTopic],
    allow_creation: bool,
) -> Vec<MetadataResponseTopic> {
    let mut seen = BTreeSet::new();
    let ids: Vec<Uuid> =
        asked.iter().map(|topic| topic.topic_id).filter(|id| !id.is_zero() && seen.insert(*id)).collect();
    if !ids.is_empty() {
        // One id makes every name in the request count for nothing.
        let of = |id: Uuid| cluster.topic_name(id).and_then(|name| cluster.topic(name)).ok_or(id);
        let (known, unknown): (Vec<_>, Vec<_>) = ids.into_iter().map(of).partition(Result::is_ok);
        let unknown = unknown.into_iter().filter_map(Result::err).map(unknown_id);
        return unknown
            .chain(known.into_iter().flatten().map(|topic| existing(cluster, view, topic)))
            .collect();
    }
    let mut seen = BTreeSet::new();
    let names: Vec<&str> =
        asked.iter().filter_map(|topic| topic.name.as_deref()).filter(|name| seen.insert(*name)).collect();
    let (known, unknown): (Vec<&str>, Vec<&str>) =
        names.into_iter().partition(|name| cluster.topic(name).is_some());
    let mut topics: Vec<MetadataResponseTopic> = known
        .into_iter()
        .filter_map(|name| cluster.topic(name))
        .map(|topic| existing(cluster, view, topic))
        .collect();
    let may_create =
        admin.config.broker().topics.auto_create && (allow_creation || view.version < CREATION_OPTIONAL);
    for name in unknown {
        let code = if may_create { create(admin, name).await } else { why_unknown(name) };
        topics.push(absent(name, code));
    }
    topics
}

fn unknown_id(id: Uuid) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: ErrorCode::UnknownTopicId.code(),
        name: None,
        topic_id: id,
        ..MetadataResponseTopic::default()
    }
}

fn absent(name: &str, code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: code.code(),
        name: Some(Str::from(name)),
        is_internal: topic_name::is_internal(name),
        ..MetadataResponseTopic::default()
    }
}

fn why_unknown(name: &str) -> ErrorCode {
    match topic_name::validate(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn existing(cluster: &ClusterMetadata, view: View<'_>, topic: &TopicMetadata) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(Str::from(&*topic.name)),
        topic_id: topic.id.unwrap_or(Uuid::ZERO),
        is_internal: topic_name::is_internal(&topic.name),
        partitions: topic.partitions().map(|(number, one)| partition(cluster, view, number, one)).collect(),
        ..MetadataResponseTopic::default()
    }
}

fn partition(
    cluster: &ClusterMetadata,
    view: View<'_>,
    number: i32,
    partition: &PartitionMetadata,
) -> MetadataResponsePartition {
    let is_reachable =
        |id: &BrokerId| cluster.broker(*id).is_some_and(|one| one.endpoint(view.listener).is_some());
    // The oldest clients cannot bear replicas they know no address of.
    let shown = |ids: &[BrokerId]| -> Vec<i32> {
        ids.iter().filter(|id| view.version > 0 || is_reachable(id)).map(|id| id.0).collect()
    };
    let (replica_nodes, isr_nodes) = (shown(&partition.replicas), shown(&partition.isr));
    let leader = partition.leader.filter(is_reachable);
    let code = match (leader, partition.leader) {
        (Some(_), _)
            if replica_nodes.len() < partition.replicas.len() || isr_nodes.len() < partition.isr.len() =>
        {
            ErrorCode::ReplicaNotAvailable
        }
        (Some(_), _) => ErrorCode::None,
        (None, Some(alive)) if cluster.is_alive(alive) && view.version >= TELLS_LISTENER => {
            ErrorCode::ListenerNotFound
        }
        (None, _) => ErrorCode::LeaderNotAvailable,
    };
    MetadataResponsePartition {
        error_code: code.code(),
        partition_index: number,
        leader_id: leader.map_or(-1, |id| id.0),
        leader_epoch: partition.leader_epoch.0,
        replica_nodes,
        isr_nodes,
        offline_replicas: partition.offline_replicas.iter().map(|id| id.0).collect(),
    }
}

#[cfg(test)]
mod tests;
