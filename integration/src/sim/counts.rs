//! How often what happened: a simulation in which nothing rare ever happens proves little.

use std::collections::BTreeMap;
use std::fmt;

/// By what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    counts: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub(super) fn add(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn add_if(&mut self, happened: bool, what: &'static str) {
        if happened {
            self.add(what);
        }
    }

    pub fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Takes another run's in.
    pub fn merge(&mut self, other: &Counts) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }
}

/// A line each.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{count:>12}  {what}")?;
        }
        Ok(())
    }
}
