//! What a message says, for the number that tells runs apart. By hand, since text would take longer than the run.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use client::fetch_session::Ask;
use client::wire::messages::fetch_response::PartitionData;
use client::wire::{self, encode_to_bytes};
use controller::world::{Node, Rejection, Trouble, Write};

use super::message::{Control, Message};
use super::process::memory;
use super::zookeeper::{Op, Reply};

/// Above every version of the requests that travel here.
const VERSIONS: i16 = 16;

impl Hash for Message {
    fn hash<H: Hasher>(&self, into: &mut H) {
        discriminant(self).hash(into);
        match self {
            Message::Zk { session, id, op } => (session, id, op).hash(into),
            Message::ZkReply { id, reply } => (id, reply).hash(into),
            Message::WatchFired { session, watch } => (session, watch).hash(into),
            Message::Control { id, request } => (id, &**request).hash(into),
            Message::Controlled { id, error, partitions } => (id, error, partitions).hash(into),
            Message::Measured { id, response } => (id, encoded(response)).hash(into),
            Message::Alter { id, request, version } => (id, encoded(request), version).hash(into),
            Message::Altered { id, response } => (id, encoded(response)).hash(into),
            Message::Leave { request } => encoded(request).hash(into),
            Message::MayLeave { granted } => granted.hash(into),
            Message::Fetch { id, follower, asks } => {
                (id, follower).hash(into);
                for (partition, ask) in asks {
                    partition.hash(into);
                    hash_ask(ask, into);
                }
            }
            Message::Fetched { id, parts } => {
                id.hash(into);
                for (partition, part) in parts {
                    partition.hash(into);
                    hash_part(part, into);
                }
            }
            Message::Ends { id, partition, epoch } => (id, partition, epoch).hash(into),
            Message::EndsFound { id, found } => {
                (id, found.as_ref().map(|ends| (ends.start, ends.end))).hash(into);
            }
            Message::Produce { id, partition, batch } => (id, partition, batch).hash(into),
            Message::Produced { id, epoch, result } => (id, epoch, result).hash(into),
            Message::Consume { id, partition, offset, epoch } => (id, partition, offset, epoch).hash(into),
            Message::Consumed { id, epoch, result } => (id, epoch, result).hash(into),
            // Few enough to be told by their text.
            Message::Group { id, group, ask } => (id, group, ask.shown()).hash(into),
            Message::GroupAnswered { id, answer } => (id, answer.at, answer.shown()).hash(into),
        }
    }
}

/// In the newest version that can say it.
fn encoded<M: wire::Message>(message: &M) -> Option<bytes::Bytes> {
    (0..VERSIONS).rev().find_map(|version| encode_to_bytes(message, version).ok())
}

impl Hash for Control {
    fn hash<H: Hasher>(&self, into: &mut H) {
        discriminant(self).hash(into);
        match self {
            Control::LeaderAndIsr(request) => encoded(request).hash(into),
            Control::UpdateMetadata(request) => encoded(request).hash(into),
            Control::StopReplica(request) => encoded(request).hash(into),
            Control::LogEnds(request) => encoded(request).hash(into),
        }
    }
}

fn hash_ask(ask: &Ask, into: &mut impl Hasher) {
    (ask.topic_id, ask.leader_epoch, ask.offset, ask.last_fetched_epoch, ask.log_start).hash(into);
}

fn hash_part(part: &PartitionData, into: &mut impl Hasher) {
    (part.error_code, part.high_watermark, part.log_start_offset).hash(into);
    (part.diverging_epoch.epoch, part.diverging_epoch.end_offset).hash(into);
    part.records.as_ref().map(memory).hash(into);
}

impl Hash for Op {
    fn hash<H: Hasher>(&self, into: &mut H) {
        discriminant(self).hash(into);
        match self {
            Op::Connect | Op::Ping | Op::Close | Op::DeleteOwnController => {}
            Op::Read(paths) => paths.hash(into),
            Op::List(path) => path.hash(into),
            Op::Commit { fence, writes } => {
                fence.hash(into);
                hash_writes(writes, into);
            }
            Op::Register { id, data, boot } => (id, data, boot).hash(into),
            Op::SetOrCreate { path, data } => (path, data).hash(into),
            Op::Watch(watch) => watch.hash(into),
            Op::Elect(id) => id.hash(into),
        }
    }
}

