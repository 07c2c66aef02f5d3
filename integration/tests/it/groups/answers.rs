//! The same requests, in all versions, odd ones among them, to an Apache broker and to ours: the answers
//! are compared to the letter, but for member ids, which are numbered, and ports.

use std::fmt::Debug;

use bytes::Bytes;
use client::connection::Connection;
use client::wire::messages::join_group_request::JoinGroupRequestProtocol;
use client::wire::messages::leave_group_request::MemberIdentity;
use client::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use client::wire::messages::*;
use client::wire::{Request, Str};
use integration::cluster::PATIENCE;

use super::connect;
use crate::comparison::{assert_same_answers, one_of_each};

const SETTINGS: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.max.size", "2"),
    ("offsets.topic.num.partitions", "4"),
    ("offsets.topic.replication.factor", "1"),
];

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_apaches_in_every_version() {
    let (apache, ours) = one_of_each(SETTINGS);
    let expected = Dialogue::with(&apache.address(1)).await.hold().await;
    let seen = Dialogue::with(&ours.address(1)).await.hold().await;
    assert_same_answers(&expected, &seen, 200);
}

struct Dialogue {
    connection: Connection,
    address: String,
    port: String,
    /// Member ids in the order they were first seen.
    ids: Vec<String>,
    said: Vec<String>,
}

impl Dialogue {
    async fn with(address: &str) -> Dialogue {
        let connection = connect(address).await;
        let port = address.rsplit(':').next().expect("an address has a port").to_owned();
        Dialogue { connection, address: address.to_owned(), port, ids: Vec::new(), said: Vec::new() }
    }

    async fn hold(mut self) -> Vec<String> {
        self.find().await;
        for version in 0..=9 {
            self.join_oddly(version).await;
            self.live(version).await;
        }
        for version in 5..=9 {
            self.be_static(version).await;
        }
        self.be_full().await;
        self.said
    }

    async fn ask<R: Request>(&mut self, what: &str, version: i16, request: &R) -> R::Response
    where
        R::Response: Debug,
    {
        let response = self.connection.send(request, version).await.expect("the broker answers");
        self.note(what, version, &response);
        response
    }

    fn note(&mut self, what: &str, version: i16, response: &impl Debug) {
        let mut text = format!("{response:?}").replace(&format!("port: {}", self.port), "port: PORT");
        for (number, id) in self.ids.iter().enumerate() {
            text = text.replace(id, &format!("m{number}"));
        }
        self.said.push(format!("{what} v{version}: {text}"));
    }

    async fn join(&mut self, what: &str, version: i16, request: &JoinGroupRequest) -> JoinGroupResponse {
        let mut response = self.connection.send(request, version).await.expect("the broker answers");
        self.learn(&response);
        response.members.sort_by_key(|member| self.ids.iter().position(|id| *id == *member.member_id));
        self.note(what, version, &response);
        response
    }

    fn learn(&mut self, response: &JoinGroupResponse) {
        self.learn_id(&response.member_id);
    }

    /// Ids that a broker made are long.
    fn learn_id(&mut self, id: &str) {
        if id.len() > 30 && !self.ids.iter().any(|known| known == id) {
            self.ids.push(id.to_owned());
        }
    }

