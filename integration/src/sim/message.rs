//! What travels between the machines of the model, and what wakes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use client::fetch_session::Ask;
use client::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, TopicPartition};
use client::wire::messages::fetch_response::PartitionData;
use client::wire::messages::{
    AlterPartitionRequest, AlterPartitionResponse, ControlledShutdownRequest, LeaderAndIsrRequest,
    ListOffsetsRequest, ListOffsetsResponse, StopReplicaRequest, UpdateMetadataRequest,
};
use client::wire::{ErrorCode, Str};

use broker::partition::follower::LeaderOffsets;

use super::groups::{Answer, Ask as GroupAsk};
use super::operator;
use super::zookeeper::{Op, Reply, SessionId, WatchOf};

/// Microseconds since the run began.
pub(super) type Time = u64;

pub(super) const MS: Time = 1_000;
pub(super) const SECOND: Time = 1_000_000;

/// Where a message comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Broker(BrokerId),
    ZooKeeper,
    /// All clients share a machine.
    Clients,
}

/// A controller's request in its wire form.
#[derive(Clone, Debug)]
pub(super) enum Control {
    LeaderAndIsr(LeaderAndIsrRequest),
    UpdateMetadata(UpdateMetadataRequest),
    StopReplica(StopReplicaRequest),
    LogEnds(ListOffsetsRequest),
}

/// Each with its topic's name.
fn named<'a, T>(topic: &'a str, of_it: &'a [T]) -> impl Iterator<Item = (&'a str, &'a T)> {
    of_it.iter().map(move |one| (topic, one))
}

