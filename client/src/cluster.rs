//! Where the partitions are led, found in one of two ways behind one interface.
//!
//! - [`Discovery::ZooKeeper`] (`zookeeper.connect`): brokers from `/brokers/ids`, leaders from the partitions'
//!   state nodes. Nothing is polled: one-shot watches wake, and what woke is read again. Only what is in use
//!   is watched, on sessions that do nothing else.
//! - [`Discovery::Bootstrap`] (`bootstrap.servers`): Metadata requests, one question at a time for all that is in
//!   use, asked when something is new or doubtful, and every `metadata.max.age.ms`. A broker that does not
//!   answer soon holds nobody up: others are asked the same.
//!
//! In both, a leader is a value that is [published](Cluster::leader): who uses it is told of each change, and
//! never asks.

mod backoff;
mod bootstrap;
mod error;
mod interest;
mod links;
mod metadata;
mod question;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::connection::{Connection, ConnectionError, ConnectionOptions};
use crate::ids::{BrokerId, LeaderEpoch, TopicPartition};
use crate::wire::Str;
use crate::zk::{WatchPool, ZkConfig};
pub use backoff::Backoff;
pub use bootstrap::{Bootstrap, BootstrapError, host_and_port};
pub use error::ClusterError;
use interest::Interests;
use links::Links;

/// So often while a request is overdue.
const LOOKED_AFTER: Duration = Duration::from_millis(500);

/// How the cluster is found.
#[derive(Debug, Clone)]
pub enum Discovery {
    /// `zookeeper.connect`
    ZooKeeper(ZkConfig),
    /// `bootstrap.servers`
    Bootstrap(Bootstrap),
}

/// Limits of a [`Cluster`]; the defaults are those of Kafka's clients.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// `client.id`
    pub client_id: Str,
    pub connection: ConnectionOptions,
    /// `metadata.max.age.ms`: Metadata is asked for again after this time even if nothing is doubtful.
    pub metadata_max_age: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`: between questions of the same kind.
    pub retry_backoff: Backoff,
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`: between attempts to connect to one address.
    pub reconnect_backoff: Backoff,
    /// `default.api.timeout.ms`: for finding the cluster, a topic or any broker.
    pub api_timeout: Duration,
    /// `allow.auto.create.topics`: whether asking for a topic that does not exist may create it.
    pub allow_auto_create_topics: bool,
    /// With ZooKeeper: the name of the brokers' listener to connect to. `None`: the first with the protocol
    /// PLAINTEXT, as clients of 0.8 use.
    pub listener: Option<String>,
}

impl Default for ClusterOptions {
    fn default() -> ClusterOptions {
        let millis = Duration::from_millis;
        ClusterOptions {
            client_id: Str::new(),
            connection: ConnectionOptions::default(),
            metadata_max_age: millis(300_000),
            retry_backoff: Backoff { first: millis(100), longest: millis(1_000) },
            reconnect_backoff: Backoff { first: millis(50), longest: millis(1_000) },
            api_timeout: millis(60_000),
            allow_auto_create_topics: true,
            listener: None,
        }
    }
}

/// Who leads a partition, and since which election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    pub broker: BrokerId,
    /// [`LeaderEpoch::NONE`] where the broker asked is too old to tell.
    pub epoch: LeaderEpoch,
}

/// Whether a topic exists, and how large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TopicState {
    /// Not asked yet, or not answered.
    #[default]
    Unknown,
    Absent,
    /// Partitions 0 to this, exclusive.
    Partitions(i32),
    /// It cannot be used, and will not be for some time; a broker's answer.
    Refused(crate::wire::ErrorCode),
}

/// A partition as last learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    pub partition: i32,
    /// `None`: nobody leads it at present.
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    /// The preferred leader first.
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
}

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerInfo {
    /// `host:port`
    pub address: Arc<str>,
    /// `broker.rack`
    pub rack: Option<Arc<str>>,
}

