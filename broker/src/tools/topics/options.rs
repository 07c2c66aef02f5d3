//! The options of the tool, and which go together (`TopicCommand.java` of Kafka 3.9, `TopicCommand.scala`
//! of Kafka 2.8).

use super::{Dialect, Failed, Stop};
use crate::config::topic;
use crate::tools::console::Console;
use crate::tools::failure::Exception;
use crate::tools::help;
use crate::tools::options::{OptionSpec, Options, flag, integer, string};

/// What a person reads below Kafka's table.
pub(super) const OURS: &str = "
Beyond Kafka 3.9's options:
--output json          list and describe as JSON on stdout; errors go to stderr then
--zookeeper HOSTS      instead of --bootstrap-server, as in Kafka 2.8; with --help, its own table";

const ACTIONS: [&str; 5] = ["alter", "create", "describe", "list", "delete"];
const REPORTS: [&str; 4] = [
    "under-replicated-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
    "unavailable-partitions",
];
const CONFIGS_TOOL: &str =
    " (the kafka-configs CLI supports altering topic configs with a --bootstrap-server option)";

/// What the tool is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    List,
    Describe,
    Alter,
    Delete,
}

/// A command line that makes sense, as far as options go together.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) action: Action,
    pub(super) is_json: bool,
    options: Options,
}

impl Arguments {
    pub(super) fn read(
        dialect: Dialect,
        arguments: &[String],
        console: &mut Console,
    ) -> Result<Arguments, Stop> {
        let mut specs = specs(dialect);
        specs.push(string("output", "json|text", ""));
        let options = Options::parse(&specs, arguments).map_err(|error| Stop::Crash(error.into()))?;
        if arguments.is_empty() {
            return usage("Create, delete, describe, or change a topic.");
        }
        if options.has("help") {
            return usage("This tool helps to create, delete, describe, or change a topic.");
        }
        if options.has("version") {
            return Err(Stop::Version);
        }
        if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
            return usage(
                "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
            );
        }
        match dialect {
            Dialect::Brokers => check_required_of_brokers(&options, console)?,
            Dialect::ZooKeeper => check_required_of_zookeeper(&options)?,
        }
        check_combinations(dialect, &options)?;
        let is_json = match options.value("output").map_err(Failed::from)? {
            Some("json") => true,
            None | Some("text") => false,
            Some(other) => return usage(format!("Option \"[output]\" is json or text, but not '{other}'")),
        };
        Ok(Arguments { action: action(&options), is_json, options })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.has(name)
    }

    pub(super) fn values(&self, name: &str) -> &[String] {
        self.options.values(name)
    }

    pub(super) fn value(&self, name: &str) -> Result<Option<&str>, Failed> {
        Ok(self.options.value(name)?)
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i32>, Failed> {
        Ok(self.options.integer(name)?)
    }

    /// A value that is looked at before the action begins.
    pub(super) fn early_value(&self, name: &str) -> Result<Option<&str>, Stop> {
        self.options.value(name).map_err(|error| Stop::Crash(error.into()))
    }
}

/// The table of options.
pub(super) fn help(dialect: Dialect) -> String {
    help::table(&specs(dialect))
}

fn action(options: &Options) -> Action {
    let chosen = [
        ("create", Action::Create),
        ("describe", Action::Describe),
        ("alter", Action::Alter),
        ("delete", Action::Delete),
    ];
    let chosen = chosen.into_iter().find(|(name, _)| options.has(name));
    chosen.map_or(Action::List, |(_, action)| action)
}

fn usage<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Usage(message.into()))
}

fn require(options: &Options, names: &[&str]) -> Result<(), Stop> {
    match names.iter().find(|name| !options.has(name)) {
        Some(missing) => usage(format!("Missing required argument \"[{missing}]\"")),
        None => Ok(()),
    }
}

fn check_required_of_brokers(options: &Options, console: &mut Console) -> Result<(), Stop> {
    let has = |name| options.has(name);
    if !has("bootstrap-server") {
        let message = "--bootstrap-server must be specified";
        return Err(Stop::Crash(Exception::new("java.lang.IllegalArgumentException", message)));
    }
    if has("describe") && has("if-exists") {
        if !has("topic") && !has("topic-id") {
            return usage("--topic or --topic-id is required to describe a topic");
        }
        if has("topic") && has("topic-id") {
            console.line(
                "Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID",
            );
        }
    }
    if !has("list") && !has("describe") {
        require(options, &["topic"])?;
    }
    if has("alter") {
        if has("config") {
            return usage(format!(
                "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\"{CONFIGS_TOOL}"
            ));
        }
        require(options, &["partitions"])?;
    }
    Ok(())
}

