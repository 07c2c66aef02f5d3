//! A cluster under failure, in view of a person: faults by name and seed, a load that writes down what it
//! saw, and a verdict on it. `scripts/chaos` runs it.
//!
//! The plan of faults depends on the seed alone ([`plan`]); who is the leader or the controller is looked up
//! when a fault strikes ([`view`], [`strike`]). What is done to a cluster goes through [`arena::Arena`], so that it
//! may consist of processes ([`local`]), of containers ([`compose`]) or of anything else.

pub mod arena;
pub mod compose;
mod counts;
mod epochs;
#[cfg(test)]
mod fake;
mod finale;
mod folder;
mod load;
pub mod local;
pub mod plan;
mod preload;
mod run;
pub mod sandbox;
pub mod scenario;
mod self_test;
mod settings;
mod stop;
mod strike;
mod system;
mod view;

pub use folder::verdict_of;
pub use run::{RunError, Settings, run};
pub use self_test::self_test;
