//! Carries out the jobs of one coordinating partition in ZooKeeper.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::ids::ZkVersion;
use client::zk::{LARGEST_REQUEST, MultiError, Node, Op, Session, ZkError};
use client::znode::partition::PartitionState;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::sleep;

use super::check::Check;
use super::fence::{Leads, Rights};
use super::link::Link;
use super::partition::Inner;
use super::pending::{Batch, Flushed, Found, Job, Limits};
use super::stored::{bytes, paths};
use super::{NewCommit, OffsetError, OffsetKey, writes};

/// Jobs of one partition under way at a time.
const AT_A_TIME: usize = 4;

/// Two writes a key; the bytes leave room for the parents of new nodes and a chroot.
pub(super) const LIMITS: Limits = Limits { keys: 250, bytes: LARGEST_REQUEST / 4 };

/// Pause after ZooKeeper refused a read that it should not refuse.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Works until the partition is closed.
pub(super) async fn drive(inner: Arc<Inner>) {
    let mut links = inner.store.links.subscribe();
    let mut under_way = FuturesUnordered::new();
    loop {
        let woken = inner.wake.notified();
        let link = links.borrow_and_update().clone();
        while let Some(link) = link.clone().filter(|_| under_way.len() < AT_A_TIME) {
            let Some(job) = inner.lock().next(link.on, LIMITS) else { break };
            under_way.push(run(&inner, link, job));
        }
        if inner.is_closed() {
            return;
        }
        tokio::select! {
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
            () = woken => {}
            changed = links.changed() => if changed.is_err() { return },
        }
    }
}

async fn run(inner: &Inner, link: Link, job: Job<NewCommit>) {
    match job {
        Job::Look => look(inner, &link).await,
        Job::Flush { batch, rights, writes } => flush(inner, &link, batch, rights, &writes).await,
        Job::Resolve { batch, writes } => resolve(inner, &link, batch, &writes).await,
    }
    inner.progress.send_modify(|jobs| *jobs += 1);
}

async fn look(inner: &Inner, link: &Link) {
    let found = match barrier(inner, &link.session).await {
        Ok(stamp) => state(inner, &link.session).await.map(|state| (stamp, state)),
        Err(error) => Err(error),
    };
    // A read that another connection answered follows no barrier.
    let is_same = inner.store.attached() == Some(link.on);
    match found {
        Ok((stamp, state)) if is_same => {
            let (in_vain, deposed) = {
                let mut pending = inner.lock();
                (pending.looked(link.on, stamp, state), pending.fence().deposed())
            };
            if let Some(why) = deposed {
                tracing::warn!(partition = %inner.partition(), epoch = %inner.epoch(), ?state, "deposed as coordinator");
                inner.answer(in_vain, &Err(OffsetError::from(why)));
            }
        }
        Ok(_) => inner.lock().look_failed(),
        Err(error) => {
            tracing::warn!(partition = %inner.partition(), %error, "the state of a coordinating partition cannot be read");
            if !error.is_connection_trouble() {
                sleep(REFUSED_PAUSE).await;
            }
            inner.lock().look_failed();
        }
    }
}

/// Makes what follows on this connection show all that was acknowledged before, and what was sent before and
/// is not done yet fail. Gives the stamp that writes must name from now on.
async fn barrier(inner: &Inner, session: &Session) -> Result<ZkVersion, ZkError> {
    let path = &inner.stamp_path;
    if !Check::Barrier.is_made()
        && let Some(node) = session.get_if_exists(path).await?
    {
        return Ok(node.version());
    }
    let renew = || session.set(path, "", None);
    let stat = match renew().await {
        Err(ZkError::NoNode { .. }) => {
            session.ensure(path).await?;
            renew().await
        }
        renewed => renewed,
    };
    Ok(stat?.version)
}

async fn state(inner: &Inner, session: &Session) -> Result<Option<Leads>, ZkError> {
    let Some(node) = session.get_if_exists(inner.state_path()).await? else { return Ok(None) };
    match PartitionState::decode(&node.data) {
        Ok(state) => {
            Ok(Some(Leads { leader: state.leader, epoch: state.leader_epoch, version: node.version() }))
        }
        Err(error) => Err(ZkError::Refused {
            operation: "reading",
            path: inner.state_path().to_owned(),
            reason: error.to_string(),
        }),
    }
}

async fn flush(inner: &Inner, link: &Link, batch: Batch, rights: Rights, writes: &[(OffsetKey, NewCommit)]) {
    let keys = || writes.iter().map(|(key, _)| key);
    let failed = match inner.store.multis.acquire().await {
        Ok(_permit) => try_flush(inner, link, rights, writes).await,
        Err(_) => Err(Failed::NotDone),
    };
    let (over, outcome) = match failed {
        Ok(()) => {
            inner.known.add(keys());
            inner.add_groups(keys());
            (inner.lock().flushed(batch, Flushed::Landed), Ok(()))
        }
        Err(failed) => {
            inner.known.forget(keys());
            match failed {
                Failed::NotDone => (inner.lock().flushed(batch, Flushed::NotDone), Ok(())),
                Failed::Fenced => (inner.lock().flushed(batch, Flushed::Fenced), Ok(())),
                Failed::Lost(error) => {
                    tracing::warn!(partition = %inner.partition(), %error, "commits in doubt; reading back");
                    (inner.lock().flushed(batch, Flushed::Lost), Ok(()))
                }
                Failed::Refused { key, error } => {
                    tracing::error!(partition = %inner.partition(), ?key, %error, "ZooKeeper refuses commits");
                    let is_culprit = |one: &OffsetKey| key.as_ref().is_none_or(|key| one == key);
                    (inner.lock().refused(batch, is_culprit), Err(OffsetError::Refused(error)))
                }
            }
        }
    };
    inner.answer(over, &outcome);
}

