//! The options of the tool over brokers (`ConsoleConsumerOptions.java` of Kafka 3.9), and what they make of the
//! consumer's properties.

use std::collections::{BTreeMap, BTreeSet};

use super::Stop;
use super::format::Formatter;
use super::formatters;
use crate::tools::client_properties;
use crate::tools::console::Console;
use crate::tools::failure::Exception;
use crate::tools::help;
use crate::tools::options::{OptionSpec, Options, flag, integer, long, string};

/// What a person reads below Kafka's table.
pub(super) const OURS: &str = "
Beyond Kafka 3.9's options:
--output json          each record as a line of JSON
--zookeeper HOSTS      instead of --bootstrap-server, as in Kafka 0.8: a classic consumer";

const SENTENCE: &str = "This tool helps to read data from Kafka topics and outputs it to standard output.";

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Topic(String),
    /// Topics whose whole names match the expression.
    Include(String),
    Partition {
        topic: String,
        partition: i32,
        from: Start,
    },
}

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    At(i64),
}

/// A command line that makes sense.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) source: Source,
    /// Kafka's names, for the consumer.
    pub(super) consumer: BTreeMap<String, String>,
    pub(super) formatter: Formatter,
    /// `None`: without end.
    pub(super) max_messages: Option<u64>,
    /// `None`: for ever.
    pub(super) timeout_ms: Option<u64>,
    pub(super) skip_on_error: bool,
    pub(super) tells_of_end: bool,
}

fn usage<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Usage(message.into()))
}

impl Arguments {
    pub(super) fn read(arguments: &[String], console: &mut Console) -> Result<Arguments, Stop> {
        let mut known = specs();
        known.push(string("output", "json|text", ""));
        let options = Options::parse(&known, arguments).map_err(|error| Stop::Usage(error.to_string()))?;
        if arguments.is_empty() || options.has("help") {
            return usage(SENTENCE);
        }
        if options.has("version") {
            return Err(Stop::Version);
        }
        let value = |name: &str| options.value(name).map_err(|error| Stop::Usage(error.to_string()));
        check(&options)?;
        let partition = options.integer("partition").map_err(|error| Stop::Usage(error.to_string()))?;
        let from_file = match value("consumer.config")? {
            Some(path) => client_properties::load(path).map_err(Stop::Crash)?,
            None => BTreeMap::new(),
        };
        let given = client_properties::pairs(options.values("consumer-property"));
        let group = group(value("group")?, &from_file, &given)?;
        if group.is_some() && partition.is_some() {
            return usage("Options group and partition cannot be specified together.");
        }
        let mut consumer = from_file;
        consumer.extend(given);
        settle(&mut consumer, &options)?;
        join(&mut consumer, group);
        let source = match (value("topic")?, partition) {
            (Some(topic), Some(partition)) => {
                let from = start(value("offset")?, options.has("from-beginning"))?;
                Source::Partition { topic: topic.to_owned(), partition, from }
            }
            (Some(topic), None) => Source::Topic(topic.to_owned()),
            (None, _) => Source::Include(value("include")?.or(value("whitelist")?).unwrap_or("").to_owned()),
        };
        let formatter = match value("output")? {
            Some("json") => Formatter::Json,
            None | Some("text") => formatters::read(&options, console)?,
            Some(other) => {
                return usage(format!("Option \"[output]\" is json or text, but not '{other}'"));
            }
        };
        let max_messages = options.integer("max-messages").map_err(|error| Stop::Usage(error.to_string()))?;
        let timeout_ms = options.long("timeout-ms").map_err(|error| Stop::Usage(error.to_string()))?;
        Ok(Arguments {
            source,
            consumer,
            formatter,
            // Kafka takes −1 for "no end".
            max_messages: max_messages.and_then(|count| u64::try_from(count).ok()),
            timeout_ms: timeout_ms.and_then(|ms| u64::try_from(ms).ok()),
            skip_on_error: options.has("skip-message-on-error"),
            tells_of_end: options.has("enable-systest-events"),
        })
    }
}

