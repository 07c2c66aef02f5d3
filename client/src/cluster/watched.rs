//! Finding leaders by watching ZooKeeper.
//!
//! A node that is of interest carries one data watch. When it fires, the node is read again, which arms
//! the next one. When many fire together, as at the death of a broker, they are first read in bulk and told,
//! and armed after that.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::interest::Subject;
use super::{BrokerInfo, ClusterError, Leadership, PartitionInfo, Shared, TopicState, metadata};
use crate::ids::{BrokerId, LeaderEpoch};
use crate::wire::ErrorCode;
use crate::zk::{Node, Watch, WatchPool, ZkError};
use crate::znode::broker::{Registration, SecurityProtocol};
use crate::znode::partition::PartitionState;
use crate::znode::topic::TopicAssignment;
use crate::znode::{ZnodeError, broker, partition, topic};

/// Up to so many nodes are armed at once without being read in bulk before: reading them twice would take
/// longer.
const FEW: usize = 8;
/// Watches being armed at a time. What fires meanwhile is read after them, so not too many.
const ARMING: usize = 64;

pub(super) async fn topics(pool: &WatchPool) -> Result<Vec<String>, ClusterError> {
    Ok(pool.children(topic::TOPICS).await?)
}

pub(super) async fn partitions(
    shared: &Shared,
    pool: &WatchPool,
    topic: &str,
) -> Result<Vec<PartitionInfo>, ClusterError> {
    let [node] = <[_; 1]>::try_from(pool.get_many(&[topic::path(topic)]).await?).unwrap_or_default();
    let Some(node) = node else {
        if shared.options.allow_auto_create_topics {
            metadata::create(shared, &topic.into()).await?;
        }
        return Err(ClusterError::UnknownTopic { topic: topic.to_owned() });
    };
    let assignment = TopicAssignment::decode(&node.data)?;
    let paths: Vec<String> =
        assignment.partitions.keys().map(|&number| partition::state_path(topic, number)).collect();
    let states = pool.get_many(&paths).await?;
    let info = |((number, assigned), state): ((i32, topic::PartitionAssignment), Option<Node>)| {
        let state = state.map(|node| PartitionState::decode(&node.data)).transpose()?;
        Ok(PartitionInfo {
            partition: number,
            leader: state.as_ref().map(|state| state.leader).filter(|leader| *leader != BrokerId::NONE),
            leader_epoch: state.as_ref().map_or(LeaderEpoch::NONE, |state| state.leader_epoch),
            replicas: assigned.replicas,
            isr: state.map(|state| state.isr).unwrap_or_default(),
        })
    };
    assignment.partitions.into_iter().zip(states).map(info).collect()
}

/// Reads who is there, and watches for changes of the list.
pub(super) async fn read_brokers(shared: &Shared, pool: &WatchPool) -> Result<Watch, ClusterError> {
    let (names, watch) = pool.children_watch(broker::IDS).await?;
    let ids: Vec<BrokerId> = names.iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
    let paths: Vec<String> = ids.iter().copied().map(broker::path).collect();
    let nodes = pool.get_many(&paths).await?;
    let known = ids.into_iter().zip(nodes).filter_map(|(id, node)| {
        // One that left in between has no node.
        let registration = Registration::decode(&node?.data);
        let registration = registration
            .inspect_err(|error| tracing::warn!(broker = %id, %error, "passing over a broker"))
            .ok()?;
        Some((id, info(id, registration, shared.options.listener.as_deref())?))
    });
    shared.links.learn(known.collect());
    Ok(watch)
}

fn info(id: BrokerId, registration: Registration, listener: Option<&str>) -> Option<BrokerInfo> {
    let usable = |endpoint: &broker::Endpoint| match listener {
        Some(name) => endpoint.listener.eq_ignore_ascii_case(name),
        None => endpoint.security_protocol == SecurityProtocol::Plaintext,
    };
    let Some(endpoint) = registration.endpoints.into_iter().find(usable) else {
        tracing::warn!(broker = %id, listener, "passing over a broker without the listener to connect to");
        return None;
    };
    Some(BrokerInfo::told(&endpoint.host, endpoint.port, registration.rack.as_deref()))
}

