//! `ottla`: the broker and its tools in one program. A link named as one of Kafka's tools, such as
//! `kafka-topics` or `kafka-topics.sh`, is that tool.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use broker::{broker as broker_process, config, tools};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
#[command(
    name = "ottla",
    version,
    about = "A message broker cluster coordinated by ZooKeeper, exact to Apache Kafka 3.9",
    after_help = "A link to this program named as one of Kafka's tools, such as kafka-topics or kafka-topics.sh, is \
                  that tool.\n\
                  OTTLA_LOG sets what is logged (error, warn, info, debug; or per module: info,controller=debug)."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker until SIGTERM or Ctrl-C, then hand its leaderships over and stop
    Broker {
        /// Kafka's server.properties, with Kafka's names and defaults
        properties: PathBuf,
        /// Set a property over the file's value
        #[arg(long = "override", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// Create, list, describe, alter and delete topics: what kafka-topics does
    #[command(disable_help_flag = true)]
    Topics(ToolArguments),
    /// Show the records of topics: what kafka-console-consumer does
    #[command(disable_help_flag = true)]
    ConsoleConsumer(ToolArguments),
    /// Send each line of standard input as a record: what kafka-console-producer does
    #[command(disable_help_flag = true)]
    ConsoleProducer(ToolArguments),
    /// List, describe, reset and delete consumer groups: what kafka-consumer-groups does
    #[command(disable_help_flag = true)]
    ConsumerGroups(ToolArguments),
}

#[derive(Debug, clap::Args)]
struct ToolArguments {
    /// As for Kafka's tool; --help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    arguments: Vec<OsString>,
}

/// What a link to this program may be called.
const TOOLS: [(&str, Tool); 4] = [
    ("kafka-topics", Tool::Topics),
    ("kafka-console-consumer", Tool::ConsoleConsumer),
    ("kafka-console-producer", Tool::ConsoleProducer),
    ("kafka-consumer-groups", Tool::ConsumerGroups),
];

#[derive(Debug, Clone, Copy)]
enum Tool {
    Topics,
    ConsoleConsumer,
    ConsoleProducer,
    ConsumerGroups,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    let name = Path::new(&called).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(".sh").unwrap_or(name);
    if let Some((_, tool)) = TOOLS.into_iter().find(|(link, _)| *link == name) {
        return run_tool(tool, arguments.collect());
    }
    match Arguments::parse().command {
        Command::Broker { properties, overrides } => run_broker(&properties, &overrides),
        Command::Topics(given) => run_tool(Tool::Topics, given.arguments),
        Command::ConsoleConsumer(given) => run_tool(Tool::ConsoleConsumer, given.arguments),
        Command::ConsoleProducer(given) => run_tool(Tool::ConsoleProducer, given.arguments),
        Command::ConsumerGroups(given) => run_tool(Tool::ConsumerGroups, given.arguments),
    }
}

fn run_tool(tool: Tool, arguments: Vec<OsString>) -> ExitCode {
    let read: Result<Vec<String>, OsString> = arguments.into_iter().map(OsString::into_string).collect();
    let arguments = match read {
        Ok(arguments) => arguments,
        Err(argument) => {
            let shown = argument.to_string_lossy();
            eprintln!("the argument {shown:?} is not UTF-8; names in Kafka are, so nothing was done");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match tool {
            Tool::Topics => tools::topics::run(&arguments).await,
            Tool::ConsoleConsumer => tools::console_consumer::run(&arguments).await,
            Tool::ConsoleProducer => tools::console_producer::run(&arguments).await,
            Tool::ConsumerGroups => tools::groups::run(&arguments).await,
        }
    })
}

fn run_broker(properties: &Path, overrides: &[String]) -> ExitCode {
    start_logging();
    let loaded = match config::Config::load(properties, overrides) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the threads of the broker");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(broker_process::run(loaded.config, Box::pin(asked_to_stop()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the broker stops: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The lines go to stdout, as Kafka's do; colours only for a person.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("OTTLA_LOG")
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env_lossy();
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_target(true).init();
}

/// Completes at the first SIGTERM or SIGINT; a second one ends the process at once.
async fn asked_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be received: only a kill will stop this broker");
        return std::future::pending().await;
    };
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!("{name}: handing over leaderships, then stopping. A second signal stops at once");
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("stopping at once: leaderships move only when ZooKeeper ends this broker's session");
        std::process::exit(130);
    });
}
