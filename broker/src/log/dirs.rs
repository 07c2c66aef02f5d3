//! The log directories of a broker (`log.dirs`) and the logs in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::ids::{Offset, TopicPartition, Uuid};
use thiserror::Error;

use super::boot::{self, LastStop};
use super::checkpoint::{CLEANER_OFFSETS, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS};
use super::clean_shutdown;
use super::config::LogConfig;
use super::dir::{LogDir, OnDirFailure};
use super::disk::{Disk, DiskError, DiskLock};
use super::error::LogError;
use super::log::{Log, LogMarks};
use super::meta_properties::{self, IdentityError, MetaProperties};
use super::names::{self, PartitionDir};
use super::recovery::{LoadError, LoadFrom};

const LOCK: &str = ".lock";
/// Closing waits for syncs, of which a disk settles many at once.
const CLOSING_THREADS: usize = 16;

/// How log directories are used.
#[derive(Clone, Debug)]
pub struct LogDirsOptions {
    pub disk: Disk,
    /// `log.dirs`, in order.
    pub paths: Vec<PathBuf>,
    /// `num.recovery.threads.per.data.dir`
    pub recovery_threads: usize,
    /// `log.segment.delete.delay.ms`, for whole partitions.
    pub delete_delay_ms: i64,
}

/// Why a broker cannot start with its log directories.
#[derive(Debug, Error)]
pub enum LogDirsError {
    #[error(
        "Failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using this \
         directory.",
        dir.display()
    )]
    Locked { dir: PathBuf },
    #[error("Shutdown broker because none of the specified log dirs from {} can be created or validated", dirs.join(", "))]
    NoneLeft { dirs: Vec<String> },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "Found directory {}, '{name}' is not in the form of topic-partition or topic-partition.uniqueId-delete (if \
         marked for deletion).\nKafka's log directories (and children) should only contain Kafka topic data.",
        path.display()
    )]
    StrangeDirectory { path: PathBuf, name: String },
    #[error("Duplicate log directories for {partition} are found in both {} and {}", first.display(), second.display())]
    Duplicate { partition: TopicPartition, first: PathBuf, second: PathBuf },
}

/// Why a log cannot be made.
#[derive(Debug, Error)]
pub enum CreateLogError {
    /// The partition may have data in a directory that is offline: an empty log must not take its place.
    #[error("Can not create log for {partition} because log directories {} are offline", offline.join(","))]
    DirsOffline { partition: TopicPartition, offline: Vec<String> },
    #[error("no log directory is left to create the log of {partition} in")]
    NoneLeft { partition: TopicPartition },
}

/// All log directories, locked for this process.
///
/// Logs loaded at start wait here until their partition takes them ([`LogDirs::take`]). The checkpoints cover the
/// waiting ones by themselves; of the others the caller gives the marks.
#[derive(Debug)]
pub struct LogDirs {
    options: LogDirsOptions,
    dirs: Vec<Held>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Held {
    dir: Arc<LogDir>,
    /// Taken away at a clean shutdown.
    lock: Mutex<Option<DiskLock>>,
    meta_properties: Option<MetaProperties>,
}

#[derive(Debug, Default)]
struct State {
    /// Loaded and not yet taken.
    waiting: BTreeMap<TopicPartition, Log>,
    /// Where each log is, taken or not.
    homes: BTreeMap<TopicPartition, PathBuf>,
    /// Directories whose logs were all loaded: only there a shutdown can be a clean one.
    loaded: BTreeSet<PathBuf>,
}

/// A partition's directory that was found.
struct Found {
    partition: TopicPartition,
    from: LoadFrom,
}

impl LogDirs {
    /// Makes missing directories, locks all, and reads to whom they belong. A directory that cannot be used is
    /// offline from the start.
    pub fn open(options: LogDirsOptions, on_failure: OnDirFailure) -> Result<LogDirs, LogDirsError> {
        let mut dirs = Vec::with_capacity(options.paths.len());
        for path in &options.paths {
            let dir = LogDir::new(path.clone(), options.disk.clone(), Arc::clone(&on_failure));
            let mut held = Held { dir, lock: Mutex::new(None), meta_properties: None };
            match open_dir(&options.disk, path) {
                Ok(Some((lock, meta_properties))) => {
                    held.lock = Mutex::new(Some(lock));
                    held.meta_properties = meta_properties;
                }
                Ok(None) => return Err(LogDirsError::Locked { dir: path.clone() }),
                Err(why) => held.dir.fail(&why),
            }
            dirs.push(held);
        }
        let dirs = LogDirs { options, dirs, state: Mutex::default() };
        dirs.check_any_online()?;
        Ok(dirs)
    }

