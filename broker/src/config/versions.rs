//! Names of inter-broker protocol versions (`MetadataVersion.java`). Pure.

/// The version Ottla speaks.
const CURRENT_PROTOCOL_VERSION: &str = "3.9-IV0";

/// All names Kafka 3.9 knows.
const PROTOCOL_VERSIONS: &[&str] = &[
    "0.8.0",
    "0.8.1",
    "0.8.2",
    "0.9.0",
    "0.10.0-IV0",
    "0.10.0-IV1",
    "0.10.1-IV0",
    "0.10.1-IV1",
    "0.10.1-IV2",
    "0.10.2-IV0",
    "0.11.0-IV0",
    "0.11.0-IV1",
    "0.11.0-IV2",
    "1.0-IV0",
    "1.1-IV0",
    "2.0-IV0",
    "2.0-IV1",
    "2.1-IV0",
    "2.1-IV1",
    "2.1-IV2",
    "2.2-IV0",
    "2.2-IV1",
    "2.3-IV0",
    "2.3-IV1",
    "2.4-IV0",
    "2.4-IV1",
    "2.5-IV0",
    "2.6-IV0",
    "2.7-IV0",
    "2.7-IV1",
    "2.7-IV2",
    "2.8-IV0",
    "2.8-IV1",
    "3.0-IV0",
    "3.0-IV1",
    "3.1-IV0",
    "3.2-IV0",
    "3.3-IV0",
    "3.3-IV1",
    "3.3-IV2",
    "3.3-IV3",
    "3.4-IV0",
    "3.5-IV0",
    "3.5-IV1",
    "3.5-IV2",
    "3.6-IV0",
    "3.6-IV1",
    "3.6-IV2",
    "3.7-IV0",
    "3.7-IV1",
    "3.7-IV2",
    "3.7-IV3",
    "3.7-IV4",
    "3.8-IV0",
    "3.9-IV0",
    "4.0-IV0",
    "4.0-IV1",
];

/// Whether the text names a version: in full, or by its release alone (`2.8`, `2.8.1`, `0.10.2`).
pub(super) fn is_protocol_version(text: &str) -> bool {
    PROTOCOL_VERSIONS.contains(&text)
        || release(text)
            .is_some_and(|release| PROTOCOL_VERSIONS.iter().any(|name| is_of_release(name, release)))
}

/// Whether the text names [`CURRENT_PROTOCOL_VERSION`].
pub(super) fn is_current_protocol_version(text: &str) -> bool {
    text == CURRENT_PROTOCOL_VERSION
        || (!text.contains('-')
            && release(text).is_some_and(|release| is_of_release(CURRENT_PROTOCOL_VERSION, release)))
}

fn is_of_release(name: &str, release: &str) -> bool {
    name.strip_prefix(release).is_some_and(|rest| rest.is_empty() || rest.starts_with("-IV"))
}

/// The numbers that make a release: two of them, three before 1.0.
fn release(text: &str) -> Option<&str> {
    if text.contains('-') {
        return None;
    }
    let numbers = if text.starts_with("0.") { 3 } else { 2 };
    match text.match_indices('.').nth(numbers - 1) {
        Some((end, _)) => text.get(..end),
        None => Some(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_versions() {
        for text in ["3.9", "3.9-IV0", "3.9.1"] {
            assert!(is_protocol_version(text) && is_current_protocol_version(text), "{text}");
        }
        for text in ["0.8.2", "0.8.2.2", "0.10.2", "2.8", "2.8-IV1", "4.0-IV1", "3.8.0"] {
            assert!(is_protocol_version(text) && !is_current_protocol_version(text), "{text}");
        }
        for text in ["", "3", "3.99", "3.9-IV1", "3.9-", "x", "0.8"] {
            assert!(!is_protocol_version(text), "{text}");
        }
    }
}
