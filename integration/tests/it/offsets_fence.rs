//! The fence of committed offsets in a cluster: its controller moves the coordinating partition, and the former
//! coordinator does not hear of it.

use client::connection::{Connection, ConnectionOptions};
use client::ids::BrokerId;
use client::wire::Request;
use client::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use client::wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use client::wire::messages::{
    ControlledShutdownRequest, FindCoordinatorRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest,
};
use client::zk::{Session, ZkConfig};
use client::znode::partition::{PartitionState, state_path};
use integration::cluster::{Cluster, PATIENCE};
use integration::foreign::produce_with_kcat;
use integration::ports::free_port;
use integration::proxy::{Proxy, Weather};
use integration::wait::until_holds;

const PARTITIONS: i32 = 2;
const NOT_COORDINATOR: i16 = 16;

/// Two brokers that reach each other through proxies, and clients that do not.
struct Bench {
    cluster: Cluster,
    /// In front of broker 1 and 2.
    proxies: [Proxy; 2],
    zk: Session,
}

impl Bench {
    async fn start() -> Bench {
        let inside = [free_port(), free_port()];
        let [first, second] = inside.map(|port| format!("127.0.0.1:{port}"));
        let proxies = [Proxy::start(&first).await, Proxy::start(&second).await];
        let properties = |id: i32, port: u16| {
            let at = usize::try_from(id - 1).expect("ids begin with 1");
            let listeners = |inside: u16| format!("PLAINTEXT://127.0.0.1:{port},INSIDE://127.0.0.1:{inside}");
            [
                ("listeners", listeners(inside[at])),
                ("advertised.listeners", listeners(proxies[at].port())),
                ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT".to_owned()),
                ("inter.broker.listener.name", "INSIDE".to_owned()),
                ("offsets.topic.num.partitions", PARTITIONS.to_string()),
                ("offsets.topic.replication.factor", "2".to_owned()),
                ("default.replication.factor", "2".to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .to_vec()
        };
        let cluster = tokio::task::block_in_place(|| {
            let cluster = Cluster::start_each("", 2, properties);
            produce_with_kcat(&cluster.bootstrap(), "t", &["one".to_owned()], &[]);
            cluster
        });
        let config = ZkConfig::new(cluster.zookeeper.connect_string()).with_timeout(PATIENCE);
        let zk = Session::connect(config).await.expect("ZooKeeper answers");
        Bench { cluster, proxies, zk }
    }

    async fn connect(&self, broker: i32) -> Connection {
        Connection::connect(self.cluster.address(broker), "tests", ConnectionOptions::default())
            .await
            .expect("the broker listens")
    }

    async fn ask<R: Request>(&self, broker: i32, version: i16, body: &R) -> R::Response {
        self.connect(broker).await.send(body, version).await.expect("the broker answers")
    }

    /// Who coordinates the group, by what this broker knows.
    async fn coordinator(&self, by: i32, group: &str) -> Option<i32> {
        let find = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        let found = self.ask(by, 2, &find).await;
        (found.error_code == 0).then_some(found.node_id)
    }

    async fn commit(&self, broker: i32, group: &str, offset: i64) -> i16 {
        let partition = OffsetCommitRequestPartition {
            committed_offset: offset,
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] };
        let request =
            OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..Default::default() };
        self.ask(broker, 8, &request).await.topics[0].partitions[0].error_code
    }

    async fn fetch(&self, broker: i32, group: &str) -> Result<i64, i16> {
        let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] };
        let request =
            OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
        let response = self.ask(broker, 7, &request).await;
        match response.error_code {
            0 => Ok(response.topics[0].partitions[0].committed_offset),
            code => Err(code),
        }
    }

    async fn stored(&self, group: &str) -> String {
        let path = format!("/consumers/{group}/offsets/t/0");
        let node = self.zk.get(&path).await.expect("there is an offset");
        String::from_utf8(node.data).expect("it is text")
    }

    async fn leader(&self, partition: i32) -> BrokerId {
        let node = self.zk.get(&state_path("__consumer_offsets", partition)).await.expect("there is a state");
        PartitionState::decode(&node.data).expect("it can be read").leader
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_whose_partition_was_moved_without_its_knowledge_commits_nothing() {
    let bench = Bench::start().await;
    let controller = bench.ask(1, 1, &MetadataRequest::default()).await.controller_id;
    let former = 3 - controller;
    // A group of the one that does not decide.
    let mut found = None;
    until_holds("a group that the other broker coordinates", PATIENCE, async || {
        for group in ["a", "b", "c", "d"] {
            let by = [bench.coordinator(1, group).await, bench.coordinator(2, group).await];
            if by == [Some(former); 2] && bench.commit(former, group, 5).await == 0 {
                found = Some(group);
            }
        }
        found.is_some()
    })
    .await;
    let group = found.expect("one was found");
    assert_eq!((bench.stored(group).await.as_str(), bench.fetch(former, group).await), ("5", Ok(5)));

    // Nothing that other brokers say reaches it from here on; its session with ZooKeeper goes on.
    let registered = format!("/brokers/ids/{former}");
    let session = bench.zk.get(&registered).await.expect("it is registered").stat;
    bench.proxies[usize::try_from(former - 1).expect("ids begin with 1")].set(Weather::Silent);
    let leave = ControlledShutdownRequest { broker_id: former, broker_epoch: session.czxid };
    assert_eq!(bench.ask(controller, 3, &leave).await.error_code, 0);
    for partition in 0..PARTITIONS {
        assert_eq!(bench.leader(partition).await, BrokerId(controller));
    }
    assert_eq!(bench.coordinator(former, group).await, Some(former), "it has not heard of it");

    assert_eq!(bench.commit(former, group, 6).await, NOT_COORDINATOR);
    assert_eq!(bench.stored(group).await, "5");
    assert_eq!(bench.fetch(former, group).await, Err(NOT_COORDINATOR));
    assert_eq!(bench.coordinator(former, group).await, Some(former), "it still has not");
    assert_eq!(bench.zk.get(&registered).await.expect("it is registered").stat, session);
    // Whoever coordinates now does so from where the former one came to.
    let answers = async || bench.fetch(controller, group).await == Ok(5);
    until_holds("the next coordinator answers", PATIENCE, answers).await;
    assert_eq!(bench.commit(controller, group, 7).await, 0);
    assert_eq!(bench.stored(group).await, "7");
}