    /// Checks that the directories belong to this cluster and to one broker, and says which: the configured one, or
    /// the one that they name.
    pub fn verify_identity(
        &self,
        cluster_id: &str,
        configured_broker_id: Option<i32>,
    ) -> Result<Option<i32>, LogDirsError> {
        let found =
            self.dirs.iter().filter_map(|held| Some((held.dir.path(), held.meta_properties.as_ref()?)));
        Ok(meta_properties::verify(found, cluster_id, configured_broker_id)?)
    }

    /// A file that is locked for this process until a clean shutdown or its end.
    pub fn locked_file(&self) -> Option<PathBuf> {
        let is_locked = |held: &&Held| held.lock.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        self.dirs.iter().find(is_locked).map(|held| held.dir.path().join(LOCK))
    }

    /// Writes `meta.properties` where it is missing or says less.
    pub fn write_identity(&self, cluster_id: &str, broker_id: i32, now_ms: i64) -> Result<(), LogDirsError> {
        for held in self.online_held() {
            let (path, present) = (held.dir.path(), held.meta_properties.as_ref());
            let written =
                meta_properties::write(&self.options.disk, path, present, cluster_id, broker_id, now_ms);
            if let Err(error) = written {
                held.dir.fail(&error);
            }
        }
        self.check_any_online()
    }

    /// What the last stop may have cost, by the present boot of the machine. To be asked before [`LogDirs::load`],
    /// which takes the marks of clean shutdowns away.
    pub fn last_stop(&self, boot: &str) -> LastStop {
        let stops =
            self.online_held().map(|held| match boot::last_stop(&self.options.disk, held.dir.path(), boot) {
                Ok(stop) => stop,
                Err(error) => {
                    held.dir.fail(&error);
                    LastStop::Untold
                }
            });
        stops.max().unwrap_or(LastStop::Harmless)
    }

    /// Notes the present boot, once the cluster knows what the last stop may have cost.
    pub fn note_boot(&self, boot: &str) -> Result<(), LogDirsError> {
        for held in self.online_held() {
            if let Err(error) = boot::note(&self.options.disk, held.dir.path(), boot) {
                held.dir.fail(&error);
            }
        }
        self.check_any_online()
    }

