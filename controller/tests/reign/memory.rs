//! ZooKeeper and brokers in memory, with a transcript of what a controller writes and sends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use client::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicPartition, Uuid, ZkVersion};
use client::wire::ErrorCode;
use client::znode::broker::{self, Endpoint, Registration, SecurityProtocol};
use client::znode::config::{ConfigEntity, Overrides};
use client::znode::partition::{self, PartitionState};
use client::znode::topic::{self, PartitionAssignment, TopicAssignment};
use client::znode::{admin, config};
use controller::cluster::Broker;
use controller::plan::ControlRequest;
use controller::term::{Settings, Term};
use controller::world::{Event, Node, Rejection, RoleAnswer, Trouble, World, Write};
use futures::executor::block_on;

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<String, Node>,
    zxid: i64,
    /// The epoch of the last election; reigns of earlier ones are fenced.
    elected: i32,
    /// What happens at the next commits.
    mishaps: VecDeque<Mishap>,
    transcript: Vec<String>,
    /// Requests to delete replicas that were not answered yet.
    deletions: Vec<(BrokerId, Vec<TopicPartition>)>,
    /// Who has a channel.
    connected: BTreeSet<BrokerId>,
    remembered_id: Option<Uuid>,
    ids: u8,
}

/// What a node holds after an outsider's write, going by what it held before.
type Rewrite = Box<dyn FnOnce(&[u8]) -> Vec<u8> + Send>;

/// What gets between a controller's reading and what it hears of its writing.
pub(crate) enum Mishap {
    /// Somebody else writes this node first.
    Overtaken { path: &'static str, by: Rewrite },
    /// The session ends, and with it the reign, before the write or after it.
    SessionOver { written: bool },
}

/// A cluster outside of any controller. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    inner: Arc<Mutex<Inner>>,
    /// The controller whose world this is.
    epoch: i32,
}

impl Memory {
    /// Brokers 1 to `count`, no topics, everything as before the first controller.
    pub(crate) fn with_brokers(count: i32) -> Memory {
        let memory = Memory::default();
        for id in 1..=count {
            memory.register(id);
        }
        memory
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics while it holds the lock")
    }

    pub(crate) fn put(&self, path: &str, data: impl Into<Vec<u8>>) {
        self.inner().overwrite(path, &data.into());
    }

    pub(crate) fn remove(&self, path: &str) {
        self.inner().nodes.remove(path);
    }

    pub(crate) fn data(&self, path: &str) -> Option<String> {
        let node = self.inner().nodes.get(path).cloned()?;
        Some(String::from_utf8(node.data).expect("znodes are text"))
    }

    pub(crate) fn register(&self, id: i32) {
        let endpoint = Endpoint {
            listener: "PLAINTEXT".into(),
            security_protocol: SecurityProtocol::Plaintext,
            host: format!("h{id}"),
            port: 9092,
        };
        let registration = Registration {
            endpoints: vec![endpoint],
            rack: None,
            jmx_port: -1,
            timestamp_ms: 0,
            features: BTreeMap::new(),
        };
        let path = broker::path(BrokerId(id));
        self.remove(&path);
        self.put(&path, registration.encode());
    }

    pub(crate) fn unregister(&self, id: i32) {
        self.remove(&broker::path(BrokerId(id)));
    }

    pub(crate) fn epoch_of(&self, id: i32) -> BrokerEpoch {
        BrokerEpoch(self.inner().nodes[&broker::path(BrokerId(id))].czxid)
    }

    /// As a tool or broker writes a topic's node.
    pub(crate) fn put_topic(&self, name: &str, id: Option<Uuid>, replicas: &[&[i32]]) {
        let of = |ids: &[i32]| PartitionAssignment::of(ids.iter().map(|&id| BrokerId(id)).collect());
        let partitions = (0..).zip(replicas.iter().map(|ids| of(ids))).collect();
        self.put(&topic::path(name), TopicAssignment { topic_id: id, partitions }.encode());
    }

    pub(crate) fn allow_unclean(&self, topic: &str) {
        self.configure(topic, "unclean.leader.election.enable", "true");
    }

    /// Sets this key of a topic, and no other.
    pub(crate) fn configure(&self, topic: &str, key: &str, value: &str) {
        let overrides = Overrides::from([(key.into(), value.into())]);
        self.put(&ConfigEntity::Topic(topic.into()).path(), config::encode(&overrides));
    }

    pub(crate) fn request_deletion(&self, topic: &str) {
        self.put(&admin::delete_topic_path(topic), "");
    }

    pub(crate) fn remember_id(&self, id: Uuid) {
        self.inner().remembered_id = Some(id);
    }

    /// The world as the controller of this epoch sees it, which fences those before.
    fn elect(&self, epoch: i32) -> Memory {
        let mut inner = self.inner();
        inner.elected = inner.elected.max(epoch);
        Memory { inner: Arc::clone(&self.inner), epoch }
    }

