//! A command line tool of Kafka's, which runs many times in one JVM: a JVM for each run would take longer than
//! what the tool does.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::apache::{Release, java_folder};

/// What a tool has done by its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

/// One that is ready to run.
#[derive(Debug)]
pub struct StockTool {
    jvm: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl StockTool {
    /// The tool that `class` is in a release; it runs in `folder`.
    pub fn start(release: Release, class: &str, folder: &Path) -> StockTool {
        let mut command = release.java_source(&java_folder().join("Tool.java"));
        command.arg(class).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut jvm = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let commands = jvm.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(jvm.stdout.take().expect("stdout is piped"));
        StockTool { jvm, commands, answers }
    }

    /// Runs it once, to its end.
    pub fn run(&mut self, arguments: &[String]) -> Done {
        let line: String = arguments.iter().map(|argument| format!("{argument}\u{1f}")).collect();
        writeln!(self.commands, "{line}").expect("the JVM reads");
        let mut head = String::new();
        self.answers.read_line(&mut head).expect("the JVM answers");
        let numbers: Vec<i32> = head.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [exit, said, complained] = numbers[..] else { panic!("{arguments:?} was answered by {head:?}") };
        let mut text = |length: i32| {
            let mut bytes = vec![0; usize::try_from(length).expect("a length is not negative")];
            self.answers.read_exact(&mut bytes).expect("the JVM answers in full");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Done { exit, stdout: text(said), stderr: text(complained) }
    }
}

impl Drop for StockTool {
    fn drop(&mut self) {
        let _ = self.jvm.kill();
        let _ = self.jvm.wait();
    }
}
