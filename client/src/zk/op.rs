//! One write, by itself or as part of a multi.

use super::error::ZkError;
use super::node::{Node, SessionId, Stat};
use crate::ids::ZkVersion;

/// The server takes requests of up to 1 MiB by default (`jute.maxbuffer`) and drops the connection,
/// with everything else in flight on it, at a larger one.
pub const LARGEST_REQUEST: usize = 900 * 1024;

/// Room for a request's headers, lengths and the access list.
const OVERHEAD: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateMode {
    Persistent,
    PersistentSequential,
    /// Vanishes with the session.
    Ephemeral,
    EphemeralSequential,
}

/// A write. `version: None` means whatever version the node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes nothing, but fails the multi it is in unless the node has this version.
    Check {
        path: String,
        version: ZkVersion,
    },
    Create {
        path: String,
        data: Vec<u8>,
        mode: CreateMode,
    },
    Set {
        path: String,
        data: Vec<u8>,
        version: Option<ZkVersion>,
    },
    Delete {
        path: String,
        version: Option<ZkVersion>,
    },
}

impl Op {
    pub fn check(path: impl Into<String>, version: ZkVersion) -> Op {
        Op::Check { path: path.into(), version }
    }

    /// Creates a persistent node.
    pub fn create(path: impl Into<String>, data: impl Into<Vec<u8>>) -> Op {
        Op::Create { path: path.into(), data: data.into(), mode: CreateMode::Persistent }
    }

    pub fn set(path: impl Into<String>, data: impl Into<Vec<u8>>, version: Option<ZkVersion>) -> Op {
        Op::Set { path: path.into(), data: data.into(), version }
    }

    pub fn delete(path: impl Into<String>, version: Option<ZkVersion>) -> Op {
        Op::Delete { path: path.into(), version }
    }

    pub fn path(&self) -> &str {
        match self {
            Op::Check { path, .. }
            | Op::Create { path, .. }
            | Op::Set { path, .. }
            | Op::Delete { path, .. } => path,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Op::Check { .. } => "check",
            Op::Create { .. } => "creation",
            Op::Set { .. } => "update",
            Op::Delete { .. } => "deletion",
        }
    }

    /// About how many bytes of a request it takes, the chroot not counted.
    pub fn size(&self) -> usize {
        let data = match self {
            Op::Create { data, .. } | Op::Set { data, .. } => data.len(),
            Op::Check { .. } | Op::Delete { .. } => 0,
        };
        OVERHEAD + self.path().len() + data
    }

    /// What became of this write, if the node is now as given. Right for a write that nobody else
    /// repeats with the same bytes.
    pub fn settled_by(&self, now: Option<&Node>, session: SessionId) -> Settled {
        match (self, now) {
            (Op::Check { version, .. }, Some(node)) if node.version() == *version => {
                Settled::Applied(Some(node.stat))
            }
            (Op::Check { .. }, _) => Settled::NotApplied,
            (Op::Create { .. }, None) => Settled::NotApplied,
            (Op::Create { data, mode, .. }, Some(node)) => {
                let owner = match mode {
                    CreateMode::Ephemeral | CreateMode::EphemeralSequential => Some(session),
                    CreateMode::Persistent | CreateMode::PersistentSequential => None,
                };
                let ours = node.data == *data && node.stat.ephemeral_owner == owner;
                if ours { Settled::Applied(Some(node.stat)) } else { Settled::Overtaken }
            }
            (Op::Set { .. }, None) => Settled::Overtaken,
            (Op::Set { data, version, .. }, Some(node)) => match version {
                Some(expected) if node.version() == *expected => Settled::NotApplied,
                Some(expected) if node.version().0 == expected.0.wrapping_add(1) && node.data == *data => {
                    Settled::Applied(Some(node.stat))
                }
                None if node.data == *data => Settled::Applied(Some(node.stat)),
                None => Settled::NotApplied,
                Some(_) => Settled::Overtaken,
            },
            (Op::Delete { .. }, None) => Settled::Applied(None),
            (Op::Delete { version, .. }, Some(node)) => match version {
                Some(expected) if node.version() != *expected => Settled::Overtaken,
                _ => Settled::NotApplied,
            },
        }
    }
}

/// What an operation that succeeded gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResult {
    Checked,
    /// The path has the sequence number in it, where one was asked for.
    Created {
        path: String,
    },
    Set {
        stat: Stat,
    },
    Deleted,
}

impl OpResult {
    /// The stat after an update.
    pub fn stat(&self) -> Option<Stat> {
        match self {
            OpResult::Set { stat } => Some(*stat),
            OpResult::Checked | OpResult::Created { .. } | OpResult::Deleted => None,
        }
    }
}

