//! An offset as it stands in ZooKeeper: two nodes and what they say together. Pure but for the types
//! of nodes and writes.

use client::ids::{LeaderEpoch, Offset, ZkVersion};
use client::wire::Str;
use client::zk::{LARGEST_REQUEST, Node, Op};
use client::znode::commit::{self, Commit, LogEnd};
use client::znode::consumer;

use super::{NewCommit, OffsetError, OffsetKey};
use crate::group::CommittedOffset;

/// An offset's node, and what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) offset: Offset,
    pub(super) offset_version: ZkVersion,
    /// When the offset was written, by ZooKeeper's clock, in milliseconds since 1970.
    pub(super) written_ms: i64,
    /// What a coordinator wrote of this very offset; `None`: a classic consumer, or a tool, wrote it.
    pub(super) commit: Option<Commit>,
    /// Of the node beside, whatever it holds.
    pub(super) commit_version: Option<ZkVersion>,
}

impl Stored {
    /// What the nodes say. `Ok(None)`: there is no offset.
    pub(super) fn of(
        key: &OffsetKey,
        offset: Option<&Node>,
        beside: Option<&Node>,
    ) -> Result<Option<Stored>, OffsetError> {
        let Some(node) = offset else { return Ok(None) };
        let offset = consumer::decode_offset(&node.data)
            .map_err(|why| OffsetError::Unreadable { key: key.clone(), why })?;
        // What cannot be read repeats nothing.
        let commit = beside.and_then(|node| Commit::decode(&node.data).ok());
        Ok(Some(Stored {
            offset,
            offset_version: node.version(),
            written_ms: node.stat.mtime_ms,
            commit: commit.filter(|commit| commit.offset == offset),
            commit_version: beside.map(Node::version),
        }))
    }

    pub(super) fn committed(&self) -> CommittedOffset {
        let commit = self.commit.as_ref();
        CommittedOffset {
            offset: self.offset.0,
            leader_epoch: commit.map_or(LeaderEpoch::NONE, |commit| commit.leader_epoch).0,
            metadata: commit.map(|commit| Str::from(&*commit.metadata)).unwrap_or_default(),
            commit_time_ms: commit.and_then(|commit| commit.commit_time_ms).unwrap_or(self.written_ms),
            expire_time_ms: commit.and_then(|commit| commit.expire_time_ms),
        }
    }

    /// Deletes both nodes as they were read, and nothing newer.
    pub(super) fn deletion(&self, key: &OffsetKey) -> Vec<Op> {
        let [offset, beside] = paths(key);
        let mut ops = vec![Op::delete(offset, Some(self.offset_version))];
        if let Some(version) = self.commit_version {
            ops.push(Op::delete(beside, Some(version)));
        }
        ops
    }
}

/// The longest id of a group that has a place, in bytes: its path, which may be three times as long, is in
/// one request several times.
const GROUP_ID_MAX: usize = LARGEST_REQUEST / 16;

/// The longest name of a topic (`Topic.MAX_NAME_LENGTH`).
const TOPIC_MAX: usize = 249;

/// Whether ZooKeeper can have offsets of this group.
pub(super) fn group_has_place(group: &str) -> bool {
    group.len() <= GROUP_ID_MAX
}

/// Whether ZooKeeper can have this offset. Requests name what they like; a path that ZooKeeper does not
/// take would fail all that are read together with it, and one that is too long everything on the
/// connection.
pub(super) fn has_place(key: &OffsetKey) -> bool {
    let topic = &*key.partition.topic;
    group_has_place(&key.group) && topic.len() <= TOPIC_MAX && commit::is_node_name(topic)
}

/// The offset's node, and the one beside it.
pub(super) fn paths(key: &OffsetKey) -> [String; 2] {
    [commit::offset_path(&key.group, &key.partition), commit::commit_path(&key.group, &key.partition)]
}

/// What the two nodes hold after a commit. `log_end`: where the coordinating partition's log ends.
pub(super) fn bytes(new: &NewCommit, log_end: LogEnd) -> [Vec<u8>; 2] {
    let beside = Commit {
        offset: Offset(new.offset),
        leader_epoch: LeaderEpoch(new.leader_epoch),
        metadata: new.metadata.to_string(),
        log_end,
        commit_time_ms: new.commit_time_ms,
        expire_time_ms: new.expire_time_ms,
    };
    [consumer::encode_offset(Offset(new.offset)), beside.encode()]
}

/// About how many bytes of a request a commit takes.
pub(super) fn size(key: &OffsetKey, new: &NewCommit) -> usize {
    let data = bytes(new, LogEnd { epoch: LeaderEpoch(i32::MAX), offset: Offset(i64::MAX) });
    paths(key).into_iter().zip(data).map(|(path, data)| Op::set(path, data, None).size()).sum()
}
