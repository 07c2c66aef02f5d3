//! Brokers of our own on a real ZooKeeper: what a producer that watches asks, and whom.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::ids::{BrokerId, ControllerEpoch, LeaderEpoch};
use client::producer::{Producer, ProducerRecord};
use client::wire::messages::api_versions_response::ApiVersion;
use client::wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use client::wire::messages::{ApiVersionsResponse, InitProducerIdResponse, ProduceRequest, ProduceResponse};
use client::wire::{ApiKey, ErrorCode, Message, frame};
use client::zk::{Op, Session, ZkConfig};
use client::znode::broker::{self, Endpoint, Registration, SecurityProtocol};
use client::znode::partition::{self, LeaderRecovery, PartitionState};
use client::znode::topic::{self, PartitionAssignment, TopicAssignment};
use integration::cluster::PATIENCE;
use integration::zookeeper::ZooKeeper;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

const TOPIC: &str = "watched";
const PARTITIONS: i32 = 400;

#[test]
fn who_watches_never_asks_and_is_told_of_every_leader() {
    let (zookeeper, runtime) = (ZooKeeper::start(), Runtime::new().expect("a runtime can be made"));
    runtime.block_on(async {
        let config = ZkConfig::new(zookeeper.connect_string()).with_timeout(PATIENCE);
        let session = Session::connect(config).await.expect("ZooKeeper answers");
        let (one, two) = (Fake::start(1).await, Fake::start(2).await);
        populate(&session, &[&one, &two]).await;
        one.lead(0..PARTITIONS);

        let builder = Producer::builder().zookeeper(zookeeper.connect_string());
        // Were anything asked again because it has grown old, it would be asked often.
        let builder = builder.with(|options| options.metadata_max_age = Duration::from_millis(10));
        let producer = builder.connect().await.expect("ZooKeeper knows two brokers");
        all_delivered(&producer).await;

        // Leaders change in ZooKeeper first; the new one hears of it a little later.
        one.lead(0..0);
        let started = Instant::now();
        elect(&session, &two, 1).await;
        let elected = started.elapsed();
        let sending = tokio::spawn({
            let producer = producer.clone();
            async move { all_delivered(&producer).await }
        });
        two.until_asked_to_produce().await;
        two.lead(0..PARTITIONS);
        sending.await.expect("every record is delivered");
        println!(
            "{PARTITIONS} leaders written in {elected:?}; the first records for all acknowledged {:?} after that",
            started.elapsed() - elected
        );
        assert!(started.elapsed() < PATIENCE);
        for fake in [&one, &two] {
            let asked = fake.asked();
            let other: Vec<_> = asked
                .iter()
                .filter(|api| ![ApiKey::ApiVersions, ApiKey::Produce, ApiKey::InitProducerId].contains(api))
                .collect();
            assert!(other.is_empty(), "{other:?}");
        }
        let ids = one.asked().into_iter().chain(two.asked()).filter(|api| *api == ApiKey::InitProducerId);
        // The other one is asked as well if the first is slow.
        assert!((1..=2).contains(&ids.count()), "one producer has one id");
    });
}

/// One record to each partition.
async fn all_delivered(producer: &Producer) {
    let deliveries = (0..PARTITIONS).map(|partition| {
        let record = ProducerRecord::to(TOPIC).partition(partition).value("v");
        producer.deliver(record)
    });
    let outcomes = timeout(PATIENCE, futures::future::join_all(deliveries)).await.expect("in time");
    let failed = outcomes.into_iter().find_map(Result::err);
    assert!(failed.is_none(), "{}", failed.map(|error| error.to_string()).unwrap_or_default());
}

/// A broker that appends nowhere.
struct Fake {
    id: i32,
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    asked: Vec<ApiKey>,
    leads: std::ops::Range<i32>,
}

