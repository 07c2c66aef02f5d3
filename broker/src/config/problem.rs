//! What keeps a broker from starting with its configuration, and what is only worth a warning.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::properties::PropertiesError;

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: PropertiesError },
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("--override {0:?} is not of the form key=value")]
    Override(String),
    #[error("{key}={value}: {why}; allowed: {allowed}")]
    Wrong { key: String, value: String, why: String, allowed: String },
    #[error("{key} is not set; required: {required}")]
    Missing { key: &'static str, required: &'static str },
    #[error("{key}={value} is refused: {why}; allowed: {allowed}")]
    Refused { key: String, value: String, why: String, allowed: String },
}

/// Everything wrong with the configuration, so that it can be mended at once.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "the configuration has a problem:")?,
            count => write!(f, "the configuration has {count} problems:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// Something an operator should know, though the broker starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    Unknown { key: String, nearest: Option<&'static str> },
    WithoutEffect { key: String, value: String, doc: &'static str },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Unknown { key, nearest: Some(nearest) } => {
                write!(f, "unknown configuration key {key} is ignored; did you mean {nearest}?")
            }
            Warning::Unknown { key, nearest: None } => {
                write!(f, "unknown configuration key {key} is ignored")
            }
            Warning::WithoutEffect { key, value, doc } => {
                write!(f, "{key}={value} is accepted but has no effect here ({doc})")
            }
        }
    }
}
