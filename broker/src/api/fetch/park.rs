//! A Fetch that finds too little waits (`DelayedFetch.scala`), as a future over the watches of its
//! partitions: nothing is spawned, and nothing is registered before there is reason to wait.

use client::ids::LeaderEpoch;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Terms;
use super::read::{self, Found, Outcome, Target};
use crate::partition::Status;

/// Whether a request that read this should wait for more.
pub(super) fn is_worth_waiting(targets: &[Target], outcomes: &[Outcome], terms: &Terms) -> bool {
    let readable = targets.iter().any(|target| !matches!(target.found, Found::Refused(_)));
    if terms.max_wait.is_zero() || !readable {
        return false;
    }
    let mut bytes = 0;
    for outcome in outcomes {
        match outcome {
            Outcome::Refused(_) => {}
            Outcome::Failed(_) => return false,
            Outcome::Read(read) if read.diverging.is_some() || read.in_older_segment => return false,
            Outcome::Redirected { .. } => return false,
            Outcome::Read(read) => bytes += len(read.records.len()),
        }
    }
    bytes < terms.min_bytes
}

/// Waits until there are enough bytes, until waiting is pointless, or until the deadline.
pub(super) async fn until_ready(targets: &[Target], outcomes: &[Outcome], terms: &Terms, deadline: Instant) {
    // A timeout is an answer like any other.
    let _ = timeout_at(deadline, ready(targets, outcomes, terms)).await;
}

async fn ready(targets: &[Target], outcomes: &[Outcome], terms: &Terms) {
    let mut parked: Vec<Parked<'_>> = targets.iter().zip(outcomes).filter_map(Parked::of).collect();
    let mut changes = FuturesUnordered::new();
    for (index, place) in parked.iter_mut().enumerate() {
        let mut watch = place.watch();
        // What changed since the first pass is seen here, what changes later wakes the watch.
        // Copied out first: what is borrowed is locked, and who changes the partition locks that first.
        let status = *watch.borrow_and_update();
        if place.observe(status, terms).is_ready() {
            return;
        }
        changes.push(changed(index, watch));
    }
    let mut bytes: i64 = parked.iter().map(|place| place.bytes).sum();
    while bytes < terms.min_bytes {
        let Some((index, status)) = changes.next().await else { return };
        // Partitions live as long as the targets, so that a watch is never closed.
        let (Some((status, watch)), Some(place)) = (status, parked.get_mut(index)) else { return };
        bytes -= place.bytes;
        if place.observe(status, terms).is_ready() {
            return;
        }
        bytes += place.bytes;
        changes.push(changed(index, watch));
    }
}

type Watch = watch::Receiver<Status>;

async fn changed(index: usize, mut watch: Watch) -> (usize, Option<(Status, Watch)>) {
    match watch.changed().await {
        Ok(()) => {
            let status = *watch.borrow_and_update();
            (index, Some((status, watch)))
        }
        Err(_) => (index, None),
    }
}

/// A partition waited for.
struct Parked<'a> {
    target: &'a Target,
    partition: &'a crate::partition::Partition,
    /// The epoch in which the wait began.
    epoch: Option<LeaderEpoch>,
    /// What it would contribute to the response now.
    bytes: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Wait,
    Ready,
}

impl Verdict {
    fn is_ready(self) -> bool {
        self == Verdict::Ready
    }
}

impl<'a> Parked<'a> {
    fn of((target, outcome): (&'a Target, &'a Outcome)) -> Option<Parked<'a>> {
        match (&target.found, outcome) {
            (Found::Here { partition }, Outcome::Read(read)) => {
                Some(Parked { target, partition, epoch: None, bytes: len(read.records.len()) })
            }
            _ => None,
        }
    }

    fn watch(&self) -> Watch {
        self.partition.watch()
    }

    /// Takes note of the partition's facts.
    fn observe(&mut self, status: Status, terms: &Terms) -> Verdict {
        let epoch = *self.epoch.get_or_insert(status.epoch);
        let unable = status.offline || (terms.leader_only() && !status.is_leader());
        if unable || status.epoch != epoch {
            return Verdict::Ready;
        }
        let bound = match terms {
            Terms { follower: Some(_), .. } => status.end,
            Terms { read_committed: true, .. } => status.last_stable_offset,
            Terms { read_committed: false, .. } => status.high_watermark,
        };
        let offset = self.target.ask.fetch_offset;
        if offset > bound {
            // The log was cut, or the reader is ahead of what it may see: an answer helps it more.
            return Verdict::Ready;
        }
        if offset == bound {
            self.bytes = 0;
            return Verdict::Wait;
        }
        if terms.min_bytes <= 1 {
            return Verdict::Ready;
        }
        match read::available(self.partition, &self.target.ask, terms) {
            Ok(Some(bytes)) => {
                self.bytes = len(bytes);
                Verdict::Wait
            }
            Ok(None) | Err(_) => Verdict::Ready,
        }
    }
}

fn len(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
