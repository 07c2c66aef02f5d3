//! Consumer groups: which there are, who is in them, how far they have read.
//!
//! A call about a group goes to its coordinator, and is repeated, if need be to another broker, while the
//! coordinator moves or loads.

mod coordinator;
mod delete;
mod describe;
mod list;
mod offsets;

pub use coordinator::Coordinator;
pub use describe::{GroupDescription, GroupMember};
pub use list::GroupListing;
pub use offsets::{GroupOffset, GroupOffsets};

use super::AdminError;
use crate::wire::ErrorCode;

/// What a call about several groups found out about each of them.
pub type PerGroup<T> = std::collections::BTreeMap<String, Result<T, AdminError>>;

fn refusal(code: ErrorCode) -> AdminError {
    AdminError::Refused { code, message: code.message().to_owned() }
}
