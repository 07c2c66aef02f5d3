//! Commands and files of the system's, and what is to be said when they fail.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::arena::{ArenaError, Node};

/// Runs a command of the system's to its end, and gives what it printed.
pub(super) fn system(command: &mut Command) -> Result<String, ArenaError> {
    let what = format!("{command:?}").replace('"', "");
    // A terminal's Ctrl-C is for us alone.
    std::os::unix::process::CommandExt::process_group(command, 0);
    let output = command.output().map_err(|error| failed(what.clone(), &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(ArenaError { what, why: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}

/// In place of the former contents at once, for who reads it meanwhile.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), ArenaError> {
    let fresh = path.with_extension("new");
    let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path));
    written.map_err(|error| failed(path.display().to_string(), &error))
}

/// A new file, with the folders above it.
pub(super) fn write(path: &Path, text: &str) -> Result<(), ArenaError> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    made.map_err(|error| failed(path.display().to_string(), &error))
}

pub(super) fn failed(what: impl Into<String>, error: &std::io::Error) -> ArenaError {
    ArenaError { what: what.into(), why: error.to_string() }
}

pub(super) fn not_running(node: Node) -> ArenaError {
    ArenaError { what: node.to_string(), why: String::from("it does not run") }
}
