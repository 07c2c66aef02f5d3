//! What a run left that was cut short: with its end, or the engine's. Containers have fixed names, and brokers
//! fixed ports, so a second run beside another one is refused.

use super::engine::docker;
use super::{NETWORK, PROJECT};
use crate::chaos::arena::ArenaError;

/// Removes it, unless some of it runs.
pub(super) fn clear() -> Result<(), ArenaError> {
    let of_container = format!("name=^{PROJECT}-");
    if !listed(&["ps", "-q", "--filter", &of_container])?.is_empty() {
        let why = format!(
            "containers of another run are running; if it has ended: docker rm -f $(docker ps -q --filter {of_container})"
        );
        return Err(ArenaError { what: String::from("compose"), why });
    }
    let of_volume = format!("name=^{PROJECT}_");
    let of_network = format!("name=^{NETWORK}$");
    // A volume that a container names cannot be removed, nor a network.
    let kinds = [
        (&["ps", "-a", "-q", "--filter", &of_container][..], &["rm", "-f", "-v"][..]),
        (&["volume", "ls", "-q", "--filter", &of_volume], &["volume", "rm"]),
        (&["network", "ls", "-q", "--filter", &of_network], &["network", "rm"]),
    ];
    for (list, remove) in kinds {
        let found = listed(list)?;
        if !found.is_empty() {
            docker(&remove.iter().copied().chain(found.iter().map(String::as_str)).collect::<Vec<_>>())?;
            println!("removed {} of a run that was cut short", found.join(" "));
        }
    }
    Ok(())
}

fn listed(arguments: &[&str]) -> Result<Vec<String>, ArenaError> {
    Ok(docker(arguments)?.lines().map(String::from).collect())
}
