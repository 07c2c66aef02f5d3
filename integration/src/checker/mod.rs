//! The judge of a run: what clients saw, written down as it happened, against what a cluster promises.
//!
//! Independent of the broker's code, in the manner of Jepsen's Kafka workload: it knows nothing but
//! histories. They are kept as text, so that a verdict can be computed again, and by others.

mod event;
mod history;
mod rules;
mod verdict;

pub use event::{Event, EventError, ORDERLY};
pub use history::{Entry, History, HistoryError, Recorder};
pub use rules::{judge, judge_cluster};
pub use verdict::{Finding, Verdict};
