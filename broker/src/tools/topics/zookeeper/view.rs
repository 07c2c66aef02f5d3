//! What the znodes say about topics.

use std::collections::{BTreeMap, BTreeSet};

use client::ids::{BrokerId, Uuid};
use client::zk::{Session, ZkError};
use client::znode::config::{self, ConfigEntity};
use client::znode::partition::{self, PartitionState};
use client::znode::topic::{self, TopicAssignment};
use client::znode::{admin, broker};

use super::super::Failed;
use super::super::description::{Move, Partition, Topic};
use crate::tools::hash_order;

/// The topics that are to go.
pub(super) async fn marked_for_deletion(session: &Session) -> Result<BTreeSet<String>, Failed> {
    let marked = ZkError::absent_is_none(session.children(admin::DELETE_TOPICS).await)?;
    Ok(marked.unwrap_or_default().into_iter().collect())
}

pub(super) async fn live_brokers(session: &Session) -> Result<BTreeSet<BrokerId>, Failed> {
    let ids = ZkError::absent_is_none(session.children(broker::IDS).await)?.unwrap_or_default();
    Ok(ids.iter().filter_map(|id| id.parse().ok()).map(BrokerId).collect())
}

pub(super) async fn topic_ids(session: &Session, names: &[String]) -> Result<BTreeMap<String, Uuid>, Failed> {
    let found = names.iter().cloned().zip(assignments(session, names).await?);
    Ok(found.filter_map(|(name, assignment)| Some((name, assignment?.topic_id?))).collect())
}

/// The topics in the order of their names; `None` where there is none any more. Kafka's tool has no eye for
/// reassignments: all replicas count for it.
pub(super) async fn describe(
    session: &Session,
    names: &[String],
    with_moves: bool,
) -> Result<Vec<Option<Topic>>, Failed> {
    let assignments = assignments(session, names).await?;
    let marked = marked_for_deletion(session).await?;
    let config_paths: Vec<String> =
        names.iter().map(|name| ConfigEntity::Topic(name.clone()).path()).collect();
    let configs = session.get_many(&config_paths).await?;

    let mut state_paths = Vec::new();
    for (name, assignment) in names.iter().zip(&assignments) {
        let partitions = assignment.iter().flat_map(|assignment| assignment.partitions.keys());
        state_paths.extend(partitions.map(|&number| partition::state_path(name, number)));
    }
    // In the order of the paths, which is that of topics and partitions below.
    let mut states = session.get_many(&state_paths).await?.into_iter();

    let mut topics = Vec::with_capacity(names.len());
    for ((name, assignment), config) in names.iter().zip(assignments).zip(configs) {
        let Some(assignment) = assignment else {
            topics.push(None);
            continue;
        };
        let partitions = assignment.partitions.into_iter().map(|(number, assigned)| {
            // A partition that the controller has not seen yet has no state.
            let state = states.next().flatten().and_then(|node| PartitionState::decode(&node.data).ok());
            let leader = state.as_ref().map(|state| state.leader).filter(|&leader| leader != BrokerId::NONE);
            let isr = state.map(|state| state.isr).unwrap_or_default();
            let is_moving = with_moves && assigned.is_being_reassigned();
            let replication_factor = assigned.origin().len();
            Partition {
                number,
                leader,
                replicas: assigned.replicas,
                isr,
                move_: is_moving.then_some(Move {
                    adding: assigned.adding,
                    removing: assigned.removing,
                    replication_factor,
                }),
            }
        });
        let partitions: Vec<Partition> = partitions.collect();
        let overrides = config.map(|node| config::decode(&node.data).unwrap_or_default()).unwrap_or_default();
        let mut configs: Vec<(String, String)> = overrides.into_iter().collect();
        hash_order::sort(&mut configs, hash_order::DEFAULT_CAPACITY, |(name, _)| name);
        topics.push(Some(Topic {
            name: name.clone(),
            id: assignment.topic_id,
            replication_factor: partitions.first().map_or(0, Partition::replication_factor),
            configs,
            min_isr: None,
            is_marked_for_deletion: marked.contains(name),
            partitions,
        }));
    }
    Ok(topics)
}

async fn assignments(session: &Session, names: &[String]) -> Result<Vec<Option<TopicAssignment>>, Failed> {
    let paths: Vec<String> = names.iter().map(|name| topic::path(name)).collect();
    let mut assignments = Vec::with_capacity(names.len());
    for (name, node) in names.iter().zip(session.get_many(&paths).await?) {
        let assignment = node.map(|node| TopicAssignment::decode(&node.data)).transpose();
        assignments.push(assignment.map_err(|error| Failed::new(format!("topic {name}: {error}")))?);
    }
    Ok(assignments)
}
