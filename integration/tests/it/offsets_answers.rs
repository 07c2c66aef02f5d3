//! OffsetCommit, OffsetFetch and OffsetDelete in all versions, odd requests among them, to an Apache broker and
//! to ours: the answers are compared to the letter, but for the order of topics.

use std::fmt::Debug;
use std::time::Instant;

use bytes::Bytes;
use client::connection::{Connection, ConnectionOptions};
use client::wire::messages::create_topics_request::CreatableTopic;
use client::wire::messages::join_group_request::JoinGroupRequestProtocol;
use client::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use client::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use client::wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use client::wire::messages::{
    CreateTopicsRequest, FindCoordinatorRequest, JoinGroupRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use client::wire::{Request, Str};
use integration::cluster::PATIENCE;

use crate::comparison::{assert_same_answers, one_of_each};

const SETTINGS: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "2"),
    ("offsets.topic.replication.factor", "1"),
    ("offset.metadata.max.bytes", "20"),
];

/// A subscription to `t`, as consumers send it.
const READS_T: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_offsets_are_apaches_in_every_version() {
    let (apache, ours) = one_of_each(SETTINGS);
    let expected = Dialogue::with(&apache.address(1)).await.hold().await;
    let seen = Dialogue::with(&ours.address(1)).await.hold().await;
    assert_same_answers(&expected, &seen, 250);
}

