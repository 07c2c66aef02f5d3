//! Producers are remembered over restarts. A snapshot holds the last batch of each; after a kill our broker reads
//! the log again and knows five, Apache's only one. Each takes over the other's directory.

use std::path::Path;

use integration::apache_cluster::ApacheBroker;
use integration::cluster::{Cluster, PATIENCE};
use integration::observer::Observer;
use integration::ports::free_port;
use integration::runtime::run;
use integration::wait;

use super::asker::{Asker, sent};
use super::now_ms;

const TOPIC: &str = "kept";

/// What a broker must answer that knows what the one before it knew.
struct Expected {
    /// Of producer 1: the sequence that is next, and the offset.
    next: i32,
    end: i64,
    /// Of its batches, one record each, how many are known to have been sent.
    remembered: i32,
}

impl Expected {
    /// Asks, and has the producer send two more batches. Returns what DescribeProducers says then.
    async fn check(&mut self, broker: &Asker) -> Vec<String> {
        for back in 1..=6 {
            let (sequence, offset) = (self.next - back, self.end - i64::from(back));
            let again = broker.code(sent(1, 0, sequence, 1)).await;
            match back <= self.remembered {
                true => assert_eq!(again, format!("None at {offset}"), "sequence {sequence} again"),
                false => assert_eq!(again, "OutOfOrderSequenceNumber at -1", "sequence {sequence} again"),
            }
        }
        let gap = broker.code(sent(1, 0, self.next + 1, 1)).await;
        assert_eq!(gap, "OutOfOrderSequenceNumber at -1");
        assert_eq!(broker.code(sent(2, 0, 0, 1)).await, "InvalidProducerEpoch at -1", "an old epoch");
        for _ in 0..2 {
            assert_eq!(broker.code(sent(1, 0, self.next, 1)).await, format!("None at {}", self.end));
            self.next += 1;
            self.end += 1;
        }
        self.remembered = (self.remembered + 2).min(5);
        broker.described(&[(TOPIC, 0)]).await
    }
}

#[test]
fn each_remembers_what_the_other_knew() {
    let mut cluster = Cluster::start(1, &[]);
    let (ours, timestamp) = (cluster.address(1), now_ms());
    let connect = async |address: &str| Asker::connect(address, TOPIC, timestamp).await;

    // Producer 2 is in epoch 3; producer 1 has sent ten batches of one record behind it.
    let (mut expected, described) = run(async {
        let broker = connect(&ours).await;
        assert_eq!(broker.code(sent(2, 3, 0, 4)).await, "None at 0");
        for sequence in 0..10 {
            assert_eq!(broker.code(sent(1, 0, sequence, 1)).await, format!("None at {}", 4 + sequence));
        }
        (Expected { next: 10, end: 14, remembered: 5 }, broker.described(&[(TOPIC, 0)]).await)
    });
    assert!(cluster.terminate(1).success());
    let folder = cluster.data(1).join(format!("{TOPIC}-0"));
    assert_eq!(newest_snapshot(&folder).as_deref(), Some("00000000000000000014.snapshot"));

    // Stopped cleanly by us, continued by Apache's.
    let apache = start_apache(&cluster);
    expected.remembered = 1;
    let described = run(async {
        let broker = connect(&apache.address()).await;
        assert_eq!(broker.described(&[(TOPIC, 0)]).await, described);
        expected.check(&broker).await
    });
    apache.terminate();
    assert_eq!(newest_snapshot(&folder).as_deref(), Some("00000000000000000016.snapshot"));

    // Stopped cleanly by Apache's, continued by us.
    cluster.start_broker(1);
    cluster.wait_until_serving();
    expected.remembered = 1;
    let described_by_us = run(async {
        let broker = connect(&ours).await;
        assert_eq!(broker.described(&[(TOPIC, 0)]).await, described);
        expected.check(&broker).await
    });

    // Killed: the log tells. Recovery takes a snapshot, so Apache's knows the last batch again.
    cluster.kill(1);
    let apache = start_apache(&cluster);
    expected.remembered = 1;
    let described = run(async {
        let broker = connect(&apache.address()).await;
        assert_eq!(broker.described(&[(TOPIC, 0)]).await, described_by_us);
        expected.check(&broker).await
    });
    apache.kill();
    cluster.start_broker(1);
    cluster.wait_until_serving();
    expected.remembered = 5;
    run(async {
        let broker = connect(&ours).await;
        assert_eq!(broker.described(&[(TOPIC, 0)]).await, described);
        expected.check(&broker).await;
    });
}

#[test]
fn whoever_is_silent_for_long_is_forgotten() {
    let hour = ("producer.id.expiration.ms", "3600000");
    let cluster = Cluster::start(1, &[hour, ("producer.id.expiration.check.interval.ms", "100")]);
    run(async {
        let now = Asker::connect(&cluster.address(1), TOPIC, now_ms()).await;
        // The time that counts is the producer's own.
        let long_ago = Asker::connect(&cluster.address(1), TOPIC, now_ms() - 3_600_000).await;
        assert_eq!(now.code(sent(1, 0, 0, 1)).await, "None at 0");
        assert_eq!(long_ago.code(sent(2, 5, 0, 1)).await, "None at 1");
        let started = std::time::Instant::now();
        while now.described(&[(TOPIC, 0)]).await.len() > 2 {
            assert!(started.elapsed() < PATIENCE, "producer 2 is still known");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(now.code(sent(2, 0, 40, 1)).await, "None at 2", "as of a new producer");
        assert_eq!(now.code(sent(1, 0, 0, 1)).await, "None at 0", "still known");
    });
}

/// Once the registration of the broker before it is gone: Apache's gives up otherwise.
fn start_apache(cluster: &Cluster) -> ApacheBroker {
    let zookeeper = cluster.zookeeper.connect_string();
    let observer = Observer::connect(&zookeeper);
    wait::until("nobody is registered", PATIENCE, || observer.registered().is_empty().then_some(()));
    ApacheBroker::start(1, free_port(), &zookeeper, &cluster.data(1), cluster.folder(), &[])
}

fn newest_snapshot(folder: &Path) -> Option<String> {
    let names = std::fs::read_dir(folder).expect("the folder is there");
    let names = names.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".snapshot")).max()
}
