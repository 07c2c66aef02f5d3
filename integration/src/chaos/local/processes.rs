//! The processes of an arena, and those of them that ended by themselves.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::chaos::arena::{ArenaError, Node, Stop};
use crate::chaos::system::not_running;
use crate::process::Process;

#[derive(Debug, Default)]
pub(super) struct Processes {
    running: BTreeMap<Node, Process>,
    /// Found dead when they were told to end.
    found_dead: Vec<(Node, String)>,
}

impl Processes {
    pub(super) fn start(&mut self, node: Node, command: &mut Command, log: &Path) {
        self.running.insert(node, Process::start(command, log));
    }

    pub(super) fn is_running(&self, node: Node) -> bool {
        self.running.contains_key(&node)
    }

    pub(super) fn signal(&self, node: Node, signal: Signal) -> Result<(), ArenaError> {
        self.running.get(&node).ok_or_else(|| not_running(node))?.signal(signal);
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, node: Node) -> Result<(), ArenaError> {
        let mut process = self.running.remove(&node).ok_or_else(|| not_running(node))?;
        match process.exited() {
            Some(status) => self.found_dead.push((node, status.to_string())),
            None => process.kill(),
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end at most `limit`.
    pub(super) fn terminate(&mut self, node: Node, limit: Duration) -> Result<Stop, ArenaError> {
        let process = self.running.get_mut(&node).ok_or_else(|| not_running(node))?;
        if let Some(status) = process.exited() {
            self.found_dead.push((node, status.to_string()));
            self.running.remove(&node);
            return Ok(Stop::Before);
        }
        let Some(status) = process.terminate_within(limit) else { return Ok(Stop::Late) };
        self.running.remove(&node);
        // A program that has only just begun does not listen to the signal yet, and has nothing to put in order.
        let untold = status.signal() == Some(Signal::TERM.as_raw());
        Ok(if status.success() || untold { Stop::Orderly } else { Stop::Otherwise(status.to_string()) })
    }

    /// Who ended since this was last asked without having been told to, and how.
    pub(super) fn ended(&mut self) -> Vec<(Node, String)> {
        let mut ended = std::mem::take(&mut self.found_dead);
        let dead = |(node, process): (&Node, &mut Process)| Some((*node, process.exited()?.to_string()));
        ended.extend(self.running.iter_mut().filter_map(dead));
        for (node, _) in &ended {
            self.running.remove(node);
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Node = Node::Broker(1);
    const SOON: Duration = Duration::from_secs(20);

    /// A process that says `ready` once it does what `script` says, and its folder.
    fn running(script: &str) -> (tempfile::TempDir, Processes) {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let mut processes = Processes::default();
        processes.start(NODE, Command::new("sh").args(["-c", script]), &log);
        let began = std::time::Instant::now();
        while !std::fs::read_to_string(&log).is_ok_and(|said| said.contains("ready")) {
            assert!(began.elapsed() < SOON, "{script}: it does not begin");
            std::thread::yield_now();
        }
        (folder, processes)
    }

    /// As before, and has ended.
    fn dead() -> (tempfile::TempDir, Processes) {
        let (folder, mut processes) = running("echo ready; exit 3");
        let process = processes.running.get_mut(&NODE).expect("it was started");
        let began = std::time::Instant::now();
        while process.exited().is_none() {
            assert!(began.elapsed() < SOON, "it does not end");
            std::thread::yield_now();
        }
        (folder, processes)
    }

    fn told() -> [(Node, String); 1] {
        [(NODE, String::from("exit status: 3"))]
    }

    #[test]
    fn who_was_dead_before_it_was_killed_is_told_of() {
        let (_folder, mut processes) = dead();
        processes.kill(NODE).expect("it was started");
        assert_eq!(processes.ended(), told());
        assert_eq!(processes.ended(), []);
    }

    #[test]
    fn who_was_dead_before_it_was_told_to_stop_is_told_of() {
        let (_folder, mut processes) = dead();
        assert_eq!(processes.terminate(NODE, SOON).expect("it was started"), Stop::Before);
        assert_eq!(processes.ended(), told());
    }

    #[test]
    fn who_is_killed_has_not_ended_by_itself() {
        let (_folder, mut processes) = running("echo ready; exec sleep 600");
        processes.kill(NODE).expect("it runs");
        assert!(!processes.is_running(NODE));
        assert_eq!(processes.ended(), []);
    }

    #[test]
    fn how_a_node_stops_is_seen() {
        let stop = |script: &str, limit| running(script).1.terminate(NODE, limit).expect("it runs");
        let trap = |what: &str| format!("trap '{what}' TERM; echo ready; while :; do sleep 0.01; done");
        assert_eq!(stop(&trap("exit 0"), SOON), Stop::Orderly);
        assert_eq!(stop(&trap("exit 4"), SOON), Stop::Otherwise(String::from("exit status: 4")));
        assert_eq!(stop(&trap(""), Duration::from_millis(100)), Stop::Late);
        assert_eq!(stop("echo ready; exec sleep 600", SOON), Stop::Orderly);
    }
}
