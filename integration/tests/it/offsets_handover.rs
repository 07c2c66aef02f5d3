//! Groups of Apache's brokers under ours, on the same ZooKeeper and the same log directories, and back.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use client::connection::{Connection, ConnectionError, ConnectionOptions};
use client::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use client::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use client::wire::messages::{
    FindCoordinatorRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use integration::apache_cluster::ApacheCluster;
use integration::cluster::{PATIENCE, SESSION_TIMEOUT_MS, ottla};
use integration::foreign::{kcat, produce_with_kcat};
use integration::process::{Process, succeed};
use integration::runtime::runtime;

const GROUPS: usize = 6;
const BROKERS: i32 = 2;

/// Offset, leader epoch and metadata of partition 0, or the code that kept it from being told.
type Position = Result<(i64, i32, String), i16>;

#[test]
fn groups_of_apaches_brokers_go_on_where_they_were_and_back() {
    let runtime = runtime();
    let settings = [("offsets.topic.num.partitions", "3"), ("group.initial.rebalance.delay.ms", "0")];
    let mut apache = ApacheCluster::start(BROKERS, &settings);
    let addresses: BTreeMap<i32, String> = (1..=BROKERS).map(|id| (id, apache.address(id))).collect();
    let bootstrap = apache.bootstrap();
    reads_only_what_is_new(&bootstrap, "one");
    runtime.block_on(async {
        for group in 0..GROUPS {
            commit(&addresses, group, 10).await;
        }
        // What was deleted does not come back.
        commit(&addresses, GROUPS, 10).await;
        delete(&addresses, GROUPS).await;
    });

    for id in 1..=BROKERS {
        apache.terminate(id);
    }
    let ours: Vec<Process> = (1..=BROKERS).map(|id| start_ours(&apache, id)).collect();
    runtime.block_on(async {
        for group in 0..GROUPS {
            assert_eq!(position(&addresses, group).await, Ok((at(group, 10), 0, said(group, 10))), "{group}");
        }
        assert_eq!(position(&addresses, GROUPS).await, Ok((-1, -1, String::new())));
        for group in (0..GROUPS).step_by(2) {
            commit(&addresses, group, 20).await;
        }
    });
    reads_only_what_is_new(&bootstrap, "two");

    for process in ours {
        process.terminate(PATIENCE);
    }
    for id in 1..=BROKERS {
        apache.start_broker(id);
    }
    runtime.block_on(async {
        for group in 0..GROUPS {
            let round = if group % 2 == 0 { 20 } else { 10 };
            let expected = Ok((at(group, round), 0, said(group, round)));
            assert_eq!(position(&addresses, group).await, expected, "{group}");
        }
    });
    reads_only_what_is_new(&bootstrap, "three");
}

/// A group with members: one joins, reads a single record and commits when it leaves. Without a committed
/// offset it would begin with the first record of all.
fn reads_only_what_is_new(bootstrap: &str, value: &str) {
    produce_with_kcat(bootstrap, "t", &[value.to_owned()], &[]);
    let mut member = kcat();
    member.args(["-b", bootstrap, "-X", "auto.offset.reset=earliest", "-q", "-c", "1", "-G", "members", "t"]);
    assert_eq!(succeed(&mut member, &[], PATIENCE), format!("{value}\n"));
}

fn start_ours(apache: &ApacheCluster, id: i32) -> Process {
    let data = apache.data(id);
    let settings = data.with_extension("ours.properties");
    let text = format!(
        "broker.id={id}\nlisteners=PLAINTEXT://{}\nlog.dirs={}\nzookeeper.connect={}\n\
         zookeeper.session.timeout.ms={SESSION_TIMEOUT_MS}\noffsets.topic.replication.factor=1\noffsets.storage=both\n\
         group.initial.rebalance.delay.ms=0\n",
        apache.address(id),
        data.display(),
        apache.zookeeper.connect_string(),
    );
    std::fs::write(&settings, text).expect("a file can be written");
    let mut command = Command::new(ottla());
    Process::start(command.arg("broker").arg(&settings), &data.with_extension("ours.log"))
}

fn at(group: usize, round: i64) -> i64 {
    round * 100 + group as i64
}

fn said(group: usize, round: i64) -> String {
    format!("group {group} in round {round}")
}

async fn commit(addresses: &BTreeMap<i32, String>, group: usize, round: i64) {
    let partition = OffsetCommitRequestPartition {
        committed_offset: at(group, round),
        committed_leader_epoch: 0,
        committed_metadata: Some(said(group, round).into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] };
    let request =
        OffsetCommitRequest { group_id: name(group).into(), topics: vec![topic], ..Default::default() };
    until_good(addresses, group, async |coordinator| {
        let response = coordinator.send(&request, 8).await?;
        Ok(response.topics[0].partitions[0].error_code)
    })
    .await;
}

async fn delete(addresses: &BTreeMap<i32, String>, group: usize) {
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
    let topic = OffsetDeleteRequestTopic { name: "t".into(), partitions };
    let request = OffsetDeleteRequest { group_id: name(group).into(), topics: vec![topic] };
    until_good(addresses, group, async |coordinator| Ok(coordinator.send(&request, 0).await?.error_code))
        .await;
}

async fn position(addresses: &BTreeMap<i32, String>, group: usize) -> Position {
    use client::wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
    let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] };
    let request =
        OffsetFetchRequest { group_id: name(group).into(), topics: Some(vec![topic]), ..Default::default() };
    let found = std::sync::Mutex::new(Err(-1));
    until_good(addresses, group, async |coordinator| {
        let response = coordinator.send(&request, 7).await?;
        if response.error_code == 0 {
            let one = &response.topics[0].partitions[0];
            let metadata = one.metadata.as_deref().unwrap_or_default().to_owned();
            *found.lock().expect("nobody panicked") = match one.error_code {
                0 => Ok((one.committed_offset, one.committed_leader_epoch, metadata)),
                code => Err(code),
            };
        }
        Ok(response.error_code)
    })
    .await;
    found.into_inner().expect("nobody panicked")
}

fn name(group: usize) -> String {
    format!("group-{group}")
}

/// Asks the group's coordinator until there is one and it answers with success.
async fn until_good(
    addresses: &BTreeMap<i32, String>,
    group: usize,
    ask: impl AsyncFn(&Connection) -> Result<i16, ConnectionError>,
) {
    let started = Instant::now();
    loop {
        let outcome = try_ask(addresses, group, &ask).await;
        if matches!(outcome, Ok(0)) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{}: {outcome:?}", name(group));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn try_ask(
    addresses: &BTreeMap<i32, String>,
    group: usize,
    ask: &impl AsyncFn(&Connection) -> Result<i16, ConnectionError>,
) -> Result<i16, ConnectionError> {
    let options = ConnectionOptions::default;
    let any = Connection::connect(addresses[&1].as_str(), "tests", options()).await?;
    let find = FindCoordinatorRequest { key: name(group).into(), ..Default::default() };
    let found = any.send(&find, 2).await?;
    if found.error_code != 0 {
        return Ok(found.error_code);
    }
    let address = addresses[&found.node_id].as_str();
    ask(&Connection::connect(address, "tests", options()).await?).await
}
