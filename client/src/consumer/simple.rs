//! The simple consumer: any partition, from any offset, without a group.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::cluster::{Bootstrap, Discovery};
//! use client::consumer::{OffsetSpec, SimpleConsumer, SimpleOptions};
//! use client::ids::TopicPartition;
//! use futures::StreamExt;
//!
//! let brokers = Discovery::Bootstrap(Bootstrap::resolve("localhost:9092").await?);
//! let consumer = SimpleConsumer::connect(brokers, SimpleOptions::default()).await?;
//!
//! let partition = TopicPartition::new("events", 0);
//! let first = consumer.offset(&partition, OffsetSpec::Earliest).await?.ok_or("no offset")?.offset;
//! let mut records = consumer.read([(partition, first)]);
//! while let Some(record) = records.next().await {
//!     println!("{:?}", record?.value);
//! }
//! # Ok(()) }
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use tokio::time::timeout;

use super::fetcher::{FetchOptions, Fetched, Fetcher, ReadError, Records};
use super::offsets::{ListOffsetsError, ListedOffset, OffsetSpec, list_offsets};
use super::record::{ConsumerRecord, Position};
use crate::cluster::{Cluster, ClusterError, ClusterOptions, Discovery};
use crate::ids::{Offset, TopicPartition};

/// Limits of a [`SimpleConsumer`].
#[derive(Debug, Clone, Default)]
pub struct SimpleOptions {
    pub cluster: ClusterOptions,
    pub fetch: FetchOptions,
}

/// Reads any partition from any offset. Nothing is committed, no group is joined.
#[derive(Debug)]
pub struct SimpleConsumer {
    cluster: Cluster,
    options: FetchOptions,
    /// For single fetches.
    fetcher: Fetcher,
    /// One single fetch of a partition at a time.
    turns: Mutex<HashMap<TopicPartition, Arc<tokio::sync::Mutex<()>>>>,
}

impl SimpleConsumer {
    pub async fn connect(
        discovery: Discovery,
        options: SimpleOptions,
    ) -> Result<SimpleConsumer, ClusterError> {
        let cluster = Cluster::connect(discovery, options.cluster).await?;
        Ok(SimpleConsumer::new(cluster, options.fetch))
    }

    /// Over a cluster that others use too.
    pub fn new(cluster: Cluster, options: FetchOptions) -> SimpleConsumer {
        let fetcher = Fetcher::new(cluster.clone(), options.clone());
        SimpleConsumer { cluster, options, fetcher, turns: Mutex::default() }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The partitions of a topic.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<TopicPartition>, ClusterError> {
        let topic_name: Arc<str> = Arc::from(topic);
        let partitions = self.cluster.partitions(topic).await?.into_iter();
        Ok(partitions.map(|info| TopicPartition::new(Arc::clone(&topic_name), info.partition)).collect())
    }

    /// An offset of a partition by what it means. `None`: no record is that late.
    pub async fn offset(
        &self,
        partition: &TopicPartition,
        spec: OffsetSpec,
    ) -> Result<Option<ListedOffset>, ListOffsetsError> {
        let wanted = BTreeMap::from([(partition.clone(), spec)]);
        let within = self.api_timeout();
        let mut found = list_offsets(&self.cluster, &wanted, self.options.isolation, within).await;
        found.remove(partition).unwrap_or_else(|| {
            let cause = String::from("it was not answered for");
            Err(ListOffsetsError::TimedOut { partition: partition.clone(), within, cause })
        })
    }

    /// The records from an offset on that one fetch brings, of which there are none at the partition's end
    /// after `fetch.max.wait.ms`. Going on at [`Records::next`] uses what was fetched ahead.
    ///
    /// Fetches of one partition wait for one another; a fetch that is dropped loses nothing.
    pub async fn fetch(&self, partition: &TopicPartition, from: Offset) -> Result<Records, ReadError> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(partition.clone()).or_default())
        };
        let _turn = turn.lock().await;
        match self.fetcher.position(partition) {
            Some(position) if position.offset == from => self.fetcher.retry(partition),
            _ => self.fetcher.assign(partition, from),
        }
        let within = self.api_timeout();
        match timeout(within, self.fetcher.next_of(partition)).await {
            Ok(Some(fetched)) => fetched.into_records(),
            Ok(None) => Ok(Records {
                partition: partition.clone(),
                records: Vec::new(),
                next: self.fetcher.position(partition).unwrap_or_else(|| from.into()),
                end: self.fetcher.end(partition).unwrap_or(from),
            }),
            Err(_) => Err(ReadError::TimedOut { partition: partition.clone(), within }),
        }
    }

    /// All records of some partitions from these positions on, as they come. Each such stream has
    /// connections of its own. To be called within a runtime of tokio.
    pub fn read<P: Into<Position>>(
        &self,
        from: impl IntoIterator<Item = (TopicPartition, P)>,
    ) -> RecordStream {
        let fetcher = Fetcher::new(self.cluster.clone(), self.options.clone());
        for (partition, position) in from {
            fetcher.assign(&partition, position);
        }
        RecordStream::new(fetcher, None)
    }

    /// The records of some partitions from the first offset up to the second, exclusive; then the stream
    /// ends. For what was there at some time, such as between [`OffsetSpec::Earliest`] and
    /// [`OffsetSpec::Latest`]. To be called within a runtime of tokio.
    pub fn read_ranges(
        &self,
        ranges: impl IntoIterator<Item = (TopicPartition, std::ops::Range<Offset>)>,
    ) -> RecordStream {
        let fetcher = Fetcher::new(self.cluster.clone(), self.options.clone());
        let ranges = ranges.into_iter().filter(|(_, range)| range.start < range.end);
        let ends = ranges.map(|(partition, range)| {
            fetcher.assign(&partition, range.start);
            (partition, range.end)
        });
        let ends = ends.collect();
        RecordStream::new(fetcher, Some(ends))
    }

    fn api_timeout(&self) -> Duration {
        self.cluster.options().api_timeout
    }
}

