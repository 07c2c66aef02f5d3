//! The bytes that frames of all connections may occupy together (`queued.max.request.bytes`).
//!
//! Bytes beyond a frame's first are charged as they arrive, not as they are announced, and given
//! back when the last slice of the frame is dropped: once a request is read, that is when nobody needs
//! its records or bytes any more, however long it waits for its answer. If all is taken by frames that are themselves
//! incomplete, nobody could go on; so one frame at a time may pass the budget until it is complete.
//! A frame whose sender is slow while others wait is given up ([`pace`](super::pace)).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::pace::{FrameId, Frames};

/// How often one of those who wait looks for frames to be given up.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Clone)]
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    overdraft: Arc<Semaphore>,
    receiving: Arc<Mutex<Receiving>>,
}

#[derive(Debug, Default)]
struct Receiving {
    frames: Frames,
    /// Wakes a frame's connection when it has to go.
    given_up: BTreeMap<FrameId, Arc<Notify>>,
    /// When one of them looked last.
    looked: Option<Instant>,
}

/// What one frame has taken from the budget.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
    place: Option<Place>,
}

/// A frame's place among those that are being received, until it is dropped.
#[derive(Debug)]
struct Place {
    id: FrameId,
    given_up: Arc<Notify>,
    receiving: Arc<Mutex<Receiving>>,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        let bytes = bytes.clamp(1, Semaphore::MAX_PERMITS);
        Budget {
            bytes: Arc::new(Semaphore::new(bytes)),
            overdraft: Arc::new(Semaphore::new(1)),
            receiving: Arc::default(),
        }
    }

    /// Takes `more` bytes for a frame, waiting until there are as many.
    pub(super) async fn take(&self, held: &mut Held, more: usize) {
        if held.overdraft.is_some() {
            return;
        }
        let place = held.place.get_or_insert_with(|| Place::among(&self.receiving));
        let count = u32::try_from(more).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.bytes).try_acquire_many_owned(count) {
            place.got(Some(more));
            held.add(permit);
            return;
        }
        place.waits(more);
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(count);
        let overdraft = Arc::clone(&self.overdraft).acquire_owned();
        tokio::pin!(bytes, overdraft);
        // Neither semaphore is ever closed, so that an `Err` does not occur.
        loop {
            tokio::select! {
                biased;
                Ok(permit) = &mut bytes => {
                    place.got(Some(more));
                    return held.add(permit);
                }
                Ok(permit) = &mut overdraft => {
                    place.got(None);
                    held.overdraft = Some(permit);
                    return;
                }
                () = sleep(LOOK_INTERVAL) => self.give_up_slow(),
            }
        }
    }

    /// One look serves all: thousands may wait.
    fn give_up_slow(&self) {
        let mut receiving = lock(&self.receiving);
        let now = Instant::now();
        if receiving.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK_INTERVAL) {
            return;
        }
        receiving.looked = Some(now);
        for id in receiving.frames.slow(now.into_std()) {
            if let Some(given_up) = receiving.given_up.get(&id) {
                given_up.notify_one();
            }
        }
    }
}

impl Place {
    fn among(receiving: &Arc<Mutex<Receiving>>) -> Place {
        let given_up = Arc::new(Notify::new());
        let mut all = lock(receiving);
        let id = all.frames.begin(Instant::now().into_std());
        all.given_up.insert(id, Arc::clone(&given_up));
        drop(all);
        Place { id, given_up, receiving: Arc::clone(receiving) }
    }

    fn got(&self, more: Option<usize>) {
        self.lock().frames.got(self.id, more, Instant::now().into_std());
    }

    fn waits(&self, wanted: usize) {
        self.lock().frames.waits(self.id, wanted);
    }

    fn lock(&self) -> MutexGuard<'_, Receiving> {
        lock(&self.receiving)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut receiving = lock(&self.receiving);
        receiving.frames.end(self.id);
        receiving.given_up.remove(&self.id);
    }
}