impl Control {
    fn shown(&self) -> String {
        match self {
            Control::LeaderAndIsr(request) => {
                let state = request
                    .topic_states
                    .iter()
                    .flat_map(|topic| named(&topic.topic_name, &topic.partition_states));
                let state = state.map(|(topic, state)| {
                    format!(
                        "{topic}-{} leader {} epoch {} isr {:?} version {}",
                        state.partition_index,
                        state.leader,
                        state.leader_epoch,
                        state.isr,
                        state.partition_epoch
                    )
                });
                let (controller, broker) = (request.controller_epoch, request.broker_epoch);
                let states = state.collect::<Vec<_>>().join(", ");
                format!("LeaderAndIsr of controller epoch {controller} to {broker}: {states}")
            }
            Control::UpdateMetadata(request) => {
                let state = request
                    .topic_states
                    .iter()
                    .flat_map(|topic| named(&topic.topic_name, &topic.partition_states));
                let state = state.map(|(topic, state)| {
                    let (partition, leader, isr) = (state.partition_index, state.leader, &state.isr);
                    format!("{topic}-{partition} leader {leader} epoch {} isr {isr:?}", state.leader_epoch)
                });
                let brokers: Vec<i32> = request.live_brokers.iter().map(|broker| broker.id).collect();
                let states = state.collect::<Vec<_>>().join(", ");
                format!(
                    "UpdateMetadata of controller epoch {}: {brokers:?} {states}",
                    request.controller_epoch
                )
            }
            Control::StopReplica(request) => {
                let state = request
                    .topic_states
                    .iter()
                    .flat_map(|topic| named(&topic.topic_name, &topic.partition_states));
                let state = state.map(|(topic, state)| {
                    let (epoch, deleted) = (state.leader_epoch, state.delete_partition);
                    format!("{topic}-{} epoch {epoch} deleted {deleted}", state.partition_index)
                });
                format!("StopReplica: {}", state.collect::<Vec<_>>().join(", "))
            }
            Control::LogEnds(request) => {
                let asked = request.topics.iter().flat_map(|topic| named(&topic.name, &topic.partitions));
                let asked = asked.map(|(topic, asked)| format!("{topic}-{}", asked.partition_index));
                format!("how far reach the logs of {}", asked.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// One message. `id` pairs a request with its answer.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Zk {
        session: SessionId,
        id: u64,
        op: Op,
    },
    ZkReply {
        id: u64,
        reply: Reply,
    },
    WatchFired {
        session: SessionId,
        watch: WatchOf,
    },
    Control {
        id: u64,
        request: Arc<Control>,
    },
    Controlled {
        id: u64,
        error: ErrorCode,
        partitions: Vec<(TopicPartition, ErrorCode)>,
    },
    /// How far logs reach.
    Measured {
        id: u64,
        response: ListOffsetsResponse,
    },
    Alter {
        id: u64,
        request: AlterPartitionRequest,
        version: i16,
    },
    Altered {
        id: u64,
        response: AlterPartitionResponse,
    },
    Leave {
        request: ControlledShutdownRequest,
    },
    /// Whether the broker may go.
    MayLeave {
        granted: bool,
    },
    Fetch {
        id: u64,
        /// Who it is, and under which registration.
        follower: (BrokerId, BrokerEpoch),
        asks: BTreeMap<TopicPartition, Ask>,
    },
    Fetched {
        id: u64,
        parts: Vec<(TopicPartition, PartitionData)>,
    },
    /// A replica asks for both ends of the leader's log.
    Ends {
        id: u64,
        partition: TopicPartition,
        epoch: LeaderEpoch,
    },
    EndsFound {
        id: u64,
        found: Result<LeaderOffsets, ErrorCode>,
    },
    Produce {
        id: u64,
        partition: TopicPartition,
        batch: Bytes,
    },
    Produced {
        id: u64,
        /// The epoch the answering replica is in.
        epoch: LeaderEpoch,
        result: Result<Stored, ErrorCode>,
    },
    /// A read; where an epoch is named, the ends of the log and of that epoch are asked for beside.
    Consume {
        id: u64,
        partition: TopicPartition,
        offset: Offset,
        epoch: Option<LeaderEpoch>,
    },
    Consumed {
        id: u64,
        /// The epoch the answering replica is in.
        epoch: LeaderEpoch,
        result: Result<Bytes, ErrorCode>,
    },
    /// To a group's coordinator.
    Group {
        id: u64,
        group: Str,
        ask: Box<GroupAsk>,
    },
    GroupAnswered {
        id: u64,
        answer: Box<Answer>,
    },
}

/// An acknowledged append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    pub base: Offset,
    /// The epoch in which it was acknowledged.
    pub epoch: LeaderEpoch,
}

impl Message {
    fn kind(&self) -> &'static str {
        match self {
            Message::Zk { .. } => "zk",
            Message::ZkReply { .. } => "zk reply",
            Message::WatchFired { .. } => "watch fired",
            Message::Control { .. } => "control",
            Message::Controlled { .. } => "controlled",
            Message::Measured { .. } => "measured",
            Message::Alter { .. } => "alter partition",
            Message::Altered { .. } => "altered",
            Message::Leave { .. } => "controlled shutdown",
            Message::MayLeave { .. } => "may leave",
            Message::Fetch { .. } => "fetch",
            Message::Fetched { .. } => "fetched",
            Message::Ends { .. } => "ends",
            Message::EndsFound { .. } => "ends found",
            Message::Produce { .. } => "produce",
            Message::Produced { .. } => "produced",
            Message::Consume { .. } => "consume",
            Message::Consumed { .. } => "consumed",
            Message::Group { .. } => "group",
            Message::GroupAnswered { .. } => "group answered",
        }
    }

    /// For the transcript.
    pub(super) fn shown(&self) -> String {
        let details = match self {
            Message::Zk { op, .. } => op.shown(),
            Message::ZkReply { reply, .. } => reply.shown(),
            Message::WatchFired { watch, .. } => format!("{watch:?}"),
            Message::Control { request, .. } => request.shown(),
            Message::Controlled { error, partitions, .. } => format!("{error:?} {partitions:?}"),
            Message::Measured { response, .. } => {
                let ends = response.topics.iter().flat_map(|topic| named(&topic.name, &topic.partitions));
                let ends = ends.map(|(topic, end)| {
                    let error = ErrorCode::from_code(end.error_code).name();
                    let (epoch, offset) = (end.leader_epoch, end.offset);
                    format!("{topic}-{} {error} epoch {epoch} offset {offset}", end.partition_index)
                });
                ends.collect::<Vec<_>>().join(", ")
            }
            Message::Alter { request, .. } => {
                let asked = request.topics.iter().flat_map(|topic| &topic.partitions).map(|asked| {
                    let isr: Vec<i32> = asked.new_isr_with_epochs.iter().map(|one| one.broker_id).collect();
                    let (epoch, version) = (asked.leader_epoch, asked.partition_epoch);
                    format!("t-{} epoch {epoch} version {version} isr {isr:?}", asked.partition_index)
                });
                asked.collect::<Vec<_>>().join(", ")
            }
            Message::Altered { response, .. } => {
                let answered = response.topics.iter().flat_map(|topic| &topic.partitions).map(|answer| {
                    let error = ErrorCode::from_code(answer.error_code).name();
                    let (version, isr) = (answer.partition_epoch, &answer.isr);
                    format!("t-{} {error} version {version} isr {isr:?}", answer.partition_index)
                });
                let error = ErrorCode::from_code(response.error_code).name();
                format!("{error} {}", answered.collect::<Vec<_>>().join(", "))
            }
            Message::Leave { .. } => String::new(),
            Message::MayLeave { granted } => granted.to_string(),
            Message::Fetch { asks, .. } => {
                let ask = |(partition, ask): (&TopicPartition, &Ask)| {
                    let (offset, epoch, last) = (ask.offset, ask.leader_epoch, ask.last_fetched_epoch);
                    format!("{partition} from {offset} in epoch {epoch} after {last}")
                };
                asks.iter().map(ask).collect::<Vec<_>>().join(", ")
            }
            Message::Fetched { parts, .. } => {
                let part = |(partition, part): &(TopicPartition, PartitionData)| {
                    let error = ErrorCode::from_code(part.error_code).name();
                    let bytes = part.records.as_ref().map_or(0, |records| records.len());
                    let (watermark, parted) = (part.high_watermark, &part.diverging_epoch);
                    match parted.epoch {
                        -1 => format!("{partition} {error} {bytes} bytes, watermark {watermark}"),
                        epoch => format!("{partition} parts at epoch {epoch}, offset {}", parted.end_offset),
                    }
                };
                parts.iter().map(part).collect::<Vec<_>>().join(", ")
            }
            Message::Ends { partition, epoch, .. } => format!("{partition} in epoch {epoch}"),
            Message::EndsFound { found, .. } => format!("{found:?}"),
            Message::Produce { id, partition, batch } => {
                let header = client::record::BatchHeader::parse(batch).ok();
                let name =
                    header.map(|header| (header.producer_id, header.base_sequence, header.record_count));
                format!("{id}: {partition} {name:?}")
            }
            Message::Produced { id, epoch, result } => format!("{id}: in epoch {epoch} {result:?}"),
            Message::Consume { partition, offset, epoch, .. } => {
                let named = epoch.map(|epoch| format!(" in epoch {epoch}")).unwrap_or_default();
                format!("{partition} from {offset}{named}")
            }
            Message::Consumed { result, .. } => format!("{:?}", result.as_ref().map(Bytes::len)),
            Message::Group { id, group, ask } => format!("{id}: {}: {}", &**group, ask.shown()),
            Message::GroupAnswered { id, answer } => format!("{id}: {}", answer.shown()),
        };
        format!("{}: {details}", self.kind())
    }

    /// Requests that a broken connection may leave behind, to arrive late or twice. ZooKeeper's
    /// sessions carry numbers that rule that out.
    ///
    /// What is about a topic that may go is left out. After the topic was deleted a late LeaderAndIsr makes a
    /// broker host it again, a late StopReplica deletes its replica of the next topic of that name, a late
    /// UpdateMetadata makes it unknown, late records go to it, and a late fetch of a topic without an id tells of
    /// another log: nothing in them is of the past but the topic. Kafka's brokers do the same.
    pub(super) fn may_be_doubled(&self) -> bool {
        match self {
            Message::Control { request, .. } => match &**request {
                Control::LeaderAndIsr(request) => {
                    request.topic_states.iter().all(|topic| operator::stays(&topic.topic_name))
                }
                Control::UpdateMetadata(request) => {
                    request.topic_states.iter().all(|topic| operator::stays(&topic.topic_name))
                }
                Control::StopReplica(request) => {
                    request.topic_states.iter().all(|topic| operator::stays(&topic.topic_name))
                }
                Control::LogEnds(_) => true,
            },
            Message::Produce { partition, .. } => operator::stays(&partition.topic),
            Message::Fetch { asks, .. } => asks.keys().all(|partition| operator::stays(&partition.topic)),
            Message::Alter { .. } | Message::Group { .. } => true,
            _ => false,
        }
    }
}

/// What a broker's process waits for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tick {
    /// Heartbeats, and requests to ZooKeeper that were not answered.
    Zk,
    Register,
    CheckLag,
    Watermarks,
    RecoveryPoints,
    Flush,
    Rebalance,
    Fetcher(BrokerId),
    FetchTimeout(BrokerId, u64),
    Parked(u64),
    AskIsr,
    AlterTimeout(u64),
    ChannelTimeout(BrokerId, u64),
    Leave,
    Lists(ControllerEpoch),
    /// The log of a group's partition, led since that epoch, is read.
    LoadGroups(i32, LeaderEpoch),
    /// Deadlines of groups.
    Groups,
    /// It waited long enough for its controller's last words.
    Stop,
}
