//! The options of the tool over ZooKeeper (`ConsoleConsumer.scala` of Kafka 0.8.2).

use std::collections::BTreeMap;

use super::Stop;
use super::format::Formatter;
use super::formatters;
use crate::tools::client_properties;
use crate::tools::help;
use crate::tools::options::{OptionSpec, Options, bare, flag, integer, string};

const SENTENCE: &str =
    "The console consumer is a tool that reads data from Kafka and outputs it to standard output.";

/// Which topics are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topics {
    One(String),
    WhiteList(String),
    BlackList(String),
}

/// A command line that makes sense.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) zookeeper: String,
    pub(super) topics: Topics,
    /// Kafka's names, for the consumer; with a group in any case.
    pub(super) consumer: BTreeMap<String, String>,
    pub(super) group: String,
    /// The group is one of chance, and goes with the tool.
    pub(super) is_passing: bool,
    pub(super) from_beginning: bool,
    pub(super) delete_offsets: bool,
    pub(super) formatter: Formatter,
    /// `None`: without end.
    pub(super) max_messages: Option<u64>,
    pub(super) skip_on_error: bool,
}

impl Arguments {
    pub(super) fn read(arguments: &[String]) -> Result<Arguments, Stop> {
        let mut known = specs();
        // Ours, and what Kafka 0.8 does not have.
        known.extend([string("output", "json|text", ""), flag("help", ""), flag("version", "")]);
        let options = Options::parse(&known, arguments).map_err(|error| Stop::Crash(error.into()))?;
        let value = |name: &str| options.value(name).map_err(|error| Stop::Crash(error.into()));
        let usage = |message: &str| Err(Stop::ClassicUsage(message.to_owned()));
        if options.has("help") {
            return usage(SENTENCE);
        }
        if options.has("version") {
            return Err(Stop::Version);
        }
        let mut topics = [
            value("topic")?.map(|topic| Topics::One(topic.to_owned())),
            value("whitelist")?.map(|list| Topics::WhiteList(list.to_owned())),
            value("blacklist")?.map(|list| Topics::BlackList(list.to_owned())),
        ]
        .into_iter()
        .flatten();
        let (Some(topics), None) = (topics.next(), topics.next()) else {
            return usage("Exactly one of whitelist/blacklist/topic is required.");
        };
        let mut consumer = match value("consumer.config")? {
            Some(path) => client_properties::load(path).map_err(Stop::Crash)?,
            None => BTreeMap::new(),
        };
        let from_beginning = options.has("from-beginning");
        let reset = if from_beginning { "smallest" } else { "largest" };
        let zookeeper = value("zookeeper")?.unwrap_or_default().to_owned();
        consumer.insert("auto.offset.reset".to_owned(), reset.to_owned());
        consumer.insert("zookeeper.connect".to_owned(), zookeeper.clone());
        let is_passing = !consumer.contains_key("group.id");
        let group = consumer
            .entry("group.id".to_owned())
            .or_insert_with(|| format!("console-consumer-{}", rand::random_range(0..100_000)))
            .clone();
        let formatter = match value("output")? {
            Some("json") => Formatter::Json,
            None | Some("text") => formatters::read_classic(&options)?,
            Some(other) => {
                return usage(&format!("Option \"[output]\" is json or text, but not '{other}'"));
            }
        };
        let max_messages = options.integer("max-messages").map_err(|error| Stop::Crash(error.into()))?;
        Ok(Arguments {
            zookeeper,
            topics,
            consumer,
            group,
            is_passing,
            from_beginning,
            delete_offsets: options.has("delete-consumer-offsets"),
            formatter,
            max_messages: max_messages.and_then(|count| u64::try_from(count).ok()),
            skip_on_error: options.has("skip-message-on-error"),
        })
    }
}

/// The table of options.
pub(super) fn help() -> String {
    help::table(&specs())
}

fn specs() -> Vec<OptionSpec> {
    vec![
        bare("blacklist", "blacklist", "Blacklist of topics to exclude from consumption."),
        bare("consumer.config", "config file", "Consumer config properties file."),
        flag("csv-reporter-enabled", "If set, the CSV metrics reporter will be enabled"),
        flag(
            "delete-consumer-offsets",
            "If specified, the consumer path in zookeeper is deleted when starting up",
        ),
        bare(
            "formatter",
            "class",
            "The name of a class to use for formatting kafka messages for display. (default: \
             kafka.tools.DefaultMessageFormatter)",
        ),
        flag(
            "from-beginning",
            "If the consumer does not already have an established offset to consume from, start with the earliest \
             message present in the log rather than the latest message.",
        ),
        integer(
            "max-messages",
            "num_messages",
            "The maximum number of messages to consume before exiting. If not set, consumption is continual.",
        ),
        bare(
            "metrics-dir",
            "metrics dictory",
            "If csv-reporter-enable is set, and this parameter isset, the csv metrics will be outputed here",
        ),
        bare("property", "prop", ""),
        flag(
            "skip-message-on-error",
            "If there is an error when processing a message, skip it instead of halt.",
        ),
        bare("topic", "topic", "The topic id to consume on."),
        bare("whitelist", "whitelist", "Whitelist of topics to include for consumption."),
        bare(
            "zookeeper",
            "urls",
            "REQUIRED: The connection string for the zookeeper connection in the form host:port. Multiple URLS can \
             be given to allow fail-over.",
        ),
    ]
}
