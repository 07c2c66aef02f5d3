//! Whether a request may be carried out, as far as the group decides that.

use std::collections::BTreeSet;
use std::sync::Arc;

use client::wire::Str;

use super::{Group, GroupError, Phase};
use crate::clock::Now;
use crate::offsets::Retention;

/// Who commits offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// Empty if it does not say.
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    /// Negative outside of group management.
    pub generation: i32,
}

/// How offsets are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    Plain,
    /// By TxnOffsetCommit; producers need not be members.
    Transactional,
}

impl Group {
    /// Whether offsets may be committed now; if so the member's session is renewed.
    pub fn check_commit(&mut self, who: Identity<'_>, commit: Commit, now: Now) -> Result<(), GroupError> {
        match self.phase {
            Phase::Dead => return Err(GroupError::Dead),
            // An administrator, or a consumer that assigns its partitions itself.
            Phase::Empty if who.generation < 0 => return Ok(()),
            Phase::Empty | Phase::Preparing(_) | Phase::Completing | Phase::Stable => {}
        }
        if who.generation >= 0 || !who.member_id.is_empty() || who.instance_id.is_some() {
            let is_unchecked = crate::mutants::lacks("commit-generation");
            let generation = if is_unchecked { self.generation } else { who.generation };
            self.check_generation(who.member_id, who.instance_id, generation)?;
        } else if commit == Commit::Plain {
            return Err(GroupError::UnknownMember);
        }
        if self.phase == Phase::Completing && commit == Commit::Plain {
            return Err(GroupError::Rebalancing);
        }
        self.renew(who.member_id, now);
        Ok(())
    }

    /// Whether offsets of some topics may be deleted: those of an empty group, and those that no
    /// member of a consumer group reads. The outcome by topic is [`Group::reads`].
    pub fn check_offset_delete(&self) -> Result<(), GroupError> {
        match self.phase {
            Phase::Dead => Err(GroupError::Dead),
            Phase::Empty => Ok(()),
            Phase::Preparing(_) | Phase::Completing | Phase::Stable if self.is_consumers() => Ok(()),
            Phase::Preparing(_) | Phase::Completing | Phase::Stable => Err(GroupError::NotEmpty),
        }
    }

    /// Deletes the group if it is empty: it is dead from here on.
    pub fn delete(&mut self, now: Now) -> Result<(), GroupError> {
        match self.phase {
            Phase::Dead => Err(GroupError::Dead),
            Phase::Preparing(_) | Phase::Completing | Phase::Stable => Err(GroupError::NotEmpty),
            Phase::Empty => {
                self.pending.clear();
                self.enter(Phase::Dead, now);
                Ok(())
            }
        }
    }

    /// The group was not deleted after all: it is empty as before.
    pub fn revive(&mut self, now: Now) {
        if self.phase == Phase::Dead {
            self.enter(Phase::Empty, now);
        }
    }

    /// What the retention of the group's offsets counts from (`GroupMetadata.removeExpiredOffsets`).
    pub fn retention(&self) -> Retention {
        match (&self.protocol_type, self.phase, &self.subscribed) {
            (None, _, _) => Retention::SinceCommit { subscribed: BTreeSet::new() },
            (Some(_), Phase::Empty, _) => {
                Retention::SinceEmpty { since_ms: self.state_since_ms.unwrap_or(-1) }
            }
            (Some(_), Phase::Stable, Some(topics)) if self.is_consumers() => Retention::SinceCommit {
                subscribed: topics.iter().map(|topic| Arc::from(&**topic)).collect(),
            },
            (Some(_), _, _) => Retention::Keep,
        }
    }

    /// Whether nothing but offsets keeps the group: nobody is in it or about to join.
    pub fn is_abandoned(&self) -> bool {
        self.phase == Phase::Empty && self.pending.is_empty()
    }

    /// That the member is one, under this instance id if it gives one.
    pub(super) fn check_member(&self, id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        match instance_id {
            Some(instance) => match self.members.of_instance(instance) {
                None => Err(GroupError::UnknownMember),
                Some(current) if current != id => Err(GroupError::FencedInstance),
                Some(_) => Ok(()),
            },
            None if self.members.get(id).is_some() => Ok(()),
            None => Err(GroupError::UnknownMember),
        }
    }

    /// That the member takes part in the present generation.
    pub(super) fn check_generation(
        &self,
        id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        if self.phase == Phase::Dead {
            return Err(GroupError::Dead);
        }
        self.check_member(id, instance_id)?;
        if generation == self.generation { Ok(()) } else { Err(GroupError::IllegalGeneration) }
    }

    pub(super) fn is_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether a member may be reading `topic`; if the members do not say, they may.
    pub fn reads(&self, topic: &str) -> bool {
        let subscribes = || self.subscribed.as_ref().is_none_or(|topics| topics.contains(&Str::from(topic)));
        self.phase != Phase::Empty && subscribes()
    }
}

/// The protocol type of consumers, whose metadata is known (`ConsumerProtocolSubscription`).
const CONSUMER: &str = "consumer";
