//! The admin client against brokers in this process that answer as they are told.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::admin::{Admin, AdminError, AdminOptions, Bootstrap, NewTopic, Placement};
use client::wire::messages::api_versions_response::ApiVersion;
use client::wire::messages::create_topics_response::CreatableTopicResult;
use client::wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use client::wire::messages::*;
use client::wire::{ApiKey, ErrorCode, Message, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a broker does about a request.
enum Reply {
    Metadata(MetadataResponse),
    Created(CreateTopicsResponse),
    /// The connection is closed.
    Hangup,
    /// Nothing ever comes.
    Silence,
}

/// A broker that was asked this before, and is asked for that now.
type Script = fn(&Cluster, earlier: &[ApiKey], now: ApiKey) -> Reply;

/// Where the brokers are, by id from 1.
#[derive(Clone, Default)]
struct Cluster {
    addresses: Arc<Mutex<Vec<String>>>,
}

struct Broker {
    asked: Arc<Mutex<Vec<ApiKey>>>,
    task: JoinHandle<()>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Broker {
    /// What it was asked, versions apart.
    fn asked(&self) -> Vec<ApiKey> {
        self.asked.lock().unwrap().clone()
    }
}

impl Cluster {
    async fn broker(&self, script: Script) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.addresses.lock().unwrap().push(listener.local_addr().unwrap().to_string());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (cluster, log) = (self.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, cluster.clone(), log.clone(), script));
            }
        });
        Broker { asked, task }
    }

    fn addresses(&self) -> Vec<String> {
        self.addresses.lock().unwrap().clone()
    }

    fn metadata(&self, controller_id: i32) -> Reply {
        let brokers = (1..).zip(self.addresses()).map(|(node_id, address)| {
            let (host, port) = address.rsplit_once(':').unwrap();
            MetadataResponseBroker { node_id, host: host.into(), port: port.parse().unwrap(), rack: None }
        });
        let topic = MetadataResponseTopic { name: Some("t".into()), ..Default::default() };
        Reply::Metadata(MetadataResponse {
            brokers: brokers.collect(),
            controller_id,
            topics: vec![topic],
            ..Default::default()
        })
    }

    /// With all brokers, or a list of addresses, to begin with.
    async fn admin(&self, bootstrap: Option<&str>, api_timeout: Duration) -> Admin {
        let servers = bootstrap.map_or_else(|| self.addresses().join(","), str::to_owned);
        let options = AdminOptions { api_timeout, ..AdminOptions::default() };
        Admin::new(Bootstrap::resolve(&servers).await.unwrap(), options)
    }
}

async fn serve(mut stream: TcpStream, cluster: Cluster, log: Arc<Mutex<Vec<ApiKey>>>, script: Script) {
    while let Ok(length) = stream.read_i32().await {
        let mut bytes = vec![0; length as usize];
        stream.read_exact(&mut bytes).await.unwrap();
        let (header, key, _) = frame::parse_request(Bytes::from(bytes)).unwrap();
        let bytes = if key == ApiKey::ApiVersions {
            encoded(&header, key, &versions())
        } else {
            let reply = {
                let mut asked = log.lock().unwrap();
                let reply = script(&cluster, &asked, key);
                asked.push(key);
                reply
            };
            match reply {
                Reply::Metadata(metadata) => encoded(&header, key, &metadata),
                Reply::Created(created) => encoded(&header, key, &created),
                Reply::Hangup => return,
                Reply::Silence => continue,
            }
        };
        stream.write_all(&bytes).await.unwrap();
    }
}

fn encoded(asked: &RequestHeader, key: ApiKey, body: &impl Message) -> Bytes {
    let frame = frame::encode_response(key, asked.request_api_version, asked.correlation_id, body);
    frame.unwrap().into_bytes().unwrap()
}

fn versions() -> ApiVersionsResponse {
    let keys = [ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::CreateTopics];
    let ranges = keys.map(|key| ApiVersion {
        api_key: key as i16,
        min_version: key.min_version(),
        max_version: key.max_version(),
    });
    ApiVersionsResponse { api_keys: ranges.to_vec(), ..Default::default() }
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

    cluster.admin(None, LONG).await.create_topic(&new_topic()).await.unwrap();
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
    let refusal = cluster.admin(None, LONG).await.create_topic(&new_topic()).await.unwrap_err();
    assert!(matches!(refusal, AdminError::Refused { code: ErrorCode::PolicyViolation, .. }), "{refusal:?}");
    assert_eq!(refusal.to_string(), ErrorCode::PolicyViolation.message());
}

#[tokio::test]
async fn brokers_that_are_down_are_passed_over() {
    let cluster = Cluster::default();
    let broker = cluster.broker(|cluster, _, _| cluster.metadata(1)).await;
    let servers = format!("127.0.0.1:1,{}", cluster.addresses()[0]);
    let topics = cluster.admin(Some(&servers), LONG).await.list_topics().await.unwrap();
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
    assert_eq!(cluster.admin(None, LONG).await.list_topics().await.unwrap().len(), 1);
    assert_eq!(broker.asked(), [ApiKey::Metadata, ApiKey::Metadata]);
}

#[tokio::test]
async fn a_call_ends_in_time_and_says_how_far_it_came() {
    let cluster = Cluster::default();
    let started = Instant::now();
    let nobody = cluster.admin(Some("127.0.0.1:1"), SHORT).await.list_topics().await.unwrap_err();
    assert_eq!(nobody.to_string(), "Timed out waiting for a node assignment. Call: listTopics");
    assert!(nobody.cause().is_some_and(|cause| cause.to_string().contains("127.0.0.1:1")), "{nobody:?}");

    // Nobody says that it is the controller.
    let _leaderless = cluster.broker(|cluster, _, _| cluster.metadata(-1)).await;
    let unknown = cluster.admin(None, SHORT).await.create_topic(&new_topic()).await.unwrap_err();
    assert_eq!(unknown.to_string(), "Timed out waiting for a node assignment. Call: createTopics");

    let silent = Cluster::default();
    let _silent = silent.broker(|_, _, _| Reply::Silence).await;
    let unanswered = silent.admin(None, SHORT).await.list_topics().await.unwrap_err();
    assert!(matches!(unanswered, AdminError::TimedOut { call: "listTopics", .. }), "{unanswered:?}");
    let text = unanswered.to_string();
    assert!(
        text.starts_with("Call(callName=listTopics, deadlineMs=") && text.ends_with(" attempt(s)"),
        "{text}"
    );
    assert!(started.elapsed() < LONG / 4);
}
