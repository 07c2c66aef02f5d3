//! Lines of text, and the records that they stand for (`LineMessageReader` of Kafka 3.9). Bytes are taken as they
//! are; separators are texts.

use std::collections::BTreeMap;

use bytes::Bytes;
use client::producer::{ProducerRecord, RecordHeader};

use crate::tools::client_config::KAFKA_EXCEPTION;
use crate::tools::failure::Exception;

/// How a line is taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LineFormat {
    topic: String,
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: Vec<u8>,
    headers_delimiter: Vec<u8>,
    headers_separator: Vec<u8>,
    headers_key_separator: Vec<u8>,
    null_marker: Option<Vec<u8>>,
}

fn exception(message: impl Into<String>) -> Exception {
    Exception::new(KAFKA_EXCEPTION, message)
}

impl LineFormat {
    pub(super) fn read(topic: &str, properties: &BTreeMap<String, String>) -> Result<LineFormat, Exception> {
        let is_true =
            |name: &str| properties.get(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        let text = |name: &str, default: &str| {
            properties.get(name).map_or(default, String::as_str).as_bytes().to_vec()
        };
        let format = LineFormat {
            topic: topic.to_owned(),
            parse_key: is_true("parse.key"),
            parse_headers: is_true("parse.headers"),
            ignore_error: is_true("ignore.error"),
            key_separator: text("key.separator", "\t"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            null_marker: properties.get("null.marker").map(|marker| marker.as_bytes().to_vec()),
        };
        format.check()?;
        Ok(format)
    }

    /// No two texts may mean two things.
    fn check(&self) -> Result<(), Exception> {
        let clash = |a: &str, b: &str| Err(exception(format!("{a} and {b} may not be equal")));
        if self.headers_delimiter == self.headers_separator {
            return clash("headers.delimiter", "headers.separator");
        }
        if self.headers_delimiter == self.headers_key_separator {
            return clash("headers.delimiter", "headers.key.separator");
        }
        if self.headers_separator == self.headers_key_separator {
            return clash("headers.separator", "headers.key.separator");
        }
        let Some(marker) = &self.null_marker else { return Ok(()) };
        for (name, text) in [
            ("key.separator", &self.key_separator),
            ("headers.separator", &self.headers_separator),
            ("headers.delimiter", &self.headers_delimiter),
            ("headers.key.separator", &self.headers_key_separator),
        ] {
            if marker == text {
                return clash("null.marker", name);
            }
        }
        Ok(())
    }

    /// The record of a line; `number` counts from 1.
    pub(super) fn record(&self, line: &[u8], number: u64) -> Result<ProducerRecord, Exception> {
        let (headers, rest) =
            self.cut(self.parse_headers, line, line, &self.headers_delimiter, "headers delimiter", number)?;
        let (key, value) =
            self.cut(self.parse_key, line, rest, &self.key_separator, "key separator", number)?;
        let mut record = ProducerRecord::to(self.topic.as_str());
        record.key = key.and_then(|key| self.present(key));
        record.value = self.present(value);
        if let Some(headers) = headers.filter(|headers| !self.is_null(headers)) {
            record.headers = self.headers(headers, number)?;
        }
        Ok(record)
    }

    /// What comes before a separator, if one is looked for, and what comes behind it.
    fn cut<'l>(
        &self,
        is_asked_for: bool,
        line: &[u8],
        rest: &'l [u8],
        separator: &[u8],
        name: &str,
        number: u64,
    ) -> Result<(Option<&'l [u8]>, &'l [u8]), Exception> {
        if !is_asked_for {
            return Ok((None, rest));
        }
        match split_once(rest, separator) {
            Some((before, after)) => Ok((Some(before), after)),
            None if self.ignore_error => Ok((None, rest)),
            None => {
                let line = String::from_utf8_lossy(line);
                Err(exception(format!("No {name} found on line number {number}: '{line}'")))
            }
        }
    }

    fn headers(&self, headers: &[u8], number: u64) -> Result<Vec<RecordHeader>, Exception> {
        let mut parsed = Vec::new();
        for pair in split(headers, &self.headers_separator) {
            let (name, value) = match split_once(pair, &self.headers_key_separator) {
                Some((name, value)) => (name, self.present(value)),
                None if self.ignore_error => (pair, None),
                None => {
                    let pair = String::from_utf8_lossy(pair);
                    return Err(exception(format!(
                        "No header key separator found in pair '{pair}' on line number {number}"
                    )));
                }
            };
            if self.is_null(name) {
                let marker = String::from_utf8_lossy(name);
                return Err(exception(format!(
                    "Header keys should not be equal to the null marker '{marker}' as they can't be null"
                )));
            }
            let key = String::from_utf8_lossy(name).into_owned().into();
            parsed.push(RecordHeader { key, value });
        }
        Ok(parsed)
    }

    fn is_null(&self, text: &[u8]) -> bool {
        self.null_marker.as_deref() == Some(text)
    }

    fn present(&self, text: &[u8]) -> Option<Bytes> {
        (!self.is_null(text)).then(|| Bytes::copy_from_slice(text))
    }
}

fn split_once<'t>(text: &'t [u8], separator: &[u8]) -> Option<(&'t [u8], &'t [u8])> {
    // An empty separator is found at once, as in Java.
    let at = match separator.is_empty() {
        true => 0,
        false => text.windows(separator.len()).position(|window| window == separator)?,
    };
    Some((text.get(..at)?, text.get(at + separator.len()..)?))
}

