//! Tests of whole logs, on real and simulated disks.

mod apache;
mod append;
mod compacting;
mod compaction;
mod compaction_crashes;
mod compaction_interrupted;
mod compaction_legacy;
mod crash_points;
mod dirs;
mod failures;
mod offsets;
mod random;
mod recovery;
mod retention;
mod support;
mod transactions;
mod truncation;
