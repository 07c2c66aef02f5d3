//! What a fetcher does with each partition's part of an answer.

use std::sync::Arc;

use client::connection::Connection;
use client::ids::{LeaderEpoch, Offset, TopicPartition};
use client::wire::ErrorCode;
use client::wire::messages::FetchResponse;
use client::wire::messages::fetch_response::PartitionData;

use super::request::{LIST_OFFSETS, list_offset};
use super::step::{Outcome, Step};
use super::task::Task;
use crate::blocking::off_the_runtime;
use crate::clock::Now;
use crate::partition::epochs::EpochEnd;
use crate::partition::follower::LeaderOffsets;
use crate::partition::{FollowError, Followed, Partition};
use client::fetch_session::Ask;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

impl Task {
    pub(super) async fn take(&mut self, connection: &Connection, response: FetchResponse) {
        for topic in response.responses {
            let name = match topic.topic_id.is_zero() {
                true => Some(Arc::from(&*topic.topic)),
                false => self.session.topic(topic.topic_id).map(Arc::clone),
            };
            let Some(name) = name else { continue };
            for data in topic.partitions {
                let id = TopicPartition::new(Arc::clone(&name), data.partition_index);
                let Some(ask) = self.session.asked(&id).copied() else { continue };
                let Some(partition) = self.following.get(&id, ask.leader_epoch) else { continue };
                let outcome = self.take_one(connection, &partition, &ask, data).await;
                self.settle(&id, ask.leader_epoch, outcome);
            }
        }
    }

    fn settle(&self, id: &TopicPartition, epoch: LeaderEpoch, outcome: Outcome) {
        let most = self.common.config.fetch_backoff;
        self.following.settle(id, epoch, outcome, most, Now::read().monotonic);
    }

    async fn take_one(
        &self,
        connection: &Connection,
        partition: &Arc<Partition>,
        ask: &Ask,
        data: PartitionData,
    ) -> Outcome {
        let id = partition.id();
        match Step::after(&data) {
            Step::Truncate(found) => truncate(partition, ask.leader_epoch, found).await,
            Step::Append => append(partition, ask, &data).await,
            Step::Reposition => self.reposition(connection, partition, ask.leader_epoch).await,
            Step::Fenced => {
                tracing::info!(
                    partition = %id, leader = %self.leader, epoch = %ask.leader_epoch,
                    "fetching stops: the leader is in a newer epoch; waiting to be told of it"
                );
                Outcome::Fail
            }
            Step::NotThereYet(error) => {
                tracing::debug!(
                    partition = %id, leader = %self.leader, epoch = %ask.leader_epoch, error = error.name(),
                    "the leader has not heard of its role yet, or no longer has it"
                );
                Outcome::Delay
            }
            Step::Failed(error) => {
                tracing::warn!(
                    partition = %id, leader = %self.leader, offset = %ask.offset, error = error.name(),
                    "the leader cannot be fetched from; trying again"
                );
                Outcome::Delay
            }
        }
    }

    /// Asks for both ends of the leader's log and goes where it begins or ends.
    async fn reposition(
        &self,
        connection: &Connection,
        partition: &Arc<Partition>,
        epoch: LeaderEpoch,
    ) -> Outcome {
        let id = partition.id();
        let (end, start) = match (
            self.leader_offset(connection, id, epoch, LATEST).await,
            self.leader_offset(connection, id, epoch, EARLIEST).await,
        ) {
            (Ok(end), Ok(start)) => (end, start),
            (Err(ErrorCode::FencedLeaderEpoch), _) | (_, Err(ErrorCode::FencedLeaderEpoch)) => {
                return Outcome::Fail;
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::info!(
                    partition = %id, leader = %self.leader, error = error.name(),
                    "our position is outside the leader's log, and its ends cannot be told; trying again"
                );
                return Outcome::Delay;
            }
        };
        let moved = blocking(partition, move |partition, now| {
            partition.reposition(epoch, LeaderOffsets { start, end }, now)
        });
        Outcome::of(id, moved.await)
    }

    async fn leader_offset(
        &self,
        connection: &Connection,
        id: &TopicPartition,
        epoch: LeaderEpoch,
        timestamp: i64,
    ) -> Result<Offset, ErrorCode> {
        let request = list_offset(self.common.me, id, epoch, timestamp);
        let answer = connection.send(&request, LIST_OFFSETS).await.map_err(|error| {
            tracing::debug!(leader = %self.leader, %error, "no answer to ListOffsets");
            ErrorCode::NetworkException
        })?;
        let found = answer
            .topics
            .iter()
            .filter(|topic| topic.name == *id.topic)
            .flat_map(|topic| &topic.partitions)
            .find(|partition| partition.partition_index == id.partition)
            .ok_or(ErrorCode::UnknownServerError)?;
        match ErrorCode::from_code(found.error_code) {
            ErrorCode::None if found.offset >= 0 => Ok(Offset(found.offset)),
            ErrorCode::None => Err(ErrorCode::UnknownServerError),
            error => Err(error),
        }
    }
}

/// The next fetch says that this is stored, so it is, to the degree that the broker promises.
async fn append(partition: &Arc<Partition>, ask: &Ask, data: &PartitionData) -> Outcome {
    let answer = Followed::of(ask, data);
    let appended = partition.append_as_follower(ask.leader_epoch, &answer, Now::read());
    if appended.is_ok() && !answer.records.is_empty() && partition.flushes_before_ack() {
        let end = partition.status().end;
        if let Err(error) = partition.wait_for_flush(end).await {
            return Outcome::of::<()>(partition.id(), Err(error.into()));
        }
    }
    Outcome::of(partition.id(), appended)
}

async fn truncate(partition: &Arc<Partition>, epoch: LeaderEpoch, found: EpochEnd) -> Outcome {
    let cut = blocking(partition, move |partition, now| partition.truncate_as_follower(epoch, found, now));
    Outcome::of(partition.id(), cut.await)
}

/// Runs what removes and syncs files where it holds up no other task.
async fn blocking<T: Send + 'static>(
    partition: &Arc<Partition>,
    work: impl FnOnce(&Partition, Now) -> Result<T, FollowError> + Send + 'static,
) -> Result<T, FollowError> {
    let partition = Arc::clone(partition);
    off_the_runtime(move || work(&partition, Now::read())).await
}
