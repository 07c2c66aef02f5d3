//! What each member has while the partitions are being divided.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::Member;
use crate::ids::TopicPartition;

/// Members and topics are known by their positions here.
#[derive(Debug)]
pub(super) struct Shares {
    members: Vec<Share>,
    topics: Vec<Topic>,
    by_name: BTreeMap<Arc<str>, usize>,
}

#[derive(Debug, Default)]
struct Share {
    /// Topics it subscribed to, by position.
    subscribed: BTreeSet<usize>,
    /// Partitions by topic; no entry is empty.
    partitions: BTreeMap<usize, Partitions>,
    count: usize,
}

#[derive(Debug, Default)]
struct Partitions {
    /// What it had before.
    kept: BTreeSet<i32>,
    /// What it gets now, which moves at no cost.
    fresh: BTreeSet<i32>,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    count: i32,
    subscribers: Vec<usize>,
    given: BTreeSet<i32>,
}

/// Which partitions may leave the member they are with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Movable {
    Fresh,
    All,
}

/// A partition of `topic` goes from one member to the next in a chain.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: usize,
    topic: usize,
    to: usize,
}

impl Shares {
    pub(super) fn new(members: &[&Member], counts: &BTreeMap<Arc<str>, i32>) -> Shares {
        let mut topics: Vec<Topic> = Vec::new();
        let mut by_name = BTreeMap::new();
        for (name, count) in counts.iter().filter(|(_, count)| **count > 0) {
            by_name.insert(name.clone(), topics.len());
            let topic =
                Topic { name: name.clone(), count: *count, subscribers: Vec::new(), given: BTreeSet::new() };
            topics.push(topic);
        }
        let mut shares = Vec::new();
        for (at, member) in members.iter().enumerate() {
            let mut share = Share::default();
            for position in member.subscription.topics.iter().filter_map(|topic| by_name.get(topic)) {
                share.subscribed.insert(*position);
                if let Some(topic) = topics.get_mut(*position) {
                    topic.subscribers.push(at);
                }
            }
            shares.push(share);
        }
        Shares { members: shares, topics, by_name }
    }

    /// The member keeps the partition, if it exists and the member (still) subscribes to its topic.
    pub(super) fn keep(&mut self, partition: &TopicPartition, member: usize) {
        let Some(position) = self.by_name.get(&partition.topic).copied() else { return };
        let (Some(topic), Some(share)) = (self.topics.get_mut(position), self.members.get_mut(member)) else {
            return;
        };
        let exists = (0..topic.count).contains(&partition.partition);
        if exists && share.subscribed.contains(&position) && topic.given.insert(partition.partition) {
            share.partitions.entry(position).or_default().kept.insert(partition.partition);
            share.count += 1;
        }
    }

    /// Each partition that nobody has goes to the least loaded subscriber of its topic; topics with few
    /// subscribers come first, since they leave less choice.
    pub(super) fn give_out_the_rest(&mut self) {
        let mut order: Vec<usize> = (0..self.topics.len()).collect();
        order.sort_by_key(|at| self.topics.get(*at).map_or(0, |topic| topic.subscribers.len()));
        for position in order {
            let Some(topic) = self.topics.get_mut(position) else { continue };
            let mut free: Vec<i32> = (0..topic.count).filter(|id| !topic.given.contains(id)).collect();
            topic.given.extend(free.iter().copied());
            free.reverse();
            let mut by_load: BTreeSet<(usize, usize)> = BTreeSet::new();
            for member in &topic.subscribers {
                by_load.extend(self.members.get(*member).map(|share| (share.count, *member)));
            }
            while let Some((load, member)) = by_load.pop_first() {
                let (Some(partition), Some(share)) = (free.pop(), self.members.get_mut(member)) else {
                    break;
                };
                share.partitions.entry(position).or_default().fresh.insert(partition);
                share.count += 1;
                by_load.insert((load + 1, member));
            }
        }
    }

