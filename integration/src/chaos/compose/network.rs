//! Cuts and weather, made by packet filters and token buckets in a container beside each node, which has the right
//! to make them and shares the node's network. A node that starts again has a new network, without either.

use std::collections::BTreeMap;

use super::docker;
use super::{SUBNET, container, side, state};
use crate::chaos::arena::{ArenaError, End, Node, Weather};

/// What is in force.
#[derive(Debug, Default)]
pub(super) struct Links {
    cuts: Vec<(End, End)>,
    weather: BTreeMap<Node, Weather>,
}

impl Links {
    /// Makes what is in force so in the network that a node has just been given.
    pub(super) fn furnish(&self, node: Node) -> Result<(), ArenaError> {
        docker(&["restart", "-t", "0", &side(node)])?;
        for (from, to) in &self.cuts {
            if let Some((at, rule)) = drops(*from, *to).filter(|(at, _)| *at == node) {
                beside(at, &format!("iptables -w -A {rule}"))?;
            }
        }
        match self.weather.get(&node) {
            // It is without a link still.
            None | Some(Weather::Down) => Ok(()),
            Some(weather) => set(node, *weather, true),
        }
    }

    /// `running`: whether the node where it is made has a network now.
    pub(super) fn cut(
        &mut self,
        from: End,
        to: End,
        running: impl Fn(Node) -> bool,
    ) -> Result<(), ArenaError> {
        self.cuts.push((from, to));
        match drops(from, to) {
            Some((at, rule)) if running(at) => beside(at, &format!("iptables -w -A {rule}")),
            _ => Ok(()),
        }
    }

    pub(super) fn heal(
        &mut self,
        from: End,
        to: End,
        running: impl Fn(Node) -> bool,
    ) -> Result<(), ArenaError> {
        if let Some(at) = self.cuts.iter().position(|cut| *cut == (from, to)) {
            self.cuts.remove(at);
        }
        match drops(from, to) {
            Some((at, rule)) if running(at) => beside(at, &format!("iptables -w -D {rule}")),
            _ => Ok(()),
        }
    }

    pub(super) fn weather(&mut self, node: Node, weather: Weather, running: bool) -> Result<(), ArenaError> {
        let before = self.weather.insert(node, weather).unwrap_or(Weather::Fair);
        for (weather, on) in [(before, false), (weather, true)] {
            if running || weather == Weather::Down {
                set(node, weather, on)?;
            }
        }
        Ok(())
    }
}

/// Where packets from one to the other are dropped, and by which rule: on arrival, so that the sender notices
/// nothing; but those to clients when they leave, since clients are where the machine is.
fn drops(from: End, to: End) -> Option<(Node, String)> {
    match (from, to) {
        (from, End::Node(node)) => Some((node, format!("INPUT -s {} -j DROP", address(from)))),
        (End::Node(node), End::Clients) => Some((node, format!("OUTPUT -d {} -j DROP", address(to)))),
        (End::Clients, End::Clients) => None,
    }
}

fn set(node: Node, weather: Weather, on: bool) -> Result<(), ArenaError> {
    match weather {
        Weather::Fair => Ok(()),
        Weather::Down if on => {
            docker(&["network", "disconnect", super::NETWORK, &container(node)]).map(|_| ())
        }
        Weather::Down => {
            let (address, name) = (address(End::Node(node)), super::overlay::service(node));
            let connect = ["network", "connect", "--ip", &address, "--alias", &name, super::NETWORK];
            docker(&[&connect[..], &[&container(node)]].concat()).map(|_| ())
        }
        Weather::Lossy(share) => {
            let verb = if on { "-A" } else { "-D" };
            let lose = format!("-m statistic --mode random --probability {share} -j DROP");
            beside(
                node,
                &format!(
                    "iptables -w {verb} INPUT ! -i lo {lose} && iptables -w {verb} OUTPUT ! -o lo {lose}"
                ),
            )
        }
        // What the node sends: what it is sent could be limited outside of its network alone. A link that was down
        // comes back by another name.
        Weather::Narrow(kbit) => {
            let clients = address(End::Clients);
            let link = format!("link=$(ip -o route get {clients} | sed 's/.* dev \\([^ ]*\\).*/\\1/')");
            let set = match on {
                true => format!("tc qdisc add dev $link root tbf rate {kbit}kbit burst 16kb latency 300ms"),
                false => String::from("tc qdisc del dev $link root"),
            };
            beside(node, &format!("{link} && {set}"))
        }
    }
}

/// A node that ended by itself a moment ago has no network any more, and is furnished when it starts.
fn beside(node: Node, steps: &str) -> Result<(), ArenaError> {
    let Err(error) = docker(&["exec", &side(node), "sh", "-c", steps]) else { return Ok(()) };
    let is_running = state(&[node])?.iter().any(|(_, is_running, _)| *is_running);
    if is_running { Err(error) } else { Ok(()) }
}

/// Clients come from the machine, which containers know as the network's gateway.
pub(super) fn address(end: End) -> String {
    let host = match end {
        End::Clients => 1,
        End::Node(node) => node.host_number(),
    };
    format!("{SUBNET}.{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_dropped_where_they_arrive_unless_that_is_here() {
        let (one, two) = (Node::Broker(1), Node::ZooKeeper(2));
        let between = drops(End::Node(one), End::Node(two));
        assert_eq!(between, Some((two, format!("INPUT -s {SUBNET}.11 -j DROP"))));
        let in_ = drops(End::Clients, End::Node(one));
        assert_eq!(in_, Some((one, format!("INPUT -s {SUBNET}.1 -j DROP"))));
        let out = drops(End::Node(one), End::Clients);
        assert_eq!(out, Some((one, format!("OUTPUT -d {SUBNET}.1 -j DROP"))));
    }
}
