//! `kafka-consumer-groups`: lists, describes and deletes consumer groups, resets and deletes their offsets.
//!
//! Over `--bootstrap-server` it is the tool of Kafka 3.9, over `--zookeeper` that of Kafka 1.1, the last that
//! took it, for the groups of classic consumers. The options, texts, streams and exit codes are theirs: what
//! fails after the command line was read is told on stdout and ends with exit code 0. `--output json` is ours,
//! see [`json`].

mod brokers;
mod csv;
mod delete;
mod describe;
mod json;
mod options;
mod reset;
mod tables;
mod zookeeper;
mod zookeeper_options;

use std::process::ExitCode;

use super::console::Console;
use super::failure::Exception;
use super::options::OptionError;
use super::{KAFKA_VERSION, client_config, names_option, patience};

/// Runs the tool with the arguments behind its name.
pub async fn run(arguments: &[String]) -> ExitCode {
    let mut console = Console::of_process();
    let code = run_on(arguments, &mut console).await;
    console.show();
    ExitCode::from(code)
}

async fn run_on(arguments: &[String], console: &mut Console) -> u8 {
    if names_option(arguments, "zookeeper") {
        let done = match zookeeper_options::Arguments::read(arguments, console) {
            Ok(arguments) => patience::shown(zookeeper::run(&arguments, console)).await,
            Err(stop) => Err(stop),
        };
        return done.map_or_else(|stop| stop.tell_over_zookeeper(console), |()| 0);
    }
    let (is_json, done) = match options::Arguments::read(arguments, console) {
        Ok(arguments) => (arguments.is_json, patience::shown(brokers::run(&arguments, console)).await),
        Err(stop) => (false, Err(stop)),
    };
    done.map_or_else(|stop| stop.tell(is_json, console), |()| 0)
}

/// Why the tool ends before its action is done.
#[derive(Debug)]
enum Stop {
    /// `--version` was asked for.
    Version,
    /// The command line is wrong: what is wrong, then the table of options.
    Usage(String),
    /// The command line cannot be read.
    Crash(Exception),
    /// The action failed.
    Failed(Failed),
}

/// Why an action failed.
#[derive(Debug)]
struct Failed {
    exception: Exception,
    /// What Kafka's tool does not say, but a person would like to know.
    hint: Option<String>,
}

impl From<Exception> for Stop {
    fn from(exception: Exception) -> Stop {
        Stop::Failed(Failed { exception, hint: None })
    }
}

/// Values are looked at when the action is under way.
impl From<OptionError> for Stop {
    fn from(error: OptionError) -> Stop {
        Exception::from(error).into()
    }
}

impl Stop {
    /// Says it in the words of Kafka 3.9 and gives the exit code.
    fn tell(self, is_json: bool, console: &mut Console) -> u8 {
        match self {
            Stop::Version => console.line(KAFKA_VERSION),
            Stop::Usage(message) => {
                console.complain(message + "\n" + &options::help());
                console.tell_person(options::OURS);
                return 1;
            }
            Stop::Crash(exception) => {
                console.complain(exception.uncaught());
                return 1;
            }
            Stop::Failed(Failed { exception, hint }) => {
                let text = format!(
                    "\nError: Executing consumer group command failed due to {}\n",
                    exception.message
                );
                match is_json {
                    true => console.complain(text),
                    false => {
                        console.print(text);
                        console.complain(exception.trace());
                    }
                }
                if let Some(hint) = hint {
                    console.tell_person(hint);
                }
            }
        }
        0
    }

    /// The same in the words of Kafka 1.1.
    fn tell_over_zookeeper(self, console: &mut Console) -> u8 {
        match self {
            Stop::Version => console.line(KAFKA_VERSION),
            Stop::Usage(message) => {
                console.complain(message + "\n" + &zookeeper_options::help());
                return 1;
            }
            Stop::Crash(exception) => {
                console.complain(exception.uncaught());
                return 1;
            }
            Stop::Failed(Failed { exception, hint }) => {
                let message = exception.message;
                console.line(format!("Error: Executing consumer group command failed due to {message}"));
                if let Some(hint) = hint {
                    console.tell_person(hint);
                }
            }
        }
        0
    }
}

#[cfg(test)]
mod tests;
