//! `ottla topics` prints what Kafka's `kafka-topics` printed: the recording of Kafka's own tools, replayed from
//! top to bottom, on our brokers and on Apache's.

use integration::apache_cluster::ApacheCluster;
use integration::cluster::Cluster;
use integration::transcript::{Step, Transcript};

use crate::brokers::Brokers;
use crate::replay::Replay;

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

fn replay(brokers: &mut dyn Brokers, steps: &[Step]) {
    let mut replay = Replay::new(brokers, RECORDING);
    replay.placeholders = PLACEHOLDERS;
    replay.helps.push(("2", HELP_OF_2_8.to_owned()));
    replay.variables.push(("<x, 250 times>".to_owned(), "x".repeat(250)));
    replay.left_out = LEFT_OUT;
    replay.play(steps, happen, remember_id);
}

fn happen(replay: &mut Replay<'_>, event: &str) {
    if event.starts_with("kafka-topics ") {
        return replay.run_event(event);
    }
    match event {
        // There are no groups yet, so the topic is made as they would make it.
        "a group has committed, so that __consumer_offsets exists (offsets.topic.num.partitions=3)" => {
            let command = "--bootstrap-server $B --create --topic __consumer_offsets --partitions 3 \
                           --replication-factor 1 --config compression.type=producer \
                           --config cleanup.policy=compact --config segment.bytes=104857600";
            replay.run_event(&format!("kafka-topics {command}"));
        }
        // Every description of it is looked at.
        "<topic-id> is the id of topic a" => {
            assert!(replay.variable("<topic-id>").is_some(), "the topic was described")
        }
        "broker 3 is stopped" => replay.brokers.stop(3),
        "broker 3 is started" | "broker 3 is started: the deletion completes" => {
            replay.brokers.start_again(3)
        }
        other => panic!("the recording has an event that this test does not know: {other}"),
    }
}

/// Of the topic `a`, as last seen.
fn remember_id(replay: &mut Replay<'_>, stdout: &str) {
    let id = stdout.lines().find_map(|line| line.strip_prefix("Topic: a\tTopicId: "));
    if let Some((id, _)) = id.and_then(|rest| rest.split_once('\t')) {
        replay.variables.retain(|(name, _)| name != "<topic-id>");
        replay.variables.push(("<topic-id>".to_owned(), id.to_owned()));
    }
}
