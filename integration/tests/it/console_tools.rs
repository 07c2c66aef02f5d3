//! `ottla console-producer` and `ottla console-consumer` do and say what Kafka's did: the recordings of Kafka's own
//! tools, replayed from top to bottom.

use std::process::{Command, Stdio};

use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE, ottla};
use integration::foreign::consume_with_kcat;
use integration::process::{Process, run, succeed};
use integration::transcript::{Case, Step, Transcript};
use integration::wait::until;
use serde_json::Value;
use tempfile::TempDir;

use crate::brokers::{Brokers, create_topic};
use crate::replay::Replay;

const PRODUCER: &str = include_str!("../fixtures/kafka-console-producer.txt");
const CONSUMER: &str = include_str!("../fixtures/kafka-console-consumer.txt");
const OLD_CONSUMER: &str = include_str!("../fixtures/old-console-consumer.txt");

/// How the recording's cluster was set up, beyond defaults.
const SETTINGS: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "3"),
    ("offsets.topic.replication.factor", "1"),
];

const LEFT_OUT_OF_PRODUCER: &[(&str, &str)] = &[("terminal (3.9.1)", "a test has no terminal")];

const WITHOUT_ZOOKEEPER: &str = "without --zookeeper the tool is that of Kafka 3.9";

const NARROWER: &str = "the same table of options has one blank more behind each line";

const LEFT_OUT_OF_OLD_CONSUMER: &[(&str, &str)] = &[
    ("no-arguments (0.8.2.2)", WITHOUT_ZOOKEEPER),
    ("no-zookeeper (0.8.2.2)", WITHOUT_ZOOKEEPER),
    ("no-topic (0.8.2.2)", NARROWER),
    ("topic-and-whitelist (0.8.2.2)", NARROWER),
    ("topic-missing (0.8.2.2)", "ours says that it consumed nothing"),
];

const OF_THE_RECORDING: &str = "what is in the internal topic depends on all that was done before";
const LIKE_HEADERS: &str = "as `headers`, and it waits three seconds";

const LEFT_OUT_OF_CONSUMER: &[(&str, &str)] = &[
    ("zookeeper-option (3.9.1)", "with --zookeeper the tool is that of Kafka 0.8"),
    ("offsets-formatter (3.9.1)", OF_THE_RECORDING),
    ("group-metadata-formatter (3.9.1)", OF_THE_RECORDING),
    ("transaction-log-formatter (3.9.1)", "there are no transactions"),
    ("headers-separators (3.9.1)", LIKE_HEADERS),
    ("null-literal (3.9.1)", LIKE_HEADERS),
];

/// Where the recording is divided, so that no test is long.
const SECOND_HALF: &str = "line-separator";

#[test]
fn producing_to_ours() {
    let mut cluster = Cluster::start(3, SETTINGS);
    produce(&mut cluster);
}

#[test]
fn producing_to_apaches() {
    let mut cluster = ApacheCluster::start(3, SETTINGS);
    produce(&mut cluster);
}

fn produce(brokers: &mut dyn Brokers) {
    let mut replay = Replay::new(brokers, PRODUCER);
    replay.left_out = LEFT_OUT_OF_PRODUCER;
    replay.play(
        &Transcript::parse(PRODUCER).steps,
        |replay, event| match event {
            "broker 3 is stopped" => replay.brokers.stop(3),
            "broker 3 is started" => replay.brokers.start_again(3),
            event => replay.run_event(event),
        },
        |_, _| {},
    );
    let bootstrap = brokers.bootstrap();
    let read = |topic: &str| consume_with_kcat(&bootstrap, topic);
    // `property-malformed` has no key, and is sent.
    assert_eq!(read("one"), ["a", "b", "c", "d", "", "e", "f", "g", "h", "i", "j", "k"]);
    assert_eq!(read("keyed"), ["v1", "v2", "v3:more", "v4", "nokey"]);
    assert_eq!(read("rich"), ["v", "v", "", "w"]);
    assert_eq!(read("auto"), ["k"]);
    assert_eq!(read("strict"), Vec::<String>::new());
}

