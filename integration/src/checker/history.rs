//! What happened in a run, in order, kept as a file of lines.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{Event, EventError};

/// An event and when it was written down, in microseconds from the run's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub at_us: u64,
    pub event: Event,
}

/// All entries, in the order in which they were written down.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub entries: Vec<Entry>,
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{}, line {line}: {source}", path.display())]
    Line { path: PathBuf, line: usize, source: EventError },
    #[error("{}, line {line}: it does not begin with a time in microseconds", path.display())]
    Time { path: PathBuf, line: usize },
}

impl History {
    pub fn read(path: &Path) -> Result<History, HistoryError> {
        let failed = |source| HistoryError::File { path: path.to_path_buf(), source };
        let mut entries = Vec::new();
        for (index, line) in BufReader::new(File::open(path).map_err(failed)?).lines().enumerate() {
            let (line, number) = (line.map_err(failed)?, index + 1);
            let wrong = || HistoryError::Time { path: path.to_path_buf(), line: number };
            let (time, event) = line.split_once(' ').ok_or_else(wrong)?;
            let at_us = time.parse().map_err(|_| wrong())?;
            let event = event.parse().map_err(|source| HistoryError::Line {
                path: path.to_path_buf(),
                line: number,
                source,
            })?;
            entries.push(Entry { at_us, event });
        }
        Ok(History { entries })
    }
}

/// Writes events down as they happen. Cheap to clone; all clones write to one file.
#[derive(Debug, Clone)]
pub struct Recorder {
    started: Instant,
    file: Arc<Mutex<BufWriter<File>>>,
}

impl Recorder {
    /// The run begins now.
    pub fn create(path: &Path) -> std::io::Result<Recorder> {
        let file = Arc::new(Mutex::new(BufWriter::new(File::create(path)?)));
        Ok(Recorder { started: Instant::now(), file })
    }

    /// Microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// # Panics
    /// If the file cannot be written: a run without a history proves nothing.
    pub fn record(&self, event: &Event) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // The time is taken under the lock, so that lines are in the order of their times.
        let at_us = self.now_us();
        writeln!(file, "{at_us} {event}").expect("the history can be written");
    }

    /// Makes everything recorded so far readable by others.
    ///
    /// # Panics
    /// As [`Recorder::record`].
    pub fn flush(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).flush().expect("the history can be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_as_it_was_recorded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history");
        let recorder = Recorder::create(&path).expect("a file");
        let events = [
            Event::Sending { producer: 1, record: 2, partition: 3 },
            Event::Fault { what: String::from("kill 2") },
        ];
        events.iter().for_each(|event| recorder.record(event));
        recorder.flush();
        let history = History::read(&path).expect("it was just written");
        assert!(history.entries.iter().map(|entry| &entry.event).eq(&events));
        assert!(history.entries.is_sorted_by_key(|entry| entry.at_us));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history");
        std::fs::write(&path, "1 fault a\nx fault b\n").expect("written");
        let error = History::read(&path).expect_err("the second line has no time").to_string();
        assert!(error.ends_with("history, line 2: it does not begin with a time in microseconds"), "{error}");
    }
}
