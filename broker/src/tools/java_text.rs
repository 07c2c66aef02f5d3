//! Texts read as Java reads them, with Java's words for what is wrong.

/// `String.split` by one character: empty pieces at the end are dropped.
pub(super) fn split(text: &str, by: char) -> Vec<&str> {
    let mut pieces: Vec<&str> = text.split(by).collect();
    // Without a match the text itself is the only piece, empty or not.
    if pieces.len() > 1 {
        while pieces.last().is_some_and(|piece| piece.is_empty()) {
            pieces.pop();
        }
    }
    pieces
}

/// `Integer.parseInt`.
pub(super) fn parse_int(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("For input string: \"{text}\""))
}

/// `Base64.getUrlDecoder().decode`: padding may be there or not, and bits left over do not count.
pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    if text.len() == 1 {
        return Err("Input byte[] should at least have 2 bytes for base64 bytes".to_owned());
    }
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let mut decoded = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in digits.bytes() {
        let value = base64_digit(byte).ok_or_else(|| format!("Illegal base64 character {byte:x}"))?;
        bits = (bits << 6) | value;
        held += 6;
        if held >= 8 {
            held -= 8;
            decoded.push((bits >> held & 0xff) as u8);
        }
    }
    match (digits.len() % 4, padding) {
        (1, 0) => Err("Last unit does not have enough valid bits".to_owned()),
        (_, 0) | (2, 2) | (3, 1) => Ok(decoded),
        _ => Err("Input byte array has wrong 4-byte ending unit".to_owned()),
    }
}

fn base64_digit(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_those_of_java() {
        assert_eq!(split("1:2,3", ','), ["1:2", "3"]);
        assert_eq!(split("1,,2,,", ','), ["1", "", "2"]);
        assert_eq!(split(",", ','), Vec::<&str>::new());
        assert_eq!(split("", ','), [""]);
    }

    #[test]
    fn numbers_and_base64_fail_in_javas_words() {
        assert_eq!(parse_int("-7"), Ok(-7));
        assert_eq!(parse_int("one"), Err("For input string: \"one\"".to_owned()));
        assert_eq!(decode_base64("xyz").map(|bytes| bytes.len()), Ok(2));
        assert_eq!(decode_base64("abc="), Ok(vec![0x69, 0xb7]));
        assert_eq!(decode_base64(""), Ok(vec![]));
        assert_eq!(decode_base64("a*c"), Err("Illegal base64 character 2a".to_owned()));
        assert_eq!(decode_base64("AAAAA"), Err("Last unit does not have enough valid bits".to_owned()));
        assert_eq!(decode_base64("AA="), Err("Input byte array has wrong 4-byte ending unit".to_owned()));
        assert!(decode_base64("a").unwrap_err().starts_with("Input byte[] should"));
    }
}
