//! Kafka's names for the settings: those of its producer of 3.9, and of the classic producer of 0.8.

use std::collections::BTreeMap;
use std::time::Duration;

use super::builder::ProducerBuilder;
use super::options::{Acks, Idempotence};
use super::partitioner::Partitioning;
use crate::cluster::Discovery;
use crate::record::{Codec, Compression};
use crate::wire::Str;
use crate::zk::ZkConfig;

/// A property's value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid value {value} for configuration {name}: {problem}")]
pub struct PropertyError {
    pub name: String,
    pub value: String,
    pub problem: &'static str,
}

/// Names that only the classic producer knows; with one of them, its defaults hold.
const CLASSIC: [&str; 11] = [
    "metadata.broker.list",
    "producer.type",
    "request.required.acks",
    "serializer.class",
    "key.serializer.class",
    "compression.codec",
    "message.send.max.retries",
    "topic.metadata.refresh.interval.ms",
    "queue.buffering.max.ms",
    "queue.enqueue.timeout.ms",
    "batch.num.messages",
];

/// Values are bytes here, so these mean nothing and are no mistake.
const SERIALIZERS: [&str; 4] =
    ["key.serializer", "value.serializer", "serializer.class", "key.serializer.class"];

pub(super) fn read<K: AsRef<str>, V: AsRef<str>>(
    properties: impl IntoIterator<Item = (K, V)>,
) -> Result<ProducerBuilder, PropertyError> {
    let given = properties.into_iter();
    let given: BTreeMap<String, String> =
        given.map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().trim().to_owned())).collect();
    let is_classic = CLASSIC.iter().any(|name| given.contains_key(*name));
    let is_async = given.get("producer.type").is_some_and(|kind| kind == "async");
    let mut builder = if is_classic { classic(is_async) } else { ProducerBuilder::default() };
    for (name, value) in &given {
        // Batches of a sync producer of old are what one call sends.
        if name == "queue.buffering.max.ms" && !is_async {
            continue;
        }
        builder = set(builder, name, value)?;
    }
    let patience = given.get("zookeeper.session.timeout.ms").map(String::as_str);
    if let Some(connect) = given.get("zookeeper.connect") {
        let mut config = ZkConfig::new(connect);
        if let Some(patience) = patience {
            config.session_timeout = millis("zookeeper.session.timeout.ms", patience)?;
        }
        builder = builder.discovery(Discovery::ZooKeeper(config));
    }
    let asked = given.contains_key("delivery.timeout.ms");
    Ok(builder.with(|options| {
        // As in Kafka, a time that nobody chose yields to those that were chosen.
        if !asked {
            options.delivery_timeout = options.delivery_timeout.max(options.linger + options.request_timeout);
        }
    }))
}

/// The defaults of 0.8.
fn classic(is_async: bool) -> ProducerBuilder {
    ProducerBuilder::default().with(|options| {
        options.acks = Acks::None;
        options.retries = 3;
        options.request_timeout = Duration::from_secs(10);
        options.metadata_max_age = Duration::from_secs(600);
        options.max_block = FOR_EVER;
        if is_async {
            options.linger = Duration::from_secs(5);
        }
    })
}

/// "Block", as far as a clock can count.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

fn set(builder: ProducerBuilder, name: &str, value: &str) -> Result<ProducerBuilder, PropertyError> {
    let invalid = |problem| PropertyError { name: name.to_owned(), value: value.to_owned(), problem };
    let mut options = builder.options.clone();
    match name {
        "bootstrap.servers" | "metadata.broker.list" => return Ok(builder.bootstrap_servers(value)),
        // Read with all that belongs to it, and before `bootstrap.servers`.
        "zookeeper.connect" | "zookeeper.session.timeout.ms" => {}
        "client.id" => options.client_id = Str::from(value),
        "acks" | "request.required.acks" => options.acks = acks(value).ok_or_else(|| invalid(ACKS))?,
        "enable.idempotence" => {
            options.idempotence = match boolean(value).ok_or_else(|| invalid(BOOLEAN))? {
                true => Idempotence::Required,
                false => Idempotence::Off,
            }
        }
        "retries" | "message.send.max.retries" => options.retries = number(name, value)?,
        "delivery.timeout.ms" => options.delivery_timeout = millis(name, value)?,
        "request.timeout.ms" => options.request_timeout = millis(name, value)?,
        "batch.size" => options.batch_size = number(name, value)?,
        "linger.ms" | "queue.buffering.max.ms" => options.linger = millis(name, value)?,
        "buffer.memory" => options.buffer_memory = number(name, value)?,
        "max.block.ms" => options.max_block = millis(name, value)?,
        "queue.enqueue.timeout.ms" => {
            options.max_block = if value == "-1" { FOR_EVER } else { millis(name, value)? }
        }
        "max.request.size" => options.max_request_size = number(name, value)?,
        "max.in.flight.requests.per.connection" => options.max_in_flight = number(name, value)?,
        "compression.type" | "compression.codec" => {
            let codec = codec(value).ok_or_else(|| invalid("it must be none, gzip, snappy, lz4 or zstd"))?;
            options.compression = Compression { codec, ..options.compression };
        }
        "producer.type" if matches!(value, "sync" | "async") => {}
        "producer.type" => return Err(invalid("it must be sync or async")),
        "partitioner.class" => {
            options.partitioning = partitioning(value).ok_or_else(|| {
                invalid("no such class is known here; set a partitioner of your own in code")
            })?
        }
        "partitioner.ignore.keys" => {
            if boolean(value).ok_or_else(|| invalid(BOOLEAN))? {
                options.partitioning = Partitioning::Sticky;
            }
        }
        "metadata.max.age.ms" => options.metadata_max_age = millis(name, value)?,
        "topic.metadata.refresh.interval.ms" => {
            options.metadata_max_age = if value.starts_with('-') { FOR_EVER } else { millis(name, value)? }
        }
        "metadata.max.idle.ms" => options.metadata_max_idle = millis(name, value)?,
        "retry.backoff.ms" => options.retry_backoff.first = millis(name, value)?,
        "retry.backoff.max.ms" => options.retry_backoff.longest = millis(name, value)?,
        "reconnect.backoff.ms" => options.reconnect_backoff.first = millis(name, value)?,
        "reconnect.backoff.max.ms" => options.reconnect_backoff.longest = millis(name, value)?,
        name if SERIALIZERS.contains(&name) => {}
        name => match name.strip_prefix("compression.").and_then(|rest| rest.strip_suffix(".level")) {
            // Which codec it is for shows when all is read; there is one level at a time.
            Some(_) => options.compression.level = Some(number(name, value)?),
            None => tracing::warn!(name, value, "this property means nothing to the producer"),
        },
    }
    Ok(builder.with(|all| *all = options))
}

