//! What is laid over docker-compose.yml for a run, and the files that it mounts.

use std::path::Path;

use super::network::address;
use super::{NETWORK, SUBNET, container};
use crate::chaos::arena::{ArenaError, End, Node, Shape};
use crate::chaos::preload::{self, Library};
use crate::chaos::settings::{self, ZOOKEEPER_PORT};
use crate::chaos::system::write;
use crate::zookeeper::{LOGGING, container_image, container_script};

/// Of each broker's disk, in memory. What is not used takes none.
const DISK: &str = "size=256m,uid=1000,mode=0755";

/// What its brokers are told beyond the command line.
const CONTAINER_PROPERTIES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/container.properties"));

/// The name of a node in docker-compose.yml, and in its network.
pub(super) fn service(node: Node) -> String {
    match node {
        Node::ZooKeeper(1) => String::from("zookeeper"),
        other => other.to_string(),
    }
}

/// Writes everything below `folder`. `binary`: the broker's program, if not the image's own.
pub(super) fn lay(
    folder: &Path,
    shape: &Shape,
    image: &str,
    binary: Option<&Path>,
    ports: &[u16],
) -> Result<(), ArenaError> {
    let mut text = String::from("version: \"3.7\"\nservices:\n");
    let servers: Vec<Node> = (1..=shape.zookeepers).map(Node::ZooKeeper).collect();
    for (server, port) in (1..).zip(ports) {
        text.push_str(&zookeeper(folder, server, &servers, *port)?);
    }
    let hosts: Vec<String> =
        servers.iter().map(|server| format!("{}:{ZOOKEEPER_PORT}", service(*server))).collect();
    let brokers: Vec<Node> = (1..=shape.brokers).map(Node::Broker).collect();
    for broker in &brokers {
        let home = folder.join(broker.to_string());
        let more =
            [&[String::from("log.dirs=/var/lib/ottla/data/logs")], shape.properties.as_slice()].concat();
        write(
            &home.join("server.properties"),
            &settings::broker(CONTAINER_PROPERTIES, &hosts.join(","), &more),
        )?;
        write(&home.join("faults/slow"), "0")?;
        write(&home.join("faults/clock"), "+0s\n")?;
        text.push_str(&self::broker(&home, *broker, shape, image, binary));
    }
    text.push_str(&disks(folder, &brokers));
    text.push_str("volumes:\n  preload:\n");
    for server in servers.iter().skip(1) {
        text.push_str(&format!("  {server}-data:\n"));
    }
    for broker in &brokers {
        text.push_str(&format!(
            "  {broker}-data:\n    driver: local\n    driver_opts: {{type: tmpfs, device: tmpfs, o: \"{DISK}\"}}\n"
        ));
    }
    text.push_str(&format!(
        "networks:\n  default:\n    name: {NETWORK}\n    ipam:\n      config: [{{subnet: {SUBNET}.0/24}}]\n"
    ));
    write(&folder.join("compose.yml"), &text)
}

fn zookeeper(folder: &Path, server: i32, servers: &[Node], port: u16) -> Result<String, ArenaError> {
    let node = Node::ZooKeeper(server);
    let home = folder.join(node.to_string()).join("start");
    let hosts: Vec<String> = servers.iter().map(|server| address(End::Node(*server))).collect();
    write(&home.join("myid"), &server.to_string())?;
    write(&home.join("zoo.cfg"), &settings::zookeeper("/data", &hosts))?;
    write(&home.join("log4j.properties"), LOGGING)?;
    write(&home.join("run"), &container_script("/start"))?;
    let data = if server == 1 { String::from("zookeeper") } else { node.to_string() };
    Ok(format!(
        "  {}:\n    container_name: {}\n    image: \"{}\"\n    \
         entrypoint: [\"sh\", \"/start/run\"]\n    healthcheck: {{test: [\"CMD\", \"true\"], interval: 24h}}\n    \
         volumes: [\"{}:/start:ro\", \"{data}-data:/data\"]\n    ports: [\"127.0.0.1:{port}:{ZOOKEEPER_PORT}\"]\n    \
         networks: {{default: {{ipv4_address: {}}}}}\n",
        service(node),
        container(node),
        container_image(),
        home.display(),
        address(End::Node(node)),
    ))
}

