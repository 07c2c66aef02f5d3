//! Reads and fenced writes of a reigning controller, on a session that may lose its connection.
//!
//! Writes go out in multis of many, each with a check of `/controller_epoch`, several in flight. A
//! multi does all or nothing, so one that fails because of one of its writes is taken apart and
//! each write is sent with a check of its own. A write whose answer was lost is looked up.

use client::ids::ZkVersion;
use client::zk::{self, Op, OpResult, Session, SessionState, Settled, ZkError};

use crate::world::{Node, Rejection, Trouble, Write};

/// Writes in one multi. A multi of a hundred takes ZooKeeper little longer than a single write.
const WRITES_IN_MULTI: usize = 200;

/// The znodes, as the holder of one election may write them.
#[derive(Debug, Clone)]
pub(crate) struct Znodes {
    session: Session,
    /// The data version that our election gave `/controller_epoch`.
    epoch_version: ZkVersion,
}

/// How far one write has come.
enum Progress {
    ToSend,
    /// Sent, and the answer was lost.
    Unknown,
    Done(Result<ZkVersion, Rejection>),
}

impl Znodes {
    pub(crate) fn new(session: Session, epoch_version: ZkVersion) -> Znodes {
        Znodes { session, epoch_version }
    }

    pub(crate) async fn read(&self, paths: &[String]) -> Result<Vec<Option<Node>>, Trouble> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        loop {
            match self.session.get_many(paths).await {
                Ok(nodes) => return Ok(nodes.into_iter().map(|node| node.map(as_node)).collect()),
                Err(error) => self.wait_out(error).await?,
            }
        }
    }

    pub(crate) async fn list(&self, path: &str) -> Result<Vec<String>, Trouble> {
        loop {
            match ZkError::absent_is_none(self.session.children(path).await) {
                Ok(children) => return Ok(children.unwrap_or_default()),
                Err(error) => self.wait_out(error).await?,
            }
        }
    }

    pub(crate) async fn commit(
        &self,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<ZkVersion, Rejection>>, Trouble> {
        let mut writes: Vec<Vec<Op>> = writes.into_iter().map(as_ops).collect();
        let mut progress = self.send_in_multis(&writes).await?;
        loop {
            let open: Vec<usize> = numbered(&progress, |step| !matches!(step, Progress::Done(_)));
            if open.is_empty() {
                break;
            }
            self.settle(&writes, &mut progress).await?;
            self.send_singly(&mut writes, &mut progress).await?;
        }
        let done = |step| match step {
            Progress::Done(result) => Some(result),
            Progress::ToSend | Progress::Unknown => None,
        };
        Ok(progress.into_iter().filter_map(done).collect())
    }

    async fn send_in_multis(&self, writes: &[Vec<Op>]) -> Result<Vec<Progress>, Trouble> {
        let batches = zk::batches(writes.to_vec(), WRITES_IN_MULTI);
        let sizes: Vec<Vec<usize>> =
            batches.iter().map(|batch| batch.iter().map(Vec::len).collect()).collect();
        let multis = batches.into_iter().map(|batch| batch.concat()).collect();
        let mut progress = Vec::with_capacity(writes.len());
        let results = self.session.fenced_batches(multis, self.epoch_version).await;
        for (sizes, result) in sizes.into_iter().zip(results) {
            match result {
                Ok(results) => {
                    let mut results = results.iter();
                    for size in sizes {
                        let first = results.next().map_or(ZkVersion(0), version);
                        results.by_ref().take(size.saturating_sub(1)).for_each(drop);
                        progress.push(Progress::Done(Ok(first)));
                    }
                }
                Err(failed) => {
                    let step = match failed.error {
                        ZkError::Ambiguous { .. } => || Progress::Unknown,
                        ZkError::Fenced { .. } => return Err(Trouble::Fenced),
                        error if error.is_session_over() => return Err(Trouble::SessionOver),
                        _ => || Progress::ToSend,
                    };
                    progress.extend(sizes.iter().map(|_| step()));
                }
            }
        }
        Ok(progress)
    }

    async fn send_singly(&self, writes: &mut [Vec<Op>], progress: &mut [Progress]) -> Result<(), Trouble> {
        let open = numbered(progress, |step| matches!(step, Progress::ToSend));
        let sent: Vec<Vec<Op>> = open.iter().filter_map(|&index| writes.get(index).cloned()).collect();
        let results = self.session.fenced_batches(sent, self.epoch_version).await;
        let mut unavailable = None;
        for (index, result) in open.into_iter().zip(results) {
            let (Some(step), Some(write)) = (progress.get_mut(index), writes.get_mut(index)) else {
                continue;
            };
            let companion =
                result.as_ref().err().and_then(|failed| failed.index).is_some_and(|index| index > 0);
            *step = match result.map_err(|failed| failed.error) {
                Ok(results) => Progress::Done(Ok(results.first().map_or(ZkVersion(0), version))),
                Err(ZkError::Ambiguous { .. }) => Progress::Unknown,
                Err(error @ (ZkError::NoNode { .. } | ZkError::NodeExists { .. })) if companion => {
                    tracing::warn!(%error, "what goes with a write cannot be written; the write goes alone");
                    write.truncate(1);
                    Progress::ToSend
                }
                Err(ZkError::Fenced { .. }) => return Err(Trouble::Fenced),
                Err(error) if error.is_session_over() => return Err(Trouble::SessionOver),
                Err(error @ ZkError::Unavailable { .. }) => {
                    unavailable = Some(error);
                    Progress::ToSend
                }
                Err(error) => Progress::Done(Err(rejection(error))),
            };
        }
        match unavailable {
            Some(error) => self.wait_out(error).await,
            None => Ok(()),
        }
    }

    /// Looks up what became of writes whose answers were lost.
    async fn settle(&self, writes: &[Vec<Op>], progress: &mut [Progress]) -> Result<(), Trouble> {
        let unknown = numbered(progress, |step| matches!(step, Progress::Unknown));
        if unknown.is_empty() {
            return Ok(());
        }
        // The first of those that happen together tells of all.
        let first = |index: usize| writes.get(index).and_then(|write| write.first());
        let paths: Vec<String> =
            unknown.iter().filter_map(|&index| Some(first(index)?.path().to_owned())).collect();
        let nodes = loop {
            match self.session.get_many(&paths).await {
                Ok(nodes) => break nodes,
                Err(error) => self.wait_out(error).await?,
            }
        };
        for (index, node) in unknown.into_iter().zip(nodes) {
            let (Some(op), Some(step)) = (first(index), progress.get_mut(index)) else { continue };
            let settled = op.settled_by(node.as_ref(), self.session.id());
            tracing::info!(
                path = op.path(),
                ?settled,
                "a write's answer was lost; the node was read instead"
            );
            *step = match settled {
                Settled::Applied(stat) => Progress::Done(Ok(stat.map_or(ZkVersion(0), |stat| stat.version))),
                Settled::NotApplied => Progress::ToSend,
                Settled::Overtaken => Progress::Done(Err(match op {
                    Op::Create { .. } => Rejection::NodeExists,
                    _ => Rejection::BadVersion,
                })),
            };
        }
        Ok(())
    }

    /// Waits for the connection to come back; any other error is trouble.
    async fn wait_out(&self, error: ZkError) -> Result<(), Trouble> {
        match error {
            ZkError::Fenced { .. } => Err(Trouble::Fenced),
            error if error.is_session_over() => Err(Trouble::SessionOver),
            error if error.is_connection_trouble() => {
                tracing::warn!(%error, "the controller waits for ZooKeeper");
                let mut states = self.session.states();
                let usable =
                    |state: &SessionState| state.is_over() || matches!(state, SessionState::Connected { .. });
                match states.wait_for(usable).await {
                    Ok(state) if !state.is_over() => Ok(()),
                    Ok(_) | Err(_) => Err(Trouble::SessionOver),
                }
            }
            error => {
                let (path, reason) = (path_of(&error), error.to_string());
                Err(Trouble::Refused { path, reason })
            }
        }
    }
}

