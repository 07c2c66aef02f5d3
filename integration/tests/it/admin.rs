//! Administration by requests, on three brokers: Kafka's codes and texts, in Kafka's order of checks.

use std::time::{Duration, Instant};

use client::connection::{Connection, ConnectionOptions};
use client::ids::Uuid;
use client::wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use client::wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use client::wire::messages::delete_topics_request::DeleteTopicState;
use client::wire::messages::metadata_request::MetadataRequestTopic;
use client::wire::messages::metadata_response::MetadataResponseTopic;
use client::wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    MetadataRequest,
};
use client::wire::{Request, Str};
use integration::cluster::{Cluster, PATIENCE};
use integration::runtime::run;

/// What a request says of one topic: code and text.
type Said<'a> = (i16, Option<&'a str>);

struct Bench {
    _cluster: Cluster,
    controller: Connection,
    /// A broker that is not the controller.
    other: Connection,
}

impl Bench {
    async fn start() -> Bench {
        let cluster = Cluster::start(3, &[]);
        let started = Instant::now();
        let first = connect(&cluster.address(1)).await;
        let controller = loop {
            let described = ask(&first, 1, &DescribeClusterRequest::default()).await;
            if described.controller_id > 0 {
                break described.controller_id;
            }
            assert!(started.elapsed() < PATIENCE, "no broker became controller");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let other = cluster.ids().into_iter().find(|&id| id != controller).expect("there are three");
        let (controller, other) = (cluster.address(controller), cluster.address(other));
        Bench { controller: connect(&controller).await, other: connect(&other).await, _cluster: cluster }
    }

    async fn create(&self, topic: CreatableTopic, validate_only: bool) -> (i16, Option<String>) {
        let body = CreateTopicsRequest { topics: vec![topic], validate_only, timeout_ms: 30_000 };
        let mut response = ask(&self.controller, 7, &body).await;
        let one = response.topics.remove(0);
        (one.error_code, one.error_message.map(|text| text.to_string()))
    }

    async fn add(&self, topic: CreatePartitionsTopic, validate_only: bool) -> (i16, Option<String>) {
        let body = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only };
        let mut response = ask(&self.controller, 3, &body).await;
        let one = response.results.remove(0);
        (one.error_code, one.error_message.map(|text| text.to_string()))
    }
}

async fn connect(address: &str) -> Connection {
    Connection::connect(address, "tests", ConnectionOptions::default()).await.expect("the broker listens")
}

async fn ask<R: Request>(connection: &Connection, version: i16, body: &R) -> R::Response {
    connection.send(body, version).await.expect("the broker answers")
}

fn topic(name: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic {
        name: Str::from(name),
        num_partitions: partitions,
        replication_factor: factor,
        ..CreatableTopic::default()
    }
}

fn with_config(name: &str, key: &str, value: &str) -> CreatableTopic {
    let config = CreatableTopicConfig { name: Str::from(key), value: Some(Str::from(value)) };
    CreatableTopic { configs: vec![config], ..topic(name, 1, 1) }
}

fn assigned(name: &str, replicas: &[&[i32]]) -> CreatableTopic {
    let assignment = |(partition, ids): (usize, &&[i32])| CreatableReplicaAssignment {
        partition_index: i32::try_from(partition).expect("few"),
        broker_ids: ids.to_vec(),
    };
    CreatableTopic {
        assignments: replicas.iter().enumerate().map(assignment).collect(),
        ..topic(name, -1, -1)
    }
}

fn grown(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let one = |ids: &&[i32]| CreatePartitionsAssignment { broker_ids: ids.to_vec() };
    CreatePartitionsTopic {
        name: Str::from(name),
        count,
        assignments: assignments.map(|all| all.iter().map(one).collect()),
    }
}

#[track_caller]
fn assert_said(what: &str, found: (i16, Option<String>), expected: Said<'_>) {
    assert_eq!((found.0, found.1.as_deref()), expected, "{what}");
}

