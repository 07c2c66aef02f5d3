//! Records for clients older than the format they are stored in: read into memory and converted,
//! which is slow, so the topic may forbid it (`message.downconversion.enable`).

use bytes::Bytes;
use client::ids::{BrokerId, Offset};
use client::record::down_convert::{DownConvertError, down_convert};
use client::record::{Codec, MessageFormat};
use client::wire::{ErrorCode, Records};
use tokio::sync::Semaphore;

use super::Terms;
use super::read::{Found, Outcome, Target};
use crate::blocking::off_the_runtime;
use crate::partition::Read;

/// A batch may not decompress to more than this.
const DECOMPRESSED_MAX: usize = 100 << 20;

/// Requests converted at a time: each holds what it reads, and what comes of it, in memory.
static CONVERTING: Semaphore = Semaphore::const_new(4);

/// What came of a target, in the client's format.
#[derive(Debug)]
pub(super) enum Converted {
    /// Before reading.
    Refused(ErrorCode),
    Failed(ErrorCode),
    /// There are records, but the client cannot have them.
    Unreadable(ErrorCode),
    Read(Read),
    Redirected {
        to: BrokerId,
        offsets: Read,
    },
}

/// Passes outcomes on, converted where the client's version is too old for the stored format.
pub(super) async fn where_needed(
    targets: &[Target],
    outcomes: Vec<Outcome>,
    terms: &Terms,
) -> Vec<Converted> {
    let format = format_of(terms.version);
    let mut answers: Vec<Converted> =
        targets.iter().zip(outcomes).map(|(target, outcome)| judge(target, outcome, terms, format)).collect();
    let Some(format) = format else { return answers };
    let mut jobs = Vec::new();
    for (index, (target, answer)) in targets.iter().zip(&mut answers).enumerate() {
        if let Converted::Read(read) = answer
            && !read.records.is_empty()
        {
            let records = std::mem::replace(&mut read.records, Records::Memory(Bytes::new()));
            jobs.push((index, records, target.ask.fetch_offset));
        }
    }
    if jobs.is_empty() {
        return answers;
    }
    let permit = CONVERTING.acquire().await;
    let convert_all = move || {
        let done =
            jobs.into_iter().map(|(index, records, offset)| (index, convert(&records, format, offset)));
        done.collect::<Vec<_>>()
    };
    for (index, converted) in off_the_runtime(convert_all).await {
        if let Some(answer) = answers.get_mut(index) {
            match (converted, answer) {
                (Ok(records), Converted::Read(read)) => read.records = records,
                (Err(error), answer) => *answer = Converted::Unreadable(error),
                (Ok(_), _) => {}
            }
        }
    }
    drop(permit);
    answers
}

/// The format that clients of a version read; `None`: the one that is stored.
fn format_of(version: i16) -> Option<MessageFormat> {
    match version {
        0..=1 => Some(MessageFormat::V0),
        2..=3 => Some(MessageFormat::V1),
        _ => None,
    }
}

fn judge(target: &Target, outcome: Outcome, terms: &Terms, format: Option<MessageFormat>) -> Converted {
    let read = match outcome {
        Outcome::Refused(error) => return Converted::Refused(error),
        Outcome::Failed(error) => return Converted::Failed(error),
        Outcome::Read(read) => read,
        Outcome::Redirected { to, offsets } => return Converted::Redirected { to, offsets },
    };
    let Found::Here { partition } = &target.found else { return Converted::Read(read) };
    let config = partition.config();
    // Such a topic may hold zstd, which clients up to then cannot read.
    if terms.version < 10 && config.compression.is_some_and(|compression| compression.codec == Codec::Zstd) {
        return Converted::Unreadable(ErrorCode::UnsupportedCompressionType);
    }
    if format.is_some() && terms.follower.is_none() && !config.downconversion_enabled {
        return Converted::Unreadable(ErrorCode::UnsupportedVersion);
    }
    Converted::Read(read)
}

fn convert(records: &Records, format: MessageFormat, fetch_offset: Offset) -> Result<Records, ErrorCode> {
    let stored = records.to_bytes().map_err(|error| {
        tracing::warn!(%error, "records to convert cannot be read from their file");
        ErrorCode::KafkaStorageError
    })?;
    match down_convert(&stored, format, fetch_offset, DECOMPRESSED_MAX) {
        Ok(converted) => Ok(Records::Memory(converted.into())),
        Err(DownConvertError::Zstd { .. }) => Err(ErrorCode::UnsupportedCompressionType),
        Err(error) => {
            tracing::warn!(%error, %fetch_offset, "a stored batch cannot be converted for an old client");
            Err(ErrorCode::CorruptMessage)
        }
    }
}
