//! One stream of a classic consumer: the partitions it owns now, and their records.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep, sleep};

use super::super::fetcher::{Fetched, Fetcher, ReadError};
use super::super::record::ConsumerRecord;
use crate::ids::{Offset, TopicPartition};

/// Why a stream gave something else than a record.
#[derive(Debug, thiserror::Error)]
pub enum ClassicStreamError {
    /// The partition rests until it is assigned anew; the others go on.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// `consumer.timeout.ms`; the stream can be asked again.
    #[error("no record came within {after:?}")]
    Timeout { after: Duration },
}

/// Records of the partitions that this stream owns at a time, each partition in order.
///
/// A record that was given counts as consumed and is committed with the next commit. The stream ends when
/// its consumer is closed or dropped.
pub struct ClassicStream {
    topic: Option<String>,
    shared: Arc<StreamShared>,
    /// Completes when the fetcher has something, or the stream's partitions or its end changed.
    waking: Option<BoxFuture<'static, ()>>,
    patience: Option<Patience>,
}

struct Patience {
    after: Duration,
    timer: Pin<Box<Sleep>>,
}

/// What the stream and its consumer both touch.
#[derive(Debug)]
pub(super) struct StreamShared {
    fetcher: Fetcher,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Partitions whose position is not in the log.
    lost: mpsc::UnboundedSender<LostPosition>,
}

#[derive(Debug, Default)]
struct State {
    owned: BTreeMap<TopicPartition, Owned>,
    taken: VecDeque<ConsumerRecord>,
    /// Nothing is given, since it is not known whether the partitions are still ours.
    suspended: bool,
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Owned {
    /// Of the next record to give; `None` before it is known where to begin.
    next: Option<Offset>,
    generation: u64,
}

/// A partition that must begin elsewhere.
#[derive(Debug)]
pub(super) struct LostPosition {
    pub(super) partition: TopicPartition,
    pub(super) generation: u64,
    /// Where to go on, if it is known.
    pub(super) at: Option<Offset>,
}

impl StreamShared {
    pub(super) fn new(fetcher: Fetcher, lost: mpsc::UnboundedSender<LostPosition>) -> StreamShared {
        StreamShared { fetcher, state: Mutex::default(), changed: watch::Sender::new(()), lost }
    }

    /// Begins to give a partition's records. Without an offset, its position counts as lost.
    pub(super) fn own(&self, partition: &TopicPartition, generation: u64, next: Option<Offset>) {
        self.state().owned.insert(partition.clone(), Owned { next, generation });
        match next {
            Some(next) => self.fetcher.assign(partition, next),
            None => self.lose(partition, generation, None),
        }
    }

    /// Gives nothing more of a partition, and tells up to where it was consumed.
    pub(super) fn disown(&self, partition: &TopicPartition) -> Option<Offset> {
        let mut state = self.state();
        let owned = state.owned.remove(partition)?;
        state.taken.retain(|record| !is_of(record, partition));
        self.fetcher.remove(partition);
        owned.next
    }

    /// Where a partition begins whose position was lost, unless it was given up meanwhile.
    pub(super) fn found(&self, partition: &TopicPartition, generation: u64, next: Offset) {
        let mut state = self.state();
        let owned = state.owned.get_mut(partition).filter(|owned| owned.generation == generation);
        if let Some(owned) = owned {
            owned.next = Some(next);
            self.fetcher.assign(partition, next);
        }
    }

    /// Up to where each partition was consumed.
    pub(super) fn consumed(&self) -> Vec<(TopicPartition, Offset)> {
        let state = self.state();
        let owned = state.owned.iter();
        owned.filter_map(|(partition, owned)| Some((partition.clone(), owned.next?))).collect()
    }

    pub(super) fn suspend(&self, suspended: bool) {
        self.state().suspended = suspended;
        self.changed.send_replace(());
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.send_replace(());
    }

