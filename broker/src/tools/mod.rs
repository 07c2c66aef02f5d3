//! Kafka's command line tools, of this program: what they print, where and with which exit code is
//! Kafka's, so that scripts work on. Where Kafka's tools print a stack trace, these print its first line.

mod client_config;
mod console;
mod failure;
mod hash_order;
mod help;
mod java_text;
mod options;
pub mod topics;
