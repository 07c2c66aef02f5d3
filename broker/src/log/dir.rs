//! One log directory: whether it still works, and what waits to be removed from it.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::dir_checkpoints::DirCheckpoints;
use super::disk::Disk;
use super::error::LogError;

/// What to do when a directory fails: told its path and why, once.
pub type OnDirFailure = Arc<dyn Fn(&Path, &str) + Send + Sync>;

/// A directory of `log.dirs`, shared by its logs.
///
/// The first failed read, write or sync takes it offline for good: what the disk holds is then unknown, so that
/// only a restart, which recovers the logs, brings it back. The process goes on with its other directories.
pub struct LogDir {
    path: PathBuf,
    disk: Disk,
    failed: OnceLock<String>,
    on_failure: OnDirFailure,
    doomed: Mutex<Vec<Doomed>>,
    checkpoints: DirCheckpoints,
}

/// A file or directory that is to be removed at some time.
#[derive(Debug)]
struct Doomed {
    due_ms: i64,
    path: PathBuf,
    is_dir: bool,
}

impl LogDir {
    pub fn new(path: PathBuf, disk: Disk, on_failure: OnDirFailure) -> Arc<LogDir> {
        Arc::new(LogDir {
            checkpoints: DirCheckpoints::new(disk.clone(), path.clone()),
            path,
            disk,
            failed: OnceLock::new(),
            on_failure,
            doomed: Mutex::new(Vec::new()),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(super) fn checkpoints(&self) -> &DirCheckpoints {
        &self.checkpoints
    }

    pub fn is_offline(&self) -> bool {
        self.failed.get().is_some()
    }

    /// Why it is offline, if it is.
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// Takes the directory offline.
    pub fn fail(&self, why: &dyn Display) {
        let why = why.to_string();
        if self.failed.set(why.clone()).is_ok() {
            (self.on_failure)(&self.path, &why);
        }
    }

    /// Refuses work on a directory that failed before.
    pub(super) fn check_online(&self) -> Result<(), LogError> {
        match self.is_offline() {
            true => Err(LogError::DirOffline { dir: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// Passes a result on, taking the directory offline if storage failed.
    pub(super) fn note<T>(&self, result: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(LogError::Storage(error)) = &result {
            self.fail(error);
        }
        result
    }

    /// Notes that a file or directory is to be removed at `due_ms`.
    pub(super) fn doom(&self, path: PathBuf, is_dir: bool, due_ms: i64) {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner).push(Doomed { due_ms, path, is_dir });
    }

    /// Removes what is due; returns how many names went.
    pub(super) fn remove_due(&self, now_ms: i64) -> usize {
        if self.is_offline() {
            return 0;
        }
        let due: Vec<Doomed> = {
            let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
            let (due, later) = doomed.drain(..).partition(|one| one.due_ms <= now_ms);
            *doomed = later;
            due
        };
        for one in &due {
            let removed = match one.is_dir {
                true => self.disk.remove_dir_all(&one.path),
                false => self.disk.remove_file(&one.path),
            };
            if let Err(error) = removed {
                self.fail(&error);
                break;
            }
            tracing::debug!(path = %one.path.display(), "removed");
        }
        due.len()
    }
}

impl std::fmt::Debug for LogDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogDir")
            .field("path", &self.path)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
