//! OffsetCommit, OffsetFetch and OffsetDelete of a broker, and what stands in ZooKeeper then.

use std::time::Instant;

use client::connection::{Connection, ConnectionOptions};
use client::ids::{BrokerId, LeaderEpoch};
use client::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use client::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use client::wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use client::wire::messages::{
    FindCoordinatorRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use client::wire::{Request, Str};
use client::zk::{Session, ZkConfig};
use client::znode::partition::{PartitionState, state_path};
use integration::cluster::{Cluster, PATIENCE};
use integration::runtime::run;
use integration::wait::until_holds;

/// One broker, a topic `t` of two partitions, and a connection.
struct Bench {
    cluster: Cluster,
    connection: Connection,
}

impl Bench {
    async fn start(properties: &[(&str, &str)]) -> Bench {
        let mut all = vec![("offsets.topic.num.partitions", "3"), ("offsets.topic.replication.factor", "1")];
        all.push(("group.initial.rebalance.delay.ms", "0"));
        all.extend(properties);
        let cluster = Cluster::start(1, &all);
        let connection = connect(&cluster).await;
        let bench = Bench { cluster, connection };
        bench.create_topic().await;
        bench.coordinated("g").await;
        bench
    }

    async fn create_topic(&self) {
        use client::wire::messages::CreateTopicsRequest;
        use client::wire::messages::create_topics_request::CreatableTopic;
        let topic = CreatableTopic {
            name: "t".into(),
            num_partitions: 2,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let response = self.ask(7, &request).await;
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    }

    async fn ask<R: Request>(&self, version: i16, body: &R) -> R::Response {
        self.connection.send(body, version).await.expect("the broker answers")
    }

    /// A session beside the broker's.
    async fn zookeeper(&self) -> Session {
        let config = ZkConfig::new(self.cluster.zookeeper.connect_string()).with_timeout(PATIENCE);
        Session::connect(config).await.expect("ZooKeeper answers")
    }

    /// Waits until the group is coordinated.
    async fn coordinated(&self, group: &str) {
        let started = Instant::now();
        loop {
            let find = FindCoordinatorRequest { key: group.into(), ..Default::default() };
            let found = self.ask(2, &find).await.error_code;
            let code = if found == 0 { self.fetch(7, group, Some(&[("t", &[0])])).await.0 } else { found };
            if code == 0 {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "no coordinator: {code}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// The codes by partition, as the answer orders them.
    async fn commit(
        &self,
        version: i16,
        group: &str,
        commits: &[(&str, i32, i64, &str)],
    ) -> Vec<(String, i16)> {
        let topics = commits
            .iter()
            .map(|(topic, partition, offset, metadata)| OffsetCommitRequestTopic {
                name: Str::from(*topic),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: *partition,
                    committed_offset: *offset,
                    committed_leader_epoch: if version >= 6 { 4 } else { -1 },
                    committed_metadata: Some(Str::from(*metadata)),
                    ..Default::default()
                }],
            })
            .collect();
        let request = OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() };
        let response = self.ask(version, &request).await;
        let of_topic = response.topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|one| (format!("{}-{}", &*topic.name, one.partition_index), one.error_code))
        });
        of_topic.collect()
    }

    /// The group's code, and `topic-partition offset epoch metadata code` of each partition.
    async fn fetch(&self, version: i16, group: &str, asked: Option<&[(&str, &[i32])]>) -> (i16, Vec<String>) {
        let topics = asked.map(|topics| {
            let one = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopic {
                name: Str::from(*name),
                partition_indexes: partitions.to_vec(),
            };
            topics.iter().map(one).collect::<Vec<_>>()
        });
        let line =
            |topic: &str, partition: i32, offset: i64, epoch: i32, metadata: &Option<Str>, code: i16| {
                format!(
                    "{topic}-{partition} {offset} {epoch} {} {code}",
                    metadata.as_deref().unwrap_or("null")
                )
            };
        if version < 8 {
            let request = OffsetFetchRequest { group_id: group.into(), topics, ..Default::default() };
            let response = self.ask(version, &request).await;
            let lines = response.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|one| {
                    let (offset, epoch) = (one.committed_offset, one.committed_leader_epoch);
                    line(&topic.name, one.partition_index, offset, epoch, &one.metadata, one.error_code)
                })
            });
            return (response.error_code, lines.collect());
        }
        use client::wire::messages::offset_fetch_request::OffsetFetchRequestTopics;
        let topics = topics.map(|topics| {
            topics
                .into_iter()
                .map(|topic| OffsetFetchRequestTopics {
                    name: topic.name,
                    partition_indexes: topic.partition_indexes,
                })
                .collect()
        });
        let one = OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![one], ..Default::default() };
        let response = self.ask(version, &request).await;
        let group = &response.groups[0];
        let lines = group.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|one| {
                let (offset, epoch) = (one.committed_offset, one.committed_leader_epoch);
                line(&topic.name, one.partition_index, offset, epoch, &one.metadata, one.error_code)
            })
        });
        (group.error_code, lines.collect())
    }

    async fn delete(&self, group: &str, partitions: &[(&str, i32)]) -> (i16, Vec<i16>) {
        let topics = partitions
            .iter()
            .map(|(topic, partition)| OffsetDeleteRequestTopic {
                name: Str::from(*topic),
                partitions: vec![OffsetDeleteRequestPartition { partition_index: *partition }],
            })
            .collect();
        let response = self.ask(0, &OffsetDeleteRequest { group_id: group.into(), topics }).await;
        let codes =
            response.topics.iter().flat_map(|topic| topic.partitions.iter().map(|one| one.error_code));
        (response.error_code, codes.collect())
    }

    async fn join_and_leave(&self, group: &str) {
        use client::wire::messages::join_group_request::JoinGroupRequestProtocol;
        use client::wire::messages::{JoinGroupRequest, LeaveGroupRequest};
        let join = JoinGroupRequest {
            group_id: group.into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
            ..Default::default()
        };
        let joined = self.ask(3, &join).await;
        assert_eq!(joined.error_code, 0, "{joined:?}");
        let leave = LeaveGroupRequest {
            group_id: group.into(),
            member_id: joined.member_id,
            ..LeaveGroupRequest::default()
        };
        assert_eq!(self.ask(1, &leave).await.error_code, 0);
    }

    async fn list(&self) -> Vec<String> {
        let listed = self.ask(4, &ListGroupsRequest::default()).await;
        listed.groups.iter().map(|group| group.group_id.to_string()).collect()
    }
}