impl BrokerInfo {
    /// As brokers and ZooKeeper tell of it.
    pub(crate) fn told(host: &str, port: i32, rack: Option<&str>) -> BrokerInfo {
        BrokerInfo { address: host_and_port(host, port).into(), rack: rack.map(Arc::from) }
    }
}

/// A cluster that was found. Clones share everything; it is let go with the last of them.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    way: Way,
    tasks: Vec<AbortHandle>,
}

/// What the tasks know too; they end with [`Inner`].
#[derive(Debug)]
struct Shared {
    options: ClusterOptions,
    links: Links,
    interests: Interests,
}

#[derive(Debug)]
enum Way {
    ZooKeeper(WatchPool),
    Bootstrap,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Cluster {
    /// Finds the brokers: once this returns, there was an answer from ZooKeeper or from a broker.
    pub async fn connect(discovery: Discovery, options: ClusterOptions) -> Result<Cluster, ClusterError> {
        let first = match &discovery {
            Discovery::ZooKeeper(_) => Vec::new(),
            Discovery::Bootstrap(bootstrap) => bootstrap.addresses().to_vec(),
        };
        let shared = Arc::new(Shared { options, links: Links::new(first), interests: Interests::default() });
        let (way, tasks) = match discovery {
            Discovery::ZooKeeper(config) => {
                let pool = WatchPool::new(config);
                let watch = watched::read_brokers(&shared, &pool).await?;
                let brokers = tokio::spawn(watched::follow_brokers(shared.clone(), pool.clone(), watch));
                let subjects = tokio::spawn(watched::follow_subjects(shared.clone(), pool.clone()));
                (Way::ZooKeeper(pool), vec![brokers.abort_handle(), subjects.abort_handle()])
            }
            Discovery::Bootstrap(_) => {
                metadata::find_brokers(&shared).await?;
                let refreshing = tokio::spawn(metadata::keep_fresh(shared.clone()));
                (Way::Bootstrap, vec![refreshing.abort_handle()])
            }
        };
        Ok(Cluster { inner: Arc::new(Inner { shared, way, tasks }) })
    }

    /// The names of all topics, sorted.
    pub async fn topics(&self) -> Result<Vec<String>, ClusterError> {
        match &self.inner.way {
            Way::ZooKeeper(pool) => watched::topics(pool).await,
            Way::Bootstrap => metadata::topics(self.shared()).await,
        }
    }

    /// A topic's partitions by rising number, as they are at this moment. A topic that does not exist is an error, but may
    /// be created by the question if [`allow_auto_create_topics`](ClusterOptions) says so.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<PartitionInfo>, ClusterError> {
        match &self.inner.way {
            Way::ZooKeeper(pool) => watched::partitions(self.shared(), pool, topic).await,
            Way::Bootstrap => metadata::partitions(self.shared(), topic).await,
        }
    }

    /// The leader as last learned; changes are published. `None`: not known, or nobody leads.
    ///
    /// Interest begins with the call and ends when all receivers are dropped.
    pub fn leader(&self, partition: &TopicPartition) -> watch::Receiver<Option<Leadership>> {
        self.shared().interests.leader(partition)
    }

    /// Whether the topic exists and how many partitions it has; changes are published.
    ///
    /// Interest begins with the call and ends when all receivers are dropped. While a topic that is in use
    /// does not exist, brokers are asked to create it if
    /// [`allow_auto_create_topics`](ClusterOptions) says so.
    pub fn topic(&self, topic: &str) -> watch::Receiver<TopicState> {
        self.shared().interests.topic(topic)
    }

    /// A broker said that it does not lead the partition, or could not be reached: look again soon. A hint,
    /// which costs nothing if the leader is not the one `seen` any more.
    pub fn suspect(&self, partition: &TopicPartition, seen: Option<Leadership>) {
        self.shared().interests.doubt_leader(partition, seen);
    }

    /// The same for a whole topic: a broker said that it does not know it.
    pub fn suspect_topic(&self, topic: &str) {
        self.shared().interests.doubt_topic(topic);
    }

