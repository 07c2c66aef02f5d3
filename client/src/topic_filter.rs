//! Names of topics by a pattern (Kafka's `TopicFilter.java`): a regular expression that has to match the
//! whole name, with commas for alternatives.

use crate::znode::topic_name;
use fancy_regex::Regex;

/// Which topics are meant.
#[derive(Debug, Clone)]
pub struct TopicFilter {
    pattern: String,
    whole: Regex,
}

/// Not a regular expression. The text is Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is an invalid regex.")]
pub struct InvalidPattern(String);

impl TopicFilter {
    pub fn new(pattern: &str) -> Result<TopicFilter, InvalidPattern> {
        let quotes = ['"', '\''];
        let pattern = pattern.trim().replace(',', "|").replace(' ', "");
        TopicFilter::of_regex(pattern.trim_start_matches(quotes).trim_end_matches(quotes))
    }

    /// A regular expression as it is, in which a comma is a comma: what a newer consumer subscribes to.
    pub fn of_regex(pattern: &str) -> Result<TopicFilter, InvalidPattern> {
        let invalid = || InvalidPattern(pattern.to_owned());
        let expression = unquote(pattern);
        // By itself first: `a)|(b` would be right inside the parentheses.
        Regex::new(&expression).map_err(|_| invalid())?;
        let whole = Regex::new(&format!(r"\A(?:{expression})\z")).map_err(|_| invalid())?;
        Ok(TopicFilter { pattern: pattern.to_owned(), whole })
    }

    /// The regular expression that was meant.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether the pattern matches the whole name. One that takes it too many tries is not matched.
    pub fn matches(&self, topic: &str) -> bool {
        self.whole.is_match(topic).unwrap_or(false)
    }

    pub fn allows(&self, topic: &str, exclude_internal: bool) -> bool {
        self.matches(topic) && !(exclude_internal && topic_name::is_internal(topic))
    }
}

/// Java's `\Q…\E` in characters.
fn unquote(pattern: &str) -> String {
    let mut expression = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, quoted)) = rest.split_once(r"\Q") {
        let (quoted, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
        expression.push_str(before);
        expression.push_str(&fancy_regex::escape(quoted));
        rest = after;
    }
    expression + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(pattern: &str) -> Vec<&'static str> {
        let filter = TopicFilter::new(pattern).unwrap();
        let names = ["a", "ab", "a.b", "t", "__consumer_offsets"];
        names.into_iter().filter(|name| filter.allows(name, false)).collect()
    }

    #[test]
    fn patterns_match_whole_names() {
        assert_eq!(matching("a"), ["a"]);
        assert_eq!(matching("a.*"), ["a", "ab", "a.b"]);
        assert_eq!(matching("t, a"), ["a", "t"]);
        assert_eq!(matching("a|t"), ["a", "t"]);
        assert_eq!(matching(r"a\.b"), ["a.b"]);
        assert_eq!(matching(r"\Qa.b\E|t"), ["a.b", "t"]);
        assert_eq!(matching("^(?!__).*"), ["a", "ab", "a.b", "t"]);
        assert_eq!(matching("\"'t'\""), ["t"]);
        assert!(TopicFilter::of_regex("a{1,2}").is_ok_and(|filter| filter.matches("aa")));
        assert_eq!(matching(""), Vec::<&str>::new());
        assert!(!TopicFilter::new(".*").unwrap().allows("__consumer_offsets", true));
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        for pattern in ["*", "a)|(b", "["] {
            let error = TopicFilter::new(pattern).unwrap_err().to_string();
            assert_eq!(error, format!("{pattern} is an invalid regex."));
        }
    }
}