/// By topic: partition, offset and text.
type Commits<'a> = &'a [(&'a str, &'a [(i32, i64, Option<&'a str>)])];

/// Partitions by topic.
type Asked<'a> = &'a [(&'a str, &'a [i32])];

struct Dialogue {
    connection: Connection,
    said: Vec<String>,
}

/// Who commits.
#[derive(Clone, Copy)]
struct Who<'a> {
    group: &'a str,
    member: &'a str,
    generation: i32,
    instance: Option<&'a str>,
}

fn nobody(group: &str) -> Who<'_> {
    Who { group, member: "", generation: -1, instance: None }
}

impl Dialogue {
    async fn with(address: &str) -> Dialogue {
        let connection = Connection::connect(address, "tests", ConnectionOptions::default());
        Dialogue { connection: connection.await.expect("the broker listens"), said: Vec::new() }
    }

    async fn hold(mut self) -> Vec<String> {
        for version in 1..=9 {
            let fetch = fetch(version, &["a"], Some(&[("t", &[0, 1])]));
            self.fetch("without a coordinator", version, &fetch).await;
        }
        self.prepare().await;
        for version in 0..=9 {
            self.commit_alone(version).await;
            self.commit_oddly(version).await;
        }
        for version in 1..=9 {
            self.commit_in_a_group(version).await;
        }
        self.fetch_many().await;
        self.delete_oddly().await;
        self.said
    }

    /// A topic, and a coordinator for all groups.
    async fn prepare(&mut self) {
        for name in ["t", "u"] {
            let topic = CreatableTopic {
                name: name.into(),
                num_partitions: 2,
                replication_factor: 1,
                ..CreatableTopic::default()
            };
            let request =
                CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
            let response = self.ask(5, &request).await;
            assert_eq!(response.topics[0].error_code, 0, "{response:?}");
        }
        let started = Instant::now();
        // Of either partition.
        for group in ["a", "b"] {
            loop {
                let find = FindCoordinatorRequest { key: group.into(), ..Default::default() };
                let found = self.ask(2, &find).await.error_code;
                let commit = commit(nobody(group), &[("t", &[(0, 1, Some(""))])]);
                let committed = self.ask(8, &commit).await;
                if found == 0 && committed.topics[0].partitions[0].error_code == 0 {
                    break;
                }
                assert!(started.elapsed() < PATIENCE, "no coordinator: {committed:?}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }

    async fn ask<R: Request>(&self, version: i16, request: &R) -> R::Response {
        self.connection.send(request, version).await.expect("the broker answers")
    }

    fn note(&mut self, what: &str, version: i16, response: &impl Debug) {
        self.said.push(format!("{what} v{version}: {response:?}"));
    }

    async fn commit(&mut self, what: &str, version: i16, request: &OffsetCommitRequest) {
        let mut response = self.ask(version, request).await;
        response.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut response.topics {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
        }
        self.note(&format!("commit {what}"), version, &response);
    }

    async fn fetch(&mut self, what: &str, version: i16, request: &OffsetFetchRequest) {
        let mut response = self.ask(version, request).await;
        response.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut response.topics {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
        }
        response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        for group in &mut response.groups {
            group.topics.sort_by(|a, b| a.name.cmp(&b.name));
            for topic in &mut group.topics {
                topic.partitions.sort_by_key(|partition| partition.partition_index);
            }
        }
        self.note(&format!("fetch {what}"), version, &response);
    }

    async fn delete(&mut self, what: &str, request: &OffsetDeleteRequest) {
        let mut response = self.ask(0, request).await;
        response.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut response.topics {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
        }
        self.note(&format!("delete {what}"), 0, &response);
    }

    /// Without being a member of anything.
    async fn commit_alone(&mut self, version: i16) {
        let group = format!("alone{version}");
        let who = nobody(&group);
        let cases: [(&str, Commits<'_>); 11] = [
            ("plainly", &[("t", &[(0, 5, Some("m")), (1, 0, Some(""))])]),
            ("without text", &[("t", &[(0, 6, None)])]),
            ("as much text as there may be", &[("t", &[(1, 6, Some("12345678901234567890"))])]),
            ("too much text", &[("t", &[(0, 7, Some("123456789012345678901")), (1, 7, Some("ok"))])]),
            ("no topics", &[]),
            ("no partitions", &[("t", &[])]),
            ("an unknown topic", &[("none", &[(0, 7, Some(""))]), ("u", &[(0, 7, Some(""))])]),
            ("unknown partitions", &[("t", &[(2, 7, Some("")), (-1, 7, Some("")), (0, 8, Some("n"))])]),
            ("odd offsets", &[("u", &[(0, -1, Some("")), (1, i64::MIN, Some(""))])]),
            ("a large offset", &[("u", &[(1, i64::MAX, Some("large"))])]),
            ("an internal topic", &[("__consumer_offsets", &[(0, 1, Some(""))])]),
        ];
        for (what, topics) in cases {
            self.commit(what, version, &commit(who, topics)).await;
        }
        for name in ["", ".", "a/b", "x\u{1}", &"x".repeat(250)] {
            self.commit("a topic with an odd name", version, &commit(who, &[(name, &[(0, 1, Some(""))])]))
                .await;
        }
        let mut known = commit(who, &[("t", &[(0, 9, Some("epoch"))])]);
        known.topics[0].partitions[0].committed_leader_epoch = if version >= 6 { 7 } else { -1 };
        self.commit("with an epoch", version, &known).await;
        // Version 0 is ZooKeeper's, where Apache's other versions find nothing, nor write anything.
        let versions = if version == 0 { 0..=0 } else { 1..=9 };
        for version in versions {
            self.fetch_all_ways(&group, version).await;
        }
    }

    async fn fetch_all_ways(&mut self, group: &str, version: i16) {
        let mut asks: Vec<(&str, Option<Asked<'_>>)> = vec![
            ("all that there is", Some(&[("t", &[0, 1]), ("u", &[0, 1])])),
            ("what there is not", Some(&[("none", &[0]), ("t", &[1, 2, -1])])),
            ("nothing", Some(&[])),
            ("no partitions", Some(&[("t", &[])])),
            ("odd names", Some(&[("", &[0]), ("a/b", &[0]), (".", &[0])])),
        ];
        if version >= 2 {
            asks.push(("everything", None));
        }
        for (what, topics) in asks {
            for stable in [false, true] {
                if stable && version < 7 {
                    continue;
                }
                let request =
                    OffsetFetchRequest { require_stable: stable, ..fetch(version, &[group], topics) };
                self.fetch(what, version, &request).await;
            }
        }
    }

    async fn commit_oddly(&mut self, version: i16) {
        let group = format!("odd{version}");
        let topics: Commits<'_> = &[("t", &[(0, 5, Some(""))]), ("none", &[(0, 5, Some(""))])];
        // Version 0 has no members, and ZooKeeper no name for the empty group.
        if version >= 1 {
            let usual = nobody(&group);
            let mut cases = vec![
                ("for no group", nobody("")),
                ("as an unknown member", Who { member: "x", ..usual }),
                ("as an unknown member of a generation", Who { member: "x", generation: 1, ..usual }),
                ("as nobody in a generation", Who { generation: 0, ..usual }),
                ("in an odd generation", Who { generation: -2, ..usual }),
            ];
            if version >= 7 {
                cases.push(("as an unknown instance", Who { instance: Some("i"), ..usual }));
                cases.push((
                    "as an unknown instance of a generation",
                    Who { instance: Some("i"), member: "x", generation: 3, ..usual },
                ));
            }
            for (what, who) in cases {
                self.commit(what, version, &commit(who, topics)).await;
            }
        }
        for name in [group.as_str(), ""] {
            for version in 1..=9 {
                self.fetch("after odd commits", version, &fetch(version, &[name], Some(&[("t", &[0])])))
                    .await;
            }
        }
        if (2..=4).contains(&version) {
            let request =
                OffsetCommitRequest { retention_time_ms: 3_600_000, ..commit(nobody(&group), topics) };
            self.commit("with a retention", version, &request).await;
        }
        if version == 1 {
            let mut request = commit(nobody(&group), topics);
            request.topics[0].partitions[0].commit_timestamp = 1_000;
            self.commit("with a time", version, &request).await;
        }
    }

    /// As a member, from joining on.
    async fn commit_in_a_group(&mut self, version: i16) {
        let group = format!("members{version}");
        let joining = |member: &str, protocol_type: &str| JoinGroupRequest {
            group_id: group.as_str().into(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            member_id: member.into(),
            group_instance_id: Some("i".into()),
            protocol_type: protocol_type.into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: Bytes::from_static(READS_T),
            }],
            ..JoinGroupRequest::default()
        };
        let protocol_type = if version == 9 { "connect" } else { "consumer" };
        let joined = self.ask(5, &joining("", protocol_type)).await;
        assert_eq!(joined.error_code, 0, "{joined:?}");
        let member = joined.member_id.to_string();
        let who = Who { group: &group, member: &member, generation: joined.generation_id, instance: None };
        self.commit_as(who, "while it rebalances", version).await;
        let sync = SyncGroupRequest {
            group_id: group.as_str().into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            group_instance_id: Some("i".into()),
            ..SyncGroupRequest::default()
        };
        let synced = self.ask(4, &sync).await;
        assert_eq!(synced.error_code, 0, "{synced:?}");
        self.commit_as(who, "in a stable group", version).await;
        let known = fetch(version, &[&group], Some(&[("t", &[0, 1])]));
        self.fetch("of a stable group", version, &known).await;
        if version == 9 {
            for (member, epoch) in [(Some("x"), 1), (Some(member.as_str()), joined.generation_id), (None, 5)]
            {
                let mut request = known.clone();
                request.groups[0].member_id = member.map(Str::from);
                request.groups[0].member_epoch = epoch;
                self.fetch("as a member", version, &request).await;
            }
        }
        for (what, deletion) in [
            ("of what is read", delete(&group, &[("t", &[0, 7]), ("u", &[0, 7]), ("none", &[0])])),
            ("of nothing", delete(&group, &[])),
        ] {
            self.delete(what, &deletion).await;
        }
        self.fetch("after deletion", version, &fetch(version, &[&group], Some(&[("t", &[0])]))).await;
    }

    async fn commit_as(&mut self, who: Who<'_>, when: &str, version: i16) {
        let mut cases = vec![
            ("as a member", who),
            ("as another member", Who { member: "x", ..who }),
            ("of the next generation", Who { generation: who.generation + 1, ..who }),
            ("of the last generation", Who { generation: who.generation - 1, ..who }),
            ("of no generation", Who { generation: -1, ..who }),
            ("as nobody", nobody(who.group)),
        ];
        if version >= 7 {
            cases.push(("as its instance", Who { instance: Some("i"), ..who }));
            cases.push(("as another instance", Who { instance: Some("j"), ..who }));
            cases.push(("as its instance by another id", Who { instance: Some("i"), member: "x", ..who }));
        }
        for (what, who) in cases {
            let topics: Commits<'_> =
                &[("t", &[(0, 5, Some("")), (9, 5, Some("")), (1, 5, Some("123456789012345678901"))])];
            self.commit(&format!("{what} {when}"), version, &commit(who, topics)).await;
        }
    }

    async fn fetch_many(&mut self) {
        for version in 8..=9 {
            for groups in [&["alone1", "none", "alone2"][..], &["alone1", ""], &["alone1", "alone1"]] {
                for topics in [None, Some(&[("t", &[0, 1][..])][..])] {
                    self.fetch(&format!("of {groups:?}"), version, &fetch(version, groups, topics)).await;
                }
            }
        }
    }

    async fn delete_oddly(&mut self) {
        for (what, request) in [
            ("for no group", delete("", &[("t", &[0])])),
            ("for an unknown group", delete("none", &[("t", &[0])])),
            ("for an unknown group of nothing", delete("none", &[])),
            ("of nothing", delete("alone3", &[])),
            ("of what is not there", delete("alone3", &[("none", &[0]), ("t", &[5, -1]), ("", &[0])])),
            ("of some", delete("alone3", &[("t", &[0]), ("u", &[1])])),
            ("of some again", delete("alone3", &[("t", &[0]), ("u", &[1])])),
            ("of the rest", delete("alone3", &[("t", &[1]), ("u", &[0]), ("__consumer_offsets", &[0])])),
        ] {
            self.delete(what, &request).await;
            self.fetch(&format!("after delete {what}"), 7, &fetch(7, &["alone3"], None)).await;
        }
    }
}

fn commit(who: Who<'_>, topics: Commits<'_>) -> OffsetCommitRequest {
    let topics = topics.iter().map(|(name, partitions)| {
        let partitions = partitions.iter().map(|(partition, offset, text)| OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            committed_metadata: text.map(Str::from),
            ..OffsetCommitRequestPartition::default()
        });
        OffsetCommitRequestTopic { name: Str::from(*name), partitions: partitions.collect() }
    });
    OffsetCommitRequest {
        group_id: who.group.into(),
        generation_id_or_member_epoch: who.generation,
        member_id: who.member.into(),
        group_instance_id: who.instance.map(Str::from),
        topics: topics.collect(),
        ..OffsetCommitRequest::default()
    }
}

/// `topics`: `None` for all.
fn fetch(version: i16, groups: &[&str], topics: Option<Asked<'_>>) -> OffsetFetchRequest {
    if version >= 8 {
        let topics = topics.map(|topics| {
            let one = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopics {
                name: Str::from(*name),
                partition_indexes: partitions.to_vec(),
            };
            topics.iter().map(one).collect::<Vec<_>>()
        });
        let groups = groups.iter().map(|group| OffsetFetchRequestGroup {
            group_id: Str::from(*group),
            topics: topics.clone(),
            ..OffsetFetchRequestGroup::default()
        });
        return OffsetFetchRequest { groups: groups.collect(), ..OffsetFetchRequest::default() };
    }
    let topics = topics.map(|topics| {
        let one = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopic {
            name: Str::from(*name),
            partition_indexes: partitions.to_vec(),
        };
        topics.iter().map(one).collect()
    });
    OffsetFetchRequest { group_id: groups[0].into(), topics, ..OffsetFetchRequest::default() }
}

fn delete(group: &str, topics: Asked<'_>) -> OffsetDeleteRequest {
    let topics = topics.iter().map(|(name, partitions)| OffsetDeleteRequestTopic {
        name: Str::from(*name),
        partitions: partitions
            .iter()
            .map(|partition| OffsetDeleteRequestPartition { partition_index: *partition })
            .collect(),
    });
    OffsetDeleteRequest { group_id: group.into(), topics: topics.collect() }
}
