//! What `flush.before.ack` costs: producers that each wait for one acknowledgement after the other, on
//! three brokers of this machine, with and without.

use std::process::Command;
use std::time::{Duration, Instant};

use client::producer::{Producer, ProducerRecord};

use crate::cluster::{Cluster, PATIENCE, ottla};
use crate::percentile::percentile;
use crate::process::succeed;
use crate::runtime::runtime;

const TOPIC: &str = "flushed";

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// That wait at the same time.
    pub producers: usize,
    pub partitions: i32,
    pub record_bytes: usize,
    pub seconds: u64,
}

/// Both settings, one line each.
pub fn run(load: &Load) -> String {
    ["false", "true"].map(|flush| measure(load, flush)).join("\n")
}

fn measure(load: &Load, flush: &str) -> String {
    let cluster = Cluster::start(3, &[("flush.before.ack", flush), ("min.insync.replicas", "2")]);
    let mut create = Command::new(ottla());
    create.args(["topics", "--bootstrap-server", &cluster.bootstrap(), "--create", "--topic", TOPIC]);
    create.args(["--replication-factor", "3", "--partitions", &load.partitions.to_string()]);
    succeed(&mut create, &[], PATIENCE);

    let runtime = runtime();
    let started = Instant::now();
    let end = started + Duration::from_secs(load.seconds);
    let latencies = runtime.block_on(async {
        let mut producers = Vec::new();
        for number in 0..load.producers {
            let producer = Producer::builder().bootstrap_servers(cluster.bootstrap()).connect().await;
            let producer = producer.expect("the cluster answers");
            producers.push(tokio::spawn(produce_until(producer, number, load.record_bytes, end)));
        }
        let mut latencies = Vec::new();
        for producer in producers {
            latencies.extend(producer.await.expect("a producer goes on to the end"));
        }
        latencies
    });
    let took = started.elapsed().as_secs_f64();
    let ms = |percent| percentile(&latencies, percent).as_secs_f64() * 1e3;
    format!(
        "flush.before.ack={flush}: {:.0} records/s of {} bytes acknowledged by all of three ({} producers, each \
         waiting for its answer, {} partitions); a record p50 {:.1} ms, p99 {:.1} ms",
        latencies.len() as f64 / took,
        load.record_bytes,
        load.producers,
        load.partitions,
        ms(50),
        ms(99),
    )
}

async fn produce_until(producer: Producer, number: usize, bytes: usize, end: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let value = vec![b'x'; bytes];
    while Instant::now() < end {
        let asked = Instant::now();
        let record = ProducerRecord::to(TOPIC).key(number.to_string()).value(value.clone());
        producer.deliver(record).await.expect("it is acknowledged");
        latencies.push(asked.elapsed());
    }
    producer.close().await;
    latencies
}
