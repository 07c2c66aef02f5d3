//! Who may say that a partition is its own.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Member, protocol};
use crate::ids::TopicPartition;

/// Where members tell what they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Claims {
    /// `sticky`: they had it, and gave it up to join.
    OfUserData,
    /// `cooperative-sticky`: they have it.
    OfSubscription,
}

/// A claim of a member that told no generation is weaker than any other.
const NO_GENERATION: i32 = -1;

impl Claims {
    /// Each partition with the position in `members` of its owner: who claims it since the latest
    /// generation. Two claims since the same one cannot both be true, and neither counts.
    pub(super) fn rightful(self, members: &[&Member]) -> BTreeMap<TopicPartition, usize> {
        let mut claims: BTreeMap<TopicPartition, (i32, Option<usize>)> = BTreeMap::new();
        for (at, member) in members.iter().enumerate() {
            let (owned, generation) = self.of(member);
            let generation = generation.unwrap_or(NO_GENERATION);
            for partition in owned {
                let claim = claims.entry(partition).or_insert((generation, Some(at)));
                match claim.0.cmp(&generation) {
                    std::cmp::Ordering::Less => *claim = (generation, Some(at)),
                    std::cmp::Ordering::Equal if claim.1 != Some(at) => claim.1 = None,
                    _ => {}
                }
            }
        }
        claims.into_iter().filter_map(|(partition, (_, owner))| Some((partition, owner?))).collect()
    }

    fn of(self, member: &Member) -> (BTreeSet<TopicPartition>, Option<i32>) {
        let subscription = &member.subscription;
        let user_data = subscription.user_data.as_ref();
        match self {
            Claims::OfUserData => user_data.map(protocol::read_sticky_user_data).unwrap_or_default(),
            Claims::OfSubscription => {
                let told = || user_data.and_then(protocol::read_cooperative_user_data);
                (subscription.owned.clone(), subscription.generation.or_else(told))
            }
        }
    }
}
