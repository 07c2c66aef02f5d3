//! `range`: contiguous partitions of each topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assigned, Member, in_turn, nothing_for, subscribers};
use crate::ids::TopicPartition;

pub(super) fn assign(members: &[Member], counts: &BTreeMap<Arc<str>, i32>) -> Assigned {
    let mut assigned = nothing_for(members);
    for (topic, subscribers) in subscribers(&in_turn(members), counts) {
        let partitions = counts.get(topic).copied().unwrap_or(0);
        let among = i32::try_from(subscribers.len()).unwrap_or(i32::MAX).max(1);
        let (each, extra) = (partitions / among, partitions % among);
        let mut from = 0;
        for (turn, member) in (0..among).zip(subscribers) {
            let to = from + each + i32::from(turn < extra);
            if let Some(partitions) = assigned.get_mut(&member.id) {
                partitions.extend((from..to).map(|partition| TopicPartition::new(topic.clone(), partition)));
            }
            from = to;
        }
    }
    assigned
}
