//! Brokers in one process, each with a runtime of its own that can be killed, real logs, and
//! sockets between them; and a controller that does what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::cluster_view::ClusterView;
use broker::config::{Config, LogDirsConfig, ReplicationConfig};
use broker::control_fence::ControlFence;
use broker::log::disk::SimulatedDisk;
use broker::log::{Disk, LogConfig, LogDirs, LogDirsOptions};
use broker::metadata::MetadataCache;
use broker::partition::{Partition, TopicConfig};
use broker::replicas::{DirFailure, Replicas, ReplicasParts};
use client::ids::{BrokerEpoch, BrokerId, Uuid};
use client::wire::messages::alter_partition_response::{PartitionData, TopicData};
use client::wire::messages::leader_and_isr_request::{LeaderAndIsrPartitionState, LeaderAndIsrTopicState};
use client::wire::messages::update_metadata_request::{UpdateMetadataBroker, UpdateMetadataEndpoint};
use client::wire::messages::{
    AlterPartitionRequest, AlterPartitionResponse, LeaderAndIsrRequest, LeaderAndIsrResponse,
    UpdateMetadataRequest,
};
use client::wire::{ErrorCode, Str};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use crate::server;

pub(crate) const TOPIC: &str = "orders";
pub(crate) const TOPIC_ID: Uuid = Uuid([7; 16]);
const LISTENER: &str = "INTERNAL";
/// The controller is a process of its own here.
const CONTROLLER: i32 = 100;

pub(crate) struct Cluster {
    nodes: BTreeMap<i32, Node>,
    dirs: BTreeMap<i32, TempDir>,
    ports: BTreeMap<i32, i32>,
    state: watch::Sender<State>,
    controller: Runtime,
    /// What the controller answers before it does what it is asked for.
    refusals: watch::Sender<VecDeque<Refusal>>,
    pub(crate) min_insync: usize,
    pub(crate) lag_max: Duration,
    pub(crate) log: LogConfig,
    flush_before_ack: bool,
    /// Of machines that can lose power; the others write real files.
    disks: BTreeMap<i32, SimulatedDisk>,
}

/// A controller's answer that does not write.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refusal {
    Whole(ErrorCode),
    Partition(ErrorCode),
    /// It was written, but says so in no way that can be understood.
    Lost,
}

/// The partition's state as ZooKeeper would hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) isr: Vec<i32>,
    pub(crate) version: i32,
}

pub(crate) struct Node {
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) dirs: Arc<LogDirs>,
    dir_failures: Mutex<mpsc::UnboundedReceiver<DirFailure>>,
    cache: Arc<MetadataCache>,
    runtime: Runtime,
}

impl Cluster {
    pub(crate) fn new(ids: &[i32]) -> Cluster {
        Cluster::with(ids, BTreeMap::new(), false)
    }

    /// Brokers on machines that can lose power.
    pub(crate) fn on_machines(ids: &[i32], flush_before_ack: bool) -> Cluster {
        let disks = ids.iter().map(|id| (*id, SimulatedDisk::new())).collect();
        Cluster::with(ids, disks, flush_before_ack)
    }

