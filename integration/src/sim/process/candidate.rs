//! A process's controller candidate: it stands while nobody is controller, reigns when it wins,
//! and wakes its reign by watches that tell once they are armed.

use client::ids::{ControllerEpoch, ZkVersion};
use client::znode::{admin, broker, controller, notification, topic};
use controller_crate::world::Event;

use ::controller as controller_crate;

use super::session::Purpose;
use super::{Message, Out, Process, SECOND, Tick, Time};
use crate::sim::reign::{Answer, Deed, Reign, Work};
use crate::sim::zookeeper::{Op, Seen, WatchOf};
use client::wire::ErrorCode;

/// Kafka looks for leaders to move back this often; here sooner.
const REBALANCE: Time = 8 * SECOND;

/// What only this controller knows is written down if it lasts so long.
const LISTS_DUE: Time = SECOND / 2;
/// Its last words take no longer.
const LAST_WORDS: Time = SECOND;

const LISTS: [(&str, Event); 5] = [
    (broker::IDS, Event::BrokersChanged),
    (topic::TOPICS, Event::TopicsChanged),
    (admin::DELETE_TOPICS, Event::DeletionsRequested),
    (notification::ISR_CHANGES, Event::IsrsChanged),
    (notification::LOG_DIR_EVENTS, Event::LogDirsFailed),
];

#[derive(Debug, Default)]
pub(super) struct Candidate {
    reign: Option<Reign>,
}

impl Candidate {
    pub(super) fn reign(&self) -> Option<&Reign> {
        self.reign.as_ref()
    }

    pub(super) fn reign_mut(&mut self) -> Option<&mut Reign> {
        self.reign.as_mut()
    }
}

impl Process {
    /// Looks whether there is a controller, and is told when that changes.
    pub(super) fn stand(&mut self, out: &mut Out<'_>) {
        let watch = WatchOf::Exists(controller::PATH);
        self.ask_zookeeper(Op::Watch(watch), Purpose::WatchController, out);
    }

    pub(super) fn looked_for_controller(&mut self, seen: Seen, out: &mut Out<'_>) {
        match (seen, &self.candidate.reign) {
            (Seen::Nothing | Seen::Own, None) if self.zk.is_registered => {
                self.ask_zookeeper(Op::Elect(self.me), Purpose::Elect, out);
            }
            (Seen::Nothing | Seen::Node, Some(_)) => {
                self.resign(out);
                self.stand(out);
            }
            _ => {}
        }
    }

    pub(super) fn election_held(&mut self, outcome: Option<(ControllerEpoch, ZkVersion)>, out: &mut Out<'_>) {
        let Some((epoch, fence)) = outcome else { return };
        out.counts.add("controller elected");
        self.channels.clear();
        self.candidate.reign = Some(Reign::begin(epoch, fence));
        for (path, _) in LISTS {
            let watch = WatchOf::Children(path);
            self.ask_zookeeper(Op::Watch(watch.clone()), Purpose::Watch(watch), out);
        }
        out.after(REBALANCE, Tick::Rebalance);
        out.after(LISTS_DUE, Tick::Lists(epoch));
    }

    pub(super) fn armed(&mut self, watch: &WatchOf) {
        let WatchOf::Children(path) = watch else { return };
        let event = LISTS.iter().find(|(list, _)| list == path).map(|(_, event)| event.clone());
        if let (Some(event), Some(reign)) = (event, &mut self.candidate.reign) {
            reign.put(Work::Event(event));
        }
    }

    pub(super) fn fired(&mut self, watch: WatchOf, out: &mut Out<'_>) {
        match watch {
            WatchOf::Exists(_) => self.stand(out),
            WatchOf::Children(_) if self.candidate.reign.is_some() => {
                self.ask_zookeeper(Op::Watch(watch.clone()), Purpose::Watch(watch), out);
            }
            WatchOf::Children(_) => {}
        }
    }

    /// The connection was lost for a while: whatever was watched may have changed.
    pub(super) fn watch_anew(&mut self, out: &mut Out<'_>) {
        if !self.zk.is_registered {
            return;
        }
        self.stand(out);
        if self.candidate.reign.is_some() {
            for (path, _) in LISTS {
                self.fired(WatchOf::Children(path), out);
            }
        }
    }

    pub(super) fn rebalance(&mut self, out: &mut Out<'_>) {
        if let Some(reign) = &mut self.candidate.reign {
            reign.put(Work::Event(Event::LeadersDueForRebalance));
            out.after(REBALANCE, Tick::Rebalance);
        }
    }

    /// Not while anything waits: answers may make it needless.
    pub(super) fn lists_due(&mut self, epoch: ControllerEpoch, out: &mut Out<'_>) {
        let Some(reign) = self.candidate.reign.as_mut().filter(|reign| reign.epoch == epoch) else { return };
        if reign.is_idle() {
            reign.put(Work::Event(Event::ListsDue));
        }
        out.after(LISTS_DUE, Tick::Lists(epoch));
    }

    /// Stops, after its controller's last words if it is controller.
    pub(super) fn finish(&mut self, out: &mut Out<'_>) {
        self.leaving = false;
        match &mut self.candidate.reign {
            Some(reign) => {
                reign.put(Work::LastWords);
                out.after(LAST_WORDS, Tick::Stop);
            }
            None => self.has_left = true,
        }
    }

    fn resign(&mut self, out: &mut Out<'_>) {
        out.counts.add("controller resigned");
        self.candidate.reign = None;
        self.channels.clear();
        self.ask_zookeeper(Op::DeleteOwnController, Purpose::Nothing, out);
    }

    pub(super) fn let_controller_go_on(&mut self, out: &mut Out<'_>) {
        let Some(reign) = &mut self.candidate.reign else { return };
        let epoch = reign.epoch;
        let progress = reign.go_on();
        if progress.over {
            self.resign(out);
            self.stand(out);
            return;
        }
        for (question, op) in progress.asked {
            self.ask_zookeeper(op, Purpose::Reign(question), out);
        }
        for deed in progress.deeds {
            match deed {
                Deed::Connect(id, registration) => self.channels.open(id, self.me, epoch, registration),
                Deed::Disconnect(id) => self.channels.close(id),
                Deed::Send(to, request) => self.channels.send(to, &request, out),
            }
        }
        for answer in progress.answers {
            match answer {
                Answer::Altered { to, id, response } => {
                    for answer in response.topics.iter().flat_map(|topic| &topic.partitions) {
                        match ErrorCode::from_code(answer.error_code) {
                            ErrorCode::FencedLeaderEpoch => {
                                out.counts.add("isr change of an older leader epoch")
                            }
                            ErrorCode::InvalidUpdateVersion => out.counts.add("isr change of an older state"),
                            _ => {}
                        }
                    }
                    out.send(to, Message::Altered { id, response });
                }
                Answer::MayLeave { to, response } => {
                    let granted = response.error_code == ErrorCode::None.code()
                        && response.remaining_partitions.is_empty();
                    out.send(to, Message::MayLeave { granted });
                }
                Answer::SaidLastWords => {
                    out.counts.add("controller said its last words");
                    self.has_left = true;
                }
            }
        }
    }
}
