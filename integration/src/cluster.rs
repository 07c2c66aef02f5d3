//! A ZooKeeper and some Ottla brokers as processes, each with a folder and a port it keeps over restarts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::apache::target_folder;
use crate::foreign::kcat;
use crate::ports::free_port;
use crate::process::Process;
use crate::servers::Servers;
use crate::zookeeper::ZooKeeper;

/// ZooKeeper's session timeout of the brokers here, in milliseconds.
pub const SESSION_TIMEOUT_MS: u32 = 4_000;

/// How long any single step of a healthy cluster may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Three brokers, or as many as asked for, with a ZooKeeper of their own. Everything ends with it.
#[derive(Debug)]
pub struct Cluster<Z = ZooKeeper> {
    brokers: BTreeMap<i32, Member>,
    pub zookeeper: Z,
    folder: TempDir,
}

#[derive(Debug)]
struct Member {
    port: u16,
    folder: PathBuf,
    process: Option<Process>,
}

impl Cluster {
    /// Starts brokers 1 to `count` with these properties beyond the defaults, `{id}` standing for the broker's id,
    /// and waits until all have registered and answer.
    pub fn start(count: i32, properties: &[(&str, &str)]) -> Cluster {
        Cluster::start_below("", count, properties)
    }

    /// The same below a path in ZooKeeper, such as `/clusters/one`.
    pub fn start_below(chroot: &str, count: i32, properties: &[(&str, &str)]) -> Cluster {
        Cluster::start_each(chroot, count, |id, _| {
            let of_this =
                |(key, value): &(&str, &str)| (key.to_string(), value.replace("{id}", &id.to_string()));
            properties.iter().map(of_this).collect()
        })
    }

    /// The same with properties for each broker, by its id and the port on loopback that clients reach it at.
    pub fn start_each(
        chroot: &str,
        count: i32,
        properties: impl Fn(i32, u16) -> Vec<(String, String)>,
    ) -> Cluster {
        Cluster::start_on(ZooKeeper::start(), chroot, count, properties)
    }

    /// The same on a ZooKeeper of the caller's making.
    pub fn start_on(
        zookeeper: ZooKeeper,
        chroot: &str,
        count: i32,
        properties: impl Fn(i32, u16) -> Vec<(String, String)>,
    ) -> Cluster {
        let connect = format!("{}{chroot}", zookeeper.connect_string());
        Cluster::assemble(zookeeper, &connect, count, properties)
    }
}

impl Cluster<Servers> {
    /// The same on several servers, without a path, all brokers with the same properties.
    pub fn start_on_servers(servers: Servers, count: i32, properties: &[(&str, &str)]) -> Cluster<Servers> {
        let connect = servers.connect_string();
        let owned = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
        Cluster::assemble(servers, &connect, count, |_, _| properties.iter().map(owned).collect())
    }
}

impl<Z> Cluster<Z> {
    fn assemble(
        zookeeper: Z,
        connect: &str,
        count: i32,
        properties: impl Fn(i32, u16) -> Vec<(String, String)>,
    ) -> Cluster<Z> {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let mut brokers = BTreeMap::new();
        for id in 1..=count {
            let home = folder.path().join(format!("broker-{id}"));
            std::fs::create_dir(&home).expect("a folder can be made");
            let port = free_port();
            let mut text = format!(
                "broker.id={id}\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nzookeeper.connect={connect}\n\
                 zookeeper.session.timeout.ms={SESSION_TIMEOUT_MS}\nzookeeper.connection.timeout.ms={}\n",
                home.join("data").display(),
                PATIENCE.as_millis(),
            );
            for (key, value) in properties(id, port) {
                text.push_str(&format!("{key}={value}\n"));
            }
            std::fs::write(home.join("server.properties"), text).expect("a file can be written");
            brokers.insert(id, Member { port, folder: home, process: None });
        }
        let mut cluster = Cluster { brokers, zookeeper, folder };
        for id in 1..=count {
            cluster.start_broker(id);
        }
        cluster.wait_until_serving();
        cluster
    }

    pub fn ids(&self) -> Vec<i32> {
        self.brokers.keys().copied().collect()
    }

