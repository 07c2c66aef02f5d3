//! Who has how much of the memory for frames, who gets it next, and who has to go for it.
//!
//! Frames get memory in the order in which they began, so that those that have some already are
//! complete soonest. Beside them one frame at a time may pass the budget: half of the time the one that
//! waits longest, since all may be held by frames that are themselves incomplete, and half of it the one
//! that needs least to be complete, of equals the latest. So who sends a frame at ordinary speed hardly
//! waits for those who sent theirs before and went silent, however many there are.
//!
//! Pure: time is an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::pace::{Pace, patience, patience_to_pass};
use super::turns::{Turn, Turns};

/// Of frames, in the order in which they began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FrameId(u64);

#[derive(Debug)]
pub(super) struct Ledger {
    budget: usize,
    free: usize,
    frames: BTreeMap<FrameId, Frame>,
    waiting: BTreeSet<FrameId>,
    passing: Option<Passing>,
    turns: Turns,
    next: u64,
}

#[derive(Debug)]
struct Frame {
    held: usize,
    /// Bytes it waits for, and bytes that it lacks to be complete.
    wanted: usize,
    lacks: usize,
    /// Of a frame that is not complete.
    pace: Option<Pace>,
}

/// The frame that passes the budget, and by how much.
#[derive(Debug)]
struct Passing {
    id: FrameId,
    over: usize,
}

impl Ledger {
    pub(super) fn new(budget: usize) -> Ledger {
        Ledger {
            budget,
            free: budget,
            frames: BTreeMap::new(),
            waiting: BTreeSet::new(),
            passing: None,
            turns: Turns::default(),
            next: 0,
        }
    }

    pub(super) fn begin(&mut self, now: Instant) -> FrameId {
        let id = FrameId(self.next);
        self.next += 1;
        self.frames.insert(id, Frame { held: 0, wanted: 0, lacks: 0, pace: Some(Pace::begin(now)) });
        id
    }

    pub(super) fn received(&mut self, id: FrameId, bytes: usize, now: Instant) {
        if let Some(pace) = self.frames.get_mut(&id).and_then(|frame| frame.pace.as_mut()) {
            pace.received(bytes, now);
        }
    }

    /// Its sender is no longer to blame for the memory it has.
    pub(super) fn complete(&mut self, id: FrameId) {
        if let Some(frame) = self.frames.get_mut(&id) {
            frame.pace = None;
        }
    }

    /// Its memory is free.
    pub(super) fn end(&mut self, id: FrameId) {
        self.free += self.frames.remove(&id).map_or(0, |frame| frame.held);
        self.waiting.remove(&id);
        self.passing.take_if(|passing| passing.id == id);
    }

    /// It wants so many bytes, and lacks so many to be complete; [`grant`](Ledger::grant) may give them.
    pub(super) fn ask(&mut self, id: FrameId, wanted: usize, lacks: usize) {
        if let Some(passing) = self.passing.as_mut().filter(|passing| passing.id == id) {
            passing.over += wanted;
        } else if let Some(frame) = self.frames.get_mut(&id) {
            (frame.wanted, frame.lacks) = (wanted, lacks);
            self.waiting.insert(id);
        }
    }

    /// Whether it has not got yet what it asked for.
    pub(super) fn waits(&self, id: FrameId) -> bool {
        self.waiting.contains(&id)
    }

    pub(super) fn anyone_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Gives away what there is; those who waited for it and go on.
    pub(super) fn grant(&mut self, now: Instant) -> Vec<FrameId> {
        let mut granted = Vec::new();
        loop {
            self.bring_under();
            while let Some(&id) = self.waiting.first() {
                let Some(frame) = self.frames.get_mut(&id) else { break };
                let Some(free) = self.free.checked_sub(frame.wanted) else { break };
                self.free = free;
                frame.held += frame.wanted;
                granted.push(self.go_on(id, now));
            }
            if self.passing.is_some() {
                return granted;
            }
            self.turns.end(now);
            let Some(id) = self.next_to_pass() else {
                self.turns = Turns::default();
                return granted;
            };
            let over = self.frames.get(&id).map_or(0, |frame| frame.wanted);
            self.passing = Some(Passing { id, over });
            self.turns.begin(now);
            granted.push(self.go_on(id, now));
        }
    }

