//! What a topic may be called (Kafka's `Topic.java`).

/// Longer ones would not leave room for `-<partition>` and the suffixes of log folders.
pub const LONGEST: usize = 249;

/// Consumer groups' offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// State of transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";

/// Kafka's name for the log of a KRaft cluster; no topic may take it.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Why a name is refused. The texts are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    #[error("Topic name is invalid: '{name}' is not allowed")]
    Dots { name: String },
    #[error("Topic name is invalid: the length of '{name}' is longer than the max allowed length {LONGEST}")]
    TooLong { name: String },
    #[error(
        "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    )]
    Characters { name: String },
}

pub fn validate(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(TopicNameError::Dots { name: name.to_owned() });
    }
    // Java counts UTF-16 units; the difference shows in which of two errors a foreign name gets.
    if name.encode_utf16().count() > LONGEST {
        return Err(TopicNameError::TooLong { name: name.to_owned() });
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.bytes().all(legal) {
        return Err(TopicNameError::Characters { name: name.to_owned() });
    }
    Ok(())
}

/// Whether Kafka keeps the topic for itself.
pub fn is_internal(name: &str) -> bool {
    name == CONSUMER_OFFSETS || name == TRANSACTION_STATE
}

/// Whether the name has a character that metric names cannot tell from another.
pub fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// Two names that become one where `.` is written `_`, as in metric names.
pub fn collide(one: &str, other: &str) -> bool {
    let same = |a: u8, b: u8| a == b || (matches!(a, b'.' | b'_') && matches!(b, b'.' | b'_'));
    one.len() == other.len() && one.bytes().zip(other.bytes()).all(|(a, b)| same(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_kafkas() {
        let text = |name: &str| validate(name).unwrap_err().to_string();
        assert_eq!(text(""), "Topic name is invalid: the empty string is not allowed");
        assert_eq!(text("."), "Topic name is invalid: '.' is not allowed");
        assert_eq!(text(".."), "Topic name is invalid: '..' is not allowed");
        assert_eq!(
            text("a b"),
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        );
        let long = "x".repeat(250);
        assert_eq!(
            text(&long),
            format!(
                "Topic name is invalid: the length of '{long}' is longer than the max allowed length 249"
            )
        );
        assert_eq!(validate(&"x".repeat(249)), Ok(()));
        assert_eq!(validate("A-z.0_9..."), Ok(()));
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(collide("a.b_c", "a_b.c"));
        assert!(collide("a.b", "a.b"));
        assert!(!collide("a.b", "a-b"));
        assert!(!collide("a.b", "a.bc"));
        assert!(has_collision_chars("a.b") && has_collision_chars("a_b") && !has_collision_chars("a-b"));
        assert!(is_internal("__consumer_offsets") && !is_internal("t"));
    }
}
