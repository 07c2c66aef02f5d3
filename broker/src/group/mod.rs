//! Consumer groups as their coordinator sees them (KIP-62 and its successors; "classic" since
//! KIP-848): who is a member, who leads, which generation it is, who waits for whom.
//!
//! Pure: [`Group`] is told the time, keeps deadlines as data ([`Group::next_deadline`],
//! [`Group::expire`]), knows a request that waits only by its [`Ticket`], and returns what is to be
//! done as [`Effect`]s. Every ticket handed in is answered exactly once.

mod checks;
mod committed_offset;
mod describe;
mod error;
mod join;
mod leave;
mod load;
mod member;
mod members;
mod rebalance;
pub mod record;
pub mod replay;
mod state;
mod store;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::wire::Str;

pub use checks::{Commit, Identity};
pub use committed_offset::CommittedOffset;
pub use describe::{Description, MemberDescription, Overview};
pub use error::GroupError;
pub use join::{Join, JoinAnswer, JoinRefused, Joined, JoinedMember};
pub use leave::{LeaveAnswer, Leaving};
pub use member::Protocol;
pub use state::State;
pub use store::{Store, StoreId};
pub use sync::{Sync, SyncAnswer, Synced};

use client::java_string;

use crate::clock::Now;
use members::Members;
use store::Purpose;

/// The topic that holds what coordinators know.
pub const TOPIC: &str = "__consumer_offsets";

/// The partition of [`TOPIC`] whose leader coordinates `group`, of `count` partitions: Java's
/// `abs(group.hashCode()) % count`, where the absolute value of the smallest number is 0.
pub fn partition_of(group: &str, count: i32) -> i32 {
    let hash = java_string::hash_code(group).checked_abs().unwrap_or(0);
    hash.checked_rem(count).unwrap_or(0)
}

/// A JoinGroup or SyncGroup that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Joined(Ticket, JoinAnswer),
    Synced(Ticket, SyncAnswer),
    /// To be appended to the log, and its outcome told to [`Group::stored`].
    Store(Store),
}

