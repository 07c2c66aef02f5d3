//! `ottla topics` prints what Kafka's `kafka-topics` printed: the recording of Kafka's own tools, replayed from
//! top to bottom, on our brokers and on Apache's.

use std::process::Command;
use std::time::{Duration, Instant};

use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE, ottla};
use integration::process::run;
use integration::transcript::{Case, Step, Transcript, pattern};
use regex::Regex;
use tempfile::TempDir;

const RECORDING: &str = include_str!("../fixtures/kafka-topics.txt");

/// The table of options of Kafka 2.8.2, which the recording leaves out.
const HELP_OF_2_8: &str = include_str!("../../../broker/tests/fixtures/kafka-topics-2.8.2-help.txt");

/// Where the recording begins anew on a fresh cluster.
const OVER_ZOOKEEPER: &str = "--zookeeper, 2.8.2";
const OF_KAFKA_0_8: &str = "--zookeeper, 0.8.2.2";
const STATIC_SETTINGS: &str = "static broker settings";

/// Cases that are not replayed, with the reason.
const LEFT_OUT: &[(&str, &str)] =
    &[("zookeeper-option (3.9.1)", "here --zookeeper is an option: with it the tool is that of Kafka 2.8")];

/// How the recording's cluster was set up, beyond defaults.
const SETTINGS: &[(&str, &str)] =
    &[("group.initial.rebalance.delay.ms", "0"), ("offsets.topic.num.partitions", "3")];

const PLACEHOLDERS: &[(&str, &str)] = &[
    ("topic-id", "[A-Za-z0-9_-]{22}"),
    ("leader", "[123]"),
    ("replicas", "[123](?:,[123])*"),
    ("b1", "[123]"),
    ("b2", "[123]"),
    ("b3", "[123]"),
];

#[test]
fn over_brokers_on_ours() {
    let mut cluster = Cluster::start(3, SETTINGS);
    replay(&mut cluster, &part(None));
}

#[test]
fn over_brokers_on_apaches() {
    let mut cluster = ApacheCluster::start(3, SETTINGS);
    replay(&mut cluster, &part(None));
}

#[test]
fn over_zookeeper_on_ours() {
    let mut cluster = Cluster::start(3, SETTINGS);
    replay(&mut cluster, &part(Some(OVER_ZOOKEEPER)));
}

#[test]
fn over_zookeeper_on_apaches() {
    let mut cluster = ApacheCluster::start(3, SETTINGS);
    replay(&mut cluster, &part(Some(OVER_ZOOKEEPER)));
}

#[test]
fn static_settings_show_on_ours() {
    let settings = [("log.segment.bytes", "104857600"), ("log.retention.ms", "3600000")];
    let mut cluster = Cluster::start(1, &settings);
    replay(&mut cluster, &part(Some(STATIC_SETTINGS)));
}

/// The steps of one part of the recording. That of Kafka 0.8's own tool is none of them: it has other words
/// and other exit codes, and this tool speaks as those of 2.8 and 3.9.
fn part(heading: Option<&str>) -> Vec<Step> {
    let parts = [OVER_ZOOKEEPER, OF_KAFKA_0_8, STATIC_SETTINGS];
    let mut current = None;
    let mut steps = Vec::new();
    for step in Transcript::parse(RECORDING).steps {
        if let Step::Heading(text) = &step {
            current = parts.into_iter().find(|part| text.starts_with(part)).or(current);
        } else if current == heading {
            steps.push(step);
        }
    }
    assert!(steps.len() > 1, "the recording has such a part");
    steps
}

/// The brokers that the tool talks to.
trait Brokers {
    fn address(&self, id: i32) -> String;
    fn addresses(&self) -> String;
    fn zookeeper(&self) -> String;
    /// SIGTERM, and waits for the end.
    fn stop(&mut self, id: i32);
    fn start_again(&mut self, id: i32);
}

impl Brokers for Cluster {
    fn address(&self, id: i32) -> String {
        Cluster::address(self, id)
    }

    fn addresses(&self) -> String {
        self.bootstrap()
    }

    fn zookeeper(&self) -> String {
        self.zookeeper.connect_string()
    }

    fn stop(&mut self, id: i32) {
        self.terminate(id);
    }

    fn start_again(&mut self, id: i32) {
        self.start_broker(id);
        self.wait_until_serving();
    }
}

impl Brokers for ApacheCluster {
    fn address(&self, id: i32) -> String {
        ApacheCluster::address(self, id)
    }

    fn addresses(&self) -> String {
        self.bootstrap()
    }

    fn zookeeper(&self) -> String {
        self.zookeeper.connect_string()
    }

    fn stop(&mut self, id: i32) {
        self.terminate(id);
    }

    fn start_again(&mut self, id: i32) {
        self.start_broker(id);
    }
}

struct Replay<'a> {
    brokers: &'a mut dyn Brokers,
    /// Where the tool runs.
    folder: TempDir,
    /// Of the topic `a`, as last seen.
    topic_id: String,
    help_of_3_9: String,
}

