//! `__consumer_offsets` as Apache's broker writes it and as ours does: each goes on with what the other left.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::connection::{Connection, ConnectionError};
use client::wire::messages::create_topics_request::CreatableTopic;
use client::wire::messages::describe_groups_response::DescribedGroup;
use client::wire::messages::join_group_request::JoinGroupRequestProtocol;
use client::wire::messages::leave_group_request::MemberIdentity;
use client::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use client::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use client::wire::messages::{
    CreateTopicsRequest, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest,
    SyncGroupRequest,
};
use integration::apache::Release;
use integration::apache_cluster::{ApacheBroker, ApacheCluster};
use integration::cluster::{Cluster, PATIENCE, ottla};
use integration::ports::free_port;
use integration::process::{Process, succeed};
use integration::wait;

use super::{ask, connect};

const SETTINGS: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "4"),
    ("offsets.topic.replication.factor", "1"),
];

/// Groups of one member, dynamic and static, by names that fall on different partitions.
const GROUPS: [(&str, Option<&str>); 4] =
    [("dynamic", None), ("static", Some("i")), ("g1", None), ("g2", Some("j"))];

/// `ConsumerProtocolSubscription` version 0, which Apache's coordinator parses: topic `t`, no user data.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";

#[tokio::test(flavor = "multi_thread")]
async fn our_broker_goes_on_with_apaches_groups() {
    let mut apache = blocking(|| ApacheCluster::start(1, SETTINGS)).await;
    let left = make_groups(&apache.address(1)).await;
    let zookeeper = apache.zookeeper.connect_string();
    let data = apache.data(1);
    let apache = blocking(move || {
        apache.terminate(1);
        apache
    })
    .await;
    let (ours, address) = blocking(move || start_ours(&zookeeper, &data)).await;
    go_on(&address, &left).await;
    drop((ours, apache));
}

#[tokio::test(flavor = "multi_thread")]
async fn apaches_broker_goes_on_with_our_groups() {
    let mut ours = blocking(|| Cluster::start(1, SETTINGS)).await;
    let left = make_groups(&ours.address(1)).await;
    let ours = blocking(move || {
        ours.terminate(1);
        ours
    })
    .await;
    let (zookeeper, data) = (ours.zookeeper.connect_string(), ours.data(1));
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let apache = blocking(move || {
        (ApacheBroker::start(1, free_port(), &zookeeper, &data, home.path(), SETTINGS), home)
    })
    .await;
    go_on(&apache.0.address(), &left).await;
    drop((apache, ours));
}

/// A group's whole life, as Apache's tool reads it in the log of its own broker and of ours.
#[tokio::test(flavor = "multi_thread")]
async fn apaches_tool_reads_our_records_as_its_own() {
    let settings = [SETTINGS, &[("offsets.topic.num.partitions", "1"), ("offsets.storage", "both")]].concat();
    let apache = {
        // Apache knows nothing of where offsets may be.
        let settings = settings[..settings.len() - 1].to_vec();
        blocking(move || ApacheCluster::start(1, &settings)).await
    };
    let ours = blocking(move || Cluster::start(1, &settings)).await;
    let mut read = Vec::new();
    for (address, data) in [(apache.address(1), apache.data(1)), (ours.address(1), ours.data(1))] {
        live(&address).await;
        read.push(blocking(move || dump(&data.join("__consumer_offsets-0/00000000000000000000.log"))).await);
    }
    assert!(read[0].len() >= 8, "{:#?}", read[0]);
    assert_eq!(read[0], read[1]);
    drop((apache, ours));
}

async fn live(address: &str) {
    let connection = connect(address).await;
    create_topic(&connection).await;
    for (group, instance) in GROUPS {
        until_coordinated(&connection, group).await;
        let joined = join_twice(&connection, group, instance).await;
        sync(&connection, group, instance, &joined).await;
        commit(&connection, group, instance, &joined).await;
        let member = MemberIdentity {
            member_id: joined.member_id.clone(),
            group_instance_id: instance.map(Into::into),
            ..MemberIdentity::default()
        };
        let leave = LeaveGroupRequest { group_id: group.into(), members: vec![member], ..Default::default() };
        assert_eq!(ask(&connection, 5, &leave).await.error_code, 0);
        let delete = DeleteGroupsRequest { groups_names: vec![group.into()] };
        assert_eq!(ask(&connection, 2, &delete).await.results[0].error_code, 0);
    }
}

async fn commit(connection: &Connection, group: &str, instance: Option<&str>, joined: &JoinGroupResponse) {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: 7,
        committed_leader_epoch: 3,
        committed_metadata: Some("seven".into()),
        ..OffsetCommitRequestPartition::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: instance.map(Into::into),
        topics: vec![OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] }],
        ..OffsetCommitRequest::default()
    };
    let response = ask(connection, 8, &request).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
}

async fn create_topic(connection: &Connection) {
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    assert_eq!(ask(connection, 7, &request).await.topics[0].error_code, 0);
}

