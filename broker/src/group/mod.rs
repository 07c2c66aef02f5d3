//! Consumer groups as their coordinator sees them: what is said of them in `__consumer_offsets`.

mod committed_offset;
pub mod record;

pub use committed_offset::CommittedOffset;

use crate::java_string;

/// The topic that holds what coordinators know.
pub const TOPIC: &str = "__consumer_offsets";

/// The partition of [`TOPIC`] whose leader coordinates `group`, of `count` partitions: Java's
/// `abs(group.hashCode()) % count`, where the absolute value of the smallest number is 0.
pub fn partition_of(group: &str, count: i32) -> i32 {
    let hash = java_string::hash_code(group).checked_abs().unwrap_or(0);
    hash.checked_rem(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where Kafka 3.9.1 keeps them.
    #[test]
    fn groups_belong_to_kafkas_partitions() {
        let seen = [("polygenelubricants", 50, 0), ("zzzzzzzzzz", 50, 36), ("g1", 4, 2), ("g2", 4, 3)];
        for (group, count, partition) in seen {
            assert_eq!(partition_of(group, count), partition, "{group} of {count}");
        }
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("g", 0), 0, "a topic without partitions has no place, and no panic");
    }
}
