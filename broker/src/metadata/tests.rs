//! UpdateMetadata as transcripts: requests in, pictures of the cluster out.

use client::ids::{BrokerId, Uuid};
use client::wire::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use client::wire::{Message, Reader, Str, Writer};

use super::*;

/// A leader of −2 deletes the partition.
fn state(partition: i32, leader: i32, isr: &[i32]) -> UpdateMetadataPartitionState {
    UpdateMetadataPartitionState {
        partition_index: partition,
        controller_epoch: 3,
        leader,
        leader_epoch: 7,
        isr: isr.to_vec(),
        zk_version: 9,
        replicas: vec![1, 2, 3],
        offline_replicas: vec![3],
        ..UpdateMetadataPartitionState::default()
    }
}

fn topic(name: &str, id: u8, states: Vec<UpdateMetadataPartitionState>) -> UpdateMetadataTopicState {
    UpdateMetadataTopicState {
        topic_name: Str::from(name),
        topic_id: Uuid([id; 16]),
        partition_states: states,
    }
}

fn broker(id: i32) -> UpdateMetadataBroker {
    let endpoint = |listener: &str, port| UpdateMetadataEndpoint {
        port,
        host: Str::from("h"),
        listener: Str::from(listener),
        security_protocol: 0,
    };
    UpdateMetadataBroker {
        id,
        endpoints: vec![endpoint("INSIDE", 9092), endpoint("OUTSIDE", 19092)],
        rack: Some(Str::from("r")),
        ..UpdateMetadataBroker::default()
    }
}

fn request(controller: i32, brokers: &[i32], topics: Vec<UpdateMetadataTopicState>) -> UpdateMetadataRequest {
    UpdateMetadataRequest {
        controller_id: controller,
        topic_states: topics,
        live_brokers: brokers.iter().map(|&id| broker(id)).collect(),
        ..UpdateMetadataRequest::default()
    }
}

/// One line: controller, brokers, then `topic[id]: partition@leader`.
fn shown(cache: &MetadataCache) -> String {
    let cluster = cache.snapshot();
    let mut text = format!("{:?} {:?}", cluster.controller(), cluster.brokers().keys().collect::<Vec<_>>());
    for (name, topic) in cluster.topics() {
        let id = topic.id.map_or(0, |id| id.0[0]);
        assert_eq!(
            topic.id.and_then(|id| cluster.topic_name(id)).map(|name| &**name),
            topic.id.map(|_| name)
        );
        text.push_str(&format!(" {name}[{id}]:"));
        for (number, partition) in topic.partitions() {
            text.push_str(&format!(" {number}@{}", partition.leader.map_or(-1, |leader| leader.0)));
        }
    }
    text
}

#[test]
fn brokers_are_replaced_and_partitions_merged() {
    let cache = MetadataCache::new();
    assert_eq!(shown(&cache), "None []");
    let steps = [
        (request(1, &[1, 2], vec![]), "Some(1) [1, 2]"),
        (
            request(1, &[1, 2], vec![topic("t", 5, vec![state(0, 1, &[1]), state(1, 2, &[2])])]),
            "Some(1) [1, 2] t[5]: 0@1 1@2",
        ),
        (request(2, &[2], vec![topic("t", 5, vec![state(1, -1, &[1])])]), "Some(2) [2] t[5]: 0@1 1@-1"),
        (
            request(2, &[2], vec![topic("u", 6, vec![state(70, 2, &[2])])]),
            "Some(2) [2] t[5]: 0@1 1@-1 u[6]: 70@2",
        ),
        (
            request(2, &[2], vec![topic("t", 5, vec![state(0, -2, &[1])])]),
            "Some(2) [2] t[5]: 1@-1 u[6]: 70@2",
        ),
        (request(-1, &[], vec![topic("t", 5, vec![state(1, -2, &[])])]), "None [] u[6]: 70@2"),
        // A topic made anew has a new id; one that lost its id has none.
        (request(2, &[2], vec![topic("u", 8, vec![state(70, 2, &[2])])]), "Some(2) [2] u[8]: 70@2"),
        (request(2, &[2], vec![topic("u", 0, vec![])]), "Some(2) [2] u[0]: 70@2"),
        (request(2, &[2], vec![topic("gone", 9, vec![state(0, -2, &[])])]), "Some(2) [2] u[0]: 70@2"),
    ];
    for (step, expected) in steps {
        cache.update(&step).expect("from the newest controller");
        assert_eq!(shown(&cache), expected);
    }
    let all = vec![state(70, -2, &[])];
    let gone = cache.update(&request(2, &[2], vec![topic("u", 0, all.clone()), topic("never", 0, all)]));
    assert_eq!(gone, Ok(vec![Arc::from("u")]));
    assert_eq!(cache.snapshot().topic_name(Uuid([6; 16])), None);
    assert_eq!(cache.snapshot().topic_name(Uuid([9; 16])), None);
}

