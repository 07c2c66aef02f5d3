//! What became of one record.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::error::ProduceError;
use super::record::RecordMetadata;

/// Becomes ready when the record was acknowledged or given up. May be dropped: the record is sent all the same.
#[derive(Debug)]
#[must_use = "whether the record was delivered is known only to this future"]
pub struct Delivery {
    outcome: oneshot::Receiver<Result<RecordMetadata, ProduceError>>,
}

/// Tells a [`Delivery`].
pub(super) type Ticket = oneshot::Sender<Result<RecordMetadata, ProduceError>>;

impl Delivery {
    pub(super) fn new() -> (Ticket, Delivery) {
        let (ticket, outcome) = oneshot::channel();
        (ticket, Delivery { outcome })
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Only a producer that was torn down with its runtime leaves without a word.
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| outcome.unwrap_or(Err(ProduceError::Closed)))
    }
}
