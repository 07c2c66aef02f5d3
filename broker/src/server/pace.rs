//! Which of the frames that hold memory do not get on. As long as there is memory nobody minds; when
//! others wait for it, who keeps them waiting by sending slowly has to go.
//!
//! Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A frame gets on if it grows by so many bytes
pub(super) const PACE_BYTES: usize = 256 << 10;
/// in such a time: 64 KiB a second, which a client on a poor line reaches.
pub(super) const PACE_WINDOW: Duration = Duration::from_secs(4);

/// A frame that is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FrameId(u64);

/// The frames that are being received and hold memory of the budget.
#[derive(Debug, Default)]
pub(super) struct Frames {
    frames: BTreeMap<FrameId, Frame>,
    next: u64,
}

#[derive(Debug)]
struct Frame {
    held: usize,
    /// Holds up all others: only one at a time may pass the budget.
    passes_budget: bool,
    /// So many bytes it waits for itself, so that it is not to blame.
    wanted: Option<usize>,
    received: usize,
    /// When it had got on last, and what it had received by then.
    mark: (Instant, usize),
}

impl Frames {
    pub(super) fn begin(&mut self, now: Instant) -> FrameId {
        let id = FrameId(self.next);
        self.next += 1;
        let frame = Frame { held: 0, passes_budget: false, wanted: None, received: 0, mark: (now, 0) };
        self.frames.insert(id, frame);
        id
    }

    pub(super) fn end(&mut self, id: FrameId) {
        self.frames.remove(&id);
    }

    pub(super) fn received(&mut self, id: FrameId, received: usize, now: Instant) {
        let Some(frame) = self.frames.get_mut(&id) else { return };
        frame.received = received;
        if received - frame.mark.1 >= PACE_BYTES {
            frame.mark = (now, received);
        }
    }

    /// It waits for so many bytes, until it has [`got`](Frames::got) something or ends.
    pub(super) fn waits(&mut self, id: FrameId, wanted: usize) {
        if let Some(frame) = self.frames.get_mut(&id) {
            frame.wanted = Some(wanted);
        }
    }

    /// It has got so many bytes of memory, or may pass the budget from now on.
    pub(super) fn got(&mut self, id: FrameId, more: Option<usize>, now: Instant) {
        let Some(frame) = self.frames.get_mut(&id) else { return };
        match more {
            Some(more) => frame.held += more,
            None => frame.passes_budget = true,
        }
        if frame.wanted.take().is_some() {
            frame.mark = (now, frame.received);
        }
    }

    /// Those that have to go so that all who wait can go on, as far as slow ones can help: the one that
    /// passes the budget, or else those that hold most.
    pub(super) fn slow(&self, now: Instant) -> Vec<FrameId> {
        let wanted: usize = self.frames.values().filter_map(|frame| frame.wanted).sum();
        let is_slow = |frame: &Frame| {
            frame.wanted.is_none() && now.saturating_duration_since(frame.mark.0) >= PACE_WINDOW
        };
        let mut slow: Vec<(&FrameId, &Frame)> =
            self.frames.iter().filter(|(_, frame)| is_slow(frame)).collect();
        if let Some((id, _)) = slow.iter().find(|(_, frame)| frame.passes_budget) {
            return vec![**id];
        }
        slow.sort_by_key(|(_, frame)| std::cmp::Reverse(frame.held));
        let mut freed = 0;
        let needed = |(_, frame): &(&FrameId, &Frame)| {
            let before = freed;
            freed += frame.held;
            before < wanted
        };
        slow.into_iter().take_while(needed).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_go_that_do_not_get_on_and_as_few_as_will_do() {
        let start = Instant::now();
        let after = |windows: u32| start + PACE_WINDOW * windows;
        let mut frames = Frames::default();
        let [small, large, brisk, waiting, hungry] = [1, 50, 60, 70, 0].map(|held| {
            let id = frames.begin(start);
            frames.got(id, Some(held), start);
            id
        });
        let slow_for = |frames: &mut Frames, wanted, now| {
            frames.waits(hungry, wanted);
            frames.slow(now)
        };
        assert_eq!(slow_for(&mut frames, 10, start), []);
        frames.received(brisk, PACE_BYTES, after(1));
        frames.received(large, PACE_BYTES - 1, after(1));
        frames.waits(waiting, 4);
        assert_eq!(slow_for(&mut frames, 6, after(1)), [large]);
        assert_eq!(slow_for(&mut frames, 46, after(1)), [large]);
        assert_eq!(slow_for(&mut frames, 47, after(1)), [large, small], "both wait for 51 together");
        // A trickle is no progress, but what was waited for does not count.
        frames.received(brisk, PACE_BYTES * 2 - 1, after(2));
        frames.got(waiting, None, after(2));
        assert_eq!(slow_for(&mut frames, 1000, after(2)), [brisk, large, small]);
        assert_eq!(slow_for(&mut frames, 1, after(3)), [waiting], "it passes the budget, so nobody else can");
        frames.end(waiting);
        frames.end(brisk);
        assert_eq!(slow_for(&mut frames, 1, after(3)), [large]);
    }
}
