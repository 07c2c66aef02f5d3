//! Walking the batches of a `.log` file, by header or whole.

use client::record::batch::HEADER_LEN;
use client::record::entry::HEADER_UP_TO_MAGIC;
use client::record::{AnyBatch, BatchError, BatchSummary, EntryHeader};

use super::disk::{DiskError, DiskFile};
use super::error::LogError;

/// Read at once: enough for the batches between two index entries.
const WINDOW: usize = 8 * 1024;

/// A file of batches up to a size.
#[derive(Debug)]
pub(super) struct BatchFile {
    file: DiskFile,
    size: u64,
}

/// A walk through the batches of a file.
#[derive(Debug)]
pub(super) struct Batches {
    source: BatchFile,
    /// Bytes read at once, or more for a batch that is larger.
    window_len: usize,
    position: u64,
    /// Bytes of the file from `window_at` on.
    window: Vec<u8>,
    window_at: u64,
}

impl BatchFile {
    pub(super) fn new(file: DiskFile, size: u64) -> BatchFile {
        BatchFile { file, size }
    }

    /// Starts at a position at which a batch starts.
    pub(super) fn walk(self, position: u64) -> Batches {
        self.walk_in_steps(position, WINDOW)
    }

    /// The same, reading `step` bytes at once.
    pub(super) fn walk_in_steps(self, position: u64, step: usize) -> Batches {
        Batches { source: self, window_len: step, position, window: Vec::new(), window_at: 0 }
    }
}

impl Batches {
    /// Where the next batch starts, or where the whole ones end.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch's header and place. A batch cut short by the end of the file is the end.
    pub(super) fn next_summary(&mut self) -> Result<Option<(u64, BatchSummary)>, LogError> {
        let Some(size) = self.next_size()? else { return Ok(None) };
        let summary = BatchSummary::parse(self.bytes(HEADER_LEN.min(size))?);
        let summary = summary.map_err(|problem| self.damaged(problem))?;
        let position = self.position;
        self.position += size as u64;
        Ok(Some((position, summary)))
    }

    /// The next batch, whole and with a right checksum. The walk stays before a bad one.
    pub(super) fn next_checked(&mut self) -> Result<Option<(u64, AnyBatch<'_>)>, LogError> {
        let Some(size) = self.next_size()? else { return Ok(None) };
        let position = self.position;
        self.fill(position, size)?;
        let bytes = window_bytes(&self.window, self.window_at, position, size);
        let checked = AnyBatch::parse(bytes).and_then(|batch| batch.check_crc().map(|()| batch));
        match checked {
            Ok(batch) => {
                self.position = position + size as u64;
                Ok(Some((position, batch)))
            }
            Err(problem) => Err(damaged(&self.source.file, position, problem)),
        }
    }

    /// Once the walk is over: an error unless it came to the end of the file.
    pub(super) fn check_complete(&self) -> Result<(), LogError> {
        let rest = self.source.size.saturating_sub(self.position);
        if rest == 0 {
            return Ok(());
        }
        let found = usize::try_from(rest).unwrap_or(usize::MAX);
        Err(self.damaged(BatchError::Truncated { needed: found.saturating_add(1), found }))
    }

    /// Bytes of the next entry, if all of it is in the file.
    fn next_size(&mut self) -> Result<Option<usize>, LogError> {
        let rest = self.source.size.saturating_sub(self.position);
        if rest < HEADER_UP_TO_MAGIC as u64 {
            return Ok(None);
        }
        let entry = EntryHeader::parse(self.bytes(HEADER_UP_TO_MAGIC)?);
        let entry = entry.map_err(|problem| self.damaged(problem.into()))?;
        Ok((entry.size as u64 <= rest).then_some(entry.size))
    }

    /// `len` bytes from the present position; they are known to lie in the file.
    fn bytes(&mut self, len: usize) -> Result<&[u8], DiskError> {
        self.fill(self.position, len)
    }

    fn fill(&mut self, position: u64, len: usize) -> Result<&[u8], DiskError> {
        let window_end = self.window_at + self.window.len() as u64;
        if position < self.window_at || position + len as u64 > window_end {
            let rest = usize::try_from(self.source.size.saturating_sub(position)).unwrap_or(usize::MAX);
            self.window.resize(len.max(self.window_len).min(rest), 0);
            self.window_at = position;
            self.source.file.read_exact_at(position, &mut self.window)?;
        }
        Ok(window_bytes(&self.window, self.window_at, position, len))
    }

    fn damaged(&self, problem: BatchError) -> LogError {
        damaged(&self.source.file, self.position, problem)
    }
}

fn window_bytes(window: &[u8], window_at: u64, position: u64, len: usize) -> &[u8] {
    let skipped = usize::try_from(position.saturating_sub(window_at)).unwrap_or(usize::MAX);
    window.get(skipped..).and_then(|rest| rest.get(..len)).unwrap_or_default()
}

fn damaged(file: &DiskFile, position: u64, problem: BatchError) -> LogError {
    LogError::Damaged { file: file.path().to_path_buf(), position, problem }
}
