//! How a group goes on at a new coordinator: from its last record.

use client::wire::Str;

use super::member::Member;
use super::record::GroupMetadataValue;
use super::{Effect, Group, Limits, Phase};
use crate::clock::Now;

impl Group {
    /// The group as its record describes it: stable, or empty if it has no members.
    pub fn load(id: Str, value: GroupMetadataValue, limits: Limits, now: Now) -> Group {
        let mut group = Group::new(id, limits, now);
        group.state_since_ms = Some(value.current_state_timestamp).filter(|time| *time != -1);
        group.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty());
        group.generation = value.generation;
        group.phase = if value.members.is_empty() { Phase::Empty } else { Phase::Stable };
        let protocol = value.protocol.clone().unwrap_or_default();
        for member in value.members {
            group.members.add(Member::loaded(member, &protocol, now.monotonic));
        }
        group.members.set_leader(value.leader);
        group.protocol = value.protocol;
        group.learn_subscription();
        group
    }

    /// Begins to coordinate a loaded group: its members' sessions start now. If there are more than
    /// allowed they all join again, and some will be refused.
    pub fn resume(&mut self, now: Now) -> Vec<Effect> {
        for member in self.members.iter_mut() {
            member.seen = now.monotonic;
        }
        if self.members.len() > self.limits.size_max {
            self.rebalance(now);
        }
        self.take_effects()
    }

    /// When the group became empty, in milliseconds since 1970, if it is and that is known.
    pub fn empty_since_ms(&self) -> Option<i64> {
        self.state_since_ms.filter(|_| self.phase == Phase::Empty)
    }
}
