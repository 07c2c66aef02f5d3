//! A producer as a place where a stream of records ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Sink, StreamExt, ready};

use super::Producer;
use super::delivery::Delivery;
use super::error::ProduceError;
use super::record::ProducerRecord;

/// A [`Sink`] of records. Flushing it waits until all of them were delivered; the first that was not is its error.
///
/// ```no_run
/// use client::producer::{Producer, ProducerRecord};
/// use futures::{SinkExt, StreamExt, stream};
///
/// # async fn example(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
/// let records = stream::iter(["a", "b", "c"]).map(|value| Ok(ProducerRecord::to("letters").value(value)));
/// records.forward(producer.sink()).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a sink does nothing by itself"]
pub struct RecordSink {
    producer: Producer,
    taking: Option<BoxFuture<'static, Result<Delivery, ProduceError>>>,
    deliveries: FuturesUnordered<Delivery>,
}

impl Producer {
    /// A place where a stream of records can end.
    pub fn sink(&self) -> RecordSink {
        RecordSink { producer: self.clone(), taking: None, deliveries: FuturesUnordered::new() }
    }
}

impl RecordSink {
    /// Hands the record over that waits, and passes over those that were delivered meanwhile.
    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProduceError>> {
        while let Poll::Ready(Some(delivered)) = self.deliveries.poll_next_unpin(cx) {
            if let Err(error) = delivered {
                return Poll::Ready(Err(error));
            }
        }
        let Some(taking) = &mut self.taking else { return Poll::Ready(Ok(())) };
        let taken = ready!(taking.poll_unpin(cx));
        self.taking = None;
        self.deliveries.push(taken?);
        Poll::Ready(Ok(()))
    }
}

impl Sink<ProducerRecord> for RecordSink {
    type Error = ProduceError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ProduceError>> {
        self.poll_taken(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, record: ProducerRecord) -> Result<(), ProduceError> {
        let producer = self.producer.clone();
        self.taking = Some(async move { producer.send(record).await }.boxed());
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ProduceError>> {
        ready!(self.poll_taken(cx))?;
        // What is left is waited for without lingering.
        self.producer.shared().core().flush();
        self.producer.shared().wake.notify_one();
        while let Some(delivered) = ready!(self.deliveries.poll_next_unpin(cx)) {
            delivered?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ProduceError>> {
        self.poll_flush(cx)
    }
}

impl std::fmt::Debug for RecordSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordSink").field("producer", &self.producer).finish_non_exhaustive()
    }
}