/// Runs as long as the cluster is in use.
pub(super) async fn follow_brokers(shared: Arc<Shared>, pool: WatchPool, first: Watch) {
    let mut watch = first;
    let mut failures = 0_u32;
    loop {
        let doubted = tokio::select! {
            _ = watch.changed() => false,
            () = shared.links.doubted.notified() => true,
        };
        if doubted {
            // Its registration may tell another address now, which the list of brokers does not show.
            pause(&shared, 1).await;
        }
        loop {
            match read_brokers(&shared, &pool).await {
                Ok(armed) => {
                    watch = armed;
                    failures = 0;
                    break;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot read the brokers from ZooKeeper at present");
                    failures = failures.saturating_add(1);
                    pause(&shared, failures).await;
                }
            }
        }
    }
}

async fn pause(shared: &Shared, failures: u32) {
    sleep(shared.options.retry_backoff.pause(failures, rand::random())).await;
}

/// Why a subject is to be looked at again.
enum Woken {
    Changed,
    /// Nobody wanted it when this was found out.
    Unwanted,
}

type Armed = BoxFuture<'static, (Subject, Woken)>;

/// Runs as long as the cluster is in use.
pub(super) async fn follow_subjects(shared: Arc<Shared>, pool: WatchPool) {
    let mut armed: FuturesUnordered<Armed> = FuturesUnordered::new();
    // Tasks, which go on while nodes are read in bulk: each may have a place among the session's requests in
    // flight, and the bulk needs one too.
    let mut arming: JoinSet<(Subject, Option<Watch>)> = JoinSet::new();
    let mut unarmed: VecDeque<Subject> = VecDeque::new();
    let mut unwatchable: HashSet<Subject> = HashSet::new();
    let mut creating = Creating::default();
    loop {
        let mut news = shared.interests.take_fresh();
        tokio::select! {
            biased;
            Some(first) = armed.next(), if !armed.is_empty() => {
                let mut woken = vec![first];
                // What fired together is read together.
                while let Some(Some(next)) = armed.next().now_or_never() {
                    woken.push(next);
                }
                for (subject, woken) in woken {
                    unwatchable.remove(&subject);
                    match woken {
                        Woken::Unwanted if shared.interests.forget(&subject) => {
                            pool.forget(&path(&subject)).await;
                        }
                        Woken::Unwanted | Woken::Changed => news.push(subject),
                    }
                }
            }
            Some(Ok((subject, watch))) = arming.join_next(), if !arming.is_empty() => {
                if watch.is_none() {
                    unwatchable.insert(subject.clone());
                }
                creating.consider(&shared, &subject);
                armed.push(follow(shared.clone(), subject, watch).boxed());
            }
            () = shared.interests.changed(), if news.is_empty() => {
                let doubted = shared.interests.take_doubted();
                let doubted: Vec<Subject> =
                    doubted.into_iter().filter(|subject| unwatchable.contains(subject)).collect();
                tell_in_bulk(&shared, &pool, &doubted).await;
            }
            () = creating.finished() => {}
            () = std::future::ready(()), if !news.is_empty() => {}
        }
        if news.len() > FEW {
            tell_in_bulk(&shared, &pool, &news).await;
        }
        unarmed.extend(news);
        while arming.len() < ARMING
            && let Some(subject) = unarmed.pop_front()
        {
            arming.spawn(arm(shared.clone(), pool.clone(), subject));
        }
    }
}

/// Reads a node and arms a watch, however long that takes; tells what was read. `None`: there are more watched
/// paths than ZooKeeper sessions can carry.
async fn arm(shared: Arc<Shared>, pool: WatchPool, subject: Subject) -> (Subject, Option<Watch>) {
    let path = path(&subject);
    let mut failures = 0_u32;
    loop {
        match pool.get_watch(&path).await {
            Ok((node, watch)) => {
                tell(&shared, &subject, node);
                return (subject, Some(watch));
            }
            Err(error @ ZkError::TooManyWatches { .. }) => {
                tracing::warn!(%error, "its changes will be seen only when a broker refuses a request");
                tell_in_bulk(&shared, &pool, std::slice::from_ref(&subject)).await;
                return (subject, None);
            }
            Err(error) => {
                tracing::debug!(path, %error, "cannot watch at present");
                failures = failures.saturating_add(1);
                pause(&shared, failures).await;
            }
        }
    }
}