    fn with(ids: &[i32], disks: BTreeMap<i32, SimulatedDisk>, flush_before_ack: bool) -> Cluster {
        let controller = runtime();
        let state =
            watch::Sender::new(State { leader: -1, leader_epoch: -1, isr: ids.to_vec(), version: -1 });
        let listener = controller.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let ports = BTreeMap::from([(CONTROLLER, i32::from(listener.local_addr().unwrap().port()))]);
        let refusals = watch::Sender::new(VecDeque::new());
        let known = (state.clone(), refusals.clone());
        controller.spawn(server::serve(listener, move |key, version, id, body| {
            let (state, refusals) = known.clone();
            async move {
                let alter = |request: &AlterPartitionRequest| answer(&state, &refusals, request);
                server::controller(alter, key, version, id, body)
            }
        }));
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            dirs: BTreeMap::new(),
            ports,
            state,
            controller,
            refusals,
            min_insync: 1,
            lag_max: Duration::from_secs(30),
            log: LogConfig::default(),
            flush_before_ack,
            disks,
        };
        cluster.add(ids);
        cluster
    }

    pub(crate) fn add(&mut self, ids: &[i32]) {
        self.dirs.extend(ids.iter().map(|id| (*id, tempfile::tempdir().unwrap())));
        for id in ids {
            self.start(*id);
        }
    }

    /// Starts a broker on the directory it had before; it hears of no partition yet.
    pub(crate) fn start(&mut self, id: i32) {
        let runtime = runtime();
        let cache = Arc::new(MetadataCache::new());
        let fence = Arc::new(ControlFence::default());
        fence.registered(BrokerEpoch(1));
        let (failed, failed_dirs) = mpsc::unbounded_channel();
        let dirs = Arc::new(self.open_dirs(id, failed));
        let (told, dir_failures) = mpsc::unbounded_channel();
        let config = Arc::new(TopicConfig {
            log: self.log.clone(),
            min_insync_replicas: self.min_insync,
            flush_before_ack: self.flush_before_ack,
            ..TopicConfig::default()
        });
        let parts = ReplicasParts {
            me: BrokerId(id),
            replication: self.replication_config(),
            log_dirs: log_dirs_config(),
            config: watch::channel(Arc::new(broker_config())).1,
            controller_timeout: Duration::from_secs(30),
            view: ClusterView::new(&cache, Arc::from(LISTENER)),
            fence,
            topic_configs: Arc::new(move |_| Arc::clone(&config)),
            dirs: Arc::clone(&dirs),
            failed_dirs,
        };
        let entered = runtime.enter();
        let replicas = Replicas::start(parts, told);
        drop(entered);
        let port = self.serve(&runtime, Arc::clone(&replicas));
        self.ports.insert(id, port);
        let node = Node { replicas, dirs, dir_failures: Mutex::new(dir_failures), cache, runtime };
        self.nodes.insert(id, node);
        self.tell_metadata();
    }

    fn serve(&self, runtime: &Runtime, replicas: Arc<Replicas>) -> i32 {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = i32::from(listener.local_addr().unwrap().port());
        runtime.spawn(server::serve(listener, move |key, version, id, body| {
            server::broker(Arc::clone(&replicas), TOPIC_ID, TOPIC, key, version, id, body)
        }));
        port
    }

    /// Ends a broker at once: nothing is flushed, closed or marked.
    pub(crate) fn kill(&mut self, id: i32) {
        let node = self.nodes.remove(&id).unwrap();
        drop((node.replicas, node.dirs));
        node.runtime.shutdown_timeout(Duration::from_secs(10));
        self.ports.remove(&id);
        self.tell_metadata();
    }

    /// Ends a broker with its machine: whatever was not synced is gone.
    pub(crate) fn cut_power(&mut self, id: i32) {
        self.kill(id);
        self.disks[&id].power_cut(|| false);
    }

    /// Ends a broker as an operator does.
    pub(crate) fn stop(&mut self, id: i32) {
        let node = self.nodes.remove(&id).unwrap();
        node.runtime.block_on(node.replicas.shut_down());
        drop((node.replicas, node.dirs));
        node.runtime.shutdown_timeout(Duration::from_secs(10));
        self.ports.remove(&id);
        self.tell_metadata();
    }

    /// Writes who leads, with the next leader epoch, and tells `brokers`.
    pub(crate) fn elect(&self, leader: i32, isr: &[i32], brokers: &[i32]) {
        self.state.send_modify(|state| {
            state.leader = leader;
            state.leader_epoch += 1;
            state.isr = isr.to_vec();
            state.version += 1;
        });
        for id in brokers {
            let response = self.tell_state(*id);
            assert_eq!(response.error_code, 0);
            assert_eq!(response.topics[0].partition_errors[0].error_code, 0, "broker {id}");
        }
    }

    /// Lets the controller answer so before it goes on as it should.
    pub(crate) fn refuse(&self, refusals: &[Refusal]) {
        self.refusals.send_modify(|queue| queue.extend(refusals));
    }

    pub(crate) fn refusals_left(&self) -> usize {
        self.refusals.borrow().len()
    }

    /// Waits until the controller has given every answer of [`Cluster::refuse`].
    pub(crate) fn wait_until_refused(&self) {
        let mut left = self.refusals.subscribe();
        let given = self.controller.block_on(async {
            tokio::time::timeout(Duration::from_secs(20), left.wait_for(VecDeque::is_empty)).await.map(drop)
        });
        given.unwrap_or_else(|_| {
            panic!("the controller was not asked: {} refusals are left", self.refusals_left())
        });
    }

    /// Sends a broker the present state.
    pub(crate) fn tell_state(&self, id: i32) -> LeaderAndIsrResponse {
        self.tell_state_of(id, TOPIC_ID)
    }

    pub(crate) fn tell_state_of(&self, id: i32, topic_id: Uuid) -> LeaderAndIsrResponse {
        let state = self.state();
        let partition = LeaderAndIsrPartitionState {
            partition_index: 0,
            controller_epoch: 1,
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr,
            partition_epoch: state.version,
            replicas: self.dirs.keys().copied().collect(),
            is_new: state.leader_epoch == 0,
            ..LeaderAndIsrPartitionState::default()
        };
        let topic = LeaderAndIsrTopicState {
            topic_name: Str::from(TOPIC),
            topic_id,
            partition_states: vec![partition],
        };
        let request = LeaderAndIsrRequest {
            controller_id: CONTROLLER,
            controller_epoch: 1,
            broker_epoch: 1,
            topic_states: vec![topic],
            ..LeaderAndIsrRequest::default()
        };
        let node = &self.nodes[&id];
        node.runtime.block_on(node.replicas.leader_and_isr(request, 7))
    }

    /// Tells every broker who is there.
    pub(crate) fn tell_metadata(&self) {
        let all: Vec<i32> = self.ports.keys().copied().collect();
        for id in self.nodes.keys() {
            self.tell_metadata_of(*id, &all);
        }
    }

    /// Tells a broker that these are there, and no others.
    pub(crate) fn tell_metadata_of(&self, told: i32, live: &[i32]) {
        let alive = self.ports.iter().filter(|(id, _)| live.contains(id));
        let live_brokers = alive.map(|(id, port)| UpdateMetadataBroker {
            id: *id,
            endpoints: vec![UpdateMetadataEndpoint {
                port: *port,
                host: Str::from("127.0.0.1"),
                listener: Str::from(LISTENER),
                security_protocol: 0,
            }],
            ..UpdateMetadataBroker::default()
        });
        let request = UpdateMetadataRequest {
            controller_id: CONTROLLER,
            controller_epoch: 1,
            live_brokers: live_brokers.collect(),
            ..UpdateMetadataRequest::default()
        };
        self.nodes[&told].cache.update(&request).unwrap();
    }

    pub(crate) fn node(&self, id: i32) -> &Node {
        &self.nodes[&id]
    }

    pub(crate) fn partition(&self, id: i32) -> Arc<Partition> {
        self.nodes[&id].replicas.partition(TOPIC, 0).unwrap()
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until the controller has written a state that satisfies `wanted`.
    pub(crate) fn wait_for_state(&self, wanted: impl FnMut(&State) -> bool) -> State {
        let mut states = self.state.subscribe();

        self.controller.block_on(async {
            tokio::time::timeout(Duration::from_secs(20), states.wait_for(wanted))
                .await
                .unwrap()
                .unwrap()
                .clone()
        })
    }

    /// Waits for the broker's own view of the partition.
    pub(crate) fn wait_for(
        &self,
        id: i32,
        what: &str,
        wanted: impl FnMut(&broker::partition::Status) -> bool,
    ) -> broker::partition::Status {
        let partition = self.partition(id);
        let mut watch = partition.watch();
        let seen = self.controller.block_on(async {
            tokio::time::timeout(Duration::from_secs(20), watch.wait_for(wanted))
                .await
                .map(|seen| *seen.unwrap())
        });
        seen.unwrap_or_else(|_| panic!("broker {id}: {what}; it is {:?}", partition.status()))
    }

    /// Waits until a broker tells of a failed log directory.
    pub(crate) fn dir_failure(&self, id: i32) -> DirFailure {
        let node = &self.nodes[&id];
        let mut failures = node.dir_failures.lock().unwrap();
        node.runtime.block_on(failures.recv()).unwrap()
    }

    pub(crate) fn block_on<T>(&self, id: i32, future: impl Future<Output = T>) -> T {
        self.nodes[&id].runtime.block_on(future)
    }

    /// All bytes of the partition's segments, in order.
    pub(crate) fn segments(&self, id: i32) -> Vec<(String, Vec<u8>)> {
        let dir = self.partition_dir(id);
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .map(|path| {
                (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
            })
            .collect()
    }

    pub(crate) fn partition_dir(&self, id: i32) -> PathBuf {
        self.dirs[&id].path().join(format!("{TOPIC}-0"))
    }

    pub(crate) fn log_dir(&self, id: i32) -> PathBuf {
        self.dirs[&id].path().to_path_buf()
    }

    fn open_dirs(&self, id: i32, failed: mpsc::UnboundedSender<PathBuf>) -> LogDirs {
        let options = LogDirsOptions {
            disk: self.disks.get(&id).map_or(Disk::Real, |disk| Disk::Simulated(disk.clone())),
            paths: vec![self.log_dir(id)],
            recovery_threads: 1,
            delete_delay_ms: 60_000,
        };
        let on_failure = Arc::new(move |dir: &std::path::Path, _: &str| {
            let _ = failed.send(dir.to_path_buf());
        });
        let dirs = LogDirs::open(options, on_failure).unwrap();
        let config = self.log.clone();
        dirs.load(&move |_| config.clone(), 0, 0).unwrap();
        dirs
    }

    fn replication_config(&self) -> ReplicationConfig {
        ReplicationConfig {
            fetchers_per_leader: 1,
            lag_max: self.lag_max,
            socket_timeout: Duration::from_secs(30),
            fetch_partition_bytes_max: 1 << 20,
            fetch_response_bytes_max: 10 << 20,
            fetch_wait_max: Duration::from_millis(500),
            fetch_bytes_min: 1,
            fetch_backoff: Duration::from_millis(200),
            high_watermark_checkpoint_interval: Duration::from_millis(100),
            serves_by_rack: false,
        }
    }
}

/// What `server.properties` must say at least.
fn broker_config() -> Config {
    let fixed = [("zookeeper.connect", "127.0.0.1:2181")].map(|(key, value)| (key.into(), value.into()));
    Config::from_properties(fixed.into()).unwrap().config
}

fn log_dirs_config() -> LogDirsConfig {
    let never = Duration::from_secs(3600);
    LogDirsConfig {
        flush_before_ack: false,
        dirs: Vec::new(),
        retention_check_interval: never,
        flush_check_interval: never,
        recovery_point_checkpoint_interval: never,
        start_offset_checkpoint_interval: never,
        initial_task_delay: never,
        recovery_threads_per_dir: 1,
        producer_id_expiration: never,
        producer_id_expiration_check_interval: never,
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn answer(
    state: &watch::Sender<State>,
    refusals: &watch::Sender<VecDeque<Refusal>>,
    request: &AlterPartitionRequest,
) -> AlterPartitionResponse {
    let mut refusal = None;
    refusals.send_modify(|queue| refusal = queue.pop_front());
    match refusal {
        None => of_partition(alter(state, request)),
        Some(Refusal::Whole(code)) => {
            AlterPartitionResponse { error_code: code.code(), ..AlterPartitionResponse::default() }
        }
        Some(Refusal::Partition(code)) => {
            of_partition(PartitionData { error_code: code.code(), ..PartitionData::default() })
        }
        Some(Refusal::Lost) => {
            alter(state, request);
            AlterPartitionResponse::default()
        }
    }
}

/// Writes what a leader asks for, if it asks about the state as it is.
fn alter(state: &watch::Sender<State>, request: &AlterPartitionRequest) -> PartitionData {
    let topic = &request.topics[0];
    assert_eq!((request.topics.len(), topic.partitions.len(), topic.topic_id), (1, 1, TOPIC_ID));
    let asked = &topic.partitions[0];
    let isr: Vec<i32> = asked.new_isr_with_epochs.iter().map(|one| one.broker_id).collect();
    let mut answer = PartitionData::default();
    state.send_if_modified(|state| {
        let written = asked.leader_epoch == state.leader_epoch && isr == state.isr;
        let current = (asked.leader_epoch, asked.partition_epoch) == (state.leader_epoch, state.version);
        if !written && !current {
            answer.error_code = ErrorCode::InvalidUpdateVersion.code();
            return false;
        }
        if !written {
            state.isr.clone_from(&isr);
            state.version += 1;
        }
        answer = PartitionData {
            leader_id: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr.clone(),
            partition_epoch: state.version,
            ..PartitionData::default()
        };
        !written
    });
    answer
}

fn of_partition(answer: PartitionData) -> AlterPartitionResponse {
    let topic = TopicData { topic_id: TOPIC_ID, partitions: vec![answer], ..TopicData::default() };
    AlterPartitionResponse { topics: vec![topic], ..AlterPartitionResponse::default() }
}
