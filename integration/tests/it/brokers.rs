//! Brokers of either kind, for what is tried with both.

use std::path::PathBuf;
use std::process::Command;

use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE, ottla};
use integration::process::succeed;

pub(crate) trait Brokers {
    fn address(&self, id: i32) -> String;
    /// All of them.
    fn bootstrap(&self) -> String;
    fn zookeeper(&self) -> String;
    /// A broker's log directory.
    fn data(&self, id: i32) -> PathBuf;
    fn kill(&mut self, id: i32);
    /// SIGTERM, and waits for the end.
    fn stop(&mut self, id: i32);
    /// Of our brokers one may not serve yet.
    fn start(&mut self, id: i32);
    /// Starts one, and waits until all serve.
    fn start_again(&mut self, id: i32);
}

impl Brokers for Cluster {
    fn address(&self, id: i32) -> String {
        self.address(id)
    }

    fn bootstrap(&self) -> String {
        self.bootstrap()
    }

    fn zookeeper(&self) -> String {
        self.zookeeper.connect_string()
    }

    fn data(&self, id: i32) -> PathBuf {
        self.data(id)
    }

    fn kill(&mut self, id: i32) {
        self.kill(id);
    }

    fn stop(&mut self, id: i32) {
        self.terminate(id);
    }

    fn start(&mut self, id: i32) {
        self.start_broker(id);
    }

    fn start_again(&mut self, id: i32) {
        self.start_broker(id);
        self.wait_until_serving();
    }
}

impl Brokers for ApacheCluster {
    fn address(&self, id: i32) -> String {
        self.address(id)
    }

    fn bootstrap(&self) -> String {
        self.bootstrap()
    }

    fn zookeeper(&self) -> String {
        self.zookeeper.connect_string()
    }

    fn data(&self, id: i32) -> PathBuf {
        self.data(id)
    }

    fn kill(&mut self, id: i32) {
        self.kill(id);
    }

    fn stop(&mut self, id: i32) {
        self.terminate(id);
    }

    fn start(&mut self, id: i32) {
        self.start_broker(id);
    }

    fn start_again(&mut self, id: i32) {
        self.start_broker(id);
    }
}

/// A topic, by our tool. `replicas`: as `--replica-assignment` names them; `more`: other flags.
pub(crate) fn create_topic(brokers: &dyn Brokers, topic: &str, replicas: &str, more: &[&str]) {
    let mut command = Command::new(ottla());
    command.args(["topics", "--bootstrap-server", &brokers.bootstrap(), "--create", "--topic", topic]);
    succeed(command.args(["--replica-assignment", replicas]).args(more), &[], PATIENCE);
}
