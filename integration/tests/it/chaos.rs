//! `scripts/chaos` at work: a short run of fixed faults with its verdict, and what the arena does to links, disks
//! and processes. All of it in a sandbox; where the machine allows none, that is said and nothing is shown.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use integration::chaos::{sandbox, verdict_of};
use integration::cluster::ottla;
use integration::process::run;

const LIMIT: Duration = Duration::from_secs(170);

fn chaos(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    run(command.args(arguments).env("OTTLA_BIN", ottla()), &[], LIMIT)
}

/// Whether to go on. Nobody should take silence for success.
fn possible(test: &str) -> bool {
    match sandbox::missing() {
        None => true,
        Some(why) => {
            eprintln!("SKIPPED {test}: {why}");
            false
        }
    }
}

#[test]
fn a_killed_leader_and_a_lost_link_to_zookeeper_harm_nobody() {
    if !possible("a_killed_leader_and_a_lost_link_to_zookeeper_harm_nobody") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("run");
    let path = home.display().to_string();
    let faults = "kill:leader,disconnect-zookeeper:follower";
    let said = chaos(&[faults, "--seed", "1", "--minutes", "0.01", "--rate", "500", "--folder", &path]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.status.code(), Some(0), "{text}\n{}", String::from_utf8_lossy(&said.stderr));
    for word in [
        "FAULT  kill:leader [SIGKILL broker-",
        "FAULT  disconnect-zookeeper:follower",
        "HEAL",
        "verdict: clean",
    ] {
        assert!(text.contains(word), "{word:?} is not told:\n{text}");
    }
    the_verdict_can_be_had_again(&home);
}

/// Also after the history was tampered with, which then is noticed.
fn the_verdict_can_be_had_again(home: &Path) {
    let path = home.display().to_string();
    assert_eq!(chaos(&["verdict", &path]).status.code(), Some(0));
    let history = std::fs::read_to_string(home.join("history")).expect("it was kept");
    let lost =
        history.lines().find(|line| line.split(' ').nth(1) == Some("stored")).expect("something is stored");
    let tampered: String =
        history.lines().filter(|line| *line != lost).map(|line| format!("{line}\n")).collect();
    std::fs::write(home.join("history"), tampered).expect("it can be written");
    assert_eq!(chaos(&["verdict", &path]).status.code(), Some(1));
    let broken = verdict_of(home).expect("a history").broken();
    assert_eq!(broken, ["no acknowledged record is lost"]);
}

#[test]
fn what_cannot_be_done_is_said() {
    for (arguments, said) in [
        (&["verdict", "/nowhere"] as &[&str], "/nowhere/history"),
        (&["verdict"], "of which folder?"),
        (&["kil:leader"], "there is no scenario \"kil\""),
        (&["kill:boss"], "\"kill\" strikes nobody that is called \"boss\""),
    ] {
        if arguments[0] != "verdict" && !possible("what_cannot_be_done_is_said") {
            continue;
        }
        let output = chaos(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    let listed = chaos(&["--list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("zookeeper-quorum"));
}

/// The arena by itself, in a process of its own, since a sandbox is one.
#[test]
fn the_arena_does_what_it_says() {
    if !possible("the_arena_does_what_it_says") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let said = chaos(&["self-test", &folder.path().display().to_string()]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.status.code(), Some(0), "{text}\n{}", String::from_utf8_lossy(&said.stderr));
}
