//! A broker's life: how its parts are put together at the start, and taken apart at the end.
//!
//! The order of the start is Kafka's (`KafkaServer.startup`) but for the listening sockets, which are opened before
//! the registration: an address that is taken is found out before anybody counts on this broker, and whoever
//! connects early waits in the backlog rather than being refused.

mod ensemble;
mod handover;
mod last_stop;
mod parts;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::ids::BrokerId;
use client::zk::{Session, ZkConfig, ZkError};
use client::znode::config::Overrides;
use client::znode::directories;
use controller::{Controller, ControllerConfig, ControllerHandle, ControllerParts, vital};
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::ensemble::Ensemble;
use crate::admin::{Admin, AdminParts};
use crate::api::{Context, dispatch};
use crate::clock::Now;
use crate::cluster_identity::{ClusterIdError, cluster_id, generate_broker_id};
use crate::cluster_view::ClusterView;
use crate::config::Config;
use crate::control_fence::ControlFence;
use crate::coordinator::{Coordinator, CoordinatorParts};
use crate::dynamic_config::{ConfigChange, DynamicConfig, changes};
use crate::fetch_session::FetchSessions;
use crate::log::{LogDirs, LogDirsError};
use crate::membership::{self, JoinError, Membership};
use crate::metadata::MetadataCache;
use crate::offsets::{OffsetStore, OffsetStoreParts};
use crate::producer_ids::{BlockFetcher, ProducerIds};
use crate::replicas::{DirFailure, Replicas, ReplicasParts};
use crate::server::{BindError, Bound, Server};

/// How long requests under way may take to finish once the broker stops.
const GRACE: Duration = Duration::from_secs(5);

