//! The high-level consumer of the ZooKeeper era (Kafka 0.8.2): a group whose members share out partitions
//! among themselves, with `/consumers/<group>` in ZooKeeper as the only thing between them.
//!
//! It may share a group with Kafka's own consumers of 0.8 and 0.9: what it writes is what they write.
//!
//! - A member registers under `ids`, claims partitions by ephemeral nodes under `owners`, of which there can
//!   be one a partition, and keeps the group's progress under `offsets`.
//! - All of that is written in one session. When the server ends it, the partitions are anybody's; the
//!   member gives nothing more of them, commits nothing of them, and joins anew.
//! - With `offsets.storage=kafka` the offsets are with the brokers instead, or, with `dual.commit.enabled`, too.
//! - Unlike Kafka's own, a member keeps what still falls to it when others come and go, and reads the offset
//!   of a partition only when it owns it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::consumer::{AutoOffsetReset, ClassicConfig, ClassicConsumer, Subscription};
//! use futures::StreamExt;
//!
//! let config = ClassicConfig {
//!     auto_offset_reset: AutoOffsetReset::Smallest,
//!     ..ClassicConfig::new("localhost:2181", "my-group")
//! };
//! let (consumer, mut streams) = ClassicConsumer::start(config, Subscription::topics([("events", 1)])).await?;
//! let mut stream = streams.remove(0);
//! while let Some(record) = stream.next().await {
//!     println!("{:?}", record?.value);
//! }
//! consumer.close().await?;
//! # Ok(()) }
//! ```

mod assignment;
mod config;
mod error;
mod member;
mod registry;
mod session;
mod stored;
mod stream;
mod subscription;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::fetcher::{FetchOptions, Fetcher};
use crate::cluster::{Backoff, Cluster, ClusterOptions, Discovery};
use crate::connection::ConnectionOptions;
use crate::wire::Str;
use crate::zk::WatchPool;
pub use assignment::{Strategy, UnevenSubscriptions};
pub use config::{AutoOffsetReset, ClassicConfig, ClassicConfigError, OffsetsStorage};
pub use error::{ClassicError, RebalanceError};
use member::{Command, Member, Thread};
use session::Guard;
use stored::Stored;
use stream::StreamShared;
pub use stream::{ClassicStream, ClassicStreamError};
pub use subscription::Subscription;
use topics::Topics;

/// A member of a classic group.
///
/// [`close`](ClassicConsumer::close) it, so that its partitions go to others at once; one that is dropped is
/// missed by ZooKeeper only after the session timeout, as after a crash.
#[derive(Debug)]
pub struct ClassicConsumer {
    name: String,
    commands: mpsc::Sender<Command>,
    task: AbortHandle,
    streams: Vec<Arc<StreamShared>>,
}

impl ClassicConsumer {
    /// Joins the group, and takes what falls to this member. The streams are those of the subscription,
    /// topic by topic.
    pub async fn start(
        config: ClassicConfig,
        subscription: Subscription,
    ) -> Result<(ClassicConsumer, Vec<ClassicStream>), ClassicError> {
        let config = config.checked()?;
        let name = match &config.consumer_id {
            Some(id) => format!("{}_{id}", config.group),
            None => format!("{}_{}", config.group, session::generated_id()),
        };
        let zk = session::zk_config(&config);
        let cluster = Cluster::connect(Discovery::ZooKeeper(zk.clone()), cluster_options(&config)).await?;
        let (lose, lost) = mpsc::unbounded_channel();
        let threads: Vec<Thread> = declared(&subscription)
            .into_iter()
            .map(|(topic, number)| {
                let fetcher = Fetcher::new(cluster.clone(), fetch_options(&config));
                Thread { topic, number, shared: Arc::new(StreamShared::new(fetcher, lose.clone())) }
            })
            .collect();
        let streams = threads
            .iter()
            .map(|thread| {
                let shared = Arc::clone(&thread.shared);
                ClassicStream::new(thread.topic.clone(), shared, config.consumer_timeout)
            })
            .collect();
        let shared = threads.iter().map(|thread| Arc::clone(&thread.shared)).collect();

        let registry = session::join(&config, &name, &subscription, None).await?;
        let guard = Guard::watch(&registry.session, &threads);
        let (commands, receiver) = mpsc::channel(1);
        let (started, first_rebalance) = oneshot::channel();
        let member = Member {
            stored: Stored::new(&config, &cluster),
            subscription,
            cluster,
            topics: Topics::new(WatchPool::new(zk)),
            threads,
            registry,
            guard,
            commands: receiver,
            lost,
            owned: BTreeMap::new(),
            leaving: BTreeMap::new(),
            committed: BTreeMap::new(),
            last_generation: 0,
            started: Some(started),
            config,
        };
        let task = tokio::spawn(member.run()).abort_handle();
        let consumer = ClassicConsumer { name, commands, task, streams: shared };
        first_rebalance.await.map_err(|_| ClassicError::Closed)??;
        Ok((consumer, streams))
    }

    /// This member's name in the group: `<group>_<consumer id>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Commits what the streams have given so far.
    pub async fn commit(&self) -> Result<(), ClassicError> {
        self.ask(Command::Commit).await
    }

    /// Ends the streams, commits what they have given if `auto.commit.enable` is on, and leaves the group.
    pub async fn close(self) -> Result<(), ClassicError> {
        self.ask(Command::Close).await
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), ClassicError>>) -> Command,
    ) -> Result<(), ClassicError> {
        let (told, answer) = oneshot::channel();
        self.commands.send(command(told)).await.map_err(|_| ClassicError::Closed)?;
        answer.await.map_err(|_| ClassicError::Closed)?
    }
}

impl Drop for ClassicConsumer {
    fn drop(&mut self) {
        self.task.abort();
        self.streams.iter().for_each(|stream| stream.close());
    }
}

/// The streams of a subscription: the topic that each is for, if it is for one, and its number there.
fn declared(subscription: &Subscription) -> Vec<(Option<String>, usize)> {
    match subscription {
        Subscription::Topics(topics) => topics
            .iter()
            .flat_map(|(topic, streams)| (0..*streams).map(move |number| (Some(topic.clone()), number)))
            .collect(),
        Subscription::WhiteList(_, streams) | Subscription::BlackList(_, streams) => {
            (0..*streams).map(|number| (None, number)).collect()
        }
    }
}

fn cluster_options(config: &ClassicConfig) -> ClusterOptions {
    ClusterOptions {
        client_id: config.client_id.clone().unwrap_or_else(|| Str::from(config.group.as_str())),
        connection: ConnectionOptions {
            connect_timeout: config.socket_timeout,
            request_timeout: config.socket_timeout,
            ..ConnectionOptions::default()
        },
        retry_backoff: backoff(config.refresh_leader_backoff),
        // As in Kafka, what is asked for by name need not exist, and is not made by asking.
        allow_auto_create_topics: false,
        ..ClusterOptions::default()
    }
}

fn fetch_options(config: &ClassicConfig) -> FetchOptions {
    FetchOptions {
        min_bytes: config.fetch_min_bytes,
        max_wait: config.fetch_wait_max,
        max_partition_bytes: config.fetch_message_max_bytes,
        retry_backoff: backoff(config.refresh_leader_backoff),
        ..FetchOptions::default()
    }
}

fn backoff(first: Duration) -> Backoff {
    Backoff { first, longest: first.max(Duration::from_secs(1)) }
}
