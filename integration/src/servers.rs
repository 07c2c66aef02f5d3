//! ZooKeeper servers that can be ended and started one by one: in containers where there is a Docker engine, else as
//! processes.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

use crate::chaos::arena::ArenaError;
use crate::chaos::compose::docker;
use crate::ports::free_port;
use crate::wait;
use crate::zookeeper::{LOGGING, ZooKeeper, configuration, container_image, container_script, four_letters};

const TICK_MS: u32 = 500;
const LIMITS: &str = "initLimit=20\nsyncLimit=10\n";
/// Where a container has what it starts from.
const HOME: &str = "/start";
const CLIENT_PORT: u16 = 2181;
const STARTED: Duration = Duration::from_secs(60);

/// One server, or an ensemble. Everything ends with it.
#[derive(Debug)]
pub enum Servers {
    Contained(Contained),
    Processes(Vec<ZooKeeper>),
}

/// Containers in a network of their own.
#[derive(Debug)]
pub struct Contained {
    /// Of the network, and before each container's number.
    name: String,
    ports: Vec<u16>,
    files: TempDir,
}

impl Servers {
    /// Returns when all of them serve. Says on stderr when they are no containers, and why.
    pub fn start(count: usize) -> Servers {
        let servers = match Contained::start(count) {
            Ok(contained) => Servers::Contained(contained),
            Err(why) => {
                eprintln!("ZooKeeper runs in processes here, not in containers: {why}");
                Servers::Processes(processes(count))
            }
        };
        (0..count).for_each(|server| servers.wait_until_serving(server));
        servers
    }

    fn ports(&self) -> Vec<u16> {
        match self {
            Servers::Contained(contained) => contained.ports.clone(),
            Servers::Processes(processes) => processes.iter().map(ZooKeeper::port).collect(),
        }
    }

    /// `host:port` of all, joined by commas.
    pub fn connect_string(&self) -> String {
        self.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// The one that leads; a single server does.
    pub fn leader(&self) -> usize {
        let leads = |port: &u16| {
            let said = says(*port).unwrap_or_default();
            said.contains("Mode: leader") || said.contains("Mode: standalone")
        };
        wait::until("a server leads", STARTED, || self.ports().iter().position(leads))
    }

    /// SIGKILL.
    pub fn kill(&mut self, server: usize) {
        match self {
            Servers::Contained(contained) => contained.tell("kill", server),
            Servers::Processes(processes) => processes[server].kill(),
        }
    }

    /// Starts again what was killed, on its port and data. Returns at once.
    pub fn revive(&mut self, server: usize) {
        match self {
            Servers::Contained(contained) => contained.tell("start", server),
            Servers::Processes(processes) => processes[server].launch(),
        }
    }

    /// Waits until this server answers as one of a majority.
    pub fn wait_until_serving(&self, server: usize) {
        let port = self.ports()[server];
        let what = format!("server {server} of ZooKeeper serves");
        wait::until(&what, STARTED, || says(port).filter(|said| said.contains("Mode:")));
    }
}

impl Contained {
    fn start(count: usize) -> Result<Contained, ArenaError> {
        let image = container_image();
        docker(&["image", "inspect", &image]).or_else(|_| docker(&["pull", &image]))?;
        let files = TempDir::new().expect("a temporary folder can be made");
        // Other tests have servers of their own.
        let name = format!("ottla-test-{}-{}", std::process::id(), free_port());
        let ports = (0..count).map(|_| free_port()).collect();
        let contained = Contained { name, ports, files };
        docker(&["network", "create", &contained.name])?;
        (0..count).try_for_each(|server| contained.run(server, &image))?;
        Ok(contained)
    }

    fn container(&self, server: usize) -> String {
        format!("{}-{server}", self.name)
    }

    fn run(&self, server: usize, image: &str) -> Result<(), ArenaError> {
        let mut more = String::from(LIMITS);
        if self.ports.len() > 1 {
            more.push_str("quorumListenOnAllIPs=true\n");
            let place = |other| format!("server.{}={}:2888:3888\n", other + 1, self.container(other));
            more.extend((0..self.ports.len()).map(place));
        }
        let folder = self.files.path().join(server.to_string());
        fs::create_dir(&folder).expect("a folder can be made");
        for (name, text) in [
            ("zoo.cfg", configuration("/data", CLIENT_PORT, TICK_MS, &more)),
            ("myid", (server + 1).to_string()),
            ("log4j.properties", String::from(LOGGING)),
            ("run", container_script(HOME)),
        ] {
            fs::write(folder.join(name), text).expect("a file can be written");
        }
        let published = format!("127.0.0.1:{}:{CLIENT_PORT}", self.ports[server]);
        let files = format!("{}:{HOME}:ro", folder.display());
        let (container, run) = (self.container(server), format!("{HOME}/run"));
        let places = ["--network", &self.name, "-p", &published, "-v", &files];
        docker(
            &[&["run", "-d", "--name", &container], &places[..], &["--entrypoint", "sh", image, &run]]
                .concat(),
        )?;
        Ok(())
    }

    fn tell(&self, verb: &str, server: usize) {
        docker(&[verb, &self.container(server)]).expect("the engine does it");
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        let containers: Vec<String> = (0..self.ports.len()).map(|server| self.container(server)).collect();
        let mut arguments = vec!["rm", "-f", "-v"];
        arguments.extend(containers.iter().map(String::as_str));
        let gone = docker(&arguments).and_then(|_| docker(&["network", "rm", &self.name]));
        if let Err(error) = gone {
            eprintln!("containers or their network stay: {error}");
        }
    }
}

fn processes(count: usize) -> Vec<ZooKeeper> {
    let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
    let mut more = String::from(LIMITS);
    if count > 1 {
        for (id, (quorum, election)) in (1..).zip(&ports) {
            more.push_str(&format!("server.{id}=127.0.0.1:{quorum}:{election}\n"));
        }
    }
    (1..=count).map(|id| ZooKeeper::launch_member(id, TICK_MS, &more)).collect()
}

fn says(port: u16) -> Option<String> {
    four_letters(SocketAddr::from(([127, 0, 0, 1], port)), "srvr", Duration::from_secs(1))
}