/// Without the empty pieces at the end, as in Java.
fn split<'t>(text: &'t [u8], separator: &[u8]) -> Vec<&'t [u8]> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((piece, after)) = split_once(rest, separator).filter(|_| !separator.is_empty()) {
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    if pieces.len() > 1 {
        while pieces.last().is_some_and(|piece| piece.is_empty()) {
            pieces.pop();
        }
    }
    pieces
}

/// The lines of what was read up to a line feed, which ends the last of them: as in Java, a carriage return ends a
/// line too.
pub(super) fn lines_of(read: &[u8]) -> Vec<&[u8]> {
    let read = read.strip_suffix(b"\n").map_or(read, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    read.split(|byte| *byte == b'\r').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(properties: &[(&str, &str)]) -> Result<LineFormat, String> {
        let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        LineFormat::read("t", &properties.collect()).map_err(|error| error.message)
    }

    fn text(bytes: &Option<Bytes>) -> String {
        bytes.as_ref().map_or("null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// `headers key value` of the first line.
    fn read(line: &str, properties: &[(&str, &str)]) -> Result<String, String> {
        let record = format(properties)?.record(line.as_bytes(), 1).map_err(|error| error.message)?;
        let headers = record.headers.iter();
        let headers: Vec<String> =
            headers.map(|header| format!("{}:{}", header.key, text(&header.value))).collect();
        Ok(format!("{} {} {}", headers.join(","), text(&record.key), text(&record.value)))
    }

    const KEY: (&str, &str) = ("parse.key", "true");
    const HEADERS: (&str, &str) = ("parse.headers", "true");
    const COLON: (&str, &str) = ("key.separator", ":");

    #[test]
    fn lines_are_taken_apart_as_kafka_does() {
        assert_eq!(read("a\tb", &[]), Ok(" null a\tb".into()));
        assert_eq!(read("", &[]), Ok(" null ".into()));
        assert_eq!(read("k1:v3:more", &[KEY, COLON]), Ok(" k1 v3:more".into()));
        assert_eq!(read("h1:x,h2:y\tk\tv", &[KEY, HEADERS]), Ok("h1:x,h2:y k v".into()));
        let others =
            [HEADERS, ("headers.delimiter", "|"), ("headers.separator", ";"), ("headers.key.separator", "=")];
        assert_eq!(read("h1=x;h2=y|v", &others), Ok("h1:x,h2:y null v".into()));
        let null = ("null.marker", "NULL");
        assert_eq!(read("h:NULL\tk:NULL", &[KEY, COLON, HEADERS, null]), Ok("h:null k null".into()));
        assert_eq!(read("NULL\tNULL:w", &[KEY, COLON, HEADERS, null]), Ok(" null w".into()));
    }

    #[test]
    fn what_is_missing_is_named_or_passed_over() {
        assert_eq!(
            read("nokey", &[KEY, COLON]),
            Err("No key separator found on line number 1: 'nokey'".to_owned())
        );
        assert_eq!(
            read("novalue", &[HEADERS]),
            Err("No headers delimiter found on line number 1: 'novalue'".to_owned())
        );
        assert_eq!(
            read("h1\tv", &[HEADERS]),
            Err("No header key separator found in pair 'h1' on line number 1".to_owned())
        );
        let ignore = ("ignore.error", "TRUE");
        assert_eq!(read("nokey", &[KEY, COLON, ignore]), Ok(" null nokey".into()));
        assert_eq!(read("h1\tv", &[HEADERS, ignore]), Ok("h1:null null v".into()));
        assert_eq!(
            format(&[("headers.separator", ":")]),
            Err("headers.separator and headers.key.separator may not be equal".to_owned())
        );
        let same = [("null.marker", ":"), ("key.separator", ":")];
        assert_eq!(format(&same), Err("null.marker and key.separator may not be equal".to_owned()));
    }

    #[test]
    fn lines_end_where_java_ends_them() {
        let lines = |text: &'static str| {
            lines_of(text.as_bytes()).into_iter().map(String::from_utf8_lossy).collect::<Vec<_>>()
        };
        assert_eq!(lines("a\n"), ["a"]);
        assert_eq!(lines("a\r\n"), ["a"]);
        assert_eq!(lines("a\rb"), ["a", "b"]);
        assert_eq!(lines("\n"), [""]);
        assert_eq!(lines("a"), ["a"]);
    }
}
