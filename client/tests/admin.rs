//! The admin client against brokers in this process that answer as they are told.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

#[allow(dead_code, reason = "the tests of finding leaders use the rest")]
#[path = "support/brokers.rs"]
mod brokers;

use std::time::{Duration, Instant};

use brokers::{Cluster, Reply};
use client::admin::{Admin, AdminError, AdminOptions, Bootstrap, NewTopic, Placement};
use client::wire::messages::CreateTopicsResponse;
use client::wire::messages::create_topics_response::CreatableTopicResult;
use client::wire::{ApiKey, ErrorCode};

/// With all brokers, or a list of addresses, to begin with.
async fn admin(cluster: &Cluster, bootstrap: Option<&str>, api_timeout: Duration) -> Admin {
    let servers = bootstrap.map_or_else(|| cluster.addresses().join(","), str::to_owned);
    let options = AdminOptions { api_timeout, ..AdminOptions::default() };
    Admin::new(Bootstrap::resolve(&servers).await.unwrap(), options)
}

fn created(error: ErrorCode) -> Reply {
    let topic = CreatableTopicResult {
        name: "t".into(),
        error_code: error.code(),
        error_message: None,
        ..Default::default()
    };
    Reply::Created(CreateTopicsResponse { topics: vec![topic], ..Default::default() })
}

fn new_topic() -> NewTopic {
    let placement = Placement::Counts { partitions: Some(1), replication_factor: None };
    NewTopic { name: "t".into(), placement, configs: Default::default() }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn calls_follow_the_controller() {
    use ApiKey::{CreateTopics, Metadata};
    let cluster = Cluster::default();
    // Broker 1 takes itself for the controller until it was asked to be.
    let first = cluster
        .broker(|cluster, earlier, now| match now {
            Metadata if earlier.contains(&CreateTopics) => cluster.metadata(2),
            Metadata => cluster.metadata(1),
            _ => created(ErrorCode::NotController),
        })
        .await;
    let second = cluster.broker(|_, _, _| created(ErrorCode::None)).await;

    admin(&cluster, None, LONG).await.create_topic(&new_topic()).await.unwrap();
    assert_eq!(first.asked(), [Metadata, CreateTopics, Metadata]);
    assert_eq!(second.asked(), [CreateTopics]);
}

#[tokio::test]
async fn a_refusal_has_the_brokers_text_or_kafkas() {
    let cluster = Cluster::default();
    let _broker = cluster
        .broker(|cluster, _, now| match now {
            ApiKey::Metadata => cluster.metadata(1),
            _ => created(ErrorCode::PolicyViolation),
        })
        .await;
    let refusal = admin(&cluster, None, LONG).await.create_topic(&new_topic()).await.unwrap_err();
    assert!(matches!(refusal, AdminError::Refused { code: ErrorCode::PolicyViolation, .. }), "{refusal:?}");
    assert_eq!(refusal.to_string(), ErrorCode::PolicyViolation.message());
}

#[tokio::test]
async fn brokers_that_are_down_are_passed_over() {
    let cluster = Cluster::default();
    let broker = cluster.broker(|cluster, _, _| cluster.metadata(1)).await;
    let servers = format!("127.0.0.1:1,{}", cluster.addresses()[0]);
    let topics = admin(&cluster, Some(&servers), LONG).await.list_topics().await.unwrap();
    assert_eq!(topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["t"]);
    assert_eq!(broker.asked(), [ApiKey::Metadata]);
}

#[tokio::test]
async fn a_call_whose_connection_breaks_is_sent_again() {
    let cluster = Cluster::default();
    let broker = cluster
        .broker(|cluster, earlier, _| match earlier {
            [] => Reply::Hangup,
            _ => cluster.metadata(1),
        })
        .await;
    assert_eq!(admin(&cluster, None, LONG).await.list_topics().await.unwrap().len(), 1);
    assert_eq!(broker.asked(), [ApiKey::Metadata, ApiKey::Metadata]);
}

#[tokio::test]
async fn a_call_ends_in_time_and_says_how_far_it_came() {
    let cluster = Cluster::default();
    let started = Instant::now();
    let nobody = admin(&cluster, Some("127.0.0.1:1"), SHORT).await.list_topics().await.unwrap_err();
    assert_eq!(nobody.to_string(), "Timed out waiting for a node assignment. Call: listTopics");
    assert!(nobody.cause().is_some_and(|cause| cause.to_string().contains("127.0.0.1:1")), "{nobody:?}");

    // Nobody says that it is the controller.
    let _leaderless = cluster.broker(|cluster, _, _| cluster.metadata(-1)).await;
    let unknown = admin(&cluster, None, SHORT).await.create_topic(&new_topic()).await.unwrap_err();
    assert_eq!(unknown.to_string(), "Timed out waiting for a node assignment. Call: createTopics");

    let silent = Cluster::default();
    let _silent = silent.broker(|_, _, _| Reply::Silence).await;
    let unanswered = admin(&silent, None, SHORT).await.list_topics().await.unwrap_err();
    assert!(matches!(unanswered, AdminError::TimedOut { call: "listTopics", .. }), "{unanswered:?}");
    let text = unanswered.to_string();
    assert!(
        text.starts_with("Call(callName=listTopics, deadlineMs=") && text.ends_with(" attempt(s)"),
        "{text}"
    );
    assert!(started.elapsed() < LONG / 4);
}
