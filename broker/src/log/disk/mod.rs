//! The one way this broker touches log directories: everything that reads, writes, renames or
//! syncs a log file goes through [`Disk`], so that a simulated disk can stand in for the real one.

mod real;
mod simulated;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::wire::Records;
use thiserror::Error;

pub use simulated::{Fault, SimulatedDisk};

/// What could not be done to which path. The log directory that holds the path is not to be used afterwards.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct DiskError {
    /// A verb phrase: "write to", "rename".
    pub action: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl DiskError {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> DiskError {
        DiskError { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub len: u64,
    pub modified_ms: i64,
    pub is_dir: bool,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
}

/// Bytes of the volume a directory is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub usable: u64,
}

/// A disk: the machine's, or one in memory that can fail and forget on purpose.
#[derive(Clone, Debug)]
pub enum Disk {
    Real,
    Simulated(SimulatedDisk),
}

impl Disk {
    /// Opens an existing file to read and write.
    pub fn open(&self, path: &Path) -> Result<DiskFile, DiskError> {
        let opened = match self {
            Disk::Real => real::open(path).map(File::Real),
            Disk::Simulated(disk) => disk.open(path).map(File::Simulated),
        };
        Ok(DiskFile { path: path.into(), inner: named(opened, "open", path)? })
    }

    /// Opens a file to read and write, making an empty one if there is none.
    pub fn open_or_create(&self, path: &Path) -> Result<DiskFile, DiskError> {
        let opened = match self {
            Disk::Real => real::open_or_create(path).map(File::Real),
            Disk::Simulated(disk) => disk.open_or_create(path).map(File::Simulated),
        };
        Ok(DiskFile { path: path.into(), inner: named(opened, "create", path)? })
    }

    /// Reads a whole small file.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, DiskError> {
        let file = self.open(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        file.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes a whole small file in place: what is found after a crash may be any mixture.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let file = self.open_or_create(path)?;
        file.set_len(0)?;
        file.write_at(0, bytes)
    }

    /// Replaces a small file, by way of `<path>.tmp`. When it returns, the new content survives a crash.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        self.replace_or_keep(path, bytes)?;
        path.parent().map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    /// As [`Disk::replace`], at half the price: a crash leaves the old content whole or the new one, until the
    /// directory is synced.
    pub fn replace_or_keep(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = self.open_or_create(&temporary)?;
        file.set_len(0)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        self.rename(&temporary, path)
    }

    /// What the path is, or `None` if nothing is there.
    pub fn stat(&self, path: &Path) -> Result<Option<Stat>, DiskError> {
        let stat = match self {
            Disk::Real => real::stat(path),
            Disk::Simulated(disk) => disk.stat(path),
        };
        match stat {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => named(other.map(Some), "look at", path),
        }
    }

    pub fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        Ok(self.stat(path)?.is_some())
    }

    /// Renames a file or directory, replacing a file already there.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let renamed = match self {
            Disk::Real => std::fs::rename(from, to),
            Disk::Simulated(disk) => disk.rename(from, to),
        };
        named(renamed, "rename", from)
    }

    /// Removes a file; that it is gone already is no error.
    pub fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        let removed = match self {
            Disk::Real => std::fs::remove_file(path),
            Disk::Simulated(disk) => disk.remove_file(path),
        };
        unless_gone(named(removed, "remove", path))
    }

    /// Removes a directory with all in it; that it is gone already is no error.
    pub fn remove_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        let removed = match self {
            Disk::Real => std::fs::remove_dir_all(path),
            Disk::Simulated(disk) => disk.remove_dir_all(path),
        };
        unless_gone(named(removed, "remove", path))
    }

    /// Makes a directory and its parents; that it exists already is no error.
    pub fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        let created = match self {
            Disk::Real => std::fs::create_dir_all(path),
            Disk::Simulated(disk) => disk.create_dir_all(path),
        };
        named(created, "create", path)
    }

    /// Makes names created, renamed or removed in a directory survive a crash.
    pub fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        let synced = match self {
            Disk::Real => real::sync_dir(path),
            Disk::Simulated(disk) => disk.sync_dir(path),
        };
        named(synced, "sync", path)
    }

    /// The names in a directory, sorted.
    pub fn list(&self, path: &Path) -> Result<Vec<DirEntry>, DiskError> {
        let listed = match self {
            Disk::Real => real::list(path),
            Disk::Simulated(disk) => disk.list(path),
        };
        let mut entries = named(listed, "list", path)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// How large the volume under `path` is and how much of it can still be used.
    pub fn space(&self, path: &Path) -> Result<Space, DiskError> {
        let space = match self {
            Disk::Real => real::space(path),
            Disk::Simulated(disk) => Ok(disk.space()),
        };
        named(space, "ask for the free space of", path)
    }

    /// Takes an exclusive lock on a file, made if it is not there. `None`: someone else holds it.
    pub fn lock(&self, path: &Path) -> Result<Option<DiskLock>, DiskError> {
        let locked = match self {
            Disk::Real => real::lock(path).map(|file| file.map(Lock::Real)),
            Disk::Simulated(disk) => {
                disk.lock(path).map(|taken| taken.then(|| Lock::Simulated(disk.clone())))
            }
        };
        Ok(named(locked, "lock", path)?.map(|inner| DiskLock { path: path.to_path_buf(), inner }))
    }
}

