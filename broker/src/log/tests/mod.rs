//! Tests of whole logs, on real and simulated disks.

mod append;
mod support;
