//! How one generation follows another.

use std::time::Duration;

use bytes::Bytes;

use super::store::Purpose;
use super::{Effect, Group, GroupError, InitialDelay, Phase, Preparing};
use crate::clock::Now;

/// At least so long between two looks at a rebalance that nobody has joined yet, whatever timeout
/// the members asked for.
const RETRY_MIN: Duration = Duration::from_millis(100);

impl Group {
    /// Asks all members to join a new generation, unless that is under way.
    pub(super) fn rebalance(&mut self, now: Now) {
        let timeout = self.members.rebalance_timeout();
        let preparing = match self.phase {
            Phase::Preparing(_) | Phase::Dead => return,
            Phase::Empty => {
                let delay = self.limits.initial_rebalance_delay;
                let rest = timeout.saturating_sub(delay);
                Preparing {
                    deadline: now.monotonic + delay,
                    initial: Some(InitialDelay { delay, rest, prolonged: false }),
                }
            }
            Phase::Completing | Phase::Stable => {
                Preparing { deadline: now.monotonic + timeout, initial: None }
            }
        };
        if self.phase == Phase::Completing {
            self.refuse_syncs(GroupError::Rebalancing, now);
        }
        self.unsynced.clear();
        self.sync_deadline = None;
        self.enter(Phase::Preparing(preparing), now);
        self.complete_join_if_ready(now);
    }

    /// Ends the wait early if nobody is missing.
    pub(super) fn complete_join_if_ready(&mut self, now: Now) {
        let Phase::Preparing(Preparing { initial: None, .. }) = self.phase else { return };
        if self.pending.is_empty() && self.members.joined() == self.members.len() {
            self.complete_join(now);
        }
    }

    pub(super) fn expire_join(&mut self, now: Now) {
        let Phase::Preparing(preparing) = &mut self.phase else { return };
        if now.monotonic < preparing.deadline {
            return;
        }
        match &mut preparing.initial {
            Some(initial) if initial.prolonged && !initial.rest.is_zero() => {
                let delay = initial.delay.min(initial.rest);
                // What is taken off is the wait that just ended, as Kafka does.
                let rest = initial.rest.saturating_sub(initial.delay);
                *initial = InitialDelay { delay, rest, prolonged: false };
                preparing.deadline = now.monotonic + delay;
            }
            _ => self.complete_join(now),
        }
    }

    /// Begins the next generation with those that have joined, and static members that may be back
    /// any time.
    fn complete_join(&mut self, now: Now) {
        let missing = self.members.iter().filter(|member| member.joining.is_none() && !member.is_static());
        for id in missing.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.members.remove(&id);
        }
        if !self.members.elect_joined_leader() && !self.members.is_empty() {
            let wait = self.members.rebalance_timeout().max(RETRY_MIN);
            self.phase = Phase::Preparing(Preparing { deadline: now.monotonic + wait, initial: None });
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        self.protocol = self.members.select_protocol();
        self.learn_subscription();
        if self.members.is_empty() {
            self.enter(Phase::Empty, now);
            self.store(Purpose::Emptied);
            return;
        }
        self.enter(Phase::Completing, now);
        for id in self.members.ids() {
            let joined = self.joined(&id, true);
            if let Some(member) = self.members.get_mut(&id) {
                member.seen = now.monotonic;
                member.is_new = false;
                if let Some(ticket) = member.joining.take() {
                    self.effects.push(Effect::Joined(ticket, Ok(joined)));
                }
            }
            self.unsynced.insert(id);
        }
        self.sync_deadline = Some(now.monotonic + self.members.rebalance_timeout());
    }

    /// Takes all assignments back and refuses those that wait for theirs.
    pub(super) fn refuse_syncs(&mut self, error: GroupError, now: Now) {
        for id in self.members.ids() {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = Bytes::new();
            }
            self.answer_sync(&id, Err(error), now);
        }
    }
}
