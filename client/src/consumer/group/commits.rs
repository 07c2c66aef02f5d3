//! Commits, one after the other: a later one never reaches the coordinator before an earlier one.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::committed::{Committed, Committer, OffsetAndMetadata, OffsetsError};
use super::member::Member;
use crate::ids::TopicPartition;
use crate::wire::ErrorCode;

/// Commits that wait for their turn.
const QUEUE: usize = 100;

type Offsets = BTreeMap<TopicPartition, OffsetAndMetadata>;

/// Commits for a consumer; clones share one queue.
#[derive(Debug, Clone)]
pub(super) struct Commits {
    queue: mpsc::Sender<Commit>,
    /// `None`: partitions are assigned by hand.
    member: Option<Arc<Member>>,
    within: Duration,
}

#[derive(Debug)]
struct Commit {
    offsets: Offsets,
    committer: Committer,
    within: Duration,
    done: oneshot::Sender<Result<(), OffsetsError>>,
}

/// A commit that is on its way, whether this is awaited or dropped.
#[derive(Debug)]
#[must_use = "whether the offsets were committed shows only when this is awaited"]
pub struct PendingCommit {
    done: oneshot::Receiver<Result<(), OffsetsError>>,
}

impl Future for PendingCommit {
    type Output = Result<(), OffsetsError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.done).poll(context).map(|done| done.unwrap_or(Err(OffsetsError::Closed)))
    }
}

impl PendingCommit {
    pub(super) fn settled(result: Result<(), OffsetsError>) -> PendingCommit {
        let (tell, done) = oneshot::channel();
        // The receiver is here.
        let _ = tell.send(result);
        PendingCommit { done }
    }

    /// What came of it, if that is known.
    pub fn try_result(&mut self) -> Option<Result<(), OffsetsError>> {
        match self.done.try_recv() {
            Ok(result) => Some(result),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(OffsetsError::Closed)),
        }
    }
}

impl Commits {
    /// The task that makes them ends when the last clone is dropped, after what is in the queue.
    pub(super) fn start(committed: Arc<Committed>, member: Option<Arc<Member>>, within: Duration) -> Commits {
        let (queue, commits) = mpsc::channel(QUEUE);
        tokio::spawn(run(committed, member.clone(), commits));
        Commits { queue, member, within }
    }

    /// Begins a commit as who the consumer is now.
    pub(super) fn begin(&self, offsets: Offsets) -> PendingCommit {
        self.begin_within(offsets, self.within)
    }

    pub(super) fn begin_within(&self, offsets: Offsets, within: Duration) -> PendingCommit {
        if offsets.is_empty() {
            return PendingCommit::settled(Ok(()));
        }
        let committer = match &self.member {
            None => Committer::nobody(),
            Some(member) => match member.look(|m| m.committer()) {
                Some(identity) => Committer { identity, instance_id: member.instance_id() },
                None => return PendingCommit::settled(Err(OffsetsError::NotMember)),
            },
        };
        let (tell, done) = oneshot::channel();
        match self.queue.try_send(Commit { offsets, committer, within, done: tell }) {
            Ok(()) => PendingCommit { done },
            Err(mpsc::error::TrySendError::Full(_)) => PendingCommit::settled(Err(OffsetsError::TooMany)),
            Err(mpsc::error::TrySendError::Closed(_)) => PendingCommit::settled(Err(OffsetsError::Closed)),
        }
    }
}

async fn run(committed: Arc<Committed>, member: Option<Arc<Member>>, mut commits: mpsc::Receiver<Commit>) {
    while let Some(Commit { offsets, committer, within, done }) = commits.recv().await {
        let mut result = committed.commit(&offsets, &committer, within).await;
        if let Some(member) = &member {
            result = result.map_err(|error| tell_member(member, &committer, error));
        }
        // Who asked may have lost interest.
        let _ = done.send(result);
    }
}

/// The coordinator's word about a member counts for its membership too.
fn tell_member(member: &Member, committer: &Committer, error: OffsetsError) -> OffsetsError {
    let code = match &error {
        OffsetsError::GroupRefused { code } => *code,
        OffsetsError::Rebalancing => ErrorCode::RebalanceInProgress,
        _ => return error,
    };
    member.update(|m| m.commit_refused(&committer.identity, code));
    match code {
        ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId => {
            OffsetsError::NotMember
        }
        _ => error,
    }
}
