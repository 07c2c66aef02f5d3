//! Log compaction: of each key the last value stays (Kafka's `LogCleaner`).
//!
//! A log has a clean part, which was compacted before, a dirty part, and a part that cannot be compacted yet: the last
//! segment and what is not decided. A [`clean`]ing reads the keys of the dirty part into an offset map, copies all
//! segments from the log's start on without the records that a later one of the same key replaces, small segments
//! into one, and puts each copy in place as soon as it is complete. Where the map ended is where the dirty part of the
//! next time begins, kept in `cleaner-offset-checkpoint`.
//!
//! The log's lock is held for taking the list of segments, and for putting a copy in place; reading and copying go on
//! without it. What happens to the log meanwhile is noticed when the copy is put in place.

mod cleanable;
mod cleaning;
mod filter;
mod groups;
mod keys;
mod offset_map;
mod roster;
mod swap;
mod transactions;

pub use cleanable::Cleanable;
pub use cleaning::{Cleaned, CleaningError, CleaningLimits, Locked, Paced, clean};
pub use roster::Roster;
