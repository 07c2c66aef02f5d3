//! A ZooKeeper of several servers, of which some lag, that may carry a request out long after its connection
//! broke, and the coordinators that come and go in it.
//! It checks, at every step, what must never happen.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use client::ids::{BrokerId, LeaderEpoch, ZkVersion};

use super::super::OffsetKey;
use super::super::check::Check;
use super::super::fence::{Attached, Deposed, Fence, Leads, Rights};
use super::{Flushed, Found, Job, Late, Limits, Owed, Pending};

pub(super) const KEYS: u8 = 5;

/// What is done of itself once nothing breaks any more.
const STEPS_MAX: usize = 1 + 4 * 2 * KEYS as usize;

const LIMITS: Limits = Limits { keys: 3, bytes: 1000 };

/// Everything that a server shows at one moment.
#[derive(Debug, Clone)]
struct Shown {
    state: Leads,
    stamp: ZkVersion,
    values: BTreeMap<OffsetKey, i64>,
    /// Of the nodes that hold the values. A node that is made anew has the first one again.
    versions: BTreeMap<OffsetKey, ZkVersion>,
}

/// Somebody who waits for a value of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    key: OffsetKey,
    value: i64,
}

/// A coordinator, current or deposed without knowing it.
struct Coordinator {
    me: BrokerId,
    epoch: LeaderEpoch,
    pending: Pending<i64, Waiter>,
    on: Attached,
    /// How far the server it is attached to has got in `history`.
    server: usize,
    in_transit: VecDeque<Request>,
    fetching: VecDeque<Fetch>,
    /// Keys that are to be deleted, and are held.
    doomed: VecDeque<OffsetKey>,
}

#[derive(Debug, Clone)]
enum Request {
    Job(Job<i64>),
    Deletion(Deletion),
}

/// A multi that deletes what was read, and nothing newer.
#[derive(Debug, Clone)]
struct Deletion {
    key: OffsetKey,
    rights: Rights,
    value: i64,
    version: ZkVersion,
}

/// A read that waits for the commits before it.
struct Fetch {
    keys: Vec<OffsetKey>,
    owed: Owed,
    /// Values from this one on were committed after it was asked for.
    began: i64,
}

pub(super) struct World {
    /// Every state there was, the newest last. A server shows one of them.
    history: Vec<Shown>,
    coordinators: Vec<Coordinator>,
    late: Late,
    /// Values rise over the whole run.
    next_value: i64,
    acknowledged: BTreeMap<OffsetKey, i64>,
    waiting: BTreeSet<i64>,
    /// Of what was read, the first value that was committed after it was asked for.
    fetched: BTreeMap<OffsetKey, i64>,
    /// Those who waited were told that it failed, before it was sent.
    withdrawn: BTreeSet<i64>,
    /// Requests of broken connections that may be carried out yet, and whose they are.
    strays: Vec<(usize, Request)>,
}

#[derive(Debug, Clone)]
pub(super) enum Event {
    Commit {
        by: usize,
        key: u8,
    },
    /// Those who wait for a key are told that it failed.
    GiveUp {
        by: usize,
        key: u8,
    },
    /// The key is to be deleted; it is held until it is.
    Delete {
        by: usize,
        key: u8,
    },
    /// The first deletion that waits is given up.
    Spare {
        by: usize,
    },
    /// Somebody asks for a key, or for all there are.
    Fetch {
        by: usize,
        key: Option<u8>,
    },
    /// The first who need not wait any more reads.
    Read {
        by: usize,
    },
    /// A job leaves for ZooKeeper.
    Start {
        by: usize,
    },
    /// The oldest job under way is done and answered.
    Finish {
        by: usize,
    },
    /// The connection breaks: so many of the jobs under way were done, none is answered. The next
    /// connection is to a server that lags by so much; or it takes the place of the broken one, and is to one
    /// that shows all that was seen on that.
    Cut {
        by: usize,
        done: usize,
        lag: usize,
        is_replaced: bool,
    },
    /// A request of a broken connection is carried out.
    Late {
        stray: usize,
    },
    /// The in-sync set changes: another version, the same leader.
    IsrChange,
    /// Another broker is elected, and told so.
    Move {
        to: i32,
        lag: usize,
    },
    /// A coordinator hears that it was deposed.
    Hear {
        by: usize,
    },
}

impl World {
    pub(super) fn new(late: Late) -> World {
        let nobody = Leads { leader: BrokerId::NONE, epoch: LeaderEpoch(0), version: ZkVersion(0) };
        let mut world = World {
            history: vec![Shown {
                state: nobody,
                stamp: ZkVersion(0),
                values: BTreeMap::new(),
                versions: BTreeMap::new(),
            }],
            coordinators: Vec::new(),
            late,
            next_value: 1,
            acknowledged: BTreeMap::new(),
            waiting: BTreeSet::new(),
            fetched: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            strays: Vec::new(),
        };
        world.happen(&Event::Move { to: 1, lag: 0 });
        world
    }