fn check(options: &Options) -> Result<(), Stop> {
    let has = |name| options.has(name);
    let is_included = has("include") || has("whitelist");
    if has("topic") == is_included {
        let more = match has("whitelist") {
            true => "--whitelist is DEPRECATED use --include instead; ignored if --include specified.",
            false => "",
        };
        return usage(format!("Exactly one of --include/--topic is required. {more}"));
    }
    match (has("partition"), has("offset")) {
        (true, _) if !has("topic") => return usage("The topic is required when partition is specified."),
        (true, true) if has("from-beginning") => {
            return usage("Options from-beginning and offset cannot be specified together.");
        }
        (false, true) => return usage("The partition is required when offset is specified."),
        _ => {}
    }
    match has("bootstrap-server") {
        true => Ok(()),
        false => usage("Missing required argument \"[bootstrap-server]\""),
    }
}

/// The one group that is named, wherever it is.
fn group(
    option: Option<&str>,
    from_file: &BTreeMap<String, String>,
    given: &BTreeMap<String, String>,
) -> Result<Option<String>, Stop> {
    let named =
        [option, given.get("group.id").map(String::as_str), from_file.get("group.id").map(String::as_str)];
    let groups: BTreeSet<&str> = named.into_iter().flatten().collect();
    if groups.len() > 1 {
        let groups: Vec<String> = groups.into_iter().map(|group| format!("'{group}'")).collect();
        return usage(format!(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or \
             via '--consumer.config') do not match. Detected group ids: {}",
            groups.join(", ")
        ));
    }
    Ok(groups.first().map(|group| group.to_string()))
}

fn settle(consumer: &mut BTreeMap<String, String>, options: &Options) -> Result<(), Stop> {
    let value = |name: &str| options.value(name).map_err(|error| Stop::Usage(error.to_string()));
    let from_beginning = options.has("from-beginning");
    match consumer.get("auto.offset.reset") {
        Some(reset) if from_beginning && reset != "earliest" => {
            return Err(Stop::Refused(format!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one \
                 option"
            )));
        }
        Some(_) => {}
        None => {
            let reset = if from_beginning { "earliest" } else { "latest" };
            consumer.insert("auto.offset.reset".to_owned(), reset.to_owned());
        }
    }
    let servers = value("bootstrap-server")?.unwrap_or_default();
    consumer.insert("bootstrap.servers".to_owned(), servers.to_owned());
    let isolation = value("isolation-level")?.unwrap_or("read_uncommitted");
    if !["read_committed", "read_uncommitted"].contains(&isolation) {
        let problem = "String must be one of: read_committed, read_uncommitted";
        return Err(Stop::Logged(client_properties::invalid("isolation.level", isolation, problem)));
    }
    consumer.insert("isolation.level".to_owned(), isolation.to_owned());
    consumer.entry("client.id".to_owned()).or_insert_with(|| "console-consumer".to_owned());
    Ok(())
}

/// A group that nobody named is made up, and commits nothing unless it is told to.
fn join(consumer: &mut BTreeMap<String, String>, named: Option<String>) {
    let group = named.unwrap_or_else(|| {
        consumer.entry("enable.auto.commit".to_owned()).or_insert_with(|| "false".to_owned());
        format!("console-consumer-{}", rand::random_range(0..100_000))
    });
    consumer.insert("group.id".to_owned(), group);
}

fn start(offset: Option<&str>, from_beginning: bool) -> Result<Start, Stop> {
    let Some(text) = offset else {
        return Ok(if from_beginning { Start::Earliest } else { Start::Latest });
    };
    match (text.to_lowercase().as_str(), text.parse::<i64>()) {
        ("earliest", _) => Ok(Start::Earliest),
        ("latest", _) => Ok(Start::Latest),
        (_, Ok(offset @ 0..)) => Ok(Start::At(offset)),
        _ => usage(format!(
            "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a \
             non-negative long."
        )),
    }
}

