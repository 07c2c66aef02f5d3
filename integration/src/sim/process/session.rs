//! A process's session with the model ZooKeeper, and its registration in it.

use std::collections::BTreeMap;

use client::ids::BrokerEpoch;
use client::znode::broker::{Endpoint, Registration, SecurityProtocol};

use super::candidate::Candidate;
use super::channels::Channels;
use super::{LISTENER, MS, Message, Out, Place, Process, Tick, Time};
use crate::sim::zookeeper::{Op, Reply, SessionId, WatchOf};

/// A request that was not answered yet is sent again after this long.
const PATIENCE: Time = 700 * MS;
/// How often a broker that waits for its former session's end looks whether it is gone.
const LOOK_AGAIN: Time = 100 * MS;

/// What a request to ZooKeeper was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Connect,
    Ping,
    /// Of the last stop: its node.
    TellStop,
    Register,
    /// Of the candidate: is there a controller?
    WatchController,
    Elect,
    /// Of the reigning controller.
    Watch(WatchOf),
    /// The reigning controller's own question, by its number.
    Reign(u64),
    Nothing,
}

#[derive(Debug)]
struct Asked {
    op: Op,
    purpose: Purpose,
    sent_at: Time,
}

#[derive(Debug, Default)]
pub(super) struct ZkLink {
    session: SessionId,
    /// In the order they were asked.
    open: BTreeMap<u64, Asked>,
    pub(super) is_registered: bool,
    /// A heartbeat was not answered: the connection may be lost, and watches with it.
    doubtful: bool,
}

impl Process {
    pub(super) fn connect_to_zookeeper(&mut self, out: &mut Out<'_>) {
        self.ask_zookeeper(Op::Connect, Purpose::Connect, out);
    }

    pub(super) fn ask_zookeeper(&mut self, op: Op, purpose: Purpose, out: &mut Out<'_>) {
        let id = out.id();
        let session = self.zk.session;
        self.zk.open.insert(id, Asked { op: op.clone(), purpose, sent_at: out.now });
        out.send(Place::ZooKeeper, Message::Zk { session, id, op });
    }

    /// The connection was lost for a while.
    pub(in crate::sim) fn doubt_zookeeper(&mut self) {
        self.zk.doubtful = true;
    }

    /// Says that it lives, and asks again what was not answered.
    pub(super) fn tend_session(&mut self, out: &mut Out<'_>) {
        let before = self.zk.open.len();
        self.zk.open.retain(|_, asked| asked.purpose != Purpose::Ping);
        self.zk.doubtful |= self.zk.open.len() < before;
        let session = self.zk.session;
        let mut again = 0;
        for (id, asked) in &mut self.zk.open {
            if asked.sent_at + PATIENCE <= out.now {
                asked.sent_at = out.now;
                again += 1;
                out.sent.push((Place::ZooKeeper, Message::Zk { session, id: *id, op: asked.op.clone() }));
            }
        }
        if again > 0 {
            out.counts.add("zookeeper asked again");
        }
        if session != 0 {
            self.ask_zookeeper(Op::Ping, Purpose::Ping, out);
        }
    }

    pub(super) fn register(&mut self, out: &mut Out<'_>) {
        if self.zk.session == 0 || self.zk.is_registered {
            return;
        }
        let endpoint = Endpoint {
            listener: LISTENER.to_owned(),
            security_protocol: SecurityProtocol::Plaintext,
            host: format!("b{}", self.me),
            port: 9092,
        };
        let registration = Registration {
            endpoints: vec![endpoint],
            rack: None,
            jmx_port: -1,
            timestamp_ms: out.clock.unix_ms,
            features: BTreeMap::new(),
        };
        let op = Op::Register { id: self.me, data: registration.encode(), boot: self.boot.clone() };
        self.ask_zookeeper(op, Purpose::Register, out);
    }

    pub(super) fn zk_replied(&mut self, id: u64, reply: Reply, out: &mut Out<'_>) {
        let Some(Asked { purpose, .. }) = self.zk.open.remove(&id) else { return };
        if let Reply::Expired = reply {
            self.session_over(out);
            return;
        }
        match (purpose, reply) {
            (Purpose::Ping, _) if self.zk.doubtful => {
                self.zk.doubtful = false;
                self.watch_anew(out);
            }
            (Purpose::Connect, Reply::Connected(session)) => {
                self.zk.session = session;
                self.go_on_starting(out);
            }
            (Purpose::TellStop, _) => self.stop_told(out),
            (Purpose::Register, Reply::Registered(Some(czxid))) => {
                self.fence.registered(BrokerEpoch(czxid));
                self.zk.is_registered = true;
                self.starting = None;
                out.counts.add("registered");
                self.stand(out);
            }
            (Purpose::Register, Reply::Registered(None)) => {
                out.counts.add("waited for the former session's end");
                out.after(LOOK_AGAIN, Tick::Register);
            }
            (Purpose::WatchController, Reply::Armed(seen)) => self.looked_for_controller(seen, out),
            (Purpose::Elect, Reply::Elected(outcome)) => self.election_held(outcome, out),
            (Purpose::Watch(watch), Reply::Armed(_)) => self.armed(&watch),
            (Purpose::Reign(question), reply) => {
                if let Some(reign) = self.candidate.reign_mut() {
                    reign.replied(question, reply);
                }
            }
            _ => {}
        }
    }

    pub(super) fn watch_fired(&mut self, session: SessionId, watch: WatchOf, out: &mut Out<'_>) {
        if session == self.zk.session {
            self.fired(watch, out);
        }
    }

    /// The server has ended the session: everything that hung on it falls.
    fn session_over(&mut self, out: &mut Out<'_>) {
        out.counts.add("session lost by a live process");
        self.zk = ZkLink::default();
        self.candidate = Candidate::default();
        self.channels = Channels::default();
        self.connect_to_zookeeper(out);
    }

    pub(super) fn say_goodbye(&mut self, out: &mut Out<'_>) {
        if self.zk.session != 0 {
            self.ask_zookeeper(Op::Close, Purpose::Nothing, out);
        }
    }
}
