//! What groups are promised, checked against what coordinators do and members are told.
//!
//! Where acknowledged records of a group's partition may be gone ([`losses`](crate::sim::losses)), generations may
//! be counted a second time: what was told in epochs until then is judged no more.

use std::collections::BTreeMap;

use client::ids::{LeaderEpoch, Offset, TopicPartition};
use client::wire::Str;

use super::coordinator::{Known, Numbers};
use super::note::CommitOf;
use crate::sim::message::{Stored, Time};
use crate::sim::promises::{Batch, Promises, end_of};

/// A consumer as it owns partitions: a static one goes on when its process does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Owner {
    pub member: usize,
    pub life: u32,
}

/// An acknowledged commit of one partition's offset.
#[derive(Clone, Copy, Debug)]
struct Commit {
    number: u64,
    stored: Stored,
    batch: Batch,
}

/// Where the commits of one generation are in the log.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: Offset,
    last: Offset,
    epoch: LeaderEpoch,
}

/// The newest generation that members were given an assignment of.
#[derive(Clone, Copy, Debug)]
struct Newest {
    generation: i32,
    epoch: LeaderEpoch,
    at: Time,
}

/// Whom a partition was given to, and in which epoch of the coordinator.
type Given = (Owner, LeaderEpoch);

/// See the module's doc.
#[derive(Debug, Default)]
pub(in crate::sim) struct GroupPromises {
    /// By generation and partition.
    owners: BTreeMap<(Str, i32, i32), Given>,
    newest: BTreeMap<Str, Newest>,
    /// By generation.
    spans: BTreeMap<Str, BTreeMap<i32, Span>>,
    /// By group and partition, in the order of the log.
    commits: BTreeMap<(Str, i32), BTreeMap<Offset, Commit>>,
}

impl GroupPromises {
    /// What was told in epochs until this one counts no more.
    pub(super) fn excuse(&mut self, group: &Str, until: LeaderEpoch) {
        self.owners.retain(|(of, _, _), (_, epoch)| of != group || *epoch > until);
        self.newest.retain(|of, newest| of != group || newest.epoch > until);
        if let Some(spans) = self.spans.get_mut(group) {
            spans.retain(|_, span| span.epoch > until);
        }
    }

    /// A member was told its part in a generation, by an answer given at `at`.
    pub(super) fn joined(
        &self,
        group: &Str,
        generation: i32,
        (epoch, at): (LeaderEpoch, Time),
    ) -> Option<String> {
        let newest = self.newest.get(group)?;
        let is_later = at >= newest.at && epoch >= newest.epoch;
        (is_later && generation < newest.generation).then(|| {
            format!(
                "{}: generation {generation} was told in epoch {epoch} after generation {} in epoch {}",
                &**group, newest.generation, newest.epoch
            )
        })
    }

    /// A member was told what it owns in a generation.
    pub(super) fn given(
        &mut self,
        group: &Str,
        generation: i32,
        (owner, owned): (Owner, &[i32]),
        (epoch, at): (LeaderEpoch, Time),
        now: Time,
    ) -> Option<String> {
        let back = self.joined(group, generation, (epoch, at));
        let newest = Newest { generation, epoch, at: now };
        let known = self.newest.entry(group.clone()).or_insert(newest);
        if (known.generation, known.epoch) < (generation, epoch) {
            *known = newest;
        }
        let mut twice = None;
        for partition in owned {
            let given = self.owners.entry((group.clone(), generation, *partition)).or_insert((owner, epoch));
            if given.0 != owner {
                twice = Some(format!(
                    "{}: in generation {generation} partition {partition} was given to {:?} in epoch {} and to {owner:?} \
                     in epoch {epoch}",
                    &**group, given.0, given.1
                ));
            }
        }
        back.or(twice)
    }

    /// A commit was accepted and stored.
    pub(super) fn committed(&mut self, commit: &CommitOf, stored: Stored, batch: Batch) -> Option<String> {
        let CommitOf { group, generation, number, partitions } = commit;
        for partition in partitions {
            let commits = self.commits.entry((group.clone(), *partition)).or_default();
            commits.insert(stored.base, Commit { number: *number, stored, batch });
        }
        let Stored { base, epoch } = stored;
        let spans = self.spans.entry(group.clone()).or_default();
        let span = spans.entry(*generation).or_insert(Span { first: base, last: base, epoch });
        *span = Span { first: span.first.min(base), last: span.last.max(base), epoch: span.epoch.max(epoch) };
        let (older, newer) =
            spans.iter().zip(spans.iter().skip(1)).find(|((_, one), (_, next))| one.last > next.first)?;
        Some(format!(
            "{}: a commit of generation {} was accepted at {}, after one of generation {} at {}",
            &**group, older.0, older.1.last, newer.0, newer.1.first
        ))
    }

