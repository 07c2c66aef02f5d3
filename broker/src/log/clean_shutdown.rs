//! `.kafka_cleanshutdown`: the mark that every log of a directory was closed (KIP-966 gave it a content).

use std::path::Path;

use super::disk::{Disk, DiskError};

const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Whether the mark is there.
pub(super) fn is_there(disk: &Disk, dir: &Path) -> Result<bool, DiskError> {
    disk.exists(&dir.join(CLEAN_SHUTDOWN))
}

/// Takes the mark away and says whether it was there. It goes before loading starts, so that a crash while
/// loading counts as an unclean stop.
pub(super) fn take(disk: &Disk, dir: &Path) -> Result<bool, DiskError> {
    let path = dir.join(CLEAN_SHUTDOWN);
    let was_there = disk.exists(&path)?;
    if was_there {
        disk.remove_file(&path)?;
        disk.sync_dir(dir)?;
    }
    Ok(was_there)
}

/// Leaves the mark. Brokers on ZooKeeper look only at its existence and write no broker epoch.
pub(super) fn leave(disk: &Disk, dir: &Path) -> Result<(), DiskError> {
    disk.replace(&dir.join(CLEAN_SHUTDOWN), br#"{"version":0,"brokerEpoch":-1}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_there_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!take(&Disk::Real, dir.path()).unwrap());
        leave(&Disk::Real, dir.path()).unwrap();
        let bytes = std::fs::read(dir.path().join(CLEAN_SHUTDOWN)).unwrap();
        assert_eq!(bytes.len(), 30);
        assert!(is_there(&Disk::Real, dir.path()).unwrap());
        assert!(take(&Disk::Real, dir.path()).unwrap());
        assert!(!take(&Disk::Real, dir.path()).unwrap());
    }
}
