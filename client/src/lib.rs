//! A client of Ottla, and of Apache Kafka with ZooKeeper: records in, records out, and whatever else it takes to
//! talk to a cluster.
//!
//! | to | there is |
//! |---|---|
//! | send records | [`Producer`](producer::Producer); [`blocking::Producer`](producer::blocking::Producer) without a runtime |
//! | read as a member of a group | [`GroupConsumer`](consumer::group::GroupConsumer) |
//! | read beside consumers of Kafka 0.8, with the group in ZooKeeper | [`ClassicConsumer`](consumer::ClassicConsumer) |
//! | read any partition from any offset | [`SimpleConsumer`](consumer::SimpleConsumer) |
//! | create topics, and ask about topics and groups | [`Admin`](admin::Admin) |
//!
//! Producers and consumers find the leaders of partitions in one of two ways: by watching ZooKeeper
//! (`zookeeper.connect`), which tells of a new leader as soon as it is elected, or by asking brokers
//! (`bootstrap.servers`), which needs no way to ZooKeeper. Settings are set in code, or read by Kafka's names:
//! `from_properties` takes a producer's or consumer's property file, and warns of names it does not know.
//!
//! # Send
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::producer::{Producer, ProducerRecord};
//!
//! let producer = Producer::builder().zookeeper("zk1:2181,zk2:2181/kafka").connect().await?;
//! producer.deliver(ProducerRecord::to("orders").key("customer-7").value("two apples")).await?;
//! producer.close().await;
//! # Ok(()) }
//! ```
//!
//! # Read in a group
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::consumer::group::GroupConsumerBuilder;
//! use std::time::Duration;
//!
//! let properties = [("bootstrap.servers", "one:9092"), ("group.id", "billing"), ("auto.offset.reset", "earliest")];
//! let mut consumer = GroupConsumerBuilder::from_properties(properties)?.connect().await?;
//! consumer.subscribe(["orders"])?;
//! for record in consumer.poll(Duration::from_secs(1)).await? {
//!     println!("{} {}: {:?}", record.topic_partition(), record.offset, record.value);
//! }
//! consumer.close().await?;
//! # Ok(()) }
//! ```
//!
//! # Read in a classic group
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::consumer::{ClassicConfig, ClassicConsumer, Subscription};
//! use futures::StreamExt;
//!
//! let config = ClassicConfig::new("zk1:2181", "billing");
//! let (consumer, mut streams) = ClassicConsumer::start(config, Subscription::topics([("orders", 1)])).await?;
//! if let Some(record) = streams.remove(0).next().await {
//!     println!("{:?}", record?.value);
//! }
//! consumer.close().await?;
//! # Ok(()) }
//! ```
//!
//! # Read without a group
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::cluster::Discovery;
//! use client::consumer::{SimpleConsumer, SimpleOptions};
//! use client::ids::{Offset, TopicPartition};
//! use client::zk::ZkConfig;
//! use futures::StreamExt;
//!
//! let cluster = Discovery::ZooKeeper(ZkConfig::new("zk1:2181"));
//! let consumer = SimpleConsumer::connect(cluster, SimpleOptions::default()).await?;
//! let mut records = consumer.read([(TopicPartition::new("orders", 0), Offset(0))]);
//! while let Some(record) = records.next().await {
//!     println!("{:?}", record?.value);
//! }
//! # Ok(()) }
//! ```
//!
//! # Administer
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::admin::{Admin, AdminOptions, Bootstrap, NewTopic, Placement};
//!
//! let admin = Admin::new(Bootstrap::resolve("one:9092").await?, AdminOptions::default());
//! let orders = NewTopic {
//!     name: "orders".to_owned(),
//!     placement: Placement::Counts { partitions: Some(6), replication_factor: Some(3) },
//!     configs: [("min.insync.replicas".to_owned(), "2".to_owned())].into(),
//! };
//! admin.create_topic(&orders).await?;
//! # Ok(()) }
//! ```
//!
//! # What else is here
//! What these are made of: wire messages ([`wire`]), record batches ([`record`]), ids, the znode schema
//! ([`znode`]) and ZooKeeper sessions ([`zk`]). Brokers and controllers are clients of one another, so they depend
//! on this crate too.

#![deny(clippy::indexing_slicing)]

pub mod admin;
pub mod cluster;
pub mod connection;
pub mod consumer;
pub mod fetch_session;
pub mod ids;
pub mod java_string;
pub mod producer;
pub mod record;
pub mod topic_filter;
pub mod wire;
pub mod zk;
pub mod znode;
