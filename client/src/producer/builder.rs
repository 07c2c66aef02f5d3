//! Building a producer.

use std::time::Duration;

use super::Producer;
use super::options::{Acks, Idempotence, OptionsError, ProducerOptions};
use super::partitioner::Partitioning;
use super::properties::{self, PropertyError};
use crate::cluster::{Bootstrap, BootstrapError, Cluster, ClusterError, Discovery};
use crate::record::Compression;
use crate::wire::Str;
use crate::zk::ZkConfig;

/// Where to find the cluster.
#[derive(Debug, Clone)]
enum Place {
    Servers(String),
    Found(Discovery),
}

/// Collects settings; those not given are Kafka's defaults.
///
/// ```no_run
/// use std::time::Duration;
///
/// use client::producer::{Acks, Producer};
/// use client::record::Codec;
///
/// # async fn example() -> Result<(), client::producer::ConnectError> {
/// let producer = Producer::builder()
///     .bootstrap_servers("one:9092,two:9092")
///     .acks(Acks::All)
///     .linger(Duration::from_millis(5))
///     .compression(Codec::Zstd)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct ProducerBuilder {
    place: Option<Place>,
    pub(super) options: ProducerOptions,
}

/// Why there is no producer.
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

impl ProducerBuilder {
    /// Reads Kafka's own names, of its producer of 3.9 or of the classic producer of 0.8. A name that means
    /// nothing here is passed over with a warning, as in Kafka.
    ///
    /// ```
    /// use client::producer::ProducerBuilder;
    ///
    /// let properties = [("metadata.broker.list", "one:9092"), ("request.required.acks", "-1"), ("producer.type", "async")];
    /// let builder = ProducerBuilder::from_properties(properties)?;
    /// # Ok::<(), client::producer::PropertyError>(())
    /// ```
    pub fn from_properties<K: AsRef<str>, V: AsRef<str>>(
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Result<ProducerBuilder, PropertyError> {
        properties::read(properties)
    }

    /// `zookeeper.connect`: find leaders by watching ZooKeeper.
    #[must_use]
    pub fn zookeeper(self, connect: impl Into<String>) -> ProducerBuilder {
        self.discovery(Discovery::ZooKeeper(ZkConfig::new(connect)))
    }

    /// `bootstrap.servers`: find leaders by asking brokers.
    #[must_use]
    pub fn bootstrap_servers(self, servers: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder { place: Some(Place::Servers(servers.into())), ..self }
    }

    #[must_use]
    pub fn discovery(self, discovery: Discovery) -> ProducerBuilder {
        ProducerBuilder { place: Some(Place::Found(discovery)), ..self }
    }

    /// Sets whatever has no method of its own.
    ///
    /// ```
    /// use client::producer::Producer;
    ///
    /// let builder = Producer::builder().with(|options| options.max_request_size = 4 << 20);
    /// ```
    #[must_use]
    pub fn with(mut self, set: impl FnOnce(&mut ProducerOptions)) -> ProducerBuilder {
        set(&mut self.options);
        self
    }

    #[must_use]
    pub fn client_id(self, id: impl Into<Str>) -> ProducerBuilder {
        self.with(|options| options.client_id = id.into())
    }

    #[must_use]
    pub fn acks(self, acks: Acks) -> ProducerBuilder {
        self.with(|options| options.acks = acks)
    }

    #[must_use]
    pub fn idempotence(self, idempotence: Idempotence) -> ProducerBuilder {
        self.with(|options| options.idempotence = idempotence)
    }

    #[must_use]
    pub fn batch_size(self, bytes: usize) -> ProducerBuilder {
        self.with(|options| options.batch_size = bytes)
    }

    #[must_use]
    pub fn linger(self, linger: Duration) -> ProducerBuilder {
        self.with(|options| options.linger = linger)
    }

    #[must_use]
    pub fn buffer_memory(self, bytes: usize) -> ProducerBuilder {
        self.with(|options| options.buffer_memory = bytes)
    }

    #[must_use]
    pub fn compression(self, compression: impl Into<Compression>) -> ProducerBuilder {
        self.with(|options| options.compression = compression.into())
    }

    #[must_use]
    pub fn partitioning(self, partitioning: Partitioning) -> ProducerBuilder {
        self.with(|options| options.partitioning = partitioning)
    }

    /// Finds the cluster. Must be called within a runtime of tokio.
    pub async fn connect(self) -> Result<Producer, ConnectError> {
        self.options.is_idempotent()?;
        let discovery = match self.place.ok_or(ConnectError::Nowhere)? {
            Place::Found(discovery) => discovery,
            Place::Servers(servers) => Discovery::Bootstrap(Bootstrap::resolve(&servers).await?),
        };
        let cluster = Cluster::connect(discovery, self.options.cluster()).await?;
        Ok(Producer::on(cluster, self.options)?)
    }
}