async fn connect(cluster: &Cluster) -> Connection {
    Connection::connect(cluster.address(1), "tests", ConnectionOptions::default())
        .await
        .expect("the broker listens")
}

fn ok(names: &[&str]) -> Vec<(String, i16)> {
    names.iter().map(|name| (name.to_string(), 0)).collect()
}

#[test]
fn every_version_commits_and_fetches() {
    run(async {
        let bench = Bench::start(&[]).await;
        let long = "x".repeat(4097);
        for version in 0..=9 {
            let group = format!("g{version}");
            bench.coordinated(&group).await;
            let commits = [("t", 0, 40, "words"), ("t", 1, -7, ""), ("none", 0, 1, ""), ("t", 5, 1, "")];
            let said = bench.commit(version, &group, &commits).await;
            let expected = [("t-0", 0), ("t-1", 0), ("t-5", 3), ("none-0", 3)];
            assert_eq!(said.len(), 4, "{said:?}");
            for (name, code) in expected {
                assert!(said.contains(&(name.to_string(), code)), "v{version} {name} {code}: {said:?}");
            }
            assert_eq!(
                bench.commit(version, &group, &[("t", 0, 41, &long)]).await,
                [("t-0".to_string(), 12)]
            );
            // Listed twice: the last one counts.
            let twice = bench.commit(version, &group, &[("t", 0, 42, "a"), ("t", 0, 43, "b")]).await;
            assert_eq!(twice, ok(&["t-0"]));

            let asked: &[(&str, &[i32])] = &[("t", &[0, 1]), ("none", &[0])];
            let (code, found) = bench.fetch(version, &group, Some(asked)).await;
            let epoch = if version >= 6 { 4 } else { -1 };
            let expected = match version {
                0 => vec!["t-0 43 -1  0".to_string(), "t-1 -7 -1  0".into(), "none-0 -1 -1  3".into()],
                // The epoch is in the answer from version 5 on.
                _ => vec![
                    format!("t-0 43 {epoch} b 0"),
                    format!("t-1 -7 {epoch}  0"),
                    "none-0 -1 -1  0".into(),
                ],
            };
            assert_eq!((code, found), (0, expected), "v{version}");
            if version >= 2 {
                let all = bench.fetch(version, &group, None).await;
                assert_eq!(
                    all,
                    (0, vec![format!("t-0 43 {epoch} b 0"), format!("t-1 -7 {epoch}  0")]),
                    "v{version}"
                );
                assert_eq!(bench.fetch(version, &group, Some(&[])).await, (0, vec![]));
            }
        }
        let zookeeper = bench.zookeeper().await;
        assert_eq!(zookeeper.get("/consumers/g9/offsets/t/0").await.unwrap().data, b"43");
        assert!(zookeeper.exists("/consumers/g9/commits/t/0").await.unwrap().is_some());
        let beside = zookeeper.exists("/consumers/g0/commits").await.unwrap();
        assert_eq!(beside, None, "version 0 is a classic consumer's");
    });
}

