//! Tests with real processes.

mod clients;
mod controller;
mod kill;
mod replicas;
mod zk;
mod znodes;
