//! Deciding what the cluster does: elections, placement, state machines, and the fenced
//! writes that commit those decisions to ZooKeeper.

pub mod cluster;
pub mod election;
pub mod placement;
