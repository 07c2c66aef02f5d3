//! The producer for programs that are not async.

use std::fmt;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::builder::{ConnectError, ProducerBuilder};
use super::delivery::Delivery;
use super::error::ProduceError;
use super::record::{ProducerRecord, RecordMetadata};

/// A [`Producer`](super::Producer) with a runtime of its own, whose calls wait by blocking the thread. It cannot be
/// used within a runtime.
///
/// ```no_run
/// use client::producer::{Producer, ProducerRecord, blocking};
///
/// let builder = Producer::builder().bootstrap_servers("127.0.0.1:9092");
/// let producer = blocking::Producer::connect(builder)?;
/// producer.deliver(ProducerRecord::to("orders").value("two apples"))?;
/// producer.close();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Producer {
    inner: super::Producer,
    runtime: Runtime,
}

/// Why there is no producer.
#[derive(Debug, thiserror::Error)]
pub enum BlockingError {
    #[error("no runtime can be started: {0}")]
    Runtime(#[from] std::io::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Producer {
    /// See [`ProducerBuilder::connect`].
    pub fn connect(builder: ProducerBuilder) -> Result<Producer, BlockingError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let inner = runtime.block_on(builder.connect())?;
        Ok(Producer { inner, runtime })
    }

    /// Takes a record to be sent. Blocks only while there is no room for it, or its topic is not known.
    pub fn send(&self, record: ProducerRecord) -> Result<Delivery, ProduceError> {
        self.runtime.block_on(self.inner.send(record))
    }

    /// Sends a record and waits until it is delivered.
    pub fn deliver(&self, record: ProducerRecord) -> Result<RecordMetadata, ProduceError> {
        self.runtime.block_on(self.inner.deliver(record))
    }

    /// Waits for what became of a record that was sent before.
    pub fn wait(&self, delivery: Delivery) -> Result<RecordMetadata, ProduceError> {
        self.runtime.block_on(delivery)
    }

    /// See [`Producer::flush`](super::Producer::flush).
    pub fn flush(&self) {
        self.runtime.block_on(self.inner.flush());
    }

    /// See [`Producer::close`](super::Producer::close).
    pub fn close(&self) {
        self.runtime.block_on(self.inner.close());
    }

    /// See [`Producer::close_within`](super::Producer::close_within).
    pub fn close_within(&self, limit: Duration) -> bool {
        self.runtime.block_on(self.inner.close_within(limit))
    }
}

/// Sends what was taken before the runtime ends.
impl Drop for Producer {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
