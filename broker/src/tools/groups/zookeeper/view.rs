//! What is known of a classic group, from its znodes and from the brokers.

use std::collections::BTreeMap;
use std::time::Duration;

use client::admin::{Admin, AdminOptions, Bootstrap, GroupOffsets, OffsetAt};
use client::cluster::host_and_port;
use client::ids::{Offset, TopicPartition};
use client::zk::{Session, ZkError};
use client::znode::broker::{self, Registration, SecurityProtocol};
use client::znode::consumer;
use client::znode::topic::{self, TopicAssignment};
use tokio::time::timeout;

use super::{ClassicRow, Outcome};

/// How long the group's coordinator is looked for. A cluster of classic consumers may never have one.
const COORDINATOR_PATIENCE: Duration = Duration::from_secs(5);

/// The groups, sorted by name.
pub(super) async fn groups(session: &Session) -> Result<Vec<String>, ZkError> {
    children(session, consumer::CONSUMERS).await.map(Option::unwrap_or_default)
}

/// The topics that members of the group have owned partitions of.
pub(super) async fn topics(session: &Session, group: &str) -> Result<Vec<String>, ZkError> {
    let owners = format!("{}/{group}/owners", consumer::CONSUMERS);
    children(session, &owners).await.map(Option::unwrap_or_default)
}

/// Whether a group may go: it is one of classic consumers, and none of them is there.
pub(super) async fn deletable(session: &Session, group: &str) -> Result<Outcome, ZkError> {
    Ok(match children(session, &consumer::ids_path(group)).await? {
        None => Outcome::Unknown,
        Some(ids) if ids.is_empty() => Outcome::Deleted,
        Some(_) => Outcome::Active,
    })
}

async fn children(session: &Session, path: &str) -> Result<Option<Vec<String>>, ZkError> {
    match session.children(path).await {
        Ok(mut names) => {
            names.sort();
            Ok(Some(names))
        }
        Err(ZkError::NoNode { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All partitions of the group's topics.
pub(super) async fn rows(
    session: &Session,
    group: &str,
    options: AdminOptions,
) -> Result<Vec<ClassicRow>, ZkError> {
    let partitions = partitions(session, &topics(session, group).await?).await?;
    let admin = admin(session, options).await?;
    let in_kafka = offsets_in_kafka(admin.as_ref(), group).await;
    let ends = ends(admin.as_ref(), &partitions).await;
    let mut rows = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let TopicPartition { topic, partition: number } = &partition;
        let owner = session.get_if_exists(&consumer::owner_path(group, topic, *number)).await?;
        let owner = owner.map(|node| String::from_utf8_lossy(&node.data).into_owned());
        // The owner is a thread of the consumer: its number follows the last hyphen.
        let consumer = owner.map(|thread| match thread.rsplit_once('-') {
            Some((consumer, _)) => consumer.to_owned(),
            None => thread,
        });
        let current = match in_kafka.get(&partition) {
            Some(committed) => Some(committed.offset),
            None => {
                let node = session.get_if_exists(&consumer::offset_path(group, topic, *number)).await?;
                node.and_then(|node| consumer::decode_offset(&node.data).ok())
            }
        };
        let end = ends.get(&partition).copied().flatten();
        rows.push(ClassicRow { partition, current, end, consumer });
    }
    Ok(rows)
}

async fn partitions(session: &Session, topics: &[String]) -> Result<Vec<TopicPartition>, ZkError> {
    let mut partitions = Vec::new();
    for name in topics {
        let node = session.get_if_exists(&topic::path(name)).await?;
        let assignment = node.and_then(|node| TopicAssignment::decode(&node.data).ok());
        let numbers = assignment.into_iter().flat_map(|assignment| assignment.partitions.into_keys());
        partitions.extend(numbers.map(|number| TopicPartition::new(name.as_str(), number)));
    }
    partitions.sort();
    Ok(partitions)
}

/// A client of the brokers that are registered with a listener that it can use.
async fn admin(session: &Session, options: AdminOptions) -> Result<Option<Admin>, ZkError> {
    let ids = children(session, broker::IDS).await?.unwrap_or_default();
    let paths: Vec<String> = ids.iter().map(|id| format!("{}/{id}", broker::IDS)).collect();
    let nodes = session.get_many(&paths).await?;
    let registered = nodes.into_iter().flatten().filter_map(|node| Registration::decode(&node.data).ok());
    let addresses = registered.filter_map(|registration| {
        let mut endpoints = registration.endpoints.into_iter();
        let endpoint =
            endpoints.find(|endpoint| endpoint.security_protocol == SecurityProtocol::Plaintext)?;
        Some(host_and_port(&endpoint.host, endpoint.port))
    });
    let addresses = addresses.collect::<Vec<String>>().join(",");
    Ok(Bootstrap::resolve(&addresses).await.ok().map(|bootstrap| Admin::new(bootstrap, options)))
}

/// Groups may commit to brokers (`offsets.storage=kafka`), and then those count. Without a coordinator there is
/// what ZooKeeper has.
async fn offsets_in_kafka(admin: Option<&Admin>, group: &str) -> GroupOffsets {
    let Some(admin) = admin else { return GroupOffsets::new() };
    let groups = [group.to_owned()];
    let found = timeout(COORDINATOR_PATIENCE, admin.group_offsets(&groups)).await;
    found.ok().and_then(|found| found.ok()?.remove(group)?.ok()).unwrap_or_default()
}

async fn ends(
    admin: Option<&Admin>,
    partitions: &[TopicPartition],
) -> BTreeMap<TopicPartition, Option<Offset>> {
    let Some(admin) = admin else { return BTreeMap::new() };
    admin.log_offsets_of_led(partitions, OffsetAt::Latest).await.unwrap_or_default()
}
