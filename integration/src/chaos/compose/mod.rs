//! The cluster of docker-compose.yml, each node in a container. Brokers run without any right; what is done to their
//! links is done from a container beside each.

mod engine;
mod network;
mod overlay;
mod remains;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::arena::{Arena, ArenaError, End, Node, Shape, Stop, Weather};
use super::preload::SLOW_DISK;
use super::system::{failed, not_running, replace, system, write};
use crate::cluster::ottla;
use crate::ports::free_port;
use crate::zookeeper::four_letters;
use engine::compose;
pub(crate) use engine::docker;
pub use engine::missing;
use network::Links;

/// Where docker-compose.yml is.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Of compose, so that a run leaves other clusters of the same file alone.
const PROJECT: &str = "ottla-chaos";
const NETWORK: &str = "ottla-chaos";
const SUBNET: &str = "10.78.0";
const SIDE_IMAGE: &str = "ottla-chaos-side";
const DISKS: &str = "ottla-chaos-disks";
/// Dockerfile's system without its program, which is mounted: nothing is compiled in a container.
const SYSTEM_IMAGE: &str = "ottla-system";
/// As many as docker-compose.yml has.
const BROKERS: i32 = 3;
const STEP: Duration = Duration::from_millis(50);
/// How often the engine is asked to freeze a container whose processes it could not catch all.
const FREEZES: u32 = 5;
/// As [`state`] tells the end of a program that is content.
const EXIT_0: &str = "exit code 0";
const MOMENT: Duration = Duration::from_millis(500);

/// What is run beside nodes: packet filters, traffic control, and what is preloaded into brokers.
const SIDE: &str = "\
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends iptables iproute2 libfaketime gcc libc6-dev \\
 && rm -rf /var/lib/apt/lists/*
COPY slow_disk.c /
RUN mkdir /preload && cc -shared -fPIC -O1 -o /preload/slow_disk.so /slow_disk.c -ldl \\
 && cp /usr/lib/*/faketime/libfaketimeMT.so.1 /preload/
