//! A model of ZooKeeper: a tree of versioned nodes, sessions with ephemeral nodes, one-time watches.
//!
//! Writes happen one after the other. A session reads what its own server has carried out, which may
//! lag behind but never behind the session's own writes, and hears of a watch when that server gets there. A
//! request that is sent again, since its answer was lost, is answered as the first time: how the real client
//! finds out what became of a write is tested elsewhere (`client::zk`, `controller::commit`), not here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use client::ids::{BrokerId, ControllerEpoch, ZkVersion};
use client::znode::controller::{self, ControllerRegistration};
use client::znode::{admin, broker, notification, topic};
use controller::{EPOCH_PATH, INITIAL_EPOCH};

use ::controller::world::{Node, Rejection, Trouble, Write};

use super::message::Time;

/// 0: none yet.
pub(super) type SessionId = u64;

/// What a watch looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum WatchOf {
    Exists(&'static str),
    Children(&'static str),
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Connect,
    Ping,
    Close,
    Read(Vec<String>),
    List(String),
    Commit {
        fence: ZkVersion,
        writes: Vec<Write>,
    },
    Register {
        id: BrokerId,
        data: Vec<u8>,
        /// Of the machine. Who finds a registration of the same boot knows by the lock on its directory that it
        /// was an earlier run's, and replaces it.
        boot: String,
    },
    /// Writes a node that outlives everyone.
    SetOrCreate {
        path: String,
        data: Vec<u8>,
    },
    /// Looks and leaves a watch.
    Watch(WatchOf),
    /// Creates `/controller` and counts `/controller_epoch` up, in one.
    Elect(BrokerId),
    DeleteOwnController,
}

#[derive(Clone, Debug)]
pub(super) enum Reply {
    Connected(SessionId),
    Done,
    /// The session has ended.
    Expired,
    Nodes(Vec<Option<Node>>),
    Names(Vec<String>),
    Committed(Result<Vec<Result<ZkVersion, Rejection>>, Trouble>),
    /// `None`: another session holds the id.
    Registered(Option<i64>),
    Armed(Seen),
    /// `None`: somebody else is controller.
    Elected(Option<(ControllerEpoch, ZkVersion)>),
}

impl Op {
    /// For the transcript.
    pub(super) fn shown(&self) -> String {
        match self {
            Op::Register { id, .. } => format!("Register {id}"),
            Op::Commit { fence, writes } => {
                format!("Commit at {fence}: {}", writes.iter().map(shown).collect::<Vec<_>>().join("; "))
            }
            other => format!("{other:?}"),
        }
    }
}

fn shown(write: &Write) -> String {
    match write {
        Write::Create { path, data } | Write::Set { path, data, .. } => {
            format!("{path} := {}", String::from_utf8_lossy(data))
        }
        Write::Delete { path } => format!("{path} deleted"),
        Write::Together(writes) => writes.iter().map(shown).collect::<Vec<_>>().join(" and "),
    }
}

impl Reply {
    /// For the transcript.
    pub(super) fn shown(&self) -> String {
        match self {
            Reply::Nodes(nodes) => format!("{} nodes", nodes.iter().flatten().count()),
            other => format!("{other:?}"),
        }
    }
}

/// What a watch was armed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Seen {
    Nothing,
    /// A node of the asker's own session.
    Own,
    Node,
}

#[derive(Clone, Debug)]
struct Znode {
    data: Vec<u8>,
    version: i32,
    czxid: i64,
    owner: Option<SessionId>,
}

#[derive(Debug)]
struct Session {
    heard_at: Time,
    holder: BrokerId,
    /// Of the machine that registered in it.
    boot: Option<String>,
    /// By request; those a holder may still ask for again.
    answered: BTreeMap<u64, Reply>,
    /// The last change its server has carried out.
    view: i64,
}