fn replay(brokers: &mut dyn Brokers, steps: &[Step]) {
    let table = Transcript::parse(RECORDING).steps.into_iter().find_map(|step| match step {
        Step::Case(case) if case.slug == "help" => {
            case.stderr.split_once('\n').map(|(_, table)| table.to_owned())
        }
        _ => None,
    });
    let mut replay = Replay {
        brokers,
        folder: TempDir::new().expect("a temporary folder can be made"),
        topic_id: String::new(),
        help_of_3_9: table.expect("the recording has the table of options"),
    };
    let mut differences = Vec::new();
    let mut compared = 0;
    for step in steps {
        match step {
            Step::Heading(_) => {}
            Step::Event(event) => replay.happen(event),
            Step::Case(case) if is_left_out(case) => {}
            Step::Case(case) => {
                compared += 1;
                differences.extend(replay.compare(case).err());
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {compared} cases:\n\n{}",
        differences.len(),
        differences.join("\n")
    );
    println!("{compared} cases, all as recorded");
}

fn is_left_out(case: &Case) -> bool {
    let name = format!("{} ({})", case.slug, case.version);
    LEFT_OUT.iter().any(|(left_out, _)| *left_out == name)
}

impl Replay<'_> {
    fn happen(&mut self, event: &str) {
        if let Some(command) = event.strip_prefix("kafka-topics ") {
            let arguments: Vec<String> = command.split(' ').map(|word| self.filled_in(word)).collect();
            let (code, stdout, stderr) = self.tool(&arguments);
            assert_eq!(code, 0, "{event}\n{stdout}{stderr}");
            return;
        }
        match event {
            // There are no groups yet, so the topic is made as they would make it.
            "a group has committed, so that __consumer_offsets exists (offsets.topic.num.partitions=3)" => {
                let command = "--bootstrap-server $B --create --topic __consumer_offsets --partitions 3 \
                               --replication-factor 1 --config compression.type=producer \
                               --config cleanup.policy=compact --config segment.bytes=104857600";
                self.happen(&format!("kafka-topics {command}"));
            }
            // Every description of it is looked at.
            "<topic-id> is the id of topic a" => {
                assert!(!self.topic_id.is_empty(), "the topic was described")
            }
            "broker 3 is stopped" => self.brokers.stop(3),
            "broker 3 is started" | "broker 3 is started: the deletion completes" => {
                self.brokers.start_again(3)
            }
            other => panic!("the recording has an event that this test does not know: {other}"),
        }
    }

    /// Runs the tool and compares. What only looks is repeated until it sees what was recorded: news spread
    /// from the controller to the other brokers after the tool that made them has ended.
    fn compare(&mut self, case: &Case) -> Result<(), String> {
        for (name, content) in &case.files {
            std::fs::write(self.folder.path().join(name), content).expect("a file can be written");
        }
        let arguments: Vec<String> = case.arguments.iter().map(|word| self.filled_in(word)).collect();
        let only_looks = arguments.iter().any(|argument| argument == "--list" || argument == "--describe");
        let (stdout, stderr) = (self.expected(case, &case.stdout), self.expected(case, &case.stderr));
        let started = Instant::now();
        loop {
            let said = self.tool(&arguments);
            if said.0 == case.exit && stdout.1.is_match(&said.1) && stderr.1.is_match(&said.2) {
                self.remember_id(&said.1);
                return Ok(());
            }
            if !only_looks || started.elapsed() > PATIENCE / 3 {
                return Err(format!(
                    "## {} ({})\n$ {}\nrecorded: exit {}\n{}--\n{}\nsaid: exit {}\n{}--\n{}",
                    case.slug,
                    case.version,
                    arguments.join(" "),
                    case.exit,
                    stdout.0,
                    stderr.0,
                    said.0,
                    said.1,
                    said.2
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The recorded text, and a pattern of it.
    fn expected(&self, case: &Case, text: &str) -> (String, Regex) {
        let help = if case.version.starts_with('2') { HELP_OF_2_8 } else { &self.help_of_3_9 };
        let text = text.replace("<stack>\n", "").replace("<help>\n", help);
        let text = text.replace("<x, 250 times>", &"x".repeat(250));
        let pattern = pattern(&text, PLACEHOLDERS);
        (text, pattern)
    }

    fn filled_in(&self, word: &str) -> String {
        match word {
            "$B" => self.brokers.addresses(),
            "$B1" => self.brokers.address(1),
            "$Z" => self.brokers.zookeeper(),
            "<topic-id>" => self.topic_id.clone(),
            "<x, 250 times>" => "x".repeat(250),
            other => {
                assert!(!other.starts_with('$'), "an unknown variable: {other}");
                other.to_owned()
            }
        }
    }

    fn remember_id(&mut self, stdout: &str) {
        let id = stdout.lines().find_map(|line| line.strip_prefix("Topic: a\tTopicId: "));
        if let Some((id, _)) = id.and_then(|rest| rest.split_once('\t')) {
            self.topic_id = id.to_owned();
        }
    }

    /// Exit code, stdout and stderr.
    fn tool(&self, arguments: &[String]) -> (i32, String, String) {
        let mut command = Command::new(ottla());
        command.arg("topics").args(arguments).current_dir(self.folder.path());
        let output = run(&mut command, &[], PATIENCE * 2);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }
}
