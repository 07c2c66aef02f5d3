//! Reading over brokers: as a member of a group, or one partition by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use client::cluster::ClusterError;
use client::consumer::ConsumerRecord;
use client::consumer::group::{ConnectError, ConsumerError, GroupConsumer, GroupConsumerBuilder};
use client::ids::{Offset, TopicPartition};
use client::topic_filter::TopicFilter;
use client::wire::ErrorCode;
use client::znode::topic_name;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::options::{Arguments, Source, Start, unconstructed};
use super::showing::{Enough, Showing};
use super::{Stop, log, warn};
use crate::tools::console::Console;
use crate::tools::failure::Exception;
use crate::tools::interrupt::Interrupts;
use crate::tools::java_exception::{TIMEOUT, class};
use crate::tools::{client_properties, patience};

/// How long one poll waits at the most.
const POLL: Duration = Duration::from_secs(1);
/// After what may pass, it is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Why reading ends.
enum End {
    /// What was asked for was shown, or nobody reads on.
    Done,
    /// The log tells why; it is no failure of the tool.
    Logged(Exception),
    Failed(Exception),
    /// A signal came: its exit code.
    Signal(u8),
}

impl From<Enough> for End {
    fn from(enough: Enough) -> End {
        match enough {
            Enough::All | Enough::Unread => End::Done,
            Enough::Unreadable(exception) => End::Failed(exception),
        }
    }
}

/// The exit code.
pub(super) async fn run(arguments: &Arguments, console: &mut Console) -> Result<u8, Stop> {
    let mut interrupts = Interrupts::new();
    let mut showing = Showing::new(&arguments.formatter, arguments.max_messages, arguments.skip_on_error);
    console.show();
    let end = match connect(arguments, &mut interrupts, console).await? {
        Ok(mut consumer) => {
            let end = read(arguments, &mut consumer, &mut interrupts, &mut showing, console).await;
            // What was not shown is not committed; whether the rest is, the group will see.
            let _ = consumer.close().await;
            end
        }
        Err(end) => end,
    };
    let code = match end {
        End::Done => 0,
        End::Signal(code) => code,
        End::Logged(exception) => {
            log(console, "Error processing message, terminating consumer process: ", &exception);
            0
        }
        End::Failed(exception) => {
            log(console, "Unknown error when running consumer: ", &exception);
            1
        }
    };
    console.complain(format!("Processed a total of {} messages\n", showing.count));
    if arguments.tells_of_end {
        console.line("shutdown_complete");
    }
    Ok(code)
}

fn timed_out() -> End {
    End::Logged(Exception::new(TIMEOUT, ""))
}

/// A consumer that has begun to join, or why there will be none.
async fn connect(
    arguments: &Arguments,
    interrupts: &mut Interrupts,
    console: &mut Console,
) -> Result<Result<GroupConsumer, End>, Stop> {
    let far = Duration::from_secs(u64::from(u32::MAX));
    let deadline = Instant::now() + arguments.timeout_ms.map_or(far, Duration::from_millis);
    let connected = tokio::select! {
        connected = timeout_at(deadline, found(arguments, console)) => connected,
        code = interrupts.next() => return Ok(Err(End::Signal(code))),
    };
    let mut consumer = match connected {
        Ok(consumer) => consumer?,
        Err(_) => return Ok(Err(timed_out())),
    };
    if let Some(topic) = topic(&arguments.source).filter(|topic| topic_name::validate(topic).is_err()) {
        let problem = format!("Invalid topics: [{topic}]");
        return Ok(Err(End::Logged(Exception::new(class(ErrorCode::InvalidTopicException), problem))));
    }
    begin(&mut consumer, &arguments.source)?;
    Ok(Ok(consumer))
}

/// Tries until a broker answers, as Kafka's consumer does.
async fn found(arguments: &Arguments, console: &mut Console) -> Result<GroupConsumer, Stop> {
    let finding = async {
        loop {
            match builder(arguments)?.connect().await {
                Ok(consumer) => return Ok(consumer),
                Err(ConnectError::Cluster(_)) => sleep(PAUSE).await,
                Err(error) => return Err(Stop::Logged(unconstructed(error.to_string()))),
            }
        }
    };
    patience::told(finding, || {
        let servers = arguments.consumer.get("bootstrap.servers").map_or("", String::as_str);
        let waiting =
            format!("No broker answers at {servers}. They are tried until one does; Ctrl-C ends the tool");
        warn(console, &waiting);
    })
    .await
}

fn builder(arguments: &Arguments) -> Result<GroupConsumerBuilder, Stop> {
    let mut properties: BTreeMap<&str, &str> =
        arguments.consumer.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if let Source::Partition { .. } = arguments.source {
        // It is read by hand; the group that was made up for the tool has nothing to say.
        properties.remove("group.id");
    }
    GroupConsumerBuilder::from_properties(properties)
        .map_err(|error| Stop::Logged(client_properties::invalid(&error.name, &error.value, error.problem)))
}

/// The one topic that is read.
fn topic(source: &Source) -> Option<&str> {
    match source {
        Source::Topic(topic) | Source::Partition { topic, .. } => Some(topic),
        Source::Include(_) => None,
    }
}

