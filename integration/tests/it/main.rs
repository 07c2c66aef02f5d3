//! Tests with real processes.

mod zk;
