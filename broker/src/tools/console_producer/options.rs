//! The options of the tool (`ConsoleProducer.scala` of Kafka 3.9), those that only older ones had, and what they
//! make of the producer's properties.

use std::collections::BTreeMap;

use super::Stop;
use crate::tools::client_properties;
use crate::tools::failure::Exception;
use crate::tools::help;
use crate::tools::options::{OptionSpec, Options, flag, integer, long, string};

/// What a person reads below Kafka's table.
pub(super) const OURS: &str = "
Beyond Kafka 3.9's options:
--zookeeper HOSTS      instead of --bootstrap-server: find leaders by watching ZooKeeper
--output json          each record's partition and offset, or its error, as a line of JSON on stdout";

const SENTENCE: &str = "This tool helps to read data from standard input and publish it to Kafka.";

/// Kafka's own reader, the only one there is here.
const LINE_READER: &str = "kafka.tools.ConsoleProducer$LineMessageReader";

/// Options of Kafka 0.8 to 2.8 that mean nothing any more.
const FLAGS_OF_OLD: [&str; 1] = ["new-producer"];
const VALUES_OF_OLD: [&str; 5] =
    ["key-serializer", "value-serializer", "queue-size", "queue-enqueuetimeout-ms", "property-file"];

/// A producer's property, the option that sets it, and the option's default.
const SETTINGS: [(&str, &str, &str); 10] = [
    ("linger.ms", "timeout", "1000"),
    ("acks", "request-required-acks", "-1"),
    ("request.timeout.ms", "request-timeout-ms", "1500"),
    ("retries", "message-send-max-retries", "3"),
    ("retry.backoff.ms", "retry-backoff-ms", "100"),
    ("send.buffer.bytes", "socket-buffer-size", "102400"),
    ("buffer.memory", "max-memory-bytes", "33554432"),
    ("batch.size", "batch-size", "16384"),
    ("metadata.max.age.ms", "metadata-expiry-ms", "300000"),
    ("max.block.ms", "max-block-ms", "60000"),
];

/// A command line that makes sense.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) topic: String,
    pub(super) is_sync: bool,
    pub(super) is_json: bool,
    /// Kafka's names, for the producer.
    pub(super) producer: BTreeMap<String, String>,
    /// For the reader of lines.
    pub(super) reader: BTreeMap<String, String>,
}

impl Arguments {
    pub(super) fn read(arguments: &[String]) -> Result<Arguments, Stop> {
        let mut known = specs();
        known.extend(ours());
        let options = Options::parse(&known, arguments).map_err(|error| Stop::Usage(error.to_string()))?;
        let value = |name: &str| options.value(name).map_err(|error| Stop::Usage(error.to_string()));
        if options.has("help") {
            return Err(Stop::Usage(SENTENCE.to_owned()));
        }
        if options.has("version") {
            return Err(Stop::Version);
        }
        let servers = match (value("bootstrap-server")?, value("broker-list")?) {
            (Some(servers), _) | (None, Some(servers)) => Some(servers),
            (None, None) if options.has("zookeeper") => None,
            (None, None) => return Err(Stop::Usage("Missing required option(s) [bootstrap-server]".into())),
        };
        let Some(topic) = value("topic")? else {
            return Err(Stop::Usage("Missing required argument \"[topic]\"".to_owned()));
        };
        if servers.is_some_and(|servers| !servers.split(',').all(has_port)) {
            let advice = "Please provide valid host:port like host1:9091,host2:9092\n ";
            return Err(Stop::Usage(advice.to_owned()));
        }
        let class = value("line-reader")?.unwrap_or(LINE_READER);
        if class != LINE_READER {
            return Err(Exception::new("java.lang.ClassNotFoundException", class).into());
        }
        let mut reader = match value("reader-config")? {
            Some(path) => client_properties::load(path)?,
            None => BTreeMap::new(),
        };
        reader.extend(client_properties::pairs(options.values("property")));
        let mut producer = match value("producer.config")? {
            Some(path) => client_properties::load(path)?,
            None => BTreeMap::new(),
        };
        producer.extend(client_properties::pairs(options.values("producer-property")));
        settle(&mut producer, &options)?;
        match (servers, value("zookeeper")?) {
            (Some(servers), None) => producer.insert("bootstrap.servers".into(), servers.to_owned()),
            (None, Some(hosts)) => producer.insert("zookeeper.connect".into(), hosts.to_owned()),
            _ => {
                let clash = "Option \"[zookeeper]\" can't be used with option \"[bootstrap-server]\"";
                return Err(Stop::Usage(clash.to_owned()));
            }
        };
        let is_json = match value("output")? {
            Some("json") => true,
            None | Some("text") => false,
            Some(other) => {
                let message = format!("Option \"[output]\" is json or text, but not '{other}'");
                return Err(Stop::Usage(message));
            }
        };
        Ok(Arguments { topic: topic.to_owned(), is_sync: options.has("sync"), is_json, producer, reader })
    }
}