/// Records of some partitions, each in order. After an error its partition rests until it is
/// [sent](RecordStream::seek) elsewhere; the others go on.
pub struct RecordStream {
    fetcher: Arc<Fetcher>,
    taken: VecDeque<ConsumerRecord>,
    /// Where to stop, if the stream has an end.
    ends: Option<BTreeMap<TopicPartition, Offset>>,
    next: Option<BoxFuture<'static, Fetched>>,
}

impl RecordStream {
    fn new(fetcher: Fetcher, ends: Option<BTreeMap<TopicPartition, Offset>>) -> RecordStream {
        RecordStream { fetcher: Arc::new(fetcher), taken: VecDeque::new(), ends, next: None }
    }

    /// Where a partition goes on after the records given so far.
    pub fn position(&self, partition: &TopicPartition) -> Option<Position> {
        let mut taken = self.taken.iter();
        match taken.find(|record| record.topic == partition.topic && record.partition == partition.partition)
        {
            // The epoch of the record before it is not known any more.
            Some(record) => Some(record.offset.into()),
            None => self.fetcher.position(partition),
        }
    }

    /// Goes on elsewhere. False: the partition is not read.
    pub fn seek(&mut self, partition: &TopicPartition, position: impl Into<Position>) -> bool {
        // The future that waits holds nothing back.
        self.taken
            .retain(|record| record.topic != partition.topic || record.partition != partition.partition);
        self.fetcher.seek(partition, position)
    }

    fn take(&mut self, fetched: Fetched) -> Result<(), ReadError> {
        let Records { partition, records, next, .. } = fetched.into_records()?;
        let end = self.ends.as_ref().and_then(|ends| ends.get(&partition)).copied();
        match end {
            None => self.taken.extend(records),
            Some(end) => {
                self.taken.extend(records.into_iter().filter(|record| record.offset < end));
                if next.offset >= end {
                    self.fetcher.remove(&partition);
                    if let Some(ends) = self.ends.as_mut() {
                        ends.remove(&partition);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Stream for RecordStream {
    type Item = Result<ConsumerRecord, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(record) = this.taken.pop_front() {
                return Poll::Ready(Some(Ok(record)));
            }
            if this.ends.as_ref().is_some_and(BTreeMap::is_empty) {
                return Poll::Ready(None);
            }
            let fetcher = &this.fetcher;
            let next = this.next.get_or_insert_with(|| {
                let fetcher = Arc::clone(fetcher);
                async move { fetcher.next().await }.boxed()
            });
            let fetched = ready!(next.poll_unpin(cx));
            this.next = None;
            if let Err(error) = this.take(fetched) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl std::fmt::Debug for RecordStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordStream").field("fetcher", &self.fetcher).finish_non_exhaustive()
    }
}