#[test]
fn classic_and_modern_commits_meet_and_offsets_are_deleted() {
    run(async {
        let bench = Bench::start(&[]).await;
        assert_eq!(bench.commit(8, "g", &[("t", 0, 5, "m")]).await, ok(&["t-0"]));
        assert_eq!(bench.commit(0, "g", &[("t", 0, 9, "lost")]).await, ok(&["t-0"]));
        assert_eq!(bench.fetch(8, "g", None).await, (0, vec!["t-0 9 -1  0".into()]));
        assert_eq!(bench.commit(0, "classic", &[("t", 0, 3, "")]).await, ok(&["t-0"]));
        assert_eq!(bench.fetch(8, "classic", None).await, (0, vec!["t-0 3 -1  0".into()]));
        assert_eq!(bench.list().await, ["g"], "a classic group is no group of Kafka's");
        for (odd, code) in [("a/b", 0), ("", -1), (".", -1), ("x\u{1}", -1)] {
            assert_eq!(
                bench.commit(0, odd, &[("t", 0, 5, "")]).await,
                [("t-0".to_string(), code)],
                "{odd:?}"
            );
            assert_eq!(bench.commit(8, odd, &[("t", 0, 6, "")]).await, ok(&["t-0"]), "{odd:?}");
            assert_eq!(bench.fetch(8, odd, None).await, (0, vec!["t-0 6 4  0".into()]), "{odd:?}");
        }

        assert_eq!(bench.delete("nobody", &[("t", 0)]).await, (69, vec![]));
        assert_eq!(bench.delete("g", &[("t", 0), ("none", 0), ("t", 9)]).await, (0, vec![0, 3, 3]));
        assert_eq!(bench.fetch(8, "g", None).await, (0, vec![]));
        assert_eq!(bench.fetch(8, "g", Some(&[("t", &[0])])).await, (0, vec!["t-0 -1 -1  0".into()]));

        // A member of no group, and of one that is not there.
        let mut request = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: 1,
            member_id: "nobody".into(),
            topics: vec![OffsetCommitRequestTopic {
                name: "t".into(),
                partitions: vec![OffsetCommitRequestPartition::default()],
            }],
            ..Default::default()
        };
        let code = bench.ask(8, &request).await.topics[0].partitions[0].error_code;
        assert_eq!(code, 25, "UNKNOWN_MEMBER_ID");
        request.group_id = "another".into();
        let code = bench.ask(8, &request).await.topics[0].partitions[0].error_code;
        assert_eq!(code, 22, "ILLEGAL_GENERATION");
    });
}

