//! What must hold of the records of a topic, produced with acks=all and idempotence.

use std::collections::{HashMap, HashSet};

use super::facts::{Facts, Place};
use crate::checker::Finding;

/// What was acknowledged is stored.
pub(super) fn none_lost(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("no acknowledged record is lost");
    let stored: HashSet<u64> = facts.stored.values().copied().collect();
    for (record, Place { partition, offset }) in &facts.acknowledged {
        finding.check(stored.contains(record), || {
            format!("record {record}, acknowledged at offset {offset} of partition {partition}, is nowhere")
        });
    }
    finding
}

/// A record is stored once, however often the producer had to send it.
pub(super) fn none_twice(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("no record is stored twice");
    for (record, places) in facts.places() {
        finding.check(places.len() == 1, || format!("record {record} is stored at {places:?}"));
    }
    finding
}

pub(super) fn none_invented(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("no record is stored that nobody sent");
    for (place, record) in &facts.stored {
        finding.check(facts.sent.contains_key(record), || format!("record {record} at {place:?}"));
    }
    finding
}

/// Whoever saw an offset (by an acknowledgement, by reading during the run or after it) saw the same record.
pub(super) fn one_at_each_offset(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("an offset is one record's, whoever looks and whenever");
    let mut seen: HashMap<Place, u64> =
        facts.stored.iter().map(|(place, record)| (*place, *record)).collect();
    let polled = facts.stretches.iter().flat_map(|((_, partition), stretches)| {
        let all = stretches.iter().flat_map(|stretch| &stretch.polled);
        all.map(|(offset, record)| (*record, Place { partition: *partition, offset: *offset }))
    });
    // An acknowledgement without an offset (−1: a duplicate whose offset the leader no longer knew) says nothing.
    let acknowledged = facts.acknowledged.iter().copied().filter(|(_, place)| place.offset >= 0);
    let again = facts.stored_again.iter().map(|(place, record)| (*record, *place));
    for (record, place) in acknowledged.chain(polled).chain(again) {
        let first = *seen.entry(place).or_insert(record);
        finding.check(first == record, || format!("{place:?} was record {first} and record {record}"));
    }
    finding
}

/// Producers number their records in the order of sending.
pub(super) fn in_their_producers_order(facts: &Facts<'_>) -> Finding {
    let mut finding = Finding::of("records of a producer keep their order in a partition");
    let mut last: HashMap<(u32, i32), u64> = HashMap::new();
    for (place, record) in &facts.stored {
        let Some(producer) = facts.sent.get(record) else { continue };
        let before = last.insert((*producer, place.partition), *record);
        // A record that is stored twice breaks another rule.
        finding.check(before.is_none_or(|before| before <= *record), || {
            format!("producer {producer}: record {record} at {place:?} follows record {before:?}")
        });
    }
    finding
}
