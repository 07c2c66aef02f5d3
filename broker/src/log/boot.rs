//! `.ottla_boot`: in which boot of the machine a log directory was last used. A process that dies leaves what it
//! wrote in the kernel's cache; a machine that stops loses what was not synced. Kafka ignores the file.

use std::path::Path;

use super::clean_shutdown;
use super::disk::{Disk, DiskError};

const BOOT: &str = ".ottla_boot";
/// More than any boot's id has.
const LEN_MAX: u64 = 256;

/// What the last stop may have cost, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LastStop {
    /// Nothing: it was a clean shutdown, or the machine has been up since.
    Harmless,
    /// Nobody knows: Kafka used the directory last and did not close it, or it is new, perhaps in place of another.
    Untold,
    /// What was not synced: the machine stopped.
    OfTheMachine,
}

/// Notes that the directory is used in this boot from now on.
pub(super) fn note(disk: &Disk, dir: &Path, boot: &str) -> Result<(), DiskError> {
    disk.replace(&dir.join(BOOT), format!("{boot}\n").as_bytes())
}

/// What the marks in the directory say of its last use, if it is this boot now.
pub(super) fn last_stop(disk: &Disk, dir: &Path, boot: &str) -> Result<LastStop, DiskError> {
    if clean_shutdown::is_there(disk, dir)? {
        return Ok(LastStop::Harmless);
    }
    let path = dir.join(BOOT);
    let Some(_) = disk.stat(&path)?.filter(|stat| !stat.is_dir && stat.len <= LEN_MAX) else {
        return Ok(LastStop::Untold);
    };
    Ok(match disk.read(&path)?.trim_ascii() == boot.as_bytes() {
        true => LastStop::Harmless,
        false => LastStop::OfTheMachine,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stop_of_the_machine_costs_something() {
        let dir = tempfile::tempdir().unwrap();
        let stop = |boot| last_stop(&Disk::Real, dir.path(), boot).unwrap();
        assert_eq!(stop("a"), LastStop::Untold);
        note(&Disk::Real, dir.path(), "a").unwrap();
        assert_eq!((stop("a"), stop("b")), (LastStop::Harmless, LastStop::OfTheMachine));
        clean_shutdown::leave(&Disk::Real, dir.path()).unwrap();
        assert_eq!(stop("b"), LastStop::Harmless);
        clean_shutdown::take(&Disk::Real, dir.path()).unwrap();
        note(&Disk::Real, dir.path(), "b").unwrap();
        assert_eq!((stop("a"), stop("b")), (LastStop::OfTheMachine, LastStop::Harmless));
        std::fs::write(dir.path().join(BOOT), vec![b'a'; 1_000]).unwrap();
        assert_eq!(stop("a"), LastStop::Untold);
    }
}
