//! A bridge, and a namespace with a link to it for each node. Clients are where the bridge is.

use std::collections::BTreeMap;
use std::process::Command;

use crate::chaos::arena::{ArenaError, End, Node, Weather};
use crate::chaos::system::system;

const CLIENTS: [u8; 4] = [10, 77, 0, 1];

/// Where a node is: brokers from 10.77.0.11, ZooKeeper servers from 10.77.0.101 on.
pub(super) fn address(node: Node) -> [u8; 4] {
    let [a, b, c, _] = CLIENTS;
    [a, b, c, node.host_number()]
}

/// Begins a command that runs in a node's namespace; the process stays the same through it.
pub(super) fn inside(node: Node) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{node}"));
    command
}

/// Links and what was done to them.
#[derive(Debug)]
pub(super) struct Network {
    weather: BTreeMap<Node, Weather>,
}

impl Network {
    pub(super) fn new() -> Result<Network, ArenaError> {
        ip(&format!("link add {BRIDGE} type bridge"))?;
        ip(&format!("addr add {}/24 dev {BRIDGE}", dotted(CLIENTS)))?;
        ip(&format!("link set {BRIDGE} up"))?;
        Ok(Network { weather: BTreeMap::new() })
    }

    pub(super) fn add(&mut self, node: Node) -> Result<(), ArenaError> {
        let link = link(node);
        ip(&format!("netns add {node}"))?;
        ip(&format!("link add {link} type veth peer name eth0 netns {node}"))?;
        ip(&format!("link set {link} master {BRIDGE} up"))?;
        ip(&format!("-n {node} addr add {}/24 dev eth0", dotted(address(node))))?;
        ip(&format!("-n {node} link set eth0 up"))?;
        ip(&format!("-n {node} link set lo up"))?;
        self.weather.insert(node, Weather::Fair);
        Ok(())
    }

    pub(super) fn weather(&mut self, node: Node, weather: Weather) -> Result<(), ArenaError> {
        let before = self.weather.insert(node, weather).unwrap_or(Weather::Fair);
        self.set(node, before, false)?;
        self.set(node, weather, true)
    }

    fn set(&self, node: Node, weather: Weather, on: bool) -> Result<(), ArenaError> {
        let link = link(node);
        match weather {
            Weather::Fair => Ok(()),
            Weather::Down => ip(&format!("link set {link} {}", if on { "down" } else { "up" })),
            // netem would do both of these and delays; this needs less of the kernel.
            Weather::Lossy(share) => {
                let rule = format!("! -i lo -m statistic --mode random --probability {share} -j DROP");
                let outgoing = rule.replace("-i", "-o");
                let verb = if on { "-A" } else { "-D" };
                iptables(End::Node(node), &format!("{verb} INPUT {rule}"))?;
                iptables(End::Node(node), &format!("{verb} OUTPUT {outgoing}"))
            }
            Weather::Narrow(kbit) => {
                for (mut tc, device) in [(Command::new("tc"), link.as_str()), (within(node, "tc"), "eth0")] {
                    let action = if on { "add" } else { "del" };
                    tc.args(["qdisc", action, "dev", device, "root"]);
                    if on {
                        let rate = format!("{kbit}kbit");
                        tc.args(["tbf", "rate", &rate, "burst", "16kb", "latency", "300ms"]);
                    }
                    system(&mut tc)?;
                }
                Ok(())
            }
        }
    }
}

/// Dropped where it would arrive, so that the sender notices nothing.
pub(super) fn cut(from: End, to: End) -> Result<(), ArenaError> {
    iptables(to, &format!("-A INPUT -s {} -j DROP", dotted(end_address(from))))
}

pub(super) fn heal(from: End, to: End) -> Result<(), ArenaError> {
    iptables(to, &format!("-D INPUT -s {} -j DROP", dotted(end_address(from))))
}

const BRIDGE: &str = "arena";

fn link(node: Node) -> String {
    match node {
        Node::Broker(id) => format!("b{id}"),
        Node::ZooKeeper(server) => format!("z{server}"),
    }
}

fn end_address(end: End) -> [u8; 4] {
    match end {
        End::Clients => CLIENTS,
        End::Node(node) => address(node),
    }
}

fn dotted(address: [u8; 4]) -> String {
    address.map(|byte| byte.to_string()).join(".")
}

fn within(node: Node, program: &str) -> Command {
    let mut command = inside(node);
    command.arg(program);
    command
}

fn ip(arguments: &str) -> Result<(), ArenaError> {
    system(Command::new("ip").args(arguments.split(' '))).map(|_| ())
}

fn iptables(at: End, arguments: &str) -> Result<(), ArenaError> {
    let mut command = match at {
        End::Clients => Command::new("iptables"),
        End::Node(node) => within(node, "iptables"),
    };
    system(command.arg("-w").args(arguments.split(' '))).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_an_address_of_its_own() {
        let nodes = (1..=9).flat_map(|n| [Node::Broker(n), Node::ZooKeeper(n)]);
        let addresses: std::collections::BTreeSet<[u8; 4]> = nodes.map(address).collect();
        assert_eq!(addresses.len(), 18);
        assert!(!addresses.contains(&CLIENTS));
        assert_eq!(dotted(address(Node::Broker(2))), "10.77.0.12");
    }
}
