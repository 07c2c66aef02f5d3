//! Lines of log4j, as Kafka's tools are configured to write them on stderr.

use super::failure::Exception;
use super::java_time;

/// `[time] WARN message (logger)`. The time is UTC.
pub(super) fn warning(now_ms: i64, message: &str, logger: &str) -> String {
    format!("[{}] WARN {message} ({logger})\n", java_time::format_utc(now_ms))
}

/// `[time] ERROR message (logger)`, then the exception. The time is UTC.
pub(super) fn error(now_ms: i64, message: &str, logger: &str, exception: &Exception) -> String {
    let time = java_time::format_utc(now_ms);
    let what = match exception.message.is_empty() {
        true => exception.class.to_owned(),
        false => exception.to_string(),
    };
    format!("[{time}] ERROR {message} ({logger})\n{what}\n")
}