#[test]
fn topics_are_created_grown_and_deleted() {
    run(async {
        let bench = Bench::start().await;
        let body = CreateTopicsRequest {
            topics: vec![with_config("t", "retention.ms", "1000"), topic("two", 2, 3)],
            timeout_ms: 30_000,
            validate_only: false,
        };
        let created = ask(&bench.controller, 7, &body).await;
        let shown: Vec<_> = created
            .topics
            .iter()
            .map(|t| {
                (&*t.name, t.error_code, t.error_message.as_deref(), t.num_partitions, t.replication_factor)
            })
            .collect();
        assert_eq!(shown, [("t", 0, None, 1, 1), ("two", 0, None, 2, 3)]);
        assert!(created.topics.iter().all(|topic| topic.topic_id != Uuid::ZERO));
        let configs = created.topics[0].configs.as_deref().unwrap_or_default();
        let retention = configs.iter().find(|config| &*config.name == "retention.ms").expect("it is there");
        assert_eq!(
            (configs.len(), retention.value.as_deref(), retention.config_source),
            (36, Some("1000"), 1)
        );

        for (name, topic, said) in [
            ("exists", topic("t", 1, 1), (36, Some("Topic 't' already exists."))),
            ("partitions", topic("x", 0, 1), (37, Some("Number of partitions must be larger than 0."))),
            (
                "factor",
                topic("x", 1, 9),
                (38, Some("Replication factor: 9 larger than available brokers: 3.")),
            ),
            (
                "name",
                topic("a b", 1, 1),
                (
                    17,
                    Some(
                        "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
                    ),
                ),
            ),
            ("key", with_config("x", "foo", "1"), (40, Some("Unknown topic config name: foo"))),
            (
                "value",
                with_config("x", "retention.ms", "abc"),
                (40, Some("Invalid value abc for configuration retention.ms: Not a number of type LONG")),
            ),
            (
                "uneven",
                assigned("x", &[&[1], &[1, 2]]),
                (39, Some("All partitions should have the same number of replicas")),
            ),
            // The placement is checked before the name, the name before the replicas by hand.
            ("first", topic("a b", 0, 1), (37, Some("Number of partitions must be larger than 0."))),
            (
                "second",
                assigned("a b", &[&[1, 1]]),
                (
                    17,
                    Some(
                        "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
                    ),
                ),
            ),
            (
                "third",
                CreatableTopic { configs: with_config("", "foo", "1").configs, ..assigned("x", &[&[1, 1]]) },
                (39, Some("Duplicate replica assignment found: HashMap(0 -> ArrayBuffer(1, 1))")),
            ),
        ] {
            assert_said(name, bench.create(topic, false).await, said);
        }
        assert_said("a dot", bench.create(topic("c.c", 1, 1), false).await, (0, None));
        let collides = (17, Some("Topic 'c_c' collides with existing topics: c.c"));
        assert_said("a collision", bench.create(topic("c_c", 1, 1), false).await, collides);
        assert_said("only a question", bench.create(topic("asked", 1, 1), true).await, (0, None));
        assert_said("an unknown broker", bench.create(assigned("later", &[&[1, 9]]), true).await, (0, None));

        for (name, topic, said) in [
            ("same", grown("two", 2, None), (37, Some("Topic already has 2 partitions."))),
            (
                "fewer",
                grown("two", 1, None),
                (37, Some("Topic currently has 2 partitions, which is higher than the requested 1.")),
            ),
            ("unknown", grown("nope", 3, None), (3, Some("The topic 'nope' does not exist."))),
            ("only asked", grown("asked", 3, None), (3, Some("The topic 'asked' does not exist."))),
            (
                "too many",
                grown("two", 3, Some(&[&[1, 2, 3], &[1, 2, 3]])),
                (39, Some("Increasing the number of partitions by 1 but 2 assignments provided.")),
            ),
            (
                "a stranger",
                grown("two", 3, Some(&[&[1, 2, 9]])),
                (39, Some("Unknown broker(s) in replica assignment: 9.")),
            ),
            (
                "another factor",
                grown("two", 3, Some(&[&[1, 2]])),
                (
                    39,
                    Some(
                        "Inconsistent replication factor between partitions, partition 0 has 3 while partitions [2] have replication factors [2], respectively.",
                    ),
                ),
            ),
            ("grown", grown("two", 4, None), (0, None)),
            ("by hand", grown("two", 5, Some(&[&[3, 1, 2]])), (0, None)),
        ] {
            assert_said(name, bench.add(topic, false).await, said);
        }
        let two = metadata(&bench.controller, "two", false).await;
        let leaders: Vec<i32> = two.partitions.iter().map(|partition| partition.leader_id).collect();
        assert_eq!((leaders.len(), leaders[4]), (5, 3));

        let by = |name: Option<&str>, topic_id| DeleteTopicState { name: name.map(Str::from), topic_id };
        let body = DeleteTopicsRequest {
            topics: vec![by(Some("t"), Uuid::ZERO), by(None, two.topic_id), by(Some("nope"), Uuid::ZERO)],
            timeout_ms: 30_000,
            ..DeleteTopicsRequest::default()
        };
        let deleted = ask(&bench.controller, 6, &body).await;
        let shown: Vec<_> =
            deleted.responses.iter().map(|one| (one.name.as_deref(), one.error_code)).collect();
        assert_eq!(shown, [(Some("t"), 0), (Some("two"), 0), (Some("nope"), 3)]);
        assert_eq!(metadata(&bench.controller, "two", false).await.error_code, 3);
    });
}

#[test]
fn whoever_does_not_wait_is_told_that_time_is_up() {
    run(async {
        let bench = Bench::start().await;
        let body =
            CreateTopicsRequest { topics: vec![topic("t", 1, 1)], timeout_ms: 0, validate_only: false };
        let created = ask(&bench.controller, 7, &body).await.topics.remove(0);
        assert_eq!((created.error_code, created.error_message, created.num_partitions), (7, None, -1));
        let id = until_led(&bench.controller, "t").await.topic_id;
        assert_eq!(created.topic_id, id);
    });
}

#[test]
fn only_the_controller_administers_but_any_broker_creates_what_a_client_asks_for() {
    run(async {
        let bench = Bench::start().await;
        let body = CreateTopicsRequest { topics: vec![topic("t", 1, 1)], ..CreateTopicsRequest::default() };
        assert_eq!(ask(&bench.other, 7, &body).await.topics[0].error_code, 41);

        assert_eq!(metadata(&bench.other, "auto", false).await.error_code, 3);
        let first = metadata(&bench.other, "auto", true).await;
        assert_eq!((first.error_code, first.partitions.len(), first.topic_id), (5, 0, Uuid::ZERO));
        assert_eq!(until_led(&bench.other, "auto").await.partitions.len(), 1);
    });
}

async fn metadata(connection: &Connection, name: &str, create: bool) -> MetadataResponseTopic {
    let body = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some(Str::from(name)), topic_id: Uuid::ZERO }]),
        allow_auto_topic_creation: create,
        ..MetadataRequest::default()
    };
    ask(connection, 12, &body).await.topics.remove(0)
}

/// The topic, once all its partitions have a leader.
async fn until_led(connection: &Connection, name: &str) -> MetadataResponseTopic {
    let started = Instant::now();
    loop {
        let topic = metadata(connection, name, false).await;
        if !topic.partitions.is_empty() && topic.partitions.iter().all(|partition| partition.leader_id > 0) {
            return topic;
        }
        assert!(started.elapsed() < PATIENCE, "{name} has no leader: {topic:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