fn lock(receiving: &Mutex<Receiving>) -> MutexGuard<'_, Receiving> {
    receiving.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.bytes {
            Some(bytes) => bytes.merge(permit),
            None => self.bytes = Some(permit),
        }
    }

    /// So much of the frame has come so far.
    pub(super) fn received(&self, bytes: usize) {
        if let Some(place) = &self.place {
            place.lock().frames.received(place.id, bytes, Instant::now().into_std());
        }
    }

    /// Returns when the frame's memory is needed and its sender too slow.
    pub(super) async fn given_up(&self) {
        match &self.place {
            Some(place) => place.given_up.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Ties the budget taken to the life of the frame.
    pub(super) fn into_frame(mut self, bytes: Vec<u8>) -> Bytes {
        self.place = None;
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
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::server::pace::{PACE_BYTES, PACE_WINDOW};

    #[tokio::test]
    async fn a_frame_holds_its_bytes_until_its_last_slice_is_gone() {
        let budget = Budget::new(10);
        let mut held = Held::default();
        budget.take(&mut held, 4).await;
        budget.take(&mut held, 6).await;
        let frame = held.into_frame(vec![0; 10]);
        let slice = frame.slice(2..3);
        drop(frame);
        assert_eq!(budget.bytes.available_permits(), 0);
        drop(slice);
        assert_eq!(budget.bytes.available_permits(), 10);
    }

    #[tokio::test]
    async fn when_all_is_taken_one_frame_goes_on_and_the_others_wait_for_it() {
        let budget = Budget::new(10);
        let [mut first, mut second, mut third] = [Held::default(), Held::default(), Held::default()];
        budget.take(&mut first, 5).await;
        budget.take(&mut second, 5).await;
        budget.take(&mut first, 1_000_000).await;
        assert!(first.overdraft.is_some());
        budget.take(&mut first, 1_000_000).await;
        assert!(budget.take(&mut second, 1).now_or_never().is_none(), "the overdraft is taken");
        drop(first);
        budget.take(&mut second, 5).await;
        assert!(second.overdraft.is_none());
        budget.take(&mut third, 1).await;
        assert!(third.overdraft.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_slowly_makes_room_when_others_wait() {
        let budget = Budget::new(10);
        let [mut slow, mut passing, mut next] = [Held::default(), Held::default(), Held::default()];
        budget.take(&mut slow, 10).await;
        budget.take(&mut passing, 5).await;
        assert!(passing.overdraft.is_some());
        tokio::time::sleep(PACE_WINDOW * 10).await;
        assert!(slow.given_up().now_or_never().is_none(), "nobody waits");

        // As its connection does: it ends, and its memory is free.
        let gone = async {
            passing.given_up().await;
            drop(passing);
        };
        tokio::join!(gone, budget.take(&mut next, 5));
        assert!(next.overdraft.is_some());
        assert!(slow.given_up().now_or_never().is_none(), "one was enough");
    }

    #[tokio::test(start_paused = true)]
    async fn one_look_makes_room_for_all_who_wait() {
        let budget = Budget::new(10);
        let [mut first, mut second, mut passing] = [Held::default(), Held::default(), Held::default()];
        budget.take(&mut first, 5).await;
        budget.take(&mut second, 5).await;
        budget.take(&mut passing, 1).await;
        tokio::time::sleep(PACE_WINDOW).await;
        passing.received(PACE_BYTES);

        let [mut third, mut fourth] = [Held::default(), Held::default()];
        let gone = async |held: Held| held.given_up().await;
        let started = Instant::now();
        tokio::join!(gone(first), gone(second), budget.take(&mut third, 5), budget.take(&mut fourth, 5));
        assert_eq!(started.elapsed(), LOOK_INTERVAL);
        assert!(passing.given_up().now_or_never().is_none(), "it gets on");
    }
}
