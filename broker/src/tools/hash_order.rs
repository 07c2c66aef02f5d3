//! The order in which a Java `HashMap` gives its keys: neither sorted nor random, and seen in the output
//! of tools that walk one. Keys are in it by their bucket, within a bucket by insertion.

use client::ids::TopicPartition;
use client::java_string::hash_code;

/// Sorts keys as a `HashMap` made for `capacity` entries gives them, having been put in in this order.
pub(super) fn sort<T>(keys: &mut [T], capacity: usize, text: impl Fn(&T) -> &str) {
    sort_by_hash(keys, capacity, |key| hash_code(text(key)));
}

/// The same for keys that are partitions.
pub(super) fn sort_partitions<T>(keys: &mut [T], capacity: usize, key: impl Fn(&T) -> &TopicPartition) {
    sort_by_hash(keys, capacity, |entry| {
        let TopicPartition { topic, partition } = key(entry);
        // `TopicPartition.hashCode`.
        31i32.wrapping_add(*partition).wrapping_mul(31).wrapping_add(hash_code(topic))
    });
}

fn sort_by_hash<T>(keys: &mut [T], capacity: usize, hash: impl Fn(&T) -> i32) {
    let mut buckets = capacity.max(1).next_power_of_two();
    // The map doubles when more than three quarters of its buckets are taken.
    while keys.len() > buckets * 3 / 4 {
        buckets *= 2;
    }
    let mask = u32::try_from(buckets - 1).unwrap_or(u32::MAX);
    keys.sort_by_key(|key| {
        let hash = hash(key).cast_unsigned();
        (hash ^ (hash >> 16)) & mask
    });
}

/// `new HashMap()`.
pub(super) const DEFAULT_CAPACITY: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&str], capacity: usize) -> Vec<String> {
        let mut names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        sort(&mut names, capacity, |name| name);
        names
    }

    /// Orders seen in the output of Kafka 3.9.1's `kafka-topics --describe`.
    #[test]
    fn orders_are_those_of_java() {
        let names = ["a", "big", "conf", "fresh", "t", "with-hyphen", "with.period", "with_underscore"];
        let seen = ["with-hyphen", "a", "big", "t", "with.period", "conf", "fresh", "with_underscore"];
        assert_eq!(sorted(&names, names.len()), seen);
        let seen = ["single", "a", "atmin", "minisr"];
        assert_eq!(sorted(&["a", "atmin", "minisr", "single"], 4), seen);
        assert_eq!(sorted(&["a", "b", "zz"], DEFAULT_CAPACITY), ["zz", "a", "b"]);
        assert_eq!(sorted(&[], 0), Vec::<String>::new());
    }

    #[test]
    fn partitions_have_an_order_of_their_own() {
        let mut partitions: Vec<TopicPartition> = [("t", 0), ("t", 1), ("t", 2), ("u", 0)]
            .map(|(topic, at)| TopicPartition::new(topic, at))
            .to_vec();
        sort_partitions(&mut partitions, DEFAULT_CAPACITY, |partition| partition);
        let seen: Vec<String> = partitions.iter().map(TopicPartition::to_string).collect();
        assert_eq!(seen, ["t-2", "t-1", "t-0", "u-0"]);
    }
}
