//! What must hold of committed offsets.

use super::facts::{CommitEvent, Facts};
use crate::checker::Finding;

/// An offset that was read is not below what had been acknowledged, or read by somebody else,
/// before the question was asked.
pub(super) fn never_back(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("committed offsets never go back");
    for ((group, partition), commits) in &facts.commits {
        // Known at a time: the greatest offset whose answer had come by then.
        let mut known: Vec<(u64, i64)> = Vec::new();
        for commit in commits {
            let (at_us, offset) = match *commit {
                CommitEvent::Acknowledged { at_us, offset } => (at_us, offset),
                CommitEvent::Read { asked_us, at_us, offset } => {
                    let before = known.partition_point(|(at_us, _)| *at_us < asked_us);
                    let floor = before.checked_sub(1).and_then(|index| known.get(index));
                    let floor = floor.map_or(-1, |(_, offset)| *offset);
                    finding.check(offset >= floor, || {
                        format!("group {group}, partition {partition}: {offset} at {at_us} µs, after {floor}")
                    });
                    (at_us, offset)
                }
            };
            let greatest = known.last().map_or(-1, |(_, offset)| *offset);
            known.push((at_us, greatest.max(offset)));
        }
    }
    finding
}
