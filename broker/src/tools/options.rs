//! Options as Kafka's tools read them (jopt-simple): `--name`, `--name value`, `--name=value`, `-name`
//! alike; none may be shortened; what is no option is passed over; values are looked at only when asked
//! for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use super::failure::Exception;

/// An option that a tool knows.
#[derive(Debug, Clone)]
pub(super) struct OptionSpec {
    pub(super) name: &'static str,
    /// `None`: it takes no value.
    pub(super) value: Option<ValueSpec>,
    pub(super) description: Cow<'static, str>,
    /// It makes sense only beside one of these. Empty: always.
    available_with: &'static [&'static str],
}

impl OptionSpec {
    pub(super) fn available_with(self, names: &'static [&'static str]) -> OptionSpec {
        OptionSpec { available_with: names, ..self }
    }

    /// The value may be left out.
    pub(super) fn optional(self) -> OptionSpec {
        let value = self.value.map(|value| ValueSpec { is_optional: true, ..value });
        OptionSpec { value, ..self }
    }
}

/// What an option's value is, for the help.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueSpec {
    /// Empty where older tools leave it out.
    pub(super) kind: &'static str,
    /// May be empty.
    pub(super) described_as: &'static str,
    pub(super) is_optional: bool,
}

/// Takes no value.
pub(super) fn flag(name: &'static str, description: impl Into<Cow<'static, str>>) -> OptionSpec {
    OptionSpec { name, value: None, description: description.into(), available_with: &[] }
}

pub(super) fn string(
    name: &'static str,
    described_as: &'static str,
    description: impl Into<Cow<'static, str>>,
) -> OptionSpec {
    valued(name, "String", described_as, description)
}

pub(super) fn integer(
    name: &'static str,
    described_as: &'static str,
    description: impl Into<Cow<'static, str>>,
) -> OptionSpec {
    valued(name, "Integer", described_as, description)
}

pub(super) fn long(
    name: &'static str,
    described_as: &'static str,
    description: impl Into<Cow<'static, str>>,
) -> OptionSpec {
    valued(name, "Long", described_as, description)
}

/// A text, as the tools of Kafka 0.8 show it.
pub(super) fn bare(
    name: &'static str,
    described_as: &'static str,
    description: impl Into<Cow<'static, str>>,
) -> OptionSpec {
    valued(name, "", described_as, description)
}

fn valued(
    name: &'static str,
    kind: &'static str,
    described_as: &'static str,
    description: impl Into<Cow<'static, str>>,
) -> OptionSpec {
    let value = Some(ValueSpec { kind, described_as, is_optional: false });
    OptionSpec { name, value, description: description.into(), available_with: &[] }
}

/// What was given on a command line.
#[derive(Debug, Default)]
pub(super) struct Options {
    given: BTreeMap<&'static str, Vec<String>>,
}

