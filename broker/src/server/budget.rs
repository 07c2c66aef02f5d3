//! The bytes that frames of all connections may occupy together (`queued.max.request.bytes`).
//!
//! They are given back when the last slice of the frame is dropped: once a request is read, that is
//! when nobody needs its records or bytes any more, however long it waits for its answer. Who gets
//! them, and which frame is given up when others wait for what it has, is the [`Ledger`]'s to decide.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::ledger::{FrameId, Ledger};
use super::pace::LEAST_PATIENCE;

/// How often it is looked for frames to be given up, while any waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
pub(super) struct Budget {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    ledger: Ledger,
    bells: BTreeMap<FrameId, Arc<Bells>>,
    /// A task does so.
    is_looking: bool,
}

/// What wakes a frame's connection.
#[derive(Debug, Default)]
struct Bells {
    granted: Notify,
    given_up: Notify,
}

/// What one frame has taken from the budget.
#[derive(Debug, Default)]
pub(super) struct Held {
    share: Option<Share>,
}

/// A frame's entry in the ledger, until it is dropped.
#[derive(Debug)]
struct Share {
    id: FrameId,
    bells: Arc<Bells>,
    shared: Arc<Mutex<Shared>>,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        let shared = Shared { ledger: Ledger::new(bytes.max(1)), bells: BTreeMap::new(), is_looking: false };
        Budget { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Takes `more` bytes for a frame that lacks so many to be complete, waiting until it gets them. Who
    /// does not wait to the end drops the frame as well.
    pub(super) async fn take(&self, held: &mut Held, more: usize, lacks: usize) {
        let share = held.share.get_or_insert_with(|| Share::of(&self.shared));
        {
            let mut shared = share.lock();
            shared.ledger.ask(share.id, more, lacks);
            shared.grant();
            if shared.ledger.anyone_waits() && !shared.is_looking {
                shared.is_looking = true;
                tokio::spawn(look(Arc::clone(&self.shared)));
            }
        }
        while share.lock().ledger.waits(share.id) {
            share.bells.granted.notified().await;
        }
    }
}

/// One look serves all: thousands may wait.
async fn look(shared: Arc<Mutex<Shared>>) {
    loop {
        sleep(LOOK_INTERVAL).await;
        let mut shared = lock(&shared);
        if !shared.ledger.anyone_waits() {
            shared.is_looking = false;
            return;
        }
        for id in shared.ledger.slow(now()) {
            if let Some(bells) = shared.bells.get(&id) {
                bells.given_up.notify_one();
            }
        }
    }
}

impl Shared {
    fn grant(&mut self) {
        for id in self.ledger.grant(now()) {
            if let Some(bells) = self.bells.get(&id) {
                bells.granted.notify_one();
            }
        }
    }
}

impl Share {
    fn of(shared: &Arc<Mutex<Shared>>) -> Share {
        let bells = Arc::<Bells>::default();
        let mut all = lock(shared);
        let id = all.ledger.begin(now());
        all.bells.insert(id, Arc::clone(&bells));
        drop(all);
        Share { id, bells, shared: Arc::clone(shared) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shared = self.lock();
        shared.bells.remove(&self.id);
        shared.ledger.end(self.id);
        shared.grant();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

impl Held {
    /// So many bytes of the frame have come.
    pub(super) fn received(&self, bytes: usize) {
        if let Some(share) = &self.share {
            share.lock().ledger.received(share.id, bytes, now());
        }
    }

    /// Returns when the frame's memory is needed and its sender too slow.
    pub(super) async fn given_up(&self) {
        let Some(share) = &self.share else { return std::future::pending().await };
        loop {
            share.bells.given_up.notified().await;
            // What was at hand may have been read since.
            if share.lock().ledger.lag(share.id, now()) >= LEAST_PATIENCE {
                return;
            }
        }
    }

    /// Ties the budget taken to the life of the frame.
    pub(super) fn into_frame(self, bytes: Vec<u8>) -> Bytes {
        if let Some(share) = &self.share {
            share.lock().ledger.complete(share.id);
        }
        Bytes::from_owner(Frame { bytes, _held: self })
    }
}

struct Frame {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests;