/// Lets the process open as many files as the system allows it to: a log keeps a file or three open for each segment
/// in use, and the usual soft limit of 1024 is for programs that use `select`. Returns the limit that now holds.
pub fn raise_open_file_limit() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

fn named<T>(result: io::Result<T>, action: &'static str, path: &Path) -> Result<T, DiskError> {
    result.map_err(|source| DiskError::new(action, path, source))
}

fn unless_gone(result: Result<(), DiskError>) -> Result<(), DiskError> {
    match result {
        Err(e) if e.is_not_found() => Ok(()),
        other => other,
    }
}

/// A file lock, released when dropped (and by the system when the process dies).
#[derive(Debug)]
pub struct DiskLock {
    path: PathBuf,
    inner: Lock,
}

#[derive(Debug)]
enum Lock {
    #[allow(dead_code, reason = "the lock lives as long as the open file")]
    Real(std::fs::File),
    Simulated(SimulatedDisk),
}

impl Drop for DiskLock {
    fn drop(&mut self) {
        if let Lock::Simulated(disk) = &self.inner {
            disk.unlock(&self.path);
        }
    }
}

/// An open file; clones share it. Positions are given with each call, there is no cursor.
#[derive(Clone, Debug)]
pub struct DiskFile {
    path: Arc<Path>,
    inner: File,
}

#[derive(Clone, Debug)]
enum File {
    Real(Arc<std::fs::File>),
    Simulated(simulated::SimulatedFile),
}

impl DiskFile {
    /// The path it was opened by; it may have been renamed since.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn len(&self) -> Result<u64, DiskError> {
        let len = match &self.inner {
            File::Real(file) => file.metadata().map(|m| m.len()),
            File::Simulated(file) => Ok(file.len()),
        };
        named(len, "look at", &self.path)
    }

    pub fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }

    /// Writes all of `bytes` at `position`, growing the file if need be.
    pub fn write_at(&self, position: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let written = match &self.inner {
            File::Real(file) => std::os::unix::fs::FileExt::write_all_at(&**file, bytes, position),
            File::Simulated(file) => file.write_at(position, bytes),
        };
        named(written, "write to", &self.path)
    }

    /// Fills `buffer` from `position`; a file that ends before is an error.
    pub fn read_exact_at(&self, position: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let read = match &self.inner {
            File::Real(file) => std::os::unix::fs::FileExt::read_exact_at(&**file, buffer, position),
            File::Simulated(file) => file.read_exact_at(position, buffer),
        };
        named(read, "read", &self.path)
    }

    /// Cuts the file, or grows it by zeros that take no room.
    pub fn set_len(&self, len: u64) -> Result<(), DiskError> {
        let set = match &self.inner {
            File::Real(file) => file.set_len(len),
            File::Simulated(file) => file.set_len(len),
        };
        named(set, "resize", &self.path)
    }

    /// Sets when the file is said to have been written last.
    pub fn set_modified(&self, modified_ms: i64) -> Result<(), DiskError> {
        let set = match &self.inner {
            File::Real(file) => {
                let since_1970 = Duration::from_millis(u64::try_from(modified_ms).unwrap_or(0));
                file.set_modified(std::time::UNIX_EPOCH + since_1970)
            }
            File::Simulated(file) => file.set_modified(modified_ms),
        };
        named(set, "set the time of", &self.path)
    }

    /// Makes the content and length survive a crash.
    pub fn sync(&self) -> Result<(), DiskError> {
        let synced = match &self.inner {
            File::Real(file) => file.sync_data(),
            File::Simulated(file) => file.sync(),
        };
        named(synced, "sync", &self.path)
    }

    /// A range of the file to be sent; nothing is read of a real file.
    pub fn slice(&self, position: u64, len: usize) -> Result<Records, DiskError> {
        match &self.inner {
            File::Real(file) => {
                Ok(Records::File(client::wire::FileSlice { file: Arc::clone(file), position, len }))
            }
            File::Simulated(file) => {
                let mut bytes = vec![0; len];
                named(file.read_exact_at(position, &mut bytes), "read", &self.path)?;
                Ok(Records::Memory(bytes.into()))
            }
        }
    }

    /// The file behind it, to be mapped; a simulated one has none.
    pub(crate) fn real(&self) -> Option<&std::fs::File> {
        match &self.inner {
            File::Real(file) => Some(file),
            File::Simulated(_) => None,
        }
    }
}
