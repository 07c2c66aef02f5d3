//! The options of the tool over ZooKeeper, and which go together (`ConsumerGroupCommand.scala` of Kafka 1.1).

use super::Stop;
use super::options::{Action, common_specs, usage};
use crate::tools::console::Console;
use crate::tools::help;
use crate::tools::options::{OptionSpec, Options, flag, string};

const SENTENCE: &str = "List all consumer groups, describe a consumer group, delete consumer group info, or reset \
                        consumer group offsets.";
const NOTE: &str = "Note: This will only show information about consumers that use ZooKeeper (not those using the \
                    Java consumer API).\n";
const DRY_RUN: &str = "WARN: In a future major release, the default behavior of this command will be to prompt the \
                       user before executing the reset rather than doing a dry run. You should add the --dry-run \
                       option explicitly if you are scripting this command and want to keep the current default \
                       behavior without prompting.\n";

/// A command line that makes sense, as far as options go together.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) action: Action,
    pub(super) is_json: bool,
    pub(super) options: Options,
}

impl Arguments {
    pub(super) fn read(arguments: &[String], console: &mut Console) -> Result<Arguments, Stop> {
        let mut specs = specs();
        specs.push(string("output", "json|text", ""));
        // Kafka 1.1 has neither.
        specs.extend([flag("help", ""), flag("version", "")]);
        let options = Options::parse(&specs, arguments).map_err(|error| Stop::Crash(error.into()))?;
        let has = |name| options.has(name);
        if has("help") {
            return usage(SENTENCE);
        }
        if has("version") {
            return Err(Stop::Version);
        }
        let actions = [
            ("list", Action::List),
            ("describe", Action::Describe),
            ("delete", Action::Delete),
            ("reset-offsets", Action::ResetOffsets),
        ];
        let mut asked = actions.into_iter().filter(|(name, _)| has(name));
        let (Some((_, action)), None) = (asked.next(), asked.next()) else {
            return usage(
                "Command must include exactly one action: --list, --describe, --delete, --reset-offsets",
            );
        };
        for other in ["bootstrap-server", "new-consumer"] {
            if has(other) {
                return usage(format!("Option [{other}] is not valid with [zookeeper]."));
            }
        }
        if has("describe") && !has("group") {
            return usage("Missing required argument \"[group]\"");
        }
        if has("delete") && !has("group") && !has("topic") {
            return usage("Option [delete] either takes [group], [topic], or both");
        }
        if has("reset-offsets") && !has("dry-run") && !has("execute") {
            console.complain(DRY_RUN);
        }
        exclude(&options, "group", &["list"])?;
        exclude(&options, "topic", &["list", "describe"])?;
        exclude(&options, "output", &["delete"])?;
        let is_json = match options.value("output")? {
            Some("json") => true,
            None | Some("text") => false,
            Some(other) => return usage(format!("Option \"[output]\" is json or text, but not '{other}'")),
        };
        console.complain(NOTE);
        Ok(Arguments { action, is_json, options })
    }
}

fn exclude(options: &Options, used: &str, others: &[&str]) -> Result<(), Stop> {
    match others.iter().find(|other| options.has(used) && options.has(other)) {
        // Without a blank before the bracket, as Kafka 1.1 has it.
        Some(other) => usage(format!("Option \"[{used}]\" can't be used with option\"[{other}]\"")),
        None => Ok(()),
    }
}

/// The table of options.
pub(super) fn help() -> String {
    help::table(&specs())
}

/// What goes only with brokers.
const WITH_BROKERS: &[&str] = &["bootstrap-server"];

fn specs() -> Vec<OptionSpec> {
    let mut specs = common_specs();
    for spec in &mut specs {
        if spec.name == "reset-offsets" {
            spec.description = spec
                .description
                .replace("--by-duration", "--by-period")
                .replace(", --to-offset.", ".")
                .into();
        }
    }
    specs.extend([
        string(
            "bootstrap-server",
            "server to connect to",
            "REQUIRED (for consumer groups based on the new consumer): The server to connect to.",
        ),
        flag(
            "delete",
            "Pass in groups to delete topic partition offsets and ownership information over the entire consumer \
             group. For instance --group g1 --group g2\nPass in groups with a single topic to just delete the \
             given topic's partition offsets and ownership information for the given consumer groups. For \
             instance --group g1 --group g2 --topic t1\nPass in just a topic to delete the given topic's \
             partition offsets and ownership information for every consumer group. For instance --topic \
             t1\nWARNING: Group deletion only works for old ZK-based consumer groups, and one has to use it \
             carefully to only delete groups that are not active.",
        ),
        flag(
            "members",
            "Describe members of the group. This option may be used with '--describe' and '--bootstrap-server' \
             options only.\nExample: --bootstrap-server localhost:9092 --describe --group group1 --members",
        )
        .available_with(WITH_BROKERS),
        flag(
            "new-consumer",
            "Use the new consumer implementation. This is the default, so this option is deprecated and will be \
             removed in a future release.",
        ),
        flag(
            "offsets",
            "Describe the group and list all topic partitions in the group along with their offset lag. This is \
             the default sub-action of and may be used with '--describe' and '--bootstrap-server' options \
             only.\nExample: --bootstrap-server localhost:9092 --describe --group group1 --offsets",
        )
        .available_with(WITH_BROKERS),
        flag(
            "state",
            "Describe the group state. This option may be used with '--describe' and '--bootstrap-server' options \
             only.\nExample: --bootstrap-server localhost:9092 --describe --group group1 --state",
        )
        .available_with(WITH_BROKERS),
        flag("to-current", "Reset offsets to current offset."),
        flag(
            "verbose",
            "Provide additional information, if any, when describing the group. This option may be used with \
             '--offsets'/'--members'/'--state' and '--bootstrap-server' options only.\nExample: \
             --bootstrap-server localhost:9092 --describe --group group1 --members --verbose",
        )
        .available_with(WITH_BROKERS),
        string(
            "zookeeper",
            "urls",
            "REQUIRED (for consumer groups based on the old consumer): The connection string for the zookeeper \
             connection in the form host:port. Multiple URLS can be given to allow fail-over.",
        ),
    ]);
    specs
}
