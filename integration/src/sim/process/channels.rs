//! The controller's way to each broker: one request after the other, each repeated until it is
//! answered (`controller::channel`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use broker::replicas::StopOrder;
use client::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicPartition, ZkVersion};
use client::wire::ErrorCode;
use client::wire::messages::ListOffsetsResponse;
use controller::plan::ControlRequest;
use controller::requests::{self, Sender};
use controller::world::{Event, RoleAnswer};

use super::{Control, LISTENER, Message, Out, Place, Process, REQUEST_TIMEOUT, Tick};
use crate::sim::reign::Work;

#[derive(Debug)]
struct Channel {
    sender: Sender,
    queue: VecDeque<Arc<Control>>,
    in_flight: Option<u64>,
}

/// By broker.
#[derive(Debug, Default)]
pub(super) struct Channels {
    open: BTreeMap<BrokerId, Channel>,
}

impl Channels {
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    pub(super) fn open(
        &mut self,
        to: BrokerId,
        controller: BrokerId,
        epoch: ControllerEpoch,
        receiver: BrokerEpoch,
    ) {
        let sender = Sender { controller, epoch, receiver };
        if self.open.get(&to).is_none_or(|channel| channel.sender != sender) {
            self.open.insert(to, Channel { sender, queue: VecDeque::new(), in_flight: None });
        }
    }

    pub(super) fn close(&mut self, to: BrokerId) {
        self.open.remove(&to);
    }

    pub(super) fn send(&mut self, to: BrokerId, request: &ControlRequest, out: &mut Out<'_>) {
        let Some(channel) = self.open.get_mut(&to) else { return };
        let wire = match request {
            ControlRequest::LeaderAndIsr(request) => {
                Control::LeaderAndIsr(requests::leader_and_isr(channel.sender, LISTENER, request))
            }
            ControlRequest::UpdateMetadata(request) => {
                Control::UpdateMetadata(requests::update_metadata(channel.sender, request))
            }
            ControlRequest::StopReplica(request) => {
                Control::StopReplica(requests::stop_replica(channel.sender, request))
            }
            ControlRequest::LogEnds(partitions) => Control::LogEnds(requests::log_ends(partitions)),
        };
        channel.queue.push_back(Arc::new(wire));
        channel.go_on(to, out);
    }

    /// The registration that the channel leads to.
    fn receiver(&self, to: BrokerId) -> Option<BrokerEpoch> {
        self.open.get(&to).map(|channel| channel.sender.receiver)
    }

    pub(super) fn timed_out(&mut self, to: BrokerId, id: u64, out: &mut Out<'_>) {
        let Some(channel) = self.open.get_mut(&to).filter(|channel| channel.in_flight == Some(id)) else {
            return;
        };
        out.counts.add("control request repeated");
        channel.in_flight = None;
        channel.go_on(to, out);
    }

    /// The request that was answered.
    fn answered(&mut self, from: BrokerId, id: u64, out: &mut Out<'_>) -> Option<Arc<Control>> {
        let channel = self.open.get_mut(&from).filter(|channel| channel.in_flight == Some(id))?;
        channel.in_flight = None;
        let request = channel.queue.pop_front();
        channel.go_on(from, out);
        request
    }
}

impl Channel {
    fn go_on(&mut self, to: BrokerId, out: &mut Out<'_>) {
        let (None, Some(request)) = (self.in_flight, self.queue.front()) else { return };
        let id = out.id();
        out.tell(to, Message::Control { id, request: Arc::clone(request) });
        out.after(REQUEST_TIMEOUT, Tick::ChannelTimeout(to, id));
        self.in_flight = Some(id);
    }
}

impl Process {
    pub(super) fn controlled(
        &mut self,
        from: Place,
        id: u64,
        error: ErrorCode,
        partitions: Vec<(TopicPartition, ErrorCode)>,
        out: &mut Out<'_>,
    ) {
        let Place::Broker(broker) = from else { return };
        let Some(request) = self.channels.answered(broker, id, out) else { return };
        let Some(epoch) = self.channels.receiver(broker) else { return };
        let Some(reign) = self.candidate.reign_mut() else { return };
        match &*request {
            Control::LeaderAndIsr(request) if error == ErrorCode::None => {
                let role = |(partition, error): (TopicPartition, ErrorCode)| {
                    let topic =
                        request.topic_states.iter().find(|topic| *topic.topic_name == *partition.topic)?;
                    let told =
                        topic.partition_states.iter().find(|p| p.partition_index == partition.partition)?;
                    Some(RoleAnswer { partition, version: ZkVersion(told.partition_epoch), error })
                };
                let roles = partitions.into_iter().filter_map(role).collect();
                reign.put(Work::Event(Event::LeaderAndIsrAnswered { broker, epoch, roles }));
            }
            Control::StopReplica(request) => {
                let deleted = StopOrder::all_of(request).into_iter().filter(|order| order.delete);
                let code =
                    |id: &TopicPartition| partitions.iter().find(|(of, _)| of == id).map(|(_, code)| *code);
                let partitions: Vec<_> =
                    deleted.map(|order| (order.id.clone(), code(&order.id).unwrap_or(error))).collect();
                if !partitions.is_empty() {
                    reign.put(Work::Event(Event::ReplicasDeleted { broker, epoch, partitions }));
                }
            }
            Control::LeaderAndIsr(_) | Control::UpdateMetadata(_) | Control::LogEnds(_) => {}
        }
    }

    /// A broker says how far its logs reach.
    pub(super) fn measured(
        &mut self,
        from: Place,
        id: u64,
        response: &ListOffsetsResponse,
        out: &mut Out<'_>,
    ) {
        let Place::Broker(broker) = from else { return };
        let Some(epoch) = self.channels.receiver(broker) else { return };
        let Some(request) = self.channels.answered(broker, id, out) else { return };
        let Control::LogEnds(request) = &*request else { return };
        let asked = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|asked| TopicPartition::new(&*topic.name, asked.partition_index))
        });
        let ends = requests::told_ends(&asked.collect(), response);
        out.counts.add_if(ends.is_empty(), "log ends asked of a later run");
        if let Some(reign) = self.candidate.reign_mut() {
            reign.put(Work::Event(Event::LogEndsAnswered { broker, epoch, ends }));
        }
    }
}
