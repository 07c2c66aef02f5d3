//! An arena in which nothing runs, for tests of who is noticed to have ended.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::arena::{Arena, ArenaError, End, Node, Stop, Weather};

/// Brokers 1 to 3 and a ZooKeeper server. A test decides who dies and how who is told to stop does.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) running: BTreeSet<Node>,
    pub(super) dead: Vec<(Node, String)>,
    pub(super) stop: Stop,
}

impl Fake {
    pub(super) fn new() -> Fake {
        let running = (1..=3).map(Node::Broker).chain([Node::ZooKeeper(1)]).collect();
        Fake { running, dead: Vec::new(), stop: Stop::Orderly }
    }

    pub(super) fn dies(&mut self, node: Node, how: &str) {
        self.running.remove(&node);
        self.dead.push((node, String::from(how)));
    }
}

impl Arena for Fake {
    fn brokers(&self) -> Vec<i32> {
        vec![1, 2, 3]
    }

    fn zookeepers(&self) -> Vec<i32> {
        vec![1]
    }

    fn address(&self, _: i32) -> String {
        String::from("127.0.0.1:1")
    }

    fn zookeeper_connect(&self) -> String {
        String::from("127.0.0.1:1")
    }

    fn start(&mut self, node: Node) -> Result<(), ArenaError> {
        self.running.insert(node);
        Ok(())
    }

    fn kill(&mut self, node: Node) -> Result<(), ArenaError> {
        self.running.remove(&node);
        Ok(())
    }

    fn terminate(&mut self, node: Node, _: Duration) -> Result<Stop, ArenaError> {
        if self.stop != Stop::Late {
            self.running.remove(&node);
        }
        Ok(self.stop.clone())
    }

    fn pause(&mut self, _: Node) -> Result<(), ArenaError> {
        Ok(())
    }

    fn resume(&mut self, _: Node) -> Result<(), ArenaError> {
        Ok(())
    }

    fn is_running(&self, node: Node) -> bool {
        self.running.contains(&node)
    }

    fn ended(&mut self) -> Vec<(Node, String)> {
        std::mem::take(&mut self.dead)
    }

    fn is_zookeeper_leader(&self, _: i32) -> bool {
        true
    }

    fn cut(&mut self, _: End, _: End) -> Result<(), ArenaError> {
        Ok(())
    }

    fn heal(&mut self, _: End, _: End) -> Result<(), ArenaError> {
        Ok(())
    }

    fn weather(&mut self, _: Node, _: Weather) -> Result<(), ArenaError> {
        Ok(())
    }

    fn fill_disk(&mut self, _: i32) -> Result<(), ArenaError> {
        Ok(())
    }

    fn free_disk(&mut self, _: i32) -> Result<(), ArenaError> {
        Ok(())
    }

    fn slow_disk(&mut self, _: i32, _: Duration) -> Result<(), ArenaError> {
        Ok(())
    }

    fn shift_clock(&mut self, _: i32, _: i64) -> Result<(), ArenaError> {
        Ok(())
    }

    fn log_dir(&self, _: i32) -> Result<PathBuf, ArenaError> {
        Ok(PathBuf::new())
    }

    fn log(&self, _: Node) -> String {
        String::new()
    }

    fn beside(&self, _: i32, _: &str) -> Result<String, ArenaError> {
        Ok(String::new())
    }
}
