//! A producer: records in, acknowledgements out.
//!
//! Records are gathered into a batch for each partition and sent to its leader, wherever it is: when a leader
//! dies, what it did not acknowledge goes to the next one without the caller's help, in order, and with
//! idempotence (the default) without being stored twice. Leaders are found by watching ZooKeeper or by asking
//! brokers; see [`Discovery`].
//!
//! ```no_run
//! use client::producer::{Producer, ProducerRecord};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let producer = Producer::builder().zookeeper("127.0.0.1:2181").connect().await?;
//!
//! // Taken now, delivered later.
//! let delivery = producer.send(ProducerRecord::to("orders").key("customer-7").value("two apples")).await?;
//! let stored = delivery.await?;
//! println!("partition {}, offset {:?}", stored.partition, stored.offset);
//!
//! // Taken and delivered.
//! producer.deliver(ProducerRecord::to("orders").key("customer-7").value("a pear")).await?;
//!
//! producer.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Many records at once, as a stream of acknowledgements in the order of the records:
//!
//! ```no_run
//! use client::producer::{Producer, ProducerRecord};
//! use futures::{StreamExt, TryStreamExt, stream};
//!
//! # async fn example(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
//! let records = stream::iter(0..1_000).map(|n| ProducerRecord::to("numbers").value(n.to_string()));
//! let stored: Vec<_> =
//!     records.map(|record| producer.deliver(record)).buffered(500).try_collect().await?;
//! # Ok(())
//! # }
//! ```

mod accumulator;
mod batch;
pub mod blocking;
mod builder;
mod delivery;
mod error;
mod options;
mod partitioner;
mod producer_id;
pub(crate) mod properties;
mod queue;
mod record;
mod request;
mod sender;
mod sink;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{timeout, timeout_at};

#[cfg(doc)]
use crate::cluster::Discovery;
use crate::cluster::{Cluster, TopicState};
use crate::ids::TopicPartition;
pub use crate::record::RecordHeader;
use accumulator::{Accumulator, Offered};
pub use builder::{ConnectError, ProducerBuilder};
pub use delivery::Delivery;
use delivery::Ticket;
pub use error::{AttemptError, ProduceError};
pub use options::{Acks, Idempotence, OptionsError, ProducerOptions};
use partitioner::Choices;
pub use partitioner::{Partitioner, Partitioning, key_partition, murmur2};
pub use properties::PropertyError;
pub use record::{ProducerRecord, RecordMetadata};
pub use sink::RecordSink;

/// Sends records. Clones share everything.
///
/// When the last clone is dropped without [`close`](Producer::close), what was taken is still sent, as long as the
/// runtime lives.
#[derive(Debug, Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// Ends the sender when it is dropped, once that has sent everything.
struct Handle {
    shared: Arc<Shared>,
    cluster: Cluster,
    sender: AbortHandle,
}

/// What callers and the sender both use.
struct Shared {
    options: ProducerOptions,
    core: Mutex<Accumulator<Ticket>>,
    topics: Mutex<HashMap<Arc<str>, TopicInUse>>,
    /// For the sender: there is more to do.
    wake: Notify,
    /// Held by who is next to be given memory, so that a large record is not overtaken for ever.
    turn: tokio::sync::Mutex<()>,
    /// Memory was given back.
    freed: Notify,
    /// Told after every batch that was acknowledged or given up.
    progress: watch::Sender<()>,
    /// Told when the sender has ended.
    ended: watch::Sender<bool>,
}

struct TopicInUse {
    state: watch::Receiver<TopicState>,
    choices: Choices,
    used: Instant,
}

impl Producer {
    pub fn builder() -> ProducerBuilder {
        ProducerBuilder::default()
    }

    /// A producer for a cluster that was found already; see [`Producer::builder`] for the usual way.
    ///
    /// Must be called within a runtime of tokio. The cluster's options count for connections, not these.
    pub fn on(cluster: Cluster, options: ProducerOptions) -> Result<Producer, OptionsError> {
        let limits = options.limits(options.is_idempotent()?);
        let shared = Arc::new(Shared {
            options,
            core: Mutex::new(Accumulator::new(limits)),
            topics: Mutex::default(),
            wake: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            freed: Notify::new(),
            progress: watch::Sender::new(()),
            ended: watch::Sender::new(false),
        });
        let (of_sender, to_send) = (shared.clone(), cluster.clone());
        let sender = tokio::spawn(async move {
            sender::run(to_send, of_sender.clone()).await;
            of_sender.ended.send_replace(true);
        });
        Ok(Producer { handle: Arc::new(Handle { shared, cluster, sender: sender.abort_handle() }) })
    }

