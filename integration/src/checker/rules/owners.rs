//! What must hold of a group's members.

use super::facts::Facts;
use crate::checker::Finding;

pub(super) fn one_a_partition(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("a partition has one owner in a generation of its group");
    for ((group, generation, partition), consumers) in &facts.owners {
        finding.check(consumers.len() == 1, || {
            format!("group {group}, generation {generation}, partition {partition}: consumers {consumers:?}")
        });
    }
    finding
}
