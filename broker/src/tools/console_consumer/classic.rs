//! Reading over ZooKeeper, as a classic consumer (`ConsoleConsumer` of Kafka 0.8.2).

use std::time::Duration;

use client::consumer::{ClassicConfig, ClassicConsumer, ClassicStreamError, Subscription};
use client::topic_filter::TopicFilter;
use client::zk::{Session, ZkConfig, ZkError};
use client::znode::consumer::CONSUMERS;
use futures::StreamExt;

use super::classic_options::{Arguments, Topics};
use super::showing::{Enough, Showing};
use super::{Stop, log};
use crate::tools::console::Console;
use crate::tools::failure::Exception;
use crate::tools::interrupt::Interrupts;

/// For what is looked up and deleted beside the consumer.
const TIMEOUT: Duration = Duration::from_secs(30);

fn crash(class: &'static str, message: impl Into<String>) -> Stop {
    Stop::Crash(Exception::new(class, message))
}

impl From<ZkError> for Stop {
    fn from(error: ZkError) -> Stop {
        match error {
            ZkError::Unavailable { .. } => crash(
                "org.I0Itec.zkclient.exception.ZkTimeoutException",
                "Unable to connect to zookeeper server within timeout: 30000",
            ),
            other => crash("org.I0Itec.zkclient.exception.ZkException", other.to_string()),
        }
    }
}

/// The exit code.
pub(super) async fn run(arguments: &Arguments, console: &mut Console) -> Result<u8, Stop> {
    let mut interrupts = Interrupts::new();
    let config = ZkConfig::new(&arguments.zookeeper).with_timeout(TIMEOUT);
    let session = tokio::select! {
        session = Session::connect_only(config) => session?,
        code = interrupts.next() => return Ok(code),
    };
    let done = read(arguments, &session, &mut interrupts, console).await;
    if arguments.is_passing && done.is_ok() {
        session.delete_recursive(&format!("{CONSUMERS}/{}", arguments.group)).await?;
    }
    // A session that cannot be closed ends by its timeout, and holds nothing.
    session.close().await;
    done
}

async fn read(
    arguments: &Arguments,
    session: &Session,
    interrupts: &mut Interrupts,
    console: &mut Console,
) -> Result<u8, Stop> {
    let group = &arguments.group;
    let path = format!("{CONSUMERS}/{group}");
    if arguments.delete_offsets {
        session.delete_recursive(&path).await?;
    } else if arguments.from_beginning && session.exists(&format!("{path}/offsets")).await?.is_some() {
        return Err(Stop::Refused(format!(
            "Found previous offset information for this group {group}. Please use --delete-consumer-offsets to \
             delete previous offsets metadata"
        )));
    }
    let config = ClassicConfig::from_properties(&arguments.consumer)
        .map_err(|error| crash("java.lang.IllegalArgumentException", error.to_string()))?;
    let started = tokio::select! {
        started = ClassicConsumer::start(config, subscription(&arguments.topics)?) => started,
        code = interrupts.next() => return Ok(code),
    };
    let (consumer, mut streams) =
        started.map_err(|error| crash("kafka.common.ConsumerRebalanceFailedException", error.to_string()))?;
    let mut showing = Showing::new(&arguments.formatter, arguments.max_messages, arguments.skip_on_error);
    let mut code = 0;
    if let Some(stream) = streams.first_mut() {
        while !showing.is_done() {
            let next = tokio::select! {
                next = stream.next() => next,
                signal = interrupts.next() => {
                    code = signal;
                    break;
                }
            };
            let shown = match next {
                None => break,
                Some(Ok(record)) => showing.take(&record, console),
                Some(Err(error)) => Err(Enough::Unreadable(exception(&error))),
            };
            let written = showing.write(console);
            match shown.and(written) {
                Ok(()) => console.show(),
                Err(Enough::All) => break,
                Err(Enough::Unread) => {
                    code = 1;
                    break;
                }
                Err(Enough::Unreadable(exception)) => {
                    log(console, "Error processing message, stopping consumer: ", &exception);
                    break;
                }
            }
        }
    }
    // The offsets of what was shown are committed, as far as that can be; the next run shows the rest again.
    let _ = consumer.close().await;
    console.complain(format!("Consumed {} messages\n", showing.count));
    Ok(code)
}

fn subscription(topics: &Topics) -> Result<Subscription, Stop> {
    let filter = |pattern: &str| {
        TopicFilter::new(pattern).map_err(|error| crash("java.lang.RuntimeException", error.to_string()))
    };
    Ok(match topics {
        Topics::One(topic) => Subscription::topics([(topic.as_str(), 1)]),
        Topics::WhiteList(pattern) => Subscription::WhiteList(filter(pattern)?, 1),
        Topics::BlackList(pattern) => Subscription::BlackList(filter(pattern)?, 1),
    })
}

fn exception(error: &ClassicStreamError) -> Exception {
    match error {
        ClassicStreamError::Timeout { .. } => Exception::new("kafka.consumer.ConsumerTimeoutException", ""),
        ClassicStreamError::Read(_) => Exception::new("kafka.common.KafkaException", error.to_string()),
    }
}
