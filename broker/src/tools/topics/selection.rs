//! Which topics an action is about.

use client::znode::topic_name;

use super::options::Arguments;
use super::{Dialect, Failed};
use client::topic_filter::TopicFilter;

/// The topics that `--topic` and `--exclude-internal` leave.
pub(super) fn select(names: Vec<String>, arguments: &Arguments) -> Result<Vec<String>, Failed> {
    let exclude_internal = arguments.has("exclude-internal");
    let mut names = names;
    match arguments.value("topic")? {
        Some(pattern) => {
            let filter = TopicFilter::new(pattern).map_err(|error| Failed::new(error.to_string()))?;
            names.retain(|name| filter.allows(name, exclude_internal));
        }
        None => names.retain(|name| !(exclude_internal && topic_name::is_internal(name))),
    }
    Ok(names)
}

/// A topic that was asked for by `--topic` has to be there, unless `--if-exists` was said.
pub(super) fn ensure_found(dialect: Dialect, found: &[String], arguments: &Arguments) -> Result<(), Failed> {
    let Some(topic) = arguments.value("topic")? else { return Ok(()) };
    if arguments.has("if-exists") || !found.is_empty() {
        return Ok(());
    }
    match dialect {
        Dialect::Brokers if topic.is_empty() => Ok(()),
        Dialect::Brokers => Err(Failed::new(format!("Topic 'Optional[{topic}]' does not exist as expected"))),
        Dialect::ZooKeeper => Err(Failed::new(format!("Topic '{topic}' does not exist as expected"))),
    }
}
