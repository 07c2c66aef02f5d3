//! Apache Kafka's own brokers, tools and clients, brought by Maven once and run by a JRE.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::process::succeed;

/// A release of Apache Kafka that tests use; each has a folder with a `pom.xml` under `integration/java`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The reference: brokers, tools and clients of 3.9.1.
    V3_9,
    /// The last tools that take `--zookeeper`.
    V2_8,
    /// The classic consumer that lives on ZooKeeper alone.
    V0_8,
}

impl Release {
    fn folder(self) -> &'static str {
        match self {
            Release::V3_9 => "3.9.1",
            Release::V2_8 => "2.8.2",
            Release::V0_8 => "0.8.2.2",
        }
    }

    /// A command that runs `class` of this release.
    pub fn java(self, class: &str) -> Command {
        let mut command = self.jvm();
        command.arg(class);
        command
    }

    /// A command that runs a program of one source file with this release's clients.
    pub fn java_source(self, source: &Path) -> Command {
        let mut command = self.jvm();
        command.arg(source);
        command
    }

    fn jvm(self) -> Command {
        let mut command = Command::new("java");
        command
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg(format!("-Dlog4j.configuration=file:{}", java_folder().join("log4j.properties").display()))
            .arg("-cp")
            .arg(format!("{}/*", self.jars().display()));
        command
    }

    /// The folder of this release's jars, fetched if it is not there yet.
    fn jars(self) -> PathBuf {
        static FETCHING: Mutex<()> = Mutex::new(());
        let folder = target_folder().join("apache").join(self.folder());
        let done = folder.join("complete");
        let _one_at_a_time = FETCHING.lock().expect("nobody panics while fetching");
        if !done.exists() {
            let pom = java_folder().join(self.folder()).join("pom.xml");
            succeed(
                Command::new("mvn")
                    .args(["-q", "-B", "dependency:copy-dependencies", "-f"])
                    .arg(&pom)
                    .arg(format!("-DoutputDirectory={}", folder.display())),
                &[],
                Duration::from_secs(600),
            );
            std::fs::write(done, "").expect("the jar folder can be written");
        }
        folder
    }
}

/// What Apache's `DumpLogSegments` says of a log's segment and index files, none of which it may complain about.
pub fn dump_sound_logs(files: &[String], limit: Duration) -> String {
    let mut command = Release::V3_9.java("kafka.tools.DumpLogSegments");
    command.args(["--deep-iteration", "--files", &files.join(",")]);
    let verdict = succeed(&mut command, &[], limit);
    for complaint in [
        "isvalid: false",
        "Mismatches in",
        "indexed offsets are not found in the log",
        "Found timestamp mismatch in",
        "Found out of order timestamp in",
        "invalid bytes at the end of",
    ] {
        assert!(!verdict.contains(complaint), "{complaint}: {verdict}");
    }
    verdict
}

/// Where the poms and the programs in Java are.
pub fn java_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("java")
}

/// Cargo's target folder: what tests fetch or build beside it is kept between runs.
pub fn target_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test program has a path");
    test.ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists())
        .unwrap_or_else(|| panic!("{} is not in a target folder of cargo", test.display()))
        .to_path_buf()
}
