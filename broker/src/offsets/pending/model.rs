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

const LIMITS: Limits = Limits { keys: 3, bytes: 1000 };

/// Everything that a server shows at one moment.
#[derive(Debug, Clone)]
struct Shown {
    state: Leads,
    stamp: ZkVersion,
    values: BTreeMap<OffsetKey, i64>,
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
    in_transit: VecDeque<Job<i64>>,
    fetching: VecDeque<Fetch>,
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
    strays: Vec<(usize, Job<i64>)>,
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
    /// connection is to a server that lags by so much.
    Cut {
        by: usize,
        done: usize,
        lag: usize,
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
            history: vec![Shown { state: nobody, stamp: ZkVersion(0), values: BTreeMap::new() }],
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
            Event::Cut { by, done, lag } => self.cut(by, done, lag),
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
            loop {
                self.start(by);
                if self.coordinators[by].in_transit.is_empty() {
                    break;
                }
                self.finish(by);
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

    fn start(&mut self, by: usize) {
        let by = self.by(by);
        let coordinator = &mut self.coordinators[by];
        if coordinator.in_transit.len() < 3
            && let Some(job) = coordinator.pending.next(coordinator.on, LIMITS)
        {
            coordinator.in_transit.push_back(job);
        }
    }

    fn finish(&mut self, by: usize) {
        let by = self.by(by);
        let Some(job) = self.coordinators[by].in_transit.pop_front() else { return };
        match job {
            Job::Look => {
                // The barrier brings the server up to date.
                self.renew_stamp();
                let newest = self.history.len() - 1;
                let Shown { state, stamp, .. } = *self.now();
                let coordinator = &mut self.coordinators[by];
                coordinator.server = newest;
                let on = coordinator.on;
                let refused = coordinator.pending.looked(on, stamp, Some(state));
                self.answer(refused, false);
            }
            Job::Flush { batch, rights, writes } => {
                let outcome = if self.apply(by, rights, &writes) { Flushed::Landed } else { Flushed::Fenced };
                let newest = self.history.len() - 1;
                let coordinator = &mut self.coordinators[by];
                coordinator.server = newest;
                let done = coordinator.pending.flushed(batch, outcome);
                self.answer(done, true);
            }
            Job::Resolve { batch, writes } => {
                self.renew_stamp();
                let Shown { values, stamp, .. } = self.now().clone();
                let wanted: BTreeMap<OffsetKey, i64> = writes.into_iter().collect();
                let is_done = |key: &OffsetKey| values.get(key) == wanted.get(key);
                let newest = self.history.len() - 1;
                let coordinator = &mut self.coordinators[by];
                coordinator.server = newest;
                let done = coordinator.pending.resolved(batch, Some(Found { stamp, is_done: &is_done }));
                self.answer(done, true);
            }
        }
    }

    fn cut(&mut self, by: usize, done: usize, lag: usize) {
        let by = self.by(by);
        let jobs = std::mem::take(&mut self.coordinators[by].in_transit);
        for (index, job) in jobs.into_iter().enumerate() {
            if index < done {
                self.carry_out(by, &job);
            } else {
                self.strays.push((by, job.clone()));
            }
            match job {
                Job::Look => self.coordinators[by].pending.look_failed(),
                Job::Flush { batch, .. } => {
                    let over = self.coordinators[by].pending.flushed(batch, Flushed::Lost);
                    assert_eq!(over, [], "nobody can be answered yet");
                }
                Job::Resolve { batch, .. } => {
                    let over = self.coordinators[by].pending.resolved(batch, None);
                    assert_eq!(over, [], "nobody can be answered yet");
                }
            }
        }
        let server = (self.history.len() - 1).saturating_sub(lag);
        let coordinator = &mut self.coordinators[by];
        coordinator.on.generation += 1;
        coordinator.server = server;
    }

    fn come_late(&mut self, stray: usize) {
        if !self.strays.is_empty() {
            let (by, job) = self.strays.remove(stray % self.strays.len());
            self.carry_out(by, &job);
        }
    }

    /// Nobody hears of it.
    fn carry_out(&mut self, by: usize, job: &Job<i64>) {
        match job {
            Job::Look | Job::Resolve { .. } => self.renew_stamp(),
            Job::Flush { rights, writes, .. } => {
                self.apply(by, *rights, writes);
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

    /// A multi at ZooKeeper's leader.
    fn apply(&mut self, by: usize, rights: Rights, writes: &[(OffsetKey, i64)]) -> bool {
        let mut next = self.now().clone();
        let is_fenced = Check::Fence.is_made() && next.state.version != rights.state;
        if is_fenced || Check::Stamp.is_made() && next.stamp != rights.stamp {
            return false;
        }
        let writer = (self.coordinators[by].me, self.coordinators[by].epoch);
        assert_eq!(writer, (next.state.leader, next.state.epoch), "a deposed coordinator's write landed");
        for (key, value) in writes {
            assert!(self.fetched.get(key) <= Some(value), "{value} of {key} landed after a later read");
            assert!(!self.withdrawn.contains(value), "{value} of {key} landed, and was said to have failed");
        }
        next.values.extend(writes.iter().cloned());
        self.history.push(next);
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

fn named(key: u8) -> OffsetKey {
    OffsetKey::new("g", "t", i32::from(key))
}
