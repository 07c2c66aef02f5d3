//! What tests of the APIs stand on: one broker with real logs, spoken to through [`dispatch`] in
//! encoded requests, as over a connection but without one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use client::ids::{BrokerId, Uuid};
use client::record::{BatchBuilder, BatchOptions, NewRecord};
use client::wire::messages::leader_and_isr_request::{LeaderAndIsrPartitionState, LeaderAndIsrTopicState};
use client::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use client::wire::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use client::wire::messages::{LeaderAndIsrRequest, ProduceRequest, UpdateMetadataRequest};
use client::wire::{self, ErrorCode, Message, Records, Str, frame};
use client::zk::ZkConfig;
use tokio::sync::{mpsc, watch};

use super::admin_testing::admin;
use super::{Context, Reply, Request, dispatch};
use crate::cluster_view::ClusterView;
use crate::config::Config;
use crate::coordinator::{Coordinator, CoordinatorParts};
use crate::fetch_session::FetchSessions;
use crate::log::{Disk, LogConfig, LogDirs, LogDirsOptions};
use crate::metadata::MetadataCache;
use crate::offsets::{OffsetStore, OffsetStoreParts};
use crate::partition::TopicConfig;
use crate::producer_ids::ProducerIds;
use crate::replicas::{Replicas, ReplicasParts};

pub(crate) const ME: i32 = 1;
pub(crate) const LISTENER: &str = "PLAINTEXT";

/// A broker and its directory. Needs a runtime; stops with it.
pub(crate) struct OneBroker {
    pub(crate) context: Arc<Context>,
    _dir: tempfile::TempDir,
}

/// Where a topic's partitions are, and who leads them, by partition.
pub(crate) struct Layout<'a> {
    pub(crate) topic: &'a str,
    pub(crate) id: Uuid,
    pub(crate) leaders: &'a [i32],
    pub(crate) replicas: &'a [i32],
    pub(crate) isr: &'a [i32],
    pub(crate) epoch: i32,
}

impl Default for Layout<'_> {
    fn default() -> Self {
        Layout { topic: "t", id: Uuid([7; 16]), leaders: &[ME], replicas: &[ME], isr: &[ME], epoch: 0 }
    }
}

impl Layout<'_> {
    /// Leaders by partition.
    fn numbered(&self) -> impl Iterator<Item = (i32, i32)> {
        self.leaders.iter().enumerate().map(|(partition, leader)| (partition as i32, *leader))
    }
}

impl OneBroker {
    pub(crate) const FIRST_PRODUCER_ID: i64 = 3000;

    pub(crate) fn start() -> OneBroker {
        OneBroker::with_topic_config(|_| {})
    }

