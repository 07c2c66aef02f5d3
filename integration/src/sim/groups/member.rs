//! A consumer of a group, which asks in the order of the real protocol: it joins, asks for its assignment (and says
//! everyone's, if it leads), fetches offsets, then sends heartbeats and commits until it is told to join again.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::group::{Join, Joined, Protocol, Sync};
use bytes::Bytes;
use client::wire::{ErrorCode, Str};
use rand::Rng;
use rand::rngs::StdRng;

use super::message::{Ask, Told, Who};
use super::promises::Owner;
use crate::sim::counts::Counts;
use crate::sim::message::{MS, SECOND, Time};

const SESSION: Duration = Duration::from_millis(2_000);
const REBALANCE: Duration = Duration::from_millis(3_000);
const HEARTBEAT_EVERY: Time = 500 * MS;
const COMMIT_EVERY: Time = 800 * MS;
/// Without an answer for so long, a request is sent again.
const PATIENCE: Time = 1_500 * MS;
/// JoinGroup waits for the others.
const JOIN_PATIENCE: Time = 6_000 * MS;
const RETRY: Time = 60 * MS;

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// Its process does not run.
    Down {
        until: Time,
    },
    Joining,
    Syncing(Box<Joined>),
    Fetching,
    Steady,
}

/// A request that was not answered yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    id: u64,
    until: Time,
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) group: Str,
    number: usize,
    instance_id: Option<Str>,
    life: u32,
    state: State,
    /// It does nothing until then, and does not know it.
    silent_until: Time,
    member_id: Str,
    generation: i32,
    pub(super) owned: Vec<i32>,
    positions: BTreeMap<i32, i64>,
    /// Of the present state.
    open: Option<Open>,
    beat: Option<Open>,
    next_beat: Time,
    commit: Option<Open>,
    next_commit: Time,
}

/// What a member does next, and what it needs for it.
pub(super) struct Step<'a> {
    pub now: Time,
    pub ids: &'a mut u64,
    pub random: &'a mut StdRng,
    pub counts: &'a mut Counts,
    /// How many partitions there are to read.
    pub partitions: i32,
    /// Nothing new is begun any more.
    pub draining: bool,
    pub sent: Vec<(u64, Ask)>,
}

impl Step<'_> {
    fn send(&mut self, ask: Ask) -> u64 {
        *self.ids += 1;
        self.sent.push((*self.ids, ask));
        *self.ids
    }
}

impl Member {
    pub(super) fn new(group: Str, number: usize, is_static: bool) -> Member {
        Member {
            group,
            number,
            instance_id: is_static.then(|| Str::from(&*format!("instance-{number}"))),
            life: 0,
            state: State::Down { until: 0 },
            silent_until: 0,
            member_id: Str::new(),
            generation: -1,
            owned: Vec::new(),
            positions: BTreeMap::new(),
            open: None,
            beat: None,
            next_beat: 0,
            commit: None,
            next_commit: 0,
        }
    }

    /// Who it is in judgements: a static member that restarts is the same.
    pub(super) fn owner(&self) -> Owner {
        let life = if self.instance_id.is_some() { 0 } else { self.life };
        Owner { member: self.number, life }
    }

    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn member_id(&self) -> &Str {
        &self.member_id
    }

    pub(super) fn is_steady(&self) -> bool {
        self.state == State::Steady
    }

    /// Time passes.
    pub(super) fn pass(&mut self, step: &mut Step<'_>) {
        if step.now < self.silent_until {
            return;
        }
        if let State::Down { until } = self.state {
            if step.now >= until {
                self.state = State::Joining;
            } else {
                return;
            }
        }
        if !step.draining && self.has_a_whim(step) {
            return;
        }
        if self.open.is_none_or(|open| step.now >= open.until) {
            self.ask(step);
        }
        if self.state != State::Steady {
            return;
        }
        if step.now >= self.next_beat && self.beat.is_none_or(|open| step.now >= open.until) {
            let id = step.send(Ask::Heartbeat(self.who()));
            self.beat = Some(Open { id, until: step.now + PATIENCE });
            self.next_beat = step.now + HEARTBEAT_EVERY;
        }
        let may_commit = !step.draining && !self.owned.is_empty() && step.now >= self.next_commit;
        if may_commit && self.commit.is_none_or(|open| step.now >= open.until) {
            self.send_commit(step);
        }
    }

    /// Now and then it crashes, falls silent or leaves.
    fn has_a_whim(&mut self, step: &mut Step<'_>) -> bool {
        match step.random.random_range(0..480) {
            0 => {
                step.counts.add("member crashed");
                self.crash(step);
            }
            1 | 2 => {
                step.counts.add("member fell silent");
                self.silent_until = step.now + step.random.random_range(300 * MS..5 * SECOND);
            }
            3 => {
                step.counts.add("member left");
                step.send(Ask::Leave(self.who()));
                self.crash(step);
            }
            _ => return false,
        }
        true
    }

    fn crash(&mut self, step: &mut Step<'_>) {
        let until = step.now + step.random.random_range(200 * MS..5 * SECOND);
        let (group, number, is_static) = (self.group.clone(), self.number, self.instance_id.is_some());
        let life = self.life + 1;
        *self = Member { life, state: State::Down { until }, ..Member::new(group, number, is_static) };
    }

