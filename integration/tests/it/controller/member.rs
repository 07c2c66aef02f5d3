//! A broker that does nothing but listen: registered in ZooKeeper, with a controller candidate, and
//! an ear that writes down what controllers tell it and agrees to everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::ids::{BrokerEpoch, BrokerId};
use client::wire::messages::api_versions_response::ApiVersion;
use client::wire::messages::leader_and_isr_response::{LeaderAndIsrPartitionError, LeaderAndIsrTopicError};
use client::wire::messages::stop_replica_response::StopReplicaPartitionError;
use client::wire::messages::{
    AlterPartitionRequest, ApiVersionsResponse, ControlledShutdownRequest, LeaderAndIsrRequest,
    LeaderAndIsrResponse, StopReplicaRequest, StopReplicaResponse, UpdateMetadataRequest,
    UpdateMetadataResponse,
};
use client::wire::{ApiKey, Encoded, Message, Reader, frame};
use client::zk::{Session, ZkConfig};
use client::znode::broker::{Endpoint, Registration, SecurityProtocol};
use client::znode::directories;
use controller::{Controller, ControllerConfig, ControllerHandle, ControllerParts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What a controller said, and when.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Roles(LeaderAndIsrRequest),
    Metadata(UpdateMetadataRequest),
    Stop(StopReplicaRequest),
}

type Heard = Vec<(Instant, Told)>;

/// What a member knows of a partition: who leads, since which epoch, who is in sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) isr: Vec<i32>,
}

pub(crate) struct Member {
    pub(crate) id: i32,
    pub(crate) session: Session,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) controller: ControllerHandle,
    heard: watch::Receiver<Heard>,
    listener: AbortHandle,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Member {
    /// Registers, listens, and stands for controller.
    pub(crate) async fn start(connect: &str, id: i32) -> Member {
        Member::start_with_listener(connect, id, "PLAINTEXT").await
    }

    /// The same where brokers talk on a listener of this name, and clients on another.
    pub(crate) async fn start_with_listener(connect: &str, id: i32, name: &str) -> Member {
        let zk = ZkConfig::new(connect).with_timeout(Duration::from_secs(4));
        let session = Session::connect(zk.clone()).await.expect("ZooKeeper is there");
        session.create_directories(&directories::AT_START).await.expect("directories can be made");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let endpoint = Endpoint {
            listener: name.into(),
            security_protocol: SecurityProtocol::Plaintext,
            host: "127.0.0.1".into(),
            port: port.into(),
        };
        let registration = Registration {
            endpoints: vec![endpoint],
            rack: None,
            jmx_port: -1,
            timestamp_ms: 0,
            features: BTreeMap::new(),
        };
        let registered = session
            .register_broker(BrokerId(id), &registration.encode(), None, None)
            .await
            .expect("the id is free");
        let (sessions, watch_sessions) = watch::channel(Some(session.clone()));
        let inter_broker_listener_name = name.to_owned();
        let config = ControllerConfig { inter_broker_listener_name, ..ControllerConfig::new(BrokerId(id)) };
        let controller = Controller::spawn(ControllerParts {
            config,
            sessions: watch_sessions,
            watches: zk,
            remembered_topic_ids: Arc::new(|_| None),
        });
        let (hears, heard) = watch::channel(Heard::new());
        let ear = Arc::new(Ear { hears, controller: controller.clone(), _sessions: Mutex::new(sessions) });
        let listener = tokio::spawn(listen(listener, ear)).abort_handle();
        Member { id, session, epoch: registered.epoch, controller, heard, listener }
    }

    /// Stops without a word to the controller; the session is closed, so the registration goes at once.
    pub(crate) async fn leave(self) {
        self.listener.abort();
        self.controller.shutdown().await;
        self.session.close().await;
    }

    /// Waits until what was told yields something.
    pub(crate) async fn hears<T>(&self, what: &str, mut wanted: impl FnMut(&Heard) -> Option<T>) -> T {
        let mut heard = self.heard.clone();
        let limit = Duration::from_secs(30);
        let told = tokio::time::timeout(limit, heard.wait_for(|heard| wanted(heard).is_some())).await;
        let heard = told.unwrap_or_else(|_| panic!("broker {} does not hear {what}", self.id));
        let heard = heard.expect("the member listens").clone();
        wanted(&heard).expect("it was there a moment ago")
    }

    /// Waits until metadata says this of a partition.
    pub(crate) async fn learns(&self, topic: &str, partition: i32, known: Known) -> Instant {
        let what = format!("{topic}-{partition} {known:?}");
        self.hears(&what, |heard| {
            let told =
                heard.iter().rev().find_map(|(at, told)| Some((*at, metadata_of(told, topic, partition)?)));
            told.filter(|(_, now)| *now == known).map(|(at, _)| at)
        })
        .await
    }

    /// Waits until metadata names this leader epoch of a partition.
    pub(crate) async fn learns_of_epoch(&self, topic: &str, partition: i32, epoch: i32) {
        self.hears(&format!("epoch {epoch} of {topic}-{partition}"), |heard| {
            let states = heard.iter().rev().filter_map(|(_, told)| metadata_of(told, topic, partition));
            states.take(1).find(|known| known.leader_epoch == epoch).map(drop)
        })
        .await;
    }

    pub(crate) fn is_active(&self) -> bool {
        self.controller.is_active()
    }
}

