//! Where a group's offsets are kept: in ZooKeeper, with the brokers, or in both places.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::config::{ClassicConfig, OffsetsStorage};
use super::error::{RebalanceError, StorageError};
use super::registry::Registry;
use crate::cluster::Cluster;
use crate::consumer::group::{Committed, Committer, Coordinator, OffsetAndMetadata};
use crate::consumer::record::Position;
use crate::ids::{Offset, TopicPartition};
use crate::wire::Str;

/// What is kept with the brokers is not fenced, as it was not in Kafka 0.8.2: a member that lost its session
/// while it committed may write over what the next owner has committed.
#[derive(Debug)]
pub(super) struct Stored {
    brokers: Option<Committed>,
    in_zookeeper: bool,
    within: Duration,
}

impl Stored {
    pub(super) fn new(config: &ClassicConfig, cluster: &Cluster) -> Stored {
        let brokers = || {
            let group_id = Str::from(config.group.as_str());
            let coordinator = Arc::new(Coordinator::new(cluster.clone(), group_id.clone()));
            Committed { coordinator, group_id }
        };
        let (brokers, in_zookeeper) = match config.offsets_storage {
            OffsetsStorage::ZooKeeper => (None, true),
            OffsetsStorage::Kafka { dual_commit } => (Some(brokers()), dual_commit),
        };
        Stored { brokers, in_zookeeper, within: config.offsets_channel_socket_timeout }
    }

    /// The offsets that the group has committed; the larger one, where both places have one.
    pub(super) async fn offsets(
        &self,
        registry: &Registry,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>, RebalanceError> {
        let mut offsets = match self.in_zookeeper {
            true => registry.offsets(partitions).await?,
            false => partitions.iter().map(|id| (id.clone(), None)).collect(),
        };
        if let Some(brokers) = self.brokers.as_ref().filter(|_| !partitions.is_empty()) {
            let wanted: BTreeSet<TopicPartition> = partitions.iter().cloned().collect();
            for (id, found) in brokers.fetch(&wanted, self.within).await? {
                let offset = offsets.entry(id).or_default();
                *offset = (*offset).max(Some(found.offset));
            }
        }
        Ok(offsets)
    }

    /// Writes offsets, whatever was there before: with the brokers first, and in ZooKeeper once they have them.
    pub(super) async fn commit(
        &self,
        registry: &Registry,
        offsets: &[(TopicPartition, Offset)],
    ) -> Result<(), StorageError> {
        if let Some(brokers) = self.brokers.as_ref().filter(|_| !offsets.is_empty()) {
            let at = |offset: Offset| OffsetAndMetadata::from(Position::from(offset));
            let all = offsets.iter().map(|(id, offset)| (id.clone(), at(*offset))).collect();
            brokers.commit(&all, &Committer::nobody(), self.within).await?;
        }
        if self.in_zookeeper {
            registry.commit(offsets).await?;
        }
        Ok(())
    }
}