fn broker(home: &Path, node: Node, shape: &Shape, image: &str, binary: Option<&Path>) -> String {
    let mut text = format!(
        "  {node}:\n    container_name: {}\n    image: {image}\n    restart: \"no\"\n    \
         healthcheck: {{test: [\"CMD\", \"true\"], interval: 24h}}\n    networks: {{default: {{ipv4_address: {}}}}}\n    environment:\n      \
         - NO_COLOR=1\n",
        container(node),
        address(End::Node(node)),
    );
    for variable in preloaded(shape, "/faults") {
        text.push_str(&format!("      - {variable}\n"));
    }
    let home = home.display();
    text.push_str(&format!(
        "    volumes:\n      - {home}/server.properties:/etc/ottla/server.properties:ro\n      \
         - {home}/faults:/faults:ro\n      - preload:/preload:ro\n"
    ));
    if let Some(binary) = binary {
        text.push_str(&format!("      - {}:/usr/local/bin/ottla:ro\n", binary.display()));
    }
    text
}

/// Variables for what stands between a broker and its surroundings; `faults`: where that is told what to do.
pub(super) fn preloaded(shape: &Shape, faults: &str) -> Vec<String> {
    let library = |name: &str, told_by: &str| Library {
        path: format!("/preload/{name}"),
        told_by: format!("{faults}/{told_by}"),
    };
    let slow_disk = shape.slow_disks.then(|| library("slow_disk.so", "slow"));
    let clock = shape.clocks.then(|| library("libfaketimeMT.so.1", "clock"));
    preload::variables(slow_disk, clock)
}

/// Who keeps brokers' disks while they are down: a disk in memory is gone when nobody uses it.
fn disks(folder: &Path, brokers: &[Node]) -> String {
    let mut text = format!(
        "  {DISKS}:\n    container_name: {DISKS}\n    image: {}\n    network_mode: none\n    volumes:\n      \
         - preload:/preload\n",
        super::SIDE_IMAGE,
        DISKS = super::DISKS,
    );
    for broker in brokers {
        let faults = folder.join(broker.to_string()).join("faults");
        text.push_str(&format!(
            "      - {broker}-data:/disks/{broker}\n      - {}:/faults/{broker}:ro\n",
            faults.display()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_told_what_the_images_file_says_and_what_a_run_asks_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let properties = vec![String::from("min.insync.replicas=1")];
        let shape = Shape { brokers: 3, zookeepers: 3, clocks: true, slow_disks: false, properties };
        let binary = Path::new("/here/ottla");
        lay(folder.path(), &shape, "ottla", Some(binary), &[20_001, 20_002, 20_003])
            .expect("files can be written");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
        let properties = read("broker-2/server.properties");
        for line in [
            "inter.broker.listener.name=PLAINTEXT",
            "zookeeper.connect=zookeeper:2181,zookeeper-2:2181,zookeeper-3:2181",
            "min.insync.replicas=1",
        ] {
            assert_eq!(properties.lines().filter(|told| *told == line).count(), 1, "{line} in {properties}");
        }
        assert!(!properties.contains("min.insync.replicas=2"), "{properties}");
        let overlay = read("compose.yml");
        assert!(overlay.contains("LD_PRELOAD=/preload/libfaketimeMT.so.1"), "{overlay}");
        assert!(overlay.contains("/here/ottla:/usr/local/bin/ottla:ro"), "{overlay}");
        assert!(read("zookeeper-3/start/zoo.cfg").contains("server.2="));
    }
}
