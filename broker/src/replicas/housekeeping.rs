//! What happens to all replicas from time to time, each on its own interval.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::{DirFailure, Replicas};
use crate::blocking::off_the_runtime;
use crate::clock::Now;
use crate::partition::{Partition, PartitionError};

/// How long a segment that was rolled may wait to be synced.
const ROLLED_FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// How often removed files and directories, whose delay has passed, go for good.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(1);

impl Replicas {
    /// Waits no longer for replicas whose brokers are gone.
    pub(super) async fn watch_brokers(self: Arc<Self>) {
        let mut view = self.around.view.clone();
        let mut known = view.snapshot();
        loop {
            view.changed().await;
            let before = std::mem::replace(&mut known, view.snapshot());
            if before.brokers().keys().all(|id| known.is_alive(*id)) {
                continue;
            }
            let now = Now::read();
            for partition in self.hosted.all() {
                partition.brokers_gone(now);
            }
        }
    }

    /// Drops laggards from the in-sync sets.
    pub(super) async fn watch_lag(self: Arc<Self>) {
        let every = self.replication.lag_max / 2;
        repeat(every, every, || async {
            let now = Now::read();
            for partition in self.hosted.all() {
                partition.check_lag(now);
            }
        })
        .await;
    }

    /// Writes the high watermarks down, once a controller has assigned our partitions.
    pub(super) async fn checkpoint_watermarks(self: Arc<Self>) {
        let mut assigned = self.assigned.subscribe();
        if assigned.wait_for(|assigned| *assigned).await.is_err() {
            return;
        }
        let every = self.replication.high_watermark_checkpoint_interval;
        repeat(every, every, || {
            let replicas = Arc::clone(&self);
            off_the_runtime(move || replicas.dirs.checkpoint_high_watermarks(&replicas.marks()))
        })
        .await;
    }

    /// Writes down from where logs would have to be recovered.
    pub(super) async fn checkpoint_recovery_points(self: Arc<Self>) {
        let every = self.log_dirs.recovery_point_checkpoint_interval;
        repeat(self.log_dirs.initial_task_delay, every, || {
            let replicas = Arc::clone(&self);
            off_the_runtime(move || replicas.dirs.checkpoint_recovery_points(&replicas.marks()))
        })
        .await;
    }

    /// Writes down where logs start.
    pub(super) async fn checkpoint_log_starts(self: Arc<Self>) {
        let every = self.log_dirs.start_offset_checkpoint_interval;
        repeat(self.log_dirs.initial_task_delay, every, || {
            let replicas = Arc::clone(&self);
            off_the_runtime(move || replicas.dirs.checkpoint_log_starts(&replicas.marks()))
        })
        .await;
    }

    pub(super) async fn enforce_retention(self: Arc<Self>) {
        repeat(self.log_dirs.initial_task_delay, self.log_dirs.retention_check_interval, || {
            Arc::clone(&self).with_all("retention", |partition, now| partition.clean_up(now).map(drop))
        })
        .await;
    }

    pub(super) async fn expire_producers(self: Arc<Self>) {
        let every = self.log_dirs.producer_id_expiration_check_interval;
        repeat(every, every, || {
            Arc::clone(&self).with_all("expiry of producers", Partition::expire_producers)
        })
        .await;
    }

    /// Syncs segments that were rolled, and whatever `flush.ms` asks for.
    pub(super) async fn flush(self: Arc<Self>) {
        let every = self.log_dirs.flush_check_interval.min(ROLLED_FLUSH_INTERVAL);
        repeat(every, every, || Arc::clone(&self).with_all("flush", Partition::flush)).await;
    }

    pub(super) async fn remove_files(self: Arc<Self>) {
        repeat(REMOVAL_INTERVAL, REMOVAL_INTERVAL, || {
            let replicas = Arc::clone(&self);
            off_the_runtime(move || replicas.dirs.tick(Now::read().unix_ms))
        })
        .await;
    }

    /// Takes the partitions of failed directories offline and tells of the failure.
    pub(super) async fn watch_dirs(
        self: Arc<Self>,
        mut failed: mpsc::UnboundedReceiver<std::path::PathBuf>,
        told: mpsc::UnboundedSender<DirFailure>,
    ) {
        while let Some(dir) = failed.recv().await {
            self.dir_failed(&dir);
            let last = !self.dirs.any_online();
            // Nobody listens only while the broker stops.
            let _ = told.send(DirFailure { dir, last });
        }
    }

    fn dir_failed(&self, dir: &Path) {
        let now = Now::read();
        let mut partitions = 0;
        for partition in self.hosted.all() {
            if partition.dir_failed(dir, now) {
                partitions += 1;
            }
            if partition.status().offline {
                self.fetchers.stop(partition.id());
            }
        }
        tracing::error!(dir = %dir.display(), partitions, "a log directory failed; its partitions are offline");
    }

    async fn with_all(
        self: Arc<Self>,
        what: &'static str,
        work: impl Fn(&Partition, Now) -> Result<(), PartitionError> + Send + 'static,
    ) {
        off_the_runtime(move || {
            for partition in self.hosted.all() {
                match work(&partition, Now::read()) {
                    // Without a log there is nothing to do, and a failed directory has been told of.
                    Ok(()) | Err(PartitionError::NotLeader | PartitionError::Offline) => {}
                    Err(error) => {
                        tracing::error!(partition = %partition.id(), %error, what, "housekeeping failed")
                    }
                }
            }
        })
        .await;
    }
}

/// Runs `work` after `first` and then at every multiple of `every`, or later if one is missed.
async fn repeat<F: Future>(first: Duration, every: Duration, mut work: impl FnMut() -> F) {
    // A year stands for "never", which Kafka writes as the largest number there is.
    const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
    let every = every.clamp(Duration::from_millis(1), NEVER);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first.min(NEVER), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        work().await;
    }
}