/// Completes when the watch fires, or nobody wants to know any more.
async fn follow(shared: Arc<Shared>, subject: Subject, watch: Option<Watch>) -> (Subject, Woken) {
    let fired = async {
        match watch {
            Some(watch) => drop(watch.await),
            None => std::future::pending().await,
        }
    };
    let woken = tokio::select! {
        () = fired => Woken::Changed,
        () = shared.interests.unwanted(&subject) => Woken::Unwanted,
    };
    (subject, woken)
}

async fn tell_in_bulk(shared: &Shared, pool: &WatchPool, subjects: &[Subject]) {
    let paths: Vec<String> = subjects.iter().map(path).collect();
    match pool.get_many(&paths).await {
        Ok(nodes) => {
            subjects.iter().zip(nodes).for_each(|(subject, node)| tell(shared, subject, node));
        }
        // Each is read again when it is armed.
        Err(error) => tracing::debug!(%error, "cannot read in bulk at present"),
    }
}

fn path(subject: &Subject) -> String {
    match subject {
        Subject::Leader(at) => partition::state_path(&at.topic, at.partition),
        Subject::Topic(name) => topic::path(name),
    }
}

fn tell(shared: &Shared, subject: &Subject, node: Option<Node>) {
    let told = match subject {
        Subject::Leader(at) => leads(node).map(|leadership| shared.interests.publish_leader(at, leadership)),
        Subject::Topic(name) => topic_state(node).map(|state| shared.interests.publish_topic(name, state)),
    };
    if let Err(error) = told {
        tracing::warn!(path = path(subject), %error, "passing over a node that cannot be read");
    }
}

fn leads(node: Option<Node>) -> Result<Option<Leadership>, ZnodeError> {
    let Some(node) = node else { return Ok(None) };
    let state = PartitionState::decode(&node.data)?;
    let leads = Leadership { broker: state.leader, epoch: state.leader_epoch };
    Ok((state.leader != BrokerId::NONE).then_some(leads))
}

fn topic_state(node: Option<Node>) -> Result<TopicState, ZnodeError> {
    let Some(node) = node else { return Ok(TopicState::Absent) };
    let assignment = TopicAssignment::decode(&node.data)?;
    let last = assignment.partitions.last_key_value();
    Ok(TopicState::Partitions(last.map_or(0, |(number, _)| number.saturating_add(1))))
}

/// Topics that brokers are being asked to create.
#[derive(Default)]
struct Creating {
    names: HashSet<Arc<str>>,
    tasks: JoinSet<Arc<str>>,
}

impl Creating {
    /// Has a topic created that is in use and does not exist, if that is allowed.
    fn consider(&mut self, shared: &Arc<Shared>, subject: &Subject) {
        let Subject::Topic(topic) = subject else { return };
        let absent = shared.interests.known_topic(topic) == Some(TopicState::Absent);
        if absent && shared.options.allow_auto_create_topics && self.names.insert(topic.clone()) {
            self.tasks.spawn(create(shared.clone(), topic.clone()));
        }
    }

    /// Completes when the next one is.
    async fn finished(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(topic)) => drop(self.names.remove(&topic)),
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }
}

/// Asks until the topic is there, or nobody wants it any more.
async fn create(shared: Arc<Shared>, topic: Arc<str>) -> Arc<str> {
    let mut questions = 0_u32;
    while shared.interests.known_topic(&topic) == Some(TopicState::Absent) {
        match metadata::create(&shared, &topic).await {
            Ok(ErrorCode::UnknownTopicOrPartition) => {}
            Ok(code) if code == ErrorCode::None || code.is_retriable() => {}
            Ok(code) => {
                shared.interests.publish_topic(&topic, TopicState::Refused(code));
                break;
            }
            Err(error) => tracing::debug!(%topic, %error, "cannot have the topic created at present"),
        }
        questions = questions.saturating_add(1);
        pause(&shared, questions).await;
    }
    topic
}
