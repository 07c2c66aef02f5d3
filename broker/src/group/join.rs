//! JoinGroup.

use std::time::Duration;

use bytes::Bytes;
use client::wire::Str;

use super::member::Member;
use super::store::{Purpose, StaticBefore};
use super::{Effect, Group, GroupError, PENDING_MAX, Phase, Protocol, Ticket};
use crate::clock::Now;

/// A request to be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Empty for one that has no id yet.
    pub member_id: Str,
    /// Of a static member (KIP-345).
    pub instance_id: Option<Str>,
    /// The id to be given if it has none: never used before.
    pub new_member_id: Str,
    /// Whether a new dynamic member has to come back by the id it is given (KIP-394; version 4).
    pub must_know_id: bool,
    /// Whether a static leader that comes back can be told not to assign (KIP-814; version 9).
    pub can_skip_assignment: bool,
    pub client_id: Str,
    pub client_host: Str,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    pub protocol_type: Str,
    /// Most wanted first.
    pub protocols: Vec<Protocol>,
}

/// A member's part in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub member_id: Str,
    pub generation: i32,
    pub protocol_type: Option<Str>,
    pub protocol: Option<Str>,
    pub leader: Str,
    pub skip_assignment: bool,
    /// All members, for the leader that is to assign; else empty.
    pub members: Vec<JoinedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: Str,
    pub instance_id: Option<Str>,
    pub metadata: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRefused {
    pub error: GroupError,
    /// As it was sent, or the one to come back by.
    pub member_id: Str,
}

pub type JoinAnswer = Result<Joined, JoinRefused>;

impl Group {
    /// A member, new or known, asks to take part in the next generation.
    pub fn join(&mut self, join: Join, ticket: Ticket, now: Now) -> Vec<Effect> {
        let member_id = join.member_id.clone();
        if let Err(error) = self.try_join(join, ticket, now) {
            // Who finds the group full keeps no id, as with Kafka.
            let member_id = if error == GroupError::Full { Str::new() } else { member_id };
            self.effects.push(Effect::Joined(ticket, Err(JoinRefused { error, member_id })));
        }
        self.complete_join_if_ready(now);
        self.take_effects()
    }

    fn try_join(&mut self, join: Join, ticket: Ticket, now: Now) -> Result<(), GroupError> {
        if !self.has_room_for(&join.member_id, self.limits.size_max) {
            self.expel(&join.member_id, GroupError::Full, now);
            return Err(GroupError::Full);
        }
        if self.phase == Phase::Dead {
            return Err(GroupError::Dead);
        }
        if !self.goes_with_the_others(&join) {
            return Err(GroupError::InconsistentProtocol);
        }
        if join.member_id.is_empty() {
            self.join_as_new(join, ticket, now)
        } else if self.pending.contains_key(&join.member_id) {
            if join.instance_id.is_some() {
                // Ids are only given to dynamic members to come back by.
                return Err(GroupError::Contradiction);
            }
            let id = join.member_id.clone();
            self.add(id, join, ticket, now);
            Ok(())
        } else {
            self.rejoin(join, ticket, now)
        }
    }

    /// While a rebalance is prepared, who has joined counts; else who is a member.
    fn has_room_for(&self, member_id: &str, size_max: usize) -> bool {
        let member = self.members.get(member_id);
        match self.phase {
            Phase::Empty | Phase::Dead => true,
            Phase::Preparing(_) => {
                member.is_some_and(|member| member.joining.is_some()) || self.members.joined() < size_max
            }
            Phase::Completing | Phase::Stable => member.is_some() || self.members.len() < size_max,
        }
    }

