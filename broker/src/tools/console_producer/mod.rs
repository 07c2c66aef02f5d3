//! `kafka-console-producer`: each line of standard input is a record.
//!
//! It is the tool of Kafka 3.9: options, texts, streams and exit codes are its own. Options that only older ones
//! had are taken and mean nothing; `--zookeeper` and `--output json` are ours. With the latter each record leaves a
//! line on stdout, as it is acknowledged or given up:
//! ```json
//! {"version":1,"topic":"t","partition":0,"offset":5,"timestamp":1582979415005,"error":null}
//! {"version":1,"topic":"t","partition":null,"offset":null,"timestamp":null,"error":"org.apache.kafka.…: …"}
//! ```

mod error;
mod lines;
mod options;

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use client::producer::{
    ConnectError, Delivery, ProduceError, Producer, ProducerBuilder, ProducerRecord, RecordMetadata,
};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::console::Console;
use super::failure::Exception;
use super::interrupt::Interrupts;
use super::java_exception::EXECUTION;
use super::{KAFKA_VERSION, client_properties, java_log, java_time, patience};
use lines::LineFormat;
use options::Arguments;

/// Lines read ahead of their records being taken.
const READ_AHEAD: usize = 256;

/// A cluster that is not there may be about to come.
const CONNECT_AGAIN: Duration = Duration::from_millis(250);

const CLIENT_LOGGER: &str = "org.apache.kafka.clients.NetworkClient";
const LOGGER: &str = "org.apache.kafka.clients.producer.internals.ErrorLoggingCallback";

/// Runs the tool with the arguments behind its name.
pub async fn run(arguments: &[String]) -> ExitCode {
    let mut console = Console::of_process();
    let code = match run_on(arguments, &mut console).await {
        Ok(code) => code,
        Err(stop) => stop.tell(&mut console),
    };
    console.show();
    // A thread that still reads standard input must not hold the end back.
    std::process::exit(i32::from(code))
}

/// Why the tool ends before its input does.
#[derive(Debug)]
enum Stop {
    /// `--version` was asked for.
    Version,
    /// The command line is wrong: what is wrong, then the table of options.
    Usage(String),
    Failed(Exception),
}

impl From<Exception> for Stop {
    fn from(exception: Exception) -> Stop {
        Stop::Failed(exception)
    }
}

impl Stop {
    fn tell(self, console: &mut Console) -> u8 {
        match self {
            Stop::Version => {
                console.line(KAFKA_VERSION);
                return 0;
            }
            Stop::Usage(message) => {
                console.complain(message + "\n" + &options::help());
                console.tell_person(options::OURS);
            }
            Stop::Failed(exception) => console.complain(exception.trace()),
        }
        1
    }
}

async fn run_on(arguments: &[String], console: &mut Console) -> Result<u8, Stop> {
    let arguments = Arguments::read(arguments)?;
    let format = LineFormat::read(&arguments.topic, &arguments.reader)?;
    let builder = ProducerBuilder::from_properties(&arguments.producer)
        .map_err(|error| client_properties::invalid(&error.name, &error.value, error.problem))?;
    let mut interrupts = Interrupts::new();
    let connected = tokio::select! {
        connected = connect(builder, &arguments, console) => connected?,
        code = interrupts.next() => return Ok(code),
    };
    let producer = match connected {
        Ok(producer) => producer,
        Err(waited) => {
            return tokio::select! {
                refused = refuse(arguments, read_input(format), waited, console) => refused,
                code = interrupts.next() => Ok(code),
            };
        }
    };
    let mut sending = Sending { producer, arguments, pending: FuturesUnordered::new() };
    let outcome = sending.run(read_input(format), &mut interrupts, console).await;
    // What was taken is sent, whatever came then, unless a signal comes again.
    tokio::select! {
        () = sending.finish(console) => outcome,
        code = interrupts.next() => {
            let left = sending.pending.len();
            console.complain(format!("Ended before {left} records were acknowledged; they may be stored or not.\n"));
            Ok(code)
        }
    }
}

