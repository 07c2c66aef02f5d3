//! `ottla consumer-groups` prints what Kafka's `kafka-consumer-groups` printed: the recording of Kafka's own
//! tool, replayed from top to bottom.

use integration::apache_cluster::ApacheCluster;
use integration::transcript::{Case, Step, Transcript};
use regex::Regex;

use crate::replay::{Brokers, Replay};

const RECORDING: &str = include_str!("../fixtures/kafka-consumer-groups.txt");

/// How the recording's cluster was set up, beyond defaults.
const SETTINGS: &[(&str, &str)] =
    &[("group.initial.rebalance.delay.ms", "0"), ("offsets.topic.num.partitions", "3")];

const WITH_LIVE_GROUPS: &str = "groups are deleted that this test does not bring to life";

const LEFT_OUT: &[(&str, &str)] = &[
    ("zookeeper-option (3.9.1)", "here --zookeeper is an option: with it the tool is that of Kafka 1.1"),
    ("reset-partition-missing (3.9.1)", "its stderr tells of the Java client's own requests"),
    ("delete-two (3.9.1)", WITH_LIVE_GROUPS),
    ("delete-one-missing (3.9.1)", WITH_LIVE_GROUPS),
    ("delete-all-groups (3.9.1)", WITH_LIVE_GROUPS),
    ("delete-all-groups-none (3.9.1)", WITH_LIVE_GROUPS),
    ("list-after-delete (3.9.1)", WITH_LIVE_GROUPS),
];

const PLACEHOLDERS: &[(&str, &str)] = &[("timestamp-ms", "[0-9]{13}"), ("n", "[0-9]+")];

/// Where the groups have members, whose helpers this test has not.
const WITH_MEMBERS: &str = "a group with two members";
const WITHOUT_MEMBERS_AGAIN: &str = "delete-offsets";

#[test]
fn over_brokers_on_apaches() {
    let mut cluster = ApacheCluster::start(3, SETTINGS);
    replay(&mut cluster, &steps());
}

fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut has_members = false;
    for step in Transcript::parse(RECORDING).steps {
        if let Step::Heading(text) = &step {
            has_members |= text.starts_with(WITH_MEMBERS);
            has_members &= text != WITHOUT_MEMBERS_AGAIN;
        }
        if !has_members {
            steps.push(step);
        }
    }
    steps
}

fn replay(brokers: &mut dyn Brokers, steps: &[Step]) {
    let mut replay = Replay::new(brokers, RECORDING);
    replay.placeholders = PLACEHOLDERS;
    replay.left_out = LEFT_OUT;
    // A placeholder is not as wide as what it stands for.
    let mask = |text: &str| Regex::new(text).expect("a right pattern");
    let uuid = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
    replay.masks = vec![
        (mask(uuid), format!("<uuid>{}", " ".repeat(30))),
        (mask(r"127\.0\.0\.1:[0-9]{5}  \([123]\)"), "<coordinator>  (<id>)".to_owned()),
    ];
    replay.is_unordered = is_unordered;
    replay.play(steps, |replay, event| replay.run_event(event), |_, _| {});
}

/// Each broker lists its own groups, and where they are is chance.
fn is_unordered(case: &Case) -> bool {
    case.arguments.iter().any(|argument| argument == "--list")
}
