//! What must hold of what consumers are given.

use std::collections::HashSet;

use super::facts::{Facts, Place};
use crate::checker::Finding;

/// While a consumer keeps a partition it gets it forward, nothing twice.
pub(super) fn forward(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("a consumer reads a partition forward");
    for ((group, partition), stretches) in &facts.stretches {
        for stretch in stretches {
            for pair in stretch.polled.windows(2) {
                let [(before, _), (after, _)] = pair else { continue };
                finding.check(before < after, || {
                    let consumer = stretch.consumer;
                    format!(
                        "group {group}, consumer {consumer}, partition {partition}: {after} after {before}"
                    )
                });
            }
        }
    }
    finding
}

/// Between two records that a consumer got one after the other nothing is stored.
pub(super) fn none_skipped(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("a consumer that keeps a partition skips no record");
    for ((group, partition), stretches) in &facts.stretches {
        for stretch in stretches {
            for pair in stretch.polled.windows(2) {
                let [(before, _), (after, _)] = pair else { continue };
                if before >= after {
                    continue;
                }
                let place = |offset| Place { partition: *partition, offset };
                let skipped = facts.stored.range(place(before + 1)..place(*after)).next();
                finding.check(skipped.is_none(), || {
                    let consumer = stretch.consumer;
                    format!(
                        "group {group}, consumer {consumer}, partition {partition}: {after} after {before}, \
                         over the stored {skipped:?}"
                    )
                });
            }
        }
    }
    finding
}

/// Each group that takes part got each record at least once, one that never read any included. Consumers are to read
/// until they meet the ends, in time.
pub(super) fn all_seen(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("every group gets every stored record");
    for (group, partition, next, end) in &facts.behind {
        finding.check(false, || {
            format!("group {group} stood at {next} of partition {partition} when its time was over: it ends at {end}")
        });
    }
    for group in &facts.groups {
        let stretches = facts.stretches.iter().filter(|((of, _), _)| of == group);
        let seen: HashSet<Place> = stretches
            .flat_map(|((_, partition), stretches)| {
                let polled = stretches.iter().flat_map(|stretch| &stretch.polled);
                polled.map(|(offset, _)| Place { partition: *partition, offset: *offset })
            })
            .collect();
        for (place, record) in &facts.stored {
            finding.check(seen.contains(place), || {
                format!("group {group} never got record {record} at {place:?}")
            });
        }
    }
    finding
}