    /// A coordinator in that epoch says which commits count.
    pub(super) fn found(
        &self,
        place: (&TopicPartition, LeaderEpoch),
        group: &Str,
        found: &Numbers,
        promises: &Promises,
    ) -> Option<String> {
        let (log, epoch) = place;
        found.iter().find_map(|(partition, known)| {
            let commits = self.commits.get(&(group.clone(), *partition))?;
            let is_owed = |commit: &&Commit| {
                commit.stored.epoch <= epoch && promises.is_owed(log, commit.stored.base, &commit.batch)
            };
            let owed = commits.values().rev().find(is_owed)?;
            // What failed with the disk is in the log all the same, and so may be an older commit that came twice.
            let is_after = |known: &Known| known.end > end_of(owed.stored.base, &owed.batch);
            let counts = known.is_some_and(|known| known.number == owed.number || is_after(&known));
            (!counts).then(|| {
                format!(
                    "{}: the offset of partition {partition} is of {known:?} in epoch {epoch}, but commit {} at {} was \
                     acknowledged in epoch {}",
                    &**group, owed.number, owed.stored.base, owed.stored.epoch
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Owner = Owner { member: 1, life: 0 };
    const TWO: Owner = Owner { member: 2, life: 0 };

    fn group() -> Str {
        Str::from("g")
    }

    fn give(
        promises: &mut GroupPromises,
        generation: i32,
        owner: Owner,
        epoch: i32,
        now: Time,
    ) -> Option<String> {
        promises.given(&group(), generation, (owner, &[0]), (LeaderEpoch(epoch), now), now)
    }

    fn commit(promises: &mut GroupPromises, generation: i32, base: i64) -> Option<String> {
        let stored = Stored { base: Offset(base), epoch: LeaderEpoch(1) };
        let batch = Batch { producer: -1, sequence: 0, records: 1 };
        let number = u64::try_from(base).unwrap();
        let commit = CommitOf { group: group(), generation, number, partitions: vec![0] };
        promises.committed(&commit, stored, batch)
    }

    #[test]
    fn a_partition_has_one_owner_in_a_generation() {
        let mut promises = GroupPromises::default();
        assert_eq!(give(&mut promises, 1, ONE, 1, 1), None);
        assert_eq!(give(&mut promises, 1, ONE, 1, 2), None, "told twice");
        assert_eq!(give(&mut promises, 2, TWO, 1, 3), None, "given on");
        assert!(give(&mut promises, 2, ONE, 1, 4).unwrap().contains("was given to"));
    }

    #[test]
    fn generations_never_go_back_unless_their_records_may_be_gone() {
        let mut promises = GroupPromises::default();
        assert_eq!(give(&mut promises, 5, ONE, 3, 10), None);
        let (later, earlier) = ((LeaderEpoch(3), 11), (LeaderEpoch(2), 11));
        assert!(promises.joined(&group(), 4, later).is_some());
        assert_eq!(promises.joined(&group(), 4, earlier), None, "a leader of the past");
        assert_eq!(promises.joined(&group(), 4, (LeaderEpoch(3), 9)), None, "it was on its way");
        promises.excuse(&group(), LeaderEpoch(3));
        assert_eq!(promises.joined(&group(), 4, later), None);
        assert_eq!(give(&mut promises, 5, TWO, 4, 12), None);
    }

    #[test]
    fn no_commit_of_an_older_generation_follows_a_newer_ones() {
        let mut promises = GroupPromises::default();
        assert_eq!(commit(&mut promises, 1, 1), None);
        assert_eq!(commit(&mut promises, 2, 5), None);
        assert_eq!(commit(&mut promises, 1, 4), None, "appended before, acknowledged after");
        assert!(commit(&mut promises, 1, 6).unwrap().contains("generation 1 was accepted at 6"));
    }

    #[test]
    fn an_acknowledged_commit_is_owed_by_every_later_coordinator() {
        let (mut groups, mut promises) = (GroupPromises::default(), Promises::default());
        let log = TopicPartition::new("o", 0);
        let batch = Batch { producer: -1, sequence: 0, records: 1 };
        for base in [3, 7] {
            assert_eq!(commit(&mut groups, 1, base), None);
            let stored = Stored { base: Offset(base), epoch: LeaderEpoch(1) };
            promises.stored(&log, client::ids::BrokerId(1), stored, batch);
        }
        let say = |known: Option<(u64, i64)>, epoch| {
            let known = known.map(|(number, end)| Known { number, end: Offset(end) });
            groups.found((&log, LeaderEpoch(epoch)), &group(), &vec![(0, known)], &promises)
        };
        assert_eq!(say(Some((7, 8)), 1), None);
        assert_eq!(say(Some((3, 4)), 0), None, "a leader of the past");
        assert!(say(Some((3, 4)), 1).is_some());
        assert_eq!(say(Some((3, 9)), 1), None, "it came again, and failed with the disk");
        assert!(say(None, 2).is_some());
    }
}
