//! What Java makes of a string, where Kafka lets that decide something others can see.

/// `String.hashCode`: over UTF-16 units, wrapping.
pub fn hash_code(text: &str) -> i32 {
    let add = |hash: u32, unit: u16| hash.wrapping_mul(31).wrapping_add(u32::from(unit));
    text.encode_utf16().fold(0, add).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Java 17; the last text is two units long.
    #[test]
    fn hashes_are_javas() {
        let seen = [("", 0), ("a", 97), ("polygenelubricants", i32::MIN), ("😀", 1_772_899)];
        for (text, hash) in seen {
            assert_eq!(hash_code(text), hash, "{text}");
        }
    }
}
