//! `partition.metadata`: the topic id a partition's directory belongs to (KIP-516).

use std::path::{Path, PathBuf};

use client::ids::Uuid;
use thiserror::Error;

use super::disk::{Disk, DiskError};

/// The name of the file in a partition's directory.
pub(super) const PARTITION_METADATA: &str = "partition.metadata";

#[derive(Debug, Error)]
pub enum PartitionMetadataError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{} is not a partition metadata file of version 0: {found:?}", path.display())]
    Malformed { path: PathBuf, found: String },
}

/// The stored topic id; `None` if there is no file.
pub(super) fn read(disk: &Disk, dir: &Path) -> Result<Option<Uuid>, PartitionMetadataError> {
    let path = dir.join(PARTITION_METADATA);
    let bytes = match disk.read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let text = String::from_utf8_lossy(&bytes);
    match parse(&text) {
        Some(topic_id) => Ok(Some(topic_id)),
        None => {
            let found = text.chars().take(200).collect();
            Err(PartitionMetadataError::Malformed { path, found })
        }
    }
}

/// Writes the topic id. Should a power failure lose it, the controller tells it again.
pub(super) fn write(disk: &Disk, dir: &Path, topic_id: Uuid) -> Result<(), DiskError> {
    let text = format!("version: 0\ntopic_id: {topic_id}");
    disk.replace_or_keep(&dir.join(PARTITION_METADATA), text.as_bytes())
}

fn parse(text: &str) -> Option<Uuid> {
    let mut lines = text.lines();
    let value = |line: Option<&str>, key: &str| {
        let (found, value) = line?.split_once(':')?;
        (found.trim() == key).then(|| value.trim().to_owned())
    };
    let version = value(lines.next(), "version")?;
    let topic_id = Uuid::parse(&value(lines.next(), "topic_id")?)?;
    (version == "0" && !topic_id.is_zero()).then_some(topic_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_43_bytes_and_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&Disk::Real, dir.path()).unwrap(), None);
        let id = Uuid::parse("KyLcyGvqQLOAkPRDZ3POSg").unwrap();
        write(&Disk::Real, dir.path(), id).unwrap();
        let text = std::fs::read_to_string(dir.path().join(PARTITION_METADATA)).unwrap();
        assert_eq!(text, "version: 0\ntopic_id: KyLcyGvqQLOAkPRDZ3POSg");
        assert_eq!(read(&Disk::Real, dir.path()).unwrap(), Some(id));
    }

    #[test]
    fn refuses_anything_else() {
        let dir = tempfile::tempdir().unwrap();
        for text in
            ["", "version: 1\ntopic_id: KyLcyGvqQLOAkPRDZ3POSg", "version: 0\n", "version: 0\ntopic_id: x"]
        {
            std::fs::write(dir.path().join(PARTITION_METADATA), text).unwrap();
            let error = read(&Disk::Real, dir.path()).unwrap_err();
            assert!(matches!(error, PartitionMetadataError::Malformed { .. }), "{text:?}: {error}");
        }
    }
}
