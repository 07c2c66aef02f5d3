//! Brokers in this process that answer as they are told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::wire::messages::api_versions_response::ApiVersion;
use client::wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use client::wire::messages::*;
use client::wire::{ApiKey, Message, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a broker does about a request.
pub(crate) enum Reply {
    Metadata(MetadataResponse),
    Created(CreateTopicsResponse),
    /// It takes its time.
    Slow(Duration, Box<Reply>),
    /// The connection is closed.
    Hangup,
    /// Nothing ever comes.
    Silence,
}

/// A broker that was asked this before, and is asked for that now.
type Script = dyn Fn(&Cluster, &[ApiKey], ApiKey) -> Reply + Send + Sync;

/// Where the brokers are, by id from 1.
#[derive(Clone, Default)]
pub(crate) struct Cluster {
    addresses: Arc<Mutex<Vec<String>>>,
}

pub(crate) struct Broker {
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
    pub(crate) fn asked(&self) -> Vec<ApiKey> {
        self.asked.lock().unwrap().clone()
    }
}

impl Cluster {
    pub(crate) async fn broker(
        &self,
        script: impl Fn(&Cluster, &[ApiKey], ApiKey) -> Reply + Send + Sync + 'static,
    ) -> Broker {
        self.broker_of_version(&KEYS, Arc::new(script)).await
    }

    /// One that knows nothing that the client asks.
    pub(crate) async fn foreign_broker(&self) -> Broker {
        self.broker_of_version(&[ApiKey::ApiVersions], Arc::new(|_, _, _| Reply::Silence)).await
    }

    async fn broker_of_version(&self, knows: &'static [ApiKey], script: Arc<Script>) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.addresses.lock().unwrap().push(listener.local_addr().unwrap().to_string());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (cluster, log) = (self.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, knows, cluster.clone(), log.clone(), script.clone()));
            }
        });
        Broker { asked, task }
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.addresses.lock().unwrap().clone()
    }

    pub(crate) fn metadata(&self, controller_id: i32) -> Reply {
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
}

async fn serve(
    mut stream: TcpStream,
    knows: &'static [ApiKey],
    cluster: Cluster,
    log: Arc<Mutex<Vec<ApiKey>>>,
    script: Arc<Script>,
) {
    while let Ok(length) = stream.read_i32().await {
        let mut bytes = vec![0; length as usize];
        stream.read_exact(&mut bytes).await.unwrap();
        let (header, key, _) = frame::parse_request(Bytes::from(bytes)).unwrap();
        let bytes = if key == ApiKey::ApiVersions {
            encoded(&header, key, &versions(knows))
        } else {
            let reply = {
                let mut asked = log.lock().unwrap();
                let reply = script(&cluster, &asked, key);
                asked.push(key);
                reply
            };
            let reply = match reply {
                Reply::Slow(time, reply) => {
                    tokio::time::sleep(time).await;
                    *reply
                }
                reply => reply,
            };
            match reply {
                Reply::Metadata(metadata) => encoded(&header, key, &metadata),
                Reply::Created(created) => encoded(&header, key, &created),
                Reply::Hangup => return,
                Reply::Silence | Reply::Slow(..) => continue,
            }
        };
        stream.write_all(&bytes).await.unwrap();
    }
}

fn encoded(asked: &RequestHeader, key: ApiKey, body: &impl Message) -> Bytes {
    let frame = frame::encode_response(key, asked.request_api_version, asked.correlation_id, body);
    frame.unwrap().into_bytes().unwrap()
}

const KEYS: [ApiKey; 4] = [ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::CreateTopics, ApiKey::Fetch];

fn versions(keys: &[ApiKey]) -> ApiVersionsResponse {
    let ranges = keys.iter().map(|&key| ApiVersion {
        api_key: key as i16,
        min_version: key.min_version(),
        max_version: key.max_version(),
    });
    ApiVersionsResponse { api_keys: ranges.collect(), ..Default::default() }
}
