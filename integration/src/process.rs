//! A child process that ends with its owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running child whose output goes to a file. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with stdout and stderr appended to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log).expect("a log file can be opened");
        let errors = file.try_clone().expect("a file handle can be cloned");
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        Process { child, log: log.to_path_buf() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; the process may be gone already.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a pid is positive");
        let _ = kill_process(pid, signal);
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits for the end, at most `limit`. Also all that it has written.
    pub fn terminate_with_output(self, limit: Duration) -> (String, ExitStatus) {
        let log = self.log.clone();
        let status = self.terminate(limit);
        (std::fs::read_to_string(log).unwrap_or_default(), status)
    }

    /// SIGTERM, and waits for the end, at most `limit`.
    pub fn terminate(mut self, limit: Duration) -> ExitStatus {
        let pid = self.pid();
        self.terminate_within(limit)
            .unwrap_or_else(|| panic!("pid {pid} did not end within {limit:?} of SIGTERM"))
    }

    /// SIGTERM, and waits for the end, at most `limit`; `None` if it did not come, and the process runs on.
    pub fn terminate_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let started = Instant::now();
        loop {
            let status = self.exited();
            if status.is_some() || started.elapsed() > limit {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The exit status, if the process has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a command to its end, at most `limit`, and gives its output whatever its exit code.
/// `input` becomes its stdin.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> Output {
    use std::io::{Read, Write};

    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let pid = Pid::from_raw(child.id() as i32).expect("a pid is positive");
    let started = Instant::now();
    std::thread::scope(|scope| {
        // A child that ends before reading its input is judged by its exit code, not here.
        scope.spawn(move || stdin.write_all(input));
        let out = scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = stdout.read_to_end(&mut bytes);
            bytes
        });
        let err = scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            bytes
        });
        let mut late = false;
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if !late && started.elapsed() > limit {
                late = true;
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let output = Output {
            status,
            stdout: out.join().expect("the reader does not panic"),
            stderr: err.join().expect("the reader does not panic"),
        };
        assert!(
            !late,
            "{command:?} did not end within {limit:?}\nstdout: {}\nstderr: {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    })
}

/// [`run`], demanding success; gives stdout as text.
#[track_caller]
pub fn succeed(command: &mut Command, input: &[u8], limit: Duration) -> String {
    let output = run(command, input, limit);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}\nstdout: {stdout}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}
