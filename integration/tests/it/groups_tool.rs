//! `ottla consumer-groups` prints what Kafka's `kafka-consumer-groups` printed, and Kafka's own tools print on our
//! brokers what they printed on Apache's: the recordings of Kafka's tools, replayed from top to bottom.

use std::process::Command;

use integration::apache::Release;
use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE};
use integration::process::{Process, succeed};
use integration::stock_tool::StockTool;
use integration::transcript::{Case, Transcript};
use regex::Regex;
use rustix::process::Signal;

use crate::brokers::Brokers;
use crate::replay::{Replay, ours};

const RECORDING: &str = include_str!("../fixtures/kafka-consumer-groups.txt");
const RECORDING_OF_2_8: &str = include_str!("../fixtures/kafka-consumer-groups-2.8.2.txt");
const RECORDING_OF_1_1: &str = include_str!("../fixtures/kafka-consumer-groups-1.1.1.txt");

/// How the recording's cluster was set up, beyond defaults.
const SETTINGS: &[(&str, &str)] =
    &[("group.initial.rebalance.delay.ms", "0"), ("offsets.topic.num.partitions", "3")];

const ON_ONE_BROKER: &[(&str, &str)] =
    &[("offsets.topic.num.partitions", "3"), ("offsets.topic.replication.factor", "1")];

const LEFT_OUT_OF_OURS: &[(&str, &str)] = &[
    ("zookeeper-option (3.9.1)", "here --zookeeper is an option: with it the tool is that of Kafka 1.1"),
    ("reset-partition-missing (3.9.1)", "its stderr tells of the Java client's own requests"),
];

const LEFT_OUT_OF_STOCK: &[(&str, &str)] =
    &[("reset-partition-missing (3.9.1)", "how often it asks until its time is over is chance")];

const PLACEHOLDERS: &[(&str, &str)] = &[("timestamp-ms", "[0-9]{13}"), ("n", "[0-9]+")];

#[test]
fn over_brokers_on_apaches() {
    let mut cluster = ApacheCluster::start(3, SETTINGS);
    replay(&mut cluster, RECORDING, None);
}

#[test]
fn over_brokers_on_ours() {
    let mut cluster = Cluster::start(3, SETTINGS);
    replay(&mut cluster, RECORDING, None);
}

#[test]
fn apaches_tool_over_brokers_on_ours() {
    let mut cluster = Cluster::start(3, SETTINGS);
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    replay(&mut cluster, RECORDING, Some((Release::V3_9, class)));
}

#[test]
fn apaches_tool_of_2_8_over_brokers_on_ours() {
    let mut cluster = Cluster::start(3, SETTINGS);
    replay(&mut cluster, RECORDING_OF_2_8, Some((Release::V2_8, "kafka.admin.ConsumerGroupCommand")));
}

#[test]
fn over_zookeeper_on_ours() {
    let mut cluster = Cluster::start(1, ON_ONE_BROKER);
    replay(&mut cluster, RECORDING_OF_1_1, None);
}

#[test]
fn over_zookeeper_on_apaches() {
    let mut cluster = ApacheCluster::start(1, ON_ONE_BROKER);
    replay(&mut cluster, RECORDING_OF_1_1, None);
}

fn replay(brokers: &mut dyn Brokers, recording: &str, stock: Option<(Release, &str)>) {
    let mut replay = Replay::new(brokers, RECORDING);
    replay.placeholders = PLACEHOLDERS;
    replay.left_out = if stock.is_some() { LEFT_OUT_OF_STOCK } else { LEFT_OUT_OF_OURS };
    replay.stock = stock.map(|(release, class)| StockTool::start(release, class, replay.folder.path()));
    // A placeholder is not as wide as what it stands for.
    let mask = |text: &str| Regex::new(text).expect("a right pattern");
    let uuid = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
    replay.masks = vec![
        (mask(uuid), format!("<uuid>{}", " ".repeat(30))),
        // The order of groups that were deleted is chance.
        (mask("'fresh, manual'"), "'manual, fresh'".to_owned()),
        (mask(r"127\.0\.0\.1:[0-9]{5}  \([123]\)"), "<coordinator>  (<id>)".to_owned()),
        (mask(r"127\.0\.0\.1:[0-9]{5} \([123]\)"), "<coordinator> (<id>)".to_owned()),
    ];
    replay.is_unordered = is_unordered;
    let mut members = Members::default();
    replay.play(
        &Transcript::parse(recording).steps,
        |replay, event| match event.starts_with("kafka-") {
            true => replay.run_event(event),
            false => members.happen(replay, event),
        },
        |_, _| {},
    );
}

