//! How members go: by LeaveGroup, or by silence.

use client::wire::Str;

use super::{Effect, Group, GroupError, Phase};
use crate::clock::Now;

/// Who leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// May be empty if the instance id is given: an operator removes a static member.
    pub member_id: Str,
    pub instance_id: Option<Str>,
}

/// One outcome for each, in their order; or an error for the request.
pub type LeaveAnswer = Result<Vec<Result<(), GroupError>>, GroupError>;

impl Group {
    /// Removes members.
    pub fn leave(&mut self, leaving: &[Leaving], now: Now) -> (LeaveAnswer, Vec<Effect>) {
        if self.phase == Phase::Dead {
            return (Err(GroupError::Dead), Vec::new());
        }
        let outcomes = leaving.iter().map(|member| self.leave_one(member, now)).collect();
        (Ok(outcomes), self.take_effects())
    }

    fn leave_one(&mut self, leaving: &Leaving, now: Now) -> Result<(), GroupError> {
        let instance = leaving.instance_id.as_deref();
        let id = match instance.filter(|_| leaving.member_id.is_empty()) {
            Some(instance) => self.members.of_instance(instance).ok_or(GroupError::UnknownMember)?.clone(),
            None => leaving.member_id.clone(),
        };
        if self.pending.contains_key(&id) {
            if instance.is_some() {
                return Err(GroupError::Contradiction);
            }
            self.pending.remove(&id);
            self.complete_join_if_ready(now);
            return Ok(());
        }
        self.check_member(&id, instance)?;
        self.remove(&id, now);
        Ok(())
    }

    pub(super) fn expire_pending(&mut self, now: Now) {
        let before = self.pending.len();
        self.pending.retain(|_, deadline| now.monotonic < *deadline);
        if self.pending.len() < before {
            self.complete_join_if_ready(now);
        }
    }

    pub(super) fn expire_sessions(&mut self, now: Now) {
        let gone: Vec<Str> = self
            .members
            .iter()
            .filter(|member| member.session_deadline().is_some_and(|deadline| deadline <= now.monotonic))
            .map(|member| member.id.clone())
            .collect();
        for id in gone {
            self.remove(&id, now);
        }
    }

    /// Takes a member out, and its work to the others.
    fn remove(&mut self, id: &str, now: Now) {
        self.drop_member(id, now);
        match self.phase {
            Phase::Completing | Phase::Stable => self.rebalance(now),
            Phase::Preparing(_) => self.complete_join_if_ready(now),
            Phase::Empty | Phase::Dead => {}
        }
    }

    /// Takes a member out and tells it so, if it waits.
    pub(super) fn drop_member(&mut self, id: &str, now: Now) {
        self.expel(id, GroupError::UnknownMember, now);
    }

    /// Takes a member out. What waits of it is told `error`.
    pub(super) fn expel(&mut self, id: &str, error: GroupError, now: Now) {
        self.answer_join(id, error);
        self.answer_sync(id, Err(error), now);
        self.members.remove(id);
        self.unsynced.remove(id);
    }
}