    fn who(&self) -> Who {
        let (member_id, instance_id) = (self.member_id.clone(), self.instance_id.clone());
        Who { member_id, instance_id, generation: self.generation }
    }

    /// The request of the present state.
    fn ask(&mut self, step: &mut Step<'_>) {
        let (ask, patience) = match &self.state {
            State::Down { .. } | State::Steady => return,
            State::Joining => (Ask::Join(self.join()), JOIN_PATIENCE),
            State::Syncing(joined) => (Ask::Sync(self.sync(joined, step.partitions)), JOIN_PATIENCE),
            State::Fetching => (Ask::FetchOffsets(self.owned.clone()), PATIENCE),
        };
        let id = step.send(ask);
        self.open = Some(Open { id, until: step.now + patience });
    }

    fn join(&self) -> Join {
        Join {
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            new_member_id: Str::new(),
            must_know_id: true,
            can_skip_assignment: true,
            client_id: Str::from(&*format!("member-{}-{}", self.number, self.life)),
            client_host: Str::from("/10.0.0.1"),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: Str::from("consumer"),
            protocols: vec![Protocol { name: Str::from("turns"), metadata: Bytes::new() }],
        }
    }

    /// The leader gives the partitions to the members in turn, to others in each generation.
    fn sync(&self, joined: &Joined, partitions: i32) -> Sync {
        let count = joined.members.len();
        let is_leading = joined.leader == joined.member_id && !joined.skip_assignment;
        let mut assignments = BTreeMap::new();
        for (at, member) in joined.members.iter().enumerate().filter(|_| is_leading) {
            let shift = usize::try_from(joined.generation).unwrap_or(0);
            let is_its = |partition: &i32| (usize::try_from(*partition).unwrap_or(0) + shift) % count == at;
            let its: Vec<u8> = (0..partitions).filter(is_its).flat_map(i32::to_be_bytes).collect();
            assignments.insert(member.member_id.clone(), Bytes::from(its));
        }
        Sync {
            generation: joined.generation,
            member_id: joined.member_id.clone(),
            instance_id: self.instance_id.clone(),
            protocol_type: joined.protocol_type.clone(),
            protocol: joined.protocol.clone(),
            assignments,
        }
    }

    fn send_commit(&mut self, step: &mut Step<'_>) {
        let Member { owned, positions, .. } = self;
        let next = |partition: &i32| {
            let position = positions.entry(*partition).or_default();
            *position += 1;
            (*partition, *position)
        };
        let offsets = owned.iter().map(next).collect();
        *step.ids += 1;
        let ask = Ask::Commit { who: self.who(), number: *step.ids, offsets };
        let id = step.send(ask);
        self.commit = Some(Open { id, until: step.now + PATIENCE });
        self.next_commit = step.now + COMMIT_EVERY;
    }

    /// Whether the member waits for this answer, and listens.
    pub(super) fn awaits(&self, id: u64, now: Time) -> bool {
        let open = [self.open, self.beat, self.commit];
        now >= self.silent_until && open.iter().flatten().any(|open| open.id == id)
    }

    /// An answer to a request that it waits for.
    pub(super) fn told(&mut self, id: u64, told: Told, step: &mut Step<'_>) {
        let is = |open: &Option<Open>| open.is_some_and(|open| open.id == id);
        let of_state = is(&self.open);
        if is(&self.beat) {
            self.beat = None;
        }
        if is(&self.commit) {
            self.commit = None;
        }
        if of_state {
            self.open = None;
        }
        match told {
            Told::Joined(joined) if of_state => {
                self.member_id = joined.member_id.clone();
                self.generation = joined.generation;
                self.go_on(State::Syncing(Box::new(joined)), step);
            }
            Told::Synced(synced) if of_state => {
                self.owned = super::partitions_in(&synced.assignment);
                self.go_on(State::Fetching, step);
            }
            Told::Offsets(offsets) if of_state => {
                let known = offsets.into_iter().map(|(partition, offset)| (partition, offset.unwrap_or(0)));
                self.positions = known.collect();
                self.state = State::Steady;
                self.next_beat = step.now + HEARTBEAT_EVERY;
                self.next_commit = step.now + step.random.random_range(0..COMMIT_EVERY);
            }
            Told::Refused(error, member_id) => self.refused(error, member_id, of_state, step),
            Told::Joined(_) | Told::Synced(_) | Told::Offsets(_) | Told::Done => {}
        }
    }

    fn go_on(&mut self, state: State, step: &mut Step<'_>) {
        self.state = state;
        self.ask(step);
    }

    fn refused(&mut self, error: ErrorCode, member_id: Option<Str>, of_state: bool, step: &mut Step<'_>) {
        match error {
            ErrorCode::MemberIdRequired => {
                self.member_id = member_id.unwrap_or_default();
                self.go_on(State::Joining, step);
            }
            ErrorCode::UnknownMemberId => {
                step.counts.add("member was put out");
                self.member_id = Str::new();
                self.join_again(step);
            }
            ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress => self.join_again(step),
            ErrorCode::FencedInstanceId => {
                step.counts.add("static member replaced by its own late request");
                self.crash(step);
            }
            _ if of_state => self.open = Some(Open { id: 0, until: step.now + RETRY }),
            _ => {}
        }
    }

    fn join_again(&mut self, step: &mut Step<'_>) {
        self.owned.clear();
        self.beat = None;
        self.commit = None;
        self.go_on(State::Joining, step);
    }
}
