//! The log cleaners: `log.cleaner.threads` of them, each compacting the log that needs it most, one after the other,
//! off the runtime's threads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::ids::TopicPartition;
use controller::vital;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::throttle::Throttle;
use crate::blocking::off_the_runtime;
use crate::clock::Now;
use crate::config::{CleanerConfig, Config};
use crate::hosted::Hosted;
use crate::log::compaction::{Cleanable, Cleaned, CleaningError, CleaningLimits, Locked, Roster, clean};
use crate::log::{Log, LogDirs, LogError};
use crate::partition::Partition;

/// Least memory a cleaner reads and writes with.
const LEAST_IO_BYTES: usize = 4096;

/// All cleaners of a broker.
#[derive(Debug)]
pub(super) struct Cleaners {
    hosted: Arc<Hosted>,
    dirs: Arc<LogDirs>,
    config: watch::Receiver<Arc<Config>>,
    roster: Mutex<Roster>,
    throttle: Mutex<Throttle>,
    stopped: watch::Sender<bool>,
    /// Cleaners that may have a log in hand.
    running: watch::Sender<usize>,
}

impl Locked for Partition {
    fn with<T>(&self, work: impl FnOnce(&mut Log) -> Result<T, LogError>) -> Option<Result<T, LogError>> {
        self.with_log(Now::read(), work)
    }
}

impl Cleaners {
    pub(super) fn new(
        hosted: Arc<Hosted>,
        dirs: Arc<LogDirs>,
        config: watch::Receiver<Arc<Config>>,
    ) -> Cleaners {
        Cleaners {
            hosted,
            dirs,
            config,
            roster: Mutex::default(),
            throttle: Mutex::default(),
            stopped: watch::Sender::new(false),
            running: watch::Sender::new(0),
        }
    }

    /// Keeps as many cleaners at work as are configured, until it is stopped.
    pub(super) async fn run(self: Arc<Self>) {
        if !self.settings().enabled {
            tracing::warn!(
                "log.cleaner.enable is false: topics with cleanup.policy=compact grow without bound"
            );
            return;
        }
        let mut config = self.config.clone();
        let mut workers: BTreeMap<usize, JoinHandle<()>> = BTreeMap::new();
        loop {
            let threads = config.borrow_and_update().cleaner.threads;
            workers.retain(|_, worker| !worker.is_finished());
            for number in 0..threads {
                workers.entry(number).or_insert_with(|| {
                    self.running.send_modify(|running| *running += 1);
                    vital::spawn("log cleaner", Arc::clone(&self).work(number))
                });
            }
            self.wait_for_change(&mut config, Duration::MAX).await;
            if *self.stopped.borrow() {
                return;
            }
        }
    }

    /// Ends all compactions; returns once no cleaner touches a log any more.
    pub(super) async fn stop(&self) {
        self.stopped.send_replace(true);
        // The sender of the count is ours, so that waiting for it cannot fail.
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }

    async fn work(self: Arc<Self>, number: usize) {
        let mut config = self.config.clone();
        while !*self.stopped.borrow() && number < config.borrow_and_update().cleaner.threads {
            let cleaners = Arc::clone(&self);
            let chosen = off_the_runtime(move || cleaners.choose()).await;
            let Some(partition) = chosen else {
                self.wait_for_change(&mut config, self.settings().backoff).await;
                continue;
            };
            let cleaners = Arc::clone(&self);
            let id = partition.id().clone();
            if spawn_blocking(move || cleaners.compact(&partition)).await.is_err() {
                self.give_up(&id, &"its cleaner panicked, which is a bug");
            }
        }
        self.running.send_modify(|running| *running -= 1);
    }

