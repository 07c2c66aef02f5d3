//! Stock clients of both eras on 12 partitions with 3 replicas: what any of them sends, all of them read.

use std::collections::BTreeSet;

use integration::apache::Release;
use integration::cluster::{Cluster, PATIENCE};
use integration::foreign;
use integration::process::succeed;

const EACH: usize = 3_000;

#[test]
fn what_any_client_sends_all_clients_read() {
    let cluster = Cluster::start(3, &[("min.insync.replicas", "2")]);
    let bootstrap = cluster.bootstrap();
    let topic = "everything";
    succeed(
        Release::V3_9.java("org.apache.kafka.tools.TopicCommand").args([
            "--bootstrap-server",
            &bootstrap,
            "--create",
            "--topic",
            topic,
            "--partitions",
            "12",
            "--replication-factor",
            "3",
        ]),
        &[],
        PATIENCE,
    );

    let mut sent = BTreeSet::new();
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let values = numbered(&format!("kcat-{codec}"));
        foreign::produce_with_kcat(&bootstrap, topic, &values, &["-z", codec]);
        sent.extend(values);
    }
    let values = numbered("rdkafka");
    foreign::produce_with_rdkafka(&bootstrap, topic, &values);
    sent.extend(values);
    let values = numbered("python");
    foreign::produce_with_python(&bootstrap, topic, &values);
    sent.extend(values);
    foreign::produce_with_verifiable_producer(&bootstrap, topic, EACH, "");
    sent.extend((0..EACH).map(|n| n.to_string()));

    for (reader, received) in [
        ("kcat", foreign::consume_with_kcat(&bootstrap, topic)),
        ("rdkafka", foreign::consume_with_rdkafka(&bootstrap, topic)),
        ("java", foreign::consume_with_java(&bootstrap, topic)),
        ("python", foreign::consume_with_python(&bootstrap, topic)),
    ] {
        assert_same(reader, &sent, received);
    }
}

/// zstd needs a client that knows it, which the `rdkafka` crate is built without.
#[test]
fn zstd_batches_are_served_to_those_who_know_them() {
    let cluster = Cluster::start(
        3,
        &[("min.insync.replicas", "2"), ("num.partitions", "12"), ("default.replication.factor", "3")],
    );
    foreign::produce_with_verifiable_producer(&cluster.bootstrap(), "zstd", EACH, "compression.type=zstd");
    let sent = (0..EACH).map(|n| n.to_string()).collect();
    assert_same("java", &sent, foreign::consume_with_java(&cluster.bootstrap(), "zstd"));
    assert_same("kcat", &sent, foreign::consume_with_kcat(&cluster.bootstrap(), "zstd"));
    assert_same("python", &sent, foreign::consume_with_python(&cluster.bootstrap(), "zstd"));
}

#[test]
fn the_classic_console_consumer_reads_what_modern_producers_send() {
    let cluster = Cluster::start(
        3,
        &[("min.insync.replicas", "2"), ("num.partitions", "12"), ("default.replication.factor", "3")],
    );
    let bootstrap = cluster.bootstrap();
    let topic = "classic";
    let mut sent = BTreeSet::new();
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let values = numbered(&format!("kcat-{codec}"));
        foreign::produce_with_kcat(&bootstrap, topic, &values, &["-z", codec]);
        sent.extend(values);
    }
    let values = numbered("python");
    foreign::produce_with_python(&bootstrap, topic, &values);
    sent.extend(values);
    let received =
        foreign::consume_with_classic_console(&cluster.zookeeper.connect_string(), topic, sent.len());
    assert_same("0.8.2.2", &sent, received);
}

#[test]
fn producer_performance_runs_and_its_records_are_there() {
    let cluster = Cluster::start(
        3,
        &[("min.insync.replicas", "2"), ("num.partitions", "12"), ("default.replication.factor", "3")],
    );
    let bootstrap = cluster.bootstrap();
    let count = 50_000;
    let said = succeed(
        Release::V3_9.java("org.apache.kafka.tools.ProducerPerformance").args([
            "--topic",
            "perf",
            "--num-records",
            &count.to_string(),
            "--record-size",
            "100",
            "--throughput",
            "-1",
            "--producer-props",
            &format!("bootstrap.servers={bootstrap}"),
        ]),
        &[],
        PATIENCE,
    );
    assert!(said.contains(&format!("{count} records sent")), "{said}");
    assert_eq!(foreign::consume_with_rdkafka(&bootstrap, "perf").len(), count);
}

fn numbered(prefix: &str) -> Vec<String> {
    (0..EACH).map(|n| format!("{prefix}-{n:06}")).collect()
}

#[track_caller]
fn assert_same(reader: &str, sent: &BTreeSet<String>, received: Vec<String>) {
    let count = received.len();
    let received: BTreeSet<String> = received.into_iter().collect();
    let missing: Vec<_> = sent.difference(&received).take(5).collect();
    let strange: Vec<_> = received.difference(sent).take(5).collect();
    assert!(
        missing.is_empty() && strange.is_empty(),
        "{reader}: missing {missing:?}…, never sent {strange:?}…"
    );
    assert_eq!(count, sent.len(), "{reader} read some values more than once");
}