#[test]
fn reading_by_brokers_from_ours() {
    let mut cluster = Cluster::start(2, SETTINGS);
    read_by_brokers(&mut cluster, |steps, at| steps.truncate(at));
}

#[test]
fn reading_more_by_brokers_from_ours() {
    let mut cluster = Cluster::start(2, SETTINGS);
    read_by_brokers(&mut cluster, |steps, at| drop(steps.drain(..at)));
}

#[test]
fn reading_by_brokers_from_apaches() {
    let mut cluster = ApacheCluster::start(2, SETTINGS);
    read_by_brokers(&mut cluster, |steps, at| steps.truncate(at));
}

fn read_by_brokers(brokers: &mut dyn Brokers, divide: fn(&mut Vec<Step>, usize)) {
    for topic in ["one", "keyed", "rich"] {
        create_topic(brokers, topic, "1:2", &[]);
    }
    let by_key = ["--property", "parse.key=true", "--property", "key.separator=:"];
    let with_headers = ["--property", "parse.headers=true", "--property", "null.marker=NULL"];
    send(brokers, "one", "a\nb\nc\nd\n\ne\nf\ng\nh\ni\nj\nk\nl\nm\n", &[]);
    send(brokers, "keyed", "k1:v1\nk2:v2\nk1:v3:more\n", &by_key);
    let rich = "h1:x,h2:y\tk:v\nh1:x,h2:y\tNULL:v\nh:NULL\tk:NULL\nNULL\tNULL:w\n";
    send(brokers, "rich", rich, &[by_key, with_headers].concat());

    let mut steps = Transcript::parse(CONSUMER).steps;
    let second = steps.iter().position(|step| matches!(step, Step::Case(case) if case.slug == SECOND_HALF));
    divide(&mut steps, second.expect("the recording is divided there"));
    // They make the transactions that are left out.
    steps.retain(|step| !matches!(step, Step::Event(_)));
    let mut replay = Replay::new(brokers, CONSUMER);
    replay.left_out = LEFT_OUT_OF_CONSUMER;
    replay.placeholders = &[("timestamp-ms", "[0-9]{13}"), ("hash", "[0-9a-f]{1,8}")];
    replay.play(&steps, |_, event| panic!("an unknown event: {event}"), |_, _| {});
}

/// Two readers of a group share its partitions, and leave it when they are asked to end.
#[test]
fn readers_of_a_group_share_it() {
    let cluster = Cluster::start(2, SETTINGS);
    create_topic(&cluster, "two", "1:2,2:1", &[]);
    let folder = TempDir::new().expect("a temporary folder can be made");
    let reader = |name: &str| {
        let mut command = Command::new(ottla());
        command.args(["console-consumer", "--bootstrap-server", &cluster.bootstrap()]);
        command.args(["--topic", "two", "--group", "readers", "--from-beginning"]);
        Process::start(&mut command, &folder.path().join(name))
    };
    let shared = |expected: &[usize]| {
        until(&format!("shares of {expected:?}"), PATIENCE, || {
            (shares(&cluster.bootstrap(), "readers") == expected).then_some(())
        });
    };
    let one = reader("one");
    shared(&[2]);
    let other = reader("other");
    shared(&[1, 1]);
    for (reader, left) in [(one, [2].as_slice()), (other, &[])] {
        let (output, status) = reader.terminate_with_output(PATIENCE);
        assert_eq!(status.code(), Some(143), "{output}");
        shared(left);
    }
}

