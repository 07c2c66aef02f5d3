//! `ottla console-producer` does and says what Kafka's did: the recording of Kafka's own tool, replayed from top to
//! bottom.

use integration::apache_cluster::ApacheCluster;
use integration::cluster::Cluster;
use integration::foreign::consume_with_java;
use integration::transcript::Transcript;

use crate::replay::{Brokers, Replay};

const PRODUCER: &str = include_str!("../fixtures/kafka-console-producer.txt");

/// How the recording's cluster was set up, beyond defaults.
const SETTINGS: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "3"),
    ("offsets.topic.replication.factor", "1"),
];

const LEFT_OUT_OF_PRODUCER: &[(&str, &str)] = &[("terminal (3.9.1)", "a test has no terminal")];

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
    let bootstrap = brokers.addresses();
    // The recording compresses by all that Kafka knows; not every build of librdkafka does.
    let read = |topic: &str| consume_with_java(&bootstrap, topic);
    // `property-malformed` has no key, and is sent.
    assert_eq!(read("one"), ["a", "b", "c", "d", "", "e", "f", "g", "h", "i", "j", "k"]);
    assert_eq!(read("keyed"), ["v1", "v2", "v3:more", "v4", "nokey"]);
    assert_eq!(read("rich"), ["v", "v", "null", "w"]);
    assert_eq!(read("auto"), ["k"]);
    assert_eq!(read("strict"), Vec::<String>::new());
}
