//! What `scripts/bench` measures, a file for each benchmark, and the machine it is measured on.

pub mod failover;
pub mod flush;
pub mod group_queries;
mod groups;
pub mod machine;
pub mod offset_commits;
pub mod rebalance;
mod timeline;
pub mod watches;