CMD [\"sleep\", \"infinity\"]
";

/// Brokers and ZooKeeper servers as containers, gone with it.
#[derive(Debug)]
pub struct Compose {
    folder: PathBuf,
    shape: Shape,
    /// Where this machine reaches each ZooKeeper server.
    ports: Vec<u16>,
    running: BTreeSet<Node>,
    /// Found dead when they were told to end.
    found_dead: Vec<(Node, String)>,
    links: Links,
}

fn container(node: Node) -> String {
    format!("{PROJECT}-{node}")
}

fn side(node: Node) -> String {
    format!("{PROJECT}-side-{node}")
}

impl Compose {
    /// Makes images, networks, disks and containers; no node runs yet.
    pub fn new(folder: &Path, shape: Shape) -> Result<Compose, ArenaError> {
        remains::clear()?;
        if shape.brokers != BROKERS {
            let why = format!("docker-compose.yml has {BROKERS} brokers, not {}", shape.brokers);
            return Err(ArenaError { what: String::from("--brokers"), why });
        }
        build_side(folder)?;
        // An image of one's own choice comes with its program.
        let own = std::env::var("OTTLA_IMAGE").ok();
        let binary = match own {
            Some(_) => None,
            None => {
                docker(&["build", "-q", "--target", "system", "-t", SYSTEM_IMAGE, ROOT])?;
                let path = ottla();
                Some(path.canonicalize().map_err(|error| failed(path.display().to_string(), &error))?)
            }
        };
        let ports: Vec<u16> = (0..shape.zookeepers).map(|_| free_port()).collect();
        let image = own.as_deref().unwrap_or(SYSTEM_IMAGE);
        overlay::lay(folder, &shape, image, binary.as_deref(), &ports)?;
        let folder = folder.to_path_buf();
        let (running, found_dead) = (BTreeSet::new(), Vec::new());
        let arena = Compose { folder, shape, ports, running, found_dead, links: Links::default() };
        arena.compose(&["up", "--no-start", "--no-build"])?;
        docker(&["start", DISKS])?;
        // Compose does not let a container share the network of one that does not run yet.
        for node in arena.nodes() {
            let network = format!("container:{}", container(node));
            let rights = ["--cap-add", "NET_ADMIN", "--network", &network];
            docker(&[&["create", "--name", &side(node)], &rights[..], &[SIDE_IMAGE]].concat())?;
        }
        Ok(arena)
    }

    fn compose(&self, arguments: &[&str]) -> Result<String, ArenaError> {
        let mut command = compose();
        command.args(["-p", PROJECT, "--project-directory", ROOT, "-f"]);
        command.arg(format!("{ROOT}/docker-compose.yml"));
        command.arg("-f").arg(self.folder.join("compose.yml"));
        system(command.args(arguments))
    }

    fn nodes(&self) -> impl Iterator<Item = Node> {
        let zookeepers = (1..=self.shape.zookeepers).map(Node::ZooKeeper);
        zookeepers.chain((1..=self.shape.brokers).map(Node::Broker))
    }

    fn runs(&self, node: Node) -> Result<(), ArenaError> {
        if self.running.contains(&node) { Ok(()) } else { Err(not_running(node)) }
    }

    /// Sends a signal. Whether the container was there to take it; one that had ended is told of later.
    fn signal(&mut self, node: Node, signal: &str) -> Result<bool, ArenaError> {
        self.runs(node)?;
        let Err(error) = docker(&["kill", "-s", signal, &container(node)]) else { return Ok(true) };
        match state(&[node])?.pop() {
            Some((node, false, how)) => {
                self.running.remove(&node);
                self.found_dead.push((node, how));
                Ok(false)
            }
            _ => Err(error),
        }
    }

    fn on_disk(&self, broker: i32, steps: &str) -> Result<String, ArenaError> {
        let steps = format!("cd /disks/{} && {steps}", Node::Broker(broker));
        docker(&["exec", DISKS, "sh", "-c", &steps])
    }

    fn told(&self, broker: i32, name: &str) -> PathBuf {
        self.folder.join(Node::Broker(broker).to_string()).join("faults").join(name)
    }
}

fn build_side(folder: &Path) -> Result<(), ArenaError> {
    let context = folder.join("side");
    write(&context.join("Dockerfile"), SIDE)?;
    write(&context.join("slow_disk.c"), SLOW_DISK)?;
    docker(&["build", "-q", "-t", SIDE_IMAGE, &context.display().to_string()]).map(|_| ())
}

impl Arena for Compose {
    fn brokers(&self) -> Vec<i32> {
        (1..=self.shape.brokers).collect()
    }

    fn zookeepers(&self) -> Vec<i32> {
        (1..=self.shape.zookeepers).collect()
    }

    /// As docker-compose.yml publishes it.
    fn address(&self, broker: i32) -> String {
        format!("localhost:{}", 9_091 + broker)
    }

    fn zookeeper_connect(&self) -> String {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    fn start(&mut self, node: Node) -> Result<(), ArenaError> {
        if self.running.contains(&node) {
            return Ok(());
        }
        docker(&["start", &container(node)])?;
        self.running.insert(node);
        self.links.furnish(node)
    }

    fn kill(&mut self, node: Node) -> Result<(), ArenaError> {
        self.signal(node, "KILL")?;
        self.running.remove(&node);
        Ok(())
    }

    fn terminate(&mut self, node: Node, limit: Duration) -> Result<Stop, ArenaError> {
        if !self.signal(node, "TERM")? {
            return Ok(Stop::Before);
        }
        let began = Instant::now();
        let how = loop {
            match state(&[node])?.pop() {
                Some((_, true, _)) if began.elapsed() > limit => return Ok(Stop::Late),
                Some((_, true, _)) => std::thread::sleep(STEP),
                ended => break ended.map_or(String::from("it is gone"), |(_, _, how)| how),
            }
        };
        self.running.remove(&node);
        Ok(if how == EXIT_0 { Stop::Orderly } else { Stop::Otherwise(how) })
    }

    fn pause(&mut self, node: Node) -> Result<(), ArenaError> {
        for asked in 1.. {
            match docker(&["pause", &container(node)]) {
                // It has ended by itself, which is told of when ends are asked for.
                Err(_) if !is(node, "Running")? => break,
                // Its processes forked faster than the kernel froze them, and go on.
                Err(error) if asked < FREEZES && error.to_string().contains("unable to freeze") => {}
                done => return done.map(|_| ()),
            }
        }
        Ok(())
    }

    fn resume(&mut self, node: Node) -> Result<(), ArenaError> {
        match docker(&["unpause", &container(node)]) {
            // It had ended before it could be paused, and was started again.
            Err(_) if !is(node, "Paused")? => Ok(()),
            done => done.map(|_| ()),
        }
    }

    fn is_running(&self, node: Node) -> bool {
        self.running.contains(&node)
    }

    fn ended(&mut self) -> Vec<(Node, String)> {
        let nodes: Vec<Node> = self.running.iter().copied().collect();
        let found = match state(&nodes) {
            Ok(found) => found,
            // Without an engine nothing runs.
            Err(error) => nodes.iter().map(|node| (*node, false, error.to_string())).collect(),
        };
        let mut ended = std::mem::take(&mut self.found_dead);
        ended.extend(found.into_iter().filter(|(_, running, _)| !running).map(|(node, _, how)| (node, how)));
        for (node, _) in &ended {
            self.running.remove(node);
        }
        ended
    }

    fn is_zookeeper_leader(&self, server: i32) -> bool {
        let port = usize::try_from(server - 1).ok().and_then(|at| self.ports.get(at));
        port.and_then(|port| four_letters(([127, 0, 0, 1], *port).into(), "srvr", MOMENT))
            .is_some_and(|said| said.contains("Mode: leader") || said.contains("Mode: standalone"))
    }

    fn cut(&mut self, from: End, to: End) -> Result<(), ArenaError> {
        self.links.cut(from, to, |node| self.running.contains(&node))
    }

    fn heal(&mut self, from: End, to: End) -> Result<(), ArenaError> {
        self.links.heal(from, to, |node| self.running.contains(&node))
    }

    fn weather(&mut self, node: Node, weather: Weather) -> Result<(), ArenaError> {
        self.links.weather(node, weather, self.running.contains(&node))
    }

    /// Takes all that is left, and again what came free meanwhile.
    fn fill_disk(&mut self, broker: i32) -> Result<(), ArenaError> {
        let full = "[ \"$(stat -f -c %a .)\" = 0 ] && exit 0";
        let fill =
            format!("for _ in $(seq 100); do cat /dev/zero >>filler 2>/dev/null; {full}; done; exit 1");
        self.on_disk(broker, &fill).map(|_| ())
    }

    fn free_disk(&mut self, broker: i32) -> Result<(), ArenaError> {
        self.on_disk(broker, "rm filler").map(|_| ())
    }

    fn slow_disk(&mut self, broker: i32, delay: Duration) -> Result<(), ArenaError> {
        replace(&self.told(broker, "slow"), &delay.as_millis().to_string())
    }

    fn shift_clock(&mut self, broker: i32, seconds: i64) -> Result<(), ArenaError> {
        replace(&self.told(broker, "clock"), &format!("{seconds:+}s\n"))
    }

    /// A copy, made anew each time.
    fn log_dir(&self, broker: i32) -> Result<PathBuf, ArenaError> {
        let copy = self.folder.join(Node::Broker(broker).to_string()).join("disk");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir_all(&copy).map_err(|error| failed(copy.display().to_string(), &error))?;
        let mut reader = Command::new("docker")
            .args(["exec", DISKS, "tar", "-c", "-C", &format!("/disks/{}/logs", Node::Broker(broker)), "."])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed("docker exec tar", &error))?;
        // Who reads while others write is told that files change, by exit codes.
        if let Some(archive) = reader.stdout.take() {
            let _ = Command::new("tar")
                .args(["-x", "-C"])
                .arg(&copy)
                .stdin(archive)
                .stderr(Stdio::null())
                .status();
        }
        let _ = reader.wait();
        Ok(copy)
    }

    fn log(&self, node: Node) -> String {
        let output = Command::new("docker").args(["logs", &container(node)]).output();
        let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    fn beside(&self, broker: i32, shell: &str) -> Result<String, ArenaError> {
        let node = Node::Broker(broker);
        let variables = overlay::preloaded(&self.shape, &format!("/faults/{node}"));
        let mut arguments = vec![String::from("exec"), String::from("-e"), format!("DISK=/disks/{node}")];
        arguments.extend(variables.into_iter().flat_map(|variable| [String::from("-e"), variable]));
        arguments.extend([DISKS, "sh", "-c", shell].map(String::from));
        docker(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// What the engine says of a container's state.
fn is(node: Node, state: &str) -> Result<bool, ArenaError> {
    let format = format!("{{{{.State.{state}}}}}");
    Ok(docker(&["inspect", "-f", &format, &container(node)])?.trim() == "true")
}

/// Of each node, whether it runs, and how it ended.
fn state(nodes: &[Node]) -> Result<Vec<(Node, bool, String)>, ArenaError> {
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = nodes.iter().map(|node| container(*node)).collect();
    let format = "{{.State.Running}} exit code {{.State.ExitCode}} {{.State.Error}}";
    let mut arguments = vec!["inspect", "-f", format];
    arguments.extend(names.iter().map(String::as_str));
    let said = docker(&arguments)?;
    let states = nodes.iter().zip(said.lines()).map(|(node, line)| {
        let (running, how) = line.split_once(' ').unwrap_or((line, ""));
        (*node, running == "true", String::from(how.trim()))
    });
    Ok(states.collect())
}

impl Drop for Compose {
    fn drop(&mut self) {
        for node in self.nodes() {
            let said = self.log(node);
            let _ = write(&self.folder.join(node.to_string()).join("log"), &said);
        }
        for broker in self.brokers() {
            let _ = fs::remove_dir_all(self.folder.join(Node::Broker(broker).to_string()).join("disk"));
        }
        let sides: Vec<String> = self.nodes().map(side).collect();
        let _ = system(Command::new("docker").args(["rm", "-f"]).args(sides));
        if let Err(error) = self.compose(&["down", "-v", "-t", "0"]) {
            eprintln!("chaos: containers stay: {error}");
        }
    }
}