#[test]
fn a_request_that_comes_twice_and_late_takes_nothing_back() {
    let cache = MetadataCache::new();
    let told = |controller_epoch, id, leader, leader_epoch, zk_version| UpdateMetadataRequest {
        controller_epoch,
        ..request(
            1,
            &[1, 2],
            vec![topic(
                "t",
                id,
                vec![UpdateMetadataPartitionState { leader_epoch, zk_version, ..state(0, leader, &[1, 2]) }],
            )],
        )
    };
    let steps = [
        (told(4, 5, 1, 7, 9), "1"),
        (told(4, 5, 2, 8, 10), "2"),
        // The first once more, over the connection before.
        (told(4, 5, 1, 7, 9), "2"),
        (told(4, 5, 1, 8, 9), "2"),
        (told(4, 5, 1, 8, 11), "1"),
        // Another topic of the name, and another controller, are believed.
        (told(4, 6, 2, 0, 0), "2"),
        (told(5, 6, 1, 0, 0), "1"),
    ];
    for (step, leader) in steps {
        cache.update(&step).expect("from the newest controller");
        assert!(shown(&cache).ends_with(&format!("0@{leader}")), "{} after {step:?}", shown(&cache));
    }
}

#[test]
fn an_older_controller_is_not_heard() {
    let cache = MetadataCache::new();
    let of = |epoch, brokers: &[i32]| UpdateMetadataRequest {
        controller_epoch: epoch,
        ..request(1, brokers, vec![])
    };
    assert_eq!(cache.update(&of(4, &[1])), Ok(vec![]));
    let stale = StaleController { asked: ControllerEpoch(3), known: ControllerEpoch(4) };
    assert_eq!(cache.update(&of(3, &[1, 2])), Err(stale));
    assert_eq!(shown(&cache), "Some(1) [1]");
    assert_eq!(cache.update(&of(4, &[1, 2])), Ok(vec![]));
    assert_eq!(shown(&cache), "Some(1) [1, 2]");
}

#[test]
fn snapshots_stay_as_they_were() {
    let cache = MetadataCache::new();
    cache
        .update(&request(1, &[1], vec![topic("t", 5, vec![state(0, 1, &[1, 2])])]))
        .expect("from the newest controller");
    let before = cache.snapshot();
    cache
        .update(&request(1, &[1], vec![topic("t", 5, vec![state(0, 2, &[2])])]))
        .expect("from the newest controller");
    let leader = |cluster: &ClusterMetadata| cluster.partition("t", 0).and_then(|partition| partition.leader);
    assert_eq!((leader(&before), leader(&cache.snapshot())), (Some(BrokerId(1)), Some(BrokerId(2))));
}

/// Every version a controller may speak leads to the same picture, as far as the version tells.
#[test]
fn all_versions_are_understood() {
    for version in 0..=8 {
        let mut request = request(1, &[1], vec![]);
        if version == 0 {
            request.live_brokers[0].v0_host = Str::from("h");
            request.live_brokers[0].v0_port = 9092;
        }
        let mut partition = state(0, 1, &[1, 2]);
        if version < 5 {
            partition.topic_name = Str::from("t");
            request.ungrouped_partition_states = vec![partition];
        } else {
            request.topic_states = vec![topic("t", 5, vec![partition])];
        }
        let mut writer = Writer::new();
        request.encode(&mut writer, version).expect("encodes");
        let bytes = writer.finish().into_bytes().expect("in memory");
        let decoded = UpdateMetadataRequest::decode(&mut Reader::new(bytes), version).expect("decodes");

        let cache = MetadataCache::new();
        cache.update(&decoded).expect("from the newest controller");
        let id = if version < 7 { 0 } else { 5 };
        assert_eq!(shown(&cache), format!("Some(1) [1] t[{id}]: 0@1"), "version {version}");
        let cluster = cache.snapshot();
        let names: Vec<&str> =
            cluster.broker(BrokerId(1)).expect("alive").endpoints.keys().map(|n| &**n).collect();
        let expected: &[&str] = if version < 3 { &["PLAINTEXT"] } else { &["INSIDE", "OUTSIDE"] };
        assert_eq!(names, expected, "version {version}");
        let offline = cluster.partition("t", 0).expect("there").offline_replicas.len();
        assert_eq!(offline, usize::from(version >= 4), "version {version}");
    }
}

#[tokio::test]
async fn waiting_ends_when_it_comes_true() {
    let cache = Arc::new(MetadataCache::new());
    let mut changes = cache.changed();
    let waiting = tokio::spawn(async move {
        let found = changes.wait_for(|cluster| cluster.partition("t", 1).is_some()).await;
        found.map(|cluster| cluster.topic("t").map(TopicMetadata::partition_count)).ok().flatten()
    });
    cache
        .update(&request(1, &[1], vec![topic("t", 5, vec![state(0, 1, &[1])])]))
        .expect("from the newest controller");
    cache
        .update(&request(1, &[1], vec![topic("t", 5, vec![state(1, 1, &[1])])]))
        .expect("from the newest controller");
    assert_eq!(waiting.await.expect("no panic"), Some(2));
}

#[test]
fn an_update_of_one_of_many_partitions_is_cheap() {
    let cache = MetadataCache::new();
    let many = (0..10_000).map(|n| state(n, 1, &[1, 2])).collect();
    cache.update(&request(1, &[1], vec![topic("t", 5, many)])).expect("from the newest controller");
    let before = cache.snapshot();
    cache
        .update(&request(1, &[1], vec![topic("t", 5, vec![state(5000, 2, &[2])])]))
        .expect("from the newest controller");
    let after = cache.snapshot();
    let shared = |n| {
        let isr =
            |cluster: &ClusterMetadata| cluster.partition("t", n).expect("there") as *const PartitionMetadata;
        isr(&before) == isr(&after)
    };
    let copied = (0..10_000).filter(|&n| !shared(n)).count();
    assert!(copied <= 64, "{copied}");
}
