//! Java's `.properties` text, as `java.util.Properties.load` reads it: comments, three separators,
//! continued lines, escapes. Pure.

use std::collections::BTreeMap;

use thiserror::Error;

/// Why a `.properties` text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: \\u must be followed by four hexadecimal digits, but is followed by {found:?}")]
pub struct PropertiesError {
    /// Counted from 1.
    pub line: usize,
    pub found: String,
}

/// Reads keys and values. Of a key given twice the last value counts.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, PropertiesError> {
    let mut properties = BTreeMap::new();
    let mut lines = natural_lines(text);
    while let Some((number, first)) = lines.next() {
        let first = first.trim_start_matches(BLANKS);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = String::from(first);
        while ends_in_continuation(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(BLANKS));
        }
        let (key, value) = split_pair(&logical);
        let unescape = |text| unescape(text).map_err(|found| PropertiesError { line: number, found });
        properties.insert(unescape(key)?, unescape(value)?);
    }
    Ok(properties)
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// Lines end in `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = Some(text);
    let mut number = 0;
    std::iter::from_fn(move || {
        let text = rest?;
        number += 1;
        let line = match text.split_once(['\n', '\r']) {
            Some((line, after)) => {
                let crlf = text.as_bytes().get(line.len()) == Some(&b'\r');
                rest = Some(if crlf { after.strip_prefix('\n').unwrap_or(after) } else { after });
                line
            }
            None => {
                rest = None;
                text
            }
        };
        Some((number, line))
    })
}

/// An odd number of backslashes at the end joins the next line; an even number is text.
fn ends_in_continuation(line: &str) -> bool {
    line.chars().rev().take_while(|&c| c == '\\').count() % 2 == 1
}

/// The key ends at the first unescaped blank, `=` or `:`; blanks around one separator are skipped.
fn split_pair(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (BLANKS.contains(&c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some((key, rest)) = end.and_then(|end| line.split_at_checked(end)) else { return (line, "") };
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(BLANKS))
}

/// Gives back the digits that were wrong.
fn unescape(text: &str) -> Result<String, String> {
    // Java escapes characters beyond the basic plane as two surrogates, so units are gathered first.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut buffer = [0; 2];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut buffer));
            continue;
        }
        match chars.next() {
            Some('t') => units.push(0x09),
            Some('n') => units.push(0x0a),
            Some('f') => units.push(0x0c),
            Some('r') => units.push(0x0d),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let unit = (digits.len() == 4 && digits.chars().all(|c| c.is_ascii_hexdigit()))
                    .then(|| u16::from_str_radix(&digits, 16).ok())
                    .flatten();
                units.push(unit.ok_or(digits)?);
            }
            Some(other) => units.extend_from_slice(other.encode_utf16(&mut buffer)),
            None => {}
        }
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(k, v)| (String::from(*k), String::from(*v))).collect();
        assert_eq!(parse(text), Ok(expected), "{text:?}");
    }

    #[test]
    fn reads_what_java_reads() {
        check("a=1\nb:2\nc 3\nd", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "")]);
        check("  # comment\n! too\n\n \t\na = 1 ", &[("a", "1 ")]);
        check("a = b = c", &[("a", "b = c")]);
        check("a\t:\tb", &[("a", "b")]);
        check("a : = b", &[("a", "= b")]);
        check("a=1\r\nb=2\rc=3", &[("a", "1"), ("b", "2"), ("c", "3")]);
        check("a=1\na=2", &[("a", "2")]);
        check("=x", &[("", "x")]);
    }

    #[test]
    fn continues_lines() {
        check("a=1,\\\n   2,\\\r\n\t3", &[("a", "1,2,3")]);
        check("a=1\\\\\nb=2", &[("a", "1\\"), ("b", "2")]);
        check("a=1\\", &[("a", "1")]);
        check("a=1\\\n# no comment", &[("a", "1# no comment")]);
    }

    #[test]
    fn unescapes() {
        check("a\\ b\\=c=d\\te", &[("a b=c", "d\te")]);
        check("dir=C\\:\\\\logs", &[("dir", "C:\\logs")]);
        check("x=\\u00e9\\ud83d\\ude00\\q", &[("x", "é😀q")]);
        assert_eq!(parse("a=1\nb=\\u12"), Err(PropertiesError { line: 2, found: String::from("12") }));
        assert_eq!(parse("b=\\u+123"), Err(PropertiesError { line: 1, found: String::from("+123") }));
    }
}
