//! The options of the tool over brokers, and which go together (`ConsumerGroupCommandOptions.java`).

use super::Stop;
use crate::tools::console::Console;
use crate::tools::help;
use crate::tools::options::{OptionSpec, Options, flag, long, string};

/// What a person reads below Kafka's table.
pub(super) const OURS: &str = "
Beyond Kafka 3.9's options:
--output json          what was found or done as JSON on stdout; errors go to stderr then
--zookeeper HOSTS      instead of --bootstrap-server, for classic consumers, as in Kafka 1.1";

const SENTENCE: &str = "This tool helps to list all consumer groups, describe a consumer group, delete consumer \
                        group info, or reset consumer group offsets.";
const DRY_RUN: &str = "WARN: No action will be performed as the --execute option is missing.In a future major \
                       release, the default behavior of this command will be to prompt the user before executing \
                       the reset rather than doing a dry run. You should add the --dry-run option explicitly if \
                       you are scripting this command and want to keep the current default behavior without \
                       prompting.\n";

/// What a reset may go by, in the order in which Kafka's tool names them.
pub(super) const SCENARIOS: [&str; 8] = [
    "to-offset",
    "to-current",
    "to-datetime",
    "from-file",
    "by-duration",
    "to-earliest",
    "to-latest",
    "shift-by",
];

const ACTIONS: [&str; 5] = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];

/// What the tool is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    List,
    Describe,
    Delete,
    ResetOffsets,
    DeleteOffsets,
}

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
        let options = Options::parse(&specs, arguments).map_err(|error| Stop::Crash(error.into()))?;
        if arguments.is_empty() || options.has("help") {
            return usage(SENTENCE);
        }
        if options.has("version") {
            return Err(Stop::Version);
        }
        let has = |name| options.has(name);
        if !has("bootstrap-server") {
            return usage("Missing required argument \"[bootstrap-server]\"");
        }
        check_describe(&options)?;
        let has_group = has("group") || has("all-groups");
        if has("delete") {
            if !has_group {
                return usage("Option [delete] takes one of these options: [all-groups], [group]");
            }
            if has("topic") {
                return usage(
                    "The consumer does not support topic-specific offset deletion from a consumer group.",
                );
            }
        }
        if has("delete-offsets") && !(has("group") && has("topic")) {
            return usage("Option [delete-offsets] takes the following options: [all-groups], [group]");
        }
        if has("reset-offsets") {
            check_reset(&options, has_group, console)?;
        }
        exclude(&options, "group", &["all-groups", "list"])?;
        exclude(&options, "topic", &["list", "describe"])?;
        let mut actions = ACTIONS.into_iter().filter(|action| options.has(action));
        let action = match (actions.next(), actions.next()) {
            (Some("list"), None) => Action::List,
            (Some("describe"), None) => Action::Describe,
            (Some("delete"), None) => Action::Delete,
            (Some("reset-offsets"), None) => Action::ResetOffsets,
            (Some("delete-offsets"), None) => Action::DeleteOffsets,
            _ => {
                let actions = ACTIONS.map(|action| format!("--{action}")).join(", ");
                return usage(format!("Command must include exactly one action: {actions}"));
            }
        };
        exclude(&options, "output", &["export"])?;
        let is_json = match options.value("output")? {
            Some("json") => true,
            None | Some("text") => false,
            Some(other) => return usage(format!("Option \"[output]\" is json or text, but not '{other}'")),
        };
        Ok(Arguments { action, is_json, options })
    }
}

/// The table of options.
pub(super) fn help() -> String {
    help::table(&specs())
}

pub(super) fn usage<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Usage(message.into()))
}

fn check_describe(options: &Options) -> Result<(), Stop> {
    let has = |name| options.has(name);
    if !has("describe") {
        return Ok(());
    }
    if !has("group") && !has("all-groups") {
        return usage(
            "Option [describe] takes one of these options: [reset-offsets], [describe], [delete], [list]",
        );
    }
    if [has("members"), has("offsets"), has("state")].into_iter().filter(|has| *has).count() > 1 {
        return usage("Option [describe] takes at most one of these options: [members], [offsets], [state]");
    }
    match options.value("state").map_err(|error| Stop::Crash(error.into()))? {
        Some(_) => usage("Option [describe] does not take a value for [state]"),
        None => Ok(()),
    }
}

fn check_reset(options: &Options, has_group: bool, console: &mut Console) -> Result<(), Stop> {
    match (options.has("dry-run"), options.has("execute")) {
        (true, true) => {
            return usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]");
        }
        (false, false) => console.complain(DRY_RUN),
        _ => {}
    }
    if !has_group {
        return usage("Option [reset-offsets] takes one of these options: [all-groups], [group]");
    }
    let order = [
        "to-offset",
        "to-datetime",
        "by-duration",
        "to-earliest",
        "to-latest",
        "to-current",
        "shift-by",
        "from-file",
    ];
    for scenario in order {
        let others: Vec<&str> = SCENARIOS.into_iter().filter(|other| *other != scenario).collect();
        exclude(options, scenario, &others)?;
    }
    Ok(())
}

fn exclude(options: &Options, used: &str, others: &[&str]) -> Result<(), Stop> {
    match others.iter().find(|other| options.has(used) && options.has(other)) {
        Some(other) => usage(format!("Option \"[{used}]\" can't be used with option \"[{other}]\"")),
        None => Ok(()),
    }
}