/// A node was made, written or deleted.
#[derive(Debug)]
struct Change {
    zxid: i64,
    at: Time,
    path: String,
    before: Option<Znode>,
    is_birth_or_death: bool,
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct ZooKeeper {
    nodes: BTreeMap<String, Znode>,
    sessions: BTreeMap<SessionId, Session>,
    watches: BTreeMap<WatchOf, BTreeSet<SessionId>>,
    zxid: i64,
    /// Those that some session's server has still to carry out.
    changes: VecDeque<Change>,
    /// How far behind the servers of these brokers' sessions are.
    lags: BTreeMap<BrokerId, Time>,
    now: Time,
    last_session: SessionId,
    timeout: Time,
    /// Its servers are gone, or have no quorum: nobody is answered, and no session ends.
    pub down: bool,
    /// Watches to be told of, since the last time somebody asked.
    fired: Vec<(BrokerId, SessionId, WatchOf)>,
    /// Nodes written since somebody asked last, with their new data.
    written: Vec<(String, Vec<u8>)>,
    pub expirations: u64,
}

impl ZooKeeper {
    pub(super) fn new(timeout: Time) -> ZooKeeper {
        let mut zk = ZooKeeper {
            nodes: BTreeMap::new(),
            sessions: BTreeMap::new(),
            watches: BTreeMap::new(),
            zxid: 0,
            changes: VecDeque::new(),
            lags: BTreeMap::new(),
            now: 0,
            last_session: 0,
            timeout,
            down: false,
            fired: Vec::new(),
            written: Vec::new(),
            expirations: 0,
        };
        let parents = [
            broker::IDS,
            topic::TOPICS,
            admin::DELETE_TOPICS,
            notification::ISR_CHANGES,
            notification::LOG_DIR_EVENTS,
        ];
        for path in parents {
            zk.create(path.to_owned(), Vec::new(), None);
        }
        zk.create(EPOCH_PATH.to_owned(), controller::encode_epoch(INITIAL_EPOCH), None);
        zk
    }

    /// Makes a node that outlives everyone.
    pub(super) fn put(&mut self, path: String, data: Vec<u8>) {
        self.create(path, data, None);
    }

    pub(super) fn data(&self, path: &str) -> Option<&[u8]> {
        self.nodes.get(path).map(|node| &*node.data)
    }

    pub(super) fn version(&self, path: &str) -> Option<ZkVersion> {
        self.nodes.get(path).map(|node| ZkVersion(node.version))
    }

    /// As the last write left them.
    pub(super) fn names_under(&self, path: &str) -> Vec<String> {
        self.children(path, self.zxid)
    }

    /// Who registered a broker id under which epoch.
    pub(super) fn registrations(&self) -> BTreeMap<BrokerId, i64> {
        let ids = self
            .children(broker::IDS, self.zxid)
            .into_iter()
            .filter_map(|name| name.parse().ok().map(BrokerId));
        ids.filter_map(|id| Some((id, self.nodes.get(&broker::path(id))?.czxid))).collect()
    }

    pub(super) fn controller(&self) -> Option<BrokerId> {
        ControllerRegistration::decode(self.data(controller::PATH)?).ok().map(|found| found.broker)
    }

    pub(super) fn take_fired(&mut self) -> Vec<(BrokerId, SessionId, WatchOf)> {
        std::mem::take(&mut self.fired)
    }

    pub(super) fn take_written(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.written)
    }

    /// From now on the server of this broker's sessions is so far behind; `None`: not at all.
    pub(super) fn let_lag(&mut self, id: BrokerId, lag: Option<Time>) {
        match lag {
            Some(lag) => drop(self.lags.insert(id, lag)),
            None => drop(self.lags.remove(&id)),
        }
    }

    /// Lets each server carry out what is due, and tells those who watch.
    pub(super) fn catch_up(&mut self, now: Time) {
        self.now = now;
        for id in self.sessions.keys().copied().collect::<Vec<_>>() {
            let Some(session) = self.sessions.get(&id) else { continue };
            let due = match self.lags.get(&session.holder) {
                None => self.zxid,
                Some(lag) => {
                    let due = self.changes.iter().take_while(|change| change.at + lag <= now).last();
                    due.map_or(session.view, |change| change.zxid)
                }
            };
            self.show(id, due);
        }
        let seen_by_all = self.sessions.values().map(|session| session.view).min().unwrap_or(self.zxid);
        while self.changes.front().is_some_and(|change| change.zxid <= seen_by_all) {
            self.changes.pop_front();
        }
    }

    /// The session's server carries out everything up to `zxid`.
    fn show(&mut self, id: SessionId, zxid: i64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let ZooKeeper { changes, watches, fired, .. } = self;
        for change in changes.iter().filter(|change| change.zxid > session.view && change.zxid <= zxid) {
            let parent = change.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            for (watch, watchers) in watches.iter_mut() {
                let hit = match watch {
                    WatchOf::Exists(watched) => *watched == change.path,
                    WatchOf::Children(watched) => change.is_birth_or_death && *watched == parent,
                };
                if hit && watchers.remove(&id) {
                    fired.push((session.holder, id, watch.clone()));
                }
            }
        }
        session.view = session.view.max(zxid);
    }