    /// `host:port` of every broker, joined by commas.
    pub fn bootstrap(&self) -> String {
        self.brokers.values().map(|b| format!("127.0.0.1:{}", b.port)).collect::<Vec<_>>().join(",")
    }

    pub fn address(&self, id: i32) -> String {
        format!("127.0.0.1:{}", self.member(id).port)
    }

    /// The broker's log directory.
    pub fn data(&self, id: i32) -> PathBuf {
        self.member(id).folder.join("data")
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the broker has logged so far, over all its runs.
    pub fn log(&self, id: i32) -> String {
        std::fs::read_to_string(self.member(id).folder.join("log")).unwrap_or_default()
    }

    /// Starts a broker that is down. Returns at once; see [`Cluster::wait_until_serving`].
    pub fn start_broker(&mut self, id: i32) {
        let member = self.brokers.get_mut(&id).expect("the broker belongs to this cluster");
        assert!(member.process.is_none(), "broker {id} runs already");
        let mut command = Command::new(ottla());
        command.arg("broker").arg(member.folder.join("server.properties"));
        command.env("NO_COLOR", "1");
        member.process = Some(Process::start(&mut command, &member.folder.join("log")));
    }

    /// SIGKILL: no goodbye to anyone.
    pub fn kill(&mut self, id: i32) {
        self.take(id).kill();
    }

    /// SIGTERM: a controlled shutdown. Waits for the end.
    pub fn terminate(&mut self, id: i32) -> ExitStatus {
        self.take(id).terminate(PATIENCE)
    }

    pub fn signal(&self, id: i32, signal: Signal) {
        self.member(id).process.as_ref().expect("the broker runs").signal(signal);
    }

    pub fn pid(&self, id: i32) -> u32 {
        self.member(id).process.as_ref().expect("the broker runs").pid()
    }

    pub fn is_running(&self, id: i32) -> bool {
        self.member(id).process.is_some()
    }

    /// Whether the broker has ended without being asked to.
    pub fn has_exited(&mut self, id: i32) -> bool {
        let member = self.brokers.get_mut(&id).expect("the broker belongs to this cluster");
        member.process.as_mut().and_then(Process::exited).is_some()
    }

    /// Waits until every running broker is in the metadata of every running broker.
    pub fn wait_until_serving(&mut self) {
        let running: Vec<i32> = self.ids().into_iter().filter(|id| self.is_running(*id)).collect();
        for id in &running {
            let address = self.address(*id);
            crate::wait::until(&format!("broker {id} serves metadata of {running:?}"), PATIENCE, || {
                if let Some(status) =
                    self.brokers.get_mut(id).and_then(|m| m.process.as_mut()).and_then(Process::exited)
                {
                    panic!("broker {id} ended with {status}:\n{}", self.log(*id));
                }
                let listing = kcat().args(["-b", &address, "-L", "-m", "2"]).output().ok()?;
                let text = String::from_utf8_lossy(&listing.stdout).into_owned();
                running.iter().all(|other| text.contains(&format!("broker {other} at "))).then_some(())
            });
        }
    }

    /// Writes to stderr what each broker has logged last.
    pub fn tell_last_words(&self) {
        for id in self.ids() {
            let log = self.log(id);
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(60);
            eprintln!("--- broker {id}, last lines\n{}", lines.get(from..).unwrap_or_default().join("\n"));
        }
    }

    fn take(&mut self, id: i32) -> Process {
        let member = self.brokers.get_mut(&id).expect("the broker belongs to this cluster");
        member.process.take().unwrap_or_else(|| panic!("broker {id} is not running"))
    }

    fn member(&self, id: i32) -> &Member {
        self.brokers.get(&id).expect("the broker belongs to this cluster")
    }
}

/// On a failing test, the brokers' last words are worth more than the assertion.
impl<Z> Drop for Cluster<Z> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_last_words();
        }
    }
}

/// The program under test: `OTTLA_BIN`, or what cargo built beside this test.
pub fn ottla() -> PathBuf {
    if let Some(path) = std::env::var_os("OTTLA_BIN") {
        return PathBuf::from(path);
    }
    let path = target_folder().join("debug/ottla");
    assert!(path.exists(), "{} is missing: run `cargo build` first, or set OTTLA_BIN", path.display());
    path
}
