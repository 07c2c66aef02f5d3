//! Metadata, in the words of Apache Kafka 3.9.1's answers.

use super::*;
use crate::api::admin_testing::{CLUSTER_ID, T_ID, admin_with, through_the_wire};

fn named(names: &[&str]) -> Option<Vec<MetadataRequestTopic>> {
    let topic = |name: &&str| MetadataRequestTopic { name: Some(Str::from(*name)), topic_id: Uuid::ZERO };
    Some(names.iter().map(topic).collect())
}

fn by_id(ids: &[Uuid]) -> Option<Vec<MetadataRequestTopic>> {
    Some(ids.iter().map(|&topic_id| MetadataRequestTopic { name: None, topic_id }).collect())
}

fn request(topics: Option<Vec<MetadataRequestTopic>>) -> MetadataRequest {
    MetadataRequest { topics, allow_auto_topic_creation: false, ..MetadataRequest::default() }
}

async fn ask(version: i16, listener: &str, body: &MetadataRequest) -> MetadataResponse {
    through_the_wire(&answer(&admin_with(&[]), version, listener, body).await, version)
}

/// `name code`, or the id's first byte where there is no name.
fn topics(response: &MetadataResponse) -> Vec<String> {
    let one = |topic: &MetadataResponseTopic| match &topic.name {
        Some(name) => format!("{name} {}", topic.error_code),
        None => format!("#{} {}", topic.topic_id.0[0], topic.error_code),
    };
    response.topics.iter().map(one).collect()
}

/// `number code leader epoch replicas isr offline`
fn partitions(response: &MetadataResponse) -> Vec<String> {
    let one = |p: &MetadataResponsePartition| {
        format!(
            "{} {} {} {} {:?} {:?} {:?}",
            p.partition_index,
            p.error_code,
            p.leader_id,
            p.leader_epoch,
            p.replica_nodes,
            p.isr_nodes,
            p.offline_replicas
        )
    };
    response.topics.iter().flat_map(|topic| &topic.partitions).map(one).collect()
}

#[tokio::test]
async fn every_version_shows_what_it_can() {
    for version in 0..=12 {
        let response = ask(version, "INSIDE", &request(named(&["t", "__consumer_offsets", "t"]))).await;
        let rack = (version >= 1).then_some("r");
        let brokers: Vec<_> =
            response.brokers.iter().map(|b| (b.node_id, &*b.host, b.port, b.rack.as_deref())).collect();
        assert_eq!(brokers, [(1, "h", 9091, rack), (2, "h", 9092, rack)], "v{version}");
        assert_eq!(response.controller_id, if version >= 1 { 2 } else { -1 }, "v{version}");
        assert_eq!(response.cluster_id.as_deref(), (version >= 2).then_some(CLUSTER_ID), "v{version}");
        assert_eq!(topics(&response), ["t 0", "__consumer_offsets 0"], "v{version}");
        let internal: Vec<bool> = response.topics.iter().map(|topic| topic.is_internal).collect();
        assert_eq!(internal, [false, version >= 1], "v{version}");
        assert_eq!(response.topics[0].topic_id, if version >= 10 { T_ID } else { Uuid::ZERO }, "v{version}");
        let epoch = if version >= 7 { 5 } else { -1 };
        let offline = if version >= 5 { "[3]" } else { "[]" };
        let expected = if version == 0 {
            vec![
                "0 9 1 -1 [1, 2] [1, 2] []".into(),
                "1 5 -1 -1 [] [] []".into(),
                "2 0 2 -1 [2, 1] [2, 1] []".into(),
                "0 0 1 -1 [1] [1] []".into(),
            ]
        } else {
            vec![
                format!("0 0 1 {epoch} [1, 2, 3] [1, 2] {offline}"),
                format!("1 5 -1 {epoch} [3] [3] {offline}"),
                format!("2 0 2 {epoch} [2, 1] [2, 1] []"),
                format!("0 0 1 {epoch} [1] [1] []"),
            ]
        };
        assert_eq!(partitions(&response), expected, "v{version}");
    }
}

