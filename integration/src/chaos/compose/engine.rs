//! The two programs that Docker is used by.

use std::process::Command;

use crate::chaos::arena::ArenaError;
use crate::chaos::system::system;

/// Runs `docker` to its end, and gives what it printed.
pub(crate) fn docker(arguments: &[&str]) -> Result<String, ArenaError> {
    system(Command::new("docker").args(arguments))
}

/// `docker compose`, or `docker-compose` where that is missing.
pub(super) fn compose() -> Command {
    if docker(&["compose", "version"]).is_ok() {
        let mut command = Command::new("docker");
        command.arg("compose");
        return command;
    }
    Command::new("docker-compose")
}

/// Why containers cannot be had here, if so, and what can be had without.
pub fn missing() -> Option<String> {
    let why = docker(&["version", "--format", "{{.Server.Version}}"])
        .and_then(|_| system(compose().arg("version")))
        .err()?;
    Some(format!(
        "no Docker engine with compose answers here ({why}); the same scenarios run without one, on processes \
         of this machine: scripts/chaos --on local"
    ))
}