/// Each broker lists its own groups, and where they are is chance; so is the order of a group's members.
fn is_unordered(case: &Case) -> bool {
    case.arguments.iter().any(|argument| argument == "--list" || argument == "--all-groups")
        || case.slug.starts_with("live-describe")
        || case.slug == "rebalancing-members"
}

/// The members of groups: ours for our tool, Apache's for Apache's.
#[derive(Default)]
struct Members(Vec<(String, Process)>);

impl Members {
    fn happen(&mut self, replay: &Replay<'_>, event: &str) {
        match event {
            "start the members of group live" => {
                self.join(replay, "live", "t|u", &["client.id=c1"]);
                self.join(replay, "live", "t|u", &["client.id=c2", "group.instance.id=i2"]);
            }
            "the members stop answering (SIGSTOP); a third, c3, joins" => {
                self.of("live").for_each(|member| member.signal(Signal::STOP));
                self.join(replay, "live", "t|u", &["client.id=c3"]);
            }
            "start the member of group solo, subscribed to t and e (empty)" => {
                self.join(replay, "solo", "t|e", &["client.id=c1"]);
            }
            "start the member of group nocommit (enable.auto.commit=false), subscribed to t" => {
                self.join(replay, "nocommit", "t", &["client.id=c1", "enable.auto.commit=false"]);
            }
            // Nobody sees who it was that committed.
            "start a consumer that assigns itself u-0 and commits in group manual" => {
                let mut command = ours("kafka-consumer-groups");
                command.args(["--bootstrap-server", &replay.brokers.bootstrap(), "--reset-offsets"]);
                command.args(["--group", "manual", "--topic", "u", "--to-latest", "--execute"]);
                succeed(&mut command, &[], PATIENCE);
            }
            other => match classic_member(other) {
                Some((id, group, topics)) => self.join_classic(replay, group, topics, id),
                None => self.end(other),
            },
        }
    }

    /// `the member of solo is killed (...)`, `the consumer of group c is ended`
    fn end(&mut self, event: &str) {
        let end =
            Regex::new(r"(?:members|member|consumer) of (?:group )?([a-z]+) (?:is|are) (killed \(|ended$)");
        let end = end.expect("a right pattern").captures(event);
        let end = end.unwrap_or_else(|| panic!("an unknown event: {event}"));
        let (ended, rest) = std::mem::take(&mut self.0).into_iter().partition(|(group, _)| *group == end[1]);
        self.0 = rest;
        for (_, member) in ended {
            match &end[2] {
                "ended" => drop(member.terminate(PATIENCE)),
                // The group hears nothing of it.
                _ => member.kill(),
            }
        }
    }

    fn of(&self, group: &str) -> impl Iterator<Item = &Process> {
        self.0.iter().filter(move |(of, _)| of == group).map(|(_, member)| member)
    }

    fn join(&mut self, replay: &Replay<'_>, group: &str, topics: &str, properties: &[&str]) {
        let mut command = match replay.stock {
            Some(_) => Release::V3_9.java("org.apache.kafka.tools.consumer.ConsoleConsumer"),
            None => ours("kafka-console-consumer"),
        };
        command.args(["--bootstrap-server", &replay.brokers.bootstrap(), "--include", topics]);
        command.args(["--group", group, "--from-beginning"]);
        // The killed stay members to the recording's end.
        for property in [&["session.timeout.ms=300000", "auto.commit.interval.ms=100"], properties].concat() {
            command.args(["--consumer-property", property]);
        }
        self.start(replay, group, &mut command);
    }

    fn join_classic(&mut self, replay: &Replay<'_>, group: &str, topics: &str, id: &str) {
        let config = replay.folder.path().join(format!("{group}.properties"));
        let properties = format!("group.id={group}\nconsumer.id={id}\nauto.commit.interval.ms=100\n");
        std::fs::write(&config, properties).expect("a file can be written");
        let mut command = ours("kafka-console-consumer");
        command.args(["--zookeeper", &replay.brokers.zookeeper(), "--whitelist", topics, "--from-beginning"]);
        self.start(replay, group, command.arg("--consumer.config").arg(config));
    }

    fn start(&mut self, replay: &Replay<'_>, group: &str, command: &mut Command) {
        let log = replay.folder.path().join(format!("member-{}.log", self.0.len()));
        self.0.push((group.to_owned(), Process::start(command, &log)));
    }
}

/// Id, group and topics, of `a classic consumer, consumer.id one, of group c reads t|u`.
fn classic_member(event: &str) -> Option<(&str, &str, &str)> {
    let (id, rest) = event.strip_prefix("a classic consumer, consumer.id ")?.split_once(", of group ")?;
    let (group, topics) = rest.split_once(" reads ")?;
    Some((id, group, topics))
}
