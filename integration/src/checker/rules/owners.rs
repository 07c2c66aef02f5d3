//! What must hold of a group's members.

use super::facts::Facts;
use crate::checker::Finding;

/// Limit: librdkafka does not tell generations through its safe interface, and that a member believed it owned a
/// partition for a while after another got it is no fault, since one that is cut off hears of it late. So only groups
/// of our own consumer are judged.
pub(super) fn one_a_partition(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("a partition has one owner in a generation of its group");
    for ((group, generation, partition), consumers) in &facts.owners {
        finding.check(consumers.len() == 1, || {
            format!("group {group}, generation {generation}, partition {partition}: consumers {consumers:?}")
        });
    }
    finding
}