    /// Moves partitions, always from the heaviest member that can be relieved, until no chain leads from a
    /// member to one with at least two fewer. What moves at no cost moves first: so what was found in one
    /// round of a cooperative rebalance stands in the next, with the same partitions moving.
    pub(super) fn even_out(&mut self) {
        loop {
            while self.even_out_once(Movable::Fresh) {}
            if !self.even_out_once(Movable::All) {
                return;
            }
        }
    }

    /// Whether anything moved. What moved may open a chain for a member that had none.
    fn even_out_once(&mut self, movable: Movable) -> bool {
        let mut moved = false;
        let mut heaviest_first: BTreeSet<(usize, usize)> =
            (0..self.members.len()).map(|member| (self.load(member), member)).collect();
        while let Some((load, member)) = heaviest_first.pop_last() {
            let Some(chain) = self.relieving_chain(member, movable) else { continue };
            if let Some(last) = chain.first().map(|step| step.to)
                && heaviest_first.remove(&(self.load(last), last))
            {
                heaviest_first.insert((self.load(last) + 1, last));
            }
            heaviest_first.insert((load - 1, member));
            chain.into_iter().for_each(|step| self.pass_on(step));
            moved = true;
        }
        moved
    }

    /// The partitions of each member, in the members' order.
    pub(super) fn into_partitions(self) -> Vec<BTreeSet<TopicPartition>> {
        let topics = self.topics;
        let named = |share: Share| {
            let mut all = BTreeSet::new();
            for (position, partitions) in share.partitions {
                let Some(topic) = topics.get(position) else { continue };
                let ids = partitions.kept.into_iter().chain(partitions.fresh);
                all.extend(ids.map(|id| TopicPartition::new(topic.name.clone(), id)));
            }
            all
        };
        self.members.into_iter().map(named).collect()
    }

    fn load(&self, member: usize) -> usize {
        self.members.get(member).map_or(0, |share| share.count)
    }

    /// The shortest chain from `member` to the least loaded member that it can relieve itself on, the last
    /// step first.
    fn relieving_chain(&self, member: usize, movable: Movable) -> Option<Vec<Step>> {
        let load = self.load(member);
        // How each member was reached first, and thereby by the fewest moves.
        let mut reached: BTreeMap<usize, Option<Step>> = BTreeMap::from([(member, None)]);
        let mut topics_seen = BTreeSet::new();
        let mut queue = VecDeque::from([member]);
        let mut best: Option<(usize, usize)> = None;
        while let Some(from) = queue.pop_front() {
            let Some(share) = self.members.get(from) else { continue };
            for (topic, partitions) in &share.partitions {
                if (movable == Movable::Fresh && partitions.fresh.is_empty()) || !topics_seen.insert(*topic) {
                    continue;
                }
                let subscribers = self.topics.get(*topic).map(|topic| topic.subscribers.as_slice());
                for to in subscribers.unwrap_or_default() {
                    if reached.contains_key(to) {
                        continue;
                    }
                    reached.insert(*to, Some(Step { from, topic: *topic, to: *to }));
                    queue.push_back(*to);
                    let lighter = best.is_none_or(|(least, _)| self.load(*to) < least);
                    if lighter && self.load(*to) + 2 <= load {
                        best = Some((self.load(*to), *to));
                    }
                }
            }
        }
        let mut at = best?.1;
        let mut chain = Vec::new();
        while let Some(Some(step)) = reached.get(&at) {
            chain.push(*step);
            at = step.from;
        }
        Some(chain)
    }

    fn pass_on(&mut self, step: Step) {
        let Some(giver) = self.members.get_mut(step.from) else { return };
        let Some(partitions) = giver.partitions.get_mut(&step.topic) else { return };
        let Some(partition) = partitions.fresh.pop_last().or_else(|| partitions.kept.pop_last()) else {
            return;
        };
        if partitions.fresh.is_empty() && partitions.kept.is_empty() {
            giver.partitions.remove(&step.topic);
        }
        giver.count -= 1;
        if let Some(taker) = self.members.get_mut(step.to) {
            taker.partitions.entry(step.topic).or_default().fresh.insert(partition);
            taker.count += 1;
        }
    }
}
