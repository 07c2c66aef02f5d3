//! One broker with a topic, whose groups are measured.

use std::time::{Duration, Instant};

use client::connection::{Connection, ConnectionOptions};
use client::wire::messages::create_topics_request::CreatableTopic;
use client::wire::messages::{CreateTopicsRequest, FindCoordinatorRequest, OffsetFetchRequest};
use futures::StreamExt;
use futures::stream;

use super::offset_commits::commit;
use crate::cluster::{Cluster, PATIENCE};

pub(super) const TOPIC: &str = "t";

/// Connections that the groups share.
const CONNECTIONS: usize = 16;

/// Groups that commit for the first time together.
const AT_A_TIME: usize = 200;

/// A broker that coordinates every group.
#[derive(Debug)]
pub(super) struct Bench {
    _cluster: Cluster,
    connections: Vec<Connection>,
    next: std::sync::atomic::AtomicUsize,
}

impl Bench {
    /// `partitions`: of the topic.
    pub(super) async fn start(partitions: i32) -> Bench {
        let cluster = Cluster::start(1, &[("offsets.topic.replication.factor", "1")]);
        let options = ConnectionOptions { max_in_flight: 1000, ..ConnectionOptions::default() };
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let connection = Connection::connect(cluster.address(1), "bench", options.clone()).await;
            connections.push(connection.expect("the broker listens"));
        }
        let bench = Bench { _cluster: cluster, connections, next: Default::default() };
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let created = bench.connection().send(&request, 7).await.expect("the broker answers");
        assert_eq!(created.topics.first().map(|topic| topic.error_code), Some(0), "{created:?}");
        bench
    }

    /// One of the connections, each in its turn.
    pub(super) fn connection(&self) -> Connection {
        let next = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.connections[next % self.connections.len()].clone()
    }

    /// Waits until each group is coordinated, and lets it commit.
    pub(super) async fn commit_once(&self, groups: &[String], partitions: i32) {
        stream::iter(groups)
            .for_each_concurrent(AT_A_TIME, async |group| {
                let connection = self.connection();
                coordinated(&connection, group).await;
                commit(&connection, group, partitions, 0).await;
            })
            .await;
    }
}

/// Waits until the broker has loaded the group.
pub(super) async fn coordinated(connection: &Connection, group: &str) {
    let started = Instant::now();
    loop {
        let find = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        let mut code = connection.send(&find, 2).await.expect("the broker answers").error_code;
        if code == 0 {
            let fetch =
                OffsetFetchRequest { group_id: group.into(), topics: Some(vec![]), ..Default::default() };
            code = connection.send(&fetch, 7).await.expect("the broker answers").error_code;
        }
        if code == 0 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{group} has no coordinator: {code}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