fn numbered(progress: &[Progress], wanted: impl Fn(&Progress) -> bool) -> Vec<usize> {
    progress.iter().enumerate().filter(|(_, step)| wanted(step)).map(|(index, _)| index).collect()
}

fn as_node(node: zk::Node) -> Node {
    Node { version: node.stat.version, czxid: node.stat.czxid, data: node.data }
}

fn as_ops(write: Write) -> Vec<Op> {
    match write {
        Write::Create { path, data } => vec![Op::create(path, data)],
        Write::Set { path, data, version } => vec![Op::set(path, data, version)],
        Write::Delete { path } => vec![Op::delete(path, None)],
        Write::Together(writes) => writes.into_iter().flat_map(as_ops).collect(),
    }
}

/// The data version after a write; that of a new node is 0.
fn version(result: &OpResult) -> ZkVersion {
    result.stat().map_or(ZkVersion(0), |stat| stat.version)
}

fn rejection(error: ZkError) -> Rejection {
    match error {
        ZkError::BadVersion { .. } => Rejection::BadVersion,
        ZkError::NodeExists { .. } => Rejection::NodeExists,
        ZkError::NoNode { .. } => Rejection::NoNode,
        ZkError::NotEmpty { .. } => Rejection::NotEmpty,
        other => Rejection::Refused(other.to_string()),
    }
}

fn path_of(error: &ZkError) -> String {
    match error {
        ZkError::NoNode { path }
        | ZkError::NodeExists { path }
        | ZkError::BadVersion { path }
        | ZkError::NotEmpty { path }
        | ZkError::NoAuth { path }
        | ZkError::Refused { path, .. } => path.clone(),
        _ => String::new(),
    }
}
