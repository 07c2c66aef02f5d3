//! Tests of whole logs, on real and simulated disks.

mod apache;
mod append;
mod dirs;
mod failures;
mod offsets;
mod random;
mod recovery;
mod retention;
mod support;
mod transactions;
mod truncation;