/// What keeps a tool waiting is told, and what ends it has Kafka's exit codes.
#[test]
fn readers_tell_what_they_wait_for() {
    let cluster = Cluster::start(1, SETTINGS);
    create_topic(&cluster, "some", "1", &[]);
    let lines: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    send(&cluster, "some", &lines, &[]);
    let reader = |servers: &str, more: &str| {
        let mut command = Command::new(ottla());
        command.args(["console-consumer", "--bootstrap-server", servers]).args(more.split(' '));
        command
    };
    let missing = "--topic none --timeout-ms 4000 --consumer-property allow.auto.create.topics=false";
    for (servers, more, expected) in [
        ("127.0.0.1:1", "--topic some --timeout-ms 4000", " WARN No broker answers at 127.0.0.1:1. "),
        (&cluster.bootstrap(), missing, " WARN Topic none does not exist. "),
        (
            &cluster.bootstrap(),
            "--topic some --partition 1 --timeout-ms 4000",
            " has no partition 1, only 1. ",
        ),
        (&cluster.bootstrap(), "--topic a,b", "InvalidTopicException: Invalid topics: [a,b]\n"),
    ] {
        let output = run(&mut reader(servers, more), &[], PATIENCE);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(stderr.contains(expected), "{expected:?} is not in {stderr}");
    }
    // Nobody reads on, as behind `| head`.
    let mut classic = Command::new(ottla());
    classic.args(["console-consumer", "--zookeeper", &cluster.zookeeper.connect_string()]);
    classic.args(["--topic", "some", "--from-beginning"]);
    let modern = reader(&cluster.bootstrap(), "--topic some --from-beginning");
    for (mut command, code) in [(modern, 0), (classic, 1)] {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("Unable to write to standard out, closing consumer.\n"), "{stderr}");
        assert_eq!(output.status.code(), Some(code), "{stderr}");
    }
}

/// How many partitions each member of a group has.
fn shares(bootstrap: &str, group: &str) -> Vec<usize> {
    let mut command = Command::new(ottla());
    command.args(["consumer-groups", "--bootstrap-server", bootstrap, "--describe", "--members"]);
    command.args(["--group", group, "--output", "json"]);
    let output = run(&mut command, &[], PATIENCE);
    let described: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let members = described["groups"][0]["members"].as_array().cloned().unwrap_or_default();
    members.iter().map(|member| member["partitions"].as_array().map_or(0, Vec::len)).collect()
}

#[test]
fn reading_by_zookeeper_from_ours() {
    let mut cluster = Cluster::start(2, SETTINGS);
    read_by_zookeeper(&mut cluster);
}

#[test]
fn reading_by_zookeeper_from_apaches() {
    let mut cluster = ApacheCluster::start(2, SETTINGS);
    read_by_zookeeper(&mut cluster);
}

fn read_by_zookeeper(brokers: &mut dyn Brokers) {
    let keyed: String = (0..9).map(|n| format!("k{n}:v{n}\n")).collect();
    for (topic, replicas) in [("t", "1:2"), ("three", "1:2,2:1,1:2"), ("made", "1")] {
        create_topic(brokers, topic, replicas, &[]);
    }
    let by_key = ["--property", "parse.key=true", "--property", "key.separator=:"];
    send(brokers, "t", "a\nb\nc\nd\ne\nf\ng\n", &[]);
    send(brokers, "t", "k1:h\n", &by_key);
    send(brokers, "t", "i\n", &[]);
    send(brokers, "three", &keyed, &by_key);

    // Its table of options is that of another version.
    let mut replay = Replay::new(brokers, PRODUCER);
    let table = Transcript::parse(OLD_CONSUMER).steps.into_iter().find_map(|step| match step {
        Step::Case(case) if case.slug == "no-arguments" => {
            case.stderr.split_once('\n').map(|(_, table)| table.to_owned())
        }
        _ => None,
    });
    replay.helps = vec![("0.8", table.expect("the recording has the table of options"))];
    replay.left_out = LEFT_OUT_OF_OLD_CONSUMER;
    replay.is_unordered = of_three_partitions;
    let steps = Transcript::parse(OLD_CONSUMER).steps;
    replay.play(&steps, |_, event| panic!("an unknown event: {event}"), |_, _| {});
}

fn of_three_partitions(case: &Case) -> bool {
    case.slug == "three-partitions"
}

/// By our own producer.
fn send(brokers: &dyn Brokers, topic: &str, lines: &str, options: &[&str]) {
    let mut command = Command::new(ottla());
    command.args(["console-producer", "--broker-list", &brokers.bootstrap(), "--topic", topic]);
    succeed(command.args(options), lines.as_bytes(), PATIENCE);
}
