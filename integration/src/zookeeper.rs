//! A real ZooKeeper as a process, from Debian's package.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::Process;
use crate::runtime::run;
use crate::wait;

/// Debian's jar names those it depends on itself, all but its logging. The folder as a whole would bring
/// whatever bindings other packages have put there.
pub(crate) const CLASS_PATH: &str =
    "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-log4j12.jar:/usr/share/java/log4j-1.2.jar";

/// Warnings to the terminal.
pub(crate) const LOGGING: &str = "log4j.rootLogger=WARN,C\nlog4j.appender.C=org.apache.log4j.ConsoleAppender\n\
    log4j.appender.C.layout=org.apache.log4j.PatternLayout\n\
    log4j.appender.C.layout.ConversionPattern=%d %p %m%n\n";

pub(crate) const MAIN_CLASS: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// How long a test on a server of its own may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a test with a server of its own, on a runtime with several threads.
pub fn with_zookeeper<F: Future<Output = ()>>(test: impl FnOnce(ZooKeeper) -> F) {
    if std::env::var_os("OTTLA_WITHOUT_ZOOKEEPER").is_some() {
        eprintln!("SKIPPED: OTTLA_WITHOUT_ZOOKEEPER is set, and this test needs a ZooKeeper");
        return;
    }
    let server = ZooKeeper::start();
    run(async { tokio::time::timeout(LIMIT, test(server)).await }).expect("a test ends within two minutes");
}

/// One server on loopback with a folder of its own. Its port and data survive [`ZooKeeper::restart`].
#[derive(Debug)]
pub struct ZooKeeper {
    port: u16,
    process: Option<Process>,
    folder: TempDir,
}

impl ZooKeeper {
    /// A server with a tick of 500 ms (sessions from 1 to 10 s), answering requests when this returns.
    pub fn start() -> ZooKeeper {
        ZooKeeper::with_tick(500)
    }

    /// The same with another tick, in milliseconds; sessions last 2 to 20 ticks.
    pub fn with_tick(tick_ms: u32) -> ZooKeeper {
        let mut server = ZooKeeper::prepare(tick_ms, "");
        server.restart();
        server
    }

    /// A server of an ensemble. It serves once it is one of a majority.
    pub(crate) fn launch_member(id: usize, tick_ms: u32, settings: &str) -> ZooKeeper {
        let mut server = ZooKeeper::prepare(tick_ms, settings);
        fs::write(server.file("data/myid"), id.to_string()).expect("a file can be written");
        server.launch();
        server
    }

    fn prepare(tick_ms: u32, settings: &str) -> ZooKeeper {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let port = free_port();
        let data = folder.path().join("data").display().to_string();
        let settings =
            configuration(&data, port, tick_ms, &format!("clientPortAddress=127.0.0.1\n{settings}"));
        fs::create_dir(folder.path().join("data")).expect("a folder can be made");
        fs::write(folder.path().join("zoo.cfg"), settings).expect("a file can be written");
        ZooKeeper { port, process: None, folder }
    }

    /// `host:port`.
    pub fn connect_string(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL: connections break at once, sessions live on in the data.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts the server again on its port and data (ending it first if it runs); returns once it answers.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        self.wait_until_serving();
    }

    /// Starts the server again on its port and data; it runs no longer.
    pub(crate) fn launch(&mut self) {
        let mut command = Command::new("java");
        command.args(java_arguments(self.folder.path()));
        self.process = Some(Process::start(&mut command, &self.file("log")));
    }

    /// Gives the answer to `srvr`.
    pub(crate) fn wait_until_serving(&mut self) -> String {
        wait::until("ZooKeeper answers", Duration::from_secs(60), || {
            let process = self.process.as_mut().expect("the server runs");
            if let Some(status) = process.exited() {
                panic!(
                    "ZooKeeper ended with {status} (is Debian's package `zookeeper` installed?):\n{}",
                    process.output()
                );
            }
            self.four_letters("srvr").filter(|answer| answer.contains("Mode:"))
        })
    }

    /// SIGSTOP: connections stay, nothing is answered, no session expires.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// The answer to one of ZooKeeper's four-letter commands, such as `srvr` or `dump`.
    pub fn four_letters(&self, command: &str) -> Option<String> {
        four_letters(SocketAddr::from(([127, 0, 0, 1], self.port)), command, Duration::from_secs(5))
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("the server runs").signal(signal);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A `zoo.cfg` with `more` lines.
pub(crate) fn configuration(data: &str, client_port: u16, tick_ms: u32, more: &str) -> String {
    format!(
        "tickTime={tick_ms}\ndataDir={data}\nclientPort={client_port}\nmaxClientCnxns=0\nadmin.enableServer=false\n\
         4lw.commands.whitelist=*\n{more}"
    )
}

/// What makes `java` a ZooKeeper server of the `zoo.cfg` in this folder.
///
/// # Panics
/// If the folder cannot be written to.
pub fn java_arguments(folder: &Path) -> Vec<String> {
    let properties = folder.join("log4j.properties");
    fs::write(&properties, LOGGING).expect("a file can be written");
    let logging = format!("-Dlog4j.configuration=file:{}", properties.display());
    let machine = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", &logging, "-cp", CLASS_PATH];
    let mut arguments = machine.map(String::from).to_vec();
    arguments.push(String::from(MAIN_CLASS));
    arguments.push(folder.join("zoo.cfg").display().to_string());
    arguments
}

/// The image of ZooKeeper, as docker-compose.yml names it.
pub fn container_image() -> String {
    std::env::var("ZOOKEEPER_IMAGE").unwrap_or_else(|_| String::from("zookeeper:3.9"))
}

/// A shell script that becomes a server, in the images of Apache's ZooKeeper and in one that has Debian's package.
/// Its folder has `zoo.cfg`, which keeps its data in `/data`, `myid` and `log4j.properties` ([`LOGGING`]).
pub(crate) fn container_script(folder: &str) -> String {
    format!(
        "set -e\ncp {folder}/myid /data/myid\n\
         if command -v zkServer.sh >/dev/null; then exec zkServer.sh start-foreground {folder}/zoo.cfg; fi\n\
         exec java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
         -Dlog4j.configuration=file:{folder}/log4j.properties -cp {CLASS_PATH} {MAIN_CLASS} {folder}/zoo.cfg\n"
    )
}

/// The answer of a server to one of ZooKeeper's four-letter commands, if it comes in time.
pub fn four_letters(server: SocketAddr, command: &str, limit: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&server, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(command.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