fn begin(consumer: &mut GroupConsumer, source: &Source) -> Result<(), Stop> {
    let done = match source {
        Source::Topic(topic) => consumer.subscribe([topic.as_str()]),
        Source::Include(pattern) => {
            let filter = TopicFilter::of_regex(pattern).map_err(|error| {
                Stop::Logged(Exception::new("java.util.regex.PatternSyntaxException", error.to_string()))
            })?;
            consumer.subscribe_where(move |topic| filter.matches(topic))
        }
        Source::Partition { topic, partition, from } => {
            let partition = TopicPartition::new(topic.as_str(), *partition);
            consumer.assign([partition.clone()]).and_then(|()| match from {
                Start::Earliest => consumer.seek_to_beginning([&partition]),
                Start::Latest => consumer.seek_to_end([&partition]),
                Start::At(offset) => consumer.seek(&partition, Offset(*offset)),
            })
        }
    };
    done.map_err(|error| {
        Stop::Logged(Exception::new("java.lang.IllegalArgumentException", error.to_string()))
    })
}

/// Shows records until enough is shown, none comes in time, or a signal does.
async fn read(
    arguments: &Arguments,
    consumer: &mut GroupConsumer,
    interrupts: &mut Interrupts,
    showing: &mut Showing<'_>,
    console: &mut Console,
) -> End {
    let mut last = Instant::now();
    let mut is_found = false;
    while !showing.is_done() {
        let left = arguments.timeout_ms.map(|ms| Duration::from_millis(ms).saturating_sub(last.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return timed_out();
        }
        let polled = tokio::select! {
            polled = consumer.poll(left.unwrap_or(POLL).min(POLL)) => polled,
            code = interrupts.next() => return End::Signal(code),
        };
        match polled {
            Ok(records) if records.is_empty() => {
                is_found = is_found || look(consumer, &arguments.source, console).await;
            }
            Ok(records) => {
                let taken = show(&records, showing, console);
                give_back(consumer, records.iter().skip(taken.0));
                let written = showing.write(console);
                console.show();
                if let Err(enough) = taken.1.and(written) {
                    return enough.into();
                }
                last = Instant::now();
            }
            Err(error) => match fatal(&error) {
                Some(exception) => return End::Logged(exception),
                None => sleep(PAUSE).await,
            },
        }
    }
    End::Done
}

/// Tells of a topic or a partition that is waited for in vain. Whether there is nothing more to find out.
async fn look(consumer: &GroupConsumer, source: &Source, console: &mut Console) -> bool {
    let Some(topic) = topic(source) else { return true };
    let next = "It is waited for; end the tool by Ctrl-C if it will not come";
    let found = timeout(POLL, consumer.cluster().partitions(topic)).await;
    match (found, source) {
        (Ok(Ok(found)), Source::Partition { partition, .. })
            if !found.iter().any(|one| one.partition == *partition) =>
        {
            let count = found.len();
            warn(console, &format!("Topic {topic} has no partition {partition}, only {count}. {next}"));
        }
        (Ok(Err(ClusterError::UnknownTopic { .. })), _) => {
            warn(console, &format!("Topic {topic} does not exist. {next}"));
        }
        (Ok(Ok(_)), _) => {}
        (Ok(Err(_)) | Err(_), _) => return false,
    }
    true
}

/// How many records were shown, and whether more are wanted.
fn show(
    records: &[ConsumerRecord],
    showing: &mut Showing<'_>,
    console: &mut Console,
) -> (usize, Result<(), Enough>) {
    for (at, record) in records.iter().enumerate() {
        if let Err(enough) = showing.take(record, console) {
            return (at + 1, Err(enough));
        }
    }
    (records.len(), Ok(()))
}

/// Puts partitions back to the first record that was not shown, so that the group goes on there.
fn give_back<'r>(consumer: &mut GroupConsumer, records: impl Iterator<Item = &'r ConsumerRecord>) {
    let mut first: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    for record in records {
        first.entry(record.topic_partition()).or_insert(record.offset);
    }
    for (partition, offset) in first {
        // One that is no longer this consumer's is another's to read.
        let _ = consumer.seek(&partition, offset);
    }
}

/// The exception of an error that ends Kafka's tool too. `None`: its consumer would go on trying.
fn fatal(error: &ConsumerError) -> Option<Exception> {
    match error {
        ConsumerError::NoOffset { partition } => Some(Exception::new(
            "org.apache.kafka.clients.consumer.NoOffsetForPartitionException",
            format!("Undefined offset with no reset policy for partitions: [{partition}]"),
        )),
        ConsumerError::OutOfRange { .. } => Some(Exception::new(
            "org.apache.kafka.clients.consumer.OffsetOutOfRangeException",
            error.to_string(),
        )),
        ConsumerError::Truncated { .. } => Some(Exception::new(
            "org.apache.kafka.clients.consumer.LogTruncationException",
            error.to_string(),
        )),
        ConsumerError::Refused { code, .. } if !code.is_retriable() => {
            Some(Exception::new(class(*code), code.message()))
        }
        ConsumerError::Group(_)
        | ConsumerError::Corrupt { .. }
        | ConsumerError::NoGroup
        | ConsumerError::OtherMode { .. }
        | ConsumerError::NotAssigned { .. } => {
            Some(Exception::new("org.apache.kafka.common.KafkaException", error.to_string()))
        }
        ConsumerError::Refused { .. }
        | ConsumerError::Offsets(_)
        | ConsumerError::ListOffsets(_)
        | ConsumerError::Cluster(_) => None,
    }
}
