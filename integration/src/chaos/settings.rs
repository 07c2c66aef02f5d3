//! What brokers and ZooKeeper servers of every arena are told.

use crate::cluster::SESSION_TIMEOUT_MS;
use crate::zookeeper::configuration;

pub(super) const ZOOKEEPER_PORT: u16 = 2181;
const TICK_MS: u32 = 500;

/// What a cluster is told that is not to lose anything. Times are short, so that faults outlast them; but a broker
/// that starts while it cannot reach ZooKeeper waits, where it would end, as Kafka does, for its supervisor.
const PROPERTIES: &str = "\
min.insync.replicas=2
default.replication.factor=3
unclean.leader.election.enable=false
auto.create.topics.enable=false
offsets.topic.replication.factor=3
offsets.topic.num.partitions=4
replica.lag.time.max.ms=5000
leader.imbalance.check.interval.seconds=20
group.initial.rebalance.delay.ms=500
log.cleaner.enable=false
log.segment.bytes=4194304
zookeeper.connection.timeout.ms=120000
";

/// `key=value` lines: `given` first, where `more` does not say otherwise.
pub(super) fn broker(given: &str, zookeeper_connect: &str, more: &[String]) -> String {
    let ours = format!(
        "zookeeper.connect={zookeeper_connect}\nzookeeper.session.timeout.ms={SESSION_TIMEOUT_MS}\n{PROPERTIES}"
    );
    let more = more.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut text = String::new();
    for (layer, above) in [(given, format!("{ours}{more}")), (&ours, more.clone()), (&more, String::new())] {
        let counts = |line: &&str| !above.lines().any(|other| name(other) == name(line));
        text.extend(layer.lines().filter(counts).map(|line| format!("{line}\n")));
    }
    text
}

fn name(line: &str) -> &str {
    line.split('=').next().unwrap_or_default().trim()
}

/// A `zoo.cfg`; `servers`: hosts in the order of their ids, if there are several.
pub(super) fn zookeeper(data: &str, servers: &[String]) -> String {
    let mut more = String::from("initLimit=20\nsyncLimit=10\n");
    if servers.len() > 1 {
        for (server, host) in (1..).zip(servers) {
            more.push_str(&format!("server.{server}={host}:2888:3888\n"));
        }
    }
    configuration(data, ZOOKEEPER_PORT, TICK_MS, &more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_counts_instead_of_the_usual() {
        let asked = [String::from("min.insync.replicas=1"), String::from("broker.rack=a")];
        let text = broker("broker.id=7\nzookeeper.connect=there\nmin.insync.replicas=3\n", "here", &asked);
        let of = |name: &str| text.lines().filter(|line| super::name(line) == name).collect::<Vec<_>>();
        assert_eq!(of("broker.id"), ["broker.id=7"]);
        assert_eq!(of("zookeeper.connect"), ["zookeeper.connect=here"]);
        assert_eq!(of("min.insync.replicas"), ["min.insync.replicas=1"]);
        assert_eq!(of("broker.rack"), ["broker.rack=a"]);
        assert_eq!(of("replica.lag.time.max.ms"), ["replica.lag.time.max.ms=5000"]);
    }

    #[test]
    fn servers_know_one_another_if_there_are_several() {
        assert!(!zookeeper("/data", &[String::from("a")]).contains("server."));
        let three = zookeeper("/data", &["a", "b", "c"].map(String::from));
        assert!(three.contains("server.3=c:2888:3888\n"), "{three}");
    }
}