fn hash_writes(writes: &[Write], into: &mut impl Hasher) {
    for write in writes {
        discriminant(write).hash(into);
        match write {
            Write::Create { path, data } => (path, data).hash(into),
            Write::Set { path, data, version } => (path, data, version).hash(into),
            Write::Delete { path } => path.hash(into),
            Write::Together(writes) => hash_writes(writes, into),
        }
    }
}

impl Hash for Reply {
    fn hash<H: Hasher>(&self, into: &mut H) {
        discriminant(self).hash(into);
        match self {
            Reply::Done | Reply::Expired => {}
            Reply::Connected(session) => session.hash(into),
            Reply::Nodes(nodes) => {
                let facts = |node: &Node| (node.version, node.czxid);
                for node in nodes {
                    node.as_ref().map(facts).hash(into);
                    node.as_ref().map(|node| &node.data).hash(into);
                }
            }
            Reply::Names(names) => names.hash(into),
            Reply::Committed(Ok(results)) => {
                for result in results {
                    result.as_ref().map_err(discriminant::<Rejection>).hash(into);
                }
            }
            Reply::Committed(Err(trouble)) => discriminant::<Trouble>(trouble).hash(into),
            Reply::Registered(czxid) => czxid.hash(into),
            Reply::Armed(seen) => seen.hash(into),
            Reply::Elected(elected) => elected.hash(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use client::ids::{LeaderEpoch, Offset, TopicPartition};
    use client::wire::ErrorCode;
    use client::wire::messages::leader_and_isr_request::{
        LeaderAndIsrPartitionState, LeaderAndIsrTopicState,
    };
    use client::wire::messages::{LeaderAndIsrRequest, StopReplicaRequest, UpdateMetadataRequest};

    use super::super::trace::Trace;
    use super::*;

    fn told(leader: i32, isr: &[i32]) -> Message {
        let state = LeaderAndIsrPartitionState { leader, isr: isr.to_vec(), ..Default::default() };
        let topic = LeaderAndIsrTopicState { partition_states: vec![state], ..Default::default() };
        let request = LeaderAndIsrRequest { topic_states: vec![topic], ..Default::default() };
        Message::Control { id: 1, request: Arc::new(Control::LeaderAndIsr(request)) }
    }

    fn control(request: Control) -> Message {
        Message::Control { id: 1, request: Arc::new(request) }
    }

    #[test]
    fn messages_that_differ_in_kind_or_content_have_different_numbers() {
        let partition = || TopicPartition::new("t", 0);
        let consumed = |result| Message::Consumed { id: 1, epoch: LeaderEpoch(1), result };
        let messages = [
            told(1, &[1, 2]),
            told(2, &[1, 2]),
            told(1, &[2, 1]),
            told(1, &[1]),
            control(Control::UpdateMetadata(UpdateMetadataRequest::default())),
            control(Control::UpdateMetadata(UpdateMetadataRequest {
                controller_epoch: 1,
                ..Default::default()
            })),
            control(Control::StopReplica(StopReplicaRequest::default())),
            control(Control::StopReplica(StopReplicaRequest { controller_epoch: 1, ..Default::default() })),
            consumed(Ok(bytes::Bytes::from_static(b"one"))),
            consumed(Ok(bytes::Bytes::from_static(b"two"))),
            consumed(Err(ErrorCode::OffsetOutOfRange)),
            consumed(Err(ErrorCode::FencedLeaderEpoch)),
            Message::Ends { id: 1, partition: partition(), epoch: LeaderEpoch(1) },
            Message::Ends { id: 1, partition: partition(), epoch: LeaderEpoch(2) },
            Message::Consume { id: 1, partition: partition(), offset: Offset(0), epoch: None },
            Message::Consume { id: 1, partition: partition(), offset: Offset(1), epoch: None },
            Message::MayLeave { granted: true },
            Message::MayLeave { granted: false },
        ];
        let number = |message: &Message| {
            let mut trace = Trace::new(false);
            message.hash(&mut trace);
            trace.finish()
        };
        assert_eq!(messages.iter().map(number).collect::<BTreeSet<_>>().len(), messages.len());
    }
}
