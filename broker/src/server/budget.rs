//! The bytes that frames of all connections may occupy together (`queued.max.request.bytes`).
//!
//! Bytes beyond a frame's first are charged as they arrive, not as they are announced, and given
//! back when the last slice of the frame is dropped. If all is taken by frames that are themselves
//! incomplete, nobody could go on; so one frame at a time may pass the budget until it is complete.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug, Clone)]
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    overdraft: Arc<Semaphore>,
}

/// What one frame has taken from the budget.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        let bytes = bytes.clamp(1, Semaphore::MAX_PERMITS);
        Budget { bytes: Arc::new(Semaphore::new(bytes)), overdraft: Arc::new(Semaphore::new(1)) }
    }

    /// Takes `more` bytes for a frame, waiting until there are as many.
    pub(super) async fn take(&self, held: &mut Held, more: usize) {
        if held.overdraft.is_some() {
            return;
        }
        let count = u32::try_from(more).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.bytes).try_acquire_many_owned(count) {
            held.add(permit);
            return;
        }
        // Neither semaphore is ever closed, so that an `Err` does not occur.
        tokio::select! {
            biased;
            Ok(permit) = Arc::clone(&self.bytes).acquire_many_owned(count) => held.add(permit),
            Ok(permit) = Arc::clone(&self.overdraft).acquire_owned() => held.overdraft = Some(permit),
            else => {}
        }
    }
}

impl Held {
    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.bytes {
            Some(bytes) => bytes.merge(permit),
            None => self.bytes = Some(permit),
        }
    }

    /// Ties the budget taken to the life of the frame.
    pub(super) fn into_frame(self, bytes: Vec<u8>) -> Bytes {
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
}