    /// Ends the sessions nobody was heard in for too long.
    pub(super) fn expire(&mut self, now: Time) {
        self.now = now;
        if self.down {
            return;
        }
        let late = |session: &Session| now.saturating_sub(session.heard_at) > self.timeout;
        let ended: Vec<SessionId> =
            self.sessions.iter().filter(|(_, session)| late(session)).map(|(id, _)| *id).collect();
        for id in ended {
            self.end(id);
            self.expirations += 1;
        }
    }

    /// Ends a broker's sessions at once.
    pub(super) fn expire_sessions_of(&mut self, holder: BrokerId) {
        let held = self.sessions.iter().filter(|(_, session)| session.holder == holder);
        for id in held.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(id);
            self.expirations += 1;
        }
    }

    /// The servers are back: every session has its whole timeout again.
    pub(super) fn come_back(&mut self, now: Time) {
        self.down = false;
        for session in self.sessions.values_mut() {
            session.heard_at = now;
        }
    }

    pub(super) fn answer(&mut self, from: BrokerId, session: SessionId, id: u64, op: Op, now: Time) -> Reply {
        self.catch_up(now);
        if let Op::Connect = op {
            self.last_session += 1;
            let heard = Session {
                heard_at: now,
                holder: from,
                boot: None,
                answered: BTreeMap::new(),
                view: self.zxid,
            };
            self.sessions.insert(self.last_session, heard);
            return Reply::Connected(self.last_session);
        }
        let Some(known) = self.sessions.get_mut(&session) else { return Reply::Expired };
        known.heard_at = now;
        if let Some(reply) = known.answered.get(&id) {
            return reply.clone();
        }
        let is_read = matches!(op, Op::Ping | Op::Read(_) | Op::List(_) | Op::Watch(_));
        let view = known.view;
        let reply = self.carry_out(session, view, op);
        if !is_read {
            // Who answers a write has carried it out.
            self.show(session, self.zxid);
        }
        self.catch_up(now);
        if let Some(known) = self.sessions.get_mut(&session) {
            known.answered.insert(id, reply.clone());
            if known.answered.len() > 100 {
                known.answered.pop_first();
            }
        }
        reply
    }

    fn carry_out(&mut self, session: SessionId, view: i64, op: Op) -> Reply {
        match op {
            Op::Connect | Op::Ping => Reply::Done,
            Op::Close => {
                self.end(session);
                Reply::Done
            }
            Op::Read(paths) => {
                let node = |path: &String| {
                    self.node(path, view).map(|node| Node {
                        data: node.data.clone(),
                        version: ZkVersion(node.version),
                        czxid: node.czxid,
                    })
                };
                Reply::Nodes(paths.iter().map(node).collect())
            }
            Op::List(path) => Reply::Names(self.children(&path, view)),
            Op::Commit { fence, writes } => Reply::Committed(self.commit(fence, writes)),
            Op::Register { id, data, boot } => Reply::Registered(self.register(session, id, data, boot)),
            Op::SetOrCreate { path, data } => {
                match self.nodes.contains_key(&path) {
                    true => self.set(&path, data),
                    false => self.put(path, data),
                }
                Reply::Done
            }
            Op::Watch(watch) => {
                let (WatchOf::Exists(path) | WatchOf::Children(path)) = watch;
                let seen = match self.node(path, view) {
                    None => Seen::Nothing,
                    Some(node) if node.owner == Some(session) => Seen::Own,
                    Some(_) => Seen::Node,
                };
                self.watches.entry(watch).or_default().insert(session);
                Reply::Armed(seen)
            }
            Op::Elect(id) => Reply::Elected(self.elect(session, id)),
            Op::DeleteOwnController => {
                if self.nodes.get(controller::PATH).is_some_and(|node| node.owner == Some(session)) {
                    self.delete(controller::PATH);
                }
                Reply::Done
            }
        }
    }

    fn register(&mut self, session: SessionId, id: BrokerId, data: Vec<u8>, boot: String) -> Option<i64> {
        let path = broker::path(id);
        let boot_of = |owner: SessionId| self.sessions.get(&owner).and_then(|session| session.boot.as_ref());
        match self.nodes.get(&path).map(|node| (node.owner, node.czxid)) {
            Some((Some(owner), czxid)) if owner == session => return Some(czxid),
            Some((Some(owner), _)) if boot_of(owner) == Some(&boot) => self.delete(&path),
            Some(_) => return None,
            None => {}
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.boot = Some(boot);
        }
        Some(self.create(path, data, Some(session)))
    }

    fn elect(&mut self, session: SessionId, id: BrokerId) -> Option<(ControllerEpoch, ZkVersion)> {
        match self.nodes.get(controller::PATH) {
            Some(node) if node.owner == Some(session) => self.delete(controller::PATH),
            Some(_) => return None,
            None => {}
        }
        let counted = controller::decode_epoch(self.data(EPOCH_PATH)?).ok()?;
        let epoch = ControllerEpoch(counted.0 + 1);
        self.create(controller::PATH.to_owned(), ControllerRegistration::of(id, 0).encode(), Some(session));
        self.set(EPOCH_PATH, controller::encode_epoch(epoch));
        let version = self.nodes.get(EPOCH_PATH)?.version;
        Some((epoch, ZkVersion(version)))
    }

    fn commit(
        &mut self,
        fence: ZkVersion,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<ZkVersion, Rejection>>, Trouble> {
        if self.nodes.get(EPOCH_PATH).map(|node| node.version) != Some(fence.0) {
            return Err(Trouble::Fenced);
        }
        Ok(writes.into_iter().map(|write| self.write(write)).collect())
    }

    fn write(&mut self, write: Write) -> Result<ZkVersion, Rejection> {
        match write {
            Write::Create { path, data } => match self.nodes.contains_key(&path) {
                true => Err(Rejection::NodeExists),
                false => {
                    self.create(path, data, None);
                    Ok(ZkVersion(0))
                }
            },
            Write::Set { path, data, version } => {
                let node = self.nodes.get(&path).ok_or(Rejection::NoNode)?;
                if version.is_some_and(|version| version.0 != node.version) {
                    return Err(Rejection::BadVersion);
                }
                self.set(&path, data);
                Ok(ZkVersion(self.nodes.get(&path).map_or(0, |node| node.version)))
            }
            Write::Delete { path } => {
                if !self.nodes.contains_key(&path) {
                    return Err(Rejection::NoNode);
                }
                if !self.children(&path, self.zxid).is_empty() {
                    return Err(Rejection::NotEmpty);
                }
                self.delete(&path);
                Ok(ZkVersion(0))
            }
            Write::Together(writes) => {
                let mut writes = writes.into_iter();
                let first = writes.next().map_or(Err(Rejection::NoNode), |write| self.write(write))?;
                for write in writes {
                    // If it is impossible, the first happens alone.
                    self.write(write).ok();
                }
                Ok(first)
            }
        }
    }

    fn create(&mut self, path: String, data: Vec<u8>, owner: Option<SessionId>) -> i64 {
        let czxid = self.zxid + 1;
        self.change(path, Some(Znode { data, version: 0, czxid, owner }));
        czxid
    }

    fn set(&mut self, path: &str, data: Vec<u8>) {
        let Some(node) = self.nodes.get(path) else { return };
        let after = Znode { data, version: node.version + 1, ..node.clone() };
        self.change(path.to_owned(), Some(after));
    }

    fn delete(&mut self, path: &str) {
        self.change(path.to_owned(), None);
    }

    fn change(&mut self, path: String, after: Option<Znode>) {
        self.zxid += 1;
        self.written.extend(after.as_ref().map(|node| (path.clone(), node.data.clone())));
        let is_birth_or_death = self.nodes.contains_key(&path) != after.is_some();
        let before = match after {
            Some(node) => self.nodes.insert(path.clone(), node),
            None => self.nodes.remove(&path),
        };
        self.changes.push_back(Change { zxid: self.zxid, at: self.now, path, before, is_birth_or_death });
    }

    fn end(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        for watchers in self.watches.values_mut() {
            watchers.remove(&session);
        }
        let owned = self.nodes.iter().filter(|(_, node)| node.owner == Some(session));
        for path in owned.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            self.delete(&path);
        }
    }

    /// As it was after `view`.
    fn node(&self, path: &str, view: i64) -> Option<&Znode> {
        let later = self.changes.iter().find(|change| change.zxid > view && change.path == path);
        later.map_or_else(|| self.nodes.get(path), |change| change.before.as_ref())
    }

    fn children(&self, path: &str, view: i64) -> Vec<String> {
        let prefix = format!("{path}/");
        let below = self.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let mut paths: BTreeSet<&str> = below.map(|(path, _)| path.as_str()).collect();
        for change in self.changes.iter().rev().take_while(|change| change.zxid > view) {
            match change.before {
                Some(_) if change.path.starts_with(&prefix) => drop(paths.insert(&change.path)),
                Some(_) => {}
                None => drop(paths.remove(change.path.as_str())),
            }
        }
        let names = paths.into_iter().filter_map(|path| path.strip_prefix(&prefix));
        names.filter(|name| !name.contains('/')).map(str::to_owned).collect()
    }
}
