//! `sticky` and `cooperative-sticky`: balanced first, and then as few moves as possible (KIP-54, KIP-429).
//!
//! Members keep what they rightly claim. What nobody has goes to the least loaded of its subscribers. Then
//! partitions move along chains of members, from one that has at least two more than the chain's last, until
//! no such chain is left. Then no division of these partitions is more even.

mod claims;
mod shares;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Assigned, Member, in_turn, nothing_for};
use crate::ids::TopicPartition;
pub(super) use claims::Claims;
use shares::Shares;

pub(super) fn assign(members: &[Member], counts: &BTreeMap<Arc<str>, i32>, claims: Claims) -> Assigned {
    let members_in_turn = in_turn(members);
    let mut shares = Shares::new(&members_in_turn, counts);
    for (partition, owner) in claims.rightful(&members_in_turn) {
        shares.keep(&partition, owner);
    }
    shares.give_out_the_rest();
    shares.even_out();
    let mut assigned = nothing_for(members);
    for (member, partitions) in members_in_turn.iter().zip(shares.into_partitions()) {
        assigned.insert(member.id.clone(), partitions);
    }
    assigned
}

/// What moves is left out: its present owner gives it up on learning its assignment and joins again, and in
/// that round it is free.
pub(super) fn assign_cooperatively(members: &[Member], counts: &BTreeMap<Arc<str>, i32>) -> Assigned {
    let mut assigned = assign(members, counts, Claims::OfSubscription);
    let mut owners: BTreeMap<&TopicPartition, BTreeSet<&str>> = BTreeMap::new();
    for member in members {
        for partition in &member.subscription.owned {
            owners.entry(partition).or_default().insert(&member.id);
        }
    }
    for (member, partitions) in &mut assigned {
        partitions.retain(|partition| {
            owners.get(partition).is_none_or(|owners| owners.iter().all(|owner| *owner == &**member))
        });
    }
    assigned
}
