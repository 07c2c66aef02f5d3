//! What happened, as one number that tells two runs apart, and, where asked for, as text.

use std::collections::VecDeque;

use super::message::Time;

/// A transcript keeps as many lines: the end of a run is where it failed.
const LINES: usize = 100_000;

#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub(super) fn new(keeps_lines: bool) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, lines: keeps_lines.then(VecDeque::new) }
    }

    pub(super) fn note(&mut self, now: Time, values: &[u64], line: impl FnOnce() -> String) {
        self.mix(&[now]);
        self.mix(values);
        if let Some(lines) = &mut self.lines {
            lines.push_back(format!("{:>12.6}  {}", now as f64 / 1e6, line()));
            if lines.len() > LINES {
                lines.pop_front();
            }
        }
    }

    /// Facts that need no line.
    pub(super) fn mix(&mut self, values: &[u64]) {
        for value in values {
            self.hash = (self.hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.map(Vec::from).unwrap_or_default()
    }
}