    /// So that another may pass the budget.
    fn bring_under(&mut self) {
        let free = self.free;
        if let Some(Passing { id, over }) = self.passing.take_if(|passing| passing.over <= free)
            && let Some(frame) = self.frames.get_mut(&id)
        {
            frame.held += over;
            self.free -= over;
        }
    }

    /// While it waited its sender was not to blame.
    fn go_on(&mut self, id: FrameId, now: Instant) -> FrameId {
        self.waiting.remove(&id);
        if let Some(frame) = self.frames.get_mut(&id) {
            frame.wanted = 0;
            frame.pace = Some(Pace::begin(now));
        }
        id
    }

    fn next_to_pass(&self) -> Option<FrameId> {
        match self.turns.next() {
            Turn::LongestWaiting => self.waiting.first().copied(),
            Turn::LeastNeeded => {
                self.waiting().min_by_key(|(id, frame)| (frame.lacks, Reverse(*id))).map(|(id, _)| id)
            }
        }
    }

    fn waiting(&self) -> impl Iterator<Item = (FrameId, &Frame)> {
        self.waiting.iter().filter_map(|id| self.frames.get(id).map(|frame| (*id, frame)))
    }

    /// How far its sender is behind.
    pub(super) fn lag(&self, id: FrameId, now: Instant) -> Duration {
        self.frames.get(&id).map_or(Duration::ZERO, |frame| frame.lag(now))
    }

    /// Those that have to go so that all who wait can go on, as far as slow ones can help: the one that
    /// passes the budget, for another to pass it, and those that are furthest behind.
    pub(super) fn slow(&self, now: Instant) -> Vec<FrameId> {
        let wanted: usize = self.waiting().map(|(_, frame)| frame.wanted).sum();
        if wanted == 0 {
            return Vec::new();
        }
        let patience = patience(wanted, self.budget);
        let mut missing = wanted.saturating_sub(self.free);
        let mut go = Vec::new();
        if let Some(Passing { id, .. }) = self.passing
            && self.lag(id, now) >= patience_to_pass(patience)
        {
            let next = self.next_to_pass().and_then(|id| self.frames.get(&id));
            missing = missing.saturating_sub(next.map_or(0, |frame| frame.wanted));
            missing = missing.saturating_sub(self.frames.get(&id).map_or(0, |frame| frame.held));
            go.push(id);
        }
        let mut slow: Vec<(Duration, FrameId, usize)> = self
            .frames
            .iter()
            .map(|(id, frame)| (frame.lag(now), *id, frame.held))
            .filter(|(lag, id, _)| *lag >= patience && !go.contains(id))
            .collect();
        slow.sort_unstable_by_key(|(lag, id, _)| (Reverse(*lag), *id));
        for (_, id, held) in slow {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(held);
            go.push(id);
        }
        go
    }
}

