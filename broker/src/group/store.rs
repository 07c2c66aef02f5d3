//! What is to be appended to the log, and what follows when it is there.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use client::wire::{ErrorCode, Str};

use super::member::{Member, Protocol};
use super::record::GroupMetadataValue;
use super::{Effect, Group, GroupError, JoinRefused, Phase};
use crate::clock::Now;

/// Tells a group's appends apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(u64);

/// The group as it is to be found after this coordinator.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    pub id: StoreId,
    pub value: GroupMetadataValue,
}

/// What happens once a record is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The group goes on without members; nobody waits.
    Emptied,
    /// The members get their assignment.
    Assigned { generation: i32, assignments: BTreeMap<Str, Bytes> },
    /// A static member goes on under its new id; or under the old one if the append failed.
    StaticReplaced {
        generation: i32,
        new_id: Str,
        before: StaticBefore,
        leader_before: Str,
        can_skip_assignment: bool,
    },
}

/// A static member before it was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StaticBefore {
    id: Str,
    protocols: Vec<Protocol>,
    rebalance_timeout: Duration,
    session_timeout: Duration,
}

impl StaticBefore {
    pub(super) fn of(member: &Member) -> StaticBefore {
        StaticBefore {
            id: member.id.clone(),
            protocols: member.protocols.clone(),
            rebalance_timeout: member.rebalance_timeout,
            session_timeout: member.session_timeout,
        }
    }
}

impl Group {
    pub(super) fn store(&mut self, purpose: Purpose) {
        let id = StoreId(self.next_store);
        self.next_store += 1;
        let value = match &purpose {
            Purpose::Assigned { assignments, .. } => {
                self.value(|member| assignments.get(&member.id).cloned().unwrap_or_default())
            }
            Purpose::Emptied | Purpose::StaticReplaced { .. } => {
                self.value(|member| member.assignment.clone())
            }
        };
        self.stores.insert(id, purpose);
        self.effects.push(Effect::Store(Store { id, value }));
    }

    fn value(&self, assignment: impl Fn(&Member) -> Bytes) -> GroupMetadataValue {
        let protocol = self.protocol.clone().unwrap_or_default();
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.members.leader().cloned(),
            current_state_timestamp: self.state_since_ms.unwrap_or(-1),
            members: self.members.iter().map(|member| member.stored(&protocol, assignment(member))).collect(),
        }
    }

    /// What became of a [`Store`].
    pub fn stored(&mut self, id: StoreId, outcome: Result<(), ErrorCode>, now: Now) -> Vec<Effect> {
        let outcome = outcome.map_err(|code| GroupError::NotStored { code });
        match self.stores.remove(&id) {
            None | Some(Purpose::Emptied) => {}
            Some(Purpose::Assigned { generation, assignments }) => {
                // Else somebody joined or left meanwhile, and a rebalance is under way.
                if self.phase == Phase::Completing && generation == self.generation {
                    match outcome {
                        Ok(()) => self.assigned(assignments, now),
                        Err(error) => self.not_assigned(error, now),
                    }
                }
            }
            // It was told its new id meanwhile, as a member of the next generation.
            Some(Purpose::StaticReplaced { generation, .. }) if generation != self.generation => {}
            Some(Purpose::StaticReplaced { new_id, before, leader_before, can_skip_assignment, .. }) => {
                match outcome {
                    Ok(()) => self.static_replaced(&new_id, leader_before, can_skip_assignment, now),
                    Err(error) => self.restore_static(&new_id, before, error, now),
                }
            }
        }
        self.take_effects()
    }

    fn static_replaced(&mut self, id: &Str, leader_before: Str, can_skip_assignment: bool, now: Now) {
        let mut joined = self.joined(id, can_skip_assignment);
        if can_skip_assignment {
            joined.skip_assignment = self.members.is_leader(id);
        } else {
            // A leader that does not know of skipping would assign if it saw that it leads.
            joined.leader = leader_before;
        }
        if let Some(member) = self.members.get_mut(id)
            && let Some(ticket) = member.joining.take()
        {
            member.seen = now.monotonic;
            self.effects.push(Effect::Joined(ticket, Ok(joined)));
        }
    }

    fn restore_static(&mut self, id: &Str, before: StaticBefore, error: GroupError, now: Now) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols = before.protocols;
        member.rebalance_timeout = before.rebalance_timeout;
        member.session_timeout = before.session_timeout;
        member.seen = now.monotonic;
        if let Some(ticket) = member.joining.take() {
            let refused = JoinRefused { error, member_id: Str::new() };
            self.effects.push(Effect::Joined(ticket, Err(refused)));
        }
        self.members.rename(id, &before.id);
        if self.unsynced.remove(id) {
            self.unsynced.insert(before.id);
        }
    }
}