    /// Loads all logs, in parallel; returns their partitions. Logs wait to be taken by [`LogDirs::take`].
    pub fn load(
        &self,
        config_of: &(dyn Fn(&str) -> LogConfig + Sync),
        jitter_seed: u64,
        now_ms: i64,
    ) -> Result<Vec<TopicPartition>, LogDirsError> {
        let mut online = self.online_held();
        let first = online.next();
        let load = |held: &Held| self.load_dir(&held.dir, config_of, jitter_seed, now_ms);
        std::thread::scope(|scope| {
            // This thread takes part.
            let others: Vec<_> = online.map(|held| scope.spawn(move || load(held))).collect();
            first.map_or(Ok(()), load)?;
            others.into_iter().try_for_each(|load| match load.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        self.check_any_online()?;
        // What a log gets in the place of what it lost is neither on all replicas in sync until they have it, nor
        // flushed. Kafka corrects the files after `replica.high.watermark.checkpoint.interval.ms` and
        // `log.flush.offset.checkpoint.interval.ms`.
        if self.is_known_beyond(HIGH_WATERMARKS, Log::high_watermark) {
            self.checkpoint_high_watermarks(&[]);
        }
        if self.is_known_beyond(RECOVERY_POINTS, Log::recovery_point) {
            self.checkpoint_recovery_points(&[]);
        }
        Ok(self.state().waiting.keys().cloned().collect())
    }

    /// Whether a directory's checkpoint says more of a log than can be so of what was loaded.
    fn is_known_beyond(&self, name: &'static str, offset_of: impl Fn(&Log) -> Offset) -> bool {
        self.state().waiting.iter().any(|(partition, log)| {
            let known = log.dir().checkpoints().get(name, partition);
            known.is_some_and(|known| known > offset_of(log))
        })
    }

    fn load_dir(
        &self,
        dir: &Arc<LogDir>,
        config_of: &(dyn Fn(&str) -> LogConfig + Sync),
        jitter_seed: u64,
        now_ms: i64,
    ) -> Result<(), LogDirsError> {
        let found = match self.find_logs(dir, now_ms)? {
            Ok(found) => found,
            Err(error) => {
                dir.fail(&error);
                return Ok(());
            }
        };
        let count = found.len();
        let clean = found.first().is_none_or(|found| found.from.clean);
        let queue = Mutex::new(found.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some(Found { partition, from }) = next()
                && !dir.is_offline()
            {
                let config = config_of(&partition.topic);
                match Log::load(dir, partition.clone(), config, from, jitter_seed, now_ms) {
                    Ok(log) => drop(self.state().waiting.insert(partition, log)),
                    Err(error) => dir.fail(&format_args!("cannot load the log of {partition}: {error}")),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.options.recovery_threads.clamp(1, count.max(1)) {
                scope.spawn(work);
            }
            work();
        });
        if dir.is_offline() {
            self.forget_dir(dir);
        } else {
            self.state().loaded.insert(dir.path().to_path_buf());
            tracing::info!(dir = %dir.path().display(), logs = count, clean, "loaded the logs of a directory");
        }
        Ok(())
    }

    fn forget_dir(&self, dir: &LogDir) {
        let mut state = self.state();
        state.waiting.retain(|_, log| log.dir().path() != dir.path());
        state.homes.retain(|_, home| home != dir.path());
    }

    /// The outer error ends the start, the inner one takes the directory offline.
    #[allow(clippy::type_complexity, reason = "two kinds of failure that end differently")]
    fn find_logs(&self, dir: &LogDir, now_ms: i64) -> Result<Result<Vec<Found>, LoadError>, LogDirsError> {
        let disk = &self.options.disk;
        let listed = match disk.list(dir.path()) {
            Ok(listed) => listed,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut live = Vec::new();
        for entry in listed.into_iter().filter(|entry| entry.is_dir) {
            let path = dir.path().join(&entry.name);
            match PartitionDir::parse(&entry.name) {
                Some(PartitionDir::Live(partition)) => live.push(partition),
                Some(PartitionDir::Deleted) => {
                    dir.doom(path, true, now_ms.saturating_add(self.options.delete_delay_ms));
                }
                Some(kind @ (PartitionDir::Future | PartitionDir::Stray)) => {
                    tracing::warn!(path = %path.display(), ?kind, "leaving alone a directory that no partition uses");
                }
                None => return Err(LogDirsError::StrangeDirectory { path, name: entry.name }),
            }
        }
        for partition in &live {
            let home = dir.path().to_path_buf();
            if let Some(first) = self.state().homes.insert(partition.clone(), home.clone()) {
                return Err(LogDirsError::Duplicate { partition: partition.clone(), first, second: home });
            }
        }
        Ok(self.read_checkpoints(dir, live))
    }

    fn read_checkpoints(&self, dir: &LogDir, live: Vec<TopicPartition>) -> Result<Vec<Found>, LoadError> {
        let disk = &self.options.disk;
        let clean = clean_shutdown::take(disk, dir.path())?;
        let mut offsets = BTreeMap::new();
        for name in [RECOVERY_POINTS, LOG_STARTS, HIGH_WATERMARKS, CLEANER_OFFSETS] {
            offsets.insert(name, dir.checkpoints().read(name)?);
        }
        let offset_of = |name, partition: &TopicPartition| {
            let known = offsets.get(name).and_then(|offsets| offsets.get(partition));
            known.copied().unwrap_or(Offset(0))
        };
        let found = live.into_iter().map(|partition| {
            let from = LoadFrom {
                log_start: offset_of(LOG_STARTS, &partition),
                recovery_point: offset_of(RECOVERY_POINTS, &partition),
                high_watermark: offset_of(HIGH_WATERMARKS, &partition),
                clean,
            };
            Found { partition, from }
        });
        Ok(found.collect())
    }

    /// Hands a log that was loaded at start over to its partition.
    pub fn take(&self, partition: &TopicPartition) -> Option<Log> {
        self.state().waiting.remove(partition)
    }

    /// The topic's id by what its logs that nobody took yet say (`partition.metadata`).
    pub fn waiting_topic_id(&self, topic: &str) -> Option<Uuid> {
        let state = self.state();
        let from = TopicPartition::new(topic, 0);
        let mut logs = state.waiting.range(from..).take_while(|(partition, _)| &*partition.topic == topic);
        logs.find_map(|(_, log)| log.topic_id())
    }

    /// Partitions whose loaded logs nobody took.
    pub fn waiting(&self) -> Vec<TopicPartition> {
        self.state().waiting.keys().cloned().collect()
    }

    /// Makes an empty log in the online directory that has the fewest. `is_new` says that the partition never had
    /// a log on this broker; otherwise an offline directory may hold it, and nothing is made.
    pub fn create(
        &self,
        partition: &TopicPartition,
        config: LogConfig,
        topic_id: Option<Uuid>,
        is_new: bool,
        jitter_seed: u64,
        now_ms: i64,
    ) -> Result<Log, CreateLogError> {
        let offline = self.offline();
        if !is_new && !offline.is_empty() {
            return Err(CreateLogError::DirsOffline { partition: partition.clone(), offline });
        }
        while let Some(dir) = self.claim_emptiest(partition) {
            match self.create_in(&dir, partition, config.clone(), topic_id, jitter_seed, now_ms) {
                Ok(log) => {
                    tracing::info!(%partition, dir = %dir.path().display(), "created the log");
                    return Ok(log);
                }
                Err(error) => {
                    self.state().homes.remove(partition);
                    dir.fail(&error);
                }
            }
        }
        Err(CreateLogError::NoneLeft { partition: partition.clone() })
    }

    fn create_in(
        &self,
        dir: &Arc<LogDir>,
        partition: &TopicPartition,
        config: LogConfig,
        topic_id: Option<Uuid>,
        jitter_seed: u64,
        now_ms: i64,
    ) -> Result<Log, LoadError> {
        self.scrub_checkpoints(dir, partition)?;
        self.options.disk.create_dir_all(&dir.path().join(partition.to_string()))?;
        let mut log = Log::load(dir, partition.clone(), config, LoadFrom::NOTHING, jitter_seed, now_ms)?;
        if let Some(topic_id) = topic_id.filter(|id| log.topic_id() != Some(*id)) {
            log.set_topic_id(topic_id)?;
        }
        Ok(log)
    }

    /// What the checkpoints say of an earlier partition of the same name must not be taken for this one.
    fn scrub_checkpoints(&self, dir: &LogDir, partition: &TopicPartition) -> Result<(), DiskError> {
        let _state = self.state();
        dir.checkpoints().scrub(partition)
    }

    /// The online directory with the fewest logs, which counts the partition from now on: logs are
    /// made in parallel, and must not all find the same one emptiest.
    fn claim_emptiest(&self, partition: &TopicPartition) -> Option<Arc<LogDir>> {
        let mut state = self.state();
        let logs = |held: &&Held| state.homes.values().filter(|home| *home == held.dir.path()).count();
        let dir = Arc::clone(&self.online_held().min_by_key(logs)?.dir);
        state.homes.insert(partition.clone(), dir.path().to_path_buf());
        Some(dir)
    }

    /// Gives up a log: its directory is renamed at once and removed after the delay. `unique` is a random id.
    pub fn delete(&self, log: Log, unique: Uuid, now_ms: i64) -> Result<(), LogError> {
        let dir = Arc::clone(log.dir());
        let partition = log.partition().clone();
        {
            // Under the lock, so that a checkpoint is written either before, and scrubbed by a successor, or without it.
            let mut state = self.state();
            state.homes.remove(&partition);
            log.deleted.store(true, Ordering::Release);
        }
        dir.check_online()?;
        let doomed = dir.path().join(names::deleted(&partition, unique));
        let path = log.path().to_path_buf();
        // Its open files go first: the directory below them changes its name.
        log.epochs.end();
        drop(log);
        let disk = &self.options.disk;
        let renamed = disk.rename(&path, &doomed).and_then(|()| disk.sync_dir(dir.path()));
        dir.note(renamed.map_err(LogError::from))?;
        tracing::info!(%partition, path = %doomed.display(), "log is to be deleted");
        dir.doom(doomed, true, now_ms.saturating_add(self.options.delete_delay_ms));
        Ok(())
    }

    /// Removes files and directories whose delay is over; returns how many.
    pub fn tick(&self, now_ms: i64) -> usize {
        self.dirs.iter().map(|held| held.dir.remove_due(now_ms)).sum()
    }

    /// Writes `replication-offset-checkpoint`. `taken` are the marks of all logs that were taken or created.
    pub fn checkpoint_high_watermarks(&self, taken: &[LogMarks]) {
        self.checkpoint(HIGH_WATERMARKS, taken, |marks, known| {
            Some(if marks.was_cut_since() { marks.high_watermark.min(known?) } else { marks.high_watermark })
        });
    }

    /// Writes `recovery-point-offset-checkpoint`.
    pub fn checkpoint_recovery_points(&self, taken: &[LogMarks]) {
        self.checkpoint(RECOVERY_POINTS, taken, |marks, known| {
            Some(if marks.was_cut_since() { marks.recovery_point.min(known?) } else { marks.recovery_point })
        });
    }

    /// Writes `log-start-offset-checkpoint`: only starts that the segments do not tell.
    pub fn checkpoint_log_starts(&self, taken: &[LogMarks]) {
        self.checkpoint(LOG_STARTS, taken, |marks, _| {
            (marks.start > marks.first_segment).then_some(marks.start)
        });
    }

    /// Writes `cleaner-offset-checkpoint` of a directory, without partitions that are no longer in it.
    pub fn checkpoint_cleaned(&self, dir: &LogDir) {
        let state = self.state();
        let is_here =
            |partition: &TopicPartition| state.homes.get(partition).is_some_and(|home| home == dir.path());
        if let Err(error) = dir.checkpoints().write_noted(CLEANER_OFFSETS, is_here) {
            dir.fail(&error);
        }
    }

    fn checkpoint(
        &self,
        name: &'static str,
        taken: &[LogMarks],
        offset_of: impl Fn(&LogMarks, Option<Offset>) -> Option<Offset>,
    ) {
        let state = self.state();
        let waiting: Vec<LogMarks> = state.waiting.values().map(Log::marks).collect();
        for held in self.online_held() {
            let here = waiting.iter().chain(taken).filter(|marks| Arc::ptr_eq(&marks.dir, &held.dir));
            // A log deleted since its marks were taken is not to come back, nor to speak for its successor.
            let here = here.filter(|marks| !marks.deleted.load(Ordering::Acquire));
            let written = held.dir.checkpoints().update(name, |known| {
                let offset_of = |marks: &LogMarks| offset_of(marks, known.get(&marks.partition).copied());
                here.filter_map(|marks| Some((marks.partition.clone(), offset_of(marks)?))).collect()
            });
            if let Err(error) = written {
                held.dir.fail(&error);
            }
        }
    }

    /// Closes all logs and leaves the directories so that the next start need not recover anything. `taken` are all
    /// logs that were taken or created; a directory one of whose logs is missing counts as not cleanly stopped.
    pub fn close(&self, taken: Vec<Log>) {
        let waiting = std::mem::take(&mut self.state().waiting);
        let logs: Vec<Log> = taken.into_iter().chain(waiting.into_values()).collect();
        let marks = close_logs(logs);
        self.checkpoint_recovery_points(&marks);
        self.checkpoint_log_starts(&marks);
        self.checkpoint_high_watermarks(&marks);
        for held in self.online_held() {
            let closed = marks.iter().filter(|marks| Arc::ptr_eq(&marks.dir, &held.dir)).count();
            let state = self.state();
            let known = state.homes.values().filter(|home| *home == held.dir.path()).count();
            if closed < known || !state.loaded.contains(held.dir.path()) {
                tracing::warn!(
                    dir = %held.dir.path().display(),
                    closed,
                    known,
                    "not all logs were closed: the next start will recover this directory"
                );
                continue;
            }
            drop(state);
            if let Err(error) = self.close_dir(held) {
                held.dir.fail(&error);
            }
        }
    }

    fn close_dir(&self, held: &Held) -> Result<(), DiskError> {
        clean_shutdown::leave(&self.options.disk, held.dir.path())?;
        let lock = held.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.options.disk.remove_file(&held.dir.path().join(LOCK))?;
        drop(lock);
        Ok(())
    }

    /// All directories, in the order of `log.dirs`.
    pub fn dirs(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.dirs.iter().map(|held| &held.dir)
    }

    /// Paths of the directories that failed.
    pub fn offline(&self) -> Vec<String> {
        let offline = self.dirs.iter().filter(|held| held.dir.is_offline());
        offline.map(|held| held.dir.path().display().to_string()).collect()
    }

    pub fn any_online(&self) -> bool {
        self.online_held().next().is_some()
    }

    fn check_any_online(&self) -> Result<(), LogDirsError> {
        match self.any_online() {
            true => Ok(()),
            false => Err(LogDirsError::NoneLeft { dirs: self.offline() }),
        }
    }

    fn online_held(&self) -> impl Iterator<Item = &Held> {
        self.dirs.iter().filter(|held| !held.dir.is_offline())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None`: another process holds the lock.
fn open_dir(disk: &Disk, path: &Path) -> Result<Option<(DiskLock, Option<MetaProperties>)>, String> {
    disk.create_dir_all(path).map_err(|e| e.to_string())?;
    let Some(lock) = disk.lock(&path.join(LOCK)).map_err(|e| e.to_string())? else { return Ok(None) };
    let meta_properties = meta_properties::read(disk, path).map_err(|e| e.to_string())?;
    Ok(Some((lock, meta_properties)))
}

/// Closes logs in parallel: each may have much to sync. Returns the marks of those that could be closed.
fn close_logs(logs: Vec<Log>) -> Vec<LogMarks> {
    let count = logs.len();
    let queue = Mutex::new(logs.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let closed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CLOSING_THREADS.min(count) {
            scope.spawn(|| {
                while let Some(log) = next() {
                    let partition = log.partition().clone();
                    match log.close() {
                        Ok(marks) => closed.lock().unwrap_or_else(PoisonError::into_inner).push(marks),
                        Err(error) => tracing::error!(%partition, %error, "cannot close the log"),
                    }
                }
            });
        }
    });
    closed.into_inner().unwrap_or_else(PoisonError::into_inner)
}
