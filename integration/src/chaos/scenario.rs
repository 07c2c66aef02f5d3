//! The names of faults, and of whom they strike.

use std::fmt;
use std::str::FromStr;

/// What can be done to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    DisconnectPeers,
    DisconnectZooKeeper,
    DisconnectClients,
    Disconnect,
    OneWay,
    Ring,
    Lossy,
    SlowLink,
    Kill,
    Bounce,
    Pause,
    ZooKeeperKill,
    ZooKeeperPause,
    ZooKeeperRestart,
    ZooKeeperQuorum,
    DiskFull,
    SlowDisk,
    ClockJump,
    RollingRestart,
}

/// Name and meaning of every kind.
const KINDS: [(Kind, &str, &str); 19] = [
    (Kind::DisconnectPeers, "disconnect-peers", "a broker and the other brokers do not hear one another"),
    (Kind::DisconnectZooKeeper, "disconnect-zookeeper", "a broker and ZooKeeper do not hear one another"),
    (Kind::DisconnectClients, "disconnect-clients", "a broker and the clients do not hear one another"),
    (Kind::Disconnect, "disconnect", "a broker's link is down"),
    (
        Kind::OneWay,
        "one-way",
        "a broker hears the others, ZooKeeper or the clients, who do not hear it, or the reverse",
    ),
    (Kind::Ring, "ring", "each broker hears one neighbour only"),
    (Kind::Lossy, "lossy", "a tenth to a third of a broker's packets are lost"),
    (Kind::SlowLink, "slow-link", "a broker's link carries 3 Mbit/s"),
    (Kind::Kill, "kill", "a broker dies by SIGKILL"),
    (Kind::Bounce, "bounce", "a broker is shut down by SIGTERM and started at once"),
    (Kind::Pause, "pause", "a broker is stopped by SIGSTOP for longer than its session"),
    (Kind::ZooKeeperKill, "zookeeper-kill", "a ZooKeeper server dies"),
    (Kind::ZooKeeperPause, "zookeeper-pause", "a ZooKeeper server is stopped by SIGSTOP"),
    (Kind::ZooKeeperRestart, "zookeeper-restart", "a ZooKeeper server dies and is started at once"),
    (Kind::ZooKeeperQuorum, "zookeeper-quorum", "two of three ZooKeeper servers are down, for --quorum-loss"),
    (Kind::DiskFull, "disk-full", "a broker's disk is full"),
    (Kind::SlowDisk, "slow-disk", "each write of a broker takes 20 to 300 ms longer"),
    (Kind::ClockJump, "clock-jump", "a broker's clock jumps by an hour, forth or back, and back again"),
    (Kind::RollingRestart, "rolling-restart", "all brokers are restarted, one when the former is whole"),
];

impl Kind {
    pub fn all() -> impl Iterator<Item = Kind> {
        KINDS.iter().map(|(kind, _, _)| *kind)
    }

    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _, _)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// Whether it strikes ZooKeeper's servers, not brokers.
    pub fn is_zookeepers(self) -> bool {
        matches!(
            self,
            Kind::ZooKeeperKill | Kind::ZooKeeperPause | Kind::ZooKeeperRestart | Kind::ZooKeeperQuorum
        )
    }
}

/// Whom a fault strikes. Of ZooKeeper's servers only `leader` and `random` tell one from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The broker that leads most partitions of the load.
    Leader,
    Controller,
    /// Of the first group.
    Coordinator,
    /// An in-sync follower that leads less than others.
    Follower,
    Random,
}

const ROLES: [(Role, &str); 5] = [
    (Role::Leader, "leader"),
    (Role::Controller, "controller"),
    (Role::Coordinator, "coordinator"),
    (Role::Follower, "follower"),
    (Role::Random, "random"),
];

impl Role {
    pub fn all() -> [Role; 5] {
        ROLES.map(|(role, _)| role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ROLES.iter().find(|(role, _)| role == self).map_or("", |(_, name)| name))
    }
}

/// What a run is to consist of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scenario {
    /// All of these overlap in each round.
    Together(Vec<(Kind, Role)>),
    /// Each round draws some of all kinds.
    Storm,
}

/// A name that there is not.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScenarioError {
    #[error("there is no scenario {name:?}; `scripts/chaos --list` names them")]
    Unknown { name: String },
    #[error(
        "{name:?} strikes nobody that is called {role:?}; roles: leader, controller, coordinator, follower, random"
    )]
    Role { name: String, role: String },
    #[error("storm draws from all scenarios and stands alone")]
    StormAndOthers,
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Scenario, ScenarioError> {
        if text == "storm" {
            return Ok(Scenario::Storm);
        }
        let mut together = Vec::new();
        for part in text.split(',') {
            let (name, role) = part.split_once(':').unwrap_or((part, "random"));
            if name == "storm" {
                return Err(ScenarioError::StormAndOthers);
            }
            let kind = KINDS.iter().find(|(_, known, _)| *known == name).map(|(kind, _, _)| *kind);
            let kind = kind.ok_or_else(|| ScenarioError::Unknown { name: String::from(name) })?;
            let known = ROLES.iter().find(|(_, known)| *known == role).map(|(role, _)| *role);
            let wrong = || ScenarioError::Role { name: String::from(name), role: String::from(role) };
            together.push((kind, known.ok_or_else(wrong)?));
        }
        Ok(Scenario::Together(together))
    }
}

impl Scenario {
    /// Whether it has a fault of this kind, as far as that is known beforehand.
    pub fn may_have(&self, kind: Kind) -> bool {
        match self {
            Scenario::Storm => true,
            Scenario::Together(parts) => parts.iter().any(|(part, _)| *part == kind),
        }
    }
}

/// What there is, a line each.
pub fn list() -> String {
    let width = KINDS.iter().map(|(_, name, _)| name.len()).max().unwrap_or(0);
    let mut text: String =
        KINDS.iter().map(|(_, name, meaning)| format!("{name:width$}  {meaning}\n")).collect();
    text.push_str(&format!("{:width$}  draws from all of these, until the minutes are over\n\n", "storm"));
    text.push_str("Behind a name, whom it strikes: ");
    text.push_str(&ROLES.map(|(_, name)| format!(":{name}")).join(" "));
    text.push_str(
        " (the default)\nSeveral, joined by commas, strike together: kill:leader,zookeeper-restart\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_that_is_understood() {
        for kind in Kind::all() {
            let parsed: Scenario = kind.name().parse().expect("its own name");
            assert_eq!(parsed, Scenario::Together(vec![(kind, Role::Random)]));
            assert!(list().contains(kind.name()));
        }
        for role in Role::all() {
            let parsed: Scenario = format!("kill:{role}").parse().expect("a role's own name");
            assert_eq!(parsed, Scenario::Together(vec![(Kind::Kill, role)]));
        }
    }

    #[test]
    fn scenarios_are_combined_by_commas() {
        assert_eq!(
            "one-way:leader,zookeeper-kill".parse(),
            Ok(Scenario::Together(vec![(Kind::OneWay, Role::Leader), (Kind::ZooKeeperKill, Role::Random)]))
        );
        assert_eq!("storm".parse(), Ok(Scenario::Storm));
        assert_eq!("kill,storm".parse::<Scenario>(), Err(ScenarioError::StormAndOthers));
        let unknown = ScenarioError::Unknown { name: String::from("kil") };
        assert_eq!("kil:leader".parse::<Scenario>(), Err(unknown));
        let role = ScenarioError::Role { name: String::from("kill"), role: String::from("boss") };
        assert_eq!("kill:boss".parse::<Scenario>(), Err(role));
    }
}
