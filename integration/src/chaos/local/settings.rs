//! The files that brokers and ZooKeeper servers start from.

use std::path::Path;

use super::network::address;
use crate::chaos::arena::{ArenaError, Node};
use crate::chaos::settings;
use crate::chaos::system::write;

const BROKER_PORT: u16 = 9092;

pub(super) fn broker_address(id: i32) -> String {
    format!("{}:{BROKER_PORT}", dotted(Node::Broker(id)))
}

/// `more`: lines that are to count instead of the usual ones.
pub(super) fn broker(
    home: &Path,
    id: i32,
    zookeeper_connect: &str,
    more: &[String],
) -> Result<(), ArenaError> {
    write(&home.join("slow"), "0")?;
    write(&home.join("clock"), "+0s\n")?;
    let given = format!(
        "broker.id={id}\nlisteners=PLAINTEXT://{}\nlog.dirs={}\n",
        broker_address(id),
        super::disk::log_dir(home).display(),
    );
    write(&home.join("server.properties"), &settings::broker(&given, zookeeper_connect, more))
}

pub(super) fn zookeeper(home: &Path, server: i32, servers: i32) -> Result<(), ArenaError> {
    let data = home.join("data");
    write(&data.join("myid"), &server.to_string())?;
    let hosts: Vec<String> = (1..=servers).map(|other| dotted(Node::ZooKeeper(other))).collect();
    write(&home.join("zoo.cfg"), &settings::zookeeper(&data.display().to_string(), &hosts))
}

fn dotted(node: Node) -> String {
    address(node).map(|byte| byte.to_string()).join(".")
}
