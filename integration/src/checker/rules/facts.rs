//! A history, sorted by what the rules ask for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::checker::{Event, History};

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// Records a consumer was given from one partition without losing it in between.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    pub(super) consumer: u32,
    /// Offset and record.
    pub(super) polled: Vec<(i64, u64)>,
}

/// A commit as known from outside: acknowledged at a time, or read by a question.
#[derive(Debug, Clone, Copy)]
pub(super) enum CommitEvent {
    Acknowledged { at_us: u64, offset: i64 },
    Read { asked_us: u64, at_us: u64, offset: i64 },
}

#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    /// The producer of each record that was handed to one.
    pub(super) sent: HashMap<u64, u32>,
    pub(super) acknowledged: Vec<(u64, Place)>,
    pub(super) stored: BTreeMap<Place, u64>,
    /// Places that hold a record more than once in what was read at the end.
    pub(super) stored_again: Vec<(Place, u64)>,
    /// All that anybody spoke of.
    pub(super) groups: BTreeSet<&'a str>,
    /// Partition, next offset and end of what groups had not got in time.
    pub(super) behind: Vec<(&'a str, i32, i64, i64)>,
    pub(super) stretches: BTreeMap<(&'a str, i32), Vec<Stretch>>,
    /// Who owned a partition in a generation, as far as clients tell generations.
    pub(super) owners: BTreeMap<(&'a str, i32, i32), HashSet<u32>>,
    pub(super) commits: BTreeMap<(&'a str, i32), Vec<CommitEvent>>,
}

impl Facts<'_> {
    pub(super) fn of(history: &History) -> Facts<'_> {
        let mut facts = Facts::default();
        // Which stretch of its partition a consumer is adding to.
        let mut open: HashMap<(&str, u32, i32), usize> = HashMap::new();
        let mut owned: HashMap<(&str, u32), Vec<i32>> = HashMap::new();
        for entry in &history.entries {
            let at_us = entry.at_us;
            facts.groups.extend(group_of(&entry.event));
            match &entry.event {
                Event::Sending { producer, record, .. } => {
                    facts.sent.insert(*record, *producer);
                }
                Event::Acknowledged { record, partition, offset, .. } => {
                    facts.acknowledged.push((*record, Place { partition: *partition, offset: *offset }));
                }
                Event::Assigned { group, consumer, generation, partitions } => {
                    let before = owned.insert((group, *consumer), partitions.clone()).unwrap_or_default();
                    for lost in before.iter().filter(|partition| !partitions.contains(partition)) {
                        open.remove(&(group, *consumer, *lost));
                    }
                    for partition in partitions.iter().filter(|_| *generation >= 0) {
                        let key = (group.as_str(), *generation, *partition);
                        facts.owners.entry(key).or_default().insert(*consumer);
                    }
                }
                Event::Left { group, consumer } => {
                    for lost in owned.remove(&(group.as_str(), *consumer)).unwrap_or_default() {
                        open.remove(&(group, *consumer, lost));
                    }
                }
                Event::Polled { group, consumer, partition, offset, record } => {
                    let stretches = facts.stretches.entry((group, *partition)).or_default();
                    let index = *open.entry((group, *consumer, *partition)).or_insert_with(|| {
                        stretches.push(Stretch { consumer: *consumer, polled: Vec::new() });
                        stretches.len() - 1
                    });
                    if let Some(stretch) = stretches.get_mut(index) {
                        stretch.polled.push((*offset, *record));
                    }
                }
                Event::Committed { group, partition, offset, .. } => {
                    let commits = facts.commits.entry((group, *partition)).or_default();
                    commits.push(CommitEvent::Acknowledged { at_us, offset: *offset });
                }
                Event::CommitRead { group, asked_us, partition, offset } => {
                    let commits = facts.commits.entry((group, *partition)).or_default();
                    commits.push(CommitEvent::Read { asked_us: *asked_us, at_us, offset: *offset });
                }
                Event::Stored { partition, offset, record } => {
                    let place = Place { partition: *partition, offset: *offset };
                    if let Some(other) = facts.stored.insert(place, *record) {
                        facts.stored_again.push((place, other));
                    }
                }
                Event::Behind { group, partition, next, end } => {
                    facts.behind.push((group, *partition, *next, *end));
                }
                Event::Group { .. }
                | Event::GivenUp { .. }
                | Event::Ends { .. }
                | Event::Unread { .. }
                | Event::Fault { .. }
                | Event::Healed { .. }
                | Event::Whole { .. }
                | Event::Replica { .. }
                | Event::Told { .. }
                | Event::Believed { .. }
                | Event::Unasked { .. }
                | Event::Stopped { .. }
                | Event::Alive { .. }
                | Event::Ended { .. } => {}
            }
        }
        facts
    }

    /// All places of each stored record.
    pub(super) fn places(&self) -> HashMap<u64, Vec<Place>> {
        let mut places: HashMap<u64, Vec<Place>> = HashMap::new();
        for (place, record) in &self.stored {
            places.entry(*record).or_default().push(*place);
        }
        places
    }
}

/// The group that an event is about.
fn group_of(event: &Event) -> Option<&str> {
    match event {
        Event::Group { group }
        | Event::Behind { group, .. }
        | Event::Assigned { group, .. }
        | Event::Left { group, .. }
        | Event::Polled { group, .. }
        | Event::Committed { group, .. }
        | Event::CommitRead { group, .. } => Some(group),
        Event::Sending { .. }
        | Event::Acknowledged { .. }
        | Event::GivenUp { .. }
        | Event::Stored { .. }
        | Event::Ends { .. }
        | Event::Unread { .. }
        | Event::Fault { .. }
        | Event::Healed { .. }
        | Event::Whole { .. }
        | Event::Replica { .. }
        | Event::Told { .. }
        | Event::Believed { .. }
        | Event::Unasked { .. }
        | Event::Stopped { .. }
        | Event::Alive { .. }
        | Event::Ended { .. } => None,
    }
}
