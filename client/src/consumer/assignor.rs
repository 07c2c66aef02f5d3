//! Which member of a group reads which partition: Kafka's four assignors, by their names, and the bytes by
//! which members and their leader talk about it. Pure.
//!
//! A group picks a name that all members know, and its leader, whichever client that is, divides the
//! partitions. So members of different clients share a group as long as they share a name.

mod protocol;
mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::TopicPartition;
use crate::wire::Str;
pub use protocol::{Assignment, ProtocolError, Subscription};

/// A way to divide partitions among members (`partition.assignment.strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// Each topic in contiguous ranges, the first members taking one more where it does not divide evenly.
    Range,
    /// All partitions of all topics in turn.
    RoundRobin,
    /// Balanced, moving as few partitions as possible; members give up all they have before they join.
    Sticky,
    /// As [`Sticky`](Assignor::Sticky), but members keep what they have while they join, and a partition
    /// that moves is first given up and then assigned in a second round (KIP-429).
    CooperativeSticky,
}

/// How a member treats what it has when the group rebalances (KIP-429).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RebalanceProtocol {
    /// It gives up everything before it joins.
    Eager,
    /// It gives up only what the new assignment has not, and joins again if there was any of it.
    Cooperative,
}

/// A member as the leader of its group sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: Str,
    /// `group.instance.id`: the member is known by this name over restarts (KIP-345).
    pub instance_id: Option<Str>,
    pub subscription: Subscription,
}

/// What each member is given, by member id; there is an entry for each of them.
pub type Assigned = BTreeMap<Str, BTreeSet<TopicPartition>>;

/// No assignor of this name is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no assignor: partition.assignment.strategy takes range, roundrobin, sticky and \
     cooperative-sticky, or the names of Kafka's classes for them"
)]
pub struct UnknownAssignor {
    pub name: String,
}

impl Assignor {
    /// Its name in a group's protocol.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Sticky => "sticky",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether members that use it may keep what they have while they join.
    pub fn is_cooperative(self) -> bool {
        self == Assignor::CooperativeSticky
    }

    /// How a member with these assignors behaves: cooperatively only if all of them can.
    pub fn common_protocol(assignors: &[Assignor]) -> RebalanceProtocol {
        match !assignors.is_empty() && assignors.iter().all(|assignor| assignor.is_cooperative()) {
            true => RebalanceProtocol::Cooperative,
            false => RebalanceProtocol::Eager,
        }
    }

    /// Divides the partitions of the topics in `counts` among `members`, each of which gets only what it
    /// subscribed to. Topics without an entry in `counts` are passed over.
    ///
    /// Racks are not looked at (KIP-881): a partition's closest reader is not preferred.
    pub fn assign(self, members: &[Member], counts: &BTreeMap<Arc<str>, i32>) -> Assigned {
        match self {
            Assignor::Range => range::assign(members, counts),
            Assignor::RoundRobin => round_robin::assign(members, counts),
            Assignor::Sticky => sticky::assign(members, counts, sticky::Claims::OfUserData),
            Assignor::CooperativeSticky => sticky::assign_cooperatively(members, counts),
        }
    }

    /// What a member tells with its subscription beside its topics.
    pub fn user_data(self, owned: &BTreeSet<TopicPartition>, generation: i32) -> Option<Bytes> {
        match self {
            Assignor::Range | Assignor::RoundRobin => None,
            Assignor::Sticky => protocol::sticky_user_data(owned, generation),
            Assignor::CooperativeSticky => Some(protocol::cooperative_user_data(generation)),
        }
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads Kafka's name, or that of its class, with or without the package.
impl FromStr for Assignor {
    type Err = UnknownAssignor;

    fn from_str(name: &str) -> Result<Assignor, UnknownAssignor> {
        match name.trim().trim_start_matches("org.apache.kafka.clients.consumer.") {
            "range" | "RangeAssignor" => Ok(Assignor::Range),
            "roundrobin" | "RoundRobinAssignor" => Ok(Assignor::RoundRobin),
            "sticky" | "StickyAssignor" => Ok(Assignor::Sticky),
            "cooperative-sticky" | "CooperativeStickyAssignor" => Ok(Assignor::CooperativeSticky),
            other => Err(UnknownAssignor { name: other.to_owned() }),
        }
    }
}

/// Members in the order in which they take their turn: those with an instance id by it, then the others by
/// member id, so that a static member keeps its place under a new member id.
fn in_turn(members: &[Member]) -> Vec<&Member> {
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_by(|a, b| match (&a.instance_id, &b.instance_id) {
        (Some(a), Some(b)) => java_order(a, b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => java_order(&a.id, &b.id),
    });
    members
}

/// Strings as Java orders them: by UTF-16 unit.
fn java_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// An entry for each member, with nothing in it.
fn nothing_for(members: &[Member]) -> Assigned {
    members.iter().map(|member| (member.id.clone(), BTreeSet::new())).collect()
}

/// Who subscribed to each topic that has partitions.
fn subscribers<'a>(
    members: &[&'a Member],
    counts: &'a BTreeMap<Arc<str>, i32>,
) -> BTreeMap<&'a Arc<str>, Vec<&'a Member>> {
    let mut topics: BTreeMap<&Arc<str>, Vec<&Member>> = BTreeMap::new();
    for member in members {
        for topic in &member.subscription.topics {
            if let Some((topic, _)) = counts.get_key_value(topic).filter(|(_, count)| **count > 0) {
                topics.entry(topic).or_default().push(member);
            }
        }
    }
    topics
}
