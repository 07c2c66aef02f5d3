//! Syncing before acknowledging (`flush.before.ack`): nothing counts as stored that is not on disk.
//!
//! The high watermark waits for this replica's own disk, and a follower fetches on only from where its log
//! is synced; so what reaches the watermark is on the disks of all that are in sync. One sync runs at
//! a time and takes all that was appended before it began, so those who wait share it.

use std::sync::Arc;

use client::ids::Offset;

use super::{Inner, Partition, PartitionError, Role};
use crate::blocking::off_the_runtime;
use crate::clock::Now;
use crate::log::Log;

impl Partition {
    /// Whether acknowledgements wait for the disk.
    pub fn flushes_before_ack(&self) -> bool {
        self.lock().config.flush_before_ack
    }

    /// Returns when everything before `end` is on this replica's disk, or was cut off.
    pub async fn wait_for_flush(self: &Arc<Self>, end: Offset) -> Result<(), PartitionError> {
        if self.is_flushed(end)? {
            return Ok(());
        }
        let turn = Arc::clone(&self.flushing).lock_owned().await;
        if self.is_flushed(end)? {
            return Ok(());
        }
        let partition = Arc::clone(self);
        off_the_runtime(move || {
            let flushed = partition.flush_all(Now::read());
            // Even if nobody waits any more: the next sync has to come after this one.
            drop(turn);
            flushed
        })
        .await
    }

    fn is_flushed(&self, end: Offset) -> Result<bool, PartitionError> {
        let inner = self.lock();
        let log = inner.log()?;
        Ok(log.recovery_point() >= end.min(log.end_offset()))
    }

    /// Syncs all that was appended so far, without holding up reads and appends meanwhile.
    fn flush_all(&self, now: Now) -> Result<(), PartitionError> {
        let job = self.change(now, |inner, _| Ok(inner.log()?.flush_now(now.unix_ms)?))?;
        let outcome = job.run();
        self.change(now, |inner, _| Ok(inner.log_mut()?.flushed(outcome)?))
    }
}

impl Inner {
    /// The leader's watermark, as far as this replica's own disk allows it.
    pub(super) fn confirmed(&self, log: &Log) -> Option<Offset> {
        let Role::Leader(leader) = &self.role else { return None };
        let reached = leader.high_watermark();
        Some(match self.config.flush_before_ack {
            // What was told before stays true.
            true => reached.min(log.recovery_point()).max(log.high_watermark()),
            false => reached,
        })
    }

    /// A role begins with what is on disk.
    pub(super) fn settle_on_disk(&mut self, now: Now) -> Result<(), PartitionError> {
        if self.config.flush_before_ack {
            self.log_mut()?.flush(now.unix_ms)?;
        }
        Ok(())
    }
}
