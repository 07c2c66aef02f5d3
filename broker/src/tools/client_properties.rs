//! Properties of a client, from files and from options such as `--producer-property`.

use std::collections::BTreeMap;

use super::client_config::CONFIG_EXCEPTION;
use super::failure::Exception;
use crate::config::properties;

/// A file of properties.
pub(super) fn load(path: &str) -> Result<BTreeMap<String, String>, Exception> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Exception::new("java.nio.file.NoSuchFileException", path),
        std::io::ErrorKind::PermissionDenied => Exception::new("java.nio.file.AccessDeniedException", path),
        _ => Exception::new("java.io.IOException", format!("{path}: {error}")),
    })?;
    let parsed = properties::parse(&String::from_utf8_lossy(&bytes));
    let parsed = parsed
        .map_err(|error| Exception::new("java.lang.IllegalArgumentException", format!("{path}: {error}")))?;
    Ok(parsed.into_iter().collect())
}

/// `key=value` from the command line. What has no `=` is passed over, as by Kafka's tools.
pub(super) fn pairs(given: &[String]) -> BTreeMap<String, String> {
    let pairs = given.iter().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A value that a client cannot take.
pub(super) fn invalid(name: &str, value: &str, problem: &str) -> Exception {
    Exception::new(CONFIG_EXCEPTION, format!("Invalid value {value} for configuration {name}: {problem}"))
}
