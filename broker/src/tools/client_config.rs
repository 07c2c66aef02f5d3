//! `--command-config`: what a tool's admin client is told in a file of properties.

use std::time::Duration;

use client::admin::AdminOptions;
use client::wire::Str;

use super::failure::Exception;
use crate::config::{Kind, Value, properties};

pub(super) const CONFIG_EXCEPTION: &str = "org.apache.kafka.common.config.ConfigException";
pub(super) const KAFKA_EXCEPTION: &str = "org.apache.kafka.common.KafkaException";
/// Kafka's words for any trouble at the start of an admin client.
pub(super) const NO_CLIENT: &str = "Failed to create new KafkaAdminClient";

const REQUEST_TIMEOUT: &str = "request.timeout.ms";
const API_TIMEOUT: &str = "default.api.timeout.ms";
const CLIENT_ID: &str = "client.id";
const SECURITY_PROTOCOL: &str = "security.protocol";

/// Reads the file. Keys of Kafka's that make no difference here are passed over, as Kafka's own client
/// passes over those that it does not know.
pub(super) fn load(path: &str) -> Result<AdminOptions, Exception> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Exception::new("java.nio.file.NoSuchFileException", path),
        std::io::ErrorKind::PermissionDenied => Exception::new("java.nio.file.AccessDeniedException", path),
        _ => Exception::new("java.io.IOException", format!("{path}: {error}")),
    })?;
    // Java reads such files as Latin-1; what is beyond ASCII matters to none of the keys.
    parse(&String::from_utf8_lossy(&bytes), path)
}

fn parse(text: &str, path: &str) -> Result<AdminOptions, Exception> {
    let given = properties::parse(text)
        .map_err(|error| Exception::new("java.lang.IllegalArgumentException", format!("{path}: {error}")))?;
    let get = |name: &str| given.get(name).map(String::as_str);
    if let Some(protocol) = get(SECURITY_PROTOCOL) {
        check_protocol(protocol.trim())?;
    }
    let defaults = AdminOptions::default();
    let request_timeout = millis(REQUEST_TIMEOUT, get(REQUEST_TIMEOUT))?.unwrap_or(defaults.request_timeout);
    let api_timeout = millis(API_TIMEOUT, get(API_TIMEOUT))?;
    if api_timeout.is_some_and(|timeout| timeout < request_timeout) {
        let why = format!(
            "The specified value of {API_TIMEOUT} must be no smaller than the value of {REQUEST_TIMEOUT}."
        );
        return Err(Exception::new(KAFKA_EXCEPTION, NO_CLIENT).caused_by(CONFIG_EXCEPTION, why));
    }
    Ok(AdminOptions {
        client_id: get(CLIENT_ID).filter(|id| !id.is_empty()).map_or(defaults.client_id, Str::from),
        request_timeout,
        api_timeout: api_timeout.unwrap_or(defaults.api_timeout).max(request_timeout),
    })
}

fn check_protocol(protocol: &str) -> Result<(), Exception> {
    match protocol.to_ascii_uppercase().as_str() {
        "PLAINTEXT" => Ok(()),
        "SSL" | "SASL_PLAINTEXT" | "SASL_SSL" => {
            let why = format!(
                "{SECURITY_PROTOCOL}={protocol} is not supported here; allowed: PLAINTEXT, to a listener of that kind"
            );
            Err(Exception::new(KAFKA_EXCEPTION, NO_CLIENT).caused_by(CONFIG_EXCEPTION, why))
        }
        _ => Err(invalid(
            SECURITY_PROTOCOL,
            protocol,
            "String must be one of (case insensitive): SASL_SSL, PLAINTEXT, SSL, SASL_PLAINTEXT",
        )),
    }
}

fn millis(name: &str, text: Option<&str>) -> Result<Option<Duration>, Exception> {
    let Some(text) = text else { return Ok(None) };
    match Kind::Int.parse(text) {
        Ok(Value::Int(millis)) => match u64::try_from(millis) {
            Ok(millis) => Ok(Some(Duration::from_millis(millis))),
            Err(_) => Err(invalid(name, text, "Value must be at least 0")),
        },
        Ok(_) => Err(invalid(name, text, "Not a number of type INT")),
        Err(why) => Err(invalid(name, text, &why.to_string())),
    }
}

fn invalid(name: &str, value: &str, why: &str) -> Exception {
    Exception::new(CONFIG_EXCEPTION, format!("Invalid value {value} for configuration {name}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let exception = parse(text, "f").unwrap_err();
        exception.cause.map_or(exception.message, |(_, why)| why)
    }

    #[test]
    fn timeouts_and_the_client_id_are_taken_over() {
        let options = parse("request.timeout.ms=2000\ndefault.api.timeout.ms=3000\nclient.id=me\nx=y", "f");
        let options = options.unwrap();
        assert_eq!(options.request_timeout, Duration::from_secs(2));
        assert_eq!(options.api_timeout, Duration::from_secs(3));
        assert_eq!(options.client_id, "me");
        let raised = parse("request.timeout.ms=90000\nsecurity.protocol=plaintext", "f").unwrap();
        assert_eq!(raised.api_timeout, Duration::from_secs(90));
    }

    #[test]
    fn wrong_values_are_refused_in_kafkas_words() {
        assert_eq!(
            refusal("request.timeout.ms=abc"),
            "Invalid value abc for configuration request.timeout.ms: Not a number of type INT"
        );
        assert_eq!(
            refusal("request.timeout.ms=-1"),
            "Invalid value -1 for configuration request.timeout.ms: Value must be at least 0"
        );
        assert_eq!(
            refusal("default.api.timeout.ms=10"),
            "The specified value of default.api.timeout.ms must be no smaller than the value of request.timeout.ms."
        );
        assert_eq!(
            refusal("security.protocol=SSL"),
            "security.protocol=SSL is not supported here; allowed: PLAINTEXT, to a listener of that kind"
        );
        assert!(refusal("security.protocol=FOO").starts_with("Invalid value FOO for configuration"));
    }
}