fn specs() -> Vec<OptionSpec> {
    let mut specs = vec![
        flag("all-groups", "Apply to all consumer groups."),
        string("bootstrap-server", "server to connect to", "REQUIRED: The server(s) to connect to."),
        flag("help", "Print usage information."),
        flag("version", "Display Kafka version."),
        flag(
            "delete",
            "Pass in groups to delete topic partition offsets and ownership information over the entire \
             consumer group. For instance --group g1 --group g2",
        ),
        flag(
            "delete-offsets",
            "Delete offsets of consumer group. Supports one consumer group at the time, and multiple topics.",
        ),
        flag("to-current", "Reset offsets to current offset."),
    ];
    specs.extend(common_specs());
    specs.extend(describe_specs());
    specs
}

/// The options that the tool of Kafka 1.1 has too.
pub(super) fn common_specs() -> Vec<OptionSpec> {
    vec![
        flag("all-topics", "Consider all topics assigned to a group in the `reset-offsets` process."),
        string(
            "by-duration",
            "duration",
            "Reset offsets to offset by duration from current timestamp. Format: 'PnDTnHnMnS'",
        ),
        string(
            "command-config",
            "command config property file",
            "Property file containing configs to be passed to Admin Client and Consumer.",
        ),
        flag(
            "describe",
            "Describe consumer group and list offset lag (number of messages not yet processed) related to given \
             group.",
        ),
        flag(
            "dry-run",
            "Only show results without executing changes on Consumer Groups. Supported operations: reset-offsets.",
        ),
        flag("execute", "Execute operation. Supported operations: reset-offsets."),
        flag("export", "Export operation execution to a CSV file. Supported operations: reset-offsets."),
        string("from-file", "path to CSV file", "Reset offsets to values defined in CSV file."),
        string("group", "consumer group", "The consumer group we wish to act on."),
        flag("list", "List all consumer groups."),
        flag(
            "reset-offsets",
            "Reset offsets of consumer group. Supports one consumer group at the time, and instances should be \
             inactive\nHas 2 execution options: --dry-run (the default) to plan which offsets to reset, and \
             --execute to update the offsets. Additionally, the --export option is used to export the results to \
             a CSV format.\nYou must choose one of the following reset specifications: --to-datetime, \
             --by-duration, --to-earliest, --to-latest, --shift-by, --from-file, --to-current, --to-offset.\nTo \
             define the scope use --all-topics or --topic. One scope must be specified unless you use \
             '--from-file'.",
        ),
        long(
            "shift-by",
            "number-of-offsets",
            "Reset offsets shifting current offset by 'n', where 'n' can be positive or negative.",
        ),
        long(
            "timeout",
            "timeout (ms)",
            "The timeout that can be set for some use cases. For example, it can be used when describing the \
             group to specify the maximum amount of time in milliseconds to wait before the group stabilizes \
             (when the group is just created, or is going through some changes). (default: 5000)",
        ),
        string(
            "to-datetime",
            "datetime",
            "Reset offsets to offset from datetime. Format: 'YYYY-MM-DDTHH:mm:SS.sss'",
        ),
        flag("to-earliest", "Reset offsets to earliest offset."),
        flag("to-latest", "Reset offsets to latest offset."),
        long("to-offset", "offset", "Reset offsets to a specific offset."),
        string(
            "topic",
            "topic",
            "The topic whose consumer group information should be deleted or topic whose should be included in \
             the reset offset process. In `reset-offsets` case, partitions can be specified using this format: \
             `topic1:0,1,2`, where 0,1,2 are the partition to be included in the process. Reset-offsets also \
             supports multiple topic inputs.",
        ),
    ]
}

fn describe_specs() -> Vec<OptionSpec> {
    vec![
        flag(
            "members",
            "Describe members of the group. This option may be used with '--describe' and '--bootstrap-server' \
             options only.\nExample: --bootstrap-server localhost:9092 --describe --group group1 --members",
        )
        .available_with(&["describe"]),
        flag(
            "offsets",
            "Describe the group and list all topic partitions in the group along with their offset lag. This is \
             the default sub-action of and may be used with '--describe' and '--bootstrap-server' options \
             only.\nExample: --bootstrap-server localhost:9092 --describe --group group1 --offsets",
        )
        .available_with(&["describe"]),
        string(
            "state",
            "",
            "When specified with '--describe', includes the state of the group.\nExample: --bootstrap-server \
             localhost:9092 --describe --group group1 --state\nWhen specified with '--list', it displays the \
             state of all groups. It can also be used to list groups with specific states.\nExample: \
             --bootstrap-server localhost:9092 --list --state stable,empty\nThis option may be used with \
             '--describe', '--list' and '--bootstrap-server' options only.",
        )
        .optional()
        .available_with(&["describe", "list"]),
        string(
            "type",
            "",
            "When specified with '--list', it displays the types of all the groups. It can also be used to list \
             groups with specific types.\nExample: --bootstrap-server localhost:9092 --list --type \
             classic,consumer\nThis option may be used with the '--list' option only.",
        )
        .optional()
        .available_with(&["list"]),
        flag(
            "verbose",
            "Provide additional information, if any, when describing the group. This option may be used with \
             '--offsets'/'--members'/'--state' and '--bootstrap-server' options only.\nExample: \
             --bootstrap-server localhost:9092 --describe --group group1 --members --verbose",
        )
        .available_with(&["describe"]),
    ]
}
