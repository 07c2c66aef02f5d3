//! Offsets by what they mean: the ends of a partition, and the first record since a time.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join_all, select_all};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::record::Isolation;
use crate::cluster::{Cluster, ClusterError, Leadership};
use crate::connection::ConnectionError;
use crate::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use crate::wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use crate::wire::{ErrorCode, Str};

/// Which offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// Of the first record that is there.
    Earliest,
    /// Behind the last record that a consumer may read.
    Latest,
    /// Of the first record with this timestamp or a later one, in milliseconds since 1970.
    Since(i64),
    /// Of the record with the greatest timestamp (KIP-734).
    MaxTimestamp,
}

/// An offset that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    pub offset: Offset,
    /// Of the record there; −1 for the ends.
    pub timestamp_ms: i64,
    /// Of the record there, or of the leader at the end. [`LeaderEpoch::NONE`]: the broker is too old.
    pub leader_epoch: LeaderEpoch,
}

/// Why an offset is not known.
#[derive(Debug, thiserror::Error)]
pub enum ListOffsetsError {
    #[error("the broker does not tell offsets of {partition}: {error}: {}", error.message())]
    Refused { partition: TopicPartition, error: ErrorCode },
    #[error("offsets of {partition} could not be had in {within:?}: {cause}")]
    TimedOut { partition: TopicPartition, within: Duration, cause: String },
}

/// Asks the leaders. `None` for a partition: no record is that late. What may succeed later is tried again
/// until the time is up.
pub async fn list_offsets(
    cluster: &Cluster,
    wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    isolation: Isolation,
    within: Duration,
) -> BTreeMap<TopicPartition, Result<Option<ListedOffset>, ListOffsetsError>> {
    let deadline = Instant::now() + within;
    let mut open: BTreeMap<TopicPartition, Open> = wanted
        .iter()
        .map(|(partition, spec)| {
            let leader = cluster.leader(partition);
            (partition.clone(), Open { spec: *spec, leader, cause: String::from("no leader is known") })
        })
        .collect();
    let mut done = BTreeMap::new();
    let mut failures = 0_u32;
    while !open.is_empty() {
        let by_leader = by_leader(&mut open);
        if by_leader.is_empty() {
            let changes = open.values_mut().map(|open| open.leader.changed().boxed());
            if timeout_at(deadline, select_all(changes)).await.is_err() {
                break;
            }
            continue;
        }
        let asked = by_leader.iter().map(|(broker, asked)| ask(cluster, *broker, asked, isolation));
        let Ok(answers) = timeout_at(deadline, join_all(asked)).await else { break };
        for (asked, answer) in by_leader.values().zip(answers) {
            settle(cluster, asked, answer, &mut open, &mut done);
        }
        if !open.is_empty() {
            failures = failures.saturating_add(1);
            let pause = cluster.options().retry_backoff.pause(failures, rand::random());
            if Instant::now() + pause >= deadline {
                break;
            }
            sleep(pause).await;
        }
    }
    for (partition, Open { cause, .. }) in open {
        let error = ListOffsetsError::TimedOut { partition: partition.clone(), within, cause };
        done.insert(partition, Err(error));
    }
    done
}

/// A partition without answer.
struct Open {
    spec: OffsetSpec,
    leader: watch::Receiver<Option<Leadership>>,
    /// Why there is none yet.
    cause: String,
}

type Asked = Vec<(TopicPartition, Leadership, OffsetSpec)>;
type Done = BTreeMap<TopicPartition, Result<Option<ListedOffset>, ListOffsetsError>>;

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

fn by_leader(open: &mut BTreeMap<TopicPartition, Open>) -> BTreeMap<BrokerId, Asked> {
    let mut by_leader: BTreeMap<BrokerId, Asked> = BTreeMap::new();
    for (partition, open) in open {
        if let Some(leader) = *open.leader.borrow_and_update() {
            by_leader.entry(leader.broker).or_default().push((partition.clone(), leader, open.spec));
        }
    }
    by_leader
}

async fn ask(
    cluster: &Cluster,
    broker: BrokerId,
    asked: &Asked,
    isolation: Isolation,
) -> Result<ListOffsetsResponse, AskError> {
    let connection = cluster.connection(broker).await?;
    Ok(connection.send_negotiated(&request(asked, isolation)).await?)
}

fn request(asked: &Asked, isolation: Isolation) -> ListOffsetsRequest {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (id, leader, spec) in asked {
        let partition = ListOffsetsPartition {
            partition_index: id.partition,
            current_leader_epoch: leader.epoch.0,
            timestamp: spec.timestamp(),
            ..Default::default()
        };
        match topics.last_mut().filter(|topic| *topic.name == *id.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => {
                topics.push(ListOffsetsTopic { name: Str::from(&*id.topic), partitions: vec![partition] })
            }
        }
    }
    ListOffsetsRequest { replica_id: -1, isolation_level: isolation.code(), topics }
}

/// Takes an answer, and looks again who leads where that is doubtful.
fn settle(
    cluster: &Cluster,
    asked: &Asked,
    answer: Result<ListOffsetsResponse, AskError>,
    open: &mut BTreeMap<TopicPartition, Open>,
    done: &mut Done,
) {
    for (id, leader, _) in asked {
        let cause = match &answer {
            Ok(response) => match part_of(response, id) {
                None => String::from("the broker's answer lacks it"),
                Some(part) => match ErrorCode::from_code(part.error_code) {
                    ErrorCode::None => {
                        open.remove(id);
                        done.insert(id.clone(), Ok(listed(part)));
                        continue;
                    }
                    error if error.is_retriable() => error.message().to_owned(),
                    error => {
                        open.remove(id);
                        let refused = ListOffsetsError::Refused { partition: id.clone(), error };
                        done.insert(id.clone(), Err(refused));
                        continue;
                    }
                },
            },
            Err(error) => error.to_string(),
        };
        cluster.suspect(id, Some(*leader));
        if let Some(open) = open.get_mut(id) {
            open.cause = cause;
        }
    }
}

fn part_of<'a>(
    response: &'a ListOffsetsResponse,
    id: &TopicPartition,
) -> Option<&'a ListOffsetsPartitionResponse> {
    let topics = response.topics.iter().filter(|topic| *topic.name == *id.topic);
    topics.flat_map(|topic| &topic.partitions).find(|part| part.partition_index == id.partition)
}

fn listed(part: &ListOffsetsPartitionResponse) -> Option<ListedOffset> {
    // Version 0 answers with a list.
    let offset = part.old_style_offsets.first().copied().unwrap_or(part.offset);
    (offset >= 0).then_some(ListedOffset {
        offset: Offset(offset),
        timestamp_ms: part.timestamp,
        leader_epoch: LeaderEpoch(part.leader_epoch),
    })
}

impl OffsetSpec {
    /// What stands for it on the wire.
    fn timestamp(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::Since(ms) => ms.max(0),
        }
    }
}
