//! SyncGroup, and Heartbeat.

use std::collections::BTreeMap;

use bytes::Bytes;
use client::wire::Str;

use super::store::Purpose;
use super::{Effect, Group, GroupError, Phase, Ticket};
use crate::clock::Now;

/// A member asks for its assignment; the leader says everyone's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    pub generation: i32,
    pub member_id: Str,
    pub instance_id: Option<Str>,
    /// What the member thinks the group's are (KIP-559; version 5). `None` where it does not say.
    pub protocol_type: Option<Str>,
    pub protocol: Option<Str>,
    /// By member id; empty but for the leader.
    pub assignments: BTreeMap<Str, Bytes>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: Option<Str>,
    pub protocol: Option<Str>,
    pub assignment: Bytes,
}

pub type SyncAnswer = Result<Synced, GroupError>;

impl Group {
    pub fn sync(&mut self, sync: Sync, ticket: Ticket, now: Now) -> Vec<Effect> {
        if let Err(error) = self.try_sync(sync, ticket, now) {
            self.effects.push(Effect::Synced(ticket, Err(error)));
        }
        self.take_effects()
    }

    fn try_sync(&mut self, sync: Sync, ticket: Ticket, now: Now) -> Result<(), GroupError> {
        let id = &sync.member_id;
        self.check_generation(id, sync.instance_id.as_deref(), sync.generation)?;
        let differs = |said: &Option<Str>, ours: &Option<Str>| said.is_some() && said != ours;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMember),
            Phase::Dead => Err(GroupError::Dead),
            Phase::Preparing(_) => Err(GroupError::Rebalancing),
            Phase::Completing => {
                self.has_synced(id);
                // A request that the client has given up, most likely with its connection.
                self.answer_sync(id, Err(GroupError::Rebalancing), now);
                if let Some(member) = self.members.get_mut(id) {
                    member.syncing = Some(ticket);
                }
                if self.members.is_leader(id) {
                    if self.is_of_another_generation(&sync) {
                        self.rebalance(now);
                        return Ok(());
                    }
                    let mut said = sync.assignments;
                    let of = |id: Str| {
                        let assignment = said.remove(&id).unwrap_or_default();
                        (id, assignment)
                    };
                    let assignments = self.members.ids().into_iter().map(of).collect();
                    self.store(Purpose::Assigned { generation: self.generation, assignments });
                }
                Ok(())
            }
            Phase::Stable => {
                self.has_synced(id);
                let synced = self.synced(id);
                if let Some(member) = self.members.get_mut(id) {
                    member.seen = now.monotonic;
                }
                self.effects.push(Effect::Synced(ticket, Ok(synced)));
                Ok(())
            }
        }
    }

    /// Whether the leader divided among others than the members: it was told of them by a coordinator of before, which
    /// still counts generations and reached the same number. Whatever it gave to those would be nobody's until the next
    /// rebalance. Kafka's coordinators take such an assignment for the members'; so does this one the second time in a
    /// row, since the leader may always do so.
    fn is_of_another_generation(&mut self, sync: &Sync) -> bool {
        let is_second = self.misassigned == Some(self.generation.wrapping_sub(1));
        let is_given_up = !is_second && sync.assignments.keys().any(|id| self.members.get(id).is_none());
        if is_given_up {
            self.misassigned = Some(self.generation);
        }
        is_given_up
    }

    /// A sign of life. An error may be one that leaves the member in the group: that it has to
    /// join again.
    pub fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Now,
    ) -> Result<(), GroupError> {
        self.check_generation(member_id, instance_id, generation)?;
        let outcome = match self.phase {
            Phase::Empty => return Err(GroupError::UnknownMember),
            Phase::Dead => return Err(GroupError::Dead),
            Phase::Preparing(_) => Err(GroupError::Rebalancing),
            Phase::Completing | Phase::Stable => Ok(()),
        };
        self.renew(member_id, now);
        outcome
    }

    /// The assignment is in the log: the generation is complete.
    pub(super) fn assigned(&mut self, assignments: BTreeMap<Str, Bytes>, now: Now) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        for id in self.members.ids() {
            let synced = self.synced(&id);
            self.answer_sync(&id, Ok(synced), now);
        }
        self.enter(Phase::Stable, now);
    }

    /// The assignment is not in the log: nobody gets it, and there is another try.
    pub(super) fn not_assigned(&mut self, error: GroupError, now: Now) {
        self.refuse_syncs(error, now);
        self.rebalance(now);
    }

    /// Removes those that joined the generation and never asked for their assignment.
    pub(super) fn expire_unsynced(&mut self, now: Now) {
        if self.sync_deadline.is_none_or(|deadline| now.monotonic < deadline) {
            return;
        }
        self.sync_deadline = None;
        for id in std::mem::take(&mut self.unsynced) {
            self.drop_member(&id, now);
        }
        self.rebalance(now);
    }

    pub(super) fn renew(&mut self, member_id: &str, now: Now) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.seen = now.monotonic;
        }
    }

    fn has_synced(&mut self, id: &str) {
        self.unsynced.remove(id);
        if self.unsynced.is_empty() {
            self.sync_deadline = None;
        }
    }

    fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }
}