fn metadata_of(told: &Told, topic: &str, partition: i32) -> Option<Known> {
    let Told::Metadata(update) = told else { return None };
    let states = &update.topic_states.iter().find(|state| &*state.topic_name == topic)?.partition_states;
    let state = states.iter().find(|state| state.partition_index == partition)?;
    Some(Known { leader: state.leader, leader_epoch: state.leader_epoch, isr: state.isr.clone() })
}

struct Ear {
    hears: watch::Sender<Heard>,
    controller: ControllerHandle,
    /// A candidate stands as long as its session is offered.
    _sessions: Mutex<watch::Sender<Option<Session>>>,
}

async fn listen(listener: TcpListener, ear: Arc<Ear>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, ear.clone()));
    }
}

async fn converse(mut stream: TcpStream, ear: Arc<Ear>) {
    while let Ok(length) = stream.read_i32().await {
        let mut frame = vec![0; usize::try_from(length).expect("a frame has a length")];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let answer = ear.answer(frame.into()).await.into_bytes().expect("nothing is read from files");
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

impl Ear {
    async fn answer(&self, frame: Bytes) -> Encoded {
        let (header, key, mut body) = frame::parse_request(frame).expect("others send whole requests");
        let (version, id) = (header.request_api_version, header.correlation_id);
        match key {
            ApiKey::LeaderAndIsr => {
                let request: LeaderAndIsrRequest = read(&mut body, version);
                let answer = agreed(&request);
                self.note(Told::Roles(request));
                encoded(key, version, id, &answer)
            }
            ApiKey::UpdateMetadata => {
                self.note(Told::Metadata(read(&mut body, version)));
                encoded(key, version, id, &UpdateMetadataResponse::default())
            }
            ApiKey::StopReplica => {
                let request: StopReplicaRequest = read(&mut body, version);
                let answer = stopped(&request);
                self.note(Told::Stop(request));
                encoded(key, version, id, &answer)
            }
            ApiKey::AlterPartition => {
                let request: AlterPartitionRequest = read(&mut body, version);
                encoded(key, version, id, &self.controller.alter_partition(request, version).await)
            }
            ApiKey::ControlledShutdown => {
                let request: ControlledShutdownRequest = read(&mut body, version);
                encoded(key, version, id, &self.controller.controlled_shutdown(request).await)
            }
            ApiKey::ApiVersions => encoded(key, version.min(4), id, &spoken()),
            other => panic!("a member is asked for {other}"),
        }
    }

    fn note(&self, told: Told) {
        self.hears.send_modify(|heard| heard.push((Instant::now(), told)));
    }
}

fn read<M: Message>(body: &mut Reader, version: i16) -> M {
    M::decode(body, version).expect("others send whole requests")
}

fn encoded(key: ApiKey, version: i16, correlation_id: i32, answer: &impl Message) -> Encoded {
    frame::encode_response(key, version, correlation_id, answer)
        .expect("answers have a form at every version")
}

fn spoken() -> ApiVersionsResponse {
    let keys = [
        ApiKey::LeaderAndIsr,
        ApiKey::StopReplica,
        ApiKey::UpdateMetadata,
        ApiKey::ControlledShutdown,
        ApiKey::ApiVersions,
        ApiKey::AlterPartition,
    ];
    let api_keys = keys.map(|key| ApiVersion {
        api_key: key as i16,
        min_version: key.min_version(),
        max_version: key.max_version(),
    });
    ApiVersionsResponse { api_keys: api_keys.to_vec(), ..ApiVersionsResponse::default() }
}

fn agreed(request: &LeaderAndIsrRequest) -> LeaderAndIsrResponse {
    let topics = request.topic_states.iter().map(|topic| LeaderAndIsrTopicError {
        topic_id: topic.topic_id,
        partition_errors: topic
            .partition_states
            .iter()
            .map(|state| LeaderAndIsrPartitionError {
                partition_index: state.partition_index,
                ..LeaderAndIsrPartitionError::default()
            })
            .collect(),
    });
    LeaderAndIsrResponse { topics: topics.collect(), ..LeaderAndIsrResponse::default() }
}

fn stopped(request: &StopReplicaRequest) -> StopReplicaResponse {
    let of_topic = request.topic_states.iter().flat_map(|topic| {
        topic.partition_states.iter().map(|state| StopReplicaPartitionError {
            topic_name: topic.topic_name.clone(),
            partition_index: state.partition_index,
            ..StopReplicaPartitionError::default()
        })
    });
    StopReplicaResponse { partition_errors: of_topic.collect(), ..StopReplicaResponse::default() }
}
