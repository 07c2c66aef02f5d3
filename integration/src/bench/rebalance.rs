//! How long a group takes to rebalance: from the last member's JoinGroup until all members have their
//! assignments.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use client::connection::{Connection, ConnectionOptions};
use client::wire::Str;
use client::wire::messages::join_group_request::JoinGroupRequestProtocol;
use client::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use client::wire::messages::{FindCoordinatorRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest};

use super::groups::coordinated;
use crate::cluster::Cluster;
use crate::runtime::runtime;

const GROUP: &str = "g";
const PROTOCOL: &str = "range";

/// `ConsumerProtocolSubscription` version 0 of topic `t`, up to the length of its user data.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x01t";

/// What each member is given.
const ASSIGNMENT: &[u8] = &[0; 64];

const MEMBER_ID_REQUIRED: i16 = 79;

/// Three brokers and a ZooKeeper on this machine, whose cores they share with the members, each of which
/// has a connection of its own. They make a new group, and then, `rounds` times over, all of them change
/// their subscriptions and join again.
pub fn run(members: usize, rounds: usize) -> String {
    assert!(members > 0 && rounds > 0, "there is nothing to measure");
    let cluster = Cluster::start(3, &[]);
    runtime().block_on(measure(&cluster, members, rounds))
}

async fn measure(cluster: &Cluster, members: usize, rounds: usize) -> String {
    let coordinator = coordinator(cluster).await;
    let mut group = Vec::new();
    for _ in 0..members {
        let connection = connect(&coordinator).await;
        let id = member_id(&connection).await;
        group.push(Member { connection, id });
    }
    let first = rebalance(&group, 0).await;
    let mut took = Vec::new();
    for round in 1..=rounds {
        took.push(rebalance(&group, round).await);
    }
    took.sort_unstable();
    let milliseconds = |took: Duration| took.as_secs_f64() * 1e3;
    let at = |index: usize| milliseconds(took.get(index).copied().unwrap_or_default());
    format!(
        "{members} members of a group, 3 brokers, acks=all: from the last JoinGroup sent until all have their \
         assignments, median {:.1} ms, worst of {rounds} {:.1} ms; of the new group {:.1} ms, of which \
         group.initial.rebalance.delay.ms (3000, its default) is waited once or twice",
        at(rounds / 2),
        at(rounds - 1),
        milliseconds(first),
    )
}

/// All join at once, with subscriptions that they did not have before: else those whose JoinGroup comes
/// before the leader's are told of the generation as it is.
async fn rebalance(group: &[Member], round: usize) -> Duration {
    let joining: Vec<_> = group.iter().map(|member| member.rejoin(round)).collect();
    let joined = futures::future::join_all(joining).await;
    let joined: Vec<Done> = joined.into_iter().map(|one| one.expect("a member joins and syncs")).collect();
    let generation = joined.first().map(|done| done.generation);
    assert!(joined.iter().all(|done| Some(done.generation) == generation), "several generations");
    let asked = joined.iter().map(|done| done.asked).max().expect("there are members");
    let synced = joined.iter().map(|done| done.synced).max().expect("there are members");
    synced.saturating_duration_since(asked)
}

struct Done {
    generation: i32,
    asked: Instant,
    synced: Instant,
}

struct Member {
    connection: Connection,
    id: Str,
}

impl Member {
    /// Joins again and fetches its assignment, or hands them out if it leads.
    fn rejoin(&self, round: usize) -> tokio::task::JoinHandle<Done> {
        let (connection, id) = (self.connection.clone(), self.id.clone());
        tokio::spawn(async move {
            let asked = Instant::now();
            let joined = join(&connection, id, round).await;
            assert_eq!(joined.error_code, 0, "{joined:?}");
            sync(&connection, &joined).await;
            Done { generation: joined.generation_id, asked, synced: Instant::now() }
        })
    }
}

async fn connect(address: &str) -> Connection {
    let connection = Connection::connect(address, "bench", ConnectionOptions::default()).await;
    connection.expect("the broker listens")
}

/// The address of the group's coordinator, once it has loaded the group.
async fn coordinator(cluster: &Cluster) -> String {
    let any = connect(&cluster.address(1)).await;
    let find = FindCoordinatorRequest { key: GROUP.into(), ..FindCoordinatorRequest::default() };
    loop {
        let found = any.send(&find, 2).await.expect("the broker answers");
        if found.error_code == 0 {
            let address = format!("{}:{}", found.host, found.port);
            coordinated(&connect(&address).await, GROUP).await;
            return address;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn member_id(connection: &Connection) -> Str {
    let joined = join(connection, "".into(), 0).await;
    assert_eq!(joined.error_code, MEMBER_ID_REQUIRED, "{joined:?}");
    joined.member_id
}

async fn join(connection: &Connection, member_id: Str, round: usize) -> JoinGroupResponse {
    let mut subscription = BytesMut::from(SUBSCRIPTION);
    subscription.put_i32(8);
    subscription.put_u64(round as u64);
    let protocol = JoinGroupRequestProtocol { name: PROTOCOL.into(), metadata: subscription.freeze() };
    let request = JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        member_id,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    };
    connection.send(&request, 9).await.expect("the broker answers")
}

/// The leader alone knows the members.
async fn sync(connection: &Connection, joined: &JoinGroupResponse) {
    let assignment = |member_id: &Str| SyncGroupRequestAssignment {
        member_id: member_id.clone(),
        assignment: Bytes::from_static(ASSIGNMENT),
    };
    let request = SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: None,
        protocol_type: Some("consumer".into()),
        protocol_name: Some(PROTOCOL.into()),
        assignments: joined.members.iter().map(|member| assignment(&member.member_id)).collect(),
    };
    let synced = connection.send(&request, 5).await.expect("the broker answers");
    assert_eq!((synced.error_code, synced.assignment.as_ref()), (0, ASSIGNMENT));
}