    fn lose(&self, partition: &TopicPartition, generation: u64, at: Option<Offset>) {
        // Without a receiver the consumer is gone, and nothing goes on.
        let _ = self.lost.send(LostPosition { partition: partition.clone(), generation, at });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; were it so, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to give, if there is something now.
    fn try_next(&self) -> Option<Option<Result<ConsumerRecord, ReadError>>> {
        let mut state = self.state();
        loop {
            if state.closed {
                return Some(None);
            }
            if state.suspended {
                return None;
            }
            if let Some(record) = state.taken.pop_front() {
                let partition = TopicPartition::new(Arc::clone(&record.topic), record.partition);
                if let Some(owned) = state.owned.get_mut(&partition) {
                    owned.next = Some(record.offset + 1);
                }
                return Some(Some(Ok(record)));
            }
            // With the lock held: what is given up meanwhile is not taken.
            match self.fetcher.try_next()? {
                Fetched::Records(records) if records.records.is_empty() => {
                    if let Some(owned) = state.owned.get_mut(&records.partition) {
                        owned.next = Some(records.next.offset);
                    }
                }
                Fetched::Records(records) => state.taken.extend(records.records),
                Fetched::OutOfRange { partition, position } => {
                    tracing::warn!(%partition, offset = %position.offset, "the offset is not in the log; beginning anew by auto.offset.reset");
                    self.lose_owned(&state, &partition, None);
                }
                Fetched::Truncated { partition, position, diverged } => {
                    tracing::warn!(%partition, offset = %position.offset, ?diverged, "the log was cut below what was read of it");
                    self.lose_owned(&state, &partition, diverged.map(|at| at.offset));
                }
                other => return other.into_records().err().map(|error| Some(Err(error))),
            }
        }
    }

    fn lose_owned(&self, state: &State, partition: &TopicPartition, at: Option<Offset>) {
        if let Some(owned) = state.owned.get(partition) {
            self.lose(partition, owned.generation, at);
        }
    }

    /// Waits until [`try_next`](StreamShared::try_next) may have something.
    async fn wake(self: Arc<StreamShared>) {
        let mut changed = self.changed.subscribe();
        if self.state().closed {
            return;
        }
        let is_suspended = self.state().suspended;
        tokio::select! {
            // An error would mean that the sender is gone, which `self` holds.
            _ = changed.changed() => {}
            () = self.fetcher.ready(), if !is_suspended => {}
        }
    }
}

impl ClassicStream {
    pub(super) fn new(
        topic: Option<String>,
        shared: Arc<StreamShared>,
        timeout: Option<Duration>,
    ) -> ClassicStream {
        let patience = timeout.map(|after| Patience { after, timer: Box::pin(sleep(after)) });
        ClassicStream { topic, shared, waking: None, patience }
    }

    /// The topic it was declared for; `None` for a stream of a list.
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// The partitions that it owns now.
    pub fn owned(&self) -> Vec<TopicPartition> {
        self.shared.state().owned.keys().cloned().collect()
    }
}

impl Stream for ClassicStream {
    type Item = Result<ConsumerRecord, ClassicStreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(item) = this.shared.try_next() {
                if let Some(Patience { after, timer }) = &mut this.patience {
                    timer.as_mut().reset(Instant::now() + *after);
                }
                return Poll::Ready(item.map(|result| result.map_err(ClassicStreamError::from)));
            }
            let shared = &this.shared;
            let waking = this.waking.get_or_insert_with(|| Arc::clone(shared).wake().boxed());
            if waking.poll_unpin(cx).is_ready() {
                this.waking = None;
                continue;
            }
            let Some(Patience { after, timer }) = &mut this.patience else { return Poll::Pending };
            ready!(timer.as_mut().poll(cx));
            timer.as_mut().reset(Instant::now() + *after);
            return Poll::Ready(Some(Err(ClassicStreamError::Timeout { after: *after })));
        }
    }
}

impl std::fmt::Debug for ClassicStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClassicStream").field("topic", &self.topic).finish_non_exhaustive()
    }
}

fn is_of(record: &ConsumerRecord, partition: &TopicPartition) -> bool {
    record.partition == partition.partition && record.topic == partition.topic
}