    /// Completes when a request that is sent now, about partitions of these leaders, was not answered within `soon` and
    /// all of them are led by others: the broker that was asked may be stopped or its host gone, and nothing that it
    /// still says counts. Until then leaders are looked after.
    pub(crate) async fn left_behind<'a>(
        &self,
        soon: Duration,
        concerned: impl Iterator<Item = (&'a TopicPartition, BrokerId)>,
    ) {
        sleep(soon).await;
        for (at, broker) in concerned {
            let mut leaders = self.leader(at);
            loop {
                let moved = leaders.wait_for(|leader| leader.is_some_and(|leader| leader.broker != broker));
                match timeout(LOOKED_AFTER, moved).await.map(|moved| moved.is_ok()) {
                    Ok(true) => break,
                    // The cluster is being let go.
                    Ok(false) => std::future::pending().await,
                    Err(_) => {
                        let seen = *leaders.borrow();
                        self.suspect(at, seen);
                    }
                }
            }
        }
    }

    /// A broker that refused a request told who leads instead (KIP-951). Taken if that is a later election than the
    /// known one.
    pub(crate) fn hear_of_leader(&self, partition: &TopicPartition, told: Leadership) {
        self.shared().interests.hear_of_leader(partition, told);
    }

    /// It also told where that leader is. Taken if nothing is known of it.
    pub(crate) fn hear_of_broker(&self, broker: BrokerId, told: BrokerInfo) {
        self.shared().links.hear_of(broker, told);
    }

    /// The shared connection to a broker, opened if there is none, after a pause if that failed before. The
    /// broker has told which versions it speaks.
    pub async fn connection(&self, broker: BrokerId) -> Result<Connection, ClusterError> {
        self.shared().links.to(broker, &self.shared().options).await
    }

    /// A connection that is nobody else's, for requests that the broker may hold.
    pub async fn dedicated_connection(&self, broker: BrokerId) -> Result<Connection, ClusterError> {
        self.shared().links.own(broker, &self.shared().options).await
    }

    /// What any broker can answer, from the first that does, tried until
    /// [`api_timeout`](ClusterOptions::api_timeout). Where one does not answer soon, others are asked as well.
    pub(crate) async fn answer_of_any<T, F>(
        &self,
        question: impl Fn(Connection) -> F,
    ) -> Result<T, ClusterError>
    where
        F: Future<Output = Result<T, ConnectionError>>,
    {
        let shared = self.shared();
        shared.until_timeout(|| shared.links.answer_of_any(&shared.options, &question)).await
    }

    /// The brokers that there are, as last learned.
    pub fn brokers(&self) -> BTreeMap<BrokerId, BrokerInfo> {
        BTreeMap::clone(&self.watch_brokers().borrow())
    }

    /// The brokers that there are; changes are published.
    pub fn watch_brokers(&self) -> watch::Receiver<Arc<BTreeMap<BrokerId, BrokerInfo>>> {
        self.shared().links.brokers()
    }

    pub fn options(&self) -> &ClusterOptions {
        &self.shared().options
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }
}

impl Shared {
    /// Repeats what may succeed later, until the time is up; then its last error stands.
    async fn until_timeout<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, ClusterError>
    where
        F: Future<Output = Result<T, ClusterError>>,
    {
        let deadline = Instant::now() + self.options.api_timeout;
        let mut last = ClusterError::NoBroker { cause: None };
        let mut failures = 0_u32;
        loop {
            match timeout_at(deadline, attempt()).await {
                Err(_) => return Err(last),
                Ok(Err(error)) if error.is_retriable() => last = error,
                Ok(result) => return result,
            }
            failures = failures.saturating_add(1);
            let pause = self.options.retry_backoff.pause(failures, rand::random());
            if Instant::now() + pause >= deadline {
                return Err(last);
            }
            sleep(pause).await;
        }
    }
}