/// Why a multi of commits did not succeed.
enum Failed {
    NotDone,
    Fenced,
    Lost(ZkError),
    /// `None`: it cannot be said which of the keys is to blame.
    Refused {
        key: Option<OffsetKey>,
        error: ZkError,
    },
}

async fn try_flush(
    inner: &Inner,
    link: &Link,
    rights: Rights,
    writes: &[(OffsetKey, NewCommit)],
) -> Result<(), Failed> {
    let whole = |error: ZkError| match error {
        error @ ZkError::Ambiguous { .. } => Failed::Lost(error),
        error if error.is_connection_trouble() || error.is_session_over() => Failed::NotDone,
        error => Failed::Refused { key: None, error },
    };
    let ops = match writes::ops(&link.session, &inner.known, writes, inner.log_end()).await {
        Ok(ops) => ops,
        // Only reads were sent.
        Err(error) if error.is_connection_trouble() => return Err(Failed::NotDone),
        Err(error) => return Err(whole(error)),
    };
    let multi = fenced(inner, rights, ops.clone());
    let offset = multi.len() - ops.len();
    let Err(MultiError { index, error }) = link.session.multi(multi).await else { return Ok(()) };
    match (index.map(|index| index.checked_sub(offset)), error) {
        (Some(None), _) => Err(Failed::Fenced),
        // Somebody made or deleted a node in between.
        (Some(Some(_)), ZkError::NoNode { .. } | ZkError::NodeExists { .. }) => Err(Failed::NotDone),
        (Some(Some(index)), error) => {
            let path = ops.get(index).map(Op::path).unwrap_or_default();
            let is_of = |key: &OffsetKey| paths(key).iter().any(|own| own.starts_with(path));
            Err(Failed::Refused {
                key: writes.iter().map(|(key, _)| key).find(|key| is_of(key)).cloned(),
                error,
            })
        }
        (None, error) => Err(whole(error)),
    }
}

/// The fence: a deposed coordinator's multi fails as a whole, and one that is done after it was given up.
pub(super) fn fenced(inner: &Inner, rights: Rights, ops: Vec<Op>) -> Vec<Op> {
    let state = Check::Fence.is_made().then(|| Op::check(inner.state_path(), rights.state));
    let stamp = Check::Stamp.is_made().then(|| Op::check(&*inner.stamp_path, rights.stamp));
    state.into_iter().chain(stamp).chain(ops).collect()
}

/// Reads back what became of a multi.
async fn resolve(inner: &Inner, link: &Link, batch: Batch, writes: &[(OffsetKey, NewCommit)]) {
    let found = match read_back(inner, link, writes).await {
        // A read that another connection answered follows no barrier.
        Ok(found) if inner.store.attached() == Some(link.on) => Some(found),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(partition = %inner.partition(), %error, "commits in doubt cannot be read back yet");
            if !error.is_connection_trouble() && !error.is_session_over() {
                sleep(REFUSED_PAUSE).await;
            }
            None
        }
    };
    let over = match found {
        Some((stamp, done)) => {
            inner.add_groups(done.iter());
            inner.lock().resolved(batch, Some(Found { stamp, is_done: &|key| done.contains(key) }))
        }
        None => inner.lock().resolved(batch, None),
    };
    inner.answer(over, &Ok(()));
}

/// The stamp that none of these writes names, and the keys whose nodes are as they make them, but for where the
/// log ended.
async fn read_back(
    inner: &Inner,
    link: &Link,
    writes: &[(OffsetKey, NewCommit)],
) -> Result<(ZkVersion, BTreeSet<OffsetKey>), ZkError> {
    let stamp = barrier(inner, &link.session).await?;
    let all: Vec<String> = writes.iter().flat_map(|(key, _)| paths(key)).collect();
    let nodes = link.session.get_many(&all).await?;
    let pairs = nodes.chunks_exact(2);
    let is_done = |commit: &NewCommit, nodes: &[Option<Node>]| {
        let [Some(offset), Some(beside)] = nodes else { return false };
        let log_end = client::znode::commit::Commit::decode(&beside.data).map(|commit| commit.log_end);
        log_end.is_ok_and(|end| bytes(commit, end) == [offset.data.clone(), beside.data.clone()])
    };
    let done = writes.iter().zip(pairs).filter(|((_, commit), nodes)| is_done(commit, nodes));
    Ok((stamp, done.map(|((key, _), _)| key.clone()).collect()))
}
