//! Adding partitions.

use std::collections::BTreeSet;

use client::ids::BrokerId;
use client::zk::Session;
use controller::placement::{self, PlacementError, Replicas};
use controller::topics;

use super::super::Failed;

/// Adds partitions up to `total`, where `given` says or else where the topic's first partition leads to.
/// `given` begins with the partitions there are.
pub(super) async fn add(
    session: &Session,
    topic: &str,
    total: i32,
    given: Option<&Replicas>,
) -> Result<(), Failed> {
    let assignment = topics::assignment(session, topic).await?.unwrap_or_default();
    let existing: Replicas =
        assignment.partitions.into_iter().map(|(number, partition)| (number, partition.replicas)).collect();
    if existing.is_empty() {
        return Err(Failed::new(format!("The topic {topic} does not exist")));
    }
    let count = existing.len();
    if usize::try_from(total).map_or(true, |total| total <= count) {
        return Err(Failed::new(format!(
            "The number of partitions for a topic can only be increased. Topic {topic} currently has {count} \
             partitions, {total} would not be an increase."
        )));
    }
    let brokers = topics::candidates(session).await?;
    let given: Replicas = given
        .into_iter()
        .flatten()
        .skip(count)
        .map(|(&number, replicas)| (number, replicas.clone()))
        .collect();
    let added = match given.is_empty() {
        true => placement::place_more(&brokers, &existing, total)?,
        false => {
            let available = brokers.iter().map(|broker| broker.id).collect();
            check(&existing, &given, &available)?;
            given
        }
    };
    Ok(topics::add_partitions(session, topic, &added).await?)
}

/// The checks of Kafka 2.8: how many partitions are given is not among them.
fn check(existing: &Replicas, given: &Replicas, available: &BTreeSet<BrokerId>) -> Result<(), Failed> {
    for (&partition, replicas) in given {
        if replicas.is_empty() {
            return Err(PlacementError::EmptyReplicas { partition }.into());
        }
        if replicas.iter().any(|replica| !available.contains(replica)) {
            return Err(Failed::new(format!(
                "Some brokers specified for partition id {partition} are not available. Specified brokers: {}, \
                 available brokers: {}.",
                list(replicas),
                list(available)
            )));
        }
    }
    let expected = existing.get(&0).map_or(0, Vec::len);
    let others = given.iter().map(|(&partition, replicas)| (partition, replicas.len()));
    let others: Vec<(i32, usize)> = others.filter(|(_, factor)| *factor != expected).collect();
    match others.is_empty() {
        true => Ok(()),
        false => Err(PlacementError::OtherFactor { expected, others }.into()),
    }
}

fn list<'a>(ids: impl IntoIterator<Item = &'a BrokerId>) -> String {
    ids.into_iter().map(BrokerId::to_string).collect::<Vec<_>>().join(", ")
}
