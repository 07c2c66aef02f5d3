//! Logs to be compacted, and what is found in them afterwards.

use std::cell::RefCell;
use std::ops::ControlFlow;

use client::record::compression::DEFAULT_DECOMPRESSED_MAX_BYTES;
use client::record::legacy::{LegacyError, for_each_message};
use client::record::{AnyBatch, BatchBuilder, BatchOptions, NewRecord, batches, payload, records};

use super::support::*;
use crate::log::checkpoint::CLEANER_OFFSETS;
use crate::log::compaction::{Cleaned, CleaningError, CleaningLimits, Locked, clean};
use crate::log::{Log, LogConfig, LogError};

pub(super) const LIMITS: CleaningLimits =
    CleaningLimits { dedupe_bytes: 1 << 20, load_factor: 0.9, io_bytes: 4096, secret: (1, 2) };

/// A log as compaction sees it, without a lock since there is one thread.
pub(super) struct Unlocked(pub(super) RefCell<Option<Log>>);

impl Unlocked {
    pub(super) fn new(log: Log) -> Unlocked {
        Unlocked(RefCell::new(Some(log)))
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(self.0.borrow_mut().as_mut().unwrap())
    }

    /// Compacts once and writes the checkpoint.
    pub(super) fn clean(&self, now_ms: i64) -> Result<Option<Cleaned>, CleaningError> {
        let cleaned = clean(self, LIMITS, now_ms, &mut |_| ControlFlow::Continue(()))?;
        if let Some(cleaned) = &cleaned {
            let written = cleaned.dir.checkpoints().write_noted(CLEANER_OFFSETS, |_| true);
            cleaned.dir.note(written.map_err(LogError::from))?;
        }
        Ok(cleaned)
    }
}

impl Locked for Unlocked {
    fn with<T>(&self, work: impl FnOnce(&mut Log) -> Result<T, LogError>) -> Option<Result<T, LogError>> {
        self.0.borrow_mut().as_mut().map(work)
    }
}

pub(super) fn compacted() -> LogConfig {
    LogConfig {
        cleanup_policy_delete: false,
        cleanup_policy_compact: true,
        segment_bytes: 1000,
        min_cleanable_dirty_ratio: 0.0,
        ..LogConfig::default()
    }
}

/// A batch of these keys and values.
pub(super) fn keyed(pairs: &[(&str, Option<&str>)], options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options).unwrap();
    for (n, (key, value)) in pairs.iter().enumerate() {
        let record = NewRecord {
            timestamp: NOW + n as i64,
            key: Some(key.as_bytes()),
            value: value.map(str::as_bytes),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    builder.finish().unwrap()
}

pub(super) fn plain(pairs: &[(&str, Option<&str>)]) -> Vec<u8> {
    keyed(pairs, BatchOptions::default())
}

/// Appends, rolls at every batch so that the last one is in a segment of its own, and commits all.
pub(super) fn fill_segments(log: &mut Log, segments: &[&[Vec<u8>]]) {
    for segment in segments {
        for batch in *segment {
            lead(log, batch.clone()).unwrap();
        }
        log.roll(None, NOW).unwrap();
    }
    lead(log, plain(&[("active", Some("x"))])).unwrap();
    log.set_high_watermark(log.end_offset());
}

pub(super) type Found = (i64, Option<String>, Option<String>, i64);

/// All records of a log: offset, key, value and time.
pub(super) fn found(log: &Log) -> Vec<Found> {
    let mut all = Vec::new();
    for bytes in stored(log) {
        let batch = AnyBatch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        match batch.header() {
            Some(header) => {
                for record in records(header, &payload(&batch, DEFAULT_DECOMPRESSED_MAX_BYTES).unwrap()) {
                    let record = record.unwrap();
                    if !batch.is_control() {
                        all.push((record.offset.0, text(record.key), text(record.value), record.timestamp));
                    }
                }
            }
            None => for_each_message::<LegacyError>(&batch, DEFAULT_DECOMPRESSED_MAX_BYTES, |message| {
                all.push((message.offset.0, text(message.key), text(message.value), message.timestamp));
                Ok(())
            })
            .unwrap(),
        }
    }
    all
}

/// Offset, key and value of all records below the active segment, briefly.
pub(super) fn brief(log: &Log) -> Vec<String> {
    let text = |value: Option<String>| value.unwrap_or("-".into());
    let all = found(log).into_iter().filter(|(_, key, ..)| key.as_deref() != Some("active"));
    all.map(|(offset, key, value, _)| format!("{offset} {}={}", text(key), text(value))).collect()
}

/// The bytes of all batches.
pub(super) fn stored(log: &Log) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut from = log.start_offset();
    loop {
        let slice = log.read(from, 100_000, log.end_offset(), true).unwrap();
        let bytes = bytes_of(&slice.records);
        let before = all.len();
        for batch in batches(&bytes) {
            from = batch.next_offset();
            all.push(batch.bytes().to_vec());
        }
        if all.len() == before {
            return all;
        }
    }
}

pub(super) fn checkpoint(bench: &Bench) -> String {
    let bytes = bench.disk.read(&bench.dir.path().join(CLEANER_OFFSETS)).unwrap();
    String::from_utf8(bytes).unwrap().replace('\n', " ")
}