/// What the operator allows groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `group.min.session.timeout.ms`
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`
    pub size_max: usize,
}

impl Limits {
    /// JoinGroup is refused before anything else if its session timeout is out of bounds.
    pub fn check_session(&self, timeout: Duration) -> Result<(), GroupError> {
        let allowed = self.session_timeout_min..=self.session_timeout_max;
        if allowed.contains(&timeout) { Ok(()) } else { Err(GroupError::InvalidSessionTimeout) }
    }
}

/// Member ids given out and not yet used. Kafka has no limit; a client that forgets its id each
/// time must not fill the memory. Far more than clients need within a session timeout.
const PENDING_MAX: usize = 10_000;

/// One group.
#[derive(Debug)]
pub struct Group {
    id: Str,
    limits: Limits,
    phase: Phase,
    /// When the phase's state began, in milliseconds since 1970; `None` for a group loaded from an
    /// old record.
    state_since_ms: Option<i64>,
    /// `None` until somebody joins. An empty group keeps that of its last members.
    protocol_type: Option<Str>,
    generation: i32,
    /// What the present generation divides its work by.
    protocol: Option<Str>,
    members: Members,
    /// Ids given out to members that have yet to join by them, and when they are forgotten.
    pending: BTreeMap<Str, Instant>,
    /// Who has yet to call SyncGroup in this generation.
    unsynced: BTreeSet<Str>,
    /// When those are removed.
    sync_deadline: Option<Instant>,
    /// The last generation that was given up since its leader had divided among others than its members.
    misassigned: Option<i32>,
    /// The topics that the present generation reads; `None` if the members do not say.
    subscribed: Option<BTreeSet<Str>>,
    stores: BTreeMap<StoreId, Purpose>,
    next_store: u64,
    effects: Vec<Effect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Empty,
    Preparing(Preparing),
    Completing,
    Stable,
    Dead,
}

/// How long the members of a rebalance are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Preparing {
    deadline: Instant,
    /// The group was empty: it waits for the deadline even if all known members are there, since
    /// more are likely to come.
    initial: Option<InitialDelay>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InitialDelay {
    /// The present wait.
    delay: Duration,
    /// By how much members that arrive meanwhile may prolong it.
    rest: Duration,
    /// Whether one did.
    prolonged: bool,
}

impl Group {
    /// A group that nobody has joined yet.
    pub fn new(id: Str, limits: Limits, now: Now) -> Group {
        Group {
            id,
            limits,
            phase: Phase::Empty,
            state_since_ms: Some(now.unix_ms),
            protocol_type: None,
            generation: 0,
            protocol: None,
            members: Members::default(),
            pending: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            sync_deadline: None,
            misassigned: None,
            subscribed: None,
            stores: BTreeMap::new(),
            next_store: 0,
            effects: Vec::new(),
        }
    }

    pub fn id(&self) -> &Str {
        &self.id
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Empty => State::Empty,
            Phase::Preparing(_) => State::PreparingRebalance,
            Phase::Completing => State::CompletingRebalance,
            Phase::Stable => State::Stable,
            Phase::Dead => State::Dead,
        }
    }

    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// When [`Group::expire`] has something to do, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let rebalance = match self.phase {
            Phase::Preparing(preparing) => Some(preparing.deadline),
            Phase::Dead => return None,
            Phase::Empty | Phase::Completing | Phase::Stable => None,
        };
        let sessions = self.members.iter().filter_map(|member| member.session_deadline());
        let others = [rebalance, self.sync_deadline].into_iter().flatten();
        sessions.chain(others).chain(self.pending.values().copied()).min()
    }

    /// Does what is due by `now`: forgets ids that nobody joined by, removes members that were not
    /// heard of or did not sync, and ends the wait for members to join.
    pub fn expire(&mut self, now: Now) -> Vec<Effect> {
        if self.phase == Phase::Dead {
            return self.take_effects();
        }
        self.expire_pending(now);
        self.expire_sessions(now);
        self.expire_unsynced(now);
        self.expire_join(now);
        self.take_effects()
    }

    /// Ends the group: those that wait are told `error`, and nothing happens to it any more.
    pub fn end(&mut self, error: GroupError, now: Now) -> Vec<Effect> {
        for id in self.members.ids() {
            self.answer_join(&id, error);
            self.answer_sync(&id, Err(error), now);
        }
        self.enter(Phase::Dead, now);
        self.pending.clear();
        self.sync_deadline = None;
        self.take_effects()
    }

    fn enter(&mut self, phase: Phase, now: Now) {
        self.phase = phase;
        self.state_since_ms = Some(now.unix_ms);
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Refuses a member's JoinGroup, if it has one waiting.
    fn answer_join(&mut self, id: &str, error: GroupError) {
        if let Some(ticket) = self.members.get_mut(id).and_then(|member| member.joining.take()) {
            let refused = JoinRefused { error, member_id: Str::from(id) };
            self.effects.push(Effect::Joined(ticket, Err(refused)));
        }
    }

    /// Answers a member's SyncGroup, if it has one waiting; its session starts anew.
    fn answer_sync(&mut self, id: &str, answer: SyncAnswer, now: Now) {
        let Some(member) = self.members.get_mut(id) else { return };
        if let Some(ticket) = member.syncing.take() {
            member.seen = now.monotonic;
            self.effects.push(Effect::Synced(ticket, answer));
        }
    }
}

#[cfg(test)]
mod partition_tests {
    use super::*;

    /// Where Kafka 3.9.1 keeps them.
    #[test]
    fn groups_belong_to_kafkas_partitions() {
        let seen = [("polygenelubricants", 50, 0), ("zzzzzzzzzz", 50, 36), ("g1", 4, 2), ("g2", 4, 3)];
        for (group, count, partition) in seen {
            assert_eq!(partition_of(group, count), partition, "{group} of {count}");
        }
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("g", 0), 0, "a topic without partitions has no place, and no panic");
    }
}