    pub(super) fn happen(&mut self, event: &Event) {
        match *event {
            Event::Commit { by, key } => self.commit(by, key),
            Event::GiveUp { by, key } => self.give_up(by, key),
            Event::Fetch { by, key } => self.fetch(by, key),
            Event::Read { by } => self.read(by),
            Event::Start { by } => self.start(by),
            Event::Finish { by } => self.finish(by),
            Event::Cut { by, done, lag, is_replaced } => self.cut(by, done, lag, is_replaced),
            Event::Delete { by, key } => self.delete(by, key),
            Event::Spare { by } => self.spare(by),
            Event::Late { stray } => self.come_late(stray),
            Event::IsrChange => self.change_state(|state| state),
            Event::Move { to, lag } => self.elect(to, lag),
            Event::Hear { by } => self.hear(by),
        }
        self.check_nothing_acknowledged_is_lost();
    }

    /// From here on nothing breaks: everybody must get an answer.
    pub(super) fn settle(&mut self) {
        let last = self.coordinators.len() - 1;
        for by in 0..self.coordinators.len() {
            if by != last {
                self.hear(by);
            }
            // A look, and for each key a commit and a deletion; each may fail once, for which it takes another
            // look, and may have to be found out about first.
            let mut steps = 0;
            loop {
                self.start(by);
                if self.coordinators[by].in_transit.is_empty() {
                    break;
                }
                self.finish(by);
                steps += 1;
                assert!(steps <= STEPS_MAX, "{by} has no end of work");
            }
        }
        self.check_nothing_acknowledged_is_lost();
        assert_eq!(self.waiting, BTreeSet::new(), "nobody answered these");
    }

    fn by(&self, by: usize) -> usize {
        by % self.coordinators.len()
    }

    fn now(&self) -> &Shown {
        self.history.last().expect("there is a first one")
    }

    fn commit(&mut self, by: usize, key: u8) {
        let by = self.by(by);
        let key = named(key);
        let value = self.next_value;
        self.next_value += 1;
        self.waiting.insert(value);
        let waiter = Waiter { key: key.clone(), value };
        if let Err(refused) = self.coordinators[by].pending.push(key, value, 100, waiter) {
            self.answer(vec![refused], false);
        }
    }

    fn give_up(&mut self, by: usize, key: u8) {
        let by = self.by(by);
        let key = named(key);
        let pending = &mut self.coordinators[by].pending;
        let was_sent = pending.is_unresolved(&key);
        let gone = RefCell::new(Vec::new());
        pending.forget_waiters(&key, |waiter| {
            gone.borrow_mut().push(Waiter { key: waiter.key.clone(), value: waiter.value });
            true
        });
        if !was_sent && self.late == Late::Withdrawn {
            self.withdrawn.extend(gone.borrow().iter().map(|waiter| waiter.value));
        }
        self.answer(gone.into_inner(), false);
    }

    fn fetch(&mut self, by: usize, key: Option<u8>) {
        let by = self.by(by);
        let began = self.next_value;
        let coordinator = &mut self.coordinators[by];
        let pending = &coordinator.pending;
        let (keys, owed) = match key.map(named) {
            Some(key) => (vec![key.clone()], pending.owed([&key])),
            None => ((0..KEYS).map(named).collect(), pending.owed_of_group(&"g".into())),
        };
        coordinator.fetching.push_back(Fetch { keys, owed, began });
    }

    /// The coordinator that leads shows everything that was ever acknowledged, by whomever.
    fn read(&mut self, by: usize) {
        let by = self.by(by);
        let state = self.now().state;
        let coordinator = &mut self.coordinators[by];
        let is_current = (coordinator.me, coordinator.epoch) == (state.leader, state.epoch);
        if !is_current || !coordinator.pending.fence().is_fresh(coordinator.on) {
            return;
        }
        let pending = &coordinator.pending;
        let ready = coordinator.fetching.iter_mut().position(|fetch| !pending.still_owes(&mut fetch.owed));
        let Some(fetch) = ready.and_then(|ready| coordinator.fetching.remove(ready)) else { return };
        let shown = &self.history[coordinator.server].values;
        for key in fetch.keys {
            let acknowledged = self.acknowledged.get(&key);
            assert!(shown.get(&key) >= acknowledged, "a stale read of {key}: {shown:?}");
            let began = self.fetched.entry(key).or_default();
            *began = fetch.began.max(*began);
        }
    }

    fn delete(&mut self, by: usize, key: u8) {
        let by = self.by(by);
        let coordinator = &mut self.coordinators[by];
        let key = named(key);
        if !coordinator.is_deleting(&key) {
            coordinator.pending.hold(std::slice::from_ref(&key));
            coordinator.doomed.push_back(key);
        }
    }

