//! `roundrobin`: the partitions of all topics in turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assigned, Member, in_turn, java_order, nothing_for};
use crate::ids::TopicPartition;

pub(super) fn assign(members: &[Member], counts: &BTreeMap<Arc<str>, i32>) -> Assigned {
    let mut assigned = nothing_for(members);
    let members = in_turn(members);
    let mut topics: Vec<(&Arc<str>, &i32)> = counts.iter().collect();
    topics.sort_by(|(a, _), (b, _)| java_order(a, b));
    let mut next = 0;
    for (topic, count) in topics {
        for partition in 0..*count {
            let turn = members.iter().cycle().skip(next).take(members.len());
            let taker = turn.enumerate().find(|(_, member)| member.subscription.topics.contains(topic));
            // Nobody reads this topic: it takes no turn.
            let Some((passed_over, member)) = taker else { break };
            next = (next + passed_over + 1) % members.len();
            if let Some(partitions) = assigned.get_mut(&member.id) {
                partitions.insert(TopicPartition::new(topic.clone(), partition));
            }
        }
    }
    assigned
}