/// The records of a log, without ids and times that are random.
fn dump(log: &Path) -> Vec<String> {
    let mut command = Release::V3_9.java("kafka.tools.DumpLogSegments");
    command.args(["--offsets-decoder", "--files"]).arg(log);
    let said = succeed(&mut command, &[], PATIENCE);
    let random = regex::Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{13}").expect("it is one");
    let records = said.lines().filter(|line| line.contains(" key: "));
    records.map(|line| random.replace_all(line, "?").into_owned()).collect()
}

/// Our broker on Apache's log directory.
fn start_ours(zookeeper: &str, data: &Path) -> (Process, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let settings = data.with_extension("properties");
    let mut text = format!(
        "broker.id=1\nlisteners=PLAINTEXT://{address}\nlog.dirs={}\nzookeeper.connect={zookeeper}\n",
        data.display()
    );
    for (key, value) in SETTINGS {
        text.push_str(&format!("{key}={value}\n"));
    }
    std::fs::write(&settings, text).expect("a file can be written");
    let mut command = Command::new(ottla());
    command.arg("broker").arg(settings);
    let process = Process::start(&mut command, &data.with_extension("log"));
    wait::until("our broker listens", PATIENCE, || std::net::TcpStream::connect(&address).ok());
    (process, address)
}

struct Left {
    joined: JoinGroupResponse,
    described: DescribedGroup,
}

async fn make_groups(address: &str) -> Vec<Left> {
    let connection = connect(address).await;
    let mut left = Vec::new();
    for (group, instance) in GROUPS {
        until_coordinated(&connection, group).await;
        let joined = join_twice(&connection, group, instance).await;
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "{group}");
        let synced = sync(&connection, group, instance, &joined).await;
        assert_eq!(synced, (0, Bytes::from(format!("work of {group}"))));
        left.push(Left { joined, described: describe(&connection, group).await });
    }
    left
}

/// Everything is as it was: generation, members, assignments; and members need not join again.
async fn go_on(address: &str, left: &[Left]) {
    let connection = connect(address).await;
    for ((group, instance), left) in GROUPS.into_iter().zip(left) {
        until_coordinated(&connection, group).await;
        let beat = HeartbeatRequest {
            group_id: group.into(),
            generation_id: left.joined.generation_id,
            member_id: left.joined.member_id.clone(),
            group_instance_id: instance.map(Into::into),
        };
        assert_eq!(ask(&connection, 4, &beat).await.error_code, 0, "{group}");
        assert_eq!(describe(&connection, group).await, left.described);
        let synced = sync(&connection, group, instance, &left.joined).await;
        assert_eq!(synced, (0, Bytes::from(format!("work of {group}"))));
    }
}

/// As a dynamic member has to.
async fn join_twice(connection: &Connection, group: &str, instance: Option<&str>) -> JoinGroupResponse {
    let joined = join(connection, group, instance, "").await;
    match joined.error_code {
        79 => join(connection, group, instance, &joined.member_id).await,
        _ => joined,
    }
}

pub(super) async fn join(
    connection: &Connection,
    group: &str,
    instance: Option<&str>,
    member_id: &str,
) -> JoinGroupResponse {
    try_join(connection, group, instance, member_id).await.expect("the broker answers")
}

pub(super) async fn try_join(
    connection: &Connection,
    group: &str,
    instance: Option<&str>,
    member_id: &str,
) -> Result<JoinGroupResponse, ConnectionError> {
    let protocol =
        JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(SUBSCRIPTION) };
    let request = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 61_000,
        member_id: member_id.into(),
        group_instance_id: instance.map(Into::into),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    };
    connection.send(&request, 9).await
}

pub(super) async fn sync(
    connection: &Connection,
    group: &str,
    instance: Option<&str>,
    joined: &JoinGroupResponse,
) -> (i16, Bytes) {
    try_sync(connection, group, instance, joined).await.expect("the broker answers")
}

pub(super) async fn try_sync(
    connection: &Connection,
    group: &str,
    instance: Option<&str>,
    joined: &JoinGroupResponse,
) -> Result<(i16, Bytes), ConnectionError> {
    let assignment = SyncGroupRequestAssignment {
        member_id: joined.member_id.clone(),
        assignment: Bytes::from(format!("work of {group}")),
    };
    let request = SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: instance.map(Into::into),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![assignment],
    };
    let response = connection.send(&request, 5).await?;
    Ok((response.error_code, response.assignment))
}

async fn describe(connection: &Connection, group: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..DescribeGroupsRequest::default() };
    ask(connection, 5, &request).await.groups.remove(0)
}

/// Until the group's coordinator is known and has loaded it.
pub(super) async fn until_coordinated(connection: &Connection, group: &str) {
    let started = Instant::now();
    loop {
        let find = FindCoordinatorRequest {
            coordinator_keys: vec![group.into()],
            ..FindCoordinatorRequest::default()
        };
        let found = ask(connection, 4, &find).await.coordinators.remove(0);
        if found.error_code == 0 && describe(connection, group).await.error_code == 0 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "nobody coordinates {group}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}