    fn spare(&mut self, by: usize) {
        let by = self.by(by);
        let coordinator = &mut self.coordinators[by];
        if let Some(key) = coordinator.doomed.pop_front() {
            coordinator.pending.release(&[key]);
        }
    }

    fn start(&mut self, by: usize) {
        let by = self.by(by);
        let coordinator = &mut self.coordinators[by];
        if coordinator.in_transit.len() >= 3 {
            return;
        }
        let shown = &self.history[coordinator.server];
        let request = match coordinator.deletion(shown) {
            Some(deletion) => Some(Request::Deletion(deletion)),
            None => coordinator.pending.next(coordinator.on, LIMITS).map(Request::Job),
        };
        coordinator.in_transit.extend(request);
    }

    fn finish(&mut self, by: usize) {
        let by = self.by(by);
        let Some(request) = self.coordinators[by].in_transit.pop_front() else { return };
        match request {
            Request::Job(Job::Look) => {
                let Shown { state, stamp, .. } = self.barrier(by);
                let coordinator = &mut self.coordinators[by];
                let on = coordinator.on;
                let refused = coordinator.pending.looked(on, stamp, Some(state));
                self.answer(refused, false);
            }
            Request::Job(Job::Flush { batch, rights, writes }) => {
                let outcome = if self.apply(by, rights, &writes) { Flushed::Landed } else { Flushed::Fenced };
                let done = self.caught_up(by).pending.flushed(batch, outcome);
                self.answer(done, true);
            }
            Request::Job(Job::Resolve { batch, writes }) => {
                let Shown { values, stamp, .. } = self.barrier(by);
                let wanted: BTreeMap<OffsetKey, i64> = writes.into_iter().collect();
                let is_done = |key: &OffsetKey| values.get(key) == wanted.get(key);
                let pending = &mut self.coordinators[by].pending;
                let done = pending.resolved(batch, Some(Found { stamp, is_done: &is_done }));
                self.answer(done, true);
            }
            Request::Deletion(deletion) => {
                let is_done = self.apply_deletion(&deletion);
                let coordinator = self.caught_up(by);
                if is_done {
                    coordinator.pending.release(&[deletion.key]);
                } else {
                    coordinator.pending.doubt(deletion.rights);
                    coordinator.doomed.push_back(deletion.key);
                }
            }
        }
    }

    /// A server that answers a write has caught up so far.
    fn caught_up(&mut self, by: usize) -> &mut Coordinator {
        self.coordinators[by].server = self.history.len() - 1;
        &mut self.coordinators[by]
    }

    /// What is read behind a barrier.
    fn barrier(&mut self, by: usize) -> Shown {
        if Check::Barrier.is_made() {
            self.renew_stamp();
            self.caught_up(by);
        }
        self.history[self.coordinators[by].server].clone()
    }

    fn cut(&mut self, by: usize, done: usize, lag: usize, is_replaced: bool) {
        let by = self.by(by);
        let requests = std::mem::take(&mut self.coordinators[by].in_transit);
        for (index, request) in requests.into_iter().enumerate() {
            if index < done {
                self.carry_out(by, &request);
            } else {
                self.strays.push((by, request.clone()));
            }
            let coordinator = &mut self.coordinators[by];
            let pending = &mut coordinator.pending;
            match request {
                Request::Job(Job::Look) => pending.look_failed(),
                Request::Job(Job::Flush { batch, .. }) => {
                    assert_eq!(pending.flushed(batch, Flushed::Lost), [], "nobody can be answered yet");
                }
                Request::Job(Job::Resolve { batch, .. }) => {
                    assert_eq!(pending.resolved(batch, None), [], "nobody can be answered yet");
                }
                Request::Deletion(deletion) => {
                    pending.doubt(deletion.rights);
                    coordinator.doomed.push_back(deletion.key);
                }
            }
        }
        let server = (self.history.len() - 1).saturating_sub(lag);
        let coordinator = &mut self.coordinators[by];
        if is_replaced {
            coordinator.on.generation += 1;
            coordinator.server = server;
        } else {
            coordinator.server = server.max(coordinator.server);
        }
    }

    fn come_late(&mut self, stray: usize) {
        if !self.strays.is_empty() {
            let (by, request) = self.strays.remove(stray % self.strays.len());
            self.carry_out(by, &request);
        }
    }

    /// Nobody hears of it.
    fn carry_out(&mut self, by: usize, request: &Request) {
        match request {
            Request::Job(Job::Look | Job::Resolve { .. }) => {
                if Check::Barrier.is_made() {
                    self.renew_stamp();
                }
            }
            Request::Job(Job::Flush { rights, writes, .. }) => {
                self.apply(by, *rights, writes);
            }
            Request::Deletion(deletion) => {
                self.apply_deletion(deletion);
            }
        }
    }