    /// Takes a record to be sent; what becomes of it is told by the [`Delivery`].
    ///
    /// Waits, at most `max.block.ms`, while the topic is not known or `buffer.memory` is full. Records of one
    /// caller to one partition are stored in the order in which they were taken. A record is taken only if
    /// this returns; dropping the future before means that it was not.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, ProduceError> {
        let shared = self.shared();
        let started = Instant::now();
        let deadline = started + shared.options.max_block;
        check_size(&record, &shared.options)?;
        let partitions = self.partitions(&record, deadline).await?;
        let at = shared.choose(&record, partitions)?;
        let record = ProducerRecord { timestamp: record.timestamp.or_else(|| Some(now_ms())), ..record };
        let (ticket, delivery) = Delivery::new();
        let size = record.size_max();
        // Those who wait have come before.
        let (record, ticket) = match shared.turn.try_lock() {
            Ok(_turn) => match shared.append(&at, record, ticket)? {
                None => return Ok(delivery),
                Some(not_taken) => not_taken,
            },
            Err(_) => (record, ticket),
        };
        match timeout_at(deadline.into(), shared.append_in_turn(&at, record, ticket)).await {
            Ok(taken) => taken.map(|()| delivery),
            Err(_) => Err(ProduceError::BufferFull {
                size,
                limit: shared.options.buffer_memory,
                waited: shared.options.max_block,
            }),
        }
    }

    /// Sends a record and waits until it is delivered.
    pub async fn deliver(&self, record: ProducerRecord) -> Result<RecordMetadata, ProduceError> {
        self.send(record).await?.await
    }

    /// Waits until everything that was taken before is acknowledged or given up; nothing of it lingers.
    pub async fn flush(&self) {
        let shared = self.shared();
        let last = shared.core().flush();
        shared.wake.notify_one();
        let (mut progress, mut ended) = (shared.progress.subscribe(), shared.ended.subscribe());
        // Errors would mean that the senders of both are gone, which `self` holds.
        tokio::select! {
            _ = progress.wait_for(|()| shared.core().is_settled(last)) => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
    }

    /// Takes no more records, and waits until what was taken is acknowledged or given up.
    pub async fn close(&self) {
        let shared = self.shared();
        shared.core().close();
        shared.wake.notify_one();
        shared.freed.notify_one();
        let _ = shared.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// The same, but no longer than this: what is not acknowledged then is given up, which its deliveries tell.
    /// Whether everything was sent in time.
    pub async fn close_within(&self, limit: Duration) -> bool {
        if timeout(limit, self.close()).await.is_ok() {
            return true;
        }
        self.handle.sender.abort();
        let shared = self.shared();
        for batch in shared.core().give_up() {
            for (_, ticket) in batch.records {
                let _ = ticket.send(Err(ProduceError::Closed));
            }
        }
        shared.ended.send_replace(true);
        false
    }

    /// The cluster that it sends to.
    pub fn cluster(&self) -> &Cluster {
        &self.handle.cluster
    }

    pub fn options(&self) -> &ProducerOptions {
        &self.shared().options
    }

    /// How many partitions the record's topic has, at least one, and the record's own among them if it names one.
    async fn partitions(&self, record: &ProducerRecord, deadline: Instant) -> Result<i32, ProduceError> {
        let enough = |count: i32| count > record.partition.unwrap_or(0);
        let mut state = self.topic(&record.topic);
        if let TopicState::Partitions(count) = *state.borrow()
            && enough(count)
        {
            return Ok(count);
        }
        let is_known = |state: &TopicState| match state {
            TopicState::Partitions(count) => enough(*count),
            TopicState::Refused(_) => true,
            TopicState::Unknown | TopicState::Absent => false,
        };
        self.handle.cluster.suspect_topic(&record.topic);
        let known = timeout_at(deadline.into(), state.wait_for(is_known)).await;
        let known = known.map(|known| known.map(|known| *known));
        let last = match *state.borrow() {
            TopicState::Partitions(count) => Some(count),
            TopicState::Unknown | TopicState::Absent | TopicState::Refused(_) => None,
        };
        match (known, record.partition) {
            (Ok(Ok(TopicState::Partitions(count))), _) => Ok(count),
            (Ok(Ok(TopicState::Refused(code))), _) => {
                Err(ProduceError::TopicRefused { topic: record.topic.clone(), code })
            }
            (_, Some(partition)) if last.is_some() => Err(ProduceError::InvalidPartition {
                topic: record.topic.clone(),
                partition,
                partitions: last.unwrap_or_default(),
            }),
            _ => Err(ProduceError::UnknownTopic {
                topic: record.topic.clone(),
                waited: self.shared().options.max_block,
            }),
        }
    }

    fn topic(&self, topic: &Arc<str>) -> watch::Receiver<TopicState> {
        let mut topics = self.shared().topics();
        let in_use = topics.entry(topic.clone()).or_insert_with(|| TopicInUse {
            state: self.handle.cluster.topic(topic),
            choices: Choices::default(),
            used: Instant::now(),
        });
        in_use.used = Instant::now();
        in_use.state.clone()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

fn check_size(record: &ProducerRecord, options: &ProducerOptions) -> Result<(), ProduceError> {
    let size = record.size_max();
    let limits = [("max.request.size", options.max_request_size), ("buffer.memory", options.buffer_memory)];
    match limits.into_iter().find(|(_, limit)| size > *limit) {
        Some((property, limit)) => Err(ProduceError::RecordTooLarge { size, limit, property }),
        None => Ok(()),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Shared {
    fn choose(&self, record: &ProducerRecord, partitions: i32) -> Result<TopicPartition, ProduceError> {
        let partition = match record.partition {
            Some(partition) => partition,
            None => {
                let mut topics = self.topics();
                // One that fell out of use this very moment has made no choices.
                let mut none = Choices::default();
                let choices = topics.get_mut(&record.topic).map_or(&mut none, |topic| &mut topic.choices);
                let load = || self.core().load(&record.topic, partitions);
                choices.choose(&self.options.partitioning, record, partitions, rand::random(), load)
            }
        };
        if (0..partitions).contains(&partition) {
            Ok(TopicPartition { topic: record.topic.clone(), partition })
        } else {
            Err(ProduceError::InvalidPartition { topic: record.topic.clone(), partition, partitions })
        }
    }

    /// `Some`: there is no room.
    fn append(
        &self,
        at: &TopicPartition,
        record: ProducerRecord,
        ticket: Ticket,
    ) -> Result<Option<(ProducerRecord, Ticket)>, ProduceError> {
        let (size, keyless) = (record.size_max(), record.partition.is_none());
        let appended = self.core().append(at, record, ticket, Instant::now());
        match appended {
            Offered::Taken { wakes } => {
                if wakes {
                    self.wake.notify_one();
                }
                if keyless && let Some(topic) = self.topics().get_mut(&at.topic) {
                    topic.choices.sent(at.partition, size, self.options.batch_size);
                }
                Ok(None)
            }
            Offered::Full(record, ticket) => Ok(Some((record, ticket))),
            Offered::Closed => Err(ProduceError::Closed),
        }
    }

    async fn append_in_turn(
        &self,
        at: &TopicPartition,
        record: ProducerRecord,
        ticket: Ticket,
    ) -> Result<(), ProduceError> {
        let _turn = self.turn.lock().await;
        let mut waiting = (record, ticket);
        loop {
            let (record, ticket) = waiting;
            waiting = match self.append(at, record, ticket)? {
                None => return Ok(()),
                Some(not_taken) => not_taken,
            };
            // Nothing lingers while somebody waits.
            self.wake.notify_one();
            self.freed.notified().await;
        }
    }

    /// A batch was acknowledged or given up, and its memory with it.
    fn settled(&self) {
        self.freed.notify_one();
        self.progress.send_replace(());
    }

    fn forget_idle_topics(&self, now: Instant, idle: Duration) {
        self.topics().retain(|_, topic| now.saturating_duration_since(topic.used) < idle);
    }

    fn core(&self) -> MutexGuard<'_, Accumulator<Ticket>> {
        // Nothing panics while it holds the lock; were it so, what it knows is still whole.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Arc<str>, TopicInUse>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.core().close();
        self.shared.wake.notify_one();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