fn has_port(server: &str) -> bool {
    let port = server.trim().rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Options that were given win over properties, those over the options' defaults.
fn settle(producer: &mut BTreeMap<String, String>, options: &Options) -> Result<(), Stop> {
    let thrown = |error| Stop::from(Exception::from(error));
    let codec = match options.has("compression-codec") {
        // Without a value.
        true => options.value("compression-codec").map_err(thrown)?.filter(|codec| !codec.is_empty()),
        false => Some("none"),
    };
    producer.insert("compression.type".to_owned(), codec.unwrap_or("gzip").to_owned());
    producer.entry("client.id".to_owned()).or_insert_with(|| "console-producer".to_owned());
    for (property, option, default) in SETTINGS {
        let is_number = specs()
            .iter()
            .any(|spec| spec.name == option && spec.value.is_some_and(|value| value.kind != "String"));
        let given = match is_number {
            true => options.long(option).map_err(thrown)?.map(|number| number.to_string()),
            false => options.value(option).map_err(thrown)?.map(str::to_owned),
        };
        match given {
            Some(given) => drop(producer.insert(property.to_owned(), given)),
            None => drop(producer.entry(property.to_owned()).or_insert_with(|| default.to_owned())),
        }
    }
    if let Some(bytes) = options.long("max-partition-memory-bytes").map_err(thrown)? {
        producer.insert("batch.size".to_owned(), bytes.to_string());
    }
    check(producer, "acks", &["all", "-1", "0", "1"])?;
    check(producer, "compression.type", &["none", "gzip", "snappy", "lz4", "zstd"])
}

fn check(producer: &BTreeMap<String, String>, name: &str, allowed: &[&str]) -> Result<(), Stop> {
    match producer.get(name) {
        Some(value) if !allowed.contains(&value.trim()) => {
            let problem = format!("String must be one of: {}", allowed.join(", "));
            Err(client_properties::invalid(name, value, &problem).into())
        }
        _ => Ok(()),
    }
}

/// The table of options.
pub(super) fn help() -> String {
    help::table(&specs())
}

fn ours() -> Vec<OptionSpec> {
    let mut ours = vec![string("zookeeper", "", ""), string("output", "json|text", "")];
    ours.extend(FLAGS_OF_OLD.map(|name| flag(name, "")));
    ours.extend(VALUES_OF_OLD.map(|name| string(name, "", "")));
    ours
}

fn specs() -> Vec<OptionSpec> {
    let mut specs = vec![
        integer(
            "batch-size",
            "size",
            "Number of messages to send in a single batch if they are not being sent synchronously. please note \
             that this option will be replaced if max-partition-memory-bytes is also set (default: 16384)",
        ),
        string(
            "bootstrap-server",
            "server to connect to",
            "REQUIRED unless --broker-list(deprecated) is specified. The server(s) to connect to. The broker list \
             string in the form HOST1:PORT1,HOST2:PORT2.",
        ),
        string(
            "broker-list",
            "broker-list",
            "DEPRECATED, use --bootstrap-server instead; ignored if --bootstrap-server is specified.  The broker \
             list string in the form HOST1:PORT1,HOST2:PORT2.",
        ),
        string(
            "compression-codec",
            "compression-codec",
            "The compression codec: either 'none', 'gzip', 'snappy', 'lz4', or 'zstd'.If specified without value, \
             then it defaults to 'gzip'",
        )
        .optional(),
        flag("help", "Print usage information."),
        string(
            "line-reader",
            "reader_class",
            "The class name of the class to use for reading lines from standard in. By default each line is read \
             as a separate message. (default: kafka.tools.ConsoleProducer$LineMessageReader)",
        ),
        string("producer-property", "producer_prop", PRODUCER_PROPERTY),
        string(
            "producer.config",
            "config file",
            "Producer config properties file. Note that [producer-property] takes precedence over this config.",
        ),
        string("property", "prop", PROPERTY),
        string(
            "reader-config",
            "config file",
            "Config properties file for the message reader. Note that [property] takes precedence over this \
             config.",
        ),
        flag(
            "sync",
            "If set message send requests to the brokers are synchronously, one at a time as they arrive.",
        ),
        string("topic", "topic", "REQUIRED: The topic id to produce messages to."),
        flag("version", "Display Kafka version."),
    ];
    specs.extend(limits());
    specs
}

const PRODUCER_PROPERTY: &str =
    "A mechanism to pass user-defined properties in the form key=value to the producer.";

const PROPERTY: &str = "A mechanism to pass user-defined properties in the form key=value to the message reader. This \
                        allows custom configuration for a user-defined message reader.\n\
                        Default properties include:\n \
                        parse.key=false\n \
                        parse.headers=false\n \
                        ignore.error=false\n \
                        key.separator=\\t\n \
                        headers.delimiter=\\t\n \
                        headers.separator=,\n \
                        headers.key.separator=:\n \
                        null.marker=   When set, any fields (key, value and headers) equal to this will be replaced \
                        by null\n\
                        Default parsing pattern when:\n \
                        parse.headers=true and parse.key=true:\n  \"h1:v1,h2:v2...\\tkey\\tvalue\"\n \
                        parse.key=true:\n  \"key\\tvalue\"\n \
                        parse.headers=true:\n  \"h1:v1,h2:v2...\\tvalue\"";

fn limits() -> Vec<OptionSpec> {
    vec![
        long(
            "max-block-ms",
            "max block on send",
            "The max time that the producer will block for during a send request. (default: 60000)",
        ),
        long(
            "max-memory-bytes",
            "total memory in bytes",
            "The total memory used by the producer to buffer records waiting to be sent to the server. This is the \
             option to control `buffer.memory` in producer configs. (default: 33554432)",
        ),
        integer(
            "max-partition-memory-bytes",
            "memory in bytes per partition",
            "The buffer size allocated for a partition. When records are received which are smaller than this size \
             the producer will attempt to optimistically group them together until this size is reached. This is \
             the option to control `batch.size` in producer configs. (default: 16384)",
        ),
        integer(
            "message-send-max-retries",
            "",
            "Brokers can fail receiving the message for multiple reasons, and being unavailable transiently is \
             just one of them. This property specifies the number of retries before the producer give up and drop \
             this message. This is the option to control `retries` in producer configs. (default: 3)",
        ),
        long(
            "metadata-expiry-ms",
            "metadata expiration interval",
            "The period of time in milliseconds after which we force a refresh of metadata even if we haven't seen \
             any leadership changes. This is the option to control `metadata.max.age.ms` in producer configs. \
             (default: 300000)",
        ),
        string(
            "request-required-acks",
            "request required acks",
            "The required `acks` of the producer requests (default: -1)",
        ),
        integer(
            "request-timeout-ms",
            "request timeout ms",
            "The ack timeout of the producer requests. Value must be non-negative and non-zero. (default: 1500)",
        ),
        long(
            "retry-backoff-ms",
            "",
            "Before each retry, the producer refreshes the metadata of relevant topics. Since leader election takes \
             a bit of time, this property specifies the amount of time that the producer waits before refreshing \
             the metadata. This is the option to control `retry.backoff.ms` in producer configs. (default: 100)",
        ),
        integer(
            "socket-buffer-size",
            "size",
            "The size of the tcp RECV size. This is the option to control `send.buffer.bytes` in producer configs. \
             (default: 102400)",
        ),
        long(
            "timeout",
            "timeout_ms",
            "If set and the producer is running in asynchronous mode, this gives the maximum amount of time a \
             message will queue awaiting sufficient batch size. The value is given in ms. This is the option to \
             control `linger.ms` in producer configs. (default: 1000)",
        ),
    ]
}