/// A producer, or for how long (`max.block.ms`) no broker was reached.
async fn connect(
    builder: ProducerBuilder,
    arguments: &Arguments,
    console: &mut Console,
) -> Result<Result<Producer, Duration>, Stop> {
    patience::told(try_to_connect(builder), || {
        let place = ["bootstrap.servers", "zookeeper.connect"];
        let place =
            place.into_iter().find_map(|name| arguments.producer.get(name)).map_or("", String::as_str);
        let waiting = format!("No broker answers yet; they are looked for at {place}. Ctrl-C ends the tool");
        console.complain(java_log::warning(java_time::now_ms(), &waiting, CLIENT_LOGGER));
        console.show();
    })
    .await
}

async fn try_to_connect(builder: ProducerBuilder) -> Result<Result<Producer, Duration>, Stop> {
    let mut waited = Duration::ZERO;
    let mut within = Duration::ZERO;
    let builder = builder.with(|options| within = options.max_block);
    let started = Instant::now();
    loop {
        match builder.clone().connect().await {
            Ok(producer) => return Ok(Ok(producer)),
            Err(ConnectError::Cluster(_)) if waited < within => {}
            Err(ConnectError::Cluster(_)) => return Ok(Err(within)),
            Err(error) => return Err(error::unconnected(error).into()),
        }
        sleep(CONNECT_AGAIN.min(within.saturating_sub(waited))).await;
        waited = started.elapsed();
    }
}

/// Gives every record up.
async fn refuse(
    arguments: Arguments,
    mut input: mpsc::Receiver<Result<ProducerRecord, Exception>>,
    waited: Duration,
    console: &mut Console,
) -> Result<u8, Stop> {
    while let Some(record) = input.recv().await {
        let record = record?;
        let error = ProduceError::UnknownTopic { topic: arguments.topic.as_str().into(), waited };
        if arguments.is_sync {
            return Err(error::of(&error).wrapped_in(EXECUTION).into());
        }
        tell(&arguments, (Sizes::of(&record), Err(error)), console);
    }
    Ok(0)
}

/// Lines of standard input, read by a thread of its own, as records.
fn read_input(format: LineFormat) -> mpsc::Receiver<Result<ProducerRecord, Exception>> {
    let (records, received) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        let prompts = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let mut number = 0;
        let mut input = std::io::stdin().lock();
        loop {
            if prompts {
                let _ = std::io::stdout().write_all(b">").and_then(|()| std::io::stdout().flush());
            }
            let mut read = Vec::new();
            match input.read_until(b'\n', &mut read) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    let unreadable = Exception::new("java.io.IOException", error.to_string());
                    let _ = records.blocking_send(Err(unreadable));
                    return;
                }
            }
            for line in lines::lines_of(&read) {
                number += 1;
                let record = format.record(line, number);
                let is_last = record.is_err();
                if records.blocking_send(record).is_err() || is_last {
                    return;
                }
            }
        }
    });
    received
}

/// A record on its way.
type Sent = BoxFuture<'static, (Sizes, Result<RecordMetadata, ProduceError>)>;

/// Bytes of key and value.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    key: Option<usize>,
    value: Option<usize>,
}

impl Sizes {
    fn of(record: &ProducerRecord) -> Sizes {
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map(Bytes::len);
        Sizes { key: size(&record.key), value: size(&record.value) }
    }
}

struct Sending {
    producer: Producer,
    arguments: Arguments,
    pending: FuturesUnordered<Sent>,
}

impl Sending {
    /// Sends until the input ends, is wrong, or a signal comes. The exit code.
    async fn run(
        &mut self,
        mut input: mpsc::Receiver<Result<ProducerRecord, Exception>>,
        interrupts: &mut Interrupts,
        console: &mut Console,
    ) -> Result<u8, Stop> {
        loop {
            tokio::select! {
                code = interrupts.next() => return Ok(code),
                Some(sent) = self.pending.next() => tell(&self.arguments, sent, console),
                record = input.recv() => match record {
                    // There may be no room for it for long.
                    Some(record) => tokio::select! {
                        taken = self.take(record?, console) => taken?,
                        code = interrupts.next() => return Ok(code),
                    },
                    None => return Ok(0),
                },
            }
        }
    }

