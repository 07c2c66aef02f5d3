//! The controller's view of the znodes: what it reads of brokers, topics and states, and what it
//! writes for them. What cannot be read is logged and left out; it must not stop the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::ids::{BrokerEpoch, BrokerId, TopicPartition};
use client::znode::unclean_stop::{Concern, UNCLEAN_STOPS, UncleanStop};
use client::znode::{self, broker, partition, topic};

use crate::cluster::{Broker, Leadership};
use crate::world::{Node, Trouble, World, Write};

/// The registered brokers. One that vanishes between listing and reading is not there.
pub(crate) async fn brokers<W: World>(world: &W) -> Result<BTreeMap<BrokerId, Broker>, Trouble> {
    let listed = world.list(broker::IDS).await?;
    let ids: Vec<BrokerId> = listed.iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
    let nodes = world.read(ids.iter().map(|&id| broker::path(id)).collect()).await?;
    let mut brokers = BTreeMap::new();
    for (id, node) in ids.into_iter().zip(nodes) {
        let Some(node) = node else { continue };
        match broker::Registration::decode(&node.data) {
            Ok(registration) => {
                let (endpoints, rack) = (registration.endpoints, registration.rack);
                brokers.insert(id, Broker { epoch: BrokerEpoch(node.czxid), endpoints, rack });
            }
            Err(error) => tracing::error!(broker = %id, %error, "a registered broker cannot be used"),
        }
    }
    Ok(brokers)
}

/// What is told of a stop.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) concern: Concern,
    /// The transaction that wrote it.
    pub(crate) czxid: i64,
}

impl Word {
    /// Whether this registration came after it. One from before is of the life that the machine's stop has ended: its
    /// session goes on for a while, or for as long as ZooKeeper is away.
    pub(crate) fn is_followed_by(&self, registration: &Broker) -> bool {
        registration.epoch.0 > self.czxid
    }
}

/// Stops that no controller has acted on yet. A broker tells of one before it registers: read after the
/// registrations, this holds whatever concerns them.
///
/// One that vanishes between listing and reading was taken away by another controller, and this one is none any more.
pub(crate) async fn unclean_stops<W: World>(world: &W) -> Result<BTreeMap<UncleanStop, Word>, Trouble> {
    let listed = world.list(UNCLEAN_STOPS).await?;
    let stops: Vec<UncleanStop> = listed.iter().filter_map(|child| UncleanStop::named(child)).collect();
    let nodes = world.read(stops.iter().map(UncleanStop::path).collect()).await?;
    let found = stops.into_iter().zip(nodes).filter_map(|(stop, node)| {
        let node = node?;
        let concern = Concern::decode(&node.data).unwrap_or_else(|error| {
            tracing::error!(path = stop.path(), %error, "an unclean stop counts for all partitions");
            Concern::All
        });
        Some((stop, Word { concern, czxid: node.czxid }))
    });
    Ok(found.collect())
}

/// The nodes of these topics, as far as they exist.
pub(crate) async fn topics<W: World>(
    world: &W,
    names: Vec<Arc<str>>,
) -> Result<BTreeMap<Arc<str>, topic::TopicAssignment>, Trouble> {
    let nodes = world.read(names.iter().map(|name| topic::path(name)).collect()).await?;
    let read = names.into_iter().zip(nodes);
    Ok(read.filter_map(|(name, node)| Some((name.clone(), decode_topic(&name, &node?.data)))).collect())
}

/// Text that is no assignment counts as a topic without partitions, as in Kafka.
pub(crate) fn decode_topic(name: &str, data: &[u8]) -> topic::TopicAssignment {
    topic::TopicAssignment::decode(data).unwrap_or_else(|error| {
        tracing::error!(topic = name, %error, "a topic's node cannot be read and counts as having no partitions");
        topic::TopicAssignment::default()
    })
}

/// The states of these partitions, as far as they exist.
pub(crate) async fn states<W: World>(
    world: &W,
    partitions: Vec<TopicPartition>,
) -> Result<BTreeMap<TopicPartition, Leadership>, Trouble> {
    let path = |p: &TopicPartition| partition::state_path(&p.topic, p.partition);
    let nodes = world.read(partitions.iter().map(path).collect()).await?;
    let mut states = BTreeMap::new();
    for (partition, node) in partitions.into_iter().zip(nodes) {
        let Some(node) = node else { continue };
        match partition::PartitionState::decode(&node.data) {
            Ok(state) => {
                states.insert(partition, Leadership::read(state, node.version));
            }
            Err(error) => tracing::error!(%partition, %error, "a partition's state cannot be read"),
        }
    }
    Ok(states)
}

/// What `unclean.leader.election.enable` says for these topics; the default where it says nothing.
pub(crate) async fn unclean_election<W: World>(
    world: &W,
    names: Vec<Arc<str>>,
    default: bool,
) -> Result<BTreeMap<Arc<str>, bool>, Trouble> {
    let parse = |text: &str| text.to_ascii_lowercase().parse().ok();
    overrides(world, names, "unclean.leader.election.enable", parse, default).await
}

/// What `min.insync.replicas` says for these topics; the default where it says nothing.
pub(crate) async fn min_insync<W: World>(
    world: &W,
    names: Vec<Arc<str>>,
    default: usize,
) -> Result<BTreeMap<Arc<str>, usize>, Trouble> {
    overrides(world, names, "min.insync.replicas", |text| text.parse().ok(), default).await
}

async fn overrides<W: World, T: Clone>(
    world: &W,
    names: Vec<Arc<str>>,
    key: &str,
    parse: impl Fn(&str) -> Option<T>,
    default: T,
) -> Result<BTreeMap<Arc<str>, T>, Trouble> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let path = |name: &Arc<str>| znode::config::ConfigEntity::Topic(name.to_string()).path();
    let nodes = world.read(names.iter().map(path).collect()).await?;
    let said = |data: &[u8]| parse(znode::config::decode(data).ok()?.get(key)?.trim());
    let read = names.into_iter().zip(nodes);
    let value =
        |node: Option<Node>| node.and_then(|node| said(&node.data)).unwrap_or_else(|| default.clone());
    Ok(read.map(|(name, node)| (name, value(node))).collect())
}

/// Sets a state at the version the decision was based on.
pub(crate) fn set_state(partition: &TopicPartition, state: &Leadership) -> Write {
    let path = partition::state_path(&partition.topic, partition.partition);
    Write::Set { path, data: state.encode(), version: Some(state.partition_epoch) }
}

/// The order of Kafka: the parents of all partitions, all partitions, all states.
pub(crate) fn create_states(
    new_topics: &[Arc<str>],
    states: &BTreeMap<TopicPartition, Leadership>,
) -> Vec<Write> {
    let empty = |path| Write::Create { path, data: Vec::new() };
    let parents = new_topics.iter().map(|topic| empty(partition::partitions_path(topic)));
    let nodes = states.keys().map(|p| empty(partition::path(&p.topic, p.partition)));
    let states = states.iter().map(|(p, state)| Write::Create {
        path: partition::state_path(&p.topic, p.partition),
        data: state.encode(),
    });
    parents.chain(nodes).chain(states).collect()
}
