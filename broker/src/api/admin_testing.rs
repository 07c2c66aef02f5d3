//! What tests of administration stand on: a broker without a controller and without ZooKeeper,
//! that was told of a small cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::ids::{BrokerId, Uuid};
use client::wire::messages::UpdateMetadataRequest;
use client::wire::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use client::wire::{Message, Reader, Str, Writer};
use controller::ControllerHandle;
use tokio::sync::watch;

use crate::admin::{Admin, AdminParts};
use crate::config::Config;
use crate::dynamic_config::DynamicConfig;
use crate::metadata::MetadataCache;

/// The id of topic `t`.
pub(crate) const T_ID: Uuid = Uuid([7; 16]);

pub(crate) const CLUSTER_ID: &str = "aLKxRRpgSxWLGfCC4C4DDA";

/// Administration on broker 1.
pub(crate) fn admin(config: Config, metadata: Arc<MetadataCache>) -> Admin {
    Admin::new(AdminParts {
        me: BrokerId(1),
        cluster_id: Arc::from(CLUSTER_ID),
        config: DynamicConfig::new(config).0,
        metadata,
        controller: ControllerHandle::detached(),
        fence: Arc::default(),
        sessions: watch::channel(None).1,
    })
}

/// Administration of [`cluster`], configured with these properties.
pub(crate) fn admin_with(properties: &[(&str, &str)]) -> Admin {
    let own = |(key, value): &(&str, &str)| (String::from(*key), String::from(*value));
    let mut fixed: BTreeMap<String, String> = properties.iter().map(own).collect();
    fixed.entry(String::from("zookeeper.connect")).or_insert_with(|| String::from("zk:2181"));
    let config = Config::from_properties(fixed).expect("a good file").config;
    admin(config, cluster())
}

/// Brokers 1 (listeners INSIDE and OUTSIDE) and 2 (INSIDE only), 3 is dead. Controller is 2. Topic
/// `t` has partitions 0 (leader 1), 1 (no leader) and 2 (leader 2, all replicas alive); topic
/// `__consumer_offsets` one partition led by 1.
pub(crate) fn cluster() -> Arc<MetadataCache> {
    let cache = MetadataCache::new();
    let endpoint = |listener: &str, port| UpdateMetadataEndpoint {
        port,
        host: Str::from("h"),
        listener: Str::from(listener),
        security_protocol: 0,
    };
    let broker = |id, endpoints| UpdateMetadataBroker {
        id,
        endpoints,
        rack: Some(Str::from("r")),
        ..UpdateMetadataBroker::default()
    };
    let state = |partition_index, leader, isr: &[i32], replicas: &[i32], offline: &[i32]| {
        UpdateMetadataPartitionState {
            partition_index,
            leader,
            leader_epoch: 5,
            isr: isr.to_vec(),
            replicas: replicas.to_vec(),
            offline_replicas: offline.to_vec(),
            ..UpdateMetadataPartitionState::default()
        }
    };
    let t = UpdateMetadataTopicState {
        topic_name: Str::from("t"),
        topic_id: T_ID,
        partition_states: vec![
            state(0, 1, &[1, 2], &[1, 2, 3], &[3]),
            state(1, -1, &[3], &[3], &[3]),
            state(2, 2, &[2, 1], &[2, 1], &[]),
        ],
    };
    let offsets = UpdateMetadataTopicState {
        topic_name: Str::from("__consumer_offsets"),
        topic_id: Uuid([8; 16]),
        partition_states: vec![state(0, 1, &[1], &[1], &[])],
    };
    let request = UpdateMetadataRequest {
        controller_id: 2,
        controller_epoch: 1,
        topic_states: vec![t, offsets],
        live_brokers: vec![
            broker(1, vec![endpoint("INSIDE", 9091), endpoint("OUTSIDE", 19091)]),
            broker(2, vec![endpoint("INSIDE", 9092)]),
        ],
        ..UpdateMetadataRequest::default()
    };
    assert_eq!(cache.update(&request), Ok(Vec::new()));
    Arc::new(cache)
}

/// What a client of this version sees of a message: the fields of later versions are at their
/// defaults.
pub(crate) fn through_the_wire<M: Message>(message: &M, version: i16) -> M {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).expect("the version has all that was set");
    let bytes = writer.finish().into_bytes().expect("in memory");
    let mut reader = Reader::new(bytes);
    let decoded = M::decode(&mut reader, version).expect("what was encoded decodes");
    assert_eq!(reader.remaining(), 0);
    decoded
}
