//! Deciding what the cluster does: elections, placement, state machines, and the fenced
//! writes that commit those decisions to ZooKeeper.

pub mod cluster;
pub mod election;
mod handle;
pub mod isr;
pub mod placement;
pub mod plan;
pub mod requests;
pub mod states;
mod store;
pub mod term;
pub mod topics;
pub mod world;

pub use handle::ControllerHandle;
