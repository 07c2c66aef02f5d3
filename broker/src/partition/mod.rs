//! One partition as this broker holds it.

pub mod epochs;
pub mod follower;
pub mod leader;