#[tokio::test]
async fn a_listener_the_leader_lacks() {
    for (version, code) in [(0, 5), (5, 5), (6, 72), (12, 72)] {
        let response = ask(version, "OUTSIDE", &request(named(&["t"]))).await;
        let brokers: Vec<i32> = response.brokers.iter().map(|broker| broker.node_id).collect();
        assert_eq!(brokers, [1], "v{version}");
        let codes: Vec<(i16, i32)> =
            response.topics[0].partitions.iter().map(|p| (p.error_code, p.leader_id)).collect();
        let first = if version == 0 { 9 } else { 0 };
        assert_eq!(codes, [(first, 1), (5, -1), (code, -1)], "v{version}");
    }
}

#[tokio::test]
async fn all_topics_or_none() {
    let all = ["__consumer_offsets 0", "t 0"];
    assert_eq!(topics(&ask(0, "INSIDE", &request(Some(Vec::new()))).await), all);
    assert_eq!(topics(&ask(1, "INSIDE", &request(Some(Vec::new()))).await), [""; 0]);
    for version in 1..=12 {
        assert_eq!(topics(&ask(version, "INSIDE", &request(None)).await), all, "v{version}");
    }
}

#[tokio::test]
async fn topics_that_do_not_exist_come_last() {
    let body = request(named(&["a b", "nope", "t"]));
    for version in 4..=12 {
        assert_eq!(topics(&ask(version, "INSIDE", &body).await), ["t 0", "a b 17", "nope 3"], "v{version}");
    }
    // Clients that cannot forbid it create; without ZooKeeper nothing comes of it.
    assert_eq!(topics(&ask(3, "INSIDE", &body).await), ["t 0", "a b 17", "nope 3"]);
    let disabled = admin_with(&[("auto.create.topics.enable", "false")]);
    let creating = MetadataRequest { topics: named(&["nope"]), ..MetadataRequest::default() };
    assert_eq!(topics(&answer(&disabled, 12, "INSIDE", &creating).await), ["nope 3"]);
}

#[tokio::test]
async fn a_topic_is_created_by_one_request_at_a_time() {
    let admin = admin_with(&[]);
    let creating = admin.begin_creating("new").expect("nobody else creates it");
    assert!(admin.begin_creating("new").is_none());
    assert!(admin.begin_creating("other").is_some());
    drop(creating);
    assert!(admin.begin_creating("new").is_some());
}

#[tokio::test]
async fn topics_by_id() {
    let unknown = Uuid([9; 16]);
    let mut asked = by_id(&[unknown, T_ID, T_ID, Uuid::ZERO]).expect("ids");
    asked.extend(named(&["ignored"]).expect("names"));
    let response = ask(12, "INSIDE", &request(Some(asked))).await;
    assert_eq!(topics(&response), ["#9 100", "t 0"]);
}

#[tokio::test]
async fn versions_that_cannot_take_ids_refuse_the_request() {
    for (version, asked, code, expected) in [
        (10, by_id(&[Uuid::ZERO]), 42, vec![""]),
        (11, by_id(&[T_ID]), 42, vec![""]),
        (12, by_id(&[Uuid::ZERO]), -1, vec![""]),
        (
            12,
            named(&["t"]).map(|mut topics| {
                topics.extend(by_id(&[Uuid::ZERO]).expect("ids"));
                topics
            }),
            -1,
            vec!["t", ""],
        ),
    ] {
        let response = ask(version, "INSIDE", &request(asked)).await;
        let found: Vec<(&str, i16)> = response
            .topics
            .iter()
            .map(|topic| (topic.name.as_deref().unwrap_or("null"), topic.error_code))
            .collect();
        assert_eq!(found, expected.into_iter().map(|name| (name, code)).collect::<Vec<_>>(), "v{version}");
        assert_eq!(
            (response.brokers.len(), response.cluster_id, response.controller_id),
            (0, None, -1),
            "v{version}"
        );
    }
}

#[tokio::test]
async fn authorized_operations_are_told_when_asked_for() {
    let mut body = request(named(&["t"]));
    body.include_topic_authorized_operations = true;
    let of = |response: &MetadataResponse| {
        (response.topics[0].topic_authorized_operations, response.cluster_authorized_operations)
    };
    assert_eq!(of(&ask(12, "INSIDE", &body).await), (3576, i32::MIN));
    body.include_cluster_authorized_operations = true;
    assert_eq!(of(&ask(8, "INSIDE", &body).await), (3576, 8096));
    assert_eq!(of(&ask(8, "INSIDE", &request(named(&["t"]))).await), (i32::MIN, i32::MIN));
}