    async fn find(&mut self) {
        let request = |version, key_type| match version {
            0..=3 => {
                FindCoordinatorRequest { key: "g".into(), key_type, ..FindCoordinatorRequest::default() }
            }
            _ => FindCoordinatorRequest {
                key_type,
                coordinator_keys: vec!["g".into(), "".into()],
                ..FindCoordinatorRequest::default()
            },
        };
        // Makes the topic, and waits until it has leaders and is loaded.
        let patience = std::time::Instant::now();
        loop {
            let found = self.connection.send(&request(4, 0), 4).await.expect("the broker answers");
            let first = describe(&["ready"]);
            let described = self.connection.send(&first, 5).await.expect("the broker answers");
            if found.coordinators[0].error_code == 0 && described.groups[0].error_code == 0 {
                break;
            }
            assert!(patience.elapsed() < PATIENCE, "no coordinator: {found:?} {described:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        for version in 0..=6 {
            let types: &[i8] = if version == 0 { &[0] } else { &[0, 2, 3, -1] };
            for key_type in types {
                self.ask(&format!("find type {key_type}"), version, &request(version, *key_type)).await;
            }
        }
    }

    async fn join_oddly(&mut self, version: i16) {
        let group = format!("odd{version}");
        let usual = || join(&group, "");
        let cases = [
            ("no group", JoinGroupRequest { group_id: "".into(), ..usual() }),
            ("short session", JoinGroupRequest { session_timeout_ms: 5999, ..usual() }),
            ("long session", JoinGroupRequest { session_timeout_ms: 1_800_001, ..usual() }),
            ("unknown group", join(&group, "x")),
            ("no protocols", JoinGroupRequest { protocols: Vec::new(), ..usual() }),
            ("no type", JoinGroupRequest { protocol_type: "".into(), ..usual() }),
            ("unknown member", join(&group, "x")),
        ];
        for (what, request) in cases {
            self.join(what, version, &request).await;
        }
        self.look(&group, "after odd joins").await;
    }

    /// A group of one: it joins, syncs, beats, is looked at, leaves and is deleted.
    async fn live(&mut self, version: i16) {
        let group = format!("life{version}");
        let joined = self.enter(&group, version).await;
        let id = joined.member_id.clone();
        let generation = joined.generation_id;
        self.look(&group, "completing").await;
        for version in 0..=5 {
            let usual = || sync(&group, generation, &id);
            let cases = [
                ("sync of nobody", SyncGroupRequest { member_id: "x".into(), ..usual() }),
                ("sync without a group", SyncGroupRequest { group_id: "".into(), ..usual() }),
                ("sync of another group", SyncGroupRequest { group_id: "none".into(), ..usual() }),
                ("sync of another generation", SyncGroupRequest { generation_id: 7, ..usual() }),
            ];
            for (what, request) in cases {
                self.ask(what, version, &request).await;
            }
        }
        let usual = sync(&group, generation, &id);
        self.ask("sync by nothing", 5, &SyncGroupRequest { protocol_name: None, ..usual.clone() }).await;
        let other = SyncGroupRequest { protocol_name: Some("sticky".into()), ..usual.clone() };
        self.ask("sync by another protocol", 5, &other).await;
        let other = SyncGroupRequest { protocol_type: Some("connect".into()), ..usual.clone() };
        self.ask("sync by another type", 5, &other).await;
        self.beat(&group, &id, generation, "completing").await;
        for version in 0..=5 {
            self.ask("sync", version, &usual).await;
        }
        self.beat(&group, &id, generation, "stable").await;
        self.look(&group, "stable").await;
        // The leader asks for a rebalance, of which it is the only one.
        self.join("again", version, &join(&group, &id)).await;
        self.beat(&group, &id, generation + 1, "next generation").await;
        let connect = JoinGroupRequest { protocol_type: "connect".into(), ..join(&group, "") };
        self.join("another type", version, &connect).await;
        let other = JoinGroupRequest { protocols: vec![protocol("other", "o")], ..join(&group, "") };
        self.join("another protocol", version, &other).await;

        let delete = DeleteGroupsRequest { groups_names: vec![group.as_str().into()] };
        self.ask("delete with members", version.min(2), &delete).await;
        let unknown = DeleteGroupsRequest { groups_names: vec!["none".into()] };
        self.ask("delete of nothing", version.min(2), &unknown).await;
        let unnamed = DeleteGroupsRequest { groups_names: vec!["".into()] };
        self.ask("delete without a name", version.min(2), &unnamed).await;

        let leave_version = version.min(5);
        let leave = |group: &str, id: &str| leave(leave_version, group, id);
        let usual = leave(&group, &id);
        let nobody = leave(&group, "x");
        self.ask("leave of nobody", leave_version, &nobody).await;
        self.ask("leave of another group", leave_version, &leave("none", &id)).await;
        self.ask("leave without a group", leave_version, &leave("", &id)).await;
        if leave_version >= 3 {
            let none = LeaveGroupRequest { members: Vec::new(), ..usual.clone() };
            self.ask("leave of none", leave_version, &none).await;
            let by_instance = |member_id: &str, instance: &str| {
                let member = MemberIdentity {
                    member_id: member_id.into(),
                    group_instance_id: Some(instance.into()),
                    ..MemberIdentity::default()
                };
                LeaveGroupRequest { members: vec![member], ..usual.clone() }
            };
            self.ask("leave by instance", leave_version, &by_instance("", "i")).await;
            self.ask("leave by instance and id", leave_version, &by_instance(&id, "i")).await;
        }
        self.ask("leave", leave_version, &usual).await;
        self.beat(&group, &id, generation + 1, "left").await;
        self.ask("sync after", 3, &sync(&group, generation + 2, &id)).await;
        self.join("join after", version, &join(&group, &id)).await;
        self.look(&group, "empty").await;
        self.ask("delete", version.min(2), &delete).await;
        self.look(&group, "deleted").await;
    }

    /// Joins as the version asks for.
    async fn enter(&mut self, group: &str, version: i16) -> JoinGroupResponse {
        let first = self.join("join", version, &join(group, "")).await;
        if version < 4 {
            return first;
        }
        self.beat(group, &first.member_id, first.generation_id, "pending").await;
        self.ask("sync pending", 3, &sync(group, first.generation_id, &first.member_id)).await;
        self.look(group, "pending").await;
        self.join("join by id", version, &join(group, &first.member_id)).await
    }

    async fn be_static(&mut self, version: i16) {
        let group = format!("static{version}");
        let request = |member_id: &str| JoinGroupRequest {
            group_instance_id: Some("i".into()),
            ..join(&group, member_id)
        };
        let joined = self.join("static", version, &request("")).await;
        let usual = SyncGroupRequest {
            group_instance_id: Some("i".into()),
            ..sync(&group, joined.generation_id, &joined.member_id)
        };
        self.ask("static sync", 5, &usual).await;
        self.look(&group, "static").await;
        let back = self.join("static back", version, &request("")).await;
        for version in 3..=4 {
            for id in [&joined.member_id, &back.member_id] {
                for instance in [Some("i"), Some("j"), None] {
                    let beat = HeartbeatRequest {
                        group_id: group.as_str().into(),
                        generation_id: joined.generation_id,
                        member_id: id.clone(),
                        group_instance_id: instance.map(Str::from),
                    };
                    self.ask(&format!("static beat {instance:?}"), version, &beat).await;
                }
            }
        }
        self.join("static by its old id", version, &request(&joined.member_id)).await;
        let other = JoinGroupRequest { group_instance_id: Some("j".into()), ..join(&group, &back.member_id) };
        self.join("static by another instance", version, &other).await;
        self.ask("static sync by the old id", 5, &usual).await;
        let now = SyncGroupRequest { member_id: back.member_id.clone(), ..usual };
        self.ask("static sync by the new id", 5, &now).await;
        self.look(&group, "static back").await;
        let remove = LeaveGroupRequest {
            members: vec![MemberIdentity {
                group_instance_id: Some("i".into()),
                ..MemberIdentity::default()
            }],
            ..leave(5, &group, "")
        };
        self.ask("static leave", 5, &remove).await;
        self.look(&group, "static left").await;
    }

    /// Two members are as many as there may be.
    async fn be_full(&mut self) {
        let (group, first) = ("full", "full");
        let a = self.join("first of two", 3, &join(group, "")).await;
        self.ask("sync of one", 3, &sync(first, a.generation_id, &a.member_id)).await;
        let (address, request) = (self.address.clone(), join(group, ""));
        let second = tokio::spawn(async move {
            connect(&address).await.send(&request, 3).await.expect("the broker answers")
        });
        // The first hears of the rebalance by its heartbeat.
        loop {
            let beat = HeartbeatRequest {
                group_id: group.into(),
                generation_id: a.generation_id,
                member_id: a.member_id.clone(),
                group_instance_id: None,
            };
            let response = self.connection.send(&beat, 3).await.expect("the broker answers");
            if response.error_code != 0 {
                self.note("beat while rebalancing", 3, &response);
                break;
            }
        }
        self.look(group, "preparing").await;
        self.ask("sync while rebalancing", 3, &sync(group, a.generation_id, &a.member_id)).await;
        let again = self.join("first again", 3, &join(group, &a.member_id)).await;
        assert_eq!(again.members.len(), 2);
        let second = second.await.expect("the task ends");
        self.learn(&second);
        self.note("second", 3, &second);
        self.join("third of two", 9, &join(group, "")).await;
        self.join("third of two", 3, &join(group, "")).await;
        self.join("third by an id", 9, &join(group, "x")).await;
        // The follower asks again, and is told what it was told.
        self.join("second again", 3, &join(group, &second.member_id)).await;
    }

    async fn beat(&mut self, group: &str, id: &str, generation: i32, when: &str) {
        let usual = HeartbeatRequest {
            group_id: group.into(),
            generation_id: generation,
            member_id: id.into(),
            group_instance_id: None,
        };
        for version in 0..=4 {
            let cases = [
                ("beat", usual.clone()),
                ("beat of nobody", HeartbeatRequest { member_id: "x".into(), ..usual.clone() }),
                ("beat of another generation", HeartbeatRequest { generation_id: 9, ..usual.clone() }),
                ("beat without a group", HeartbeatRequest { group_id: "".into(), ..usual.clone() }),
                ("beat of another group", HeartbeatRequest { group_id: "none".into(), ..usual.clone() }),
            ];
            for (what, request) in cases {
                self.ask(&format!("{what} {when}"), version, &request).await;
            }
        }
    }

    /// How the group is shown.
    async fn look(&mut self, group: &str, when: &str) {
        for version in 0..=5 {
            for include in [false, true] {
                let request = DescribeGroupsRequest {
                    include_authorized_operations: include && version >= 3,
                    ..describe(&[group, "", "none"])
                };
                let mut response = self.connection.send(&request, version).await.expect("the broker answers");
                for group in &mut response.groups {
                    for member in &group.members {
                        self.learn_id(&member.member_id);
                    }
                    group
                        .members
                        .sort_by_key(|member| self.ids.iter().position(|id| *id == *member.member_id));
                }
                self.note(&format!("describe {when}"), version, &response);
            }
            let filters: &[(&str, &str)] = match version {
                0..=3 => &[("", "")],
                4 => &[("", ""), ("sTaBle", ""), ("Empty", ""), ("what", "")],
                _ => &[("", ""), ("Stable", "claSSic"), ("", "consumer"), ("", "what")],
            };
            for (states, types) in filters {
                let list = |filter: &str| if filter.is_empty() { Vec::new() } else { vec![filter.into()] };
                let request = ListGroupsRequest { states_filter: list(states), types_filter: list(types) };
                let mut response = self.connection.send(&request, version).await.expect("the broker answers");
                response.groups.retain(|listed| listed.group_id == group);
                self.note(&format!("list {states:?} {types:?} {when}"), version, &response);
            }
        }
    }
}

fn protocol(name: &str, metadata: &'static str) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol { name: name.into(), metadata: Bytes::from_static(metadata.as_bytes()) }
}

fn join(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", "first"), protocol("roundrobin", "second")],
        ..JoinGroupRequest::default()
    }
}

fn sync(group: &str, generation_id: i32, member_id: &str) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment {
        member_id: member_id.into(),
        assignment: Bytes::from_static(b"all of it"),
    };
    SyncGroupRequest {
        group_id: group.into(),
        generation_id,
        member_id: member_id.into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![assignment],
        ..SyncGroupRequest::default()
    }
}

fn leave(version: i16, group: &str, member_id: &str) -> LeaveGroupRequest {
    let usual = LeaveGroupRequest { group_id: group.into(), ..LeaveGroupRequest::default() };
    match version {
        0..=2 => LeaveGroupRequest { member_id: member_id.into(), ..usual },
        _ => {
            let member = MemberIdentity { member_id: member_id.into(), ..MemberIdentity::default() };
            LeaveGroupRequest { members: vec![member], ..usual }
        }
    }
}

fn describe(groups: &[&str]) -> DescribeGroupsRequest {
    let groups = groups.iter().map(|group| Str::from(*group)).collect();
    DescribeGroupsRequest { groups, ..DescribeGroupsRequest::default() }
}