/// The texts are those of jopt-simple.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum OptionError {
    #[error("{0} is not a recognized option")]
    Unrecognized(String),
    #[error("Option {0} requires an argument")]
    NoValue(&'static str),
    #[error("Option(s) [{}] are unavailable given other options on the command line", .0.join(", "))]
    Unavailable(Vec<&'static str>),
    #[error("Found multiple arguments for option {0}, but you asked for only one")]
    SeveralValues(String),
    #[error("Cannot parse argument '{value}' of option {name}")]
    Unparsable { name: String, value: String },
}

impl From<OptionError> for Exception {
    fn from(error: OptionError) -> Exception {
        let class = match &error {
            OptionError::Unrecognized(_) => "joptsimple.UnrecognizedOptionException",
            OptionError::NoValue(_) => "joptsimple.OptionMissingRequiredArgumentException",
            OptionError::Unavailable(_) => "joptsimple.UnavailableOptionException",
            OptionError::SeveralValues(_) => "joptsimple.MultipleArgumentsForOptionException",
            OptionError::Unparsable { .. } => "joptsimple.OptionArgumentConversionException",
        };
        Exception::new(class, error.to_string())
    }
}

impl Options {
    pub(super) fn parse(specs: &[OptionSpec], arguments: &[String]) -> Result<Options, OptionError> {
        let mut options = Options::default();
        let mut arguments = arguments.iter().peekable();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                break;
            }
            let (dashes, token) = match (argument.strip_prefix("--"), argument.strip_prefix('-')) {
                (Some(token), _) => (2, token),
                (None, Some(token)) if !token.is_empty() => (1, token),
                _ => continue,
            };
            let (name, inline) = match token.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (token, None),
            };
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
                // One dash begins letters, of which no tool of ours knows any.
                let unknown = if dashes == 1 { token.chars().take(1).collect() } else { name.to_owned() };
                return Err(OptionError::Unrecognized(unknown));
            };
            let values = options.given.entry(spec.name).or_default();
            let Some(value) = spec.value else { continue };
            let next = match value.is_optional {
                true if inline.is_none() => arguments.next_if(|next| !looks_like_an_option(next)),
                true => None,
                false if inline.is_none() => arguments.next(),
                false => None,
            };
            match inline.or(next.map(String::as_str)) {
                Some(given) => values.push(given.to_owned()),
                None if value.is_optional => {}
                None => return Err(OptionError::NoValue(spec.name)),
            }
        }
        options.check_availability(specs)?;
        Ok(options)
    }

    fn check_availability(&self, specs: &[OptionSpec]) -> Result<(), OptionError> {
        // What the help says is asked for even where other options do not fit.
        if self.has("help") || self.has("version") {
            return Ok(());
        }
        let is_unavailable = |spec: &&OptionSpec| {
            let with = spec.available_with;
            self.has(spec.name) && !with.is_empty() && !with.iter().any(|other| self.has(other))
        };
        let mut unavailable: Vec<&'static str> =
            specs.iter().filter(is_unavailable).map(|spec| spec.name).collect();
        unavailable.sort_unstable();
        match unavailable.is_empty() {
            true => Ok(()),
            false => Err(OptionError::Unavailable(unavailable)),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// All values of an option that may be repeated.
    pub(super) fn values(&self, name: &str) -> &[String] {
        self.given.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn value(&self, name: &str) -> Result<Option<&str>, OptionError> {
        match self.values(name) {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(OptionError::SeveralValues(name.to_owned())),
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i32>, OptionError> {
        self.number(name)
    }

    pub(super) fn long(&self, name: &str) -> Result<Option<i64>, OptionError> {
        self.number(name)
    }

    fn number<N: FromStr>(&self, name: &str) -> Result<Option<N>, OptionError> {
        let Some(text) = self.value(name)? else { return Ok(None) };
        let unparsable = |_| OptionError::Unparsable { name: name.to_owned(), value: text.to_owned() };
        text.parse().map(Some).map_err(unparsable)
    }
}

fn looks_like_an_option(argument: &str) -> bool {
    argument.starts_with('-') && argument != "-" && argument != "--"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let specs = [flag("list", ""), string("topic", "", ""), integer("partitions", "", "")];
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        Options::parse(&specs, &arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn values_follow_or_are_attached() {
        let options = parse(&["--topic", "--list", "--partitions=3", "-list", "stray", "-"]).unwrap();
        assert_eq!(options.value("topic"), Ok(Some("--list")));
        assert_eq!(options.integer("partitions"), Ok(Some(3)));
        assert!(options.has("list"));
        assert_eq!(parse(&["--topic="]).unwrap().value("topic"), Ok(Some("")));
        assert!(parse(&["--list=x"]).unwrap().has("list"));
        assert!(!parse(&["--", "--list"]).unwrap().has("list"));
        assert_eq!(parse(&[]).unwrap().value("topic"), Ok(None));
    }

    #[test]
    fn mistakes_are_named_as_jopt_simple_does() {
        let error = |arguments: &[&str]| parse(arguments).unwrap_err();
        assert_eq!(error(&["--lis"]), "lis is not a recognized option");
        assert_eq!(error(&["--x=1"]), "x is not a recognized option");
        assert_eq!(error(&["-xlist"]), "x is not a recognized option");
        assert_eq!(error(&["--topic"]), "Option topic requires an argument");
        let options = parse(&["--topic", "a", "--topic", "b", "--partitions", "two"]).unwrap();
        assert_eq!(
            options.value("topic").unwrap_err().to_string(),
            "Found multiple arguments for option topic, but you asked for only one"
        );
        assert_eq!(
            options.integer("partitions").unwrap_err().to_string(),
            "Cannot parse argument 'two' of option partitions"
        );
    }

    #[test]
    fn some_values_may_be_left_out_and_some_options_need_another() {
        let specs = [
            flag("list", ""),
            flag("describe", ""),
            string("state", "", "").optional().available_with(&["list", "describe"]),
            flag("verbose", "").available_with(&["describe"]),
            flag("members", "").available_with(&["describe"]),
        ];
        let parse = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
            Options::parse(&specs, &arguments).map_err(|error| error.to_string())
        };
        let options = parse(&["--state", "--list"]).unwrap();
        assert!(options.has("state") && options.has("list"));
        assert_eq!(options.value("state"), Ok(None));
        assert_eq!(parse(&["--list", "--state", "a,b"]).unwrap().value("state"), Ok(Some("a,b")));
        assert_eq!(parse(&["--list", "--state=a"]).unwrap().value("state"), Ok(Some("a")));
        assert_eq!(
            parse(&["--list", "--verbose", "--members"]).unwrap_err(),
            "Option(s) [members, verbose] are unavailable given other options on the command line"
        );
    }
}
