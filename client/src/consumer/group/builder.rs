//! Building a group consumer.

use super::GroupConsumer;
use super::listener::RebalanceListener;
use super::options::{AutoOffsetReset, GroupConsumerOptions, OptionsError};
use super::properties;
use crate::cluster::{Bootstrap, BootstrapError, Cluster, ClusterError, Discovery};
use crate::consumer::assignor::Assignor;
use crate::producer::PropertyError;
use crate::wire::Str;
use crate::zk::ZkConfig;

/// Where to find the cluster.
#[derive(Debug, Clone)]
enum Place {
    Servers(String),
    Found(Discovery),
}

/// Collects settings; those not given are Kafka's defaults.
#[derive(Default)]
#[must_use]
pub struct GroupConsumerBuilder {
    place: Option<Place>,
    options: GroupConsumerOptions,
    listener: Option<Box<dyn RebalanceListener>>,
}

/// Why there is no consumer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("neither zookeeper.connect nor bootstrap.servers is set, so the cluster cannot be found")]
    Nowhere,
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl GroupConsumerBuilder {
    /// Reads the names of Kafka's consumer of 3.9, and `zookeeper.connect`. A name that means nothing here is
    /// passed over with a warning, as in Kafka.
    ///
    /// ```
    /// use client::consumer::group::GroupConsumerBuilder;
    ///
    /// let builder = GroupConsumerBuilder::from_properties([
    ///     ("bootstrap.servers", "one:9092,two:9092"),
    ///     ("group.id", "billing"),
    ///     ("partition.assignment.strategy", "cooperative-sticky"),
    ///     ("auto.offset.reset", "earliest"),
    /// ])?;
    /// # Ok::<(), client::consumer::group::PropertyError>(())
    /// ```
    pub fn from_properties<K: AsRef<str>, V: AsRef<str>>(
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Result<GroupConsumerBuilder, PropertyError> {
        properties::read(properties)
    }

    /// `zookeeper.connect`: find leaders by watching ZooKeeper.
    pub fn zookeeper(self, connect: impl Into<String>) -> GroupConsumerBuilder {
        self.discovery(Discovery::ZooKeeper(ZkConfig::new(connect)))
    }

    /// `bootstrap.servers`: find leaders by asking brokers.
    pub fn bootstrap_servers(self, servers: impl Into<String>) -> GroupConsumerBuilder {
        GroupConsumerBuilder { place: Some(Place::Servers(servers.into())), ..self }
    }

    pub fn discovery(self, discovery: Discovery) -> GroupConsumerBuilder {
        GroupConsumerBuilder { place: Some(Place::Found(discovery)), ..self }
    }

    /// Sets whatever has no method of its own.
    pub fn with(mut self, set: impl FnOnce(&mut GroupConsumerOptions)) -> GroupConsumerBuilder {
        set(&mut self.options);
        self
    }

    pub fn client_id(self, id: impl Into<Str>) -> GroupConsumerBuilder {
        self.with(|options| options.client_id = id.into())
    }

    pub fn group_id(self, id: impl Into<Str>) -> GroupConsumerBuilder {
        self.with(|options| options.group_id = Some(id.into()))
    }

    pub fn group_instance_id(self, id: impl Into<Str>) -> GroupConsumerBuilder {
        self.with(|options| options.group_instance_id = Some(id.into()))
    }

    /// The preferred one first.
    pub fn assignors(self, assignors: impl Into<Vec<Assignor>>) -> GroupConsumerBuilder {
        self.with(|options| options.assignors = assignors.into())
    }

    pub fn auto_offset_reset(self, reset: AutoOffsetReset) -> GroupConsumerBuilder {
        self.with(|options| options.auto_offset_reset = reset)
    }

    /// Offsets are committed when the user says so.
    pub fn commit_by_hand(self) -> GroupConsumerBuilder {
        self.with(|options| options.auto_commit = None)
    }

    /// Who hears of rebalances.
    pub fn listener(self, listener: impl RebalanceListener + 'static) -> GroupConsumerBuilder {
        GroupConsumerBuilder { listener: Some(Box::new(listener)), ..self }
    }

    /// Finds the cluster. Must be called within a runtime of tokio.
    pub async fn connect(self) -> Result<GroupConsumer, ConnectError> {
        self.options.check()?;
        let discovery = match self.place.ok_or(ConnectError::Nowhere)? {
            Place::Found(discovery) => discovery,
            Place::Servers(servers) => Discovery::Bootstrap(Bootstrap::resolve(&servers).await?),
        };
        let cluster = Cluster::connect(discovery, self.options.cluster()).await?;
        Ok(GroupConsumer::new(cluster, self.options, self.listener))
    }

    /// On a cluster that was found already; its connections are shared.
    pub fn on(self, cluster: Cluster) -> Result<GroupConsumer, OptionsError> {
        self.options.check()?;
        Ok(GroupConsumer::new(cluster, self.options, self.listener))
    }
}

impl std::fmt::Debug for GroupConsumerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("GroupConsumerBuilder");
        shown.field("place", &self.place).field("options", &self.options).finish_non_exhaustive()
    }
}
