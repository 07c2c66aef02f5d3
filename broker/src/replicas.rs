//! The replicas on this broker: which partitions it hosts, in which role the controller wants
//! them, and all that has to happen to them from time to time.
//!
//! Requests of controllers are handled one at a time, in the order they came, off the runtime's
//! threads since they make, recover and delete files. Everything else only looks partitions up.

mod assign;
mod cleaner;
mod housekeeping;
mod logs;
mod orders;
mod stop;
mod throttle;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::ids::{BrokerId, TopicPartition, Uuid};
use controller::vital;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use self::cleaner::Cleaners;
pub use self::orders::{Host, Naming, Order, StopOrder};
use crate::blocking::off_the_runtime;
use crate::clock::Now;
use crate::cluster_view::ClusterView;
use crate::config::{Config, LogDirsConfig, ReplicationConfig};
use crate::control_fence::ControlFence;
use crate::fetcher::Fetchers;
use crate::hosted::Hosted;
use crate::isr_channel::IsrChannel;
use crate::log::LogDirs;
use crate::partition::{Partition, Surroundings, TopicConfig};
use crate::spell::Spell;

/// Gives the present configuration of a topic.
pub type TopicConfigs = Arc<dyn Fn(&str) -> Arc<TopicConfig> + Send + Sync>;

/// What the replicas stand on.
pub struct ReplicasParts {
    pub me: BrokerId,
    pub replication: ReplicationConfig,
    pub log_dirs: LogDirsConfig,
    /// The broker's configuration, for what may change while it runs.
    pub config: watch::Receiver<Arc<Config>>,
    /// `controller.socket.timeout.ms`
    pub controller_timeout: Duration,
    pub fence: Arc<ControlFence>,
    pub view: ClusterView,
    pub topic_configs: TopicConfigs,
    /// All directories, their logs loaded.
    pub dirs: Arc<LogDirs>,
    /// Where the directories' failure callback sends their paths.
    pub failed_dirs: mpsc::UnboundedReceiver<PathBuf>,
}

/// A log directory failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirFailure {
    pub dir: PathBuf,
    /// None is left: the broker cannot go on.
    pub last: bool,
}

/// All replicas of this broker.
pub struct Replicas {
    me: BrokerId,
    replication: ReplicationConfig,
    log_dirs: LogDirsConfig,
    fence: Arc<ControlFence>,
    topic_configs: TopicConfigs,
    around: Arc<Surroundings>,
    hosted: Arc<Hosted>,
    dirs: Arc<LogDirs>,
    fetchers: Fetchers,
    cleaners: Arc<Cleaners>,
    /// Held while a controller's request is carried out.
    control: Arc<tokio::sync::Mutex<()>>,
    /// Whether a LeaderAndIsr was carried out: before, the checkpoint files know more than we do.
    assigned: watch::Sender<bool>,
    /// Counts the controller's requests that were carried out.
    orders: watch::Sender<u64>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl std::fmt::Debug for ReplicasParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicasParts")
            .field("me", &self.me)
            .field("dirs", &self.dirs)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicas").field("me", &self.me).field("hosted", &self.hosted).finish_non_exhaustive()
    }
}

