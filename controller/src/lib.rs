//! Deciding what the cluster does: elections, placement, state machines, and the fenced
//! writes that commit those decisions to ZooKeeper.

mod channel;
pub mod cluster;
mod commit;
mod controller;
pub mod election;
mod handle;
pub mod isr;
mod lookout;
pub mod placement;
pub mod plan;
pub mod requests;
pub mod standing;
pub mod states;
mod store;
pub mod suspicion;
pub mod term;
pub mod topics;
pub mod vital;
mod watches;
pub mod world;

pub use controller::{Controller, ControllerConfig, ControllerParts, RememberedTopicIds};
pub use handle::ControllerHandle;