fn check_required_of_zookeeper(options: &Options) -> Result<(), Stop> {
    let has = |name| options.has(name);
    if has("bootstrap-server") == has("zookeeper") {
        let message = "Only one of --bootstrap-server or --zookeeper must be specified";
        return Err(Stop::Crash(Exception::new("java.lang.IllegalArgumentException", message)));
    }
    if (has("describe") && has("if-exists")) || (!has("list") && !has("describe")) {
        require(options, &["topic"])?;
    }
    if has("create") && !has("replica-assignment") {
        require(options, &["partitions", "replication-factor"])?;
    }
    Ok(())
}

/// Which options exclude each other, in Kafka's order.
fn check_combinations(dialect: Dialect, options: &Options) -> Result<(), Stop> {
    exclude(options, "config", &actions_but(&["alter", "create"]), &[])?;
    exclude(options, "delete-config", &actions_but(&["alter"]), &["bootstrap-server"])?;
    exclude(options, "partitions", &actions_but(&["alter", "create"]), &[])?;
    exclude(options, "replication-factor", &actions_but(&["create"]), &[])?;
    exclude(options, "replica-assignment", &actions_but(&["alter", "create"]), &[])?;
    if options.has("create") {
        exclude(options, "replica-assignment", &[], &["partitions", "replication-factor"])?;
    }
    let but_describe = actions_but(&["describe"]);
    for report in REPORTS {
        let mut others = vec!["topics-with-overrides"];
        if dialect == Dialect::ZooKeeper {
            others.extend(REPORTS.into_iter().filter(|other| *other != report));
            if report.contains("min-isr") {
                others.push("zookeeper");
            }
        }
        exclude(options, report, &but_describe, &others)?;
    }
    exclude(options, "topics-with-overrides", &but_describe, &REPORTS)?;
    exclude(options, "if-exists", &actions_but(&["alter", "delete", "describe"]), &[])?;
    exclude(options, "if-not-exists", &actions_but(&["create"]), &[])?;
    exclude(options, "exclude-internal", &actions_but(&["list", "describe"]), &[])?;
    exclude(options, "output", &actions_but(&["list", "describe"]), &[])
}

fn actions_but(allowed: &[&str]) -> Vec<&'static str> {
    ACTIONS.into_iter().filter(|action| !allowed.contains(action)).collect()
}

fn exclude(options: &Options, used: &str, actions: &[&str], others: &[&str]) -> Result<(), Stop> {
    if !options.has(used) {
        return Ok(());
    }
    match actions.iter().chain(others).find(|other| options.has(other)) {
        Some(other) => usage(format!("Option \"[{used}]\" can't be used with option \"[{other}]\"")),
        None => Ok(()),
    }
}

fn specs(dialect: Dialect) -> Vec<OptionSpec> {
    let mut specs = common_specs();
    match dialect {
        Dialect::Brokers => specs.extend(specs_of_brokers()),
        Dialect::ZooKeeper => specs.extend(specs_of_zookeeper()),
    }
    specs
}