    /// Another controller was elected.
    pub(crate) fn fence(&self) {
        self.inner().elected += 1;
    }

    /// At the next commit that is not fenced.
    pub(crate) fn mishap(&self, mishap: Mishap) {
        self.inner().mishaps.push_back(mishap);
    }

    /// What was written and sent since the last call.
    pub(crate) fn transcript(&self) -> String {
        let mut lines = std::mem::take(&mut self.inner().transcript);
        lines.push(String::new());
        lines.join("\n")
    }

    /// The brokers' answers to requests to delete replicas, as events.
    pub(crate) fn deletions_answered(&self, error: ErrorCode) -> Vec<Event> {
        let answered = std::mem::take(&mut self.inner().deletions).into_iter();
        let event = |(broker, partitions): (BrokerId, Vec<TopicPartition>)| Event::ReplicasDeleted {
            broker,
            epoch: self.epoch_of(broker.0),
            partitions: partitions.into_iter().map(|partition| (partition, error)).collect(),
        };
        answered.map(event).collect()
    }
}

/// A controller that reigns over a [`Memory`].
pub(crate) struct Reign {
    pub(crate) memory: Memory,
    pub(crate) term: Term<Memory>,
}

impl Reign {
    /// Takes over; the transcript holds what that took.
    pub(crate) fn begin(memory: &Memory, epoch: i32) -> Reign {
        Reign::begin_with(memory, epoch, Settings::default())
    }

    pub(crate) fn begin_with(memory: &Memory, epoch: i32, settings: Settings) -> Reign {
        let world = memory.elect(epoch);
        let term = block_on(Term::take_over(world, ControllerEpoch(epoch), settings));
        Reign { memory: memory.clone(), term: term.expect("nothing is refused") }
    }

    /// A cluster with topic `t` of these replicas, made by the first controller.
    pub(crate) fn with_topic(brokers: i32, replicas: &[&[i32]]) -> Reign {
        let memory = Memory::with_brokers(brokers);
        let mut reign = Reign::begin(&memory, 1);
        memory.put_topic("t", Some(Uuid([7; 16])), replicas);
        reign.on(Event::TopicsChanged);
        memory.transcript();
        reign
    }

    /// Handles an event and returns the transcript of it.
    pub(crate) fn on(&mut self, event: Event) -> String {
        block_on(self.term.handle(event)).expect("nothing is refused");
        self.memory.transcript()
    }

    /// A broker answers the role it was told for t-0 at this version.
    pub(crate) fn answers(&mut self, broker: i32, version: i32, error: ErrorCode) -> String {
        let role = RoleAnswer { partition: TopicPartition::new("t", 0), version: ZkVersion(version), error };
        let (broker, epoch) = (BrokerId(broker), self.memory.epoch_of(broker));
        self.on(Event::LeaderAndIsrAnswered { broker, epoch, roles: vec![role] })
    }

    pub(crate) fn dies(&mut self, broker: i32) -> String {
        self.memory.unregister(broker);
        self.on(Event::BrokersChanged)
    }

    pub(crate) fn registers(&mut self, broker: i32) -> String {
        self.memory.register(broker);
        self.on(Event::BrokersChanged)
    }

    /// `leader epoch version isr…` of a partition's node.
    pub(crate) fn state(&self, topic: &str, partition: i32) -> String {
        let path = partition::state_path(topic, partition);
        let node = self.memory.inner().nodes.get(&path).cloned().expect("the partition has a state");
        shown_state(&node.data, node.version)
    }
}

fn shown_state(data: &[u8], version: ZkVersion) -> String {
    let state = PartitionState::decode(data).expect("the controller writes states that can be read");
    let isr: Vec<String> = state.isr.iter().map(BrokerId::to_string).collect();
    let recovering = if state.recovery.code() == 1 { ", recovering" } else { "" };
    let PartitionState { leader, leader_epoch, controller_epoch, .. } = state;
    let isr = isr.join(" ");
    format!(
        "leader {leader}, leader epoch {leader_epoch}, isr {isr}, controller {controller_epoch}{recovering}; version {version}"
    )
}

/// Paths of partitions are long and all alike.
fn shown_path(path: &str) -> String {
    path.replace("/brokers/topics/", "")
}

impl Inner {
    fn overwrite(&mut self, path: &str, data: &[u8]) {
        self.zxid += 1;
        let czxid = self.zxid;
        self.nodes
            .entry(path.to_owned())
            .and_modify(|node| {
                node.version.0 += 1;
                node.data = data.to_vec();
            })
            .or_insert_with(|| Node { data: data.to_vec(), version: ZkVersion(0), czxid });
    }

