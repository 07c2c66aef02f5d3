//! `kafka-topics`: creates, lists, describes, deletes topics and adds partitions.
//!
//! Over `--bootstrap-server` it is the tool of Kafka 3.9, over `--zookeeper` that of Kafka 2.8, the last
//! that took it: the options, texts, streams and exit codes are theirs. `--output json` is ours, see
//! [`json`].

mod brokers;
mod description;
mod json;
mod options;
mod request;
mod selection;
mod topic_id;
mod zookeeper;

use std::process::ExitCode;

use super::console::Console;
use super::failure::Exception;
use super::options::OptionError;
use super::{KAFKA_VERSION, names_option, patience};
use options::Arguments;

/// Runs the tool with the arguments behind its name.
pub async fn run(arguments: &[String]) -> ExitCode {
    let mut console = Console::of_process();
    let code = run_on(arguments, &mut console).await;
    console.show();
    ExitCode::from(code)
}

async fn run_on(arguments: &[String], console: &mut Console) -> u8 {
    let dialect = Dialect::of(arguments);
    let result = match Arguments::read(dialect, arguments, console) {
        Ok(arguments) => match dialect {
            Dialect::Brokers => patience::shown(brokers::run(&arguments, console)).await,
            Dialect::ZooKeeper => patience::shown(zookeeper::run(&arguments, console)).await,
        },
        Err(stop) => Err(stop),
    };
    result.map_or_else(|stop| stop.tell(dialect, console), |()| 0)
}

/// Which of Kafka's tools this one is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Kafka 3.9 over `--bootstrap-server`.
    Brokers,
    /// Kafka 2.8 over `--zookeeper`.
    ZooKeeper,
}

impl Dialect {
    fn of(arguments: &[String]) -> Dialect {
        if names_option(arguments, "zookeeper") { Dialect::ZooKeeper } else { Dialect::Brokers }
    }
}

/// Why the tool ends before its action is done.
#[derive(Debug)]
enum Stop {
    /// `--version` was asked for.
    Version,
    /// The command line is wrong: what is wrong, then the table of options.
    Usage(String),
    /// It could not begin.
    Crash(Exception),
    /// The action failed.
    Failed(Failed),
}

/// Why an action failed.
#[derive(Debug)]
struct Failed {
    message: String,
    /// What Kafka's tool does not say, but a person would like to know.
    hint: Option<String>,
    /// Stdout is for JSON, so the text goes to stderr.
    is_json: bool,
}

impl Failed {
    fn new(message: impl Into<String>) -> Failed {
        Failed { message: message.into(), hint: None, is_json: false }
    }
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Stop {
        Stop::Failed(failed)
    }
}

impl From<OptionError> for Failed {
    fn from(error: OptionError) -> Failed {
        Failed::new(error.to_string())
    }
}

impl Stop {
    /// Says it in Kafka's words and gives the exit code.
    fn tell(self, dialect: Dialect, console: &mut Console) -> u8 {
        match self {
            Stop::Version => {
                console.line(KAFKA_VERSION);
                return 0;
            }
            Stop::Usage(message) => {
                console.complain(message + "\n");
                console.complain(options::help(dialect));
                console.tell_person(options::OURS);
            }
            Stop::Crash(exception) => console.complain(match dialect {
                Dialect::Brokers => exception.caught(),
                Dialect::ZooKeeper => exception.uncaught(),
            }),
            Stop::Failed(Failed { message, hint, is_json }) => {
                let text = format!("Error while executing topic command : {message}");
                match is_json {
                    true => console.complain(text + "\n"),
                    false => console.line(text),
                }
                if let Some(hint) = hint {
                    console.tell_person(hint);
                }
            }
        }
        1
    }
}

#[cfg(test)]
mod tests;
