//! Who reads which partition of a classic group: `partition.assignment.strategy` of Kafka 0.8.2. Pure.
//!
//! Every member computes the same from the same registrations, and takes what falls to it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::ids::TopicPartition;
use crate::java_string;

/// One stream of a member. Ordered by its text, so that `c-10` comes before `c-2`, as in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ThreadId {
    pub(super) consumer: Arc<str>,
    pub(super) number: usize,
}

impl ThreadId {
    pub(super) fn new(consumer: &str, number: usize) -> ThreadId {
        ThreadId { consumer: consumer.into(), number }
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.consumer, self.number)
    }
}

impl PartialOrd for ThreadId {
    fn partial_cmp(&self, other: &ThreadId) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ThreadId {
    fn cmp(&self, other: &ThreadId) -> std::cmp::Ordering {
        self.to_string().cmp(&other.to_string())
    }
}

/// A topic that the group reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GroupTopic {
    /// Its partitions by rising number.
    pub(super) partitions: Vec<i32>,
    /// The threads of all members that read it, in any order.
    pub(super) threads: Vec<ThreadId>,
}

/// `partition.assignment.strategy`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Each topic by itself: its partitions in runs of even length.
    #[default]
    Range,
    /// All partitions of all topics in turn. All members must want the same topics in as many streams.
    RoundRobin,
}

/// Round-robin was asked for, but the members do not all want the same topics in as many streams.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "round-robin assignment is possible only if all members of the group read the same topics with the same \
     number of streams, which {one} and {other} do not"
)]
pub struct UnevenSubscriptions {
    pub one: String,
    pub other: String,
}

pub(super) type Assignment = BTreeMap<TopicPartition, ThreadId>;

impl Strategy {
    pub(super) fn assign(
        self,
        topics: &BTreeMap<String, GroupTopic>,
    ) -> Result<Assignment, UnevenSubscriptions> {
        match self {
            Strategy::Range => Ok(range(topics)),
            Strategy::RoundRobin => round_robin(topics),
        }
    }
}

fn range(topics: &BTreeMap<String, GroupTopic>) -> Assignment {
    let mut assignment = Assignment::new();
    for (topic, group) in topics {
        let name: Arc<str> = Arc::from(topic.as_str());
        let threads = sorted(&group.threads);
        let each = group.partitions.len().checked_div(threads.len()).unwrap_or(0);
        let extra = group.partitions.len().checked_rem(threads.len()).unwrap_or(0);
        let mut partitions = group.partitions.iter();
        for (at, thread) in threads.into_iter().enumerate() {
            let share = each + usize::from(at < extra);
            for partition in partitions.by_ref().take(share) {
                assignment.insert(TopicPartition::new(Arc::clone(&name), *partition), thread.clone());
            }
        }
    }
    assignment
}

fn round_robin(topics: &BTreeMap<String, GroupTopic>) -> Result<Assignment, UnevenSubscriptions> {
    let mut topics_left = topics.iter();
    let Some((first, group)) = topics_left.next() else { return Ok(Assignment::new()) };
    let threads = sorted(&group.threads);
    if let Some((other, _)) = topics_left.find(|(_, group)| sorted(&group.threads) != threads) {
        return Err(UnevenSubscriptions { one: first.clone(), other: other.clone() });
    }
    let mut all: Vec<TopicPartition> = topics
        .iter()
        .flat_map(|(topic, group)| {
            let name: Arc<str> = Arc::from(topic.as_str());
            group.partitions.iter().map(move |partition| TopicPartition::new(Arc::clone(&name), *partition))
        })
        .collect();
    // Scattered, so that a topic's partitions do not all fall to one member.
    all.sort_by_cached_key(|id| java_string::hash_code(&format!("[{},{}]", id.topic, id.partition)));
    Ok(all.into_iter().zip(threads.into_iter().cycle()).collect())
}

fn sorted(threads: &[ThreadId]) -> Vec<ThreadId> {
    let mut threads = threads.to_vec();
    threads.sort_by_cached_key(ToString::to_string);
    threads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(partitions: i32, threads: &[(&str, usize)]) -> GroupTopic {
        let threads = threads.iter().flat_map(|(c, n)| (0..*n).map(|n| ThreadId::new(c, n))).collect();
        GroupTopic { partitions: (0..partitions).collect(), threads }
    }

    fn shown(assignment: &Assignment) -> Vec<String> {
        assignment.iter().map(|(partition, thread)| format!("{partition} {thread}")).collect()
    }

    #[test]
    fn ranges_are_even_runs_in_the_order_of_the_texts() {
        let topics = BTreeMap::from([("t".to_owned(), group(5, &[("c2", 2), ("c1", 1)]))]);
        let assigned = Strategy::Range.assign(&topics).unwrap();
        assert_eq!(shown(&assigned), ["t-0 c1-0", "t-1 c1-0", "t-2 c2-0", "t-3 c2-0", "t-4 c2-1"]);

        let topics = BTreeMap::from([("t".to_owned(), group(11, &[("c", 11)]))]);
        let assigned = Strategy::Range.assign(&topics).unwrap();
        assert_eq!(assigned[&TopicPartition::new("t", 2)], ThreadId::new("c", 10));
        assert_eq!(assigned[&TopicPartition::new("t", 3)], ThreadId::new("c", 2));
    }

    #[test]
    fn more_threads_than_partitions_leave_the_last_without() {
        let topics = BTreeMap::from([("t".to_owned(), group(1, &[("b", 1), ("a", 1)]))]);
        assert_eq!(shown(&Strategy::Range.assign(&topics).unwrap()), ["t-0 a-0"]);
        let nobody = BTreeMap::from([("t".to_owned(), group(1, &[]))]);
        assert_eq!(Strategy::Range.assign(&nobody), Ok(Assignment::new()));
        assert_eq!(Strategy::RoundRobin.assign(&nobody), Ok(Assignment::new()));
    }

    #[test]
    fn round_robin_wants_even_subscriptions() {
        let topics = BTreeMap::from([
            ("a".to_owned(), group(1, &[("c", 1)])),
            ("b".to_owned(), group(1, &[("c", 2)])),
        ]);
        let uneven = UnevenSubscriptions { one: "a".into(), other: "b".into() };
        assert_eq!(Strategy::RoundRobin.assign(&topics), Err(uneven));
    }
}
