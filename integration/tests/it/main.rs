//! Tests with real processes.

mod controller;
mod zk;