    fn goes_with_the_others(&self, join: &Join) -> bool {
        if self.phase == Phase::Empty {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && self.members.all_support_one_of(&join.protocols)
    }

    fn join_as_new(&mut self, join: Join, ticket: Ticket, now: Now) -> Result<(), GroupError> {
        let id = join.new_member_id.clone();
        if let Some(instance) = &join.instance_id {
            match self.members.of_instance(instance).cloned() {
                Some(known) => self.replace_static(&known, join, ticket, now)?,
                None => self.add(id, join, ticket, now),
            }
        } else if join.must_know_id {
            if self.pending.len() >= PENDING_MAX {
                return Err(GroupError::Full);
            }
            self.pending.insert(id.clone(), now.monotonic + join.session_timeout);
            let refused = JoinRefused { error: GroupError::MemberIdRequired, member_id: id };
            self.effects.push(Effect::Joined(ticket, Err(refused)));
        } else {
            self.add(id, join, ticket, now);
        }
        Ok(())
    }

    /// One that is a member already joins again.
    fn rejoin(&mut self, join: Join, ticket: Ticket, now: Now) -> Result<(), GroupError> {
        let id = join.member_id.clone();
        self.check_member(&id, join.instance_id.as_deref())?;
        let unchanged = self.members.get(&id).is_some_and(|member| member.protocols == join.protocols);
        match self.phase {
            Phase::Completing if unchanged => self.join_present(&id, ticket),
            Phase::Stable if unchanged && !self.members.is_leader(&id) => self.join_present(&id, ticket),
            Phase::Preparing(_) | Phase::Completing | Phase::Stable => {
                self.update(&id, join, ticket);
                self.rebalance(now);
            }
            Phase::Empty | Phase::Dead => return Err(GroupError::UnknownMember),
        }
        Ok(())
    }

    /// Answers with the generation as it is: the answer to an earlier request was lost.
    fn join_present(&mut self, id: &Str, ticket: Ticket) {
        let joined = self.joined(id, self.phase == Phase::Completing);
        self.effects.push(Effect::Joined(ticket, Ok(joined)));
    }

    fn add(&mut self, id: Str, join: Join, ticket: Ticket, now: Now) {
        if let Phase::Preparing(preparing) = &mut self.phase
            && let Some(initial) = &mut preparing.initial
            && self.generation == 0
        {
            initial.prolonged = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        self.pending.remove(&id);
        self.members.add(Member {
            id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout: join.rebalance_timeout,
            session_timeout: join.session_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            joining: Some(ticket),
            syncing: None,
            is_new: true,
            seen: now.monotonic,
        });
        self.rebalance(now);
    }

    fn update(&mut self, id: &str, join: Join, ticket: Ticket) {
        // A request that the client has given up, most likely with its connection.
        self.answer_join(id, GroupError::Rebalancing);
        if let Some(member) = self.members.get_mut(id) {
            member.protocols = join.protocols;
            member.rebalance_timeout = join.rebalance_timeout;
            member.session_timeout = join.session_timeout;
            member.joining = Some(ticket);
        }
    }

    /// A static member is back without its member id: it gets a new one, whoever still uses the old
    /// one is fenced, and if nothing else changes there is no rebalance.
    fn replace_static(
        &mut self,
        old_id: &Str,
        join: Join,
        ticket: Ticket,
        now: Now,
    ) -> Result<(), GroupError> {
        let leader_before = self.members.leader().cloned().unwrap_or_default();
        self.answer_join(old_id, GroupError::FencedInstance);
        self.answer_sync(old_id, Err(GroupError::FencedInstance), now);
        let new_id = join.new_member_id.clone();
        let before = self.members.get(old_id).map(StaticBefore::of).ok_or(GroupError::UnknownMember)?;
        self.members.rename(old_id, &new_id);
        if self.unsynced.remove(old_id) {
            self.unsynced.insert(new_id.clone());
        }
        if let Some(member) = self.members.get_mut(&new_id) {
            member.seen = now.monotonic;
        }
        let can_skip_assignment = join.can_skip_assignment;
        self.update(&new_id, join, ticket);
        match self.phase {
            Phase::Stable if self.members.select_protocol() == self.protocol => {
                let generation = self.generation;
                let purpose = Purpose::StaticReplaced {
                    generation,
                    new_id,
                    before,
                    leader_before,
                    can_skip_assignment,
                };
                self.store(purpose);
            }
            // In the middle of a rebalance the leader may be assigning to the old id.
            Phase::Stable | Phase::Completing => self.rebalance(now),
            Phase::Preparing(_) | Phase::Empty | Phase::Dead => {}
        }
        Ok(())
    }

    /// What a member is told of the present generation.
    pub(super) fn joined(&self, id: &Str, show_members: bool) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_default();
        let members = if show_members && self.members.is_leader(id) {
            let show = |member: &Member| JoinedMember {
                member_id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                metadata: member.metadata(&protocol),
            };
            self.members.iter().map(show).collect()
        } else {
            Vec::new()
        };
        Joined {
            member_id: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.members.leader().cloned().unwrap_or_default(),
            skip_assignment: false,
            members,
        }
    }
}
