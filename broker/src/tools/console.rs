//! Where a tool writes.

use std::io::{IsTerminal, Write};

/// Stdout and stderr of a tool. Text is gathered until it is shown: at the end, and before a wait.
#[derive(Debug, Default)]
pub(super) struct Console {
    out: String,
    err: String,
    /// Somebody reads along; output that goes to a program stays exactly Kafka's.
    person: bool,
}

impl Console {
    /// That of this process.
    pub(super) fn of_process() -> Console {
        Console { person: std::io::stderr().is_terminal(), ..Console::default() }
    }

    /// A line on stdout.
    pub(super) fn line(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    /// Text on stdout, with its own line ends.
    pub(super) fn print(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref());
    }

    /// Text on stderr.
    pub(super) fn complain(&mut self, text: impl AsRef<str>) {
        self.err.push_str(text.as_ref());
    }

    /// A line on stderr beyond what Kafka's tools print, for a person at a terminal.
    pub(super) fn tell_person(&mut self, text: impl AsRef<str>) {
        if self.person {
            self.err.push_str(text.as_ref());
            self.err.push('\n');
        }
    }

    /// Writes out what was gathered. A reader that is gone, as `head` may be, is no failure of the tool.
    pub(super) fn show(&mut self) {
        let _ = std::io::stdout().write_all(self.out.as_bytes()).and_then(|()| std::io::stdout().flush());
        let _ = std::io::stderr().write_all(self.err.as_bytes());
        self.out.clear();
        self.err.clear();
    }

    #[cfg(test)]
    pub(super) fn written(&self) -> (&str, &str) {
        (&self.out, &self.err)
    }
}
