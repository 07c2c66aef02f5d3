//! The files that brokers and ZooKeeper servers start from.

use std::fs;
use std::io;
use std::path::Path;

use super::network::address;
use crate::chaos::arena::Node;
use crate::cluster::SESSION_TIMEOUT_MS;

pub(super) const ZOOKEEPER_PORT: u16 = 2181;
const BROKER_PORT: u16 = 9092;

pub(super) fn broker_address(id: i32) -> String {
    format!("{}:{BROKER_PORT}", dotted(Node::Broker(id)))
}

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

/// `more`: lines that are to count instead.
pub(super) fn broker(home: &Path, id: i32, zookeeper_connect: &str, more: &[String]) -> io::Result<()> {
    fs::create_dir_all(home)?;
    fs::write(home.join("slow"), "0")?;
    fs::write(home.join("clock"), "+0s\n")?;
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let usual = PROPERTIES.lines().filter(|line| !more.iter().any(|other| name(other) == name(line)));
    let properties: String = usual.map(|line| format!("{line}\n")).collect();
    let text = format!(
        "broker.id={id}\nlisteners=PLAINTEXT://{}\nlog.dirs={}\nzookeeper.connect={zookeeper_connect}\n\
         zookeeper.session.timeout.ms={SESSION_TIMEOUT_MS}\n{properties}{}\n",
        broker_address(id),
        super::disk::log_dir(home).display(),
        more.join("\n"),
    );
    fs::write(home.join("server.properties"), text)
}

pub(super) fn zookeeper(home: &Path, server: i32, servers: i32) -> io::Result<()> {
    let data = home.join("data");
    fs::create_dir_all(&data)?;
    fs::write(data.join("myid"), server.to_string())?;
    let mut text = format!(
        "tickTime=500\ninitLimit=20\nsyncLimit=10\ndataDir={}\nclientPort={ZOOKEEPER_PORT}\nmaxClientCnxns=0\n\
         admin.enableServer=false\n4lw.commands.whitelist=*\n",
        data.display()
    );
    if servers > 1 {
        for other in 1..=servers {
            text.push_str(&format!("server.{other}={}:2888:3888\n", dotted(Node::ZooKeeper(other))));
        }
    }
    fs::write(home.join("zoo.cfg"), text)
}

fn dotted(node: Node) -> String {
    address(node).map(|byte| byte.to_string()).join(".")
}
