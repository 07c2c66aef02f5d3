//! How many offsets a broker commits in a second: groups that commit ten partitions at a time, each
//! waiting for its answer before it commits again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::connection::Connection;
use client::wire::messages::OffsetCommitRequest;
use client::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};

use super::groups::{Bench, TOPIC};
use crate::percentile::percentile;
use crate::runtime::runtime;

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub groups: usize,
    /// Partitions of each request.
    pub partitions: i32,
    pub seconds: u64,
}

/// One broker and a ZooKeeper on this machine, whose cores they share with what measures.
pub fn run(load: &Load) -> String {
    let runtime = runtime();
    let bench = runtime.block_on(Bench::start(load.partitions));
    runtime.block_on(measure(bench, load))
}

async fn measure(bench: Bench, load: &Load) -> String {
    let committed = Arc::new(AtomicU64::new(0));
    let names: Vec<String> = (0..load.groups).map(|group| format!("group-{group}")).collect();
    bench.commit_once(&names, load.partitions).await;
    let started = Instant::now();
    let end = started + Duration::from_secs(load.seconds);
    let groups: Vec<_> = names
        .into_iter()
        .map(|name| {
            let (connection, committed) = (bench.connection(), Arc::clone(&committed));
            tokio::spawn(commit_until(connection, name, load.partitions, end, committed))
        })
        .collect();
    let mut latencies = Vec::new();
    for group in groups {
        latencies.extend(group.await.expect("a group commits to the end"));
    }
    let took = started.elapsed().as_secs_f64();
    let ms = |percent| percentile(&latencies, percent).as_secs_f64() * 1e3;
    format!(
        "{:.0} partitions/s committed in {took:.1} s ({} groups, {} partitions a request, {} requests); \
         a request p50 {:.1} ms, p99 {:.1} ms",
        committed.load(Ordering::Relaxed) as f64 / took,
        load.groups,
        load.partitions,
        latencies.len(),
        ms(50),
        ms(99),
    )
}

async fn commit_until(
    connection: Connection,
    group: String,
    partitions: i32,
    end: Instant,
    committed: Arc<AtomicU64>,
) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let mut offset = 1;
    while Instant::now() < end {
        let asked = Instant::now();
        commit(&connection, &group, partitions, offset).await;
        latencies.push(asked.elapsed());
        committed.fetch_add(u64::from(partitions.unsigned_abs()), Ordering::Relaxed);
        offset += 1;
    }
    latencies
}

/// Commits the same offset for partitions 0 to `partitions` − 1; all must be taken.
pub(super) async fn commit(connection: &Connection, group: &str, partitions: i32, offset: i64) {
    let one = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: offset,
        committed_metadata: Some("".into()),
        ..OffsetCommitRequestPartition::default()
    };
    let topic =
        OffsetCommitRequestTopic { name: TOPIC.into(), partitions: (0..partitions).map(one).collect() };
    let request =
        OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..OffsetCommitRequest::default() };
    let response = connection.send(&request, 8).await.expect("the broker answers");
    let codes = response.topics.iter().flat_map(|topic| topic.partitions.iter().map(|one| one.error_code));
    assert!(codes.clone().all(|code| code == 0), "{group}: {:?}", codes.collect::<Vec<_>>());
}