    fn renew_stamp(&mut self) {
        let mut next = self.now().clone();
        next.stamp.0 += 1;
        self.history.push(next);
    }

    fn elect(&mut self, to: i32, lag: usize) {
        self.change_state(|state| Leads {
            leader: BrokerId(to),
            epoch: LeaderEpoch(state.epoch.0 + 1),
            ..state
        });
        let (me, epoch) = (BrokerId(to), self.now().state.epoch);
        let on = Attached { session: self.coordinators.len() as i64, generation: 1 };
        self.coordinators.push(Coordinator {
            me,
            epoch,
            pending: Pending::new(Fence::new(me, epoch), self.late),
            on,
            server: (self.history.len() - 1).saturating_sub(lag),
            in_transit: VecDeque::new(),
            fetching: VecDeque::new(),
            doomed: VecDeque::new(),
        });
    }

    fn hear(&mut self, by: usize) {
        let by = self.by(by);
        let state = self.now().state;
        let coordinator = &mut self.coordinators[by];
        if (coordinator.me, coordinator.epoch) != (state.leader, state.epoch) {
            let refused = coordinator.pending.close(Deposed::ByAnother);
            self.answer(refused, false);
        }
    }

    fn change_state(&mut self, change: impl FnOnce(Leads) -> Leads) {
        let mut next = self.now().clone();
        next.state = change(next.state);
        next.state.version = ZkVersion(next.state.version.0 + 1);
        self.history.push(next);
    }

    /// Whether ZooKeeper's leader finds these unchanged.
    fn permits(&self, rights: Rights) -> bool {
        let Shown { state, stamp, .. } = self.now();
        (!Check::Fence.is_made() || state.version == rights.state)
            && (!Check::Stamp.is_made() || *stamp == rights.stamp)
    }

    fn apply(&mut self, by: usize, rights: Rights, writes: &[(OffsetKey, i64)]) -> bool {
        if !self.permits(rights) {
            return false;
        }
        let mut next = self.now().clone();
        let writer = (self.coordinators[by].me, self.coordinators[by].epoch);
        assert_eq!(writer, (next.state.leader, next.state.epoch), "a deposed coordinator's write landed");
        for (key, value) in writes {
            assert!(self.fetched.get(key) <= Some(value), "{value} of {key} landed after a later read");
            assert!(!self.withdrawn.contains(value), "{value} of {key} landed, and was said to have failed");
        }
        for (key, _) in writes {
            let version = next.versions.get(key).map_or(0, |version| version.0 + 1);
            next.versions.insert(key.clone(), ZkVersion(version));
        }
        next.values.extend(writes.iter().cloned());
        self.history.push(next);
        true
    }

    fn apply_deletion(&mut self, deletion: &Deletion) -> bool {
        let Deletion { key, rights, value, version } = deletion;
        if !self.permits(*rights) || self.now().versions.get(key) != Some(version) {
            return false;
        }
        let mut next = self.now().clone();
        next.values.remove(key);
        next.versions.remove(key);
        self.history.push(next);
        if self.acknowledged.get(key) <= Some(value) {
            self.acknowledged.remove(key);
        }
        true
    }

    fn answer(&mut self, waiters: Vec<Waiter>, good: bool) {
        for Waiter { key, value } in waiters {
            assert!(self.waiting.remove(&value), "{value} was answered twice");
            if good {
                let last = self.acknowledged.entry(key).or_default();
                *last = value.max(*last);
            }
        }
    }

    fn check_nothing_acknowledged_is_lost(&self) {
        let values = &self.now().values;
        for (key, acknowledged) in &self.acknowledged {
            assert!(values.get(key) >= Some(acknowledged), "{key} went back: {acknowledged} in {values:?}");
        }
    }
}

impl Coordinator {
    fn is_deleting(&self, key: &OffsetKey) -> bool {
        let is_its = |request: &Request| matches!(request, Request::Deletion(sent) if sent.key == *key);
        self.doomed.contains(key) || self.in_transit.iter().any(is_its)
    }

    /// The first of those that can be made now. What is not there is deleted already.
    fn deletion(&mut self, shown: &Shown) -> Option<Deletion> {
        let Coordinator { pending, doomed, .. } = self;
        let rights = pending.fence().rights().filter(|_| pending.fence().is_fresh(self.on))?;
        while let Some(ready) = doomed.iter().position(|key| !pending.is_unresolved(key)) {
            let key = doomed.remove(ready)?;
            if let (Some(value), Some(version)) = (shown.values.get(&key), shown.versions.get(&key)) {
                return Some(Deletion { key, rights, value: *value, version: *version });
            }
            pending.release(&[key]);
        }
        None
    }
}

fn named(key: u8) -> OffsetKey {
    OffsetKey::new("g", "t", i32::from(key))
}