/// By age, only what a coordinator wrote: what a classic consumer wrote lasts, though the group it shares with
/// members is gone.
#[test]
fn what_has_expired_goes_and_a_classic_consumers_offsets_stay() {
    run(async {
        let bench = Bench::start(&[("offsets.retention.check.interval.ms", "300")]).await;
        assert_eq!(bench.commit(8, "g", &[("t", 1, 5, "lasts")]).await, ok(&["t-1"]));
        assert_eq!(bench.commit(0, "g", &[("t", 0, 6, "")]).await, ok(&["t-0"]));
        let topic = OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() }],
        };
        let topics = vec![topic];
        let brief = OffsetCommitRequest {
            group_id: "brief".into(),
            retention_time_ms: 1,
            topics,
            ..Default::default()
        };
        assert_eq!(bench.ask(4, &brief).await.topics[0].partitions[0].error_code, 0);
        assert_eq!(bench.commit(0, "members", &[("t", 0, 7, "")]).await, ok(&["t-0"]));
        bench.join_and_leave("members").await;
        until_holds("the others are gone", PATIENCE, async || bench.list().await == ["g"]).await;

        let zookeeper = bench.zookeeper().await;
        assert_eq!(zookeeper.exists("/consumers/brief").await.unwrap(), None);
        assert_eq!(bench.fetch(8, "brief", None).await, (0, vec![]));
        assert_eq!(bench.fetch(8, "members", None).await, (0, vec!["t-0 7 -1  0".into()]));
        assert_eq!(
            bench.fetch(8, "g", None).await,
            (0, vec!["t-0 6 -1  0".into(), "t-1 5 4 lasts 0".into()])
        );
    });
}

#[test]
fn the_offsets_of_a_deleted_topic_go() {
    use client::wire::messages::DeleteTopicsRequest;
    run(async {
        let bench = Bench::start(&[]).await;
        assert_eq!(bench.commit(8, "g", &[("t", 0, 5, ""), ("t", 1, 5, "")]).await, ok(&["t-0", "t-1"]));
        assert_eq!(
            bench.commit(8, "g", &[("__consumer_offsets", 0, 5, "")]).await,
            ok(&["__consumer_offsets-0"])
        );
        let request =
            DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 30_000, ..Default::default() };
        assert_eq!(bench.ask(5, &request).await.responses[0].error_code, 0);
        let rest = (0, vec!["__consumer_offsets-0 5 4  0".into()]);
        until_holds("the topic's offsets go", PATIENCE, async || bench.fetch(8, "g", None).await == rest)
            .await;
        let zookeeper = bench.zookeeper().await;
        until_holds("the topic is gone", PATIENCE, async || {
            let mark = zookeeper.get_if_exists("/admin/delete_topics/t").await;
            mark.expect("ZooKeeper answers").is_none()
        })
        .await;
        bench.create_topic().await;
        assert_eq!(bench.fetch(8, "g", Some(&[("t", &[0])])).await, (0, vec!["t-0 -1 -1  0".into()]));
    });
}

