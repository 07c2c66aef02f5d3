//! Who had which partition of a topic when, by what the members of a group say of themselves.

use std::collections::{BTreeMap, BTreeSet};

/// What happened to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Assigned(BTreeSet<i32>),
    Revoked(BTreeSet<i32>),
    /// It has stopped to read.
    Gone,
}

/// What a member says, and when, in milliseconds since 1970 by the clock that all of them share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub at_ms: i64,
    pub member: String,
    pub change: Change,
}

/// Who was given a partition while somebody else had it.
pub fn conflicts(told: Vec<Told>) -> Vec<String> {
    let mut told = told;
    // Within one millisecond whoever gives up does so first.
    told.sort_by_key(|told| (told.at_ms, matches!(told.change, Change::Assigned(_))));
    let mut owners: BTreeMap<i32, String> = BTreeMap::new();
    let mut conflicts = Vec::new();
    for Told { at_ms, member, change } in told {
        match change {
            Change::Gone => owners.retain(|_, owner| *owner != member),
            Change::Revoked(partitions) => {
                owners.retain(|partition, owner| *owner != member || !partitions.contains(partition));
            }
            Change::Assigned(partitions) => {
                for partition in partitions {
                    let before = owners.insert(partition, member.clone());
                    if let Some(before) = before.filter(|before| *before != member) {
                        conflicts.push(format!(
                            "at {at_ms} partition {partition} went to {member}, and {before} had it"
                        ));
                    }
                }
            }
        }
    }
    conflicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_somebody_has_is_nobody_elses() {
        let told = |at_ms, member: &str, change| Told { at_ms, member: member.to_owned(), change };
        let (assigned, revoked) = (
            |partitions: &[i32]| Change::Assigned(partitions.iter().copied().collect()),
            |partitions: &[i32]| Change::Revoked(partitions.iter().copied().collect()),
        );
        let first = told(1, "a", assigned(&[0, 1]));
        let second = told(3, "b", assigned(&[1]));
        assert_eq!(conflicts(vec![second.clone(), first.clone()]).len(), 1);
        for (release, count) in [
            (told(2, "a", revoked(&[1])), 0),
            (told(3, "a", revoked(&[1])), 0),
            (told(4, "a", revoked(&[1])), 1),
            (told(2, "a", revoked(&[0])), 1),
            (told(2, "b", revoked(&[1])), 1),
            (told(2, "a", Change::Gone), 0),
            (told(2, "b", Change::Gone), 1),
        ] {
            let found = conflicts(vec![first.clone(), second.clone(), release.clone()]);
            assert_eq!(found.len(), count, "{release:?}: {found:?}");
        }
        assert!(conflicts(vec![first.clone(), told(2, "a", assigned(&[0, 1]))]).is_empty());
    }
}