fn common_specs() -> Vec<OptionSpec> {
    vec![
        string(
            "command-config",
            "command config property file",
            "Property file containing configs to be passed to Admin Client. This is used only with \
             --bootstrap-server option for describing and altering broker configs.",
        ),
        flag("create", "Create a new topic."),
        flag("delete", "Delete a topic"),
        string(
            "delete-config",
            "name",
            "A topic configuration override to be removed for an existing topic (see the list of configurations \
             under the --config option). Not supported with the --bootstrap-server option.",
        ),
        flag("describe", "List details for the given topics."),
        flag(
            "exclude-internal",
            "exclude internal topics when running list or describe command. The internal topics will be listed \
             by default",
        ),
        flag("help", "Print usage information."),
        flag(
            "if-exists",
            "if set when altering or deleting or describing topics, the action will only execute if the topic \
             exists.",
        ),
        flag(
            "if-not-exists",
            "if set when creating topics, the action will only execute if the topic does not already exist.",
        ),
        flag("list", "List all available topics."),
        integer(
            "partitions",
            "# of partitions",
            "The number of partitions for the topic being created or altered (WARNING: If partitions are \
             increased for a topic that has a key, the partition logic or ordering of the messages will be \
             affected). If not supplied for create, defaults to the cluster default.",
        ),
        string(
            "replica-assignment",
            "broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , broker_id_for_part2_replica1 : \
             broker_id_for_part2_replica2 , ...",
            "A list of manual partition-to-broker assignments for the topic being created or altered.",
        ),
        integer(
            "replication-factor",
            "replication factor",
            "The replication factor for each partition in the topic being created. If not supplied, defaults to \
             the cluster default.",
        ),
        string(
            "topic",
            "topic",
            "The topic to create, alter, describe or delete. It also accepts a regular expression, except for \
             --create option. Put topic name in double quotes and use the '\\' prefix to escape regular \
             expression symbols; e.g. \"test\\.topic\".",
        ),
        flag(
            "topics-with-overrides",
            "if set when describing topics, only show topics that have overridden configs",
        ),
        flag(
            "unavailable-partitions",
            "if set when describing topics, only show partitions whose leader is not available",
        ),
        flag(
            "under-replicated-partitions",
            "if set when describing topics, only show under replicated partitions",
        ),
        flag("version", "Display Kafka version."),
    ]
}

fn specs_of_brokers() -> Vec<OptionSpec> {
    let mut keys: Vec<&str> = topic::topic_keys().iter().map(|key| key.definition.name).collect();
    keys.sort_unstable();
    vec![
        flag(
            "alter",
            format!(
                "Alter the number of partitions and replica assignment. Update the configuration of an existing \
                 topic via --alter is no longer supported here{CONFIGS_TOOL}."
            ),
        ),
        flag("at-min-isr-partitions", AT_MIN_ISR),
        string("bootstrap-server", "server to connect to", "REQUIRED: The Kafka server to connect to."),
        string("config", "name=value", describe_config("created", &keys)),
        integer(
            "partition-size-limit-per-response",
            "maximum number of partitions in one response.",
            "the maximum partition size to be included in one DescribeTopicPartitions response.",
        ),
        string(
            "topic-id",
            "topic-id",
            "The topic-id to describe.This is used only with --bootstrap-server option for describing topics.",
        ),
        flag("under-min-isr-partitions", UNDER_MIN_ISR),
    ]
}

fn specs_of_zookeeper() -> Vec<OptionSpec> {
    const NOT_WITH_ZOOKEEPER: &str = " Not supported with the --zookeeper option.";
    vec![
        flag(
            "alter",
            "Alter the number of partitions, replica assignment, and/or configuration for the topic.",
        ),
        flag("at-min-isr-partitions", format!("{AT_MIN_ISR}{NOT_WITH_ZOOKEEPER}")),
        string(
            "bootstrap-server",
            "server to connect to",
            "REQUIRED: The Kafka server to connect to. In case of providing this, a direct Zookeeper connection \
             won't be required.",
        ),
        string("config", "name=value", describe_config("created or altered", KEYS_OF_KAFKA_2_8)),
        flag("disable-rack-aware", "Disable rack aware replica assignment"),
        flag("force", "Suppress console prompts"),
        flag("under-min-isr-partitions", format!("{UNDER_MIN_ISR}{NOT_WITH_ZOOKEEPER}")),
        string(
            "zookeeper",
            "hosts",
            "DEPRECATED, The connection string for the zookeeper connection in the form host:port. Multiple \
             hosts can be given to allow fail-over.",
        ),
    ]
}

const AT_MIN_ISR: &str =
    "if set when describing topics, only show partitions whose isr count is equal to the configured minimum.";
const UNDER_MIN_ISR: &str = "if set when describing topics, only show partitions whose isr count is less than the configured minimum.";

fn describe_config(what: &str, keys: &[&str]) -> String {
    let keys: String = keys.iter().map(|key| format!("\n\t{key}")).collect();
    format!(
        "A topic configuration override for the topic being {what}. The following is a list of valid \
         configurations: {keys}\nSee the Kafka documentation for full details on the topic configs. It is supported \
         only in combination with --create if --bootstrap-server option is used{CONFIGS_TOOL}."
    )
}

/// Those in the help of Kafka 2.8; what is accepted is what the cluster knows.
const KEYS_OF_KAFKA_2_8: &[&str] = &[
    "cleanup.policy",
    "compression.type",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];