impl Fake {
    async fn start(id: i32) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let told = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, told.clone()));
            }
        });
        Fake { id, port, seen }
    }

    fn lead(&self, partitions: std::ops::Range<i32>) {
        self.seen.lock().expect("no panic").leads = partitions;
    }

    fn asked(&self) -> Vec<ApiKey> {
        self.seen.lock().expect("no panic").asked.clone()
    }

    async fn until_asked_to_produce(&self) {
        let started = Instant::now();
        while !self.asked().contains(&ApiKey::Produce) {
            assert!(started.elapsed() < PATIENCE, "the new leader is not asked");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn registration(&self) -> Registration {
        let endpoint = Endpoint {
            listener: "PLAINTEXT".into(),
            security_protocol: SecurityProtocol::Plaintext,
            host: "127.0.0.1".into(),
            port: i32::from(self.port),
        };
        Registration {
            endpoints: vec![endpoint],
            rack: None,
            jmx_port: -1,
            timestamp_ms: 0,
            features: Default::default(),
        }
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    while let Ok(length) = stream.read_i32().await {
        let mut bytes = vec![0; usize::try_from(length).expect("a length is positive")];
        stream.read_exact(&mut bytes).await.expect("a frame is whole");
        let (header, api, mut body) = frame::parse_request(Bytes::from(bytes)).expect("a request");
        let (version, id) = (header.request_api_version, header.correlation_id);
        seen.lock().expect("no panic").asked.push(api);
        let answer = match api {
            ApiKey::ApiVersions => frame::encode_response(api, version, id, &versions()),
            ApiKey::InitProducerId => {
                let response = InitProducerIdResponse { producer_id: 5, ..Default::default() };
                frame::encode_response(api, version, id, &response)
            }
            ApiKey::Produce => {
                let request = ProduceRequest::decode(&mut body, version).expect("a produce request");
                let leads = seen.lock().expect("no panic").leads.clone();
                frame::encode_response(api, version, id, &produced(request, &leads))
            }
            _ => return,
        };
        let answer = answer.expect("an answer can be written").into_bytes().expect("nothing in files");
        stream.write_all(&answer).await.expect("the producer listens");
    }
}

fn versions() -> ApiVersionsResponse {
    let of =
        |api: ApiKey, min_version, max_version| ApiVersion { api_key: api as i16, min_version, max_version };
    let api_keys = vec![
        of(ApiKey::Produce, 0, 11),
        of(ApiKey::ApiVersions, 0, 4),
        of(ApiKey::InitProducerId, 0, 5),
        of(ApiKey::Metadata, 0, 12),
    ];
    ApiVersionsResponse { api_keys, ..Default::default() }
}

fn produced(request: ProduceRequest, leads: &std::ops::Range<i32>) -> ProduceResponse {
    let answer = |index: i32| PartitionProduceResponse {
        index,
        error_code: match leads.contains(&index) {
            true => ErrorCode::None.code(),
            false => ErrorCode::NotLeaderOrFollower.code(),
        },
        ..Default::default()
    };
    let topics = request.topic_data.into_iter().map(|topic| TopicProduceResponse {
        name: topic.name,
        partition_responses: topic.partition_data.iter().map(|data| answer(data.index)).collect(),
    });
    ProduceResponse { responses: topics.collect(), ..Default::default() }
}

async fn populate(session: &Session, fakes: &[&Fake]) {
    let node = |path: String, data: Vec<u8>| Op::create(path, data);
    let directories = ["/brokers", "/brokers/ids", "/brokers/topics"];
    let mut ops: Vec<Op> = directories.map(|path| node(path.into(), Vec::new())).into();
    for fake in fakes {
        ops.push(node(broker::path(BrokerId(fake.id)), fake.registration().encode()));
    }
    let replicas = PartitionAssignment::of(fakes.iter().map(|fake| BrokerId(fake.id)).collect());
    let partitions = (0..PARTITIONS).map(|partition| (partition, replicas.clone())).collect();
    let assignment = TopicAssignment { topic_id: None, partitions };
    ops.push(node(topic::path(TOPIC), assignment.encode()));
    ops.push(node(partition::partitions_path(TOPIC), Vec::new()));
    for partition in 0..PARTITIONS {
        ops.push(node(partition::path(TOPIC, partition), Vec::new()));
        ops.push(node(partition::state_path(TOPIC, partition), state(fakes[0], 0)));
    }
    session.multi(ops).await.expect("an empty ZooKeeper takes them");
}

fn state(leader: &Fake, epoch: i32) -> Vec<u8> {
    let state = PartitionState {
        leader: BrokerId(leader.id),
        leader_epoch: LeaderEpoch(epoch),
        isr: vec![BrokerId(leader.id)],
        recovery: LeaderRecovery::Recovered,
        controller_epoch: ControllerEpoch(1),
    };
    state.encode()
}

async fn elect(session: &Session, leader: &Fake, epoch: i32) {
    let set = |partition| Op::set(partition::state_path(TOPIC, partition), state(leader, epoch), None);
    let ops: Vec<Op> = (0..PARTITIONS).map(set).collect();
    session.multi(ops).await.expect("the states are there");
}