/// What keeps the tool from beginning that its log tells of.
pub(super) fn unconstructed(problem: impl Into<String>) -> Exception {
    use crate::tools::client_config::{CONFIG_EXCEPTION, KAFKA_EXCEPTION};
    Exception::new(KAFKA_EXCEPTION, "Failed to construct kafka consumer").caused_by(CONFIG_EXCEPTION, problem)
}

/// The table of options.
pub(super) fn help() -> String {
    help::table(&specs())
}

fn specs() -> Vec<OptionSpec> {
    vec![
        string("bootstrap-server", "server to connect to", "REQUIRED: The server(s) to connect to."),
        string(
            "consumer-property",
            "consumer_prop",
            "A mechanism to pass user-defined properties in the form key=value to the consumer.",
        ),
        string(
            "consumer.config",
            "config file",
            "Consumer config properties file. Note that [consumer-property] takes precedence over this config.",
        ),
        flag(
            "enable-systest-events",
            "Log lifecycle events of the consumer in addition to logging consumed messages. (This is specific for \
             system tests.)",
        ),
        string(
            "formatter",
            "class",
            "The name of a class to use for formatting kafka messages for display. (default: \
             org.apache.kafka.tools.consumer.DefaultMessageFormatter)",
        ),
        string(
            "formatter-config",
            "config file",
            "Config properties file to initialize the message formatter. Note that [property] takes precedence \
             over this config.",
        ),
        flag(
            "from-beginning",
            "If the consumer does not already have an established offset to consume from, start with the earliest \
             message present in the log rather than the latest message.",
        ),
        string("group", "consumer group id", "The consumer group id of the consumer."),
        flag("help", "Print usage information."),
        string(
            "include",
            "Java regex (String)",
            "Regular expression specifying list of topics to include for consumption.",
        ),
        string(
            "isolation-level",
            "",
            "Set to read_committed in order to filter out transactional messages which are not committed. Set to \
             read_uncommitted to read all messages. (default: read_uncommitted)",
        ),
        string("key-deserializer", "deserializer for key", ""),
        integer(
            "max-messages",
            "num_messages",
            "The maximum number of messages to consume before exiting. If not set, consumption is continual.",
        ),
        string(
            "offset",
            "consume offset",
            "The offset to consume from (a non-negative number), or 'earliest' which means from beginning, or \
             'latest' which means from end (default: latest)",
        ),
        integer(
            "partition",
            "partition",
            "The partition to consume from. Consumption starts from the end of the partition unless '--offset' is \
             specified.",
        ),
        string("property", "prop", PROPERTY),
        flag(
            "skip-message-on-error",
            "If there is an error when processing a message, skip it instead of halt.",
        ),
        long(
            "timeout-ms",
            "timeout_ms",
            "If specified, exit if no message is available for consumption for the specified interval.",
        ),
        string("topic", "topic", "The topic to consume on."),
        string("value-deserializer", "deserializer for values", ""),
        flag("version", "Display Kafka version."),
        string(
            "whitelist",
            "Java regex (String)",
            "DEPRECATED, use --include instead; ignored if --include specified. Regular expression specifying list \
             of topics to include for consumption.",
        ),
    ]
}

const PROPERTY: &str = "The properties to initialize the message formatter. Default properties include:\n \
                        print.timestamp=true|false\n \
                        print.key=true|false\n \
                        print.offset=true|false\n \
                        print.partition=true|false\n \
                        print.headers=true|false\n \
                        print.value=true|false\n \
                        key.separator=<key.separator>\n \
                        line.separator=<line.separator>\n \
                        headers.separator=<line.separator>\n \
                        null.literal=<null.literal>\n \
                        key.deserializer=<key.deserializer>\n \
                        value.deserializer=<value.deserializer>\n \
                        header.deserializer=<header.deserializer>\n\
                        Users can also pass in customized properties for their formatter; more specifically, users \
                        can pass in properties keyed with 'key.deserializer.', 'value.deserializer.' and \
                        'headers.deserializer.' prefixes to configure their deserializers.";
