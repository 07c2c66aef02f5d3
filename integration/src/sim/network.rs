//! The model network: messages take their time, and may be lost, late or doubled.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::rngs::StdRng;

use super::counts::Counts;
use super::message::{MS, Message, Place, SECOND, Time};

type Link = (Place, Place);

#[derive(Debug, Default)]
pub(super) struct Network {
    /// Each direction for itself; how often it is cut.
    cuts: BTreeMap<Link, u32>,
    /// Machines whose links are slow.
    pub slow: BTreeSet<Place>,
    /// Of a hundred messages between brokers, how many are lost.
    pub lossy: u32,
    /// Of a hundred requests, how many arrive a second time, much later.
    pub doubling: u32,
    /// Watches take their time.
    pub late_watches: bool,
    /// ZooKeeper's connections keep their order.
    last: BTreeMap<Link, Time>,
}

impl Network {
    pub(super) fn cut(&mut self, from: Place, to: Place) {
        *self.cuts.entry((from, to)).or_default() += 1;
    }

    pub(super) fn mend(&mut self, from: Place, to: Place) {
        if let Some(cuts) = self.cuts.get_mut(&(from, to)) {
            *cuts = cuts.saturating_sub(1);
        }
    }

    pub(super) fn heal(&mut self) {
        *self = Network { last: std::mem::take(&mut self.last), ..Network::default() };
    }

    /// When a message arrives: never, once or twice.
    pub(super) fn arrivals(
        &mut self,
        now: Time,
        from: Place,
        to: Place,
        message: &Message,
        random: &mut StdRng,
        counts: &mut Counts,
    ) -> (Option<Time>, Option<Time>) {
        if self.cuts.get(&(from, to)).is_some_and(|cuts| *cuts > 0) {
            counts.add("message lost in a cut");
            return (None, None);
        }
        let mut delay = random.random_range(100..700);
        if self.slow.contains(&from) || self.slow.contains(&to) {
            delay += random.random_range(0..300 * MS);
        }
        if from == Place::ZooKeeper || to == Place::ZooKeeper {
            if self.late_watches && matches!(message, Message::WatchFired { .. }) {
                delay += random.random_range(0..2 * SECOND);
                counts.add("late watch");
                return (Some(now + delay), None);
            }
            let last = self.last.entry((from, to)).or_default();
            *last = (*last + 1).max(now + delay);
            return (Some(*last), None);
        }
        if self.lossy > 0 && random.random_range(0..100) < self.lossy {
            counts.add("message lost");
            return (None, None);
        }
        let doubled =
            self.doubling > 0 && message.may_be_doubled() && random.random_range(0..100) < self.doubling;
        let second = doubled.then(|| {
            counts.add("request arrives twice");
            // What lies in the buffers of a process that stands still may come when its sender has lived twice.
            let longest = if random.random_range(0..3) == 0 { 12 * SECOND } else { 2 * SECOND };
            now + delay + random.random_range(0..longest)
        });
        (Some(now + delay), second)
    }
}
