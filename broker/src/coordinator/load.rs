//! Reading a coordinating partition's log when this broker takes over.

use std::sync::Arc;

use client::ids::Offset;
use client::wire::Str;

use super::{Coordinator, Led, Loaded};
use crate::clock::Now;
use crate::group::Group;
use crate::group::replay::{Replay, ReplayError};
use crate::partition::{PartitionError, ReadArgs, Reader};

/// Why a log was not read to its end.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error("its file cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("a batch of {needed} bytes is not in the log as a whole")]
    CutBatch { needed: usize },
}

impl Coordinator {
    /// Brings the groups of a partition back, then begins to serve them.
    pub(super) async fn load(&self, led: &Arc<Led>) {
        let started = Now::read();
        let Ok(turn) = Arc::clone(&self.loads).acquire_owned().await else { return };
        let reading = Arc::clone(led);
        let read = tokio::task::spawn_blocking(move || {
            let read = read_log(&reading);
            drop(turn);
            read
        });
        // A panic there is a bug; the task that awaits this is vital.
        let (replay, loaded) = match read.await {
            Ok(read) => read,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return,
        };
        if let Some(error) = &replay.last_passed_over {
            tracing::warn!(
                partition = led.number(), count = replay.passed_over, %error,
                "records of __consumer_offsets that mean nothing to this broker were passed over"
            );
        }
        led.replicated(loaded).await;
        // Fails once the lead is lost.
        let Ok(with_offsets) = led.load_offsets(replay.offsets).await else { return };
        let now = Now::read();
        let limits = led.config().limits;
        let mut groups = replay.groups;
        // Groups of which the log says nothing have offsets all the same, as those of simple consumers.
        let only_offsets: Vec<Group> = with_offsets
            .iter()
            .map(|group| Str::from(&**group))
            .filter(|group| !groups.contains_key(group))
            .map(|group| Group::new(group, limits, now))
            .collect();
        let groups =
            std::mem::take(&mut groups).into_iter().map(|(id, value)| Group::load(id, value, limits, now));
        let groups: Vec<Group> = groups.chain(only_offsets).collect();
        let count = groups.len();
        led.begin(groups);
        let took_ms = Now::read().unix_ms - started.unix_ms;
        tracing::info!(partition = led.number(), epoch = %led.epoch(), groups = count, took_ms, "coordinating the partition's groups");
    }
}

/// Reads from the log's start to where it ends by then, unless the lead is lost meanwhile. What
/// cannot be read is passed over with all that follows, as Kafka does: groups that begin anew are
/// better than none.
fn read_log(led: &Led) -> (Replay, Loaded) {
    let mut replay = Replay::default();
    let mut loaded = Loaded { since: led.since(), end: led.partition().status().log_start };
    if let Err(error) = read_into(led, &mut replay, &mut loaded.end)
        && led.leads()
    {
        tracing::error!(
            partition = led.number(), %error,
            "the groups' log could not be read to its end; groups may have lost their members and begin anew"
        );
    }
    (replay, loaded)
}

fn read_into(led: &Led, replay: &mut Replay, offset: &mut Offset) -> Result<(), LoadError> {
    while led.leads() && *offset < led.partition().status().end {
        *offset = match read_some(led, *offset, led.config().load_bytes_max, replay)? {
            Some(next) => next,
            // Cleaned away up to the log's end.
            None => return Ok(()),
        };
    }
    Ok(())
}

/// The offset after what was read.
fn read_some(
    led: &Led,
    offset: Offset,
    max_bytes: usize,
    replay: &mut Replay,
) -> Result<Option<Offset>, LoadError> {
    let args = ReadArgs {
        reader: Reader::Coordinator,
        offset,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        max_bytes,
        at_least_one: true,
    };
    let read = led.partition().read(&args, Now::read())?;
    let bytes = read.records.to_bytes()?;
    if bytes.is_empty() {
        return Ok(None);
    }
    match replay.take(&bytes)? {
        Some(next) => Ok(Some(next)),
        None => Err(LoadError::CutBatch { needed: read.first_batch_len }),
    }
}
