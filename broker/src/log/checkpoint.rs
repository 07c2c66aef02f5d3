//! The text files of offsets: one format for those of a log directory and for `leader-epoch-checkpoint`
//! (Kafka's `CheckpointFile.java`): a version line `0`, a line with the number of entries, then a line each.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use client::ids::{LeaderEpoch, Offset, TopicPartition};
use thiserror::Error;

use super::disk::{Disk, DiskError};

/// Offsets below which logs are flushed.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// First offsets of logs that start inside their first segment.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// High watermarks.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// First offsets not yet compacted.
pub const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
/// Where each leader epoch starts, in the partition's own directory.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";

/// Why a checkpoint cannot be used. As in Kafka, its log directory is then offline: guessing could lose data.
#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(
        "malformed line {line} in checkpoint file {}: {found:?} is not {expected}; \
         restore the file, or empty it to start without it",
        path.display()
    )]
    Malformed { path: PathBuf, line: usize, found: String, expected: &'static str },
    #[error("checkpoint file {} announces {announced} entries, but holds {found}", path.display())]
    WrongCount { path: PathBuf, announced: usize, found: usize },
}

/// Reads offsets by partition. A missing or empty file has none.
pub fn read_offsets(disk: &Disk, path: &Path) -> Result<BTreeMap<TopicPartition, Offset>, CheckpointError> {
    let entries = read_entries(disk, path, "`topic partition offset`", |line| {
        let mut words = line.split_whitespace();
        let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
        let partition = TopicPartition::new(topic, partition.parse().ok()?);
        words.next().is_none().then_some((partition, Offset(offset.parse().ok()?)))
    })?;
    Ok(entries.into_iter().collect())
}

/// Replaces the offsets of a file, durably.
pub fn write_offsets(
    disk: &Disk,
    path: &Path,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<(), DiskError> {
    let lines = offsets.iter().map(|(tp, offset)| format!("{} {} {offset}", tp.topic, tp.partition));
    disk.replace(path, text_of(lines, offsets.len()).as_bytes())
}

/// Reads the start offsets of leader epochs, as written. A missing or empty file has none.
pub(super) fn read_epochs(disk: &Disk, path: &Path) -> Result<Vec<(LeaderEpoch, Offset)>, CheckpointError> {
    read_entries(disk, path, "`epoch startOffset`", |line| {
        let mut words = line.split_whitespace();
        let (epoch, offset) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (words.next().is_none() && epoch >= 0 && offset >= 0).then_some((LeaderEpoch(epoch), Offset(offset)))
    })
}

/// The content of a file of leader epochs.
pub(super) fn text_of_epochs(epochs: &BTreeMap<LeaderEpoch, Offset>) -> String {
    text_of(epochs.iter().map(|(epoch, start)| format!("{epoch} {start}")), epochs.len())
}

fn text_of(lines: impl Iterator<Item = String>, count: usize) -> String {
    let mut text = format!("0\n{count}\n");
    for line in lines {
        writeln!(text, "{line}").expect("a String takes any text");
    }
    text
}

fn read_entries<T>(
    disk: &Disk,
    path: &Path,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, CheckpointError> {
    let bytes = match disk.read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().enumerate();
    let malformed = |line: usize, found: &str, expected| CheckpointError::Malformed {
        path: path.to_path_buf(),
        line: line + 1,
        found: found.chars().take(200).collect(),
        expected,
    };
    let Some((_, version)) = lines.next() else { return Ok(Vec::new()) };
    if version.trim() != "0" {
        return Err(malformed(0, version, "the version 0"));
    }
    let (_, count) = lines.next().unwrap_or((1, ""));
    let announced: usize = count.trim().parse().map_err(|_| malformed(1, count, "a number of entries"))?;
    let mut entries = Vec::new();
    for (at, line) in lines {
        entries.push(parse(line).ok_or_else(|| malformed(at, line, expected))?);
    }
    if entries.len() != announced {
        return Err(CheckpointError::WrongCount {
            path: path.to_path_buf(),
            announced,
            found: entries.len(),
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<TopicPartition, Offset>, CheckpointError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_POINTS);
        std::fs::write(&path, text).unwrap();
        read_offsets(&Disk::Real, &path)
    }

    #[test]
    fn writes_what_kafka_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(HIGH_WATERMARKS);
        let offsets = BTreeMap::from([
            (TopicPartition::new("b.c", 10), Offset(7)),
            (TopicPartition::new("a-1", 0), Offset(0)),
        ]);
        write_offsets(&Disk::Real, &path, &offsets).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n2\na-1 0 0\nb.c 10 7\n");
        assert_eq!(read_offsets(&Disk::Real, &path).unwrap(), offsets);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn missing_and_empty_files_hold_nothing() {
        assert_eq!(read("").unwrap(), BTreeMap::new());
        assert_eq!(read("0\n0\n").unwrap(), BTreeMap::new());
        assert_eq!(read_offsets(&Disk::Real, Path::new("/does/not/exist")).unwrap(), BTreeMap::new());
    }

    #[test]
    fn anything_malformed_is_refused() {
        let line_of = |text: &str| match read(text) {
            Err(CheckpointError::Malformed { line, .. }) => Some(line),
            Err(CheckpointError::WrongCount { .. }) => None,
            other => panic!("{text:?} gave {other:?}"),
        };
        assert_eq!(line_of("1\n0\n"), Some(1));
        assert_eq!(line_of("0\n"), Some(2));
        assert_eq!(line_of("0\nx\n"), Some(2));
        assert_eq!(line_of("0\n1\na 0\n"), Some(3));
        assert_eq!(line_of("0\n1\na 0 5 6\n"), Some(3));
        assert_eq!(line_of("0\n1\na b 5\n"), Some(3));
        assert_eq!(line_of("0\n2\na 0 5\n"), None);
        assert_eq!(line_of("0\n1\na 0 5\nb 0 5\n"), None);
        assert_eq!(line_of("0\n1\na 0 5\n\n"), Some(4));
    }
}
