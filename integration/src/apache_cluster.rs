//! The reference: Apache Kafka 3.9.1 brokers in ZooKeeper mode, as processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::apache::Release;
use crate::cluster::{PATIENCE, SESSION_TIMEOUT_MS};
use crate::foreign::kcat;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait;
use crate::zookeeper::ZooKeeper;

/// One Apache broker on loopback.
#[derive(Debug)]
pub struct ApacheBroker {
    pub id: i32,
    pub port: u16,
    process: Process,
}

impl ApacheBroker {
    /// Starts a broker on `data` as its log directory, `{id}` in properties standing for its id. Returns when it
    /// answers metadata requests.
    pub fn start(
        id: i32,
        port: u16,
        zookeeper: &str,
        data: &Path,
        home: &Path,
        properties: &[(&str, &str)],
    ) -> ApacheBroker {
        let mut text = format!(
            "broker.id={id}\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nzookeeper.connect={zookeeper}\n\
             zookeeper.session.timeout.ms={SESSION_TIMEOUT_MS}\noffsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n",
            data.display()
        );
        for (key, value) in properties {
            text.push_str(&format!("{key}={}\n", value.replace("{id}", &id.to_string())));
        }
        let settings = home.join(format!("apache-{id}.properties"));
        std::fs::write(&settings, text).expect("a file can be written");
        let mut command: Command = Release::V3_9.java("kafka.Kafka");
        command.arg(&settings);
        let process = Process::start(&mut command, &home.join(format!("apache-{id}.log")));
        let mut broker = ApacheBroker { id, port, process };
        broker.wait_until_serving();
        broker
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(self) {
        self.process.terminate(PATIENCE);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(self) {
        self.process.kill();
    }

    fn wait_until_serving(&mut self) {
        let (id, address) = (self.id, self.address());
        wait::until(&format!("Apache broker {id} serves"), PATIENCE, || {
            if let Some(status) = self.process.exited() {
                panic!("Apache broker {id} ended with {status}:\n{}", self.process.output());
            }
            let listing = kcat().args(["-b", &address, "-L", "-m", "2"]).output().ok()?;
            String::from_utf8_lossy(&listing.stdout).contains(&format!("broker {id} at ")).then_some(())
        });
    }
}

/// Brokers 1 to n on a ZooKeeper of their own, each with a port that it keeps over restarts.
#[derive(Debug)]
pub struct ApacheCluster {
    pub brokers: Vec<ApacheBroker>,
    pub zookeeper: ZooKeeper,
    ports: BTreeMap<i32, u16>,
    properties: Vec<(String, String)>,
    folder: TempDir,
}

impl ApacheCluster {
    pub fn start(count: i32, properties: &[(&str, &str)]) -> ApacheCluster {
        let mut cluster = ApacheCluster {
            brokers: Vec::new(),
            zookeeper: ZooKeeper::start(),
            ports: (1..=count).map(|id| (id, free_port())).collect(),
            properties: properties.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            folder: TempDir::new().expect("a temporary folder can be made"),
        };
        for id in 1..=count {
            cluster.start_broker(id);
        }
        cluster
    }

    /// Starts a broker that is down. Returns when it answers metadata requests.
    pub fn start_broker(&mut self, id: i32) {
        let port = *self.ports.get(&id).expect("the broker belongs to this cluster");
        let properties: Vec<(&str, &str)> =
            self.properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let zookeeper = self.zookeeper.connect_string();
        let broker =
            ApacheBroker::start(id, port, &zookeeper, &self.data(id), self.folder.path(), &properties);
        self.brokers.push(broker);
        self.brokers.sort_by_key(|broker| broker.id);
    }

    /// `host:port` of a broker, up or down.
    pub fn address(&self, id: i32) -> String {
        format!("127.0.0.1:{}", self.ports.get(&id).expect("the broker belongs to this cluster"))
    }

    pub fn bootstrap(&self) -> String {
        self.brokers.iter().map(ApacheBroker::address).collect::<Vec<_>>().join(",")
    }

    /// The log directory of a broker.
    pub fn data(&self, id: i32) -> PathBuf {
        self.folder.path().join(format!("data-{id}"))
    }

    /// SIGKILL: no goodbye to anyone.
    pub fn kill(&mut self, id: i32) {
        let at = self.brokers.iter().position(|b| b.id == id).expect("the broker runs");
        self.brokers.remove(at).kill();
    }

    /// Ends a broker with SIGTERM.
    pub fn terminate(&mut self, id: i32) {
        let at = self.brokers.iter().position(|b| b.id == id).expect("the broker runs");
        self.brokers.remove(at).terminate();
    }
}
