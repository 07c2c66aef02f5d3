//! Many partitions that change at the same time, in a ZooKeeper without brokers.

use std::ops::Range;
use std::time::Duration;

use client::cluster::{Cluster, ClusterOptions, Discovery, Leadership};
use client::ids::{BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition};
use client::zk::{Op, Session, ZkConfig};
use client::znode::broker::IDS;
use client::znode::partition::{self, LeaderRecovery, PartitionState};
use integration::cluster::PATIENCE;
use integration::zookeeper::ZooKeeper;
use tokio::runtime::Runtime;
use tokio::time::timeout;

const TOPIC: &str = "crowd";
const PARTITIONS: i32 = 200;
const ROUNDS: i32 = 20;

/// Far less than an operation of ZooKeeper may take before it is given up.
const SOON: Duration = Duration::from_secs(8);

/// A controller writes its decisions in several multis: the watches of one fire while those of the one before
/// are being armed again.
#[test]
fn changes_are_told_while_watches_are_armed() {
    let zookeeper = ZooKeeper::start();
    let config = ZkConfig::new(zookeeper.connect_string());
    let runtime = Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let session = Session::connect(config.clone().with_timeout(PATIENCE)).await.expect("ZooKeeper answers");
        session.create_recursive(IDS, "").await.expect("a node can be made");
        for number in 0..PARTITIONS {
            let path = partition::state_path(TOPIC, number);
            session.create_recursive(&path, state(0)).await.expect("a node can be made");
        }
        let options = ClusterOptions { allow_auto_create_topics: false, ..ClusterOptions::default() };
        let cluster = Cluster::connect(Discovery::ZooKeeper(config), options).await.expect("ZooKeeper answers");
        let mut leaders: Vec<_> =
            (0..PARTITIONS).map(|number| cluster.leader(&TopicPartition::new(TOPIC, number))).collect();
        for epoch in 0..=ROUNDS {
            if epoch > 0 {
                for part in [0..20, 20..100, 100..PARTITIONS] {
                    session.multi(elections(part, epoch)).await.expect("the nodes are there");
                }
            }
            for leader in &mut leaders {
                let is_told = |told: &Option<_>| {
                    matches!(told, Some(Leadership { epoch: LeaderEpoch(told), .. }) if *told == epoch)
                };
                let told = timeout(SOON, leader.wait_for(is_told)).await;
                drop(told.unwrap_or_else(|_| panic!("round {epoch}: not told within {SOON:?}")));
            }
        }
    });
}

fn elections(partitions: Range<i32>, epoch: i32) -> Vec<Op> {
    partitions.map(|number| Op::set(partition::state_path(TOPIC, number), state(epoch), None)).collect()
}

fn state(epoch: i32) -> Vec<u8> {
    let state = PartitionState {
        leader: BrokerId(1),
        leader_epoch: LeaderEpoch(epoch),
        isr: vec![BrokerId(1)],
        recovery: LeaderRecovery::Recovered,
        controller_epoch: ControllerEpoch(1),
    };
    state.encode()
}