    /// All topics have the configuration that `adjust` makes of the default one.
    pub(crate) fn with_topic_config(adjust: impl FnOnce(&mut TopicConfig)) -> OneBroker {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let required = [
            ("zookeeper.connect", "127.0.0.1:2181"),
            ("broker.id", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
            // There is no ZooKeeper.
            ("offsets.storage", "kafka"),
        ];
        let fixed: BTreeMap<String, String> =
            required.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let config = Config::from_properties(fixed).expect("the least configuration").config;
        let options = LogDirsOptions {
            disk: Disk::Real,
            paths: vec![dir.path().to_path_buf()],
            recovery_threads: 1,
            delete_delay_ms: 0,
        };
        let dirs = LogDirs::open(options, Arc::new(|_, _| {})).expect("an empty directory");
        dirs.load(&|_| LogConfig::default(), 0, 0).expect("nothing to load");
        let metadata = Arc::new(MetadataCache::new());
        let admin = admin(config.clone(), Arc::clone(&metadata));
        let mut topic_config = TopicConfig::default();
        adjust(&mut topic_config);
        let topic_config = Arc::new(topic_config);
        let (_, failed_dirs) = mpsc::unbounded_channel();
        let parts = ReplicasParts {
            me: BrokerId(ME),
            replication: config.replication.clone(),
            log_dirs: config.log.clone(),
            config: watch::channel(Arc::new(config.clone())).1,
            controller_timeout: config.controller.socket_timeout,
            fence: Arc::clone(&admin.fence),
            view: ClusterView::new(&metadata, LISTENER.into()),
            topic_configs: Arc::new(move |_| Arc::clone(&topic_config)),
            dirs: Arc::new(dirs),
            failed_dirs,
        };
        let (dir_failures, _) = mpsc::unbounded_channel();
        let replicas = Replicas::start(parts, dir_failures);
        let context = Context {
            producer_ids: Arc::new(ProducerIds::with_block(OneBroker::FIRST_PRODUCER_ID, 1000)),
            fetch_sessions: FetchSessions::new(config.network.fetch_sessions_max),
            coordinator: Coordinator::start(CoordinatorParts {
                offsets: Arc::new(OffsetStore::new(OffsetStoreParts {
                    me: BrokerId(ME),
                    zk: ZkConfig::new("127.0.0.1:2181"),
                    patience: Duration::from_millis(100),
                })),
                config: config.groups.clone(),
                metadata: Arc::clone(&metadata),
                replicas: Arc::clone(&replicas),
            }),
            replicas,
            config: Arc::new(config),
            metadata,
            admin,
        };
        OneBroker { context: Arc::new(context), _dir: dir }
    }

    /// Tells the broker of brokers 1 to 3 and of a topic, as a controller would.
    pub(crate) async fn assign(&self, layout: &Layout<'_>) {
        let Layout { topic, id, replicas, isr, epoch, .. } = *layout;
        let roles = layout.numbered().map(|(partition_index, leader)| LeaderAndIsrPartitionState {
            partition_index,
            leader,
            leader_epoch: epoch,
            partition_epoch: epoch,
            isr: isr.to_vec(),
            replicas: replicas.to_vec(),
            is_new: epoch == 0,
            ..LeaderAndIsrPartitionState::default()
        });
        let request = LeaderAndIsrRequest {
            controller_id: 3,
            controller_epoch: 1,
            topic_states: vec![LeaderAndIsrTopicState {
                topic_name: Str::from(topic),
                topic_id: id,
                partition_states: roles.collect(),
            }],
            ..LeaderAndIsrRequest::default()
        };
        let response = self.call(7, &request).await;
        assert_eq!(response.error_code, ErrorCode::None.code());
        self.announce(layout).await;
    }

    /// Tells it what everybody hears, not its own role.
    pub(crate) async fn announce(&self, layout: &Layout<'_>) {
        let Layout { topic, id, replicas, isr, epoch, .. } = *layout;
        let states = layout.numbered().map(|(partition_index, leader)| UpdateMetadataPartitionState {
            partition_index,
            leader,
            leader_epoch: epoch,
            isr: isr.to_vec(),
            replicas: replicas.to_vec(),
            ..UpdateMetadataPartitionState::default()
        });
        let broker = |id| UpdateMetadataBroker {
            id,
            endpoints: vec![UpdateMetadataEndpoint {
                host: Str::from(format!("host{id}")),
                port: 9090 + id,
                listener: Str::from(LISTENER),
                ..UpdateMetadataEndpoint::default()
            }],
            ..UpdateMetadataBroker::default()
        };
        let update = UpdateMetadataRequest {
            controller_id: 3,
            controller_epoch: 1,
            topic_states: vec![UpdateMetadataTopicState {
                topic_name: Str::from(topic),
                topic_id: id,
                partition_states: states.collect(),
            }],
            live_brokers: (1..=3).map(broker).collect(),
            ..UpdateMetadataRequest::default()
        };
        let response = self.call(8, &update).await;
        assert_eq!(response.error_code, ErrorCode::None.code());
    }

    /// Sends a request and decodes its response.
    pub(crate) async fn call<R: wire::Request>(&self, version: i16, request: &R) -> R::Response {
        self.call_as("tests", version, request).await
    }

    /// The same by a client of another id.
    pub(crate) async fn call_as<R: wire::Request>(
        &self,
        client_id: &str,
        version: i16,
        request: &R,
    ) -> R::Response {
        match self.send_as(client_id, version, request).await {
            Reply::Response(response) => {
                let mut bytes = response.into_bytes().expect("readable");
                bytes.advance(4);
                let (header, mut body) = frame::parse_response(R::KEY, version, bytes).expect("a header");
                assert_eq!(header.correlation_id, 5);
                let response = R::Response::decode(&mut body, version).expect("a response");
                assert_eq!(body.remaining(), 0);
                response
            }
            other => panic!("not answered: {other:?}"),
        }
    }

    pub(crate) async fn send<R: wire::Request>(&self, version: i16, request: &R) -> Reply {
        self.send_as("tests", version, request).await
    }

    async fn send_as<R: wire::Request>(&self, client_id: &str, version: i16, request: &R) -> Reply {
        let encoded =
            frame::encode_request(version, 5, Some(Str::from(client_id)), request).expect("encodes");
        self.send_frame(encoded.into_bytes().expect("in memory").slice(4..)).await
    }

    /// Sends a frame, without its length.
    pub(crate) async fn send_frame(&self, bytes: Bytes) -> Reply {
        let (header, key, body) = frame::parse_request(bytes).expect("a request");
        let request = Request {
            listener: LISTENER.into(),
            peer: SocketAddr::from(([127, 0, 0, 1], 50_000)),
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            key,
            version: header.request_api_version,
            body,
        };
        dispatch(Arc::clone(&self.context), request).await
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Arc<crate::partition::Partition> {
        self.context
            .replicas
            .partition(topic, partition)
            .unwrap_or_else(|| panic!("{topic}-{partition} is not here"))
    }
}

/// A batch of records with these values and time stamps, uncompressed.
pub(crate) fn batch(values: &[&str], timestamp: i64) -> Bytes {
    batch_with(BatchOptions::default(), values, timestamp)
}

pub(crate) fn batch_with(options: BatchOptions, values: &[&str], timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(options).expect("an open batch");
    for value in values {
        let record = NewRecord { timestamp, value: Some(value.as_bytes()), ..NewRecord::default() };
        builder.push(&record).expect("a record");
    }
    builder.finish().expect("a batch").into()
}

/// Stores records on the leader, whatever the followers do.
pub(crate) async fn produce(broker: &OneBroker, topic: &str, partition: i32, records: Bytes) {
    let data = PartitionProduceData { index: partition, records: Some(Records::Memory(records)) };
    let request = ProduceRequest {
        acks: 1,
        topic_data: vec![TopicProduceData { name: Str::from(topic), partition_data: vec![data] }],
        ..ProduceRequest::default()
    };
    let response = broker.call(9, &request).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}
