//! The names of faults, and of whom they strike.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

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
    KillAll,
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
const KINDS: [(Kind, &str, &str); 20] = [
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
    (Kind::KillAll, "kill-all", "all brokers die by SIGKILL at once"),
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

/// A fault of each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub kind: Kind,
    pub role: Role,
    /// When it strikes, from the round's beginning on, and for how long, where that is not left to the seed.
    pub at: Option<Duration>,
    pub lasts: Option<Duration>,
}

/// What a run is to consist of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scenario {
    /// All of these overlap in each round.
    Together(Vec<Part>),
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
    #[error(
        "{text:?} is no number of seconds: behind a name may stand @ and when it strikes, + and for how long"
    )]
    Seconds { text: String },
    #[error("storm draws from all scenarios and stands alone")]
    StormAndOthers,
    #[error(
        "rolling-restart stands alone: it waits between brokers until all is whole, which other faults would prevent"
    )]
    RollingRestartAndOthers,
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Scenario, ScenarioError> {
        if text == "storm" {
            return Ok(Scenario::Storm);
        }
        let mut together: Vec<Part> = Vec::new();
        for part in text.split(',') {
            together.push(part.parse()?);
        }
        if together.len() > 1 && together.iter().any(|part| part.kind == Kind::RollingRestart) {
            return Err(ScenarioError::RollingRestartAndOthers);
        }
        Ok(Scenario::Together(together))
    }
}

impl FromStr for Part {
    type Err = ScenarioError;

    /// `kind[:role][@seconds][+seconds]`
    fn from_str(text: &str) -> Result<Part, ScenarioError> {
        let (rest, lasts) = text.split_once('+').map_or((text, None), |(rest, lasts)| (rest, Some(lasts)));
        let (rest, at) = rest.split_once('@').map_or((rest, None), |(rest, at)| (rest, Some(at)));
        let (name, role) = rest.split_once(':').unwrap_or((rest, "random"));
        if name == "storm" {
            return Err(ScenarioError::StormAndOthers);
        }
        let kind = KINDS.iter().find(|(_, known, _)| *known == name).map(|(kind, _, _)| *kind);
        let kind = kind.ok_or_else(|| ScenarioError::Unknown { name: String::from(name) })?;
        let known = ROLES.iter().find(|(_, known)| *known == role).map(|(role, _)| *role);
        let wrong = || ScenarioError::Role { name: String::from(name), role: String::from(role) };
        let role = known.ok_or_else(wrong)?;
        Ok(Part { kind, role, at: at.map(seconds).transpose()?, lasts: lasts.map(seconds).transpose()? })
    }
}

fn seconds(text: &str) -> Result<Duration, ScenarioError> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.ok_or_else(|| ScenarioError::Seconds { text: String::from(text) })
}

impl Scenario {
    /// Whether it has a fault of this kind, as far as that is known beforehand.
    pub fn may_have(&self, kind: Kind) -> bool {
        match self {
            Scenario::Storm => true,
            Scenario::Together(parts) => parts.iter().any(|part| part.kind == kind),
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
        " (the default)\nSeveral, joined by commas, strike together: kill:leader,zookeeper-restart (rolling-restart: alone)\n\
         Behind that, when it strikes in its round and for how long, in seconds: kill:leader@2+10 (else the seed says)\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: Kind, role: Role) -> Part {
        Part { kind, role, at: None, lasts: None }
    }

    #[test]
    fn every_kind_has_a_name_that_is_understood() {
        for kind in Kind::all() {
            let parsed: Scenario = kind.name().parse().expect("its own name");
            assert_eq!(parsed, Scenario::Together(vec![part(kind, Role::Random)]));
            assert!(list().contains(kind.name()));
        }
        for role in Role::all() {
            let parsed: Scenario = format!("kill:{role}").parse().expect("a role's own name");
            assert_eq!(parsed, Scenario::Together(vec![part(Kind::Kill, role)]));
        }
    }

    #[test]
    fn scenarios_are_combined_by_commas() {
        assert_eq!(
            "one-way:leader,zookeeper-kill".parse(),
            Ok(Scenario::Together(vec![
                part(Kind::OneWay, Role::Leader),
                part(Kind::ZooKeeperKill, Role::Random)
            ]))
        );
        let timed = Part {
            at: Some(Duration::from_millis(1_500)),
            lasts: Some(Duration::from_secs(9)),
            ..part(Kind::Kill, Role::Leader)
        };
        assert_eq!("kill:leader@1.5+9".parse(), Ok(Scenario::Together(vec![timed])));
        let soon = ScenarioError::Seconds { text: String::from("soon") };
        assert_eq!("kill@soon".parse::<Scenario>(), Err(soon));
        assert_eq!("storm".parse(), Ok(Scenario::Storm));
        assert_eq!("kill,storm".parse::<Scenario>(), Err(ScenarioError::StormAndOthers));
        for text in
            ["kill:leader,rolling-restart", "rolling-restart,pause", "rolling-restart,rolling-restart"]
        {
            assert_eq!(text.parse::<Scenario>(), Err(ScenarioError::RollingRestartAndOthers));
        }
        let unknown = ScenarioError::Unknown { name: String::from("kil") };
        assert_eq!("kil:leader".parse::<Scenario>(), Err(unknown));
        let role = ScenarioError::Role { name: String::from("kill"), role: String::from("boss") };
        assert_eq!("kill:boss".parse::<Scenario>(), Err(role));
    }
}