impl Replicas {
    /// Starts the tasks that replicate and keep house, on the runtime it is called in. What fails in the directories is told to
    /// `dir_failures`.
    pub fn start(parts: ReplicasParts, dir_failures: mpsc::UnboundedSender<DirFailure>) -> Arc<Replicas> {
        let ReplicasParts {
            me,
            replication,
            log_dirs,
            config,
            controller_timeout,
            fence,
            view,
            topic_configs,
            dirs,
            failed_dirs,
        } = parts;
        let (proposals, proposed) = mpsc::unbounded_channel();
        let around = Surroundings { me, lag_max: replication.lag_max, view: view.clone(), proposals };
        let hosted = Arc::new(Hosted::default());
        let isr_channel = IsrChannel {
            me,
            fence: Arc::clone(&fence),
            hosted: Arc::clone(&hosted),
            view: view.clone(),
            proposals: proposed,
            timeout: controller_timeout,
            refused: Spell::default(),
        };
        let cleaners = Arc::new(Cleaners::new(Arc::clone(&hosted), Arc::clone(&dirs), config));
        let replicas = Arc::new(Replicas {
            me,
            fetchers: Fetchers::new(me, Arc::clone(&fence), view, replication.clone()),
            replication,
            log_dirs,
            fence,
            topic_configs,
            around: Arc::new(around),
            hosted,
            dirs,
            cleaners,
            control: Arc::new(tokio::sync::Mutex::new(())),
            assigned: watch::Sender::new(false),
            orders: watch::Sender::new(0),
            tasks: Mutex::new(Vec::new()),
        });
        let all = || Arc::clone(&replicas);
        let tasks = [
            vital::spawn("isr channel", isr_channel.run()),
            vital::spawn("watch brokers", all().watch_brokers()),
            vital::spawn("watch lag", all().watch_lag()),
            vital::spawn("checkpoint watermarks", all().checkpoint_watermarks()),
            vital::spawn("checkpoint recovery points", all().checkpoint_recovery_points()),
            vital::spawn("checkpoint log starts", all().checkpoint_log_starts()),
            vital::spawn("enforce retention", all().enforce_retention()),
            vital::spawn("expire producers", all().expire_producers()),
            vital::spawn("flush", all().flush()),
            vital::spawn("remove files", all().remove_files()),
            vital::spawn("log cleaners", Arc::clone(&replicas.cleaners).run()),
            vital::spawn("watch dirs", all().watch_dirs(failed_dirs, dir_failures)),
        ];
        *replicas.tasks() = tasks.iter().map(tokio::task::JoinHandle::abort_handle).collect();
        replicas
    }

    /// The partition, if this broker hosts it.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        self.hosted.find(topic, partition)
    }

    /// All partitions of this broker, in order.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.hosted.all()
    }

    /// What this broker leads, in order.
    pub fn led(&self) -> Vec<TopicPartition> {
        let led = self.partitions().into_iter().filter(|partition| partition.status().is_leader());
        led.map(|partition| partition.id().clone()).collect()
    }

    /// The id of a topic that has a replica here, by what is on disk.
    pub fn topic_id(&self, topic: &str) -> Option<Uuid> {
        let hosted = self.hosted.of_topic(topic).into_iter().map(|partition| partition.topic_id());
        hosted.chain(self.dirs.waiting_topic_id(topic)).find(|id| !id.is_zero())
    }

    /// All partitions of a topic that this broker hosts, in order.
    pub fn partitions_of(&self, topic: &str) -> Vec<Arc<Partition>> {
        self.hosted.of_topic(topic)
    }

    /// Wakes after a controller's request that may have changed roles.
    pub fn role_changes(&self) -> watch::Receiver<u64> {
        self.orders.subscribe()
    }

    /// Takes a topic's changed configuration over.
    pub fn topic_config_changed(&self, topic: &str) {
        let config = (self.topic_configs)(topic);
        for partition in self.hosted.of_topic(topic) {
            partition.configure(Arc::clone(&config), Now::read());
        }
    }

    /// Follows no more leaders than it does: this broker is about to stop, and leaders would wait for it.
    pub fn retire(&self) {
        self.fetchers.retire();
    }

    /// Stops serving and leaves the logs as a cleanly stopped broker does.
    pub async fn shut_down(self: &Arc<Self>) {
        let turn = self.control.lock().await;
        self.fetchers.stop_all();
        self.cleaners.stop().await;
        for task in self.tasks().drain(..) {
            task.abort();
        }
        let replicas = Arc::clone(self);
        off_the_runtime(move || replicas.close_logs()).await;
        drop(turn);
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<AbortHandle>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