const ACKS: &str = "it must be 0, 1, -1 or all";
pub(crate) const BOOLEAN: &str = "it must be true or false";

fn acks(value: &str) -> Option<Acks> {
    match value {
        "0" => Some(Acks::None),
        "1" => Some(Acks::Leader),
        "-1" | "all" => Some(Acks::All),
        _ => None,
    }
}

pub(crate) fn boolean(value: &str) -> Option<bool> {
    value.to_ascii_lowercase().parse().ok()
}

/// By name, or by the number that the classic producer takes too.
fn codec(value: &str) -> Option<Codec> {
    let by_number = || value.parse().ok().and_then(|id| Codec::from_id(id).ok());
    Codec::ALL.into_iter().find(|codec| codec.name() == value).or_else(by_number)
}

/// Kafka's classes. The classic default hashes what a key was decoded to, which is not known here: keys go
/// where Java's later producers send them.
fn partitioning(class: &str) -> Option<Partitioning> {
    match class {
        ""
        | "org.apache.kafka.clients.producer.internals.DefaultPartitioner"
        | "kafka.producer.DefaultPartitioner"
        | "kafka.producer.ByteArrayPartitioner" => Some(Partitioning::Keyed),
        "org.apache.kafka.clients.producer.UniformStickyPartitioner" => Some(Partitioning::Sticky),
        "org.apache.kafka.clients.producer.RoundRobinPartitioner" => Some(Partitioning::RoundRobin),
        _ => None,
    }
}

pub(crate) fn number<N: std::str::FromStr>(name: &str, value: &str) -> Result<N, PropertyError> {
    value.parse().map_err(|_| PropertyError {
        name: name.to_owned(),
        value: value.to_owned(),
        problem: "it must be a number that is not negative, or not too large",
    })
}

pub(crate) fn millis(name: &str, value: &str) -> Result<Duration, PropertyError> {
    // Java's "for ever" is a number that clocks cannot count to.
    number(name, value).map(|millis| Duration::from_millis(millis).min(FOR_EVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(properties: &[(&str, &str)]) -> super::super::ProducerOptions {
        read(properties.iter().copied()).unwrap().options
    }

    #[test]
    fn javas_names_are_read() {
        let read = options(&[
            ("bootstrap.servers", "a:1"),
            ("acks", "1"),
            ("linger.ms", "7"),
            ("batch.size", "100"),
            ("compression.type", "zstd"),
            ("compression.zstd.level", "5"),
            ("enable.idempotence", "false"),
            ("key.serializer", "whatever"),
            ("partitioner.class", "org.apache.kafka.clients.producer.RoundRobinPartitioner"),
            ("max.block.ms", "9223372036854775807"),
        ]);
        assert_eq!((read.acks, read.linger, read.batch_size), (Acks::Leader, Duration::from_millis(7), 100));
        assert_eq!(read.compression, Compression { codec: Codec::Zstd, level: Some(5) });
        assert_eq!((read.idempotence, read.max_block), (Idempotence::Off, FOR_EVER));
        assert!(matches!(read.partitioning, Partitioning::RoundRobin));
    }

    #[test]
    fn a_classic_name_brings_the_classic_defaults() {
        let sync = options(&[("metadata.broker.list", "a:1")]);
        assert_eq!((sync.acks, sync.retries, sync.linger), (Acks::None, 3, Duration::ZERO));
        let properties = [
            ("metadata.broker.list", "a:1"),
            ("producer.type", "async"),
            ("request.required.acks", "-1"),
            ("compression.codec", "2"),
            ("message.send.max.retries", "9"),
            ("topic.metadata.refresh.interval.ms", "-1"),
            ("queue.enqueue.timeout.ms", "0"),
        ];
        let read = options(&properties);
        assert_eq!((read.acks, read.retries, read.linger), (Acks::All, 9, Duration::from_secs(5)));
        assert_eq!(read.compression.codec, Codec::Snappy);
        assert_eq!((read.metadata_max_age, read.max_block), (FOR_EVER, Duration::ZERO));
        assert_eq!(read.is_idempotent(), Ok(true));
    }

    #[test]
    fn a_delivery_timeout_that_nobody_chose_yields() {
        assert_eq!(options(&[("linger.ms", "100000")]).delivery_timeout, Duration::from_secs(130));
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let text = |name, value| read([(name, value)]).unwrap_err().to_string();
        assert_eq!(text("acks", "2"), "Invalid value 2 for configuration acks: it must be 0, 1, -1 or all");
        assert_eq!(
            text("linger.ms", "-1"),
            "Invalid value -1 for configuration linger.ms: it must be a number that is not negative, or not too large"
        );
        assert!(read([("no.such.name", "x")]).is_ok());
    }
}
