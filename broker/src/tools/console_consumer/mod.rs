//! `kafka-console-consumer`: shows the records of topics on standard output.
//!
//! Over `--bootstrap-server` it is the tool of Kafka 3.9, a member of a modern group or the reader of one
//! partition; over `--zookeeper` that of Kafka 0.8, a classic consumer. Options, texts, streams and exit codes are
//! theirs. `--output json` is ours, see [`format`].

mod classic;
mod classic_options;
mod deserializer;
mod format;
mod formatters;
mod internal_topic;
mod modern;
mod options;
mod showing;

use std::process::ExitCode;

use super::console::Console;
use super::failure::Exception;
use super::{KAFKA_VERSION, java_log, java_time, names_option};

/// Runs the tool with the arguments behind its name.
pub async fn run(arguments: &[String]) -> ExitCode {
    let mut console = Console::of_process();
    let done = match names_option(arguments, "zookeeper") {
        true => match classic_options::Arguments::read(arguments) {
            Ok(arguments) => classic::run(&arguments, &mut console).await,
            Err(stop) => Err(stop),
        },
        false => match options::Arguments::read(arguments, &mut console) {
            Ok(arguments) => modern::run(&arguments, &mut console).await,
            Err(stop) => Err(stop),
        },
    };
    let code = done.unwrap_or_else(|stop| stop.tell(&mut console));
    console.show();
    ExitCode::from(code)
}

const LOGGER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

/// Why the tool ends before it has begun, or before its time.
#[derive(Debug)]
enum Stop {
    /// `--version` was asked for.
    Version,
    /// The command line is wrong: what is wrong, then the table of options.
    Usage(String),
    /// The same for the tool of Kafka 0.8.
    ClassicUsage(String),
    /// The command line cannot be obeyed: why, alone.
    Refused(String),
    /// Nobody catches it.
    Crash(Exception),
    /// The tool's log tells of it.
    Logged(Exception),
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
            Stop::ClassicUsage(message) => {
                console.complain(message + "\n" + &classic_options::help());
            }
            Stop::Refused(message) => console.complain(message + "\n"),
            Stop::Crash(exception) => console.complain(exception.uncaught()),
            Stop::Logged(exception) => log(console, "Unknown error when running consumer: ", &exception),
        }
        1
    }
}

fn log(console: &mut Console, message: &str, exception: &Exception) {
    console.complain(java_log::error(java_time::now_ms(), message, LOGGER, exception));
}

/// The log warns of what keeps the tool waiting.
fn warn(console: &mut Console, message: &str) {
    console.complain(java_log::warning(java_time::now_ms(), message, LOGGER));
    console.show();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exit code, stdout and stderr of what does not come to reading.
    fn told(arguments: &[&str]) -> (u8, String, String) {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        let mut console = Console::default();
        let stop = match names_option(&arguments, "zookeeper") {
            true => classic_options::Arguments::read(&arguments).map(drop),
            false => options::Arguments::read(&arguments, &mut console).map(drop),
        };
        let code = stop.expect_err("the command line is refused").tell(&mut console);
        let (out, err) = console.written();
        (code, out.to_owned(), err.to_owned())
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        let b = ["--bootstrap-server", "127.0.0.1:1"];
        let z = ["--zookeeper", "127.0.0.1:1"];
        for (with, more, expected) in [
            (b, vec![], "Exactly one of --include/--topic is required. "),
            (
                b,
                vec!["--topic", "t", "--output", "xml"],
                "Option \"[output]\" is json or text, but not 'xml'",
            ),
            (
                b,
                vec!["--topic", "t", "--max-messages", "x"],
                "Cannot parse argument 'x' of option max-messages",
            ),
            (z, vec![], "Exactly one of whitelist/blacklist/topic is required."),
            (
                z,
                vec!["--topic", "t", "--blacklist", "u"],
                "Exactly one of whitelist/blacklist/topic is required.",
            ),
        ] {
            let (code, out, err) = told(&[with.as_slice(), &more].concat());
            let table = if with == b { options::help() } else { classic_options::help() };
            assert_eq!((code, out.as_str(), err), (1, "", format!("{expected}\n{table}")), "{more:?}");
        }
    }

    #[test]
    fn classes_that_are_not_known_are_named() {
        let (code, _, err) =
            told(&["--zookeeper", "127.0.0.1:1", "--topic", "t", "--formatter", "no.such.Formatter"]);
        let expected = "Exception in thread \"main\" java.lang.ClassNotFoundException: no.such.Formatter\n";
        assert_eq!((code, err.as_str()), (1, expected));
    }
}
