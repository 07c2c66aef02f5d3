//! `.txnindex`: the aborted transactions whose markers lie in a segment (Kafka's `TransactionIndex.java`).
//!
//! Entries of 34 bytes in the order of the aborts; the file exists only where something was aborted.

use std::path::{Path, PathBuf};

use client::ids::Offset;

use super::disk::{Disk, DiskError, DiskFile};

const ENTRY_LEN: usize = 34;

/// A transaction that ended with an abort marker at `last_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: i64,
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// The last stable offset once this transaction was over.
    pub last_stable_offset: Offset,
}

#[derive(Debug)]
pub(super) struct TxnIndex {
    disk: Disk,
    path: PathBuf,
}

impl TxnIndex {
    pub(super) fn new(disk: Disk, path: PathBuf) -> TxnIndex {
        TxnIndex { disk, path }
    }

    pub(super) fn push(&mut self, txn: AbortedTxn) -> Result<(), DiskError> {
        let file = self.disk.open_or_create(&self.path)?;
        let mut entry = Vec::with_capacity(ENTRY_LEN);
        entry.extend_from_slice(&0_i16.to_be_bytes());
        for field in [txn.producer_id, txn.first_offset.0, txn.last_offset.0, txn.last_stable_offset.0] {
            entry.extend_from_slice(&field.to_be_bytes());
        }
        file.write_at(file.len()?, &entry)
    }

    /// All entries; a torn last one is left out.
    pub(super) fn entries(&self) -> Result<Vec<AbortedTxn>, DiskError> {
        match self.disk.read(&self.path) {
            Ok(bytes) => Ok(bytes.chunks_exact(ENTRY_LEN).filter_map(parse).collect()),
            Err(e) if e.is_not_found() => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// Whether the entries can belong to a segment with this base, as Kafka checks at load.
    pub(super) fn is_sane(&self, base: Offset) -> Result<bool, DiskError> {
        Ok(self.entries()?.iter().all(|txn| txn.last_offset >= base))
    }

    /// Drops the transactions that ended at or after `offset`.
    pub(super) fn truncate_to(&mut self, offset: Offset) -> Result<(), DiskError> {
        let entries = self.entries()?;
        let kept = entries.iter().take_while(|txn| txn.last_offset < offset).count();
        if kept < entries.len() {
            self.disk.open(&self.path)?.set_len((kept * ENTRY_LEN) as u64)?;
        }
        Ok(())
    }

    pub(super) fn reset(&mut self) -> Result<(), DiskError> {
        self.disk.remove_file(&self.path)
    }

    /// The file, if there is one, to be synced.
    pub(super) fn existing_file(&self) -> Result<Option<DiskFile>, DiskError> {
        match self.disk.open(&self.path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn parse(entry: &[u8]) -> Option<AbortedTxn> {
    let (_version, fields) = entry.split_at_checked(2)?;
    let mut fields =
        fields.chunks_exact(8).filter_map(|field| field.first_chunk()).map(|b| i64::from_be_bytes(*b));
    Some(AbortedTxn {
        producer_id: fields.next()?,
        first_offset: Offset(fields.next()?),
        last_offset: Offset(fields.next()?),
        last_stable_offset: Offset(fields.next()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_and_truncates() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut index = TxnIndex::new(Disk::Real, path.clone());
        assert_eq!(index.entries().unwrap(), []);
        assert!(!path.exists());
        let txn = |first, last| AbortedTxn {
            producer_id: 4,
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        };
        index.push(txn(10, 14)).unwrap();
        index.push(txn(15, 20)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..18], [0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 10]);
        assert!(index.is_sane(Offset(14)).unwrap());
        assert!(!index.is_sane(Offset(15)).unwrap());
        index.truncate_to(Offset(20)).unwrap();
        assert_eq!(index.entries().unwrap(), [txn(10, 14)]);
    }
}
