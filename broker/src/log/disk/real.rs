//! The machine's own disk, where `std::fs` does not do in one line.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::{DirEntry, Space, Stat};

pub(super) fn open(path: &Path) -> io::Result<Arc<File>> {
    OpenOptions::new().read(true).write(true).open(path).map(Arc::new)
}

pub(super) fn open_or_create(path: &Path) -> io::Result<Arc<File>> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map(Arc::new)
}

pub(super) fn stat(path: &Path) -> io::Result<Stat> {
    let metadata = std::fs::metadata(path)?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let modified_ms = i64::try_from(modified.as_millis()).unwrap_or(i64::MAX);
    Ok(Stat { len: metadata.len(), modified_ms, is_dir: metadata.is_dir() })
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A name that is not UTF-8 is shown with replacement characters: no file of ours has one.
pub(super) fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    std::fs::read_dir(path)?
        .map(|entry| {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A link to a directory counts as one, as in Kafka.
            let is_dir = match entry.file_type()? {
                kind if kind.is_symlink() => {
                    std::fs::metadata(entry.path()).map(|m| m.is_dir()).unwrap_or(false)
                }
                kind => kind.is_dir(),
            };
            Ok(DirEntry { name, is_dir })
        })
        .collect()
}

pub(super) fn space(path: &Path) -> io::Result<Space> {
    let volume = rustix::fs::statvfs(path)?;
    Ok(Space {
        total: volume.f_blocks.saturating_mul(volume.f_frsize),
        usable: volume.f_bavail.saturating_mul(volume.f_frsize),
    })
}

/// A POSIX record lock over the whole file, the kind Java's `FileLock` takes, so that a stock broker and this
/// one keep each other out of a directory. Such a lock does not hold within one process, and closing any
/// other descriptor of the file drops it; the BSD lock taken besides covers the first.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{FlockOperation, fcntl_lock, flock};

    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    for result in [
        flock(&file, FlockOperation::NonBlockingLockExclusive),
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive),
    ] {
        match result {
            Ok(()) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Some(file))
}
