//! The order in which a Java `HashMap` gives its keys: neither sorted nor random, and seen in the output
//! of tools that walk one. Keys are in it by their bucket, within a bucket by insertion.

use client::java_string::hash_code;

/// Sorts keys as a `HashMap` made for `capacity` entries gives them, having been put in in this order.
pub(super) fn sort<T>(keys: &mut [T], capacity: usize, text: impl Fn(&T) -> &str) {
    let mut buckets = capacity.max(1).next_power_of_two();
    // The map doubles when more than three quarters of its buckets are taken.
    while keys.len() > buckets * 3 / 4 {
        buckets *= 2;
    }
    let mask = u32::try_from(buckets - 1).unwrap_or(u32::MAX);
    keys.sort_by_key(|key| {
        let hash = hash_code(text(key)).cast_unsigned();
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
}