    /// The time is over, the configuration changed, or all is to stop.
    async fn wait_for_change(&self, config: &mut watch::Receiver<Arc<Config>>, at_most: Duration) {
        let mut stopped = self.stopped.subscribe();
        let changed = async {
            if config.changed().await.is_err() {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = changed => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = sleep(at_most) => {}
        }
    }

    /// Takes the dirtiest log. If none is due, compacted logs are at least rid of what retention does not keep.
    fn choose(&self) -> Option<Arc<Partition>> {
        let now = Now::read();
        let compacted: Vec<Arc<Partition>> = self
            .hosted
            .all()
            .into_iter()
            .filter(|partition| partition.config().log.cleanup_policy_compact)
            .collect();
        self.roster().retain(|id| self.hosted.get(id).is_some());
        let dirty: Vec<(TopicPartition, Cleanable)> =
            compacted.iter().filter_map(|partition| self.look_at(partition, now)).collect();
        let chosen = self.roster().take_dirtiest(dirty);
        if let Some(id) = chosen {
            let partition = self.hosted.get(&id);
            if partition.is_none() {
                self.roster().put_off(&id);
            }
            return partition;
        }
        for partition in compacted {
            if let Err(error) = partition.clean_up(now) {
                tracing::debug!(partition = %partition.id(), %error, "retention of a compacted log failed");
            }
        }
        None
    }

    fn look_at(&self, partition: &Partition, now: Now) -> Option<(TopicPartition, Cleanable)> {
        let id = partition.id();
        if !self.roster().is_free(id, now.unix_ms) {
            return None;
        }
        match partition.with_log(now, |log| log.cleanable(now.unix_ms))? {
            Ok(cleanable) => cleanable.map(|cleanable| (id.clone(), cleanable)),
            Err(error) => {
                self.failed(id, error.into());
                None
            }
        }
    }

    fn compact(&self, partition: &Partition) {
        let id = partition.id();
        let begun = Now::read();
        let outcome = clean(partition, self.limits(), begun.unix_ms, &mut |bytes| self.pace(bytes));
        match outcome {
            Ok(cleaned) => {
                if let Some(cleaned) = cleaned {
                    self.dirs.checkpoint_cleaned(&cleaned.dir);
                    tell(&cleaned, begun.monotonic.elapsed());
                }
                self.roster().done(id);
            }
            Err(error) => self.failed(id, error),
        }
    }

    fn failed(&self, id: &TopicPartition, error: CleaningError) {
        match error {
            CleaningError::Superseded | CleaningError::Stopped => {
                tracing::info!(partition = %id, why = %error, "the compaction was broken off");
                self.roster().put_off(id);
            }
            // The whole directory is offline, which is told elsewhere.
            CleaningError::Log(LogError::Storage(_) | LogError::DirOffline { .. }) => {
                self.roster().put_off(id);
            }
            CleaningError::Log(_) | CleaningError::Rebuild { .. } => self.give_up(id, &error),
        }
    }

    fn give_up(&self, id: &TopicPartition, why: &dyn std::fmt::Display) {
        let (pause_ms, uncleanable) = {
            let mut roster = self.roster();
            (roster.failed(id, Now::read().unix_ms), roster.uncleanable().len())
        };
        tracing::error!(
            partition = %id,
            why = %why,
            retry_in_s = pause_ms / 1000,
            uncleanable_partitions = uncleanable,
            "the log cannot be compacted, and grows until it can: nothing is lost, but what is said above must be \
             mended. If another replica is whole, stop this broker, remove the partition's directory and start it \
             again: the replica is fetched anew"
        );
    }

    /// Lets the configured rate pass, and ends the compaction when all is to stop.
    fn pace(&self, bytes: usize) -> ControlFlow<()> {
        let rate = self.config.borrow().cleaner.io_bytes_per_second_max;
        let pause =
            self.throttle.lock().unwrap_or_else(PoisonError::into_inner).done(bytes, rate, Instant::now());
        if !pause.is_zero() {
            let mut stopped = self.stopped.subscribe();
            // Either the pause is over, or all is to stop: looked at below.
            let _ = Handle::current()
                .block_on(async { timeout(pause, stopped.wait_for(|stopped| *stopped)).await.is_ok() });
        }
        if *self.stopped.borrow() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn limits(&self) -> CleaningLimits {
        let settings = self.settings();
        let threads = settings.threads.max(1);
        CleaningLimits {
            dedupe_bytes: settings.dedupe_buffer_bytes / threads,
            load_factor: settings.dedupe_buffer_load_factor,
            io_bytes: (settings.io_buffer_bytes / threads / 2).max(LEAST_IO_BYTES),
            secret: rand::random(),
        }
    }

    fn settings(&self) -> CleanerConfig {
        self.config.borrow().cleaner.clone()
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(cleaned: &Cleaned, took: Duration) {
    tracing::info!(
        partition = %cleaned.partition,
        from = %cleaned.offsets.start,
        to = %cleaned.offsets.end,
        bytes_before = cleaned.bytes_read,
        bytes_after = cleaned.bytes_written,
        records_before = cleaned.records_read,
        records_after = cleaned.records_kept,
        segments_before = cleaned.segments_before,
        segments_after = cleaned.segments_after,
        keys = cleaned.keys,
        dedupe_bytes = cleaned.dedupe_bytes,
        took_ms = took.as_millis(),
        "compacted the log"
    );
    if cleaned.keyless > 0 {
        tracing::warn!(
            partition = %cleaned.partition,
            records = cleaned.keyless,
            "records without a key were dropped: they are from before the topic was compacted"
        );
    }
}