/// A group whose offsets cannot be deleted is not deleted at all.
#[test]
fn a_group_that_cannot_be_deleted_is_there_as_before() {
    use client::wire::messages::DeleteGroupsRequest;
    run(async {
        let bench = Bench::start(&[("offsets.commit.timeout.ms", "300")]).await;
        until_holds("it commits", PATIENCE, async || {
            bench.commit(8, "g", &[("t", 0, 5, "")]).await == ok(&["t-0"])
        })
        .await;
        let delete = DeleteGroupsRequest { groups_names: vec!["g".into()] };
        bench.cluster.zookeeper.pause();
        assert_eq!(bench.ask(2, &delete).await.results[0].error_code, 14, "COORDINATOR_LOAD_IN_PROGRESS");
        // This one is on its way, and may be done.
        assert_eq!(bench.commit(8, "g", &[("t", 0, 7, "")]).await, [("t-0".into(), 14)]);
        for version in [2, 7, 8, 9] {
            assert_eq!(bench.fetch(version, "g", None).await, (14, vec![]), "version {version}");
            assert_eq!(bench.fetch(version, "g", Some(&[("t", &[0])])).await, (14, vec![]));
        }
        bench.cluster.zookeeper.resume();
        assert_eq!(bench.list().await, ["g"]);
        until_holds("it can be read", PATIENCE, async || bench.fetch(8, "g", None).await.0 == 0).await;
        until_holds("it commits again", PATIENCE, async || {
            bench.commit(8, "g", &[("t", 0, 6, "")]).await == ok(&["t-0"])
        })
        .await;
        until_holds("it is as before", PATIENCE, async || {
            bench.fetch(8, "g", None).await == (0, vec!["t-0 6 4  0".into()])
        })
        .await;
        until_holds("it is deleted", PATIENCE, async || {
            bench.ask(2, &delete).await.results[0].error_code == 0
        })
        .await;
        assert_eq!(bench.list().await, [""; 0]);
        assert_eq!(bench.fetch(8, "g", None).await, (0, vec![]));
    });
}

/// The controller has elected another leader, and this broker has not heard of it.
#[test]
fn a_deposed_coordinator_that_has_not_heard_of_it_commits_nothing() {
    run(async {
        let bench = Bench::start(&[]).await;
        assert_eq!(bench.commit(8, "g", &[("t", 0, 5, "")]).await, ok(&["t-0"]));
        let zookeeper = bench.zookeeper().await;
        for partition in 0..3 {
            let path = state_path("__consumer_offsets", partition);
            let state = PartitionState::decode(&zookeeper.get(&path).await.unwrap().data).unwrap();
            let elected = PartitionState {
                leader: BrokerId(99),
                leader_epoch: LeaderEpoch(state.leader_epoch.0 + 1),
                ..state
            };
            zookeeper.set(&path, elected.encode(), None).await.unwrap();
        }
        assert_eq!(bench.commit(8, "g", &[("t", 0, 6, "")]).await, [("t-0".to_string(), 16)]);
        assert_eq!(zookeeper.get("/consumers/g/offsets/t/0").await.unwrap().data, b"5");
        assert_eq!(bench.fetch(8, "g", None).await, (16, vec![]));
    });
}

/// What is committed outlives the coordinator, whatever it is kept in; groups without members too.
#[test]
fn offsets_outlive_a_restart_in_every_storage() {
    run(async {
        for storage in ["zookeeper", "both", "kafka"] {
            let mut bench = Bench::start(&[("offsets.storage", storage)]).await;
            assert_eq!(bench.commit(8, "g", &[("t", 0, 5, "m"), ("t", 1, 1, "")]).await, ok(&["t-0", "t-1"]));
            assert_eq!(bench.commit(8, "g", &[("t", 0, 6, "n")]).await, ok(&["t-0"]));
            assert_eq!(bench.delete("g", &[("t", 1)]).await, (0, vec![0]));
            let zookeeper = bench.zookeeper().await;
            let in_zookeeper = zookeeper.exists("/consumers/g/offsets/t/0").await.unwrap().is_some();
            assert_eq!(in_zookeeper, storage != "kafka", "{storage}");
            if storage == "both" {
                // The log alone brings it back.
                zookeeper.delete_recursive("/consumers/g").await.unwrap();
            }
            bench.cluster.kill(1);
            bench.cluster.start_broker(1);
            bench.cluster.wait_until_serving();
            bench.connection = connect(&bench.cluster).await;
            bench.coordinated("g").await;
            assert_eq!(bench.fetch(8, "g", None).await, (0, vec!["t-0 6 4 n 0".into()]), "{storage}");
            assert_eq!(bench.list().await, ["g"], "{storage}");
        }
    });
}