/// Why a broker does not start, or stops by itself.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("{0}. Is ZooKeeper running, and does zookeeper.connect name it?")]
    ZooKeeper(#[from] ZkError),
    #[error(transparent)]
    ClusterId(#[from] ClusterIdError),
    #[error(transparent)]
    LogDirs(#[from] LogDirsError),
    #[error("the address of listener {listener}, {address}, cannot be resolved: {source}")]
    Address { listener: String, address: String, source: io::Error },
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the addresses of the listeners cannot be read: {0}")]
    BoundAddress(io::Error),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("the last log directory, {}, failed: there is nothing left to serve from", dir.display())]
    NoLogDirLeft { dir: PathBuf },
    #[error("a thread of the start panicked; this is a bug: {0}")]
    Panicked(tokio::task::JoinError),
    #[error("told to stop before it served")]
    StoppedEarly,
}

impl BrokerError {
    /// What ZooKeeper has to do with it.
    fn zookeeper(&self) -> Option<&ZkError> {
        match self {
            BrokerError::ZooKeeper(error)
            | BrokerError::ClusterId(ClusterIdError::Zk(error))
            | BrokerError::Join(JoinError::Zk(error)) => Some(error),
            _ => None,
        }
    }
}

/// Runs a broker until `stop` completes, or until it cannot go on.
///
/// Boxed, so that the whole of it is compiled with this crate and not again with each program.
pub fn run(config: Config, stop: BoxFuture<'static, ()>) -> BoxFuture<'static, Result<(), BrokerError>> {
    Box::pin(run_until(config, stop))
}

async fn run_until(config: Config, mut stop: BoxFuture<'static, ()>) -> Result<(), BrokerError> {
    let (mut broker, mut failures) = match Broker::start(config, &mut stop).await {
        Err(stopped @ BrokerError::StoppedEarly) => {
            tracing::info!("{stopped}");
            return Ok(());
        }
        started => started?,
    };
    let lost = tokio::select! {
        () = stop => None,
        lost = last_dir(&mut failures, &broker.membership, broker.id) => Some(lost),
    };
    match lost {
        None => {
            broker.stop().await;
            Ok(())
        }
        Some(dir) => {
            broker.abandon().await;
            Err(BrokerError::NoLogDirLeft { dir })
        }
    }
}

/// A broker that serves.
#[derive(Debug)]
struct Broker {
    id: BrokerId,
    config: Arc<Config>,
    membership: Membership,
    view: ClusterView,
    replicas: Arc<Replicas>,
    coordinator: Arc<Coordinator>,
    offsets: Arc<OffsetStore>,
    controller: ControllerHandle,
    fence: Arc<ControlFence>,
    server: Option<Server>,
    tasks: Vec<JoinHandle<()>>,
}

impl Broker {
    async fn start(
        config: Config,
        stop: &mut BoxFuture<'static, ()>,
    ) -> Result<(Broker, mpsc::UnboundedReceiver<DirFailure>), BrokerError> {
        let started = Now::read();
        let zk = zk_config(&config);
        let offsets_zk = zk.clone();
        let mut ensemble = Ensemble::join(zk.clone(), stop).await?;
        let cluster_id = ensemble.step(join_cluster).await?;
        tracing::info!(cluster_id, "ZooKeeper answers");

        let (failed, failed_dirs) = mpsc::unbounded_channel();
        let (dirs, id) = open_dirs(&config, &mut ensemble, &cluster_id, failed).await?;
        last_stop::tell(&dirs, &mut ensemble, id).await?;
        let (dynamic, config_changes) = DynamicConfig::new(config);
        let configured = &dynamic;
        ensemble.step(async |session| Ok(changes::load(configured, &session, id).await?)).await?;
        let config = dynamic.broker();
        let dirs = parts::load_logs(dirs, &dynamic, started).await?;

        let bound = parts::bind(&config).await?;
        let addresses = bound.addresses().map_err(BrokerError::BoundAddress)?;
        let identity = parts::identity(&config, id, &addresses, &dirs);

        let metadata = Arc::new(MetadataCache::new());
        let fence = Arc::new(ControlFence::default());
        let view = ClusterView::new(&metadata, config.network.inter_broker_listener.as_str().into());
        let (dir_failures, failures) = mpsc::unbounded_channel();
        let replicas = Replicas::start(
            ReplicasParts {
                me: id,
                replication: config.replication.clone(),
                log_dirs: config.log.clone(),
                config: dynamic.watch_broker(),
                controller_timeout: config.controller.socket_timeout,
                fence: Arc::clone(&fence),
                view: view.clone(),
                topic_configs: parts::topic_configs(&dynamic),
                dirs: Arc::clone(&dirs),
                failed_dirs,
            },
            dir_failures,
        );

        let registered = {
            let fence = Arc::clone(&fence);
            move |epoch| fence.registered(epoch)
        };
        let to_register = &identity;
        let first =
            ensemble.step(async |session| Ok(membership::register(&session, to_register).await?)).await?;
        let membership = Membership::of(ensemble.into_session(), first, zk.clone(), identity, registered);
        let controller = Controller::spawn(ControllerParts {
            config: controller_config(&config, id),
            sessions: membership.sessions(),
            watches: zk,
            remembered_topic_ids: remembered_topic_ids(&metadata, &replicas),
        });
        let admin = Admin::new(AdminParts {
            me: id,
            cluster_id: cluster_id.into(),
            config: Arc::clone(&dynamic),
            metadata: Arc::clone(&metadata),
            controller: controller.clone(),
            fence: Arc::clone(&fence),
            sessions: membership.sessions(),
        });
        let producer_ids = Arc::new(ProducerIds::default());
        let offsets = Arc::new(OffsetStore::new(OffsetStoreParts {
            me: id,
            zk: offsets_zk,
            patience: config.groups.append_timeout,
        }));
        let coordinator = Coordinator::start(CoordinatorParts {
            offsets: Arc::clone(&offsets),
            config: config.groups.clone(),
            metadata: Arc::clone(&metadata),
            replicas: Arc::clone(&replicas),
        });
        let context = Arc::new(Context {
            config: Arc::clone(&config),
            metadata: Arc::clone(&metadata),
            replicas: Arc::clone(&replicas),
            admin,
            coordinator: Arc::clone(&coordinator),
            fetch_sessions: FetchSessions::new(config.network.fetch_sessions_max),
            producer_ids: Arc::clone(&producer_ids),
        });
        let server = serve(bound, context);
        let blocks = BlockFetcher {
            me: id,
            fence: Arc::clone(&fence),
            view: view.clone(),
            timeout: config.controller.socket_timeout,
        };
        let tasks = vec![
            blocks.spawn(producer_ids),
            vital::spawn("follow config", follow_config(Arc::clone(&dynamic), membership.sessions(), id)),
            vital::spawn(
                "obey config",
                obey_config(config_changes, dynamic, Arc::clone(&replicas), controller.clone()),
            ),
        ];
        tracing::info!(broker = %id, took_ms = Now::read().unix_ms - started.unix_ms, "serving");
        let broker = Broker {
            id,
            config,
            membership,
            view,
            replicas,
            coordinator,
            offsets,
            controller,
            fence,
            server: Some(server),
            tasks,
        };
        Ok((broker, failures))
    }

    /// The orderly end: leaderships move first, then nothing is served any more, the logs are closed so that the next
    /// start need not check them, and the registration goes last.
    async fn stop(&mut self) {
        self.replicas.retire();
        if self.config.shutdown.controlled {
            handover::hand_over(&self.config, self.id, &self.view, &self.fence, &self.replicas).await;
        }
        // A broker that serves no more is a dead one to the others, and should not come back.
        self.membership.retire();
        self.end_service().await;
        self.replicas.shut_down().await;
        self.membership.leave().await;
        tracing::info!("stopped");
    }

    /// The end when there is nothing left to hand over: others take over once the registration is gone.
    async fn abandon(&mut self) {
        self.membership.leave().await;
        self.end_service().await;
    }

    async fn end_service(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // Answers those that wait for their groups, so that the server need not wait for them.
        self.coordinator.stop();
        self.offsets.close().await;
        if let Some(server) = self.server.take() {
            server.shutdown(GRACE).await;
        }
        self.controller.shutdown().await;
    }
}

fn zk_config(config: &Config) -> ZkConfig {
    let zookeeper = &config.zookeeper;
    ZkConfig {
        connect: zookeeper.connect.clone(),
        session_timeout: zookeeper.session_timeout,
        connection_timeout: zookeeper.connection_timeout,
        operation_timeout: zookeeper.session_timeout,
        // Kafka's 10 is what makes its failover slow; what is asked for is a lower bound here.
        max_in_flight: zookeeper.in_flight_requests_max.max(512),
    }
}

async fn join_cluster(session: Session) -> Result<String, BrokerError> {
    session.create_directories(&directories::AT_START).await?;
    Ok(cluster_id(&session).await?)
}

/// Opens and locks the log directories, and finds out whose they are.
async fn open_dirs(
    config: &Config,
    ensemble: &mut Ensemble<'_>,
    cluster_id: &str,
    failed: mpsc::UnboundedSender<PathBuf>,
) -> Result<(LogDirs, BrokerId), BrokerError> {
    let dirs = parts::open_dirs(config, failed)?;
    let id = match dirs.verify_identity(cluster_id, config.broker_id.map(|id| id.0))? {
        Some(id) => BrokerId(id),
        None => {
            let reserved = config.reserved_broker_id_max;
            ensemble.step(async |session| Ok(generate_broker_id(&session, reserved).await?)).await?
        }
    };
    dirs.write_identity(cluster_id, id.0, Now::read().unix_ms)?;
    Ok((dirs, id))
}

fn controller_config(config: &Config, id: BrokerId) -> ControllerConfig {
    ControllerConfig {
        broker_id: id,
        inter_broker_listener_name: config.network.inter_broker_listener.clone(),
        controller_socket_timeout: config.controller.socket_timeout,
        auto_leader_rebalance_enable: config.controller.auto_rebalance_enabled,
        leader_imbalance_check_interval: config.controller.imbalance_check_interval,
        leader_imbalance_per_broker_percentage: config.controller.imbalance_percent_max,
        unclean_leader_election_enable: config.controller.unclean_election_enabled,
        min_insync_replicas: parts::min_insync(config, &Overrides::new()),
        delete_topic_enable: config.topics.deletion_enabled,
        death_detection_enable: config.controller.death_detection_enabled,
    }
}

/// A tool of an older Kafka drops a topic's id when it rewrites the topic's znode; the brokers still know it, and if all
/// of them were restarted since, the folders of its replicas do.
fn remembered_topic_ids(
    metadata: &Arc<MetadataCache>,
    replicas: &Arc<Replicas>,
) -> controller::RememberedTopicIds {
    let (metadata, replicas) = (Arc::clone(metadata), Arc::clone(replicas));
    Arc::new(move |topic| metadata.snapshot().topic_id(topic).or_else(|| replicas.topic_id(topic)))
}

fn serve(bound: Bound, context: Arc<Context>) -> Server {
    bound.serve(Arc::new(move |request| Box::pin(dispatch(Arc::clone(&context), request))))
}

/// Follows `/config` in whatever session this broker is registered in.
async fn follow_config(
    dynamic: Arc<DynamicConfig>,
    mut sessions: tokio::sync::watch::Receiver<Option<Session>>,
    id: BrokerId,
) {
    loop {
        let Ok(session) = sessions.wait_for(Option::is_some).await.map(|session| session.clone()) else {
            return;
        };
        if let Some(session) = session {
            changes::follow(&dynamic, &session, id).await;
            session.over().await;
        }
        if sessions.changed().await.is_err() {
            return;
        }
    }
}

/// Passes changes of configuration on to those who obey them.
async fn obey_config(
    mut changes: mpsc::UnboundedReceiver<ConfigChange>,
    dynamic: Arc<DynamicConfig>,
    replicas: Arc<Replicas>,
    controller: ControllerHandle,
) {
    while let Some(change) = changes.recv().await {
        match change {
            ConfigChange::Topic(topic) => replicas.topic_config_changed(&topic),
            ConfigChange::Broker => {
                controller.set_unclean_election_default(dynamic.broker().controller.unclean_election_enabled);
                for partition in replicas.partitions() {
                    replicas.topic_config_changed(&partition.id().topic);
                }
            }
            ConfigChange::UncleanElectionAllowed(Some(topic)) => controller.unclean_election_allowed(&topic),
            ConfigChange::UncleanElectionAllowed(None) => controller.set_unclean_election_default(true),
        }
    }
}

/// Waits for the failure of the last log directory. The failure of another is announced, so that the controller moves
/// its leaderships (`/log_dir_event_notification`).
async fn last_dir(
    failures: &mut mpsc::UnboundedReceiver<DirFailure>,
    membership: &Membership,
    id: BrokerId,
) -> PathBuf {
    while let Some(DirFailure { dir, last }) = failures.recv().await {
        if last {
            return dir;
        }
        parts::announce_dir_failure(membership, id).await;
    }
    std::future::pending().await
}
