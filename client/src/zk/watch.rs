//! One-shot watches that also end when their connection does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use zookeeper_client::{EventType, WatchedEvent};

use super::attachment::Gate;
use super::error::ZkError;
use super::read::Armed;

/// The client takes its watched paths along when it reconnects, in one request; beyond 128 KiB it
/// sends a request that the server answers by ending the session. This leaves room for a watch that
/// was given up and is not yet gone.
pub(super) const LARGEST_WATCHED: usize = 96 * 1024;

/// Why a watch ended. It says that something happened, not what is there now: read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEvent {
    Created,
    Deleted,
    DataChanged,
    ChildrenChanged,
    /// The connection was replaced or the session ended; whether the node changed is not known.
    Lost,
}

/// Waits for one change of a node. May be polled again after losing a `select!`, and dropped at any
/// time.
#[must_use = "a watch that is dropped watches nothing"]
pub struct Watch {
    event: BoxFuture<'static, WatchedEvent>,
    lost: BoxFuture<'static, ()>,
    gate: Arc<Gate>,
    _share: WatchShare,
}

impl Watch {
    pub(super) fn new(armed: Armed, share: WatchShare) -> Watch {
        let Armed { watcher, gate } = armed;
        let lost = Arc::clone(&gate).closed().boxed();
        Watch { event: watcher.changed().boxed(), lost, gate, _share: share }
    }

    /// The same as awaiting the watch by reference.
    pub async fn changed(&mut self) -> WatchEvent {
        self.await
    }
}

impl Future for Watch {
    type Output = WatchEvent;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<WatchEvent> {
        let this = &mut *self;
        // The crate's watcher panics when it is polled after its connection's task is gone; the
        // gate is closed first, and does not close while a watch is being polled.
        let event = this.gate.while_open(|| this.event.poll_unpin(cx));
        match event {
            None => Poll::Ready(WatchEvent::Lost),
            Some(Poll::Ready(event)) => Poll::Ready(WatchEvent::of(&event)),
            Some(Poll::Pending) => this.lost.poll_unpin(cx).map(|()| WatchEvent::Lost),
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl WatchEvent {
    fn of(event: &WatchedEvent) -> WatchEvent {
        match event.event_type {
            EventType::NodeCreated => WatchEvent::Created,
            EventType::NodeDeleted => WatchEvent::Deleted,
            EventType::NodeDataChanged => WatchEvent::DataChanged,
            EventType::NodeChildrenChanged => WatchEvent::ChildrenChanged,
            EventType::Session => WatchEvent::Lost,
        }
    }
}

/// How many bytes of paths a session watches.
#[derive(Debug)]
pub(super) struct WatchBudget {
    used: AtomicUsize,
    chroot: usize,
}

impl WatchBudget {
    pub(super) fn new(chroot: usize) -> Arc<WatchBudget> {
        Arc::new(WatchBudget { used: AtomicUsize::new(0), chroot })
    }

    /// Whether there is room for a path now.
    pub(super) fn fits(&self, path: &str) -> bool {
        self.used.load(Ordering::Acquire) + self.chroot + path.len() <= LARGEST_WATCHED
    }

    pub(super) fn take(self: &Arc<WatchBudget>, path: &str) -> Result<WatchShare, ZkError> {
        let bytes = self.chroot + path.len();
        let fits = |used: usize| (used + bytes <= LARGEST_WATCHED).then_some(used + bytes);
        match self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => Ok(WatchShare { budget: Arc::clone(self), bytes }),
            Err(_) => Err(ZkError::TooManyWatches { path: path.to_owned(), limit: LARGEST_WATCHED }),
        }
    }
}

/// A path's part of the budget, given back on drop.
#[derive(Debug)]
pub(super) struct WatchShare {
    budget: Arc<WatchBudget>,
    bytes: usize,
}

impl Drop for WatchShare {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_kept_and_given_back() {
        let budget = WatchBudget::new(10);
        let path = "x".repeat(1014);
        let mut shares: Vec<_> = (0..96).map(|_| budget.take(&path).unwrap()).collect();
        let full = ZkError::TooManyWatches { path: "/".into(), limit: LARGEST_WATCHED };
        assert_eq!(budget.take("/").unwrap_err(), full);
        shares.pop();
        assert!(budget.take("/").is_ok());
    }
}