    fn apply(&mut self, write: Write) -> Result<ZkVersion, Rejection> {
        self.zxid += 1;
        let czxid = self.zxid;
        match write {
            Write::Create { path, data } => {
                if self.nodes.contains_key(&path) {
                    return Err(Rejection::NodeExists);
                }
                self.nodes.insert(path, Node { data, version: ZkVersion(0), czxid });
                Ok(ZkVersion(0))
            }
            Write::Set { path, data, version } => {
                let node = self.nodes.get_mut(&path).ok_or(Rejection::NoNode)?;
                if version.is_some_and(|version| version != node.version) {
                    return Err(Rejection::BadVersion);
                }
                node.version.0 += 1;
                node.data = data;
                Ok(node.version)
            }
            Write::Together(writes) => {
                let before = self.nodes.clone();
                let mut results = writes.into_iter().map(|write| self.apply(write)).collect::<Vec<_>>();
                let first = results.remove(0);
                if first.is_err() {
                    self.nodes = before;
                } else {
                    assert_eq!(results.iter().find_map(|result| result.as_ref().err()), None);
                }
                first
            }
            Write::Delete { path } => {
                let below = format!("{path}/");
                if self.nodes.keys().any(|other| other.starts_with(&below)) {
                    return Err(Rejection::NotEmpty);
                }
                self.nodes.remove(&path).map(|_| ZkVersion(0)).ok_or(Rejection::NoNode)
            }
        }
    }

    fn note(&mut self, write: &Write, result: &Result<ZkVersion, Rejection>) {
        if let Write::Together(writes) = write {
            let (first, others) = writes.split_first().expect("something is written");
            self.note(first, result);
            for other in others.iter().filter(|_| result.is_ok()) {
                let version = self.nodes.get(other.path()).map_or(ZkVersion(0), |node| node.version);
                self.note(other, &Ok(version));
                if let Some(line) = self.transcript.last_mut() {
                    line.insert_str(0, "with it ");
                }
            }
            return;
        }
        let (verb, data) = match write {
            Write::Create { data, .. } => ("create", data.as_slice()),
            Write::Set { data, .. } => ("set", data.as_slice()),
            Write::Delete { .. } | Write::Together(_) => ("delete", &[][..]),
        };
        let path = shown_path(write.path());
        let line = match result {
            Err(rejection) => format!("{verb} {path}: {rejection}"),
            Ok(version) if path.ends_with("/state") && verb != "delete" => {
                format!("{verb} {path}: {}", shown_state(data, *version))
            }
            Ok(_) if data.is_empty() => format!("{verb} {path}"),
            Ok(version) => format!("{verb} {path}: {}; version {version}", String::from_utf8_lossy(data)),
        };
        self.transcript.push(line);
    }
}

impl World for Memory {
    async fn read(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>, Trouble> {
        let inner = self.inner();
        Ok(paths.iter().map(|path| inner.nodes.get(path).cloned()).collect())
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, Trouble> {
        let below = format!("{path}/");
        let inner = self.inner();
        let names = inner.nodes.keys().filter_map(|path| path.strip_prefix(&below)?.split('/').next());
        let mut names: Vec<String> = names.map(String::from).collect();
        names.dedup();
        Ok(names)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Result<ZkVersion, Rejection>>, Trouble> {
        let mut inner = self.inner();
        if inner.elected > self.epoch && !writes.is_empty() {
            return Err(Trouble::Fenced);
        }
        let mut answered = true;
        match inner.mishaps.pop_front() {
            Some(Mishap::Overtaken { path, by }) => {
                let present = inner.nodes.get(path).map(|node| node.data.clone()).unwrap_or_default();
                inner.overwrite(path, &by(&present));
            }
            Some(Mishap::SessionOver { written: false }) => return Err(Trouble::SessionOver),
            Some(Mishap::SessionOver { written: true }) => answered = false,
            None => {}
        }
        let mut results = Vec::new();
        for write in writes {
            let result = inner.apply(write.clone());
            inner.note(&write, &result);
            results.push(result);
        }
        if answered { Ok(results) } else { Err(Trouble::SessionOver) }
    }

    fn connect(&mut self, id: BrokerId, _: &Broker) {
        self.inner().connected.insert(id);
    }

    fn disconnect(&mut self, id: BrokerId) {
        self.inner().connected.remove(&id);
    }

    fn send(&mut self, to: BrokerId, request: ControlRequest) {
        let mut inner = self.inner();
        if !inner.connected.contains(&to) {
            return;
        }
        inner.transcript.push(format!("to {to}: {request}"));
        if let ControlRequest::StopReplica(stop) = request {
            let deleted = stop.partitions.into_iter().filter(|(_, stopped)| stopped.delete);
            let deleted: Vec<TopicPartition> = deleted.map(|(partition, _)| partition).collect();
            if !deleted.is_empty() {
                inner.deletions.push((to, deleted));
            }
        }
    }

    fn watch_topic(&mut self, _: &Arc<str>) {}

    fn unwatch_topic(&mut self, _: &str) {}

    fn remembered_topic_id(&self, _: &str) -> Option<Uuid> {
        self.inner().remembered_id
    }

    fn new_topic_id(&mut self) -> Uuid {
        let mut inner = self.inner();
        inner.ids += 1;
        Uuid([inner.ids; 16])
    }
}
