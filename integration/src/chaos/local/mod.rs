//! A cluster of processes on this machine, each in a network namespace of its own. To be used in a
//! [sandbox](super::sandbox).

mod disk;
mod network;
mod processes;
mod settings;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::arena::{Arena, ArenaError, End, Node, Shape, Stop, Weather};
use super::preload::{self, Library};
use super::settings::ZOOKEEPER_PORT;
use super::system::{failed, replace, system};
use crate::cluster::ottla;
use crate::zookeeper::{four_letters, java_arguments};
use network::Network;
use processes::Processes;

/// Brokers and ZooKeeper servers as processes.
#[derive(Debug)]
pub struct Local {
    folder: PathBuf,
    shape: Shape,
    network: Network,
    processes: Processes,
    /// What is preloaded into brokers.
    shim: Option<PathBuf>,
}

impl Local {
    /// Makes networks, disks and settings below `folder`; nothing runs yet.
    pub fn new(folder: &Path, shape: Shape) -> Result<Local, ArenaError> {
        fs::create_dir_all(folder).map_err(|error| failed(folder.display().to_string(), &error))?;
        let mut network = Network::new()?;
        let shim = if shape.slow_disks { Some(disk::compile_shim(folder)?) } else { None };
        for server in 1..=shape.zookeepers {
            let node = Node::ZooKeeper(server);
            network.add(node)?;
            settings::zookeeper(&home(folder, node), server, shape.zookeepers)?;
        }
        for id in 1..=shape.brokers {
            let node = Node::Broker(id);
            network.add(node)?;
            let home = home(folder, node);
            settings::broker(&home, id, &connect(shape.zookeepers), &shape.properties)?;
            disk::mount(&home)?;
        }
        Ok(Local { folder: folder.to_path_buf(), shape, network, processes: Processes::default(), shim })
    }

    fn home(&self, node: Node) -> PathBuf {
        home(&self.folder, node)
    }

    fn command(&self, node: Node) -> Result<Command, ArenaError> {
        let home = self.home(node);
        let mut command = network::inside(node);
        match node {
            Node::ZooKeeper(_) => {
                command.arg("java").args(java_arguments(&home));
            }
            Node::Broker(_) => {
                command.arg("env").arg("NO_COLOR=1").args(self.preloaded(&home)?);
                command.arg(ottla()).arg("broker").arg(home.join("server.properties"));
            }
        }
        // A terminal's Ctrl-C is for us alone.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(command)
    }

    /// Variables for libraries that stand between a broker and the system.
    fn preloaded(&self, home: &Path) -> Result<Vec<String>, ArenaError> {
        let slow_disk = self.shim.as_ref().map(|shim| Library {
            path: shim.display().to_string(),
            told_by: home.join("slow").display().to_string(),
        });
        let mut clock = None;
        if self.shape.clocks {
            let library = libfaketime().ok_or_else(|| ArenaError {
                what: String::from("clock-jump"),
                why: String::from("libfaketime is missing; `scripts/needs chaos` installs it"),
            })?;
            let told_by = home.join("clock").display().to_string();
            clock = Some(Library { path: library.display().to_string(), told_by });
        }
        Ok(preload::variables(slow_disk, clock))
    }
}

impl Arena for Local {
    fn brokers(&self) -> Vec<i32> {
        (1..=self.shape.brokers).collect()
    }

    fn zookeepers(&self) -> Vec<i32> {
        (1..=self.shape.zookeepers).collect()
    }

    fn address(&self, broker: i32) -> String {
        settings::broker_address(broker)
    }

    fn zookeeper_connect(&self) -> String {
        connect(self.shape.zookeepers)
    }

    fn start(&mut self, node: Node) -> Result<(), ArenaError> {
        if !self.processes.is_running(node) {
            let log = self.home(node).join("log");
            self.processes.start(node, &mut self.command(node)?, &log);
        }
        Ok(())
    }

    fn kill(&mut self, node: Node) -> Result<(), ArenaError> {
        self.processes.kill(node)
    }

    fn terminate(&mut self, node: Node, limit: Duration) -> Result<Stop, ArenaError> {
        self.processes.terminate(node, limit)
    }

    fn pause(&mut self, node: Node) -> Result<(), ArenaError> {
        self.processes.signal(node, Signal::STOP)
    }

    fn resume(&mut self, node: Node) -> Result<(), ArenaError> {
        self.processes.signal(node, Signal::CONT)
    }

    fn is_running(&self, node: Node) -> bool {
        self.processes.is_running(node)
    }

    fn ended(&mut self) -> Vec<(Node, String)> {
        self.processes.ended()
    }

    fn is_zookeeper_leader(&self, server: i32) -> bool {
        let address = SocketAddr::from((network::address(Node::ZooKeeper(server)), ZOOKEEPER_PORT));
        four_letters(address, "srvr", Duration::from_millis(500))
            .is_some_and(|said| said.contains("Mode: leader") || said.contains("Mode: standalone"))
    }

    fn cut(&mut self, from: End, to: End) -> Result<(), ArenaError> {
        network::cut(from, to)
    }

    fn heal(&mut self, from: End, to: End) -> Result<(), ArenaError> {
        network::heal(from, to)
    }

    fn weather(&mut self, node: Node, weather: Weather) -> Result<(), ArenaError> {
        self.network.weather(node, weather)
    }

    fn fill_disk(&mut self, broker: i32) -> Result<(), ArenaError> {
        disk::fill(&self.home(Node::Broker(broker)))
    }

    fn free_disk(&mut self, broker: i32) -> Result<(), ArenaError> {
        disk::free(&self.home(Node::Broker(broker)))
    }

    fn slow_disk(&mut self, broker: i32, delay: Duration) -> Result<(), ArenaError> {
        replace(&self.home(Node::Broker(broker)).join("slow"), &delay.as_millis().to_string())
    }

    fn shift_clock(&mut self, broker: i32, seconds: i64) -> Result<(), ArenaError> {
        replace(&self.home(Node::Broker(broker)).join("clock"), &format!("{seconds:+}s\n"))
    }

    fn log_dir(&self, broker: i32) -> Result<PathBuf, ArenaError> {
        Ok(disk::log_dir(&self.home(Node::Broker(broker))))
    }

    fn log(&self, node: Node) -> String {
        let bytes = fs::read(self.home(node).join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn beside(&self, broker: i32, shell: &str) -> Result<String, ArenaError> {
        let home = self.home(Node::Broker(broker));
        let mut command = Command::new("env");
        command.arg(format!("DISK={}", disk::disk(&home).display())).args(self.preloaded(&home)?);
        system(command.args(["sh", "-c", shell]))
    }
}

fn home(folder: &Path, node: Node) -> PathBuf {
    folder.join(node.to_string())
}

fn connect(zookeepers: i32) -> String {
    let address = |server| {
        let [a, b, c, d] = network::address(Node::ZooKeeper(server));
        format!("{a}.{b}.{c}.{d}:{}", ZOOKEEPER_PORT)
    };
    (1..=zookeepers).map(address).collect::<Vec<_>>().join(",")
}

/// Debian keeps it in a folder named for the machine.
fn libfaketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}