    async fn finish(&mut self, console: &mut Console) {
        self.producer.flush().await;
        while let Some(sent) = self.pending.next().await {
            tell(&self.arguments, sent, console);
        }
        self.producer.close().await;
    }

    async fn take(&mut self, record: ProducerRecord, console: &mut Console) -> Result<(), Stop> {
        let sizes = Sizes::of(&record);
        let taken: Result<Delivery, ProduceError> = self.producer.send(record).await;
        if self.arguments.is_sync {
            let sent = match taken {
                // With nothing to wait for, nothing lingers.
                Ok(delivery) => {
                    let (sent, ()) = futures::join!(delivery, self.producer.flush());
                    sent
                }
                Err(error) => Err(error),
            };
            return match sent {
                Ok(stored) => {
                    tell(&self.arguments, (sizes, Ok(stored)), console);
                    Ok(())
                }
                Err(error) => Err(error::of(&error).wrapped_in(EXECUTION).into()),
            };
        }
        match taken {
            Ok(delivery) => self.pending.push(delivery.map(move |sent| (sizes, sent)).boxed()),
            Err(error) => tell(&self.arguments, (sizes, Err(error)), console),
        }
        Ok(())
    }
}

/// What became of a record, as far as that is told.
fn tell(
    arguments: &Arguments,
    (sizes, sent): (Sizes, Result<RecordMetadata, ProduceError>),
    console: &mut Console,
) {
    let topic = &arguments.topic;
    if arguments.is_json {
        let stored = sent.as_ref().ok();
        let document = json!({
            "version": 1,
            "topic": topic,
            "partition": stored.map(|stored| stored.partition),
            "offset": stored.and_then(|stored| stored.offset).map(|offset| offset.0),
            "timestamp": stored.map(|stored| stored.timestamp),
            "error": sent.as_ref().err().map(|error| error::of(error).to_string()),
        });
        console.line(document.to_string());
    } else if let Err(error) = &sent {
        let shown = |size: Option<usize>| size.map_or("null".to_owned(), |size| format!("{size} bytes"));
        let message = format!(
            "Error when sending message to topic {topic} with key: {}, value: {} with error:",
            shown(sizes.key),
            shown(sizes.value)
        );
        console.complain(java_log::error(java_time::now_ms(), &message, LOGGER, &error::of(error)));
    }
    console.show();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exit code, stdout and stderr.
    async fn told(arguments: &[&str]) -> (u8, String, String) {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        let mut console = Console::default();
        let code = match run_on(&arguments, &mut console).await {
            Ok(code) => code,
            Err(stop) => stop.tell(&mut console),
        };
        let (out, err) = console.written();
        (code, out.to_owned(), err.to_owned())
    }

    #[tokio::test]
    async fn what_cannot_begin_says_so() {
        let b = ["--bootstrap-server", "127.0.0.1:1", "--topic", "t"];
        for (more, expected) in [
            (
                ["--request-required-acks", "7"],
                "org.apache.kafka.common.config.ConfigException: Invalid value 7 for configuration acks: String \
                 must be one of: all, -1, 0, 1\n",
            ),
            (["--line-reader", "no.such.Reader"], "java.lang.ClassNotFoundException: no.such.Reader\n"),
            (["--producer.config", "nofile"], "java.nio.file.NoSuchFileException: nofile\n"),
            (
                ["--batch-size", "x"],
                "joptsimple.OptionArgumentConversionException: Cannot parse argument 'x' of option batch-size\n",
            ),
        ] {
            let (code, out, err) = told(&[b.as_slice(), &more].concat()).await;
            assert_eq!((code, out.as_str(), err.as_str()), (1, "", expected), "{more:?}");
        }
        assert_eq!(told(&["--version"]).await, (0, "3.9.1\n".to_owned(), String::new()));
    }
}
