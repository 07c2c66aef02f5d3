//! Names of users and clients may hold any character; in a path they stand percent-encoded
//! (Kafka's `Sanitizer.java`).

/// Leaves `A-Z a-z 0-9 . - _` and writes every other byte of the UTF-8 as `%XX`.
pub fn sanitize(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => path.push(char::from(byte)),
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path
}

/// The name that [`sanitize`] was given. `None` if the text is not such a path.
pub fn desanitize(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut name = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let decoded = if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte };
        name.push(decoded);
    }
    String::from_utf8(name).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_as_kafka_does() {
        assert_eq!(sanitize("al:ice@x+y é/~"), "al%3Aice%40x%2By%20%C3%A9%2F%7E");
        assert_eq!(sanitize("*"), "%2A");
        assert_eq!(desanitize("al%3Aice%40x%2By%20%C3%A9%2F%7E").as_deref(), Some("al:ice@x+y é/~"));
        assert_eq!((desanitize("%4"), desanitize("%zz"), desanitize("%ff")), (None, None, None));
    }
}