/// What became of a write whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It was done; the stat is that of the node now, if there is one.
    Applied(Option<Stat>),
    /// It was not done, and can be sent again.
    NotApplied,
    /// The node is as somebody else wrote it: read it and decide again.
    Overtaken,
}

/// Fails if the operations together are more than the server takes in one request.
pub(super) fn guard_size(ops: &[Op], chroot: usize, what: &'static str) -> Result<(), ZkError> {
    let bytes: usize = ops.iter().map(|op| op.size() + chroot).sum();
    if bytes <= LARGEST_REQUEST {
        return Ok(());
    }
    let path = ops.iter().max_by_key(|op| op.size()).map_or("", Op::path).to_owned();
    Err(ZkError::TooLarge { operation: what, path, bytes, limit: LARGEST_REQUEST })
}

/// Cuts a list of writes, each of one or more operations that belong together, into multis of at most
/// `most` writes that the server takes.
pub fn batches(writes: Vec<Vec<Op>>, most: usize) -> Vec<Vec<Vec<Op>>> {
    let mut batches: Vec<Vec<Vec<Op>>> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        let size: usize = write.iter().map(Op::size).sum();
        // Half of what is allowed: room for a chroot and a check.
        let full = bytes + size > LARGEST_REQUEST / 2;
        match batches.last_mut() {
            Some(batch) if !full && batch.len() < most => {
                bytes += size;
                batch.push(write);
            }
            _ => {
                bytes = size;
                batches.push(vec![write]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(data: &str, version: i32, owner: Option<i64>) -> Node {
        let stat = Stat {
            czxid: 1,
            mzxid: 1,
            pzxid: 1,
            ctime_ms: 0,
            mtime_ms: 0,
            version: ZkVersion(version),
            children_version: 0,
            ephemeral_owner: owner.map(SessionId),
            data_length: 0,
            children: 0,
        };
        Node { data: data.into(), stat }
    }

    #[test]
    fn a_lost_answer_is_settled_by_what_is_there() {
        let ours = SessionId(7);
        let settled = |op: &Op, now: Option<Node>| op.settled_by(now.as_ref(), ours);
        let applied = |node: Node| Settled::Applied(Some(node.stat));

        let set = Op::set("/a", "new", Some(ZkVersion(3)));
        assert_eq!(settled(&set, Some(node("old", 3, None))), Settled::NotApplied);
        assert_eq!(settled(&set, Some(node("new", 4, None))), applied(node("new", 4, None)));
        assert_eq!(settled(&set, Some(node("other", 4, None))), Settled::Overtaken);
        assert_eq!(settled(&set, Some(node("new", 5, None))), Settled::Overtaken);
        assert_eq!(settled(&set, None), Settled::Overtaken);

        let create = Op::create("/a", "x");
        assert_eq!(settled(&create, None), Settled::NotApplied);
        assert_eq!(settled(&create, Some(node("x", 0, None))), applied(node("x", 0, None)));
        assert_eq!(settled(&create, Some(node("y", 0, None))), Settled::Overtaken);

        let ephemeral = Op::Create { path: "/e".into(), data: "x".into(), mode: CreateMode::Ephemeral };
        assert_eq!(settled(&ephemeral, Some(node("x", 0, Some(7)))), applied(node("x", 0, Some(7))));
        assert_eq!(settled(&ephemeral, Some(node("x", 0, Some(8)))), Settled::Overtaken);

        let delete = Op::delete("/a", Some(ZkVersion(2)));
        assert_eq!(settled(&delete, None), Settled::Applied(None));
        assert_eq!(settled(&delete, Some(node("x", 2, None))), Settled::NotApplied);
        assert_eq!(settled(&delete, Some(node("x", 3, None))), Settled::Overtaken);
    }

    #[test]
    fn batches_keep_order_and_stay_below_what_the_server_takes() {
        let writes: Vec<Vec<Op>> =
            (0..10).map(|n| vec![Op::create(format!("/{n}"), vec![0; 100 * 1024])]).collect();
        let batches = batches(writes.clone(), 3);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 1]);
        assert_eq!(batches.concat(), writes);
        for batch in super::batches(writes, 100) {
            assert_eq!(guard_size(&batch.concat(), 10, "multi"), Ok(()));
        }
        let two: Vec<Op> = (0..2).map(|n| Op::create(format!("/{n}"), vec![0; 200 * 1024])).collect();
        let together = super::batches(vec![two.clone(), two], 100);
        assert_eq!(together.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1], "never cut in two");
        let huge = [Op::create("/huge", vec![0; LARGEST_REQUEST])];
        assert!(matches!(guard_size(&huge, 0, "creation"), Err(ZkError::TooLarge { .. })));
    }
}
