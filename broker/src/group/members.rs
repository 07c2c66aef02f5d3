//! The members of a group, and what they have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use client::wire::Str;

use super::member::{Member, Protocol};

/// Members by their ids, static ones by their instance ids too.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<Str, Member>,
    /// Instance id to member id.
    instances: BTreeMap<Str, Str>,
    /// The one that decides who gets what; there is one whenever there are members.
    leader: Option<Str>,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.by_id.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.by_id.values_mut()
    }

    pub(super) fn ids(&self) -> Vec<Str> {
        self.by_id.keys().cloned().collect()
    }

    /// The member id that a static member has now.
    pub(super) fn of_instance(&self, instance_id: &str) -> Option<&Str> {
        self.instances.get(instance_id)
    }

    pub(super) fn leader(&self) -> Option<&Str> {
        self.leader.as_ref()
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// As a record says it. One that is no member does not lead.
    pub(super) fn set_leader(&mut self, id: Option<Str>) {
        self.leader = id.filter(|id| self.by_id.contains_key(id));
        if self.leader.is_none() {
            self.leader = self.by_id.keys().next().cloned();
        }
    }

    /// The first member leads.
    pub(super) fn add(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.by_id.insert(member.id.clone(), member);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.by_id.remove(id)?;
        if let Some(instance) = &member.instance_id {
            self.instances.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.by_id.keys().next().cloned();
        }
        Some(member)
    }

    /// Gives a member another id, and the lead with it.
    pub(super) fn rename(&mut self, id: &str, new_id: &Str) {
        let Some(mut member) = self.by_id.remove(id) else { return };
        member.id = new_id.clone();
        if let Some(instance) = &member.instance_id {
            self.instances.insert(instance.clone(), new_id.clone());
        }
        if self.is_leader(id) {
            self.leader = Some(new_id.clone());
        }
        self.by_id.insert(new_id.clone(), member);
    }

    /// Sees to it that the leader is among those that have joined. False if nobody has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |member: &&Member| member.joining.is_some();
        if self.leader.as_ref().and_then(|id| self.by_id.get(id)).as_ref().is_some_and(has_joined) {
            return true;
        }
        let Some(joined) = self.by_id.values().find(has_joined) else { return false };
        self.leader = Some(joined.id.clone());
        true
    }

    pub(super) fn joined(&self) -> usize {
        self.by_id.values().filter(|member| member.joining.is_some()).count()
    }

    /// The longest that any member asked for.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.by_id.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Whether all members know one of these protocols.
    pub(super) fn all_support_one_of(&self, protocols: &[Protocol]) -> bool {
        protocols.iter().any(|asked| self.by_id.values().all(|member| member.supports(&asked.name)))
    }

    /// The protocol that most members would take first, of those that all know; of several the
    /// first by name. `None` only without members.
    pub(super) fn select_protocol(&self) -> Option<Str> {
        let mut common: Option<BTreeSet<&Str>> = None;
        for member in self.by_id.values() {
            let own: BTreeSet<&Str> = member.protocols.iter().map(|own| &own.name).collect();
            common = Some(match common {
                None => own,
                Some(common) => common.intersection(&own).copied().collect(),
            });
        }
        let common = common?;
        let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
        for member in self.by_id.values() {
            if let Some(first) = member.protocols.iter().find(|own| common.contains(&own.name)) {
                *votes.entry(&first.name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }
}
