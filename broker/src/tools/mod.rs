//! Kafka's command line tools, of this program: what they print, where and with which exit code is
//! Kafka's, so that scripts work on. Where Kafka's tools print a stack trace, these print its first line.

mod client_config;
mod client_properties;
mod console;
pub mod console_consumer;
pub mod console_producer;
mod failure;
pub mod groups;
mod hash_order;
mod help;
mod interrupt;
mod java_exception;
mod java_log;
mod java_text;
mod java_time;
mod options;
mod patience;
pub mod topics;

/// What `--version` says: the release whose tools these are.
const KAFKA_VERSION: &str = "3.9.1";

/// Whether an option is on the command line, which decides whose tool this one is before it is read.
fn names_option(arguments: &[String], name: &str) -> bool {
    arguments.iter().any(|argument| {
        let rest = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        rest.is_some_and(|rest| rest.split('=').next() == Some(name))
    })
}