impl Frame {
    /// Nobody is behind whose frame waits for memory or is complete.
    fn lag(&self, now: Instant) -> Duration {
        let pace = self.pace.filter(|_| self.wanted == 0);
        pace.map_or(Duration::ZERO, |pace| pace.lag(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::pace::{LEAST_PATIENCE, PACE, PATIENCE};

    /// A ledger of 100 bytes at one moment after the other.
    struct Story {
        ledger: Ledger,
        now: Instant,
    }

    impl Story {
        fn new() -> Story {
            Story { ledger: Ledger::new(100), now: Instant::now() }
        }

        /// Begins a frame that asks for so many bytes, all that it lacks.
        fn frame(&mut self, wanted: usize) -> FrameId {
            let id = self.ledger.begin(self.now);
            self.ledger.ask(id, wanted, wanted);
            id
        }

        /// The same, and what there is is given away at once.
        fn served(&mut self, wanted: usize) -> FrameId {
            let id = self.frame(wanted);
            assert_eq!(self.grant(), [id]);
            id
        }

        fn grant(&mut self) -> Vec<FrameId> {
            self.ledger.grant(self.now)
        }

        fn ended(&mut self, id: FrameId) -> Vec<FrameId> {
            self.ledger.end(id);
            self.grant()
        }

        fn slow(&self) -> Vec<FrameId> {
            self.ledger.slow(self.now)
        }
    }

    #[test]
    fn who_began_first_gets_more_first_and_is_not_overtaken_but_by_passing_the_budget() {
        let mut story = Story::new();
        let [first, second] = [40, 40].map(|wanted| story.served(wanted));
        let third = story.served(30);
        assert!(story.ledger.passing.is_some(), "30 of 20");
        story.ledger.ask(second, 50, 50);
        let small = story.frame(10);
        story.ledger.ask(first, 30, 30);
        assert_eq!(story.grant(), [], "20 are free, but the first wants 30");
        assert_eq!(story.ended(third), [first]);
        story.ledger.ask(first, 500, 500);
        assert_eq!(story.grant(), [], "it passes the budget, and by more now");
        assert!(!story.ledger.waits(first));
        assert_eq!(story.ended(first), [second, small], "60 are free");
        assert_eq!(story.ended(second), []);
        assert_eq!(story.ended(small), []);
        assert_eq!(story.ledger.free, 100);
    }

    #[test]
    fn in_turn_the_longest_waiting_and_the_one_that_needs_least_pass_the_budget() {
        let mut story = Story::new();
        story.served(100);
        let passing = story.served(5);
        let [old, large, small, newer] = [50, 60, 7, 7].map(|wanted| story.frame(wanted));
        assert_eq!(story.grant(), []);
        assert_eq!(story.ended(passing), [old]);
        assert_eq!(story.ended(old), [newer]);
        assert_eq!(story.ended(newer), [large]);
        assert_eq!(story.ended(large), [small]);
    }

    #[test]
    fn whoever_can_go_on_does_so_at_once() {
        let mut story = Story::new();
        story.served(90);
        let first = story.served(20);
        let second = story.frame(20);
        assert_eq!(story.ended(first), [second]);
        let [large, small] = [50, 5].map(|wanted| story.frame(wanted));
        assert_eq!(story.grant(), []);
        assert_eq!(
            story.ended(second),
            [small, large],
            "the small one fits, so that another may pass the budget"
        );
    }

    #[test]
    fn who_passes_the_budget_comes_under_it_as_soon_as_there_is_room() {
        let mut story = Story::new();
        let [all, passing, next] = [100, 30, 200].map(|wanted| story.frame(wanted));
        assert_eq!(story.grant(), [all, passing]);
        story.ledger.complete(passing);
        assert_eq!(story.ended(all), [next], "another passes it now");
        assert_eq!(story.ledger.free, 70);
        story.ended(passing);
        assert_eq!(story.ledger.free, 100);
    }

    #[test]
    fn only_those_go_that_are_behind_and_as_few_as_will_do() {
        let mut story = Story::new();
        let [first, brisk, second, complete] = [20, 30, 40, 10].map(|wanted| story.served(wanted));
        let passing = story.served(10);
        story.ledger.complete(complete);
        story.ledger.received(first, 1, story.now);
        story.now += PATIENCE;
        assert_eq!(story.slow(), [], "nobody waits");
        story.ledger.received(second, PACE as usize / 10, story.now);
        for id in [brisk, passing] {
            story.ledger.received(id, PATIENCE.as_secs() as usize * PACE as usize, story.now);
        }
        let waiting = story.frame(15);
        assert_eq!(story.grant(), []);
        assert_eq!(story.slow(), [first]);
        let hungry = story.frame(10);
        assert_eq!(story.slow(), [first, second]);
        story.now += PATIENCE;
        assert_eq!(story.slow(), [passing, first], "one of those who wait passes the budget next");
        story.ledger.ask(second, 1, 1);
        assert_eq!(story.slow(), [passing, first, brisk], "the second waits itself");
        story.ledger.end(waiting);
        story.ledger.end(hungry);
        assert_eq!(story.slow(), [passing], "one is enough");
    }

    #[test]
    fn a_poor_line_is_borne_while_little_is_waited_for() {
        let mut story = Story::new();
        let [poor, silent] = [50, 50].map(|wanted| story.served(wanted));
        let passing = story.served(10);
        story.ledger.complete(passing);
        story.frame(10);
        let mut goes = Vec::new();
        // All it sends in two seconds at once.
        for _ in 0..10 {
            story.now += PATIENCE / 2;
            goes.extend(story.slow());
            story.ledger.received(poor, PACE as usize * 2, story.now);
        }
        assert!(goes.contains(&silent));
        assert!(!goes.contains(&poor));
        let passing = story.ended(passing);
        story.frame(10);
        story.ledger.received(poor, PACE as usize, story.now);
        story.now += PATIENCE / 4;
        assert_eq!(story.slow(), passing, "nobody else can pass the budget meanwhile");
        story.frame(100 * 100);
        story.now += LEAST_PATIENCE;
        assert!(story.slow().contains(&poor), "many wait for it");
    }
}
