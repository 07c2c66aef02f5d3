//! What happened, as one number that tells two runs apart, and, where asked for, as text.

use std::collections::VecDeque;
use std::hash::Hasher;

use super::message::Time;

/// A transcript keeps as many lines: the end of a run is where it failed.
const LINES: usize = 100_000;

/// Takes in what happened as a [`Hasher`], which gives the same number in every process.
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
            self.hash = mixed(self.hash, *value);
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.map(Vec::from).unwrap_or_default()
    }
}

impl Hasher for Trace {
    fn write(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<8>();
        for chunk in whole {
            self.hash = mixed(self.hash, u64::from_le_bytes(*chunk));
        }
        for byte in rest {
            self.hash = mixed(self.hash, u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.hash = mixed(self.hash, u64::from(value));
    }

    fn write_i32(&mut self, value: i32) {
        self.hash = mixed(self.hash, u64::from(value.cast_unsigned()));
    }

    fn write_u64(&mut self, value: u64) {
        self.hash = mixed(self.hash, value);
    }

    fn write_i64(&mut self, value: i64) {
        self.hash = mixed(self.hash, value.cast_unsigned());
    }

    fn write_usize(&mut self, value: usize) {
        self.hash = mixed(self.hash, value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.hash = mixed(self.hash, value as u64);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

fn mixed(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}
