//! Partitions that are on their way to other brokers (KIP-455).

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Admin, AdminError, Target};
use crate::ids::{BrokerId, TopicPartition};
use crate::wire::messages::ListPartitionReassignmentsRequest;
use crate::wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use crate::wire::{ErrorCode, Str};

/// A partition under reassignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
}

impl Admin {
    /// Those of the given partitions that are being reassigned.
    pub async fn reassignments(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Reassignment>, AdminError> {
        let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for partition in partitions {
            by_topic.entry(&partition.topic).or_default().push(partition.partition);
        }
        if by_topic.is_empty() {
            return Ok(BTreeMap::new());
        }
        let topics: Vec<ListPartitionReassignmentsTopics> = by_topic
            .into_iter()
            .map(|(name, partition_indexes)| ListPartitionReassignmentsTopics {
                name: Str::from(name),
                partition_indexes,
            })
            .collect();
        let request = |remaining: Duration| ListPartitionReassignmentsRequest {
            timeout_ms: super::topics::millis(remaining),
            topics: Some(topics.clone()),
        };
        let code = |response: &<ListPartitionReassignmentsRequest as crate::wire::Request>::Response| {
            ErrorCode::from_code(response.error_code)
        };
        let response = self.call("listPartitionReassignments", Target::Controller, request, code).await?;
        AdminError::check(response.error_code, response.error_message.as_deref())?;
        let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
        let mut reassignments = BTreeMap::new();
        for topic in response.topics {
            for partition in topic.partitions {
                let reassignment = Reassignment {
                    replicas: ids(partition.replicas),
                    adding: ids(partition.adding_replicas),
                    removing: ids(partition.removing_replicas),
                };
                let partition = TopicPartition::new(&*topic.name, partition.partition_index);
                reassignments.insert(partition, reassignment);
            }
        }
        Ok(reassignments)
    }
}
